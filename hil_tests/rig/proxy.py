"""A TCP proxy that misbehaves on demand, in the words of the fault proxies people know.

``add`` puts a toxic on one direction or both, at once and for every connection, standing or new;
``remove`` and ``heal`` take them off. What is random follows the seed.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

CHUNK_BYTES = 16 * 1024
IN_FLIGHT_CHUNKS = 64  # a direction holds so many; then its sender has to wait
SMOOTH_S = 0.05  # a narrow line hands on what fits in so long at a time

Address = tuple[str, int]


class Direction(StrEnum):
    """Which way bytes go through the proxy."""

    UP = "up"  # from who connected to the target
    DOWN = "down"  # from the target back


BOTH = (Direction.UP, Direction.DOWN)


@dataclass(frozen=True, slots=True)
class Latency:
    """Everything arrives later, in order, as fast as before."""

    delay_s: float
    jitter_s: float = 0.0  # up to so much more or less


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A narrow line."""

    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Timeout:
    """Nothing gets through, ends included. Closes after a while, or never (half-open)."""

    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ResetPeer:
    """Both ends get a TCP reset."""

    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Slicer:
    """Bytes come in small pieces, with a pause after each."""

    average_bytes: int
    variation_bytes: int = 0
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LimitData:
    """A connection is closed after so many bytes in this direction."""

    most_bytes: int


@dataclass(frozen=True, slots=True)
class SlowClose:
    """The end of one side is told to the other side later."""

    delay_s: float


Toxic = Latency | Bandwidth | Timeout | ResetPeer | Slicer | LimitData | SlowClose


class TcpProxy:
    """Forwards connections to ``target`` and does to them what the toxics say."""

    def __init__(
        self, target: Address, *, listen: Address = ("127.0.0.1", 0), seed: int = 0
    ) -> None:
        self.target = target
        self.connections = 0  # so far
        self.passed_bytes: Counter[Direction] = Counter()
        self.swallowed_bytes: Counter[Direction] = Counter()
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._listen = listen
        self._opening = asyncio.Lock()  # run and the scenario may both ask for the port
        self._server: asyncio.Server | None = None
        self._group: asyncio.TaskGroup | None = None
        self._callers: set[asyncio.StreamWriter] = set()  # while the target is being reached
        self._lines: set[_Line] = set()
        self._has_eased = asyncio.Event()
        self._toxics: dict[Direction, list[Toxic]] = {way: [] for way in Direction}

    @property
    def standing(self) -> int:
        """How many connections stand now."""
        return len(self._lines)

    async def listen(self) -> Address:
        """Open the port, if it is not open; the same port again after ``refuse``."""
        async with self._opening:
            if self._server is None:
                self._server = await asyncio.start_server(self._connected, *self._listen)
                host, port = self._server.sockets[0].getsockname()[:2]
                self._listen = (host, port)
        return self._listen

    def refuse(self) -> None:
        """Close the port, so that connecting is refused; what stands goes on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await self.listen()
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                self.refuse()
        raise AssertionError("a proxy ends only by being cancelled")

    def add(self, toxic: Toxic, *ways: Direction) -> None:
        """Put ``toxic`` on the directions given, on both where none is."""
        for way in ways or BOTH:
            self._toxics[way].append(toxic)
        for line in tuple(self._lines):
            line.apply(toxic)

    def remove(self, toxic: Toxic) -> None:
        """Take ``toxic`` off."""
        for toxics in self._toxics.values():
            toxics[:] = [other for other in toxics if other != toxic]
        self._has_eased.set()

    def heal(self) -> None:
        """Take every toxic off."""
        for toxics in self._toxics.values():
            toxics.clear()
        self._has_eased.set()

    async def eased(self) -> None:
        """Wait until a toxic is taken off."""
        self._has_eased.clear()
        await self._has_eased.wait()

    def cut(self) -> None:
        """Reset every connection that stands; new ones are welcome."""
        for line in tuple(self._lines):
            line.reset()
        for writer in self._callers:
            _reset(writer)

    def active(self, way: Direction) -> tuple[Toxic, ...]:
        """The toxics on a direction, in the order they were added."""
        return tuple(self._toxics[way])

    def has(self, toxic: Toxic) -> bool:
        """True while ``toxic`` is on a direction."""
        return any(toxic in toxics for toxics in self._toxics.values())

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._group is None:
            writer.transport.abort()
            return
        self.connections += 1
        self._group.create_task(self._serve(reader, writer), name="proxied connection")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.add(writer)
        try:
            far = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        except BaseException:
            writer.transport.abort()
            raise
        finally:
            self._callers.discard(writer)
        line = _Line(self, (reader, writer), far)
        self._lines.add(line)
        try:
            if writer.transport.is_closing():  # cut while the target was being reached
                line.reset()
            else:
                await line.run()
        finally:
            self._lines.discard(line)


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: TcpProxy, near: Side, far: Side) -> None:
        self._proxy = proxy
        self._writers = (near[1], far[1])
        self._pumps = (
            _Pump(self, proxy, Direction.UP, near[0], far[1]),
            _Pump(self, proxy, Direction.DOWN, far[0], near[1]),
        )
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def run(self) -> None:
        """Carry bytes both ways until both ends have had enough."""
        self._task = asyncio.current_task()
        for way in BOTH:
            for toxic in self._proxy.active(way):
                self.apply(toxic)
        try:
            async with asyncio.TaskGroup() as group:
                for pump in self._pumps:
                    group.create_task(pump.pull(), name="pull")
                    group.create_task(pump.push(), name="push")
        except asyncio.CancelledError:
            if not self._is_closing:
                for writer in self._writers:
                    writer.transport.abort()
            raise
        finally:
            for timer in self._timers:
                timer.cancel()
            for writer in self._writers:
                writer.close()

    def apply(self, toxic: Toxic) -> None:
        """Start the clock of a toxic that ends connections."""
        if isinstance(toxic, ResetPeer):
            self._later(toxic, toxic.after_s, self.reset)
        elif isinstance(toxic, Timeout) and toxic.after_s is not None:
            self._later(toxic, toxic.after_s, self.close)

    def _later(self, toxic: Toxic, after_s: float, end: Callable[[], None]) -> None:
        def fire() -> None:
            if self._proxy.has(toxic):
                end()

        self._timers.append(asyncio.get_running_loop().call_later(after_s, fire))

    def reset(self) -> None:
        """End with a TCP reset to both."""
        for writer in self._writers:
            _reset(writer)
        self._stop()

    def close(self) -> None:
        """End politely to both; what was written before still arrives."""
        self._is_closing = True
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()


class _Pump:
    """One direction of one connection: one coroutine reads, one writes, a short queue between."""

    def __init__(
        self,
        line: _Line,
        proxy: TcpProxy,
        way: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._line = line
        self._proxy = proxy
        self._way = way
        self._reader = reader
        self._writer = writer
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT_CHUNKS)
        self._passed = 0
        self._was_reset = False

    async def pull(self) -> None:
        """Take bytes from one side; b"" in the queue is its end."""
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            try:
                data = await self._reader.read(CHUNK_BYTES)
            except OSError:
                data = b""
                self._was_reset = True
            await self._queue.put((loop.time() + self._delay_s(), data))

    async def push(self) -> None:
        """Give bytes to the other side, mistreated."""
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            for piece in self._pieces(data):
                if not await self._pass(piece):
                    return
        await self._end()

    async def _pass(self, piece: bytes) -> bool:
        """Write one piece; False when the connection is at its end."""
        proxy, way = self._proxy, self._way
        pause_s = 0.0
        for toxic in proxy.active(way):
            if isinstance(toxic, Timeout):
                proxy.swallowed_bytes[way] += len(piece)
                return True
            if isinstance(toxic, LimitData):
                piece = piece[: max(0, toxic.most_bytes - self._passed)]
            elif isinstance(toxic, Bandwidth):
                pause_s += len(piece) / toxic.bytes_per_s
            elif isinstance(toxic, Slicer):
                pause_s += toxic.delay_s
        self._passed += len(piece)
        proxy.passed_bytes[way] += len(piece)
        with contextlib.suppress(OSError):
            self._writer.write(piece)
            await self._writer.drain()
        limits = [toxic for toxic in proxy.active(way) if isinstance(toxic, LimitData)]
        if any(self._passed >= limit.most_bytes for limit in limits):
            self._line.close()
            return False
        await asyncio.sleep(pause_s)
        return True

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self._piece_bytes()
            yield data[:size]
            data = data[size:]

    def _piece_bytes(self) -> int:
        size = CHUNK_BYTES
        for toxic in self._proxy.active(self._way):
            if isinstance(toxic, Slicer):
                wide = self._proxy.random.uniform(-1, 1) * toxic.variation_bytes
                size = min(size, round(toxic.average_bytes + wide))
            elif isinstance(toxic, Bandwidth):
                size = min(size, round(toxic.bytes_per_s * SMOOTH_S))
        return max(1, size)

    def _delay_s(self) -> float:
        delay_s = 0.0
        for toxic in self._proxy.active(self._way):
            if isinstance(toxic, Latency):
                delay_s += toxic.delay_s + self._proxy.random.uniform(-1, 1) * toxic.jitter_s
        return max(0.0, delay_s)

    async def _end(self) -> None:
        """Tell the other side that this one has ended, as it ended."""
        for toxic in self._proxy.active(self._way):
            if isinstance(toxic, SlowClose):
                await asyncio.sleep(toxic.delay_s)
        while any(isinstance(toxic, Timeout) for toxic in self._proxy.active(self._way)):
            await self._proxy.eased()
        if self._was_reset:
            self._line.reset()
        else:
            with contextlib.suppress(OSError, RuntimeError):  # the other side may be gone already
                self._writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset: unsent bytes are thrown away and the far end is told so."""
    wire = writer.get_extra_info("socket")
    if wire is not None:
        with contextlib.suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
