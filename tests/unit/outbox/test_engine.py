"""The edges of the outbox's own thread: starts on a bad disk, housekeeping that fails, ends."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from gateway.clock import ManualClock
from gateway.errors import ConfigError, StoreError
from gateway.model import emergency as transitions
from gateway.outbox import engine as module
from gateway.outbox import opening
from gateway.outbox.database import (
    CODE_BUSY,
    CODE_CORRUPT,
    CODE_FULL,
    CODE_INTERRUPTED,
    CODE_IO,
    Database,
    SqlError,
    StdlibDatabase,
    connect,
    transaction,
)
from gateway.outbox.instance_lock import InstanceLock
from gateway.outbox.reserve import Reserve
from gateway.outbox.rows import Lane, Write
from gateway.outbox.salvage import Found
from gateway.outbox.schema import TABLES
from gateway.outbox.stats import SinkLag
from gateway.outbox.tables import SetAside
from gateway.outbox.worker import Doorbell
from gateway.settings import OutboxSettings
from tests.support.emergencies import at
from tests.support.outbox import (
    SMALL,
    Faults,
    event_id,
    fix,
    ids,
    no_answer,
    open_engine,
    press,
    put,
    put_emergency,
)


def fail(faults: Faults, start: str, code: int = CODE_IO) -> None:
    """Every statement that begins with ``start`` fails."""
    faults.rule = lambda sql: SqlError(code, "as told") if sql.startswith(start) else None


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# ---- starts


def test_an_input_output_error_at_the_start_is_told_and_the_file_left_alone(tmp_path: Path) -> None:
    faults = Faults()
    fail(faults, "PRAGMA synchronous")
    with pytest.raises(StoreError, match=r"outbox\.db cannot be opened: as told"):
        open_engine(tmp_path / "outbox.db", connect=faults.connect)
    assert not any("damaged" in name for name in names(tmp_path))
    faults.heal()
    open_engine(tmp_path / "outbox.db", connect=faults.connect).close()


def test_a_start_on_a_full_disk_gives_the_reserve_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_engine(tmp_path / "outbox.db").close()
    reserve = tmp_path / "outbox.db.reserve"
    monkeypatch.setattr(Reserve, "free_bytes", lambda _self: 0)
    faults = Faults()
    faults.rule = lambda sql: (
        SqlError(CODE_FULL, "full")
        if sql.startswith("PRAGMA journal_mode") and reserve.exists()
        else None
    )
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    assert not reserve.exists()
    assert engine.gate.state == "reserve_used"
    assert put_emergency(engine, press(1)).errors == [None]
    engine.close()


class Odd(StdlibDatabase):
    """Answers one pragma with something else."""

    pragma = ""
    answer: Any = None

    def rows(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return [(self.answer,)] if sql == self.pragma else super().rows(sql, values)


def odd(pragma: str, answer: Any) -> Any:
    kind = type("Odd", (Odd,), {"pragma": pragma, "answer": answer})
    return lambda path, read_only=False: kind(path, read_only=read_only)


def test_a_file_system_without_a_write_ahead_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="takes no write-ahead log"):
        open_engine(tmp_path / "outbox.db", connect=odd("PRAGMA journal_mode = WAL", "delete"))


def test_a_folder_that_takes_no_new_file_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").mkdir()
    with pytest.raises(ConfigError, match=r"site\.data_dir"):
        open_engine(tmp_path / "outbox.db")


def test_a_check_that_takes_too_long_is_given_up_and_the_file_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults()
    fail(faults, "PRAGMA quick_check", CODE_INTERRUPTED)
    open_engine(tmp_path / "outbox.db", connect=faults.connect).close()
    interrupted = threading.Event()
    monkeypatch.setattr(StdlibDatabase, "interrupt", lambda _self: interrupted.set())
    monkeypatch.setattr(opening, "CHECK_S", 0.01)

    def wait(sql: str) -> SqlError | None:
        if sql.startswith("PRAGMA quick_check"):
            assert interrupted.wait(10)
        return None

    faults.rule = wait
    open_engine(tmp_path / "outbox.db", connect=faults.connect).close()


def test_a_running_statement_can_be_interrupted(tmp_path: Path) -> None:
    db = connect(tmp_path / "any.db")
    timer = threading.Timer(0.05, db.interrupt)
    timer.start()
    with pytest.raises(SqlError) as caught:
        db.rows(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
        )
    assert caught.value.code == CODE_INTERRUPTED
    timer.join()
    db.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE cursors",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = -4",
        "ALTER TABLE emergencies RENAME COLUMN phase TO phese",
    ],
)
def test_a_schema_that_is_not_ours_any_more_is_damage(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    put(engine, fix(1))
    engine.close()
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    engine = open_engine(path)
    assert len(engine.damage) == 1
    assert ids(engine.tables.last_rows(Lane.TELEMETRY, 10)) == [event_id(1)]
    engine.close()


def test_a_damaged_file_stays_in_its_place_while_no_new_one_can_be_begun(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    put(engine, fix(1))
    engine.close()
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)
    faults = Faults()
    fail(faults, "INSERT", CODE_FULL)
    with pytest.raises(StoreError, match="cannot be begun anew"):
        open_engine(path, connect=faults.connect)
    assert path.read_bytes() == bytes(data)
    assert not any("damaged" in name for name in names(tmp_path))
    faults.heal()
    engine = open_engine(path, connect=faults.connect)
    assert ids(engine.tables.last_rows(Lane.TELEMETRY, 10)) == [event_id(1)]
    engine.close()


def test_a_damaged_file_that_cannot_be_moved_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is no database" * 500)

    def refuse(*_: Any) -> Path:
        raise PermissionError("not yours")

    monkeypatch.setattr(opening, "move_aside", refuse)
    with pytest.raises(StoreError, match="cannot be moved: not yours"):
        open_engine(path)
    assert path.read_bytes() == b"this is no database" * 500


def test_two_damaged_files_of_one_second_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    for content in (b"first" * 2000, b"second" * 2000):
        path.write_bytes(content)
        open_engine(path).close()
    kept = [file for file in tmp_path.iterdir() if ".damaged-" in file.name]
    assert {file.read_bytes() for file in kept} == {b"first" * 2000, b"second" * 2000}


def test_salvage_that_runs_out_of_time_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    put(engine, *(fix(number) for number in range(100)))
    put_emergency(engine, press(1))
    engine.close()
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)
    clock = ManualClock(at(0))
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr(ManualClock, "monotonic", lambda _self: next(ticks))
    engine = open_engine(path, clock=clock)
    assert "time ran out, more may be in it" in engine.damage[0]
    assert len(engine.tables.open_emergencies()) == 1, "emergencies come first"
    engine.close()


# ---- commits


def test_an_emergency_whose_event_cannot_be_written_leaves_no_state(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "outbox.db")
    event = press(1)
    broken = transitions.raised(event)
    odd_event = fix(1, unit_name="\ud800")
    outcome = engine.commit(
        Lane.EMERGENCY,
        [
            Write(Lane.EMERGENCY, odd_event, broken, no_answer),
            Write(Lane.EMERGENCY, press(2), transitions.raised(press(2)), no_answer),
        ],
    )
    assert isinstance(outcome.errors[0], StoreError)
    assert outcome.errors[1] is None
    assert [state.emergency_id for state in engine.tables.open_emergencies()] == [press(2).event_id]
    engine.close()


def test_a_group_with_nothing_to_write_touches_no_disk(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    before = len(faults.statements)
    unwritable = Write(Lane.TELEMETRY, fix(1, unit_name="\ud800"), None, no_answer)
    assert engine.commit(Lane.TELEMETRY, [unwritable]).errors[0] is not None
    ticket = Write(Lane.TELEMETRY, None, None, no_answer)
    assert engine.commit(Lane.TELEMETRY, [ticket]).errors == [None]
    assert len(faults.statements) == before
    assert engine.counts.commits == 0
    engine.close()


def test_a_transaction_that_cannot_even_be_rolled_back_raises_the_first_error(
    tmp_path: Path,
) -> None:
    class Stuck:
        in_transaction = True

        def run(self, sql: str, values: Any = ()) -> int:
            del values
            if sql == "BEGIN IMMEDIATE":
                return 0
            raise SqlError(CODE_IO, sql)

    db: Any = Stuck()
    with pytest.raises(SqlError, match="COMMIT"), transaction(db):
        pass


def test_a_file_that_somebody_else_writes_to_fails_a_commit_and_no_more(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "outbox.db")
    engine.tables.db.rows("PRAGMA busy_timeout = 10")
    other = connect(tmp_path / "outbox.db")
    other.run("BEGIN IMMEDIATE")
    group = [Write(Lane.TELEMETRY, fix(1), None, no_answer)]
    (error,) = engine.commit(Lane.TELEMETRY, group).errors
    assert "SQLITE_BUSY" in str(error)
    other.run("ROLLBACK")
    other.close()
    assert engine.commit(Lane.TELEMETRY, group).errors == [None]
    assert engine.gate.state == "accepting"
    engine.close()


# ---- housekeeping


def test_cursors_that_could_not_be_saved_are_saved_later(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    cursors = {("desk", lane): 7 for lane in Lane}
    aside = SetAside("desk", Lane.TELEMETRY, 5, "no", b"{}", at(0))
    fail(faults, "COMMIT", CODE_BUSY)
    engine.save(cursors, [aside])
    assert engine.saved_cursor(("desk", Lane.TELEMETRY)) == 0
    assert engine.tables.set_aside_rows("desk", 10) == []
    faults.heal()
    engine.save(cursors, [])
    assert engine.saved_cursor(("desk", Lane.TELEMETRY)) == 7
    assert engine.tables.set_aside_rows("desk", 10) == [aside]
    assert engine.tables.cursors() == cursors
    engine.close()


def test_cursors_that_have_not_moved_are_not_written_again(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    engine.save({("desk", lane): 7 for lane in Lane}, [])
    before = len(faults.statements)
    engine.save({("desk", lane): 7 for lane in Lane}, [])
    assert len(faults.statements) == before
    engine.close()


def test_nothing_is_swept_while_nothing_is_accepted(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    engine.gate.stop("a test")
    before = len(faults.statements)
    assert not engine.sweep([])
    engine.save({("desk", lane): 7 for lane in Lane}, [])
    assert len(faults.statements) == before
    engine.close()


def test_retention_that_fails_is_counted_and_tried_again(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    fail(faults, "DELETE", CODE_BUSY)
    assert not engine.sweep([])
    assert engine.counts.failed_commits == 1
    faults.heal()
    assert not engine.sweep([])
    engine.close()


def test_the_log_is_copied_into_the_file_when_it_has_become_long(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    before = (tmp_path / "outbox.db").stat().st_size
    engine.checkpoint()
    assert (tmp_path / "outbox.db").stat().st_size == before
    for start in range(0, 1000, 100):
        put(engine, *(fix(number) for number in range(start, start + 100)))
    fail(faults, "PRAGMA wal_checkpoint")
    engine.checkpoint()
    assert engine.counts.failed_commits == 1
    faults.heal()
    put(engine, *(fix(number, unit_name="x" * 1000) for number in range(100)))
    engine.checkpoint()
    assert (tmp_path / "outbox.db").stat().st_size > before
    engine.close()


def test_a_log_that_readers_keep_long_is_cut_in_a_moment_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG_LOG_PAGES", 5)
    monkeypatch.setattr(module, "READER_WAIT_S", 0.01)
    engine = open_engine(tmp_path / "outbox.db")
    log = tmp_path / "outbox.db-wal"

    def write_much() -> None:
        for start in range(0, 600, 200):
            put(engine, *(fix(n, unit_name="x" * 300) for n in range(start, start + 200)))

    with engine._reading:
        write_much()
        engine.checkpoint()
        assert log.stat().st_size > 0
    write_much()
    engine.checkpoint()
    assert log.stat().st_size == 0
    engine.close()


def test_a_probe_that_meets_damage_asks_for_a_new_file(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    engine.gate.stop("a test")
    fail(faults, "INSERT INTO probe", CODE_CORRUPT)
    engine.recover()
    assert engine.is_suspect
    faults.heal()
    engine.replace_if_damaged()
    assert engine.gate.state == "accepting"
    engine.close()


def test_a_file_that_cannot_be_replaced_stops_the_outbox_and_is_tried_again(tmp_path: Path) -> None:
    faults, pace = Faults(), ManualClock()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect, pace=pace)
    put(engine, fix(1))
    fail(faults, "INSERT", CODE_CORRUPT)
    assert put_emergency(engine, press(1)).errors[0] is not None
    assert engine.is_suspect
    engine.replace_if_damaged()
    assert engine.gate.state == "not_accepting"
    assert "cannot be begun anew" in engine.gate.why
    faults.heal()
    engine.replace_if_damaged()
    assert engine.gate.state == "not_accepting", "not before a minute has passed"
    pace._move_to(module.REPLACE_EVERY_S)
    engine.replace_if_damaged()
    assert len(engine.damage) == 1
    assert ids(engine.tables.last_rows(Lane.TELEMETRY, 10)) == [event_id(1)]
    assert put_emergency(engine, press(1)).errors == [None]
    engine.close()


def test_the_lag_of_each_sink_is_measured(tmp_path: Path) -> None:
    clock = ManualClock(at(0))
    engine = open_engine(tmp_path / "outbox.db", clock=clock)
    put(engine, fix(1), fix(2))
    put_emergency(engine, press(1))
    clock.step_wall(60)
    last = put(engine, fix(3))[-1].seq
    cursors = {("desk", lane): last for lane in Lane} | {("mqtt", lane): 0 for lane in Lane}
    lag = engine.measure(cursors)
    assert lag["desk"] == SinkLag(emergencies=0, telemetry=0, oldest_age_s=0.0)
    assert lag["mqtt"].emergencies == 1
    assert lag["mqtt"].telemetry >= 3
    assert lag["mqtt"].oldest_age_s == 60
    engine.close()


# ---- ends and small parts


def test_an_end_on_a_failing_disk_is_told_and_not_raised(tmp_path: Path) -> None:
    faults = Faults()
    engine = open_engine(tmp_path / "outbox.db", connect=faults.connect)
    fail(faults, "PRAGMA wal_checkpoint")
    with structlog.testing.capture_logs() as logs:
        engine.close()
    assert [entry["event"] for entry in logs] == ["outbox_close_failed"]
    open_engine(tmp_path / "outbox.db").close()


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "outbox.db")
    engine.close()
    engine.close()
    InstanceLock(tmp_path / "other.lock", tmp_path / "other.db").release()


def test_a_reserve_that_the_disk_does_not_give_is_not_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Reserve(tmp_path / "reserve", 1 << 16)

    def no_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", no_space)
    assert not reserve.ensure()
    assert names(tmp_path) == set()
    assert not reserve.give_up()
    assert Reserve(tmp_path / "no" / "folder", 1).free_bytes() == 0


def test_a_reserve_that_cannot_be_deleted_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Reserve(tmp_path / "reserve", 1 << 16)
    assert reserve.ensure()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert not reserve.give_up()


def test_a_file_that_cannot_be_opened_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SqlError, match="unable to open"):
        connect(tmp_path / "missing.db", read_only=True).rows("SELECT 1")
    with pytest.raises(SqlError):
        connect(tmp_path / "no" / "such" / "folder.db")


def test_text_that_is_not_utf8_can_still_be_read(tmp_path: Path) -> None:
    db: Database = connect(tmp_path / "any.db")
    assert db.rows("SELECT CAST(x'ff41' AS TEXT)") == [("\ufffdA",)]
    db.close()


def test_ringing_twice_wakes_once() -> None:
    bell = Doorbell()
    bell.ring()
    bell.ring()
    bell.wait(0)
    assert bell._lock.locked()


def test_what_is_found_in_a_log_is_taken_over_only_where_it_is_newer() -> None:
    found = Found()
    found.states[press(1).event_id] = (5, transitions.raised(press(1)))
    found.only_after(5)
    assert found.states == {}


def test_every_table_of_the_schema_is_known(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "outbox.db", OutboxSettings(reserve_bytes=SMALL.reserve_bytes))
    found = engine.tables.db.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    assert {row[0] for row in found} == TABLES
    engine.close()
