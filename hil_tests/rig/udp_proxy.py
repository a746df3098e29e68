"""A UDP proxy that drops, doubles, reorders, damages and cuts datagrams, by seed."""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from hil_tests.rig.proxy import BOTH, Address, Direction

DATAGRAM_BYTES = 65_536
MOST_CLIENTS = 4096
HELD_S = 0.1  # a datagram held back to be overtaken goes out alone after so long


@dataclass(frozen=True, slots=True)
class UdpFaults:
    """How probable each mishap is for a datagram, 0 to 1; several may befall the same one."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0  # held back until the next one has gone
    corrupt: float = 0.0  # one bit flipped
    truncate: float = 0.0  # cut short, at least by a byte


NO_FAULTS = UdpFaults()


class Mischief:
    """What becomes of one stream of datagrams.

    Counts in ``done`` what it did, under the names of ``UdpFaults``.
    """

    def __init__(self, source: random.Random, done: Counter[str]) -> None:
        self._random = source
        self._done = done
        self._held: bytes | None = None

    @property
    def is_holding(self) -> bool:
        """True while a datagram is held back."""
        return self._held is not None

    def __call__(self, datagram: bytes, faults: UdpFaults) -> list[bytes]:
        """The datagrams to send now, in order, in place of ``datagram``."""
        if self._happens("drop", faults.drop):
            return []
        if datagram and self._happens("corrupt", faults.corrupt):
            datagram = self._corrupt(datagram)
        if datagram and self._happens("truncate", faults.truncate):
            datagram = datagram[: self._random.randrange(len(datagram))]
        out = [datagram]
        if self._happens("duplicate", faults.duplicate):
            out.append(datagram)
        if self._held is None and self._happens("reorder", faults.reorder):
            self._held = out.pop()
            return out
        return out + self.let_go()

    def let_go(self) -> list[bytes]:
        """The datagram held back, if any."""
        held, self._held = self._held, None
        return [] if held is None else [held]

    def _happens(self, what: str, chance: float) -> bool:
        if chance <= 0 or self._random.random() >= chance:
            return False
        self._done[what] += 1
        return True

    def _corrupt(self, datagram: bytes) -> bytes:
        bit = self._random.randrange(len(datagram) * 8)
        damaged = bytearray(datagram)
        damaged[bit // 8] ^= 1 << (bit % 8)
        return bytes(damaged)


class _Client:
    """Somebody who speaks to the target through the proxy."""

    def __init__(self, far: socket.socket, source: random.Random, done: Counter[str]) -> None:
        self.far = far
        self.mischief = {way: Mischief(source, done) for way in Direction}


class UdpProxy(asyncio.DatagramProtocol):
    """Forwards datagrams to ``target``, each client from a socket of its own, and answers back."""

    def __init__(
        self, target: Address, *, listen: Address = ("127.0.0.1", 0), seed: int = 0
    ) -> None:
        self.target = target
        self.received: Counter[Direction] = Counter()
        self.sent: Counter[Direction] = Counter()
        self.done: Counter[str] = Counter()  # mishaps, under the names of UdpFaults
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._faults = dict.fromkeys(Direction, NO_FAULTS)
        self._listen = listen
        self._opening = asyncio.Lock()  # run and the scenario may both ask for the port
        self._transport: asyncio.DatagramTransport | None = None
        self._clients: dict[Address, _Client] = {}

    def set(self, faults: UdpFaults, *ways: Direction) -> None:
        """Misbehave so from now on, on the directions given, on both where none is."""
        for way in ways or BOTH:
            self._faults[way] = faults

    def heal(self) -> None:
        """Behave."""
        self.set(NO_FAULTS)

    async def listen(self) -> Address:
        """Open the port, if it is not open; returns where."""
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
            await asyncio.get_running_loop().create_future()
        finally:
            self.close()
        raise AssertionError("a proxy ends only by being cancelled")

    def close(self) -> None:
        """Give every socket back."""
        loop = asyncio.get_running_loop()
        for client in self._clients.values():
            loop.remove_reader(client.far)
            client.far.close()
        self._clients.clear()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """A client says something."""
        client = self._clients.get(addr) or self._new_client(addr)
        if client is not None:
            self._forward(Direction.UP, client, data, lambda piece: _send(client.far, piece))

    def error_received(self, exc: Exception) -> None:
        """A client is gone: its datagrams are lost, as they would be."""

    def _new_client(self, address: Address) -> _Client | None:
        if len(self._clients) >= MOST_CLIENTS:
            return None
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.settimeout(0)
        far.connect(self.target)
        client = self._clients[address] = _Client(far, self._random, self.done)
        asyncio.get_running_loop().add_reader(far, self._answered, client, address)
        return client

    def _answered(self, client: _Client, address: Address) -> None:
        try:
            data = client.far.recv(DATAGRAM_BYTES)
        except OSError:  # the target's port is closed
            return
        self._forward(Direction.DOWN, client, data, lambda piece: self._answer(piece, address))

    def _answer(self, data: bytes, address: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, address)

    def _forward(
        self, way: Direction, client: _Client, data: bytes, send: Callable[[bytes], None]
    ) -> None:
        self.received[way] += 1
        mischief = client.mischief[way]
        self._send_all(way, mischief(data, self._faults[way]), send)
        if mischief.is_holding:
            asyncio.get_running_loop().call_later(
                HELD_S, lambda: self._send_all(way, mischief.let_go(), send)
            )

    def _send_all(self, way: Direction, pieces: list[bytes], send: Callable[[bytes], None]) -> None:
        for piece in pieces:
            self.sent[way] += 1
            send(piece)


def _send(far: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens there, or the buffer is full
        far.send(data)
