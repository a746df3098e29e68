"""What is accepted when the disk is full, and how it comes back (R4, in small)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import StoreError, StoreFullError
from gateway.outbox.database import CODE_FULL, CODE_IO, SqlError
from gateway.outbox.engine import Engine
from gateway.outbox.gate import ERRORS_IN_A_ROW
from gateway.outbox.reserve import Reserve
from gateway.outbox.rows import Lane, Write
from tests.support.outbox import (
    SMALL,
    Faults,
    disk_failing,
    event_id,
    everything,
    fix,
    ids,
    no_answer,
    open_engine,
    press,
    put,
    put_emergency,
    writes,
)


class Disk:
    """A disk that others have filled: what the reserve held is all that is left."""

    def __init__(self, folder: Path) -> None:
        self.faults = Faults()
        self.reserve = folder / "outbox.db.reserve"
        self.left = 0  # writes that fit once the reserve is gone
        self.free_bytes = 0
        self.told: list[str] = []
        self.engine = open_engine(
            folder / "outbox.db",
            connect=self.faults.connect,
            tell=lambda state, _why: self.told.append(state),
        )
        self.engine._reserve.free_bytes = lambda: self.free_bytes  # type: ignore[method-assign] # the disk's own

    def fill(self, left: int) -> None:
        self.left = left
        self.faults.rule = self._rule

    def free(self) -> None:
        self.faults.heal()
        self.free_bytes = 1 << 30

    def _rule(self, sql: str) -> SqlError | None:
        if not writes(sql) or sql.startswith("DELETE"):
            return None
        if self.reserve.exists() or self.left == 0:
            return SqlError(CODE_FULL, "database or disk is full")
        self.left -= sql.startswith(("COMMIT", "INSERT INTO probe"))
        return None


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.free()
    disk.engine.close()


def telemetry_error(engine: Engine, number: int) -> StoreError | None:
    write = Write(Lane.TELEMETRY, fix(number), None, no_answer)
    return engine.commit(Lane.TELEMETRY, [write]).errors[0]


def test_a_reserve_is_held_from_the_start(tmp_path: Path, disk: Disk) -> None:
    assert disk.reserve.stat().st_size == SMALL.reserve_bytes
    assert disk.reserve.stat().st_blocks * 512 >= SMALL.reserve_bytes
    assert disk.engine.gate.state == "accepting"


def test_an_emergency_on_a_full_disk_is_stored_with_what_the_reserve_gives(disk: Disk) -> None:
    disk.fill(left=3)
    assert put_emergency(disk.engine, press(1)).errors == [None]
    assert not disk.reserve.exists()
    assert disk.told == ["reserve_used"]


def test_telemetry_is_refused_while_the_reserve_is_in_use(disk: Disk) -> None:
    disk.fill(left=3)
    assert isinstance(telemetry_error(disk.engine, 1), StoreFullError)
    assert disk.told == ["reserve_used"]
    assert isinstance(telemetry_error(disk.engine, 2), StoreFullError)
    assert put_emergency(disk.engine, press(1)).errors == [None]


def test_nothing_is_accepted_when_the_reserve_is_used_up_too(disk: Disk) -> None:
    disk.fill(left=1)
    assert put_emergency(disk.engine, press(1)).errors == [None]
    assert isinstance(put_emergency(disk.engine, press(2)).errors[0], StoreFullError)
    assert disk.told == ["reserve_used", "not_accepting"]
    before = len(disk.faults.statements)
    assert isinstance(put_emergency(disk.engine, press(3)).errors[0], StoreFullError)
    assert len(disk.faults.statements) == before, "a refusal must not touch the disk"


def test_space_that_returns_first_makes_the_reserve_again(disk: Disk) -> None:
    disk.fill(left=0)
    put_emergency(disk.engine, press(1))
    disk.engine.recover()
    assert disk.told == ["reserve_used", "not_accepting"]
    disk.free()
    disk.free_bytes = SMALL.reserve_bytes + 1  # not enough to go on with afterwards
    disk.engine.recover()
    assert disk.told[-1] == "reserve_used"
    assert telemetry_error(disk.engine, 1) is not None
    disk.free_bytes = 1 << 30
    disk.engine.recover()
    assert disk.told[-1] == "accepting"
    assert disk.reserve.stat().st_size == SMALL.reserve_bytes
    assert telemetry_error(disk.engine, 2) is None
    disk.engine.close()
    assert ids(everything(disk.reserve.with_suffix(""), Lane.TELEMETRY)) == [event_id(2)]


def test_a_single_disk_error_fails_a_write_and_changes_no_state(disk: Disk) -> None:
    disk.free_bytes = 1 << 30
    disk.faults.rule = disk_failing
    assert telemetry_error(disk.engine, 1) is not None
    disk.faults.heal()
    assert telemetry_error(disk.engine, 2) is None
    assert disk.told == []
    assert disk.reserve.exists()


def test_a_disk_that_keeps_failing_is_not_asked_for_every_event(disk: Disk) -> None:
    disk.free_bytes = 1 << 30
    disk.faults.rule = disk_failing
    for number in range(ERRORS_IN_A_ROW):
        put_emergency(disk.engine, press(number))
    assert disk.told == ["not_accepting"]
    error = put_emergency(disk.engine, press(99)).errors[0]
    assert type(error) is StoreError
    assert "the disk fails" in str(error)
    disk.engine.recover()
    assert disk.engine.gate.state == "not_accepting"
    disk.faults.heal()
    disk.engine.recover()
    assert disk.told[-1] == "accepting"
    assert put_emergency(disk.engine, press(100)).errors == [None]


def test_an_input_output_error_on_a_disk_without_room_is_a_full_disk(disk: Disk) -> None:
    disk.free_bytes = 4096
    disk.faults.rule = lambda sql: (
        SqlError(CODE_IO, "disk I/O error") if writes(sql) and disk.reserve.exists() else None
    )
    assert put_emergency(disk.engine, press(1)).errors == [None]
    assert disk.told == ["reserve_used"]


def test_a_start_without_room_for_the_reserve_takes_emergencies_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reserve, "free_bytes", lambda _self: 1000)
    engine = open_engine(tmp_path / "outbox.db")
    assert engine.gate.state == "reserve_used"
    assert telemetry_error(engine, 1) is not None
    assert put_emergency(engine, press(1)).errors == [None]
    monkeypatch.undo()
    engine.recover()
    assert telemetry_error(engine, 2) is None
    engine.close()


def test_room_inside_the_file_is_made_for_emergencies(disk: Disk) -> None:
    for start in range(0, 2000, 500):
        put(disk.engine, *(fix(number, radio=number % 5) for number in range(start, start + 500)))
    disk.engine.save({("desk", lane): 0 for lane in Lane}, ())
    disk.fill(left=50)
    assert telemetry_error(disk.engine, 9999) is not None
    assert disk.engine.tables.free_bytes() == 0
    while disk.engine.sweep(["desk"]):
        pass
    assert disk.engine.tables.free_bytes() >= SMALL.reserve_bytes
    rows = disk.engine.tables.last_rows(Lane.TELEMETRY, 10_000)
    assert {row.event.radio_id for row in rows} == {
        fix(0, radio=each).radio_id for each in range(5)
    }
    assert rows[-1].event == fix(1999, radio=4)
    assert disk.engine.counts.thinned == 2000 - len(rows)
