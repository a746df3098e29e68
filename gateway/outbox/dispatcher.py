"""Carries committed rows to the sinks: one loop for each sink and lane, each with its own cursor.

A loop that has caught up takes rows from memory, one that lags reads them back from disk. What a
sink cannot take now is offered again for ever; what it will never take is set aside with its
reason. The emergency lane's loop never waits for the telemetry lane's.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import structlog

from gateway.clock import Clock
from gateway.errors import SinkError, StoreError
from gateway.model.quantities import Instant
from gateway.outbox.rows import Delivery, Lane, Row
from gateway.outbox.store import Outbox
from gateway.outbox.tail import Tail

log = structlog.get_logger("gateway.sinks")

BATCH_ROWS = 500
LOOK_EVERY_S = 0.5  # during a pause: whether the other lane got through
TAIL_ROWS = {Lane.EMERGENCY: 2_000, Lane.TELEMETRY: 20_000}

SinkCondition = Literal["up", "behind", "down"]


class Taker(Protocol):
    """What the dispatcher needs of a sink; see gateway.sinks.base.Sink for the contract."""

    @property
    def name(self) -> str:
        """Names its cursor in the outbox."""
        ...

    async def deliver(self, rows: Sequence[Row]) -> Delivery:
        """Take one batch of one lane, in order; raises SinkError."""
        ...


@runtime_checkable
class Gathers(Protocol):
    """A taker that likes telemetry in fuller batches, by size and age."""

    batch_rows: int  # most rows of a batch
    gather_s: float  # the first row of a batch waits at most so long for others


class Pauses(Protocol):
    """How long to wait between tries."""

    def next(self) -> float:
        """Seconds to wait now."""
        ...

    def reset(self) -> None:
        """It worked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkState:
    """How one sink is doing.

    ``down``: its last batch was not taken, ``why`` says so. ``behind``: it takes, but is reading
    back from disk. ``lag`` is rows by lane, never too low; ``oldest_age_s`` is by the wall clock.
    """

    name: str
    condition: SinkCondition
    since: Instant
    why: str
    lag: dict[str, int]
    oldest_age_s: float
    delivered: dict[str, int]
    set_aside: int
    errors: int  # exceptions other than SinkError: bugs of the sink


class Dispatcher:
    """Feeds every sink. ``run`` lasts until it is cancelled.

    Sinks have to be registered with the outbox beforehand. ``new_pauses`` makes the back-off of one
    loop.
    """

    def __init__(
        self,
        outbox: Outbox,
        sinks: Sequence[Taker],
        clock: Clock,
        *,
        new_pauses: Callable[[], Pauses],
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self._outbox = outbox
        self._tails = {lane: Tail(TAIL_ROWS[lane], outbox.last_seq(lane)) for lane in Lane}
        self._feeds = {sink.name: Feed(sink.name, clock) for sink in sinks}
        self._pumps = {
            lane: [
                Pump(
                    sink,
                    lane,
                    outbox=outbox,
                    tail=self._tails[lane],
                    feed=self._feeds[sink.name],
                    clock=clock,
                    pauses=new_pauses(),
                    batch_rows=batch_rows,
                )
                for sink in sinks
            ]
            for lane in Lane
        }
        outbox.on_committed(self._committed)

    async def run(self) -> None:
        """Feed the sinks for as long as the gateway lives."""
        async with asyncio.TaskGroup() as group:
            for lane, pumps in self._pumps.items():
                for pump in pumps:
                    name = f"deliver {pump.sink.name} {lane.name.lower()}"
                    group.create_task(pump.run(), name=name)

    def retry(self, sink: str) -> None:
        """The sink is believed to be back: do not wait for the pause between tries to end."""
        self._feeds[sink].encouraged += 1

    async def caught_up(self) -> None:
        """Wait until every sink has taken everything committed so far; for a polite end."""
        for lane, pumps in self._pumps.items():
            target = self._outbox.last_seq(lane)
            for pump in pumps:
                await pump.reached(target)

    def states(self) -> list[SinkState]:
        """How each sink is doing."""
        stats = self._outbox.stats()
        found: list[SinkState] = []
        for name, feed in self._feeds.items():
            measured = stats.lag.get(name)
            lag: dict[str, int] = {}
            for lane, tail in self._tails.items():
                exact = tail.count_after(self._outbox.cursor(name, lane))
                coarse = 0
                if measured is not None:
                    coarse = measured.telemetry if lane else measured.emergencies
                lag[lane.name.lower()] = coarse if exact is None else exact
            found.append(
                SinkState(
                    name=name,
                    condition=feed.condition,
                    since=feed.since,
                    why=feed.why,
                    lag=lag,
                    oldest_age_s=measured.oldest_age_s if measured and any(lag.values()) else 0.0,
                    delivered={each.name.lower(): feed.delivered[each] for each in Lane},
                    set_aside=stats.set_aside.get(name, 0),
                    errors=feed.errors,
                )
            )
        return found

    def _committed(self, rows: list[Row]) -> None:
        lane = rows[0].lane
        tail = self._tails[lane]
        pumps = self._pumps[lane]
        if not pumps:
            return
        tail.forget_through(min(pump.cursor for pump in pumps))
        tail.append(rows)
        for pump in pumps:
            pump.wake()


class Feed:
    """What the two loops of one sink say about it together; a change is logged once."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._failing: dict[Lane, str] = {}
        self._behind: set[Lane] = set()
        self.condition: SinkCondition = "up"
        self.since = clock.now()
        self.why = ""
        self.delivered: Counter[Lane] = Counter()
        self.errors = 0
        self.rejected = 0
        self.encouraged = 0  # grows when there is reason to try again at once

    def failed(self, lane: Lane, why: str) -> None:
        """A batch was not taken."""
        self._failing[lane] = why
        self._weigh()

    def took(self, lane: Lane) -> None:
        """A batch was taken."""
        if self._failing:
            self.encouraged += 1
        if lane in self._failing:
            del self._failing[lane]
            self._weigh()

    def reads(self, lane: Lane, *, from_disk: bool) -> None:
        """Where a loop gets its rows from."""
        if from_disk != (lane in self._behind):
            if from_disk:
                self._behind.add(lane)
            else:
                self._behind.discard(lane)
            self._weigh()

    def rejected_row(self, lane: Lane, seq: int, reason: str) -> None:
        """The sink will never take a row; the first one is told, the counter tells the rest."""
        self.rejected += 1
        if self.rejected == 1:
            log.warning(
                "sink_set_row_aside", sink=self._name, lane=lane.name, seq=seq, why=reason[:200]
            )

    def raised(self, error: Exception) -> None:
        """A bug in the sink; its traceback is logged once."""
        self.errors += 1
        if self.errors == 1:
            log.error("sink_error", sink=self._name, exc_info=error)

    def _weigh(self) -> None:
        why = next(iter(self._failing.values()), "")
        condition: SinkCondition = "down" if self._failing else "behind" if self._behind else "up"
        self.why = why
        if condition == self.condition:
            return
        before, self.condition = self.condition, condition
        self.since = self._clock.now()
        if condition == "down":
            log.warning("sink_down", sink=self._name, why=why[:200])
        elif before == "down":
            log.info("sink_up", sink=self._name, is_behind=condition == "behind")
        else:
            log.info("sink_behind" if condition == "behind" else "sink_caught_up", sink=self._name)


class Pump:
    """One sink's loop over one lane."""

    def __init__(
        self,
        sink: Taker,
        lane: Lane,
        *,
        outbox: Outbox,
        tail: Tail,
        feed: Feed,
        clock: Clock,
        pauses: Pauses,
        batch_rows: int,
    ) -> None:
        self.sink = sink
        self.cursor = outbox.cursor(sink.name, lane)
        self._lane = lane
        self._outbox = outbox
        self._tail = tail
        self._feed = feed
        self._clock = clock
        self._pauses = pauses
        self._batch_rows, self._gather_s = batch_rows, 0.0
        if isinstance(sink, Gathers):
            self._batch_rows = sink.batch_rows
            self._gather_s = sink.gather_s if lane is Lane.TELEMETRY else 0.0
        self._pending: list[Row] = []  # read and not settled; in order
        self._read_through = self.cursor  # done with once nothing is pending
        self._news = asyncio.Event()
        self._moved = asyncio.Event()

    def wake(self) -> None:
        """Rows were committed."""
        self._news.set()

    async def reached(self, seq: int) -> None:
        """Wait until the cursor has come to ``seq``."""
        while self.cursor < seq:
            self._moved.clear()
            await self._moved.wait()

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            try:
                if not self._pending:
                    await self._read()
                await self._deliver()
            except (SinkError, StoreError) as error:
                self._feed.failed(self._lane, str(error))
                await self._pause(self._pauses.next())

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try, less where the sink is seen to take rows again."""
        encouraged = self._feed.encouraged
        while seconds > 0 and self._feed.encouraged == encouraged:
            await self._clock.sleep(min(seconds, LOOK_EVERY_S))
            seconds -= LOOK_EVERY_S

    async def _read(self) -> None:
        """Fill ``_pending``, waiting for news where there is nothing; raises StoreError."""
        while not self._pending:
            self._news.clear()
            rows = self._tail.after(self.cursor, self._batch_rows)
            self._feed.reads(self._lane, from_disk=rows is None)
            if rows is None:
                await self._read_from_disk()
            elif rows:
                if len(rows) < self._batch_rows and self._gather_s > 0:
                    await self._clock.sleep(self._gather_s)
                    rows = self._tail.after(self.cursor, self._batch_rows) or rows
                self._pending = rows
                self._read_through = rows[-1].seq
            else:
                await self._news.wait()

    async def _read_from_disk(self) -> None:
        target = self._tail.missing_through
        page = await self._outbox.read_after(self._lane, self.cursor, self._batch_rows)
        for seq, payload in page.unreadable:
            self._set_aside(seq, "unreadable row", payload)
        self._pending = page.rows
        # Without a row, nothing before the window is left: it was thinned.
        self._read_through = page.last_seq or target
        if not page.rows:
            self._advance(self._read_through)

    async def _deliver(self) -> None:
        """Offer the pending rows once and note what became of each; raises SinkError."""
        rows = self._pending
        try:
            delivery = await self.sink.deliver(rows)
        except (SinkError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - a sink's bug must stop neither the others nor it
            self._feed.raised(error)
            raise SinkError(f"{type(error).__name__}: {error}") from None
        self._settle(rows, delivery)
        if len(self._pending) == len(rows):
            raise SinkError(f"took none of {len(rows)} rows")
        self._feed.took(self._lane)
        self._pauses.reset()
        await asyncio.sleep(0)  # a sink that never waits must not keep the loop to itself

    def _settle(self, rows: list[Row], delivery: Delivery) -> None:
        accepted = set(delivery.accepted)
        pending: list[Row] = []
        for row in rows:
            reason = delivery.rejected.get(row.seq)
            if reason is not None:
                self._set_aside(row.seq, reason, row.payload)
            elif row.seq in accepted:
                self._feed.delivered[self._lane] += 1
            else:
                pending.append(row)
        self._pending = pending
        # Only what is done without a gap may be forgotten by the outbox.
        if not pending:
            self._advance(self._read_through)
        elif pending[0] is not rows[0]:
            self._advance(pending[0].seq - 1)

    def _set_aside(self, seq: int, reason: str, payload: bytes) -> None:
        self._outbox.set_aside(self.sink.name, self._lane, seq, reason, payload)
        self._feed.rejected_row(self._lane, seq, reason)

    def _advance(self, seq: int) -> None:
        self.cursor = max(self.cursor, seq)
        self._outbox.advance(self.sink.name, self._lane, self.cursor)
        self._moved.set()
