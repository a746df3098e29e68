"""Every statement of the outbox, and what its rows mean.

Rows are written by one statement for a whole group and read by one for a whole batch; ``many.py``
says why.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec

from gateway.model.emergency import Emergency
from gateway.model.events import (
    EMERGENCY_EVENTS,
    AnyEvent,
    PositionFix,
    event_from_json,
    struct_from_json,
    to_json,
)
from gateway.model.identity import EventId
from gateway.model.quantities import Instant
from gateway.outbox.database import Database, Value
from gateway.outbox.many import MOST_ROWS, ManyRows
from gateway.outbox.rows import Lane, Row

COLUMNS = 6
TABLE = {Lane.EMERGENCY: "emergency_rows", Lane.TELEMETRY: "telemetry_rows"}
NO_FIX = "no_fix"


def by_lane(sql: str) -> dict[Lane, str]:
    """One statement for each lane: its table stands where ``sql`` says ``{rows}``."""
    return {lane: sql.replace("{rows}", table) for lane, table in TABLE.items()}


_INSERT = {
    lane: ManyRows(sql, COLUMNS)
    for lane, sql in by_lane(
        "INSERT INTO {rows} SELECT * FROM {values} WHERE column1 IS NOT NULL"
    ).items()
}
_READ = by_lane(
    "SELECT count(*), max(seq), "
    "CAST(group_concat(seq || ':' || checksum || ':' || payload, char(10)) AS BLOB) "
    "FROM (SELECT seq, checksum, payload FROM {rows} WHERE seq > ? ORDER BY seq LIMIT ?)"
)
_READ_SINGLY = by_lane(
    "SELECT seq, checksum, CAST(payload AS BLOB) FROM {rows} WHERE seq > ? ORDER BY seq LIMIT ?"
)
_FROM_THE_END = by_lane("SELECT seq FROM {rows} ORDER BY seq DESC LIMIT 1 OFFSET ?")
_LAST_SEQ = by_lane("SELECT coalesce(max(seq), 0) FROM {rows}")
_COUNT_AFTER = by_lane("SELECT count(*) FROM {rows} WHERE seq > ?")
_OLDEST_AFTER = by_lane("SELECT stored_at FROM {rows} WHERE seq > ? ORDER BY seq LIMIT 1")
_NEWEST = by_lane("SELECT stored_at FROM {rows} ORDER BY seq DESC LIMIT 1")
_OPEN_EMERGENCIES = (
    "SELECT revision, checksum, state FROM emergencies WHERE phase <> 'closed' ORDER BY rowid"
)
_RECENT_EMERGENCIES = (
    "SELECT revision, checksum, state FROM emergencies "
    "WHERE phase <> 'closed' OR closed_at >= ? ORDER BY rowid"
)
_COMMANDS = (
    "SELECT seq, checksum, CAST(payload AS BLOB) FROM telemetry_rows INDEXED BY commands "
    "WHERE kind IN ('command_queued', 'command_sent', 'command_ended') ORDER BY seq"
)
_LAST_SEQ_GIVEN = (
    "SELECT max(seq) FROM telemetry_rows",
    "SELECT max(seq) FROM emergency_rows",
    "SELECT max(revision) FROM emergencies",
)

CursorKey = tuple[str, Lane]


class SetAside(NamedTuple):
    """A row that a sink will never take; ``payload`` is its contract JSON."""

    sink: str
    lane: Lane
    seq: int
    reason: str
    payload: bytes
    at: Instant


class Page(NamedTuple):
    """Rows read back; ``last_seq`` is the last one looked at, 0 where there was none.

    ``unreadable`` holds rows that are not as they were written, or no event of the contract.
    """

    rows: list[Row]
    unreadable: list[tuple[int, bytes]]
    last_seq: int


def kind_of(event: AnyEvent) -> str:
    """The event's type; ``no_fix`` sets a report without a valid fix apart from the fixes."""
    if type(event) is PositionFix and not event.fix_valid:
        return NO_FIX
    return str(type(event).__struct_config__.tag)


def lane_of(event: AnyEvent) -> Lane:
    """The lane in which such an event is kept."""
    return Lane.EMERGENCY if isinstance(event, EMERGENCY_EVENTS) else Lane.TELEMETRY


def checksum(number: int, text: bytes) -> int:
    """SQLite does not notice a flipped bit; an event that reads well may still be a wrong one."""
    return crc32(text, number & 0xFFFFFFFF)


def cursor_checksum(sink: str, lane: int, seq: int) -> int:
    """A cursor that is wrong would silently lose events, so it proves itself."""
    return crc32(f"{sink}/{int(lane)}/{seq}".encode())


class Tables:
    """The statements on one connection. Every method may raise SqlError."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def append(self, lane: Lane, rows: Sequence[Row], at: Instant) -> None:
        """Insert ``rows`` of one lane; atomic by itself for up to MOST_ROWS rows."""
        for start in range(0, len(rows), MOST_ROWS):
            values: list[Value] = []
            for row in rows[start : start + MOST_ROWS]:
                seq, _, event, payload = row
                values += (
                    seq,
                    at,
                    kind_of(event),
                    event.radio_id,
                    checksum(seq, payload),
                    payload,
                )
            self.db.run(*_INSERT[lane].fit(values))

    def put_emergency(self, state: Emergency, revision: int, text: bytes | None = None) -> None:
        """Insert an emergency with its raising event, or write it anew; ``text`` is its JSON."""
        text = text or to_json(state)
        self.db.run(
            "INSERT INTO emergencies VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (emergency_id) DO UPDATE SET phase = excluded.phase, "
            "revision = excluded.revision, closed_at = excluded.closed_at, "
            "checksum = excluded.checksum, state = excluded.state",
            (
                state.emergency_id,
                state.radio_id,
                state.kind,
                state.phase,
                revision,
                state.closed_at,
                checksum(revision, text),
                text,
            ),
        )

    def update_emergency(self, state: Emergency, revision: int, text: bytes) -> bool:
        """Write the new state of an emergency that is on disk; False where it is not."""
        changed = self.db.run(
            "UPDATE emergencies SET phase = ?, revision = ?, closed_at = ?, checksum = ?, "
            "state = ? WHERE emergency_id = ?",
            (
                state.phase,
                revision,
                state.closed_at,
                checksum(revision, text),
                text,
                state.emergency_id,
            ),
        )
        return changed == 1

    def open_emergencies(self) -> list[Emergency]:
        """Every emergency that no person has closed, oldest first."""
        return _readable_states(self.db.rows(_OPEN_EMERGENCIES))

    def recent_emergencies(self, since: Instant) -> list[Emergency]:
        """The open ones, and those closed at ``since`` or later; oldest first."""
        return _readable_states(self.db.rows(_RECENT_EMERGENCIES, (since,)))

    def commands(self) -> list[AnyEvent]:
        """Every event about a command that is kept, in order; what cannot be read left out."""
        found = self.db.rows(_COMMANDS)
        return [event for row in found if (event := read_event(*row)) is not None]

    def unreadable_emergencies(self) -> list[EventId]:
        """The ids of emergencies whose state is damaged."""
        found = self.db.rows("SELECT emergency_id, revision, checksum, state FROM emergencies")
        return [EventId(own_id) for own_id, *state in found if read_state(*state) is None]

    def read_after(self, lane: Lane, seq: int, limit: int) -> Page:
        """The next rows of a lane in order; an empty page at its end."""
        count, last_seq, text = self.db.rows(_READ[lane], (seq, limit))[0]
        if not count:
            return Page([], [], 0)
        lines = text.split(b"\n")
        if len(lines) != count:  # a damaged payload with a line end in it
            return self._read_singly(lane, seq, limit)
        return _decoded(lane, (_cut(line) for line in lines), last_seq)

    def _read_singly(self, lane: Lane, seq: int, limit: int) -> Page:
        found = self.db.rows(_READ_SINGLY[lane], (seq, limit))
        return _decoded(lane, found, found[-1][0])

    def last_rows(self, lane: Lane, limit: int) -> list[Row]:
        """The newest ``limit`` rows of a lane, oldest first; rows that cannot be read left out."""
        start = self.db.rows(_FROM_THE_END[lane], (limit,))
        seq = start[0][0] if start else 0
        found: list[Row] = []
        page = self.read_after(lane, seq, MOST_ROWS)
        while page.last_seq:
            found += page.rows
            page = self.read_after(lane, page.last_seq, MOST_ROWS)
        return found

    def last_seq_of(self, lane: Lane) -> int:
        """The newest row of a lane, 0 where it has none."""
        return int(self.db.rows(_LAST_SEQ[lane])[0][0])

    def last_seq_given(self) -> int:
        """The highest number ever drawn that anything on disk remembers."""
        drawn = [int(self.db.rows(query)[0][0] or 0) for query in _LAST_SEQ_GIVEN]
        return max(*drawn, *self.cursors().values())

    def count_after(self, lane: Lane, seq: int) -> int:
        """How many rows of a lane come after ``seq``; slow on a long telemetry lane."""
        return int(self.db.rows(_COUNT_AFTER[lane], (seq,))[0][0])

    def oldest_after(self, lane: Lane, seq: int) -> Instant | None:
        """When the first row after ``seq`` was stored, None where there is none."""
        found = self.db.rows(_OLDEST_AFTER[lane], (seq,))
        return Instant(found[0][0]) if found else None

    def newest_stored_at(self) -> Instant | None:
        """When the newest row was stored, None in an empty file."""
        found = [self.db.rows(_NEWEST[lane]) for lane in Lane]
        return max((Instant(rows[0][0]) for rows in found if rows), default=None)

    def cursors(self) -> dict[CursorKey, int]:
        """How far every sink has come; a cursor that does not prove itself is left out."""
        found = self.db.rows("SELECT sink, lane, seq, checksum FROM cursors")
        return {
            (sink, Lane(lane)): seq
            for sink, lane, seq, checksum in found
            if lane in (0, 1) and cursor_checksum(sink, lane, seq) == checksum
        }

    def put_cursors(self, cursors: Mapping[CursorKey, int]) -> None:
        """Write how far sinks have come."""
        for (sink, lane), seq in cursors.items():
            self.db.run(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)",
                (sink, int(lane), seq, cursor_checksum(sink, lane, seq)),
            )

    def put_set_aside(self, rows: Iterable[SetAside]) -> None:
        """Keep rows that a sink will never take."""
        for row in rows:
            self.db.run(
                "INSERT INTO set_aside (sink, lane, seq, reason, payload, at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (row.sink, int(row.lane), row.seq, row.reason, row.payload, row.at),
            )

    def forget_set_aside(self, sink: str, keep: int) -> None:
        """Keep only the newest ``keep`` rows set aside for ``sink``."""
        self.db.run(
            "DELETE FROM set_aside WHERE sink = ? AND number <= "
            "(SELECT number FROM set_aside WHERE sink = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (sink, sink, keep),
        )

    def set_aside_rows(self, sink: str, limit: int) -> list[SetAside]:
        """The newest rows set aside for ``sink``, newest first."""
        found = self.db.rows(
            "SELECT sink, lane, seq, reason, payload, at FROM set_aside "
            "WHERE sink = ? ORDER BY number DESC LIMIT ?",
            (sink, limit),
        )
        return [
            SetAside(name, Lane(lane), seq, reason, payload, Instant(at))
            for name, lane, seq, reason, payload, at in found
        ]

    def set_aside_reasons(self) -> list[tuple[str, str, int]]:
        """Sink, reason and how many rows were set aside for it; the most frequent first."""
        found = self.db.rows(
            "SELECT sink, reason, count(*) FROM set_aside GROUP BY sink, reason ORDER BY 3 DESC"
        )
        return [(sink, reason, int(count)) for sink, reason, count in found]

    def numbered_set_aside(self, sink: str) -> list[tuple[int, int, bytes]]:
        """Every row set aside for ``sink``, oldest first: its own number, lane and payload."""
        return self.db.rows(
            "SELECT number, lane, payload FROM set_aside WHERE sink = ? ORDER BY number", (sink,)
        )

    def drop_set_aside(self, numbers: Sequence[int]) -> None:
        """These were taken after all."""
        for number in numbers:
            self.db.run("DELETE FROM set_aside WHERE number = ?", (number,))

    def set_aside_counts(self) -> dict[str, int]:
        """How many rows are kept for each sink that refused some."""
        return dict(self.db.rows("SELECT sink, count(*) FROM set_aside GROUP BY sink"))

    def used_bytes(self) -> int:
        """What the file's live pages take; free pages inside it are not counted."""
        pages, free, size = (
            self.db.rows(f"PRAGMA {name}")[0][0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def free_bytes(self) -> int:
        """Room inside the file that needs no more of the disk."""
        free, size = (
            self.db.rows(f"PRAGMA {name}")[0][0] for name in ("freelist_count", "page_size")
        )
        return int(free * size)


def read_event(seq: int, proof: int, payload: bytes) -> AnyEvent | None:
    """The event of a row, None where it is not as it was written."""
    if checksum(seq, payload) != proof:
        return None
    try:
        return event_from_json(payload)
    except (msgspec.DecodeError, ValueError):
        return None


def read_state(revision: int, proof: int, text: bytes) -> Emergency | None:
    """The state of an emergency, None where it is not as it was written."""
    if checksum(revision, text) != proof:
        return None
    try:
        return struct_from_json(text, Emergency)
    except (msgspec.DecodeError, ValueError):
        return None


def _readable_states(found: Iterable[tuple[int, int, bytes]]) -> list[Emergency]:
    # A damaged one is mended when the file is opened.
    return [state for row in found if (state := read_state(*row)) is not None]


def _cut(line: bytes) -> tuple[int, int, bytes]:
    seq, proof, payload = line.split(b":", 2)
    return int(seq), int(proof), payload


def _decoded(lane: Lane, found: Iterable[tuple[int, int, bytes]], last_seq: int) -> Page:
    rows: list[Row] = []
    unreadable: list[tuple[int, bytes]] = []
    for seq, proof, payload in found:
        event = read_event(seq, proof, payload)
        if event is None:
            unreadable.append((seq, payload))
        else:
            rows.append(Row(seq, lane, event, payload))
    return Page(rows, unreadable, last_seq)
