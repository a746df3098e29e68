"""The power goes: no acknowledged event is lost and the file is whole (R3).

Each trial writes through the outbox's own engine on a disk that forgets unsynced sectors at random,
cuts the power at one of the syncs, and opens what is left with the usual SQLite.
"""

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.clock import ManualClock
from gateway.errors import StoreError
from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.identity import EventId
from gateway.outbox.database import Database
from gateway.outbox.engine import Engine
from gateway.outbox.rows import Lane, Write
from gateway.settings import OutboxSettings
from tests.support.emergencies import at
from tests.support.outbox import fix, no_answer, open_engine, press
from tests.support.power_cut import Disk, DiskDatabase, DiskFiles

CUTS = 200
CONTROL_CUTS = 40
ROUNDS = 12
# The log is copied into the file about every third round, so that cuts hit that as well.
SETTINGS = OutboxSettings(reserve_bytes=96 * 1024)

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


class Told(NamedTuple):
    """What the outbox promised before the cut."""

    events: dict[EventId, Lane]
    states: dict[EventId, Emergency]
    cursor: int


def story(engine: Engine, disk: Disk, chance: random.Random) -> Told:
    """Telemetry, emergencies and housekeeping, until the power goes or the story ends."""
    told = Told({}, {}, 0)
    number = 0
    for _ in range(ROUNDS):
        for lane in (Lane.TELEMETRY, Lane.EMERGENCY, Lane.EMERGENCY):
            number += 100
            if lane:
                count = chance.randrange(1, 60)
                events = [fix(number + each) for each in range(count)]
                group = [Write(lane, event, None, no_answer) for event in events]
            else:
                event = press(number)
                group = [Write(lane, event, transitions.raised(event), no_answer)]
            outcome = engine.commit(lane, group)
            if outcome.errors[0] is not None:
                return told
            told.events.update({row.event.event_id: lane for row in outcome.rows})
            if not lane:
                told.states[press(number).event_id] = transitions.raised(press(number))
        cursor = engine.last_seq
        engine.save({("desk", lane): cursor for lane in Lane}, ())
        if engine.saved_cursor(("desk", Lane.TELEMETRY)) == cursor and not disk.is_off:
            told = told._replace(cursor=cursor)
        engine.sweep(())
        engine.checkpoint()
    engine.close()
    return told


def run(folder: Path, seed: int, disk: Disk, synchronous: str = "FULL") -> Told:
    """One story on a new disk; returns what was promised, and leaves the files as the cut did."""
    folder.mkdir()
    chance = random.Random(seed)
    disk.is_cut_before = chance.random() < 0.5
    files = DiskFiles(f"disk-{folder.name}", disk)

    def connect(path: Path, *, read_only: bool = False) -> Database:
        assert not read_only
        return DiskDatabase(path, files, synchronous)

    told = Told({}, {}, 0)
    try:
        engine = open_engine(
            folder / "outbox.db", SETTINGS, clock=ManualClock(at(0)), connect=connect
        )
    except StoreError:
        pass  # the power went while the file was being made
    else:
        told = story(engine, disk, chance)
        engine.tables.db.close()
        engine._lock.release()
    files.unregister()
    disk.settle(chance)
    return told


def lost(folder: Path, told: Told) -> int:
    """How many promises a new start does not find kept; the file itself must be whole."""
    engine = open_engine(folder / "outbox.db", SETTINGS, clock=ManualClock(at(0)))
    assert engine.damage == []
    assert engine.tables.db.rows("PRAGMA integrity_check") == [("ok",)]
    found = {
        row.event.event_id: lane for lane in Lane for row in engine.tables.last_rows(lane, 10**6)
    }
    states = {state.emergency_id: state for state in engine.tables.open_emergencies()}
    missing = len(told.events.items() - found.items())
    missing += sum(states.get(each) != state for each, state in told.states.items())
    missing += engine.saved_cursor(("desk", Lane.TELEMETRY)) < told.cursor
    assert engine.commit(
        Lane.TELEMETRY, [Write(Lane.TELEMETRY, fix(10**6), None, no_answer)]
    ).errors == [None]
    engine.close()
    return missing


def test_no_acknowledged_event_is_lost_when_the_power_goes(tmp_path: Path) -> None:
    whole = Disk()
    run(tmp_path / "whole", 0, whole)
    assert whole.syncs > 40, "the story has syncs to cut at"
    promised = 0
    for cut in range(CUTS):
        disk = Disk()
        disk.cut_at = 1 + cut % whole.syncs
        told = run(tmp_path / f"cut-{cut}", cut, disk)
        assert disk.is_off
        promised += len(told.events)
        assert lost(tmp_path / f"cut-{cut}", told) == 0, f"seed {cut}"
    assert promised > 10 * CUTS


def test_the_cut_would_show_a_commit_that_is_not_synced(tmp_path: Path) -> None:
    """Without a sync for each commit rows are lost: the harness can tell."""
    losses = 0
    for cut in range(CONTROL_CUTS):
        disk = Disk()
        disk.cut_at_write = 60 + 4 * cut
        told = run(tmp_path / f"cut-{cut}", cut, disk, "NORMAL")
        assert disk.is_off
        losses += lost(tmp_path / f"cut-{cut}", told) > 0
    assert losses > CONTROL_CUTS // 4
