"""Reading records without SQLite's help, compared with what SQLite reads."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import ManualClock
from gateway.outbox.pages import PAGE, DamageError, Pages, cells, fields, varint
from gateway.outbox.rows import Lane
from gateway.outbox.salvage import scan
from tests.support.outbox import event_id, fix, ids, open_engine, press, put, put_emergency


def filled(folder: Path, count: int = 300) -> Path:
    """A closed outbox with short and long rows, an emergency and a cursor."""
    path = folder / "outbox.db"
    engine = open_engine(path)
    for start in range(0, count, 100):
        put(
            engine,
            *(
                fix(n, radio=n % 7, unit_name="甲" * (n % 5 * 700))
                for n in range(start, start + 100)
            ),
        )
    put_emergency(engine, press(1))
    engine.save({("desk", Lane.EMERGENCY): 0, ("desk", Lane.TELEMETRY): 17}, ())
    engine.close()
    return path


def test_every_row_is_found_in_a_whole_file_overflowing_ones_too(tmp_path: Path) -> None:
    path = filled(tmp_path)
    found = scan(path, ManualClock())
    rows = found.rows[Lane.TELEMETRY]
    assert [event_id(n) for n in range(17, 300)] == ids(rows[seq] for seq in sorted(rows))
    assert max(len(row.payload) for row in rows.values()) > 2 * PAGE
    assert ids(found.rows[Lane.EMERGENCY].values()) == [press(1).event_id]
    assert list(found.states) == [press(1).event_id]
    assert found.cursors == {("desk", Lane.EMERGENCY): 0, ("desk", Lane.TELEMETRY): 17}
    assert found.is_complete


def test_rows_that_are_only_in_the_log_are_found(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "outbox.db")
    put(engine, *(fix(number) for number in range(50)))
    found = scan(tmp_path / "outbox.db", ManualClock(), only_log=True)
    assert len(found.rows[Lane.TELEMETRY]) == 50
    engine.close()


def test_without_its_header_and_schema_a_file_still_gives_its_rows(tmp_path: Path) -> None:
    path = filled(tmp_path)
    data = bytearray(path.read_bytes())
    data[:PAGE] = bytes(PAGE)
    path.write_bytes(data)
    assert len(scan(path, ManualClock()).rows[Lane.TELEMETRY]) == 283


@pytest.mark.parametrize("seed", range(20))
def test_scanning_noise_finds_nothing_and_raises_nothing(tmp_path: Path, seed: int) -> None:
    noise = random.Random(seed)
    data = bytearray(noise.randbytes(8 * PAGE))
    for start in range(0, len(data), PAGE):
        data[start] = 0x0D  # says that it is a leaf
    path = tmp_path / "outbox.db"
    path.write_bytes(data)
    path.with_name("outbox.db-wal").write_bytes(noise.randbytes(4 * PAGE))
    found = scan(path, ManualClock())
    assert not any(found.rows.values())
    assert not found.states
    assert not found.cursors


@pytest.mark.parametrize(
    ("data", "value", "end"),
    [
        (b"\x05", 5, 1),
        (b"\x81\x00", 128, 2),
        (b"\xff" * 9, -1, 9),
        (b"\x80" * 8 + b"\x07", 7, 9),
    ],
)
def test_variable_length_integers(data: bytes, value: int, end: int) -> None:
    assert varint(data, 0) == (value, end)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_record_or_damage(data: bytes) -> None:
    try:
        fields(data)
    except (DamageError, IndexError):
        return


@given(st.binary(max_size=300))
def test_cell_pointers_never_leave_the_page(start: bytes) -> None:
    page = start + bytes(PAGE - len(start))
    assert all(0 < pointer < PAGE for pointer in cells(page))


def test_a_missing_file_has_no_pages(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "nothing.db")
    assert list(pages.leaves()) == []
    pages.close()
