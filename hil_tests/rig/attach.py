"""Hangs emulated devices on wires: a pty, a TCP connection either way, a UDP socket.

A wire feeds ``Device.receive``, calls ``Device.tick`` about ten times a second and sends what
``Device.outgoing`` gives. Each wire is one coroutine, ``run``, which serves until cancelled; five
hundred of them fit in one process.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import NoReturn, Protocol, cast, runtime_checkable

from drivers.api import Moment
from gateway.clock import Clock
from gateway.reasons import reason
from gateway.runtime.backoff import Backoff
from hil_tests.devices.base import Device
from hil_tests.rig.pty import PtyPort

TICK_S = 0.1
UNSENT_BYTES = 256 * 1024  # more than this waiting, and a device's frames are lost
GOLDEN = 0.618034  # spreads the wires' ticks evenly over TICK_S

Address = tuple[str, int]
_wires = itertools.count()


@runtime_checkable
class Connects(Protocol):
    """A device that says something first on every new connection (a login, for example)."""

    def connected(self, now: Moment) -> None:
        """A new TCP connection stands."""
        ...


def unchanged(data: bytes) -> bytes:
    """A cable without noise."""
    return data


class Wire:
    """What all wires share. Counts frames sent and lost, and bytes received."""

    def __init__(self, device: Device, clock: Clock, *, tick_s: float = TICK_S) -> None:
        self.device = device
        self.sent_frames = 0
        self.lost_frames = 0  # given by the device while nobody could take them
        self.received_bytes = 0
        self._clock = clock
        self._tick_s = tick_s
        self._phase_s = tick_s * ((next(_wires) * GOLDEN) % 1)

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """Bytes from the gateway; answers at once."""
        self.received_bytes += len(data)
        self.device.receive(data, self._now())
        self._pump()

    def _send(self, frame: bytes) -> bool:
        """Put a frame on the wire; False where it is lost."""
        raise NotImplementedError

    def _tick(self) -> None:
        self.device.tick(self._now())
        self._pump()

    def _pump(self) -> None:
        for frame in self.device.outgoing():
            if self._send(frame):
                self.sent_frames += 1
            else:
                self.lost_frames += 1

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.now())


class PtyWire(Wire):
    """A device on a serial port; it knows nothing of unplugging, as in life.

    ``cable`` may damage what the device sends, for example ``LineNoise``.
    """

    def __init__(
        self,
        device: Device,
        port: PtyPort,
        clock: Clock,
        *,
        tick_s: float = TICK_S,
        cable: Callable[[bytes], bytes] = unchanged,
    ) -> None:
        super().__init__(device, clock, tick_s=tick_s)
        self.port = port
        self._cable = cable

    async def run(self) -> NoReturn:
        """Serve until cancelled; plugging and unplugging is the scenario's business."""
        self.port.listen(self.take)
        try:
            await self._clock.sleep(self._phase_s)
            while True:
                self._tick()
                await self._clock.sleep(self._tick_s)
        finally:
            self.port.listen(None)

    def _send(self, frame: bytes) -> bool:
        lost_before = self.port.lost_bytes
        self.port.write(self._cable(frame))
        return self.port.lost_bytes == lost_before


class _Connection(asyncio.Protocol):
    """One TCP connection of a device."""

    def __init__(self, wire: "_TcpWire") -> None:
        self._wire = wire
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self.transport = cast("asyncio.Transport", transport)  # a stream's
        self._wire.connected(self)

    def data_received(self, data: bytes) -> None:
        """The gateway says something."""
        self._wire.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        del exc
        self.transport = None
        self._wire.disconnected(self)


class _TcpWire(Wire):
    """A device on TCP. While nobody is connected its time stands still, and it loses nothing."""

    def __init__(self, device: Device, clock: Clock, *, tick_s: float = TICK_S) -> None:
        super().__init__(device, clock, tick_s=tick_s)
        self.connections = 0  # so far
        self._connection: _Connection | None = None

    @property
    def is_connected(self) -> bool:
        """True while a connection stands."""
        return self._connection is not None

    def connected(self, connection: _Connection) -> None:
        """A new connection; it takes the place of an older one."""
        self.drop()
        self.connections += 1
        self._connection = connection
        if isinstance(self.device, Connects):
            self.device.connected(self._now())
        self._pump()

    def disconnected(self, connection: _Connection) -> None:
        """A connection is gone."""
        if self._connection is connection:
            self._connection = None

    def drop(self) -> None:
        """Break the connection without a word, as a radio that drives into a tunnel."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    def _send(self, frame: bytes) -> bool:
        transport = self._connection.transport if self._connection is not None else None
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > UNSENT_BYTES:
            return False
        transport.write(frame)
        return True


class TcpClientWire(_TcpWire):
    """A device that connects to the gateway, and again when the connection breaks.

    ``source`` is the address to come from, for example ``127.0.0.7``. ``tell`` hears of it when a
    connection stands, and once of the reason why none does.
    """

    def __init__(
        self,
        device: Device,
        gateway: Address,
        clock: Clock,
        *,
        tick_s: float = TICK_S,
        source: str | None = None,
        backoff: Backoff | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(device, clock, tick_s=tick_s)
        self.gateway = gateway
        self._tell = tell
        self._told = ""
        self._source = (source, 0) if source is not None else None
        self._backoff = backoff or Backoff()

    async def run(self) -> NoReturn:
        """Connect and serve, over and over, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    await loop.create_connection(
                        lambda: _Connection(self), *self.gateway, local_addr=self._source
                    )
                except OSError as error:
                    self._say(f"no connection: {reason(error)}; is a gateway there? trying again")
                else:
                    self._say("connected")
                    await self._serve()
                    self._say("the connection has ended; trying again")
                await self._clock.sleep(self._backoff.next())
        finally:
            self.drop()

    async def _serve(self) -> None:
        await self._clock.sleep(self._phase_s)
        while self.is_connected:
            self._tick()
            await self._clock.sleep(self._tick_s)
            self._backoff.reset()  # it held for a while

    def _say(self, what: str) -> None:
        if what != self._told:
            self._told = what
            self._tell(what)


class TcpServerWire(_TcpWire):
    """A device that the gateway connects to (a GNSS receiver's port server, gpsd)."""

    def __init__(
        self,
        device: Device,
        clock: Clock,
        *,
        listen: Address = ("127.0.0.1", 0),
        tick_s: float = TICK_S,
    ) -> None:
        super().__init__(device, clock, tick_s=tick_s)
        self._listen = listen
        self._opening = asyncio.Lock()  # run and the scenario may both ask for the port
        self._server: asyncio.Server | None = None

    async def listen(self) -> Address:
        """Open the port, if it is not open yet; returns where. ``run`` does it too."""
        async with self._opening:
            if self._server is None:
                loop = asyncio.get_running_loop()
                self._server = await loop.create_server(lambda: _Connection(self), *self._listen)
                host, port = self._server.sockets[0].getsockname()[:2]
                self._listen = (host, port)  # the same again after a stop
        return self._listen

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        await self.listen()
        try:
            await self._clock.sleep(self._phase_s)
            while True:
                if self.is_connected:
                    self._tick()
                await self._clock.sleep(self._tick_s)
        finally:
            self.close()

    def close(self) -> None:
        """Close the port and the connection; ``listen`` opens the same port again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()


class UdpWire(Wire, asyncio.DatagramProtocol):
    """A device on UDP. Without ``gateway`` it answers whoever spoke to it last."""

    def __init__(
        self,
        device: Device,
        clock: Clock,
        *,
        gateway: Address | None = None,
        listen: Address = ("127.0.0.1", 0),
        tick_s: float = TICK_S,
    ) -> None:
        super().__init__(device, clock, tick_s=tick_s)
        self._gateway = gateway
        self._answers_anybody = gateway is None
        self._listen = listen
        self._opening = asyncio.Lock()  # run and the scenario may both ask for the port
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self) -> Address:
        """Open the socket, if it is not open yet; returns where. ``run`` does it too."""
        async with self._opening:
            if self._transport is None:
                loop = asyncio.get_running_loop()
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: self, local_addr=self._listen
                )
                host, port = self._transport.get_extra_info("sockname")[:2]
                self._listen = (host, port)
        return self._listen

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        await self.listen()
        try:
            await self._clock.sleep(self._phase_s)
            while True:
                self._tick()
                await self._clock.sleep(self._tick_s)
        finally:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """The gateway says something."""
        if self._answers_anybody:
            self._gateway = addr
        self.take(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there: the device does not notice."""

    def _send(self, frame: bytes) -> bool:
        if self._transport is None or self._gateway is None:
            return False
        self._transport.sendto(frame, self._gateway)
        return True
