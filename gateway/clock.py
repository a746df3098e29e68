"""Time comes in through one object, so that a test can move it."""

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from gateway.model.quantities import Instant


class Clock(Protocol):
    """What the gateway asks about time."""

    def monotonic(self) -> float:
        """Seconds that never go back: deadlines and ages."""
        ...

    def now(self) -> Instant:
        """The wall clock, UTC: stamps only, never order or age."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on the monotonic clock."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def now(self) -> Instant:
        """Nanoseconds of CLOCK_REALTIME."""
        return Instant(time.time_ns())

    async def sleep(self, seconds: float) -> None:
        """Wait with the event loop's timer."""
        await asyncio.sleep(seconds)


START = Instant(1_750_000_000_000_000_000)  # 2025-06-15, a day like any other


class ManualClock:
    """A clock that moves when told: 24 hours of heartbeats take a second, and no test sleeps."""

    def __init__(self, start: Instant = START) -> None:
        self._mono = 0.0
        self._wall = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._mono

    def now(self) -> Instant:
        """The start instant plus what was advanced and stepped."""
        return self._wall

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._mono + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move both clocks on, waking every sleeper at its own moment."""
        target = self._mono + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._move_to(due)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._move_to(target)
        await self._settle()

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back and leave the monotonic one alone."""
        self._wall = Instant(self._wall + round(seconds * 1e9))

    def _move_to(self, mono: float) -> None:
        if mono > self._mono:
            self._wall = Instant(self._wall + round((mono - self._mono) * 1e9))
            self._mono = mono

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):  # lets woken tasks run to their next wait
            await asyncio.sleep(0)
