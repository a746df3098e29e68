"""From a path to a file that can be used: settings, schema, check, and what to do with damage."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from gateway.clock import Clock
from gateway.errors import ConfigError, StoreError
from gateway.model.quantities import Instant
from gateway.outbox.database import (
    CODE_CORRUPT,
    CODE_INTERRUPTED,
    Connect,
    Database,
    SqlError,
)
from gateway.outbox.pages import PAGE
from gateway.outbox.rows import Lane
from gateway.outbox.salvage import (
    Found,
    move_aside,
    move_back,
    replayed,
    restore,
    scan,
    sync_folder,
)
from gateway.outbox.schema import check_tables, migrate
from gateway.outbox.tables import Tables

log = structlog.get_logger("gateway.outbox")

CHECK_S = (
    1.5  # the structure of a gigabyte is checked in about this time; the rest is taken as good
)
LOG_LIMIT_BYTES = 8 << 20  # a write-ahead log that grew beyond this is cut when it starts anew

_PRAGMAS = (
    f"PRAGMA page_size = {PAGE}",  # only heeded by a new file; pages.py relies on it
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",  # the writer does it after it has told who waits
    f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -2048",  # KiB; written at the end, and read at the end
)


class Opened(NamedTuple):
    """A usable file; ``damage`` says what became of an unusable one, "" where there was none."""

    tables: Tables
    damage: str


def open_file(path: Path, connect: Connect, clock: Clock) -> Opened:
    """Open or make the outbox file.

    A damaged file is moved aside once and replaced by a new one with its readable rows. Raises
    StoreError where the file cannot be used and must not be touched, ConfigError where the folder
    is not usable.
    """
    _make(path)
    tail = scan(path, clock, only_log=True) if _log_size(path) else Found()
    db = connect(path)
    try:
        tables = _prepared(db, path)
        _take_over_tail(tables, tail, clock)
        _mend_states(tables)
    except SqlError as error:
        if error.is_damage:
            return replace_damaged(db, path, connect, clock, str(error))
        db.close()
        raise StoreError(f"{path} cannot be opened: {error}") from None
    except BaseException:
        db.close()
        raise
    return Opened(tables, "")


def replace_damaged(db: Database, path: Path, connect: Connect, clock: Clock, why: str) -> Opened:
    """Move a damaged file aside and begin a new one with what can be read of it.

    Closes ``db``, which has the damaged file open, after the move: SQLite leaves the log of a file
    that has moved alone. Raises StoreError where no new file can be begun.
    """
    try:
        aside = move_aside(path, clock.now())
    except OSError as error:
        raise StoreError(f"{path} is damaged ({why}) and cannot be moved: {error}") from None
    finally:
        db.close()
    found = scan(aside, clock)
    _tell_open_ones(found)
    try:
        tables = _begun_anew(path, found, connect, clock)
    except BaseException:
        # The next try shall find the damaged file again, and nothing else in its place.
        move_back(aside, path)
        raise
    rows = sum(map(len, found.rows.values()))
    rest = "" if found.is_complete else "; time ran out, more may be in it"
    damage = (
        f"{path.name} was damaged ({why}); kept as {aside.name}, "
        f"{rows} rows and {len(found.states)} emergencies taken over{rest}"
    )
    log.error("outbox_damaged", file=str(path), kept_as=aside.name, rows=rows, why=why)
    return Opened(tables, damage)


def _tell_open_ones(found: Found) -> None:
    """Every sink shall hear of an open emergency; what it has heard before is not told again."""
    floor = found.floor(Lane.EMERGENCY)
    found.complete_rows(
        {
            own_id: state
            for own_id, (revision, state) in found.states.items()
            if not state.is_open or revision <= floor
        }
    )


def _begun_anew(path: Path, found: Found, connect: Connect, clock: Clock) -> Tables:
    _make(path)
    db = connect(path)
    try:
        tables = _prepared(db, path)
        restore(found, tables, clock.now())
    except SqlError as error:
        db.close()
        raise StoreError(f"{path} was damaged and cannot be begun anew: {error}") from None
    return tables


def _make(path: Path) -> None:
    """An empty file that only the service can read, before SQLite makes one that others can."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); "
            "site.data_dir must be a folder that the service may write"
        ) from None


def _prepared(db: Database, path: Path) -> Tables:
    """Set up and check a connection; raises SqlError, and StoreError for a file not for us."""
    for pragma in _PRAGMAS:
        db.run(pragma)
    mode = db.rows("PRAGMA journal_mode = WAL")[0][0]
    if mode != "wal":
        raise StoreError(f"{path}: this file system takes no write-ahead log (mode {mode})")
    migrate(db, str(path))
    check_tables(db)
    _check_structure(db)
    return Tables(db)


def _check_structure(db: Database) -> None:
    """Raise SqlError where pages are damaged; gives up checking, not the file, after CHECK_S."""
    timer = threading.Timer(CHECK_S, db.interrupt)
    timer.daemon = True
    timer.start()
    try:
        verdict = str(db.rows("PRAGMA quick_check(1)")[0][0])
    except SqlError as error:
        if error.code == CODE_INTERRUPTED:
            return
        raise
    finally:
        timer.cancel()
        timer.join()  # it must not interrupt the next statement
    if verdict != "ok":
        raise SqlError(CODE_CORRUPT, verdict.splitlines()[0])


def _take_over_tail(tables: Tables, tail: Found, clock: Clock) -> None:
    """Rows of the log behind a spot that SQLite cannot read past.

    SQLite takes the log up to the first frame that does not check and forgets the rest without a
    word. After a power cut that is what was never acknowledged; after damage it may be more.
    """
    last_seq = tables.last_seq_given()
    tail.only_after(last_seq)
    if tail.states:
        known = {state.emergency_id: state for state in tables.recent_emergencies(Instant(0))}
        tail.complete_rows(known, last_seq)
    rows = sum(map(len, tail.rows.values()))
    if rows or tail.states:
        restore(tail, tables, clock.now())
        log.warning("outbox_log_tail_taken_over", rows=rows, emergencies=len(tail.states))


def _mend_states(tables: Tables) -> None:
    """An emergency's state that cannot be read any more is told anew by its events."""
    lost = tables.unreadable_emergencies()
    if not lost:
        return
    rows = tables.last_rows(Lane.EMERGENCY, tables.count_after(Lane.EMERGENCY, 0))
    known = replayed({row.seq: row for row in rows})
    mended = [known[each] for each in lost if each in known]
    for revision, state in mended:
        tables.put_emergency(state, revision)
    log.error("outbox_states_damaged", lost=len(lost), mended=len(mended))


def _log_size(path: Path) -> int:
    with suppress(OSError):
        return path.with_name(path.name + "-wal").stat().st_size
    return 0
