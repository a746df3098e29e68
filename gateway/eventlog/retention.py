"""What is deleted and when: in small steps, so that nothing else waits for long."""

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from gateway.clock import Clock
from gateway.model.quantities import Instant
from gateway.retention_clock import RetentionClock

_TEAM_POSITIONS = """
DELETE FROM position WHERE (holder_key, at, event_key) IN (
    SELECT position.holder_key, position.at, position.event_key
    FROM position JOIN holder USING (holder_key)
    WHERE holder.team = ? AND position.at < ? AND NOT EXISTS (
        SELECT 1 FROM emergency WHERE emergency.team = holder.team
        AND position.at BETWEEN emergency.raised_at AND coalesce(emergency.closed_at, position.at)
    )
    LIMIT ?
)
"""
_NEWEST = """
SELECT max(newest) FROM (
    SELECT * FROM (SELECT at AS newest FROM position ORDER BY at DESC LIMIT 1)
    UNION ALL SELECT * FROM (SELECT received_at FROM event ORDER BY seq DESC LIMIT 1)
    UNION ALL SELECT * FROM (SELECT at FROM audit ORDER BY seq DESC LIMIT 1)
)
"""
STEP_ROWS = 2_000  # rows a step may delete; about 20 ms


class Limits(NamedTuple):
    """``history`` for positions and ordinary events, ``emergencies`` for closed ones.

    ``teams``: whose positions go earlier than the rest; but for those of an emergency of the team.
    """

    history: Instant
    emergencies: Instant
    teams: Mapping[str, Instant] = MappingProxyType({})


def read_clock(connection: sqlite3.Connection, name: str, clock: Clock) -> RetentionClock:
    """Where the file's clock stood; in a file that never had one, at its newest row."""
    kept = connection.execute("SELECT believed_at, doubted_s FROM retention_clock").fetchone()
    if kept is not None:
        return RetentionClock(name, clock, Instant(kept[0]), kept[1])
    (newest,) = connection.execute(_NEWEST).fetchone()
    return RetentionClock(name, clock, clock.now() if newest is None else Instant(newest))


def put_clock(connection: sqlite3.Connection, believed_at: Instant, doubted_s: float) -> None:
    """Keep where the clock stands: a start while it is in doubt must not end the doubt."""
    connection.execute(
        "INSERT OR REPLACE INTO retention_clock (one, believed_at, doubted_s) VALUES (1, ?, ?)",
        (believed_at, doubted_s),
    )


def step(connection: sqlite3.Connection, limits: Limits) -> int:
    """Delete at most STEP_ROWS rows of each kind; returns how many went, 0 at the end."""
    gone = connection.execute(
        "DELETE FROM position WHERE (holder_key, at, event_key) IN "
        "(SELECT holder_key, at, event_key FROM position WHERE at < ? LIMIT ?)",
        (limits.history, STEP_ROWS),
    ).rowcount
    for team, before in limits.teams.items():
        gone += connection.execute(_TEAM_POSITIONS, (team, before, STEP_ROWS)).rowcount
    gone += connection.execute(
        "DELETE FROM event WHERE seq IN (SELECT seq FROM event "
        "WHERE received_at < ? AND emergency_id = '' LIMIT ?)",
        (limits.history, STEP_ROWS),
    ).rowcount
    gone += _closed_emergencies(connection, limits.emergencies)
    if gone == 0:
        connection.execute(
            "DELETE FROM holder WHERE NOT EXISTS "
            "(SELECT 1 FROM position WHERE position.holder_key = holder.holder_key)"
        )
    return gone


def _closed_emergencies(connection: sqlite3.Connection, before: Instant) -> int:
    """Closed ones and their events go together; an open one is not looked at."""
    old = connection.execute(
        "SELECT emergency_id FROM emergency WHERE phase = 'closed' AND closed_at < ? LIMIT ?",
        (before, STEP_ROWS // 10),
    ).fetchall()
    for each in old:
        connection.execute("DELETE FROM event WHERE emergency_id = ?", each)
        connection.execute("DELETE FROM emergency WHERE emergency_id = ?", each)
    return len(old)
