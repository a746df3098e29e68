"""Single writes and syncs fail: what was acknowledged is there and the file is whole (R5)."""

import random
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.model import emergency as transitions
from gateway.model.identity import EventId
from gateway.outbox.database import Database
from gateway.outbox.engine import Engine
from gateway.outbox.rows import Lane, Write
from gateway.settings import OutboxSettings
from tests.support.emergencies import at
from tests.support.outbox import fix, no_answer, open_engine, press
from tests.support.power_cut import Disk, DiskDatabase, DiskFiles

COMMITS = 2000
SETTINGS = OutboxSettings(reserve_bytes=96 * 1024)

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


class Rig:
    """The engine on a disk that works until it is told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "outbox.db"
        self.disk = Disk()
        self.files = DiskFiles(f"failing-{folder.name}", self.disk)
        self.told: list[str] = []
        self.stored: set[EventId] = set()
        self.refused: set[EventId] = set()
        self.engine: Engine = open_engine(
            self.path,
            SETTINGS,
            clock=ManualClock(at(0)),
            connect=self._connect,
            tell=lambda state, _why: self.told.append(state),
        )

    def _connect(self, path: Path, *, read_only: bool = False) -> Database:
        assert not read_only
        return DiskDatabase(path, self.files, "FULL")

    def commit(self, number: int) -> None:
        """A group of fixes or one emergency, by turns."""
        if number % 2:
            events = [fix(100 * number + each) for each in range(3)]
            group = [Write(Lane.TELEMETRY, event, None, no_answer) for event in events]
            outcome = self.engine.commit(Lane.TELEMETRY, group)
        else:
            event = press(number)
            group = [Write(Lane.EMERGENCY, event, transitions.raised(event), no_answer)]
            outcome = self.engine.commit(Lane.EMERGENCY, group)
        for write, error in zip(group, outcome.errors, strict=True):
            assert write.event is not None
            (self.refused if error else self.stored).add(write.event.event_id)

    def judge(self) -> None:
        """Everything stored is there, nothing that was refused is, and the file is whole."""
        self.engine.close()
        self.files.unregister()
        engine = open_engine(self.path, SETTINGS, clock=ManualClock(at(0)))
        assert engine.damage == []
        assert engine.tables.db.rows("PRAGMA integrity_check") == [("ok",)]
        found = [
            row.event.event_id for lane in Lane for row in engine.tables.last_rows(lane, 10**6)
        ]
        assert len(found) == len(set(found))
        assert set(found) == self.stored
        engine.close()


def test_one_call_in_a_hundred_fails_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    chance = random.Random(5)
    rig.disk.fault = lambda call: call in ("write", "sync") and chance.random() < 0.01
    for number in range(COMMITS):
        rig.commit(number)
        rig.engine.checkpoint()
        if number % 50 == 0:
            rig.engine.save({("desk", lane): rig.engine.last_seq - 10 for lane in Lane}, ())
            rig.engine.recover()
    rig.disk.fault = lambda _call: False
    assert 10 < rig.engine.counts.failed_commits < COMMITS // 4
    assert rig.engine.gate.state == "accepting"
    assert "not_accepting" not in rig.told
    rig.judge()
    assert len(rig.refused) > 10


@pytest.mark.parametrize("kind", ["write", "sync"])
def test_the_nth_call_fails_for_every_n(tmp_path: Path, kind: str) -> None:
    calls, nth = 0, 0

    def fault(call: str) -> bool:
        nonlocal calls
        calls += call == kind
        return call == kind and calls == nth

    (tmp_path / kind).mkdir()
    rig = Rig(tmp_path / kind)
    rig.disk.fault = fault
    number = 0
    for n in range(1, 60):
        nth, calls = n, 0
        while calls < n:
            number += 1
            rig.commit(number)
            rig.engine.save({("desk", lane): rig.engine.last_seq for lane in Lane}, ())
            rig.engine.checkpoint()
    nth = 0
    assert rig.engine.gate.state == "accepting"
    assert rig.engine.counts.failed_commits >= 50
    rig.judge()
