"""TCP, both ways: we connect to one peer, or peers connect to us."""

import asyncio
import contextlib
import socket
from typing import NoReturn

from gateway.addresses import AllowList, address_text
from gateway.clock import Clock
from gateway.errors import LinkError
from gateway.links.base import LinkHost
from gateway.links.crowd import Crowd
from gateway.links.stream import READ_BYTES, StreamPeer
from gateway.reasons import reason

BACKLOG = 1024  # a whole town that comes back at once waits here
# A peer that vanished without a word is noticed after IDLE + PROBES x EVERY = 25 s.
KEEPALIVE_IDLE_S = 10
KEEPALIVE_EVERY_S = 5
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_MS = 25_000  # the same for a peer that takes no more bytes
# A full link hangs up on one that was silent for so long: longer than terminals are between
# heartbeats. What speaks keeps its place, from whatever address: a proxy or a carrier may have a
# whole town behind one.
SILENT_S = 600.0


def prepare(transport: asyncio.BaseTransport) -> None:
    """Send small frames at once, and notice a peer that is no longer there."""
    wire = transport.get_extra_info("socket")
    if wire is None:  # closed again before it was announced
        return
    with contextlib.suppress(OSError):  # reset meanwhile: the next read says so
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


class TcpClientLink:
    """We connect to ``host``:``port`` and have one peer."""

    def __init__(self, host: str, port: int, connect_timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._connect_timeout_s = connect_timeout_s

    @property
    def place(self) -> str:
        """``tcp host:port``."""
        return f"tcp {address_text((self._host, self._port))}"

    async def run(self, host: LinkHost) -> NoReturn:
        """Connect and feed the one peer until it breaks; raises LinkError saying why."""
        name = address_text((self._host, self._port))
        peer = StreamPeer(name, host, memoryview(bytearray(READ_BYTES)))
        try:
            transport = await self._connect(peer)
            prepare(transport)
            host.opened()
            why = await peer.meet()
        finally:
            await peer.release()
        raise LinkError(f"{self.place}: {why}")

    async def _connect(self, peer: StreamPeer) -> asyncio.BaseTransport:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                transport, _ = await loop.create_connection(lambda: peer, self._host, self._port)
        except TimeoutError:
            raise LinkError(
                f"{self.place}: does not answer within {self._connect_timeout_s:g} s"
            ) from None
        except OSError as error:
            raise LinkError(f"{self.place}: {reason(error)}") from error
        return transport


class TcpServerLink:
    """Peers connect to us, from allowed networks and within limits.

    Where all places are taken, the address that has most of them loses the one that was silent
    longest, if that was for SILENT_S; else the newcomer is hung up on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        allow: AllowList,
        max_peers: int,
        max_peers_per_address: int,
        clock: Clock,
    ) -> None:
        self._host = host
        self._port = port
        self._allow = allow
        self._max_peers = max_peers
        self._max_peers_per_address = max_peers_per_address
        self._clock = clock
        self._bound: tuple[str, int] | None = None

    @property
    def place(self) -> str:
        """``tcp server address:port``, the real port once it listens."""
        return f"tcp server {address_text(self._bound or (self._host, self._port))}"

    @property
    def bound(self) -> tuple[str, int] | None:
        """Where it listens; None while it does not."""
        return self._bound

    async def run(self, host: LinkHost) -> NoReturn:
        """Listen and serve until cancelled; raises LinkError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        reception = _Reception(
            self._allow, self._max_peers, self._max_peers_per_address, host, self._clock
        )
        try:
            server = await loop.create_server(
                reception.new_peer, self._host, self._port, backlog=BACKLOG, start_serving=False
            )
        except OSError as error:
            raise LinkError(f"{self.place}: {reason(error)}") from error
        try:
            self._bound = server.sockets[0].getsockname()[:2]
            async with asyncio.TaskGroup() as group:
                reception.open(group)
                try:
                    await server.start_serving()
                    host.opened()
                    await loop.create_future()  # until cancelled: a listening socket does not break
                finally:
                    reception.close()  # before the group ends: nobody may join it any more
                    server.close()
        finally:
            server.close()
            self._bound = None
        raise LinkError(f"{self.place}: stopped listening")


class _Reception:
    """Lets peers in, counts them, and turns away who may not come."""

    def __init__(
        self,
        allow: AllowList,
        max_peers: int,
        max_peers_per_address: int,
        host: LinkHost,
        clock: Clock,
    ) -> None:
        self._allow = allow
        self._max_peers = max_peers
        self._max_peers_per_address = max_peers_per_address
        self._host = host
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._group: asyncio.TaskGroup | None = None
        self._clock = clock
        self._crowd: Crowd[_Visitor] = Crowd()

    def open(self, group: asyncio.TaskGroup) -> None:
        """Peers may come; ``group`` holds their tasks."""
        self._group = group

    def close(self) -> None:
        """Nobody comes in any more."""
        self._group = None

    def new_peer(self) -> "_Visitor":
        """What the listening socket calls for each connection."""
        return _Visitor(self, self._host, self._buffer)

    def arrived(self, peer: "_Visitor", transport: asyncio.BaseTransport) -> None:
        """A connection stands: let it in or hang up at once."""
        address = transport.get_extra_info("peername")
        refusal = "vanished" if address is None else self._refusal(str(address[0]))
        if refusal is not None or self._group is None:
            self._host.dropped(refusal or "stopping")
            peer.abort(refusal or "stopping")
            return
        prepare(transport)
        peer.rename(address_text(address))
        peer.host_name = address[0]
        peer.heard_mono = self._clock.monotonic()
        self._crowd.came(peer.host_name, peer)
        self._group.create_task(self._serve(peer), name=f"peer {peer.name}")

    def heard(self, peer: "_Visitor") -> None:
        """A peer that was let in, and is not on its way out, has spoken."""
        peer.heard_mono = self._clock.monotonic()
        self._crowd.heard(peer.host_name, peer)

    async def _serve(self, peer: "_Visitor") -> None:
        try:
            await peer.meet()
        finally:
            self._leave(peer)

    def _leave(self, peer: "_Visitor") -> None:
        if self._crowd.left(peer.host_name, peer):
            peer.host_name = ""

    def _make_room(self) -> bool:
        """Hang up on a silent peer; False where all of the greediest address speak."""
        peer = self._crowd.first_to_go()
        if self._clock.monotonic() - peer.heard_mono < SILENT_S:
            return False
        self._leave(peer)
        peer.abort("no room")
        return True

    def _refusal(self, host: str) -> str | None:
        if not self._allow.allows(host):
            return "not_allowed"
        if self._crowd.of(host) >= self._max_peers_per_address:
            return "too_many_peers"
        if len(self._crowd) < self._max_peers:
            return None
        if not self._make_room():
            return "too_many_peers"
        self._host.dropped("too_many_peers")
        return None


class _Visitor(StreamPeer):
    """A peer that came to us."""

    def __init__(self, reception: _Reception, host: LinkHost, buffer: memoryview) -> None:
        super().__init__("", host, buffer)
        self._reception = reception
        self.host_name = ""  # while it has a place
        self.heard_mono = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at the reception."""
        super().connection_made(transport)
        self._reception.arrived(self, transport)

    def data_received(self, data: bytes) -> None:
        """It lives."""
        if self.host_name:
            self._reception.heard(self)
        super().data_received(data)
