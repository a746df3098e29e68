"""Outbox rows into the desk's tables: one row per event id, however often it comes."""

import json
import sqlite3
from collections.abc import Sequence
from hashlib import blake2b

from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.events import (
    AnyEvent,
    EmergencyClosed,
    EmergencyEnded,
    EmergencyRaised,
    EmergencyTaken,
    PositionFix,
    struct_from_json,
    to_json,
)
from gateway.model.identity import EventId
from gateway.outbox.many import MOST_ROWS, ManyRows
from gateway.outbox.rows import Row

MAX_INT = 2**63 - 1  # what SQLite keeps: as ns since 1970 the year 2262
Holder = tuple[str, ...]  # radio, unit, its name, team, link, driver

_HOLDER_COLUMNS, _POSITION_COLUMNS = 6, 15
_PUT_HOLDERS = ManyRows(
    "INSERT INTO holder (radio_id, unit_id, unit_name, team, link_id, driver) "
    "SELECT * FROM {values} WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING",
    _HOLDER_COLUMNS,
)
_GET_HOLDERS = ManyRows(
    "SELECT json_group_array(json_array("
    "holder_key, radio_id, unit_id, unit_name, team, link_id, driver)) "
    "FROM {values} CROSS JOIN holder ON radio_id = column1 AND unit_id = column2 "
    "AND unit_name = column3 AND team = column4 AND link_id = column5 AND driver = column6",
    _HOLDER_COLUMNS,
)
_PUT_POSITIONS = ManyRows(
    "INSERT INTO position (holder_key, at, event_key, received_at, fix_valid, fix_at, lat_deg, "
    "lon_deg, altitude_m, speed_mps, course_deg, accuracy_m, satellites, battery_pct, rssi_dbm) "
    "SELECT * FROM {values} WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING",
    _POSITION_COLUMNS,
)
_PUT_EVENT = """
INSERT INTO event (event_id, type, received_at, team, emergency_id, payload)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_PUT_EMERGENCY = """
INSERT INTO emergency (emergency_id, phase, raised_at, closed_at, team, state)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET phase = excluded.phase, closed_at = excluded.closed_at,
    state = excluded.state
"""


def apply_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
    """Write ``rows`` inside the caller's transaction; returns how many were new."""
    fixes = [row.event for row in rows if isinstance(row.event, PositionFix)]
    new = 0
    for start in range(0, len(fixes), MOST_ROWS):
        new += _put_positions(connection, fixes[start : start + MOST_ROWS])
    for row in rows:
        if isinstance(row.event, PositionFix):
            continue
        if _put_event(connection, row.event, row.payload):
            new += 1
            _fold(connection, row.event)
    return new


def put_emergency(connection: sqlite3.Connection, state: Emergency) -> None:
    """Write the state of one emergency over whatever was there."""
    connection.execute(
        _PUT_EMERGENCY,
        (
            state.emergency_id,
            state.phase,
            state.raised_at,
            state.closed_at,
            state.team or "",
            to_json(state),
        ),
    )


def get_emergency(connection: sqlite3.Connection, emergency_id: str) -> Emergency | None:
    """The folded state, or None where it is not known."""
    found = connection.execute(
        "SELECT state FROM emergency WHERE emergency_id = ?", (emergency_id,)
    ).fetchone()
    return struct_from_json(found[0], Emergency) if found else None


def _put_positions(connection: sqlite3.Connection, fixes: Sequence[PositionFix]) -> int:
    """Write one to MOST_ROWS positions; returns how many were new."""
    whose = [_holder(fix) for fix in fixes]
    keys = _holder_keys(connection, list(dict.fromkeys(whose)))
    values: list[float | None] = []
    for fix, holder in zip(fixes, whose, strict=True):
        values += (
            keys[holder],
            fix.true_at(),
            _event_key(fix.event_id),
            fix.received_at,
            fix.fix_valid,
            fix.fix_at if fix.fix_at is not None and 0 <= fix.fix_at <= MAX_INT else None,
            fix.lat_deg,
            fix.lon_deg,
            fix.altitude_m,
            fix.speed_mps,
            fix.course_deg,
            fix.accuracy_m,
            fix.satellites,
            fix.battery_pct,
            fix.rssi_dbm,
        )
    return connection.execute(*_PUT_POSITIONS.fit(values)).rowcount


def _holder(fix: PositionFix) -> Holder:
    unit = (fix.unit_id or "", fix.unit_name or "", fix.team or "")
    return (fix.radio_id, *unit, fix.link_id, fix.driver)


def _holder_keys(connection: sqlite3.Connection, holders: Sequence[Holder]) -> dict[Holder, int]:
    """The key of each holder; those that have none yet get one."""
    keys = _known_keys(connection, holders)
    unknown = [holder for holder in holders if holder not in keys]
    if unknown:
        connection.execute(*_PUT_HOLDERS.fit([text for holder in unknown for text in holder]))
        keys |= _known_keys(connection, unknown)
    return keys


def _known_keys(connection: sqlite3.Connection, holders: Sequence[Holder]) -> dict[Holder, int]:
    statement = _GET_HOLDERS.fit([text for holder in holders for text in holder])
    (found,) = connection.execute(*statement).fetchone()
    return {tuple(holder): key for key, *holder in json.loads(found)}


def _put_event(connection: sqlite3.Connection, event: AnyEvent, payload: bytes) -> bool:
    if isinstance(event, EmergencyRaised):
        emergency_id: str = event.event_id
    else:
        emergency_id = getattr(event, "emergency_id", None) or ""
    kind = type(event).__struct_config__.tag
    cursor = connection.execute(
        _PUT_EVENT,
        (event.event_id, kind, event.received_at, event.team or "", emergency_id, payload),
    )
    return cursor.rowcount == 1


def _fold(connection: sqlite3.Connection, event: AnyEvent) -> None:
    """Carry the folded state on; only a new event comes here, so a repeated row changes nothing."""
    after: Emergency | None = None
    if isinstance(event, EmergencyRaised):
        # The runtime may have put a later state already (put_emergencies): keep that one.
        if get_emergency(connection, event.event_id) is None:
            after = transitions.raised(event)
    elif isinstance(event, EmergencyEnded):
        before = get_emergency(connection, event.emergency_id or "")
        after = transitions.ended(before, event) if before else None
    elif isinstance(event, EmergencyTaken):
        before = get_emergency(connection, event.emergency_id)
        after = transitions.taken(before, event) if before and before.is_open else None
    elif isinstance(event, EmergencyClosed):
        before = get_emergency(connection, event.emergency_id)
        after = transitions.closed(before, event) if before and before.is_open else None
    if after is not None:
        put_emergency(connection, after)


def _event_key(event_id: EventId) -> int:
    """64 bits of the event id, signed: they only part reports of one radio and instant."""
    digest = blake2b(event_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
