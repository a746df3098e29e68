"""Every toxic does what its name says, and nothing when it is taken off."""

import asyncio
import contextlib
import itertools
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

import pytest

from hil_tests.rig.proxy import (
    Bandwidth,
    Direction,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    TcpProxy,
    Timeout,
)
from hil_tests.rig.udp_proxy import Mischief, UdpFaults, UdpProxy
from tests.support.links import eventually

BYTES = bytes(range(256)) * 64  # 16 KiB


class Bench:
    """A client, the proxy, and a target that keeps what it hears and can answer."""

    def __init__(self, proxy: TcpProxy, targets: "asyncio.Queue[Ends]") -> None:
        self.proxy = proxy
        self.targets = targets
        self.opened: list[Ends] = []

    async def call(self) -> "Ends":
        near = Ends(*await asyncio.open_connection(*await self.proxy.listen()))
        self.opened.append(near)
        return near

    async def connect(self) -> "tuple[Ends, Ends]":
        near = await self.call()
        async with asyncio.timeout(2):
            far = await self.targets.get()
        self.opened.append(far)
        return near, far

    def close(self) -> None:
        while not self.targets.empty():
            self.opened.append(self.targets.get_nowait())
        for ends in self.opened:
            ends.writer.transport.abort()


class Ends:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self, size: int, within_s: float = 3.0) -> bytes:
        async with asyncio.timeout(within_s):
            return await self.reader.readexactly(size)

    async def end(self, within_s: float = 3.0) -> bytes | str:
        """What comes until the end; "reset" where the end is a reset."""
        try:
            async with asyncio.timeout(within_s):
                return await self.reader.read(-1)
        except ConnectionResetError:
            return "reset"


@contextlib.asynccontextmanager
async def bench(seed: int = 1) -> AsyncIterator[Bench]:
    targets: asyncio.Queue[Ends] = asyncio.Queue(100)
    listening = await asyncio.start_server(
        lambda reader, writer: targets.put_nowait(Ends(reader, writer)), "127.0.0.1", 0
    )
    proxy = TcpProxy(listening.sockets[0].getsockname()[:2], seed=seed)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(proxy.run())
        here = Bench(proxy, targets)
        try:
            yield here
        finally:
            task.cancel()
            here.close()
            listening.close()


def now() -> float:
    return asyncio.get_running_loop().time()


def test_without_toxics_bytes_pass_both_ways_and_ends_are_told() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            near.writer.write(BYTES * 20)
            assert await far.hear(len(BYTES) * 20) == BYTES * 20
            far.writer.write(b"answer")
            far.writer.write_eof()
            assert await near.end() == b"answer"
            near.writer.write(b"still")  # half closed: this way is open
            near.writer.close()
            assert await far.end() == b"still"
            assert here.proxy.passed_bytes == {
                Direction.UP: len(BYTES) * 20 + 5,
                Direction.DOWN: 6,
            }
            await eventually(lambda: here.proxy.standing == 0)

    asyncio.run(scenario())


def test_a_reset_goes_through_as_a_reset() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            wire = near.writer.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            near.writer.transport.abort()
            assert await far.end() == "reset"

    asyncio.run(scenario())


def test_latency_delays_without_narrowing() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            here.proxy.add(Latency(0.2), Direction.UP)
            began = now()
            for _ in range(10):
                near.writer.write(BYTES)
                await asyncio.sleep(0.01)
            assert await far.hear(len(BYTES) * 10) == BYTES * 10
            assert 0.25 < now() - began < 1.5
            began = now()
            far.writer.write(b"x")
            await near.hear(1)
            assert now() - began < 0.19, "the other direction is not delayed"
            here.proxy.heal()
            began = now()
            near.writer.write(b"y")
            await far.hear(1)
            assert now() - began < 0.19

    asyncio.run(scenario())


def test_jitter_follows_the_seed() -> None:
    async def delays(seed: int) -> list[float]:
        async with bench(seed) as here:
            here.proxy.add(Latency(0.04, 0.03), Direction.UP)
            await here.connect()
            await eventually(lambda: here.proxy.standing)
            (line,) = here.proxy._lines
            return [line._pumps[0]._delay_s() for _ in range(100)]

    async def scenario() -> None:
        drawn = await delays(7)
        assert 0.01 <= min(drawn) < 0.02
        assert 0.06 < max(drawn) <= 0.07
        assert drawn == await delays(7)
        assert drawn != await delays(8)

    asyncio.run(scenario())


def test_jitter_keeps_the_order() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            here.proxy.add(Latency(0.02, 0.02), Direction.UP)
            for n in range(20):
                near.writer.write(bytes([n]))
                await asyncio.sleep(0.002)
            assert await far.hear(20) == bytes(range(20))

    asyncio.run(scenario())


def test_bandwidth_narrows_the_line() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            here.proxy.add(Bandwidth(20_000), Direction.UP)
            began = now()
            near.writer.write(b"x" * 10_000)
            await far.hear(9_000)
            assert 0.35 < now() - began < 2.0

    asyncio.run(scenario())


def test_timeout_swallows_everything_and_the_line_stays_half_open() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            toxic = Timeout()
            here.proxy.add(toxic)
            near.writer.write(b"lost")
            far.writer.write(b"lost too")
            with pytest.raises(TimeoutError):
                await far.hear(1, 0.1)
            with pytest.raises(TimeoutError):
                await near.hear(1, 0.1)
            assert here.proxy.swallowed_bytes == {Direction.UP: 4, Direction.DOWN: 8}
            here.proxy.remove(toxic)
            near.writer.write(b"again")
            assert await far.hear(5) == b"again"

    asyncio.run(scenario())


def test_timeout_hides_an_end_until_it_is_taken_off() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            here.proxy.add(Timeout())
            near.writer.close()
            with pytest.raises(TimeoutError):
                await far.end(0.15)
            here.proxy.heal()
            assert await far.end() == b""

    asyncio.run(scenario())


def test_timeout_with_an_end_closes_new_and_standing_connections() -> None:
    async def scenario() -> None:
        async with bench() as here:
            standing, _ = await here.connect()
            here.proxy.add(Timeout(0.1))
            new, _ = await here.connect()
            began = now()
            assert await standing.end() == b""
            assert await new.end() == b""
            assert 0.05 < now() - began < 2.0

    asyncio.run(scenario())


def test_reset_peer_resets_both_ends() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            here.proxy.add(ResetPeer(0.05))
            near.writer.write(b"before")
            assert await far.hear(6) == b"before"
            assert await near.end() == "reset"
            assert await far.end() == "reset"
            near, far = await here.connect()
            near.writer.write(b"well")
            assert await far.hear(4) == b"well"
            here.proxy.heal()  # before its time has come
            await asyncio.sleep(0.1)
            assert here.proxy.standing == 1

    asyncio.run(scenario())


def test_the_slicer_cuts_small_pieces_of_the_same_bytes() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            here.proxy.add(Slicer(average_bytes=20, variation_bytes=10, delay_s=0.002))
            near.writer.write(BYTES[:400])
            pieces: list[bytes] = []
            while sum(map(len, pieces)) < 400:
                pieces.append(await asyncio.wait_for(far.reader.read(1000), 2))
            assert b"".join(pieces) == BYTES[:400]
            assert len(pieces) >= 10
            assert max(map(len, pieces)) <= 90  # a piece or a few that met on the way
            assert len(set(map(len, pieces))) > 1

    asyncio.run(scenario())


def test_limit_data_closes_after_so_many_bytes() -> None:
    async def scenario() -> None:
        async with bench() as here:
            here.proxy.add(LimitData(1000), Direction.UP)
            near, far = await here.connect()
            near.writer.write(BYTES)
            assert await far.end() == BYTES[:1000]
            await near.end()
            near, far = await here.connect()  # counted for each connection
            near.writer.write(BYTES[:999])
            assert await far.hear(999) == BYTES[:999]

    asyncio.run(scenario())


def test_slow_close_tells_the_end_late() -> None:
    async def scenario() -> None:
        async with bench() as here:
            near, far = await here.connect()
            here.proxy.add(SlowClose(0.2), Direction.UP)
            near.writer.write(b"last")
            near.writer.close()
            began = now()
            assert await far.hear(4) == b"last"
            assert now() - began < 0.19
            assert await far.end() == b""
            assert now() - began > 0.15

    asyncio.run(scenario())


def test_a_cut_resets_and_refusing_refuses_until_listening_again() -> None:
    async def scenario() -> None:
        async with bench() as here:
            address = await here.proxy.listen()
            near, _ = await here.connect()
            here.proxy.refuse()
            here.proxy.cut()
            assert await near.end() == "reset"
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            assert await here.proxy.listen() == address
            near, far = await here.connect()
            near.writer.write(b"hello")
            assert await far.hear(5) == b"hello"

    asyncio.run(scenario())


def test_a_target_that_is_down_resets_the_client() -> None:
    async def scenario() -> None:
        async with bench() as here:
            here.proxy.target = ("127.0.0.1", 1)
            near = await here.call()
            assert await near.end() in ("reset", b"")

    asyncio.run(scenario())


# Datagrams.


def many(count: int = 4000) -> list[bytes]:
    return [n.to_bytes(4, "big") * 4 for n in range(count)]


def through(faults: UdpFaults, seed: int = 3) -> tuple[list[bytes], Counter[str]]:
    done: Counter[str] = Counter()
    mischief = Mischief(random.Random(seed), done)
    out = [piece for datagram in many() for piece in mischief(datagram, faults)]
    return out + mischief.let_go(), done


def differing_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def test_well_behaved_datagrams_are_left_alone() -> None:
    assert through(UdpFaults()) == (many(), Counter())


def test_dropped_datagrams_are_gone_and_counted() -> None:
    out, done = through(UdpFaults(drop=0.25))
    assert len(out) == 4000 - done["drop"]
    assert 900 < done["drop"] < 1100
    assert out == sorted(out)


def test_doubled_datagrams_come_twice() -> None:
    out, done = through(UdpFaults(duplicate=0.25))
    assert len(out) == 4000 + done["duplicate"]
    assert 900 < done["duplicate"] < 1100
    assert set(out) == set(many())


def test_reordered_datagrams_come_after_the_next() -> None:
    out, done = through(UdpFaults(reorder=0.25))
    assert sorted(out) == many()
    overtaken = sum(1 for one, other in itertools.pairwise(out) if one > other)
    assert done["reorder"] - overtaken in (0, 1), "the last one has nobody to overtake it"
    assert 700 < overtaken < 1100


def test_corrupted_datagrams_differ_in_one_bit() -> None:
    out, done = through(UdpFaults(corrupt=0.25))
    bits = [differing_bits(one, other) for one, other in zip(out, many(), strict=True)]
    assert Counter(bits) == {0: 4000 - done["corrupt"], 1: done["corrupt"]}
    assert 900 < done["corrupt"] < 1100


def test_truncated_datagrams_are_a_beginning() -> None:
    out, done = through(UdpFaults(truncate=0.25))
    assert all(whole.startswith(cut) for cut, whole in zip(out, many(), strict=True))
    assert sum(len(cut) < 16 for cut in out) == done["truncate"]
    assert 900 < done["truncate"] < 1100


def test_the_seed_repeats_every_mishap() -> None:
    faults = UdpFaults(drop=0.1, duplicate=0.1, reorder=0.1, corrupt=0.1, truncate=0.1)
    assert through(faults, 5) == through(faults, 5)
    assert through(faults, 5) != through(faults, 6)


class Listener(asyncio.DatagramProtocol):
    """A UDP end that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, tuple[str, int]]] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append((data, addr))

    def texts(self) -> list[bytes]:
        return [data for data, _ in self.heard]


async def listener() -> Listener:
    _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Listener, local_addr=("127.0.0.1", 0)
    )
    return protocol


def test_the_udp_proxy_keeps_clients_apart_and_answers_each() -> None:
    async def scenario() -> None:
        target, one, two = await listener(), await listener(), await listener()
        proxy = UdpProxy(target.transport.get_extra_info("sockname"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(proxy.run())
            address = await proxy.listen()
            one.transport.sendto(b"1", address)
            two.transport.sendto(b"2", address)
            await eventually(lambda: len(target.heard) == 2)
            sources = dict(target.heard)
            assert sources[b"1"] != sources[b"2"]
            target.transport.sendto(b"to one", sources[b"1"])
            target.transport.sendto(b"to two", sources[b"2"])
            await eventually(lambda: one.heard and two.heard)
            assert (one.texts(), two.texts()) == ([b"to one"], [b"to two"])
            proxy.set(UdpFaults(drop=1.0), Direction.UP)
            one.transport.sendto(b"dropped", address)
            target.transport.sendto(b"passes", sources[b"1"])
            await eventually(lambda: len(one.heard) == 2)
            assert len(target.heard) == 2
            proxy.heal()
            one.transport.sendto(b"passes too", address)
            await eventually(lambda: len(target.heard) == 3)
            assert proxy.done == {"drop": 1}
            assert proxy.received == {Direction.UP: 4, Direction.DOWN: 3}
            assert proxy.sent == {Direction.UP: 3, Direction.DOWN: 3}
            task.cancel()
        for end in (target, one, two):
            end.transport.close()

    asyncio.run(scenario())


def test_a_datagram_held_back_goes_out_alone_in_the_end() -> None:
    async def scenario() -> None:
        target, one = await listener(), await listener()
        proxy = UdpProxy(target.transport.get_extra_info("sockname"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(proxy.run())
            address = await proxy.listen()
            proxy.set(UdpFaults(reorder=1.0))
            one.transport.sendto(b"first", address)
            await asyncio.sleep(0.02)
            one.transport.sendto(b"second", address)
            one.transport.sendto(b"third", address)
            await eventually(lambda: len(target.heard) == 3)
            assert target.texts() == [b"second", b"first", b"third"]
            task.cancel()
        for end in (target, one):
            end.transport.close()

    asyncio.run(scenario())
