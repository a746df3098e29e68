"""Outbox rows into the desk's tables: one row per event id, however often it comes."""

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
from gateway.model.quantities import NS_PER_S, Instant
from gateway.outbox.rows import Row

MAX_INT = 2**63 - 1  # what SQLite keeps: as ns since 1970 the year 2262
AHEAD_NS = 300 * NS_PER_S  # a fix from further in the future than this has a wrong clock

_PUT_HOLDER = """
INSERT INTO holder (radio_id, unit_id, unit_name, team, link_id, driver) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_GET_HOLDER = """
SELECT holder_key FROM holder
WHERE radio_id = ? AND unit_id = ? AND unit_name = ? AND team = ? AND link_id = ? AND driver = ?
"""
_PUT_POSITION = """
INSERT INTO position (holder_key, at, event_key, received_at, fix_valid, fix_at, lat_deg, lon_deg,
    altitude_m, speed_mps, course_deg, accuracy_m, satellites, battery_pct, rssi_dbm)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
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


def position_time(event: PositionFix) -> Instant:
    """When the position was true: the receiver's time, unless it lies ahead of ours.

    A report that was stored in the radio is old and right; one from the future, or from before
    1970, has a wrong clock.
    """
    if event.fix_at is None or not 0 <= event.fix_at <= event.received_at + AHEAD_NS:
        return event.received_at
    return event.fix_at


def apply_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
    """Write ``rows`` inside the caller's transaction; returns how many were new."""
    holders: dict[tuple[str, ...], int] = {}
    new = 0
    for row in rows:
        if isinstance(row.event, PositionFix):
            new += _put_position(connection, holders, row.event)
        elif _put_event(connection, row.event, row.payload):
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


def _put_position(
    connection: sqlite3.Connection, holders: dict[tuple[str, ...], int], event: PositionFix
) -> int:
    who = (
        event.radio_id,
        event.unit_id or "",
        event.unit_name or "",
        event.team or "",
        event.link_id,
        event.driver,
    )
    holder_key = holders.get(who)
    if holder_key is None:
        connection.execute(_PUT_HOLDER, who)
        (holder_key,) = connection.execute(_GET_HOLDER, who).fetchone()
        holders[who] = holder_key
    cursor = connection.execute(
        _PUT_POSITION,
        (
            holder_key,
            position_time(event),
            _event_key(event.event_id),
            event.received_at,
            event.fix_valid,
            event.fix_at if event.fix_at is not None and 0 <= event.fix_at <= MAX_INT else None,
            event.lat_deg,
            event.lon_deg,
            event.altitude_m,
            event.speed_mps,
            event.course_deg,
            event.accuracy_m,
            event.satellites,
            event.battery_pct,
            event.rssi_dbm,
        ),
    )
    return cursor.rowcount


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
