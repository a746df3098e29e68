"""What becomes of a damaged file: moved aside whole, its readable rows taken over by a new one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.clock import Clock
from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.events import (
    EmergencyClosed,
    EmergencyEnded,
    EmergencyRaised,
    EmergencyTaken,
    to_json,
)
from gateway.model.identity import EventId
from gateway.model.quantities import Instant
from gateway.outbox.database import transaction
from gateway.outbox.pages import Pages, Record
from gateway.outbox.rows import Lane, Row
from gateway.outbox.tables import (
    COLUMNS,
    CursorKey,
    Tables,
    cursor_checksum,
    lane_of,
    read_event,
    read_state,
)
from gateway.outbox.untold import events_between

SALVAGE_S = 3.0  # the radios are waiting; what is left then stays in the file moved aside
SUFFIXES = ("-wal", "-shm", "")  # of one database's files
_EMERGENCY_KIND = b"emergency_"


@dataclass(slots=True)
class Found:
    """What could be read of a file. ``is_complete`` is false where time ran out."""

    rows: dict[Lane, dict[int, Row]] = field(default_factory=lambda: {lane: {} for lane in Lane})
    states: dict[EventId, tuple[int, Emergency]] = field(default_factory=dict)  # with revision
    cursors: dict[CursorKey, int] = field(default_factory=dict)
    is_complete: bool = True

    def take(self, record: Record) -> None:
        """Keep what a record says, if it says anything of ours."""
        rowid, columns = record
        match columns:
            case [None, int(), bytes(), bytes(), int() as proof, bytes() as payload]:
                event = read_event(rowid, proof, payload)
                if event is not None:
                    lane = lane_of(event)
                    self.rows[lane].setdefault(rowid, Row(rowid, lane, event, payload))
            case [bytes(), _, _, _, int() as revision, _, int() as proof, bytes() as text]:
                state = read_state(revision, proof, text)
                if state is not None:
                    self._take_state(revision, state)
            case [bytes() as sink, int() as lane, int() as seq, int() as proof]:
                self._take_cursor(sink.decode("utf-8", "replace"), lane, seq, proof)

    def _take_state(self, revision: int, state: Emergency) -> None:
        known = self.states.get(state.emergency_id)
        if known is None or known[0] < revision:
            self.states[state.emergency_id] = (revision, state)

    def _take_cursor(self, sink: str, lane: int, seq: int, proof: int) -> None:
        if lane in (0, 1) and cursor_checksum(sink, lane, seq) == proof:
            key = (sink, Lane(lane))
            self.cursors[key] = max(seq, self.cursors.get(key, 0))

    def floor(self, lane: Lane) -> int:
        """What was delivered of a lane to every sink; 0 where that is not known."""
        return min((seq for (_, of), seq in self.cursors.items() if of is lane), default=0)

    def complete_rows(self, known: Mapping[EventId, Emergency], last_seq: int = 0) -> None:
        """Tell the events anew of which only the state is left; ``known`` are states before it.

        They are rows after everything that was found, and after ``last_seq``.
        """
        rows = self.rows[Lane.EMERGENCY]
        told = {row.event.event_id for row in rows.values()}
        revisions = (revision for revision, _ in self.states.values())
        seq = max((last_seq, *rows, *self.rows[Lane.TELEMETRY], *revisions))
        for _, state in sorted(self.states.values(), key=lambda each: each[0]):
            for event in events_between(known.get(state.emergency_id), state):
                if event.event_id not in told:
                    seq += 1
                    rows[seq] = Row(seq, Lane.EMERGENCY, event, to_json(event))

    def only_after(self, seq: int) -> None:
        """Forget what is not newer than ``seq``."""
        for lane, rows in self.rows.items():
            self.rows[lane] = {own: row for own, row in rows.items() if own > seq}
        self.states = {key: value for key, value in self.states.items() if value[0] > seq}
        self.cursors = {}


def scan(path: Path, clock: Clock, *, only_log: bool = False) -> Found:
    """Read what can be read of a database file in SALVAGE_S, emergencies first; never raises."""
    deadline = clock.monotonic() + SALVAGE_S
    found = Found()
    pages = Pages(path, only_log=only_log)
    try:
        for page in pages.leaves():
            first = next(pages.records(page), None)
            if first is not None and not _is_telemetry(first):
                for record in pages.records(page):
                    found.take(record)
        floor = found.floor(Lane.TELEMETRY)
        for page in pages.leaves():
            if clock.monotonic() > deadline:
                found.is_complete = False
                break
            for record in pages.records(page):
                if record[0] > floor and _is_telemetry(record):
                    found.take(record)
    finally:
        pages.close()
    _complete_states(found)
    return found


def restore(found: Found, tables: Tables, at: Instant) -> None:
    """Write what was found into ``tables``, all or nothing; raises SqlError."""
    with transaction(tables.db):
        for lane, rows in found.rows.items():
            tables.append(lane, [rows[seq] for seq in sorted(rows)], at)
        for revision, state in sorted(found.states.values(), key=lambda each: each[0]):
            tables.put_emergency(state, revision)
        tables.put_cursors(found.cursors)


def move_aside(path: Path, now: Instant) -> Path:
    """Rename the file and its log to ``<name>.damaged-<time>``; returns the new name."""
    stamp = now.datetime().strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in SUFFIXES:
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(target.with_name(target.name + suffix))
    sync_folder(path.parent)
    return target


def move_back(aside: Path, path: Path) -> None:
    """Undo ``move_aside``; whatever was begun at ``path`` since then is deleted."""
    for suffix in SUFFIXES:
        source = aside.with_name(aside.name + suffix)
        path.with_name(path.name + suffix).unlink(missing_ok=True)
        if source.exists():
            source.rename(path.with_name(path.name + suffix))


def sync_folder(folder: Path) -> None:
    """Make new and renamed files of a folder last; raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replayed(rows: dict[int, Row]) -> dict[EventId, tuple[int, Emergency]]:
    """The states of emergencies as their events in the emergency lane tell them."""
    states: dict[EventId, tuple[int, Emergency]] = {}
    for seq in sorted(rows):
        event = rows[seq].event
        if isinstance(event, EmergencyRaised):
            states[event.event_id] = (seq, transitions.raised(event))
        elif (
            isinstance(event, EmergencyEnded | EmergencyTaken | EmergencyClosed)
            and event.emergency_id in states
        ):
            _, state = states[event.emergency_id]
            states[event.emergency_id] = (seq, _moved(state, event))
    return states


def _moved(state: Emergency, event: EmergencyEnded | EmergencyTaken | EmergencyClosed) -> Emergency:
    if isinstance(event, EmergencyEnded):
        return transitions.ended(state, event)
    if isinstance(event, EmergencyTaken):
        return transitions.taken(state, event)
    return transitions.closed(state, event)


def _complete_states(found: Found) -> None:
    """An emergency whose state is lost, or older than its events, is told anew by its events."""
    for emergency_id, (seq, state) in replayed(found.rows[Lane.EMERGENCY]).items():
        known = found.states.get(emergency_id)
        if known is None or known[0] < seq:
            found.states[emergency_id] = (seq, state)


def _is_telemetry(record: Record) -> bool:
    columns = record[1]
    if len(columns) != COLUMNS or columns[0] is not None:
        return False
    kind = columns[2]
    return isinstance(kind, bytes) and not kind.startswith(_EMERGENCY_KIND)
