"""The table in the documents is what the scheduler gives."""

from tools.write_airtime import PAGE, page


def test_the_simulated_table_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.write_airtime"
