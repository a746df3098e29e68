"""The desk's own log: one SQLite file, one thread, everything the desk shows of the past.

``synchronous=FULL`` with a commit for each batch. NORMAL would be faster, but with it a power cut
takes back commits that the dispatcher has been told of: the desk sink's cursor in the outbox would
stand behind rows that this file no longer has, and nobody would send them again. With FULL what
``apply`` confirmed is on disk, so the cursor is never ahead of the file. Measured cost: 0.7 % of a
core at a thousand rows a second.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.eventlog import accounts, audit, queries, repair, retention, writes
from gateway.eventlog.accounts import Account, Credentials, SignInLink, WebSession
from gateway.eventlog.audit import AuditEntry, AuditHead, AuditRow
from gateway.eventlog.queries import EmergencyLists, LoggedEvent, Track
from gateway.eventlog.schema import migrate, refuse_newer
from gateway.eventlog.worker import Worker
from gateway.model.emergency import Emergency
from gateway.model.events import NEVER, PositionFix
from gateway.model.identity import EventId
from gateway.model.quantities import NS_PER_S, Instant
from gateway.outbox.rows import Row
from gateway.retention_clock import RetentionClock

log = structlog.get_logger("gateway.eventlog")

BACKLOG = 256  # jobs that may wait for the thread
PRUNE_EVERY_S = 600.0
EMERGENCY_KEEP_S = 3 * 366 * 86_400.0  # closed emergencies are what the yearly assessment reads
WAL_PAGES = 2_000  # checkpoint after about 8 MiB of log
CACHE_KIB = 4_096  # the leaves that 500 radios write to, and the end of the index on time
AUDIT_STEP_ROWS = 2_000  # rows checked in one go; about 30 ms
DEFAULT_LINK_S = 3_600.0

T = TypeVar("T")

# What SQLite and its binding say about a value, and not about the file.
_ROW_FAULTS = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)


class EventLogError(GatewayError):
    """The desk's log cannot read or write now. The message says which file and why."""


class UnusableRowError(EventLogError):
    """The file works, but a row of the batch will never fit into it."""


class EventLog:
    """See the module's docstring. Every method but the constructor runs its work on the thread.

    Raises ``EventLogError`` when the file cannot be read or written, ``WorkerBusyError`` when too
    much is waiting.
    """

    def __init__(
        self,
        file: Path,
        clock: Clock,
        *,
        history_keep_s: float,
        emergency_keep_s: float = EMERGENCY_KEEP_S,
        team_keep_s: Mapping[str, float] | None = None,
    ) -> None:
        self._file = file
        self._clock = clock
        self._history_keep_ns = int(history_keep_s * NS_PER_S)
        self._emergency_keep_ns = int(max(emergency_keep_s, history_keep_s) * NS_PER_S)
        self._team_keep_s = dict(team_keep_s or {})
        self._worker = Worker("eventlog", BACKLOG)
        self._connection: sqlite3.Connection | None = None
        self._retention_clock: RetentionClock | None = None
        self.moved_aside: Path | None = None  # a damaged file found at start: an alarm for the desk

    # Life.

    async def open(self) -> None:
        """Open or make the file; a damaged one is moved aside whole, never deleted.

        Raises ConfigError when a newer version wrote it.
        """
        self._worker.start()
        try:
            self._connection = await self._worker.run(self._open)
        except BaseException:
            await self._worker.stop()
            raise

    async def close(self) -> None:
        """Finish what is waiting and close; harmless when closed."""
        await self._worker.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.to_thread(connection.close)

    async def run(self) -> None:
        """Keep to the retention for as long as the gateway lives; cancelled at the end."""
        while True:
            try:
                await self.prune()
            except GatewayError as error:
                log.warning("eventlog_prune_failed", why=str(error))
            await self._clock.sleep(PRUNE_EVERY_S)

    async def prune(self) -> int:
        """Delete what is older than the retention, in small steps; returns how many rows went.

        An emergency that nobody has closed is never deleted, nor are its events, nor audit rows.
        What is old goes by a clock that a wrong time does not move; see ``retention_clock.py``.
        """
        clock = self._retention_clock
        if clock is None:
            raise EventLogError(f"{self._file}: is not open")
        now = clock.now()
        believed_at, doubted_s = clock.believed_at, clock.doubted_s
        await self._write(lambda c: retention.put_clock(c, believed_at, doubted_s))
        limits = retention.Limits(
            history=Instant(now - self._history_keep_ns),
            emergencies=Instant(now - self._emergency_keep_ns),
            teams={
                team: Instant(now - int(keep_s * NS_PER_S))
                for team, keep_s in self._team_keep_s.items()
            },
        )
        total = 0
        while gone := await self._write(lambda connection: retention.step(connection, limits)):
            total += gone
        return total

    # Filled from the outbox.

    async def apply(self, rows: Sequence[Row]) -> int:
        """Write a batch in one commit; returns how many rows were new, 0 for a repeated batch.

        Raises UnusableRowError, having written nothing, when one of them cannot be written ever.
        """

        def write(connection: sqlite3.Connection) -> int:
            try:
                return writes.apply_rows(connection, rows)
            except _ROW_FAULTS as error:
                raise UnusableRowError(f"{self._file}: {error}") from error

        return await self._write(write)

    async def put_emergencies(self, states: Iterable[Emergency]) -> None:
        """Take over states that the outbox knows better: at start, and after repeated frames.

        A closed emergency is never opened again by an older state.
        """
        kept = list(states)

        def put(connection: sqlite3.Connection) -> None:
            for state in kept:
                known = writes.get_emergency(connection, state.emergency_id)
                if known is None or known.is_open or not state.is_open:
                    writes.put_emergency(connection, state)

        await self._write(put)

    # Questions.

    async def last_fixes(self) -> list[PositionFix]:
        """The newest valid fix of every radio, without event ids: where the board begins again."""
        return await self._read(queries.last_fixes)

    async def track(
        self, who: str, start: Instant, end: Instant, limit: int, team: str | None = None
    ) -> Track:
        """Where the unit or radio ``who`` (with ``:``) has been; see ``queries.track``."""
        return await self._read(
            lambda c: queries.track(c, who=who, start=start, end=end, limit=limit, team=team)
        )

    async def emergencies(
        self, closed_limit: int, *, team: str | None = None, since: Instant = NEVER
    ) -> EmergencyLists:
        """Open ones, and those closed since ``since`` (of ``team`` where one is given)."""
        return await self._read(lambda c: queries.emergencies(c, closed_limit, team, since))

    async def emergency(self, emergency_id: EventId) -> Emergency | None:
        """One emergency as the log knows it."""
        return await self._read(lambda c: writes.get_emergency(c, emergency_id))

    async def events(
        self,
        *,
        after_seq: int | None = None,
        types: Sequence[str] = (),
        limit: int = 200,
        team: str | None = None,
        since: Instant = NEVER,
    ) -> list[LoggedEvent]:
        """Events but fixes; see ``queries.events``."""
        return await self._read(
            lambda c: queries.events(
                c, after_seq=after_seq, types=types, limit=limit, team=team, since=since
            )
        )

    # Audit.

    async def audit(self, entry: AuditEntry) -> AuditHead:
        """Append one row to the audit log; on disk when this returns."""
        at, monotonic_s = self._clock.now(), self._clock.monotonic()
        return await self._write(lambda c: audit.append(c, entry, at, monotonic_s))

    async def audit_rows(self, before_seq: int | None, limit: int) -> list[AuditRow]:
        """Audit rows, newest first."""
        return await self._read(lambda c: audit.newest(c, before_seq, limit))

    async def audit_head(self) -> AuditHead:
        """The end of the chain, for publishing elsewhere."""
        return await self._read(audit.head)

    async def first_broken_audit_row(self) -> int | None:
        """The first row that does not follow from the one before, or None for an intact chain.

        Reads the whole log in steps, so that nothing else waits for long.
        """
        head = AuditHead(seq=0, hash=audit.FIRST_HASH)
        while True:
            step = await self._read(partial(audit.check_step, after=head, limit=AUDIT_STEP_ROWS))
            if step.is_end:
                return step.broken
            head = step.head

    # Accounts.

    async def has_accounts(self) -> bool:
        """False before the first person has signed in."""
        return bool(await self.accounts())

    async def accounts(self) -> list[Account]:
        """Every account by name."""
        return await self._read(accounts.accounts)

    async def account(self, account_id: int) -> Account:
        """One account; raises NotAllowedError where there is none."""
        return await self._read(lambda c: accounts.by_id(c, account_id))

    async def credentials(self, name: str) -> Credentials | None:
        """An account with its password hash, or None."""
        return await self._read(lambda c: accounts.by_name(c, name))

    async def create_account(
        self, name: str, roles: Collection[str], team: str | None, password_hash: str = ""
    ) -> Account:
        """A new account; raises NotAllowedError for a name in use or a bad one."""
        now = self._clock.now()
        return await self._write(
            lambda c: accounts.create_account(
                c, name=name, roles=roles, team=team, password_hash=password_hash, now=now
            )
        )

    async def set_roles(self, account_id: int, roles: Collection[str]) -> Account:
        """Replace the roles, ending the sessions; raises NotAllowedError for the last admin."""
        return await self._write(lambda c: accounts.set_roles(c, account_id, roles))

    async def set_enabled(self, account_id: int, *, is_enabled: bool) -> Account:
        """Enable or disable; raises NotAllowedError for the last admin."""
        return await self._write(
            lambda c: accounts.set_enabled(c, account_id, is_enabled=is_enabled)
        )

    async def set_password(self, account_id: int, password_hash: str, keep_session: str) -> None:
        """Replace the password, ending every session but ``keep_session`` (hashed)."""
        await self._write(
            lambda c: accounts.set_password(c, account_id, password_hash, keep_session)
        )

    async def create_sign_in_link(
        self,
        roles: Collection[str],
        name: str | None,
        ttl_s: float = DEFAULT_LINK_S,
        team: str | None = None,
    ) -> str:
        """A token that signs in once: as ``name``, or as whoever the person says when None.

        Put it behind ``/#sign-in=``. Raises NotAllowedError for unknown roles or a bad name.
        """
        token, now = accounts.new_token(), self._clock.now()
        expires_at = Instant(now + int(ttl_s * NS_PER_S))
        await self._write(
            lambda c: accounts.create_link(
                c, token=token, name=name, roles=roles, team=team, now=now, expires_at=expires_at
            )
        )
        return token

    async def link(self, token: str) -> SignInLink | None:
        """What a link would do, without using it up; None when it is wrong, used or too old."""
        hashed, now = accounts.token_hash(token), self._clock.now()
        return await self._read(lambda c: accounts.link(c, hashed, now))

    async def use_link(
        self, token: str, name: str | None = None, password_hash: str = ""
    ) -> Account | None:
        """Use a link up and give its account; see ``accounts.use_link``."""
        hashed, now = accounts.token_hash(token), self._clock.now()
        return await self._write(lambda c: accounts.use_link(c, hashed, name, password_hash, now))

    async def begin_session(self, account: Account, token: str, ttl_s: float) -> WebSession:
        """A new session for the cookie ``token``."""
        now = self._clock.now()
        expires_at = Instant(now + int(ttl_s * NS_PER_S))
        return await self._write(
            lambda c: accounts.begin_session(c, account, token, now, expires_at)
        )

    async def session(self, token: str) -> WebSession | None:
        """The session in force behind a cookie, or None."""
        hashed, now = accounts.token_hash(token), self._clock.now()
        return await self._read(lambda c: accounts.session(c, hashed, now))

    async def touch_session(self, hashed: str) -> None:
        """A person did something with this session."""
        now = self._clock.now()
        await self._write(lambda c: accounts.touch_session(c, hashed, now))

    async def ended_sessions(self, hashes: Collection[str]) -> set[str]:
        """Those of ``hashes`` that are in force no more."""
        kept, now = list(hashes), self._clock.now()
        return await self._read(
            lambda c: {each for each in kept if accounts.session(c, each, now) is None}
        )

    async def end_session(self, hashed: str) -> None:
        """Sign out."""
        await self._write(lambda c: accounts.end_session(c, hashed))

    # The thread.

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._worker.run(lambda: self._guarded(function))

    async def _write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._worker.run(lambda: self._guarded(_in_transaction(function)))

    def _guarded(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            raise EventLogError(f"{self._file}: is not open")
        try:
            return function(self._connection)
        except sqlite3.Error as error:
            if repair.is_damage(error):
                self._replace_damaged(error)
            raise EventLogError(f"{self._file}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return self._with_clock(_connect(self._file))
        except OSError as error:
            raise EventLogError(f"{self._file}: {error.strerror}") from error
        except repair.FAILURES as error:
            if not repair.is_damage(error):
                raise EventLogError(f"{self._file}: {error}") from error
            return self._with_clock(self._begin_anew(error))

    def _with_clock(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        name, clock = self._file.name, self._clock
        try:
            self._retention_clock = retention.read_clock(connection, name, clock)
        except repair.FAILURES:  # damage is seen to when it stands in somebody's way
            self._retention_clock = RetentionClock(name, clock, clock.now())
        return connection

    def _replace_damaged(self, error: sqlite3.Error) -> None:
        """Damage met while running: put a fresh file in place, once; the next needs a person."""
        if self.moved_aside is not None or self._connection is None:
            return
        self._connection.close()
        self._connection = self._begin_anew(error)

    def _begin_anew(self, error: sqlite3.Error | UnicodeDecodeError) -> sqlite3.Connection:
        self.moved_aside = repair.move_aside(self._file, self._clock.now())
        log.error(
            "eventlog_damaged", file=str(self._file), kept_as=str(self.moved_aside), why=str(error)
        )
        connection = _connect(self._file)
        repair.carry_over(self.moved_aside, connection)
        return connection


def _connect(file: Path) -> sqlite3.Connection:
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # before SQLite makes it readable to all
    file.chmod(0o600)
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        refuse_newer(connection, str(file))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA trusted_schema = OFF")
        migrate(connection, str(file))
        repair.check(connection, file)
    except BaseException:
        connection.close()
        raise
    return connection


def _in_transaction(
    function: Callable[[sqlite3.Connection], T],
) -> Callable[[sqlite3.Connection], T]:
    """``function`` between BEGIN and COMMIT; nothing of it stays when it raises."""

    def run(connection: sqlite3.Connection) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = function(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    return run
