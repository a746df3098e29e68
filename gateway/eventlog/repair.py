"""A damaged ``desk.db`` is moved aside whole; what can still be read goes into a fresh file.

Positions stay in the old file: they are many, the outbox and the time series have them too, and the
desk must come back at once. Accounts, sessions, emergencies, events and the audit log are carried
over row by row as far as they can be read.
"""

import contextlib
import sqlite3
from pathlib import Path

import structlog

from gateway.model.quantities import Instant

log = structlog.get_logger("gateway.eventlog")

CARRIED = ("account", "web_session", "sign_in_link", "emergency", "audit", "event")
MAX_ROWS = 200_000  # of each table, the newest; the desk does not wait for more
SMALL_BYTES = 64 * 1024 * 1024  # a file up to this size is checked whole at start, about 0.2 s

# What SQLite says of a broken schema quotes its bytes, which are no text any more.
FAILURES = (sqlite3.Error, UnicodeDecodeError)

_CORRUPT, _NOT_A_DATABASE = 11, 26  # SQLite's primary result codes


class DamageError(sqlite3.DatabaseError):
    """The file's own check found damage."""


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """True where the file itself is broken, and not only busy, full or forbidden."""
    if isinstance(error, DamageError | UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return code & 0xFF in (_CORRUPT, _NOT_A_DATABASE)


def check(connection: sqlite3.Connection, file: Path) -> None:
    """Raise DamageError when a file of moderate size does not hold together.

    A bigger one is not read whole at start; damage in it is found when a statement meets it.
    """
    if file.stat().st_size <= SMALL_BYTES:
        (line,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if line != "ok":
            raise DamageError(line)


def move_aside(file: Path, now: Instant) -> Path:
    """Rename the file and its journal out of the way; returns the new name. Nothing is deleted."""
    stamp = now.datetime().strftime("%Y%m%dT%H%M%S%f")
    kept = file.with_name(f"{file.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            file.with_name(file.name + suffix).rename(kept.with_name(kept.name + suffix))
    file.rename(kept)
    return kept


def carry_over(damaged: Path, fresh: sqlite3.Connection) -> dict[str, int]:
    """Copy the readable rows of the small tables; returns how many of each came over."""
    carried: dict[str, int] = {}
    with contextlib.suppress(*FAILURES):
        old = sqlite3.connect(
            f"{damaged.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
        )
        try:
            for table in CARRIED:
                carried[table] = _carry_table(old, fresh, table)
        finally:
            old.close()
    log.error("eventlog_salvaged", kept_as=str(damaged), rows=carried)
    return carried


def _carry_table(old: sqlite3.Connection, fresh: sqlite3.Connection, table: str) -> int:
    columns = [name for _, name, *_ in fresh.execute(f"PRAGMA table_info({table})")]
    names, places = ", ".join(columns), ", ".join("?" * len(columns))
    put = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})"  # noqa: S608 - names of our own schema
    count = 0
    fresh.execute("BEGIN IMMEDIATE")
    with contextlib.suppress(*FAILURES):  # reads as far as it gets
        # From both ends: a broken page in the middle hides neither the oldest nor the newest.
        for direction in ("DESC", "ASC"):
            with contextlib.suppress(*FAILURES):
                for row in old.execute(
                    f"SELECT {names} FROM {table} ORDER BY 1 {direction} LIMIT {MAX_ROWS}"  # noqa: S608 - names of our own schema
                ):
                    count += _put_row(fresh, put, row)
    fresh.execute("COMMIT")
    return count


def _put_row(fresh: sqlite3.Connection, put: str, row: tuple[object, ...]) -> int:
    try:
        return max(0, fresh.execute(put, row).rowcount)
    except (sqlite3.Error, OverflowError, UnicodeError):  # a row whose bytes make no sense any more
        return 0
