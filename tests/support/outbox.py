"""Outboxes for tests: events to put in, answers to wait for, a database that fails on demand."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.clock import Clock, ManualClock
from gateway.errors import StoreError
from gateway.model.emergency import Emergency
from gateway.model.emergency import raised as state_of
from gateway.model.events import AnyEvent, EmergencyRaised, PositionFix
from gateway.model.identity import EventId, RadioId, derive_event_id
from gateway.outbox.database import (
    CODE_FULL,
    CODE_IO,
    Connect,
    Database,
    SqlError,
    StdlibDatabase,
    Value,
    connect,
)
from gateway.outbox.engine import Engine, Outcome
from gateway.outbox.rows import Lane, Row, Write
from gateway.outbox.store import Outbox
from gateway.settings import OutboxSettings
from tests.support.emergencies import at

SMALL = OutboxSettings(reserve_bytes=64 * 1024, commit_every_s=0.002)
PATIENCE_S = 10.0


def event_id(number: int, kind: str = "fix") -> EventId:
    """The id of the ``number``-th event of a test."""
    return derive_event_id("test", kind, number)


def fix(number: int, radio: int = 1, **fields: Any) -> PositionFix:
    """The ``number``-th fix of a test."""
    given = {
        "event_id": event_id(number),
        "site": "town",
        "radio_id": RadioId(f"pdt:{80020200 + radio}"),
        "received_at": at(number),
        "fix_valid": True,
        "lat_deg": 23.0 + number / 1e6,
        "lon_deg": 113.7,
    }
    return PositionFix(**{**given, **fields})


def press(number: int, radio: int = 1) -> EmergencyRaised:
    """The ``number``-th pressed button of a test."""
    return EmergencyRaised(
        event_id=event_id(number, "press"),
        site="town",
        radio_id=RadioId(f"pdt:{80020200 + radio}"),
        received_at=at(number),
        kind="alarm",
        is_drill=False,
        verified=True,
    )


class Answers:
    """Makes ``settle`` callbacks and notes what they were told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, StoreError | None]] = []
        self._news = asyncio.Event()

    def named(self, name: str) -> Callable[[StoreError | None], None]:
        def settle(error: StoreError | None) -> None:
            self.told.append((name, error))
            self._news.set()

        return settle

    @property
    def stored(self) -> list[str]:
        return [name for name, error in self.told if error is None]

    @property
    def failed(self) -> list[str]:
        return [name for name, error in self.told if error is not None]

    def error(self, name: str) -> StoreError | None:
        return dict(self.told)[name]

    async def wait(self, count: int) -> None:
        """Until so many writes have been settled."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.told) < count:
                self._news.clear()
                await self._news.wait()

    # writes with a named answer

    def event(self, event: AnyEvent, name: str = "", lane: Lane = Lane.TELEMETRY) -> Write:
        return Write(lane, event, None, self.named(name or event.event_id))

    def raising(self, event: EmergencyRaised, name: str = "") -> Write:
        return Write(Lane.EMERGENCY, event, state_of(event), self.named(name or event.event_id))

    def update(self, state: Emergency, name: str, event: AnyEvent | None = None) -> Write:
        return Write(Lane.EMERGENCY, event, state, self.named(name))

    def ticket(self, lane: Lane, name: str) -> Write:
        return Write(lane, None, None, self.named(name))


class Faults:
    """Decides which statements of the writing connection fail; reading ones never do.

    ``rule`` runs before each statement, on the thread that runs it: it may return an error to
    raise, and it may take its time.
    """

    def __init__(self) -> None:
        self.rule: Callable[[str], SqlError | None] = lambda _sql: None
        self.statements: list[str] = []

    def connect(self, path: Path, *, read_only: bool = False) -> Database:
        db = StdlibDatabase(path, read_only=read_only)
        return db if read_only else _FaultyDatabase(db, self)

    def heal(self) -> None:
        self.rule = lambda _sql: None

    def check(self, sql: str) -> None:
        self.statements.append(sql)
        error = self.rule(sql)
        if error is not None:
            raise error


def disk_full(sql: str) -> SqlError | None:
    """A rule: nothing can be written."""
    return SqlError(CODE_FULL, "database or disk is full") if writes(sql) else None


def disk_failing(sql: str) -> SqlError | None:
    """A rule: every write fails."""
    return SqlError(CODE_IO, "disk I/O error") if writes(sql) else None


def writes(sql: str) -> bool:
    """True for statements that put something on disk by themselves or with their transaction."""
    return sql.startswith(("INSERT", "UPDATE", "DELETE", "COMMIT"))


class _FaultyDatabase:
    def __init__(self, inner: Database, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def run(self, sql: str, values: Sequence[Value] = ()) -> int:
        self._faults.check(sql)
        return self._inner.run(sql, values)

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        self._faults.check(sql)
        return self._inner.rows(sql, values)

    @property
    def in_transaction(self) -> bool:
        return self._inner.in_transaction

    def interrupt(self) -> None:
        self._inner.interrupt()

    def close(self) -> None:
        self._inner.close()


@asynccontextmanager
async def running(
    path: Path,
    settings: OutboxSettings = SMALL,
    *,
    clock: Clock | None = None,
    connect: Connect = connect,
    sinks: Iterable[str] = (),
) -> AsyncIterator[Outbox]:
    """An outbox that is open and accepts writes; closed at the end."""
    outbox = Outbox(path, settings, clock or ManualClock(at(0)), connect=connect)
    outbox.open()
    for sink in sinks:
        outbox.register_sink(sink)
    outbox.start(asyncio.get_running_loop())
    try:
        yield outbox
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await outbox.close()


def open_engine(
    path: Path,
    settings: OutboxSettings = SMALL,
    *,
    clock: Clock | None = None,
    connect: Connect = connect,
    **more: Any,
) -> Engine:
    """The engine alone, on the test's own thread."""
    engine = Engine(
        path, settings, clock or ManualClock(at(0)), connect, reading=threading.Lock(), **more
    )
    engine.open()
    return engine


def no_answer(_error: StoreError | None) -> None:
    """For writes whose answer does not matter."""


def put(engine: Engine, *events: AnyEvent) -> list[Row]:
    """Commit telemetry; returns the rows."""
    return engine.commit(
        Lane.TELEMETRY, [Write(Lane.TELEMETRY, event, None, no_answer) for event in events]
    ).rows


def put_emergency(engine: Engine, event: EmergencyRaised) -> Outcome:
    """Commit an emergency with its state."""
    return engine.commit(Lane.EMERGENCY, [Write(Lane.EMERGENCY, event, state_of(event), no_answer)])


def ids(rows: Iterable[Row]) -> list[EventId]:
    """The event ids of rows, in order."""
    return [row.event.event_id for row in rows]


def everything(path: Path, lane: Lane) -> list[Row]:
    """All rows of a lane, read from the file by a connection of its own."""
    from gateway.outbox.tables import Tables  # noqa: PLC0415 - only some tests look inside

    db = connect(path, read_only=True)
    try:
        return Tables(db).last_rows(lane, 1_000_000)
    finally:
        db.close()
