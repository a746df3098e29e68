"""What the desk asks its log: plain reads over one connection."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.model.emergency import Emergency
from gateway.model.events import PositionFix, struct_from_json
from gateway.model.identity import EventId, RadioId, UnitId
from gateway.model.quantities import Instant

_POSITION = """position.at, position.received_at, fix_valid, fix_at, lat_deg, lon_deg, altitude_m,
    speed_mps, course_deg, accuracy_m, satellites, battery_pct, rssi_dbm,
    radio_id, unit_id, unit_name, team, link_id, driver"""

# CROSS JOIN makes SQLite begin with the few holders; left to choose it may read every position.
_LAST_OF_EACH = f"""
SELECT {_POSITION} FROM holder CROSS JOIN position ON position.holder_key = holder.holder_key
    AND (position.at, position.event_key) = (
        SELECT at, event_key FROM position AS newest
        WHERE newest.holder_key = holder.holder_key AND fix_valid AND lat_deg IS NOT NULL
        ORDER BY at DESC, event_key DESC LIMIT 1)
"""  # noqa: S608 - joins constants of this module, never a value


class TrackPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One stored report. ``at`` is when the position was true as far as that can be believed."""

    at: Instant
    fix: PositionFix  # without its event id, which is not kept for positions


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody has been, oldest first; ``is_thinned`` when points were left out."""

    points: Sequence[TrackPoint]
    is_thinned: bool


class LoggedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the desk's own log."""

    seq: int
    event: msgspec.Raw


class EmergencyLists(msgspec.Struct, frozen=True, kw_only=True):
    """``open`` oldest first, ``closed`` newest first."""

    open: Sequence[Emergency]
    closed: Sequence[Emergency]


def last_fixes(connection: sqlite3.Connection) -> list[PositionFix]:
    """The newest valid fix of every radio."""
    newest: dict[RadioId, TrackPoint] = {}
    for row in connection.execute(_LAST_OF_EACH):
        point = _track_point(row)
        known = newest.get(point.fix.radio_id)
        if known is None or point.at > known.at:
            newest[point.fix.radio_id] = point
    return [point.fix for point in newest.values()]


def track(
    connection: sqlite3.Connection,
    *,
    who: str,
    start: Instant,
    end: Instant,
    limit: int,
    team: str | None,
) -> Track:
    """Valid positions of a unit or radio from ``start`` up to and including ``end``.

    More than ``limit`` are thinned evenly in time: the first of each of ``limit`` - 1 equal spans,
    and the last of all. ``team`` keeps to reports made while the holder belonged to that team.
    """
    column = "radio_id" if ":" in who else "unit_id"
    of_team = "" if team is None else " AND team = :team"
    source = f"""
        FROM holder CROSS JOIN position ON position.holder_key = holder.holder_key
        WHERE {column} = :who{of_team} AND at BETWEEN :start AND :end
            AND fix_valid AND lat_deg IS NOT NULL"""
    values = {"who": who, "team": team, "start": start, "end": end}
    (count,) = connection.execute(f"SELECT count(*) {source}", values).fetchone()
    if count <= limit:
        found = connection.execute(f"SELECT {_POSITION} {source} ORDER BY at", values)
        return Track(points=[_track_point(row) for row in found], is_thinned=False)
    span = max(1, -(-(end - start + 1) // (limit - 1)))
    # SQLite takes the other columns from the row that has the minimum.
    first_of_each = (
        f"SELECT {_POSITION}, min(at) {source} GROUP BY (at - :start) / :span ORDER BY at"
    )
    thinned = [
        _track_point(row) for row in connection.execute(first_of_each, values | {"span": span})
    ]
    last = connection.execute(f"SELECT {_POSITION} {source} ORDER BY at DESC LIMIT 1", values)
    newest = _track_point(last.fetchone())
    if newest.at > thinned[-1].at:
        thinned.append(newest)
    return Track(points=thinned, is_thinned=True)


def teams_of(connection: sqlite3.Connection, who: str) -> set[str]:
    """The teams that a unit or radio has reported for."""
    column = "radio_id" if ":" in who else "unit_id"
    found = connection.execute(f"SELECT team FROM holder WHERE {column} = ?", (who,))  # noqa: S608 - two fixed names
    return {team for (team,) in found}


def emergencies(
    connection: sqlite3.Connection, closed_limit: int, team: str | None, since: Instant
) -> EmergencyLists:
    """Every open one; closed ones since ``since``, of ``team`` where one is given."""
    still_open = connection.execute(
        "SELECT state FROM emergency WHERE phase != 'closed' ORDER BY raised_at"
    )
    of_team = "" if team is None else "AND team = :team"
    closed = connection.execute(
        f"""SELECT state FROM emergency WHERE phase = 'closed' AND closed_at >= :since {of_team}
        ORDER BY closed_at DESC LIMIT :limit""",  # noqa: S608 - a fixed condition
        {"since": since, "team": team, "limit": closed_limit},
    )
    return EmergencyLists(open=_states(still_open), closed=_states(closed))


def emergency(connection: sqlite3.Connection, emergency_id: EventId) -> Emergency | None:
    """One emergency as the log knows it."""
    found = connection.execute(
        "SELECT state FROM emergency WHERE emergency_id = ?", (emergency_id,)
    )
    return next(iter(_states(found)), None)


def events(
    connection: sqlite3.Connection,
    *,
    after_seq: int | None,
    types: Sequence[str],
    limit: int,
    team: str | None,
    since: Instant,
) -> list[LoggedEvent]:
    """Events but fixes: what came after ``after_seq``, oldest first, or else the newest first."""
    conditions = ["received_at >= ?"]
    values: list[Any] = [since]
    if after_seq is not None:
        conditions.append("seq > ?")
        values.append(after_seq)
    if types:
        conditions.append(f"type IN ({', '.join('?' * len(types))})")
        values.extend(types)
    if team is not None:
        conditions.append("team = ?")
        values.append(team)
    order = "DESC" if after_seq is None else "ASC"
    found = connection.execute(
        f"SELECT seq, payload FROM event WHERE {' AND '.join(conditions)} "  # noqa: S608 - values are bound
        f"ORDER BY seq {order} LIMIT ?",
        [*values, limit],
    )
    return [LoggedEvent(seq=seq, event=msgspec.Raw(payload)) for seq, payload in found]


def _states(found: Iterable[tuple[bytes]]) -> list[Emergency]:
    return [struct_from_json(state, Emergency) for (state,) in found]


def _instant(value: int | None) -> Instant | None:
    return None if value is None else Instant(value)


def _track_point(row: tuple[Any, ...]) -> TrackPoint:
    fix = PositionFix(
        received_at=Instant(row[1]),
        fix_valid=bool(row[2]),
        fix_at=_instant(row[3]),
        lat_deg=row[4],
        lon_deg=row[5],
        altitude_m=row[6],
        speed_mps=row[7],
        course_deg=row[8],
        accuracy_m=row[9],
        satellites=row[10],
        battery_pct=row[11],
        rssi_dbm=row[12],
        radio_id=RadioId(row[13]),
        unit_id=UnitId(row[14]) if row[14] else None,
        unit_name=row[15] or None,
        team=row[16] or None,
        link_id=row[17],
        driver=row[18],
    )
    return TrackPoint(at=Instant(row[0]), fix=fix)
