"""UDP links: who is heard, who is remembered, and what does not end them."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.addresses import AllowList
from gateway.clock import Clock, ManualClock, SystemClock
from gateway.links.base import Peer
from gateway.links.udp import COUNT_EVERY_S, DATAGRAM_BYTES, UdpLink, UdpPeer
from tests.support.links import TinyHost, attempt, running, shout

LOOPBACK = ("127.0.0.0/8",)


def link_at(
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    remote: tuple[str, int] | None = None,
    allow: tuple[str, ...] = LOOPBACK,
    most: int = 100,
    clock: Clock | None = None,
) -> UdpLink:
    return UdpLink(
        host,
        port,
        remote=remote,
        allow=AllowList(allow),
        max_peers=most,
        peer_idle_s=60.0,
        max_frame=1024,
        clock=clock or SystemClock(),
    )


def address_of(link: UdpLink) -> tuple[str, int]:
    assert link.bound is not None
    return link.bound


@contextlib.contextmanager
def radio(source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind((source, 0))
        wire.settimeout(0)
        yield wire


async def hear(wire: socket.socket) -> bytes:
    async with asyncio.timeout(2):
        return await asyncio.get_running_loop().sock_recv(wire, 70_000)


def test_every_source_is_a_peer_and_every_datagram_whole() -> None:
    async def scenario() -> None:
        link, host = link_at(), TinyHost()
        with radio() as one, radio() as two:
            async with running(link, host):
                one.sendto(b"a1", address_of(link))
                two.sendto(b"b1", address_of(link))
                one.sendto(b"a2", address_of(link))
                await host.until(lambda: sum(len(ear.pieces) for ear in host.ears) == 3)
                assert [ear.pieces for ear in host.ears] == [[b"a1", b"a2"], [b"b1"]]
                assert host.ears[0].peer.name == "{}:{}".format(*one.getsockname())
                host.ears[0].peer.write([b"r1", b"r2"])
                assert [await hear(one), await hear(one)] == [b"r1", b"r2"]
        assert link.bound is None

    asyncio.run(scenario())


def test_strangers_are_counted_and_not_heard() -> None:
    async def scenario() -> None:
        link, host = link_at(allow=("127.0.0.2/32",)), TinyHost()
        with radio() as stranger, radio("127.0.0.2") as friend:
            async with running(link, host):
                stranger.sendto(b"forged", address_of(link))
                friend.sendto(b"true", address_of(link))
                await host.until(lambda: host.ears)
        assert [bytes(ear.data) for ear in host.ears] == [b"true"]
        assert host.drops == {"not_allowed": 1}

    asyncio.run(scenario())


def test_the_number_of_peers_is_bounded_and_the_newest_is_heard() -> None:
    async def scenario() -> None:
        link, host = link_at(most=1), TinyHost()
        with radio() as one, radio() as two:
            async with running(link, host):
                one.sendto(b"first", address_of(link))
                await host.until(lambda: host.ears)
                two.sendto(b"one too many", address_of(link))
                await host.until(lambda: host.ears[0].losses == ["no room"])
                assert host.drops == {"too_many_peers": 1}
        assert [ear.pieces for ear in host.ears] == [[b"first"], [b"one too many"]]

    asyncio.run(scenario())


def test_a_host_that_fills_the_table_takes_no_room_from_another() -> None:
    async def scenario() -> None:
        link, host = link_at(most=20), TinyHost()
        with contextlib.ExitStack() as open_wires, radio("127.0.0.2") as ours:
            async with running(link, host):
                ours.sendto(b"here", address_of(link))
                await host.until(lambda: host.ears)
                for _ in range(60):
                    wire = open_wires.enter_context(radio())
                    wire.sendto(b"flood", address_of(link))
                await host.until(lambda: len(host.ears) == 61)
                ours.sendto(b"alarm", address_of(link))
                await host.until(lambda: len(host.ears[0].pieces) == 2)
                with radio("127.0.0.3") as new:
                    new.sendto(b"alarm of a new one", address_of(link))
                    await host.until(lambda: host.ears[-1].pieces == [b"alarm of a new one"])
                await host.until(lambda: sum(not ear.losses for ear in host.ears) == 20)
                there = [ear for ear in host.ears if not ear.losses]
                assert {ear.peer.name.split(":")[0] for ear in there} == {
                    "127.0.0.1",
                    "127.0.0.2",
                    "127.0.0.3",
                }
        assert host.ears[0].pieces == [b"here", b"alarm"]

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what it threw away")
def test_what_the_system_had_no_room_for_is_counted() -> None:
    sent, size = 4_000, 8_000  # more than any receive buffer that the link asks for

    async def scenario() -> None:
        clock = ManualClock()
        link, host = link_at(clock=clock), TinyHost()
        with radio() as wire:
            async with running(link, host):
                wire.setblocking(True)  # noqa: FBT003 - the loop is held up on purpose
                for _ in range(sent):
                    wire.sendto(bytes(size), address_of(link))
                await clock.advance(COUNT_EVERY_S)
                lost = host.drops["overflow"]
                assert 0 < lost < sent
                await host.until(lambda: host.ears and len(host.ears[0].pieces) == sent - lost)
                for _ in range(sent):
                    wire.sendto(bytes(size), address_of(link))
        assert host.drops["overflow"] > lost, "counted at the end, too"
        assert host.drops.keys() == {"overflow"}

    asyncio.run(scenario())


def test_an_idle_peer_is_forgotten_and_a_busy_one_is_not() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        link, host = link_at(most=2, clock=clock), TinyHost()
        with radio() as idle, radio() as busy:
            async with running(link, host):
                idle.sendto(b"once", address_of(link))
                await host.until(lambda: host.ears)
                for count in range(1, 5):
                    busy.sendto(b"%d" % count, address_of(link))
                    await host.until(lambda: host.ears[-1].data.endswith(b"%d" % count))  # noqa: B023 - awaited here
                    await clock.advance(20)
                assert host.ears[0].losses == ["idle"]
                assert host.ears[1].losses == []
                idle.sendto(b"back", address_of(link))
                await host.until(lambda: len(host.ears) == 3)
        assert host.drops == {}

    asyncio.run(scenario())


def test_we_speak_first_to_a_remote_and_hear_nobody_else() -> None:
    async def scenario() -> None:
        with radio() as repeater, radio() as stranger:
            host = TinyHost(answer=shout([b"register"]))
            link = link_at(remote=repeater.getsockname())
            async with running(link, host):
                assert await hear(repeater) == b"register"
                stranger.sendto(b"forged", address_of(link))
                repeater.sendto(b"welcome", address_of(link))
                await host.until(lambda: host.ears[0].data == b"welcome")
            assert host.drops == {"not_allowed": 1}
            assert len(host.ears) == 1

    asyncio.run(scenario())


def test_a_silent_remote_is_not_forgotten() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        with radio() as repeater:
            host = TinyHost()
            async with running(link_at(remote=repeater.getsockname(), clock=clock), host):
                await clock.advance(3600)
                assert host.ears[0].losses == []

    asyncio.run(scenario())


def test_a_closed_port_at_the_far_end_does_not_end_the_link() -> None:
    async def scenario() -> None:
        with radio() as gone:
            nobody = gone.getsockname()
        host = TinyHost(answer=shout([b"anybody there?"]))
        link = link_at(remote=nobody)
        async with running(link, host) as task:
            for _ in range(5):
                host.ears[0].peer.write([b"hello?"])
                await asyncio.sleep(0.01)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                back.bind(nobody)
                back.sendto(b"here again", address_of(link))
                await host.until(lambda: host.ears[0].data == b"here again")
            assert not task.done()

    asyncio.run(scenario())


def test_a_datagram_that_cannot_be_sent_is_counted() -> None:
    async def scenario() -> None:
        link, host = link_at(), TinyHost()
        with radio() as one:
            async with running(link, host):
                one.sendto(b"x", address_of(link))
                await host.until(lambda: host.ears)
                host.ears[0].peer.write([b"y" * 70_000])  # more than a datagram can be
                await host.until(lambda: host.drops)
                assert host.drops == {"not_sent": 1}

    asyncio.run(scenario())


def test_an_overlong_datagram_is_dropped_and_an_empty_one_is_not_an_end() -> None:
    async def scenario() -> None:
        link, host = link_at(), TinyHost()
        with radio() as one:
            async with running(link, host):
                one.sendto(b"z" * (DATAGRAM_BYTES + 1), address_of(link))
                one.sendto(b"", address_of(link))
                one.sendto(b"z" * DATAGRAM_BYTES, address_of(link))
                await host.until(lambda: host.ears and len(host.ears[0].pieces) == 2)
                assert len(host.ears[0].data) == DATAGRAM_BYTES
                assert host.drops == {"too_long": 1}

    asyncio.run(scenario())


def test_hanging_up_forgets_the_peer_and_its_next_datagram_makes_a_new_one() -> None:
    async def scenario() -> None:
        link, host = link_at(), TinyHost()
        with radio() as one:
            async with running(link, host):
                one.sendto(b"1", address_of(link))
                await host.until(lambda: host.ears)
                host.ears[0].peer.close("its driver fails")
                assert host.ears[0].losses == [], "never told inside the call"
                await host.until(lambda: host.ears[0].losses == ["its driver fails"])
                host.ears[0].peer.close("again")
                host.ears[0].peer.write([b"late"])
                one.sendto(b"2", address_of(link))
                await host.until(lambda: len(host.ears) == 2 and host.ears[1].data == b"2")

    asyncio.run(scenario())


@pytest.mark.parametrize("is_met", [True, False])
def test_hanging_up_on_the_remote_ends_the_link(is_met: bool) -> None:  # noqa: FBT001 - both ways
    def hang_up(peer: Peer) -> None:
        peer.close("its driver fails")

    async def scenario() -> None:
        with radio() as repeater:
            host = TinyHost(answer=None if is_met else hang_up)
            link = link_at(remote=repeater.getsockname())
            async with running(link, host) as task:
                if is_met:
                    hang_up(host.ears[0].peer)
                assert (await task).endswith(": its driver fails")
            assert host.ears[0].losses == ["its driver fails"]

    asyncio.run(scenario())


def test_an_address_in_use_is_named() -> None:
    async def scenario() -> None:
        link, host = link_at(), TinyHost()
        async with running(link, host):
            second = link_at(address_of(link)[1])
            said = await attempt(second, TinyHost())
            assert said == f"{second.place}: address in use by another program (EADDRINUSE)"

    asyncio.run(scenario())


def test_a_remote_that_loopback_cannot_reach_is_said_at_once() -> None:
    said = asyncio.run(attempt(link_at(remote=("192.0.2.7", 3002)), TinyHost()))
    assert said == (
        "udp 127.0.0.1:0 to 192.0.2.7:3002: cannot be reached from loopback; "
        "set listen to an address of this machine, or to '0.0.0.0:0'"
    )


def test_the_receive_buffer_is_raised() -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual:
            before = usual.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        link, host = link_at(), TinyHost()
        with radio() as one:
            async with running(link, host):
                one.sendto(b"x", address_of(link))
                await host.until(lambda: host.ears)
                peer = host.ears[0].peer
                assert isinstance(peer, UdpPeer)
                transport: Any = peer._wire._transport
                wire = transport.get_extra_info("socket")
                assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > before

    asyncio.run(scenario())


def test_a_peer_that_has_not_spoken_can_be_called_once() -> None:
    async def scenario() -> None:
        link, host = link_at(), TinyHost()
        async with running(link, host):
            with radio("127.0.0.7") as wire:
                link.call(*wire.getsockname())
                link.call(*wire.getsockname())
                link.call("192.0.2.1", 4001)  # not allowed
                (ear,) = host.ears
                ear.peer.write([b"where are you"])
                assert await hear(wire) == b"where are you"
                wire.sendto(b"here", address_of(link))
                await host.until(lambda: ear.data)
            assert len(host.ears) == 1
            assert host.drops == {"not_allowed": 1}

    asyncio.run(scenario())


def test_nobody_is_called_while_the_link_is_down() -> None:
    link_at().call("127.0.0.7", 4001)
