"""TCP links: limits, fairness, slow readers, and what is said when nothing goes."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest

from gateway.addresses import AllowList
from gateway.clock import Clock, ManualClock, SystemClock
from gateway.links import stream
from gateway.links.stream import READ_BYTES, TURN_BYTES, WRITE_BYTES, StreamPeer
from gateway.links.tcp import SILENT_S, TcpClientLink, TcpServerLink
from tests.support.descriptors import nothing_left_open
from tests.support.links import Ear, TinyHost, attempt, running, shout

LOOPBACK = ("127.0.0.0/8", "::1/128")


def server(
    *,
    allow: tuple[str, ...] = LOOPBACK,
    most: int = 100,
    most_an_address: int = 100,
    clock: Clock | None = None,
) -> TcpServerLink:
    return TcpServerLink(
        "127.0.0.1",
        0,
        allow=AllowList(allow),
        max_peers=most,
        max_peers_per_address=most_an_address,
        clock=clock or SystemClock(),
    )


def port_of(link: TcpServerLink) -> int:
    assert link.bound is not None
    return link.bound[1]


@contextlib.asynccontextmanager
async def caller(
    link: TcpServerLink, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port_of(link), local_addr=(source, 0)
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def is_hung_up_on(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 2) == b""
    except ConnectionError:
        return True


# We listen.


def test_peers_speak_and_are_answered_each_by_themselves() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost(answer=shout([b"welcome"]))
        async with running(link, host), caller(link) as (reader, writer), caller(link) as second:
            assert await reader.readexactly(7) == b"welcome"
            writer.write(b"first")
            second[1].write(b"second")
            await host.until(
                lambda: sorted(bytes(e.data) for e in host.ears) == [b"first", b"second"]
            )
            mine = next(ear for ear in host.ears if ear.data == b"first")
            name = "{}:{}".format(*writer.get_extra_info("sockname"))
            assert mine.peer.name == name
            mine.peer.write([b"a", b"b"])
            assert await reader.readexactly(2) == b"ab"
        assert link.bound is None

    asyncio.run(scenario())


def test_what_was_said_before_hanging_up_is_still_heard() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host):
            host.room.clear()  # the gateway is behind while all of this arrives
            async with caller(link) as (_, writer):
                writer.write(b"x" * 40_000)
                writer.write_eof()
                await host.until(lambda: host.ears)
            await asyncio.sleep(0.05)
            assert host.ears[0].losses == []
            host.room.set()
            await host.until(lambda: host.ears[0].losses == ["closed by the peer"])
            assert len(host.ears[0].data) == 40_000

    asyncio.run(scenario())


def test_strangers_are_hung_up_on_and_counted() -> None:
    async def scenario() -> None:
        link, host = server(allow=("127.0.0.2/32",)), TinyHost()
        async with running(link, host):
            async with caller(link) as (reader, _):
                assert await is_hung_up_on(reader)
            async with caller(link, "127.0.0.2") as (_, writer):
                writer.write(b"friend")
                await host.until(lambda: host.ears and host.ears[0].data == b"friend")
        assert host.drops == {"not_allowed": 1}
        assert len(host.ears) == 1

    asyncio.run(scenario())


def test_peers_over_the_limit_are_turned_away_until_there_is_room() -> None:
    async def scenario() -> None:
        link, host = server(most=2), TinyHost()
        async with running(link, host), caller(link):
            async with caller(link):
                await host.until(lambda: len(host.ears) == 2)
                async with caller(link) as (reader, _):
                    assert await is_hung_up_on(reader)
            await host.until(lambda: len(host.present) == 1)
            async with caller(link):
                await host.until(lambda: len(host.ears) == 3)
        assert host.drops == {"too_many_peers": 1}

    asyncio.run(scenario())


def test_a_full_link_parts_with_a_silent_peer_of_the_greediest_address_and_with_no_other() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        link, host = server(most=3, clock=clock), TinyHost()
        async with (
            running(link, host),
            caller(link, "127.0.0.2") as (_, other),
            caller(link) as (_, speaks),
            caller(link) as (silent, _),
        ):
            other.write(b"1")
            speaks.write(b"1")
            await host.until(lambda: sum(bool(ear.data) for ear in host.ears) == 2)
            await clock.advance(SILENT_S - 1)
            async with caller(link, "127.0.0.3") as (reader, _):
                assert await is_hung_up_on(reader)
            assert host.drops == {"too_many_peers": 1}
            speaks.write(b"2")
            await host.until(lambda: any(ear.data == b"12" for ear in host.ears))
            await clock.advance(1)
            async with caller(link, "127.0.0.3") as (_, writer):
                assert await is_hung_up_on(silent)
                writer.write(b"alarm")
                await host.until(lambda: host.ears[-1].data == b"alarm")
                assert [ear.losses for ear in host.ears if ear.losses] == [["no room"]]
                assert len(host.present) == 3
        assert host.drops == {"too_many_peers": 2}

    asyncio.run(scenario())


def test_one_address_cannot_take_all_places() -> None:
    async def scenario() -> None:
        link, host = server(most_an_address=1), TinyHost()
        async with running(link, host), caller(link):
            await host.until(lambda: host.ears)
            async with caller(link) as (reader, _):
                assert await is_hung_up_on(reader)
            async with caller(link, "127.0.0.9"):
                await host.until(lambda: len(host.ears) == 2)
            await host.until(lambda: len(host.present) == 1)
            async with caller(link, "127.0.0.9"):  # its place is free again
                await host.until(lambda: len(host.ears) == 3)
        assert host.drops == {"too_many_peers": 1}

    asyncio.run(scenario())


def test_a_peer_that_its_host_does_not_want_is_hung_up_on() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost(most=0)
        async with running(link, host), caller(link) as (reader, _):
            assert await is_hung_up_on(reader)

    asyncio.run(scenario())


def test_a_reset_is_told_as_a_reset() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host):
            async with caller(link) as (_, writer):
                await host.until(lambda: host.ears)
                wire = writer.get_extra_info("socket")
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await host.until(lambda: host.ears[0].losses == ["reset (ECONNRESET)"])

    asyncio.run(scenario())


def test_a_busy_peer_leaves_the_others_their_turn() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host), caller(link) as (_, busy), caller(link) as (_, quiet):
            await host.until(lambda: len(host.ears) == 2)
            heard_before: list[int] = []

            def note(ear: Ear) -> None:
                if ear.data == b"I need help":
                    heard_before.append(sum(len(other.data) for other in host.ears))

            host.on_data = note
            host.room.clear()
            busy.write(b"z" * 16 * READ_BYTES)
            await asyncio.sleep(0.05)
            quiet.write(b"I need help")
            await asyncio.sleep(0.05)  # both have something waiting in the link now
            assert not heard_before
            host.room.set()
            await host.until(lambda: heard_before)
            assert heard_before[0] <= TURN_BYTES + 11
            await host.until(lambda: sum(len(e.data) for e in host.ears) == 16 * READ_BYTES + 11)
            assert max(len(piece) for ear in host.ears for piece in ear.pieces) <= TURN_BYTES

    asyncio.run(scenario())


def test_reading_stops_while_the_gateway_is_behind() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host), caller(link) as (_, writer):
            host.room.clear()
            size = 32 * 1024 * 1024  # more than the system's own buffers take
            writer.write(b"z" * size)
            await asyncio.sleep(0.2)
            assert len(host.ears[0].data) <= TURN_BYTES
            assert writer.transport.get_write_buffer_size() > size // 2
            host.room.set()
            await host.until(lambda: len(host.ears[0].data) == size, within_s=10)

    asyncio.run(scenario())


def test_a_slow_reader_is_hung_up_on_and_the_link_goes_on() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host), caller(link):
            await host.until(lambda: host.ears)
            victim = host.ears[0]
            frames = 0
            while not victim.losses and frames < 10_000:
                victim.peer.write([b"f" * 4096])
                frames += 1
                await asyncio.sleep(0)
            assert "does not read" in victim.losses[0]
            assert frames * 4096 > WRITE_BYTES
            assert host.drops == {"slow_reader": 1}
            host._answer = shout([b"still here"])
            async with caller(link) as (quick, _):
                assert await quick.readexactly(10) == b"still here"

    asyncio.run(scenario())


def test_hanging_up_still_sends_what_was_said_before() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host), caller(link) as (reader, writer):
            await host.until(lambda: host.ears)
            peer = host.ears[0].peer
            peer.write([b"g" * 100_000, b"bye"])
            peer.close("goodbye")
            peer.close("again")
            writer.write(b"not heard any more")
            got = await reader.read(-1)
            assert got.endswith(b"bye")
            assert len(got) == 100_003
            await host.until(lambda: host.ears[0].losses == ["goodbye"])
            assert host.ears[0].data == b""
            peer.write([b"late"])

    asyncio.run(scenario())


def test_a_peer_that_does_not_hang_up_in_turn_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LINGER_S", 0.05)

    async def scenario() -> None:
        link, host = server(most=1), TinyHost()
        async with running(link, host), caller(link) as (reader, writer):
            await host.until(lambda: host.ears)
            host.ears[0].peer.close("goodbye")
            assert await is_hung_up_on(reader)
            # Its place is free although it never closed its own side.
            await asyncio.sleep(0.1)
            async with caller(link):
                await host.until(lambda: len(host.ears) == 2)
            assert not writer.is_closing()

    asyncio.run(scenario())


def test_stopping_hangs_up_on_everybody_and_leaves_nothing_open() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(nothing_left_open())
            async with running(link, host):
                readers = [(await stack.enter_async_context(caller(link)))[0] for _ in range(20)]
                await host.until(lambda: len(host.ears) == 20)
            assert all([await is_hung_up_on(reader) for reader in readers])
            assert {tuple(ear.losses) for ear in host.ears} == {("stopped",)}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_an_address_in_use_is_named() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host):
            second = TcpServerLink(
                "127.0.0.1",
                port_of(link),
                allow=AllowList(LOOPBACK),
                max_peers=1,
                max_peers_per_address=1,
                clock=SystemClock(),
            )
            said = await attempt(second, TinyHost())
            assert said == f"{second.place}: address in use by another program (EADDRINUSE)"

    asyncio.run(scenario())


def test_a_vanished_peer_is_looked_for() -> None:
    async def scenario() -> None:
        link, host = server(), TinyHost()
        async with running(link, host), caller(link):
            await host.until(lambda: host.ears)
            peer = host.ears[0].peer
            assert isinstance(peer, StreamPeer)
            assert peer._transport is not None
            wire = peer._transport.get_extra_info("socket")
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            idle, every, probes = (
                wire.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + every * probes <= 30

    asyncio.run(scenario())


# We connect.


@contextlib.asynccontextmanager
async def far_end() -> AsyncIterator[tuple[int, "asyncio.Queue[asyncio.StreamWriter]"]]:
    callers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue(10)
    listening = await asyncio.start_server(
        lambda _, writer: callers.put_nowait(writer), "127.0.0.1", 0
    )
    try:
        yield listening.sockets[0].getsockname()[1], callers
    finally:
        listening.close()


def test_we_connect_and_notice_the_end() -> None:
    async def scenario() -> None:
        async with far_end() as (port, callers):
            host = TinyHost(answer=shout([b"?WATCH"]))
            link = TcpClientLink("127.0.0.1", port, 2.0)
            async with running(link, host) as task:
                writer = await callers.get()
                writer.write(b"fix")
                await host.until(lambda: host.ears[0].data == b"fix")
                assert host.ears[0].peer.name == f"127.0.0.1:{port}"
                writer.close()
                assert await task == f"tcp 127.0.0.1:{port}: closed by the peer"

    asyncio.run(scenario())


def test_a_refused_connection_is_named() -> None:
    async def scenario() -> None:
        async with far_end() as (port, _):
            pass
        link = TcpClientLink("127.0.0.1", port, 2.0)
        host = TinyHost()
        assert await attempt(link, host) == f"tcp 127.0.0.1:{port}: refused (ECONNREFUSED)"
        assert host.openings == 0

    asyncio.run(scenario())


def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def scenario() -> None:
        # A listener with a full backlog leaves further callers waiting.
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)  # noqa: FBT003 - the name says it
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            waiting.append(one)
        began = asyncio.get_running_loop().time()
        said = await attempt(TcpClientLink("127.0.0.1", port, 0.2), TinyHost())
        assert 0.15 < asyncio.get_running_loop().time() - began < 1.0
        assert said == f"tcp 127.0.0.1:{port}: does not answer within 0.2 s"
        for one in (*waiting, listening):
            one.close()

    asyncio.run(scenario())


def test_a_name_that_nobody_knows_is_named() -> None:
    async def fail(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def scenario() -> None:
        with patch.object(asyncio.get_running_loop(), "getaddrinfo", fail):
            said = await attempt(TcpClientLink("gps.invalid", 2947, 2.0), TinyHost())
        assert said == "tcp gps.invalid:2947: name not known (Name or service not known)"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("127.3.2.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::2", False),
        ("not an address", False),
    ],
)
def test_the_allow_list(address: str, is_allowed: bool) -> None:  # noqa: FBT001 - from the table
    assert AllowList(LOOPBACK).allows(address) is is_allowed


def test_an_empty_allow_list_allows_nobody() -> None:
    assert not AllowList(()).allows("127.0.0.1")
