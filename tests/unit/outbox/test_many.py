"""One statement for many rows: as many come in as were given, whatever the number."""

import sqlite3

import pytest

from gateway.outbox.many import MOST_ROWS, ManyRows


@pytest.mark.parametrize("count", [1, 2, 3, 7, 49, 129, 500, MOST_ROWS])
def test_every_row_and_no_other_is_written(count: int) -> None:
    insert = ManyRows("INSERT INTO t SELECT * FROM {values} WHERE column1 IS NOT NULL", 2)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b)")
    values = [value for number in range(count) for value in (number, None)]
    assert connection.execute(*insert.fit(values)).rowcount == count
    found = connection.execute("SELECT a, b FROM t ORDER BY a").fetchall()
    assert found == [(number, None) for number in range(count)]


def test_more_than_the_most_is_refused() -> None:
    with pytest.raises(ValueError, match="513 rows"):
        ManyRows("{values}", 1).fit([0] * (MOST_ROWS + 1))
