"""The outbox against a model of it, under generated sequences of what can happen to it."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateway.clock import ManualClock
from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.events import AnyEvent, EmergencyClosed, EmergencyEnded
from gateway.model.identity import EventId
from gateway.outbox.database import CODE_FULL, CODE_IO, SqlError
from gateway.outbox.engine import Engine
from gateway.outbox.rows import Lane, Write
from gateway.settings import OutboxSettings
from tests.support.emergencies import at
from tests.support.outbox import Faults, event_id, fix, no_answer, open_engine, press, writes

SETTINGS = OutboxSettings(reserve_bytes=16 * 1024, keep_s=1000.0)
SINKS = ("desk", "influx")
LANES = st.sampled_from(list(Lane))


class Stored(NamedTuple):
    """What the model remembers of a row."""

    event_id: EventId
    stored_at: float


class OutboxMachine(RuleBasedStateMachine):
    """The model: rows by number, states by id, cursors by sink and lane."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-model-"))
        self.generation = 0
        self.clock = ManualClock(at(0))
        self.faults = Faults()
        self.count = 0
        self.rows: dict[Lane, dict[int, Stored]] = {lane: {} for lane in Lane}
        self.states: dict[EventId, Emergency] = {}
        self.cursors = {(sink, lane): 0 for sink in SINKS for lane in Lane}
        self.saved = dict(self.cursors)
        self.highest = 0
        self.engine: Engine

    @property
    def path(self) -> Path:
        return self.folder / str(self.generation) / "outbox.db"

    @initialize()
    def begin(self) -> None:
        self.path.parent.mkdir()
        self.engine = open_engine(
            self.path, SETTINGS, clock=self.clock, connect=self.faults.connect
        )

    def teardown(self) -> None:
        self.faults.heal()
        self.engine.close()
        shutil.rmtree(self.folder)

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _commit(self, lane: Lane, pairs: list[tuple[AnyEvent | None, Emergency | None]]) -> bool:
        """Commit and bring the model along; True where it was stored."""
        group = [Write(lane, event, state, no_answer) for event, state in pairs]
        outcome = self.engine.commit(lane, group)
        failed = [error for error in outcome.errors if error is not None]
        assert len(failed) in (0, len(group))
        if failed:
            assert outcome.rows == []
            return False
        for row in outcome.rows:
            assert row.seq > self.highest, "a number is given once"
            self.highest = row.seq
            self.rows[lane][row.seq] = Stored(row.event.event_id, self.clock.monotonic())
        for _, state in pairs:
            if state is not None:
                self.states[state.emergency_id] = state
        return True

    # ---- what can happen

    @rule(count=st.integers(1, 40))
    def telemetry_is_committed(self, count: int) -> None:
        assert self._commit(Lane.TELEMETRY, [(fix(self._number()), None) for _ in range(count)])

    @rule()
    def an_emergency_is_raised(self) -> None:
        event = press(self._number())
        assert self._commit(Lane.EMERGENCY, [(event, transitions.raised(event))])

    @precondition(lambda self: self.states)
    @rule(data=st.data(), closes=st.booleans())
    def an_emergency_moves_on(self, data: st.DataObject, *, closes: bool) -> None:
        state = self.states[data.draw(st.sampled_from(sorted(self.states)))]
        number = self._number()
        if closes:
            closing = EmergencyClosed(
                event_id=event_id(number, "close"),
                received_at=at(number),
                emergency_id=state.emergency_id,
                by="li",
                verdict="drill",
            )
            assert self._commit(Lane.EMERGENCY, [(closing, transitions.closed(state, closing))])
        else:
            ended = EmergencyEnded(
                event_id=event_id(number, "end"), received_at=at(number), kind="alarm"
            )
            assert self._commit(Lane.EMERGENCY, [(ended, transitions.ended(state, ended))])

    @precondition(lambda self: self.states)
    @rule(data=st.data(), times=st.integers(1, 3))
    def frames_of_the_same_press_come(self, data: st.DataObject, times: int) -> None:
        state = self.states[data.draw(st.sampled_from(sorted(self.states)))]
        again = transitions.refreshed(state, press(self._number()))
        assert self._commit(Lane.EMERGENCY, [(None, again)] * times)

    @rule(lane=LANES, place=st.integers(1, 3), code=st.sampled_from([CODE_IO, CODE_FULL]))
    def a_commit_fails(self, lane: Lane, place: int, code: int) -> None:
        """The n-th statement that writes fails: whatever is refused must not be there."""
        seen = 0

        def nth(sql: str) -> SqlError | None:
            nonlocal seen
            seen += writes(sql)
            return SqlError(code, "as told") if writes(sql) and seen >= place else None

        self.faults.rule = nth
        number = self._number()
        if lane:
            self._commit(lane, [(fix(number), None)])
        else:
            event = press(number)
            self._commit(lane, [(event, transitions.raised(event))])
        self.faults.heal()
        for _ in range(2):
            self.engine.recover()
        assert self.engine.gate.state == "accepting"

    @rule(sink=st.sampled_from(SINKS), lane=LANES, steps=st.integers(1, 30))
    def a_sink_takes_rows(self, sink: str, lane: Lane, steps: int) -> None:
        cursor = self.cursors[sink, lane]
        ahead = sorted(seq for seq in self.rows[lane] if seq > cursor)[:steps]
        if ahead:
            self.cursors[sink, lane] = ahead[-1]

    @rule()
    def cursors_are_saved(self) -> None:
        self.engine.save(self.cursors, ())
        self.saved = dict(self.cursors)

    @rule(seconds=st.sampled_from([10.0, 600.0, 2000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock._move_to(self.clock.monotonic() + seconds)

    @rule()
    def retention_runs(self) -> None:
        while self.engine.sweep(SINKS):
            pass
        now = self.clock.monotonic()
        for lane, rows in self.rows.items():
            delivered = min(self.saved[sink, lane] for sink in SINKS)
            for seq in sorted(rows):
                if seq > delivered or now - rows[seq].stored_at <= SETTINGS.keep_s:
                    break
                del rows[seq]

    @rule()
    def it_is_stopped_and_started(self) -> None:
        self.engine.save(self.cursors, ())
        self.saved = dict(self.cursors)
        self.engine.close()
        self._start()

    @rule()
    def it_is_killed_and_started(self) -> None:
        """What a killed process leaves: the files as they are, the log not copied back."""
        before = self.path.parent
        self.generation += 1
        self.path.parent.mkdir()
        for file in before.iterdir():
            shutil.copy(file, self.path.parent / file.name)
        self.engine.close()
        self._start()
        self.cursors = dict(self.saved)

    def _start(self) -> None:
        self.engine = open_engine(
            self.path, SETTINGS, clock=self.clock, connect=self.faults.connect
        )
        assert self.engine.damage == []

    # ---- what must always hold

    @invariant()
    def each_row_is_there_once_and_in_order(self) -> None:
        for lane, rows in self.rows.items():
            found = self.engine.tables.last_rows(lane, 100_000)
            expected = [(seq, rows[seq].event_id) for seq in sorted(rows)]
            assert [(row.seq, row.event.event_id) for row in found] == expected

    @invariant()
    def each_emergency_is_in_its_last_committed_state(self) -> None:
        found = self.engine.tables.recent_emergencies(at(0))
        assert {state.emergency_id: state for state in found} == self.states

    @invariant()
    def cursors_are_those_that_were_saved(self) -> None:
        assert {key: self.engine.saved_cursor(key) for key in self.saved} == self.saved


OutboxMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, print_blob=True
)
TestOutbox = OutboxMachine.TestCase
