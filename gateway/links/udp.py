"""Datagrams: one peer we speak to first, or a peer for every address that speaks to us."""

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import NoReturn, Protocol, cast

from gateway.addresses import AllowList, address_text
from gateway.clock import Clock
from gateway.errors import LinkError
from gateway.links.base import LinkHost, PeerHandler
from gateway.links.crowd import Crowd
from gateway.reasons import reason

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # a town's registrations after a power cut, in one burst
UNSENT_BYTES = 256 * 1024
DATAGRAM_BYTES = 8 * 1024  # at least so much is taken, whatever the driver's largest frame
LOOKS_PER_IDLE = 4  # how often in peer_idle_s idle peers are looked for
COUNT_EVERY_S = 5.0  # how often the system is asked what it threw away
SO_MEMINFO, MEMINFO = 55, struct.Struct("9I")  # Linux: nine counts of a socket, the last is drops

Address = tuple[str, int] | tuple[str, int, int, int]


class UdpPeer:
    """A source address, or the one remote we speak to."""

    def __init__(self, address: Address, wire: "_Wire") -> None:
        self.address = address
        self.heard_mono = 0.0
        self.why: str | None = None  # set once we have hung up
        self._name = address_text(address)
        self._wire = wire

    @property
    def name(self) -> str:
        """``address:port``."""
        return self._name

    def write(self, frames: Sequence[bytes]) -> None:
        """Send a datagram for each frame; what the system does not take is dropped and counted."""
        for frame in frames:
            self._wire.send(frame, self)

    def close(self, why: str) -> None:
        """Forget this peer; another datagram from its address makes a new one."""
        self._wire.forget(self, why)


class UdpLink:
    """A bound socket.

    Args:
        host: address to listen at.
        port: port to listen at; 0 for any.
        remote: the one peer, spoken to first and the only one heard; None for any number of peers.
        allow: whose datagrams are heard; not asked where ``remote`` is given.
        max_peers: source addresses remembered at a time. Where one more comes, the host that has
            most of them loses the one heard longest ago: nobody is kept out, by no flood.
        peer_idle_s: a source not heard for so long is forgotten.
        max_frame: the driver's largest frame, in bytes.
        clock: tells who is idle.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        remote: tuple[str, int] | None,
        allow: AllowList,
        max_peers: int,
        peer_idle_s: float,
        max_frame: int,
        clock: Clock,
    ) -> None:
        self._host = host
        self._port = port
        self._remote = remote
        self._allow = allow
        self._max_peers = max_peers
        self._peer_idle_s = peer_idle_s
        self._longest = max(max_frame, DATAGRAM_BYTES)
        self._clock = clock
        self._bound: tuple[str, int] | None = None
        self._wire: _Wire | None = None

    @property
    def place(self) -> str:
        """``udp address:port``, and whom we speak to."""
        here = address_text(self._bound or (self._host, self._port))
        return f"udp {here}" + (f" to {address_text(self._remote)}" if self._remote else "")

    @property
    def bound(self) -> tuple[str, int] | None:
        """Where it listens; None while it does not."""
        return self._bound

    async def run(self, host: LinkHost) -> NoReturn:
        """Bind and serve until cancelled; raises LinkError where the socket cannot be had."""
        wire = _Wire(self._allow, self._max_peers, self._longest, host, self._clock)
        try:
            sock, remote = await self._open()
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(lambda: wire, sock=sock)
        except OSError as error:
            raise LinkError(f"{self.place}: {reason(error)}") from error
        try:
            self._bound = sock.getsockname()[:2]
            self._wire = wire
            host.opened()
            if remote is not None:
                wire.speak_to(remote)
            why = await self._watch(wire)
        finally:
            self._wire = None
            await wire.close()
            self._bound = None
        raise LinkError(f"{self.place}: {why}")

    def call(self, host: str, port: int) -> None:
        """Have a peer at this IPv4 address, as if it had spoken."""
        if self._wire is not None:
            is_ipv4 = ":" not in (self._bound or (self._host,))[0]
            self._wire.call((host, port) if is_ipv4 else (f"::ffff:{host}", port, 0, 0))

    async def _watch(self, wire: "_Wire") -> str:
        """Forget idle peers until the socket is gone."""
        async with asyncio.TaskGroup() as group:
            sweep = group.create_task(self._sweep(wire), name=f"idle peers of {self.place}")
            count = group.create_task(self._count(wire), name=f"lost datagrams of {self.place}")
            why = await wire.over()
            sweep.cancel()
            count.cancel()
        return why

    async def _sweep(self, wire: "_Wire") -> None:
        while True:
            await self._clock.sleep(self._peer_idle_s / LOOKS_PER_IDLE)
            if self._remote is None:
                wire.forget_idle(self._clock.monotonic() - self._peer_idle_s)

    async def _count(self, wire: "_Wire") -> None:
        while True:
            await self._clock.sleep(COUNT_EVERY_S)
            wire.count_overflow()

    async def _open(self) -> tuple[socket.socket, Address | None]:
        here = await self._resolve(self._host, self._port, socket.AF_UNSPEC)
        family = socket.AF_INET6 if len(here) > 2 else socket.AF_INET  # noqa: PLR2004 - an IPv6 address has four parts
        remote = None
        if self._remote is not None:
            remote = await self._resolve(*self._remote, family)
            if _is_loopback(here) and not _is_loopback(remote):
                raise LinkError(
                    f"{self.place}: cannot be reached from loopback; "
                    f"set listen to an address of this machine, or to '0.0.0.0:{self._port}'"
                )
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.settimeout(0)
            _raise_receive_buffer(sock)
            sock.bind(here)
        except BaseException:
            sock.close()
            raise
        return sock, remote

    async def _resolve(self, host: str, port: int, family: socket.AddressFamily) -> Address:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, family=family, type=socket.SOCK_DGRAM
        )
        return cast("Address", found[0][4])  # the only kinds that UDP has


def _is_loopback(address: Address) -> bool:
    return ipaddress.ip_address(address[0]).is_loopback


def _raise_receive_buffer(sock: socket.socket) -> None:
    forced = getattr(socket, "SO_RCVBUFFORCE", 33)  # beyond the system's limit, for root only
    for option in (socket.SO_RCVBUF, forced):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER_BYTES)


def _overflowed(sock: socket.socket) -> int:
    """Datagrams that the system threw away so far, modulo 2^32; 0 where it does not tell."""
    try:
        counts = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
        dropped: int = MEMINFO.unpack(counts)[-1]
    except (OSError, struct.error):
        return 0
    return dropped


class _Transport(Protocol):
    """What the event loop's datagram transport can do, of which the types know only a part."""

    def sendto(self, data: bytes, addr: Address) -> None: ...

    def get_write_buffer_size(self) -> int: ...

    def get_extra_info(self, name: str) -> socket.socket: ...

    def abort(self) -> None: ...


class _Wire(asyncio.DatagramProtocol):
    """The open socket and its peers."""

    def __init__(
        self, allow: AllowList, max_peers: int, longest: int, host: LinkHost, clock: Clock
    ) -> None:
        self._allow = allow
        self._max_peers = max_peers
        self._longest = longest
        self._host = host
        self._clock = clock
        self._transport: _Transport | None = None
        self._is_pinned = False
        self._overflowed = 0
        self._peers: dict[Address, tuple[UdpPeer, PeerHandler]] = {}
        self._crowd: Crowd[Address] = Crowd()  # the same peers, by host
        self._leaving: list[tuple[UdpPeer, PeerHandler]] = []
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._closed = asyncio.Event()

    # What the link asks.

    def speak_to(self, address: Address) -> None:
        """Have one peer, hear nobody else, and be over when it is."""
        self._is_pinned = True
        if self._meet(address) is None and not self._leaving:
            self._end("not wanted")

    def call(self, address: Address) -> None:
        """Have a peer at ``address``, unless it is there already or is not wanted."""
        if address in self._peers:
            return
        if self._is_welcome(address):
            self._newcomer(address)
        else:
            self._host.dropped("not_allowed")

    async def over(self) -> str:
        """Wait until there is nothing more to serve; returns why."""
        return await asyncio.shield(self._over)

    def forget_idle(self, before_mono: float) -> None:
        """Forget the peers that were last heard before a moment."""
        for peer, _ in tuple(self._peers.values()):
            if peer.heard_mono < before_mono:
                self.forget(peer, "idle")

    def count_overflow(self) -> None:
        """Count the datagrams for which the system had no room, because we did not read in time."""
        if self._transport is None:
            return
        so_far = _overflowed(self._transport.get_extra_info("socket"))
        if so_far != self._overflowed:
            self._host.dropped("overflow", (so_far - self._overflowed) % 2**32)
            self._overflowed = so_far

    async def close(self) -> None:
        """Forget everybody and give the socket back."""
        self.count_overflow()
        for peer, _ in tuple(self._peers.values()):
            self.forget(peer, "stopped")
        self._tell_leaving()
        if self._transport is not None:
            self._transport.abort()
            await self._closed.wait()

    def _end(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)

    # What peers ask.

    def send(self, frame: bytes, peer: UdpPeer) -> None:
        """One datagram to ``peer``."""
        if self._transport is None or peer.why is not None:
            return
        if self._transport.get_write_buffer_size() > UNSENT_BYTES:
            self._host.dropped("unsent")
            return
        self._transport.sendto(frame, peer.address)

    def forget(self, peer: UdpPeer, why: str) -> None:
        """Take ``peer`` off; its handler is told in the loop's next turn, never inside its call."""
        if peer.why is not None:
            return
        peer.why = why
        entry = self._peers.pop(peer.address, None)
        self._crowd.left(peer.address[0], peer.address)
        if entry is not None:  # else it hangs up while its handler is being made
            self._leave(*entry)

    def _leave(self, peer: UdpPeer, handler: PeerHandler) -> None:
        self._leaving.append((peer, handler))
        asyncio.get_running_loop().call_soon(self._tell_leaving)

    def _tell_leaving(self) -> None:
        leaving, self._leaving = self._leaving, []
        for peer, handler in leaving:
            handler.lost(peer.why or "stopped")
            if self._is_pinned:
                self._end(peer.why or "stopped")

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("_Transport", transport)  # made by create_datagram_endpoint

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """A datagram from anybody."""
        if len(data) > self._longest:
            self._host.dropped("too_long")
            return
        entry = self._peers.get(addr)
        if entry is None and not self._is_welcome(addr):
            self._host.stranger(address_text(addr), data)
            return
        entry = entry or self._newcomer(addr)
        if entry is None:
            return
        entry[0].heard_mono = self._clock.monotonic()
        self._crowd.heard(addr[0], addr)
        entry[1].received(data)

    def _is_welcome(self, address: Address) -> bool:
        return not self._is_pinned and self._allow.allows(address[0])

    def _newcomer(self, address: Address) -> tuple[UdpPeer, PeerHandler] | None:
        if len(self._peers) >= self._max_peers:
            # The newcomer may be a radio with an alarm; one that is forgotten is met again when it
            # speaks, and has missed nothing.
            self._host.dropped("too_many_peers")
            self.forget(self._peers[self._crowd.first_to_go()][0], "no room")
        return self._meet(address)

    def _meet(self, address: Address) -> tuple[UdpPeer, PeerHandler] | None:
        peer = UdpPeer(address, self)
        peer.heard_mono = self._clock.monotonic()
        handler = self._host.peer(peer)
        if handler is None:
            return None
        if peer.why is not None:  # it hung up while it was being introduced
            self._leave(peer, handler)
            return None
        self._peers[address] = (peer, handler)
        self._crowd.came(address[0], address)
        return self._peers[address]

    def error_received(self, exc: Exception) -> None:
        """A datagram was not taken, or the far end refused one; the link goes on."""
        del exc
        self._host.dropped("not_sent")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._closed.set()
        self._end("closed" if exc is None else reason(exc))
