"""A damaged file: moved aside whole, its readable rows taken over, and the gateway starts (R26)."""

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.clock import ManualClock, SystemClock
from gateway.errors import StoreError
from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.events import (
    AnyEvent,
    EmergencyClosed,
    EmergencyEnded,
    EmergencyRaised,
    EmergencyTaken,
)
from gateway.model.identity import EventId
from gateway.outbox.engine import REPLACE_EVERY_S, Engine
from gateway.outbox.pages import FRAME_HEADER, PAGE, WAL_HEADER
from gateway.outbox.rows import Lane, Write
from gateway.outbox.salvage import scan
from tests.support.emergencies import at
from tests.support.outbox import (
    Answers,
    Faults,
    event_id,
    fix,
    ids,
    no_answer,
    open_engine,
    press,
    put,
    put_emergency,
    running,
)

ROWS = 400
MUTATIONS = 50


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox as a killed gateway leaves it: most of it in the file, the newest in the log."""
    folder = tmp_path_factory.mktemp("real")
    engine = open_engine(folder / "outbox.db", clock=SystemClock())
    for start in range(0, ROWS, 50):
        put(engine, *(fix(number, radio=number % 9) for number in range(start, start + 50)))
        put_emergency(engine, press(start, radio=start))
        if start == ROWS // 2:
            engine.tables.db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.save({("desk", lane): 20 for lane in Lane}, ())
    killed, closed = folder / "killed", folder / "closed"
    _copy_files(folder, killed)
    engine.close()
    _copy_files(folder, closed)
    return folder


def _copy_files(source: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for name in ("outbox.db", "outbox.db-wal"):
        if (source / name).exists():
            shutil.copy(source / name, target / name)
    return target / "outbox.db"


def aside(folder: Path) -> list[Path]:
    """Damaged files that were kept, without their logs."""
    return sorted(
        file for file in folder.glob("*.damaged-*") if not file.name.endswith(("-wal", "-shm"))
    )


def truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


def zero(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) // PAGE) * PAGE
    count = chance.randrange(1, 4) * PAGE
    data[start : start + count] = bytes(len(data[start : start + count]))


def scramble(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) // PAGE) * PAGE
    data[start : start + PAGE] = chance.randbytes(PAGE)


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 40)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def wrong_version(data: bytearray, chance: random.Random) -> None:
    data[60:64] = chance.randrange(2_000, 1 << 31).to_bytes(4, "big")


def header(data: bytearray, chance: random.Random) -> None:
    data[:100] = chance.randbytes(100)


WAYS: list[Callable[[bytearray, random.Random], None]] = [
    truncate,
    zero,
    scramble,
    flip,
    wrong_version,
    header,
]


@pytest.mark.parametrize("seed", range(MUTATIONS))
def test_a_gateway_starts_on_any_damaged_file_and_loses_no_readable_row(
    real: Path, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    path = _copy_files(real / chance.choice(["killed", "closed"]), tmp_path)
    damaged = path
    if chance.random() < 0.3 and path.with_name("outbox.db-wal").exists():
        damaged = path.with_name("outbox.db-wal")
    before = damaged.read_bytes()
    data = bytearray(before)
    WAYS[seed % len(WAYS)](data, chance)
    damaged.write_bytes(data)
    readable = _rows_on_untouched_pages(path, damaged, before, bytes(data), tmp_path / "judge")

    begun = time.monotonic()
    engine = open_engine(path, clock=SystemClock())
    assert time.monotonic() - begun < 5
    found = {row.event.event_id for lane in Lane for row in engine.tables.last_rows(lane, 10**6)}
    delivered = {event_id(number) for number in range(20)}
    assert readable - found <= delivered
    assert found <= ISSUED, "nothing is invented"
    assert put(engine, fix(9999)), "the file accepts new rows"
    assert engine.tables.db.rows("PRAGMA integrity_check") == [("ok",)]
    engine.close()
    assert [
        file.name in note for file, note in zip(aside(tmp_path), engine.damage, strict=True)
    ] in (
        [],
        [True],
    )
    again = open_engine(path, clock=SystemClock())
    assert again.damage == [], "a loop"
    again.close()


ISSUED = {event_id(number) for number in range(ROWS)} | {
    press(number).event_id for number in range(0, ROWS, 50)
}


def _rows_on_untouched_pages(
    path: Path, damaged: Path, before: bytes, after: bytes, judge: Path
) -> set[EventId]:
    """What can be read where every page and frame that the mutation touched is taken out."""
    is_log = damaged != path
    step, first = (PAGE + FRAME_HEADER, WAL_HEADER) if is_log else (PAGE, 0)
    kept = bytearray(before)
    for start in range(first, len(before), step):
        if after[start : start + step] != before[start : start + step]:
            kept[start + step - PAGE : start + step] = bytes(PAGE)
    copy = _copy_files(path.parent, judge)
    copy.with_name(damaged.name).write_bytes(kept)
    found = scan(copy, ManualClock())
    return {row.event.event_id for rows in found.rows.values() for row in rows.values()}


def test_the_damaged_file_is_kept_whole_beside_its_log(real: Path, tmp_path: Path) -> None:
    path = _copy_files(real / "killed", tmp_path)
    data = bytearray(path.read_bytes())
    chance = random.Random(1)
    for start in range(0, len(data), PAGE):
        data[start : start + 100] = chance.randbytes(100)
    path.write_bytes(data)
    log = path.with_name("outbox.db-wal").read_bytes()
    engine = open_engine(path, clock=SystemClock())
    engine.close()
    (note,) = engine.damage
    (moved,) = aside(tmp_path)
    assert moved.read_bytes() == bytes(data)
    assert moved.with_name(moved.name + "-wal").read_bytes() == log
    assert f"kept as {moved.name}" in note


def lose(path: Path, table: str) -> None:
    """Overwrite a small table."""
    with sqlite3.connect(path) as db:
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * PAGE : root * PAGE] = bytes(PAGE)
    path.write_bytes(data)


def test_open_emergencies_whose_rows_are_lost_are_told_anew(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    delivered, waiting, done = press(1), press(2, radio=2), press(3, radio=3)
    put_emergency(engine, delivered)
    engine.save({("desk", Lane.EMERGENCY): engine.last_seq}, ())
    put_emergency(engine, waiting)
    for _, event, state in story_of(done):
        engine.commit(Lane.EMERGENCY, [Write(Lane.EMERGENCY, event, state, no_answer)])
    engine.close()
    lose(path, "emergency_rows")
    engine = open_engine(path)
    assert engine.damage
    (row,) = engine.tables.last_rows(Lane.EMERGENCY, 10)
    assert row.event == waiting
    assert row.seq > engine.saved_cursor(("desk", Lane.EMERGENCY))
    assert {state.emergency_id for state in engine.tables.open_emergencies()} == {
        delivered.event_id,
        waiting.event_id,
    }
    engine.close()


def test_open_emergencies_survive_the_loss_of_their_table(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    put_emergency(engine, press(1))
    state = transitions.raised(press(1))
    taken = EmergencyTaken(
        event_id=event_id(2), received_at=at(2), emergency_id=press(1).event_id, by="li"
    )
    state = transitions.taken(state, taken)
    engine.commit(Lane.EMERGENCY, [Write(Lane.EMERGENCY, taken, state, no_answer)])
    engine.close()
    lose(path, "emergencies")
    engine = open_engine(path)
    assert engine.damage
    assert engine.tables.open_emergencies() == [state]
    engine.close()


def test_a_state_that_cannot_be_read_is_told_anew_by_its_events(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    put_emergency(engine, press(1))
    engine.tables.db.run("UPDATE emergencies SET state = ?", (b'{"emergency_id": 7',))
    assert engine.tables.open_emergencies() == []
    engine.close()
    engine = open_engine(path)
    assert engine.tables.open_emergencies() == [transitions.raised(press(1))]
    engine.close()


def test_rows_in_the_log_behind_a_damaged_spot_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    engine.tables.db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(10):
        put(engine, fix(number))
    log = path.with_name("outbox.db-wal")
    data = bytearray(log.read_bytes())
    data[WAL_HEADER + FRAME_HEADER + 2000] ^= 0xFF  # the first frame no longer checks
    kept = path.read_bytes()
    engine.close()
    path.write_bytes(kept)
    log.write_bytes(data)
    engine = open_engine(path)
    found = ids(engine.tables.last_rows(Lane.TELEMETRY, 100))
    assert found == [event_id(number) for number in range(10)]
    assert engine.last_seq >= 10
    engine.close()


def frames_of(data: bytes) -> range:
    """Where the frames of a log begin."""
    return range(WAL_HEADER, len(data), PAGE + FRAME_HEADER)


def cut_short(data: bytes) -> Iterator[bytes]:
    """A commit that was killed after each of its frames."""
    for end in frames_of(data):
        yield data[:end]


def one_left(data: bytes) -> Iterator[bytes]:
    """A commit of which a single frame is as it was written."""
    for kept in frames_of(data):
        left = bytearray(data)
        for start in frames_of(data):
            if start != kept:
                left[start + FRAME_HEADER : start + FRAME_HEADER + PAGE] = bytes(PAGE)
        yield bytes(left)


def told(engine: Engine) -> set[EventId]:
    return {row.event.event_id for row in engine.tables.last_rows(Lane.EMERGENCY, 10**6)}


@pytest.mark.parametrize("ways", [cut_short, one_left])
@pytest.mark.parametrize("act", ["raised", "ended", "taken", "closed"])
def test_whatever_is_left_of_a_commit_a_state_has_its_events(
    tmp_path: Path, ways: Callable[[bytes], Iterator[bytes]], act: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    path = source / "outbox.db"
    engine = open_engine(path)
    for number in range(60):  # more than a page of each table, so that their order is any
        put_emergency(engine, press(number, radio=number))
    history = story_of(press(100, radio=100))
    at_act = [name for name, _, _ in history].index(act)
    for name, event, state in history[: at_act + 1]:
        if name == act:
            engine.tables.db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.commit(Lane.EMERGENCY, [Write(Lane.EMERGENCY, event, state, no_answer)])
    wal = path.with_name("outbox.db-wal").read_bytes()
    shutil.copy(path, tmp_path / "base.db")
    engine.close()
    for count, log in enumerate(ways(wal)):
        folder = tmp_path / str(count)
        folder.mkdir()
        shutil.copy(tmp_path / "base.db", folder / "outbox.db")
        (folder / "outbox.db-wal").write_bytes(log)
        engine = open_engine(folder / "outbox.db")
        events = told(engine)
        states = engine.tables.recent_emergencies(at(0))
        for state in states:
            assert state.emergency_id in events, "the radio's retry would only refresh it"
        mine = [state for state in states if state.emergency_id == history[0][1].event_id]
        for _, event, state in history[: at_act + 1]:
            if mine == [state]:
                assert event.event_id in events
        assert events <= {event.event_id for _, event, _ in history} | ISSUED_EARLY
        engine.close()


ISSUED_EARLY = {press(number).event_id for number in range(60)}


def story_of(alarm: EmergencyRaised) -> list[tuple[str, AnyEvent, Emergency]]:
    """An emergency's whole life: what happened, its event, and the state after it."""
    own_id = alarm.event_id
    header: dict[str, Any] = {"site": alarm.site, "radio_id": alarm.radio_id}
    begun = transitions.raised(alarm)
    end = EmergencyEnded(
        event_id=transitions.ended_id(own_id, at(101)), kind="alarm", emergency_id=own_id,
        received_at=at(101), **header,
    )  # fmt: skip
    over = transitions.ended(begun, end)
    taking = EmergencyTaken(emergency_id=own_id, by="li", received_at=at(102), **header)
    taking = msgspec.structs.replace(taking, event_id=transitions.act_id(taking))
    in_hand = transitions.taken(over, taking)
    closing = EmergencyClosed(
        emergency_id=own_id, by="li", verdict="true", received_at=at(103), **header
    )
    closing = msgspec.structs.replace(closing, event_id=transitions.act_id(closing))
    return [
        ("raised", alarm, begun),
        ("ended", end, over),
        ("taken", taking, in_hand),
        ("closed", closing, transitions.closed(in_hand, closing)),
    ]


def test_a_cursor_that_does_not_prove_itself_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path)
    put(engine, fix(1))
    engine.save({("desk", lane): 1 for lane in Lane}, ())
    engine.tables.db.run("UPDATE cursors SET seq = 4000000 WHERE lane = 1")
    engine.close()
    engine = open_engine(path)
    assert engine.saved_cursor(("desk", Lane.TELEMETRY)) == 0
    assert engine.saved_cursor(("desk", Lane.EMERGENCY)) == 1
    assert engine.last_seq < 4_000_000
    engine.close()


def test_damage_met_while_running_is_seen_to_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"

    async def story() -> None:
        answers = Answers()
        async with running(path, sinks=["desk"]) as outbox:
            for number in range(500):
                outbox.submit(answers.event(fix(number)))
            outbox.submit(answers.raising(press(1)))
            await answers.wait(501)
            outbox._engine._shorten_log()
            with sqlite3.connect(path) as db:
                (root,) = db.execute(
                    "SELECT rootpage FROM sqlite_master WHERE name = 'telemetry_rows'"
                ).fetchone()
            db.close()
            with path.open("r+b") as file:
                file.seek((root - 1) * PAGE)
                file.write(bytes(PAGE))
            outbox._reader._generation = lambda: 99  # a connection that has nothing cached
            with pytest.raises(StoreError):
                await outbox.read_after(Lane.TELEMETRY, 0, 500)
            async with asyncio.timeout(10):
                while not outbox.stats().damage:
                    await asyncio.sleep(0.02)
            page = await outbox.read_after(Lane.TELEMETRY, 0, 500)
            assert ids(page.rows) == [event_id(number) for number in range(500)]
            assert [state.emergency_id for state in outbox.open_emergencies()] == [
                press(1).event_id
            ]
            outbox.submit(answers.event(fix(1000)))
            await answers.wait(502)
            assert answers.failed == []

    asyncio.run(story())
    assert len(aside(tmp_path)) == 1


def test_a_disk_that_damages_file_after_file_is_not_filled_with_them(tmp_path: Path) -> None:
    pace, faults, told = ManualClock(), Faults(), list[str]()
    engine = open_engine(
        tmp_path / "outbox.db",
        connect=faults.connect,
        pace=pace,
        tell=lambda state, why: told.append(f"{state}: {why}"),
    )
    for _ in range(3):
        engine.suspect("a page is gone")
        engine.replace_if_damaged()
        engine.recover()
    assert len(aside(tmp_path)) == len(engine.damage) == 1
    assert told == [
        "not_accepting: the outbox file was damaged again (a page is gone); check the disk"
    ]
    asyncio.run(pace.advance(REPLACE_EVERY_S + 1))
    engine.replace_if_damaged()
    assert len(aside(tmp_path)) == len(engine.damage) == 2
    assert engine.gate.state == "accepting"
    engine.close()
