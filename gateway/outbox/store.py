"""The outbox as the rest of the gateway sees it: submit on the event loop, settle after the commit.

Nothing here blocks the loop. Writes wait in two bounded queues for the thread "outbox"
(``worker.py``), which commits them and sends back one message for each group: first the listeners
see the new rows, then every write of the group is settled.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from gateway.clock import Clock
from gateway.model.emergency import Emergency
from gateway.model.events import AnyEvent
from gateway.model.identity import EventId
from gateway.model.quantities import Instant
from gateway.outbox.database import Connect, connect
from gateway.outbox.engine import Engine, Outcome
from gateway.outbox.gate import GateState
from gateway.outbox.reader import Reader
from gateway.outbox.rows import Lane, Row, Write
from gateway.outbox.stats import OutboxStats
from gateway.outbox.tables import Page, SetAside, Tables
from gateway.outbox.worker import Queued, Worker
from gateway.settings import OutboxSettings

log = structlog.get_logger("gateway.outbox")

EMERGENCY_QUEUE = 50_000  # writes; emergencies that wait are worth their memory
REASON_LIMIT = 200  # characters of a sink's reason that are kept

T = TypeVar("T")
RowsListener = Callable[[list[Row]], None]
StateListener = Callable[[GateState, str], None]


class Outbox:
    """The durable queue between radios and sinks.

    Life: ``open()`` (blocks), ``register_sink()`` for each sink, ``start(loop)``, use, ``close()``.
    """

    def __init__(
        self,
        path: Path,
        settings: OutboxSettings,
        clock: Clock,
        *,
        connect: Connect = connect,
    ) -> None:
        self._clock = clock
        self._path = path
        reading = threading.Lock()
        self._engine = Engine(
            path, settings, clock, connect, tell=self._state_changed, reading=reading
        )
        self._worker = Worker(
            self._engine, settings.commit_every_s, done=self._committed, ended=self._ended
        )
        self._reader = Reader(
            path,
            connect,
            lock=reading,
            generation=lambda: self._engine.generation,
            damaged=self._worker.suspect,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bounds = [EMERGENCY_QUEUE, settings.queue_rows]  # by lane
        self._waiting = [0, 0]
        self._refused = [0, 0]
        self._told = [0, 0]  # failures that submitters know of
        self._last_seq = [0, 0]
        self._high = settings.queue_rows // 2
        self._low = settings.queue_rows // 4
        self._room = asyncio.Event()
        self._room.set()
        self._is_settled = asyncio.Event()  # nothing is queued
        self._is_settled.set()
        self._has_ended = asyncio.Event()
        self._is_closing = False
        self._rows_listeners: list[RowsListener] = []
        self._state_listeners: list[StateListener] = []
        self._has_failed_listener = False

    # ---- life

    def open(self) -> None:
        """Open the file, migrate it, mend it; blocks.

        Raises StoreError where the file is in use, newer than this gateway or not an outbox, and
        ConfigError where its folder cannot be written.
        """
        self._worker.open()
        with self._reader.at_once() as tables:
            self._last_seq = [tables.last_seq_of(lane) for lane in Lane]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to accept writes; everything is settled on ``loop``."""
        self._loop = loop
        if self.state != "accepting":
            self._tell_state(self.state, self._engine.gate.why)

    async def close(self) -> None:
        """Commit and settle what is queued, then let go of the file."""
        self._is_closing = True
        if not self._worker.is_running:
            return
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        await self._reader.close()
        self._worker.close()
        await self._has_ended.wait()

    # ---- writing

    def submit(self, write: Write) -> bool:
        """Queue a write; never blocks.

        False, and nothing queued, when the lane's queue is at its bound: the caller counts it.
        """
        lane = write.lane
        waiting = self._waiting[lane]
        if waiting >= self._bounds[lane] or self._is_closing or self._loop is None:
            self._refused[lane] += 1
            return False
        self._waiting[lane] = waiting + 1
        self._is_settled.clear()
        if lane and waiting >= self._high:
            self._room.clear()
        self._worker.put(lane, Queued(write, self._told[lane]))
        return True

    async def room(self) -> None:
        """Wait while telemetry is behind: from half of its queue until it is down to a quarter."""
        await self._room.wait()

    async def settled(self) -> None:
        """Wait until everything that was queued is settled."""
        await self._is_settled.wait()

    def on_committed(self, listener: RowsListener) -> None:
        """Call ``listener`` on the loop with the rows of each commit, before they are settled."""
        self._rows_listeners.append(listener)

    def on_state(self, listener: StateListener) -> None:
        """Call ``listener`` on the loop with each new state and why it is so."""
        self._state_listeners.append(listener)

    # ---- sinks

    def register_sink(self, name: str, *, is_durable: bool = True) -> None:
        """Give a sink its cursors; before ``start``. A new sink gets everything that is kept.

        Rows stay until every durable sink has taken them, or room is needed.
        """
        for lane in Lane:
            self._worker.cursors[name, lane] = self._engine.saved_cursor((name, lane))
        if is_durable:
            self._worker.durable.append(name)

    def cursor(self, sink: str, lane: Lane) -> int:
        """The last row that ``sink`` is done with in ``lane``."""
        return self._worker.cursors[sink, lane]

    def advance(self, sink: str, lane: Lane, seq: int) -> None:
        """``sink`` is done with everything up to ``seq``; on disk within half a second."""
        self._worker.cursors[sink, lane] = max(seq, self._worker.cursors[sink, lane])

    def set_aside(self, sink: str, lane: Lane, seq: int, reason: str, payload: bytes) -> None:
        """``sink`` will never take this row; call before ``advance`` passes it."""
        self._worker.set_aside.append(
            SetAside(sink, lane, seq, reason[:REASON_LIMIT], payload, self._clock.now())
        )

    def last_seq(self, lane: Lane) -> int:
        """The newest row of a lane that listeners have been shown, or that was there at start."""
        return self._last_seq[lane]

    # ---- reading

    async def read_after(self, lane: Lane, seq: int, limit: int) -> Page:
        """The next rows after ``seq`` from disk; raises StoreError."""
        return await self._reader.ask(lambda tables: tables.read_after(lane, seq, limit))

    async def set_aside_rows(self, sink: str, limit: int) -> list[SetAside]:
        """The newest rows that ``sink`` refused, newest first; raises StoreError."""
        return await self._reader.ask(lambda tables: tables.set_aside_rows(sink, limit))

    def open_emergencies(self) -> list[Emergency]:
        """Every emergency that no person has closed, oldest first. Blocks: for the start."""
        with self._at_once() as tables:
            return tables.open_emergencies()

    def recent_emergencies(self, since: Instant) -> list[Emergency]:
        """The open ones and those closed at ``since`` or later. Blocks: for the start."""
        with self._at_once() as tables:
            return tables.recent_emergencies(since)

    def commands(self) -> list[AnyEvent]:
        """Every event about a command to a radio that is kept, in order. Blocks: for the start."""
        with self._at_once() as tables:
            return tables.commands()

    def recent_event_ids(self, limit: int) -> list[EventId]:
        """The newest ``limit`` event ids of both lanes, oldest first. Blocks: for the start."""
        with self._at_once() as tables:
            rows = [row for lane in Lane for row in tables.last_rows(lane, limit)]
        rows.sort(key=lambda row: row.seq)
        return [row.event.event_id for row in rows[-limit:]]

    @property
    def is_running(self) -> bool:
        """True while its thread lives: nothing becomes durable without it."""
        return self._worker.is_running

    @property
    def state(self) -> GateState:
        """What is accepted at the moment."""
        return self._engine.gate.state

    def stats(self) -> OutboxStats:
        """The outbox in figures; cheap."""
        engine, counts = self._engine, self._engine.counts
        names = [lane.name.lower() for lane in Lane]
        return OutboxStats(
            state=engine.gate.state,
            why=engine.gate.why,
            stored=dict(counts.stored),
            failed=dict(counts.failed),
            waiting=dict(zip(names, self._waiting, strict=True)),
            refused=dict(zip(names, self._refused, strict=True)),
            commits=counts.commits,
            failed_commits=counts.failed_commits,
            last_commit_s=counts.last_commit_s,
            commit_running_s=engine.commit_running_s(),
            last_error=counts.last_error,
            used_bytes=counts.used_bytes,
            expired=counts.expired,
            thinned=counts.thinned,
            rejected=dict(counts.rejected),
            set_aside=engine.set_aside_counts,
            set_aside_lost=engine.set_aside_lost,
            lag=self._worker.lag,
            damage=tuple(engine.damage),
        )

    @contextmanager
    def _at_once(self) -> Iterator[Tables]:
        with self._reader.at_once() as tables:
            yield tables

    # ---- on the thread "outbox"

    def _committed(self, outcome: Outcome, failures: int) -> None:
        self._on_loop(lambda: self._settle(outcome, failures))

    def _state_changed(self, state: GateState, why: str) -> None:
        self._on_loop(lambda: self._tell_state(state, why))

    def _ended(self) -> None:
        self._on_loop(self._has_ended.set)

    def _on_loop(self, call: Callable[[], None]) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed; whoever waited for an answer is gone with it.
            log.warning("outbox_without_loop")

    # ---- on the event loop

    def _settle(self, outcome: Outcome, failures: int) -> None:
        lane, writes, errors, rows = outcome
        self._waiting[lane] -= len(writes)
        self._told[lane] = failures
        if rows:
            self._last_seq[lane] = rows[-1].seq
            for listener in self._rows_listeners:
                try:
                    listener(rows)
                except Exception as error:  # noqa: BLE001 - not the next listener's trouble
                    self._listener_failed(error)
        for write, failure in zip(writes, errors, strict=True):
            try:
                write.settle(failure)
            except Exception as error:  # noqa: BLE001 - not the next write's trouble
                self._listener_failed(error)
        if lane and self._waiting[lane] <= self._low:
            self._room.set()
        if not any(self._waiting):
            self._is_settled.set()

    def _tell_state(self, state: GateState, why: str) -> None:
        log.warning("outbox_state", state=state, why=why)
        for listener in self._state_listeners:
            try:
                listener(state, why)
            except Exception as error:  # noqa: BLE001 - not the next listener's trouble
                self._listener_failed(error)

    def _listener_failed(self, error: Exception) -> None:
        if not self._has_failed_listener:
            self._has_failed_listener = True
            log.error("outbox_listener_failed", exc_info=error)
