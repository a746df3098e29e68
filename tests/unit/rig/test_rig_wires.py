"""Ptys that can be pulled out, cables that are noisy, and devices hung on every kind of wire."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from drivers.api import Moment
from gateway.addresses import AllowList
from gateway.clock import ManualClock, SystemClock
from gateway.links.serial import SerialLink
from gateway.links.tcp import TcpClientLink, TcpServerLink
from gateway.links.udp import UdpLink
from gateway.model.events import EmergencyKind
from gateway.runtime.backoff import Backoff
from hil_tests.rig.attach import PtyWire, TcpClientWire, TcpServerWire, UdpWire, Wire
from hil_tests.rig.pty import LineNoise, PtyPort
from tests.support.descriptors import nothing_left_open
from tests.support.links import TinyHost, eventually, running

LOOPBACK = AllowList(("127.0.0.0/8",))
CLOCK = SystemClock()


class Beacon:
    """A device that sends one frame a tick and answers each byte it hears."""

    name = "beacon"
    is_press_acknowledged = False

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.heard = bytearray()
        self.greetings = 0
        self._out: list[bytes] = []

    def move(self, lat_deg: float, lon_deg: float, *, speed_mps: float, course_deg: float) -> None:
        pass

    def lose_fix(self) -> None:
        pass

    def press(self, kind: EmergencyKind = "alarm") -> None:
        pass

    def release(self) -> None:
        pass

    def connected(self, now: Moment) -> None:
        del now
        self.greetings += 1
        self._out.append(b"login;")

    def receive(self, data: bytes, now: Moment) -> None:
        del now
        self.heard += data
        self._out.append(b"ack;" * len(data))

    def tick(self, now: Moment) -> None:
        self.ticks.append(now.mono)
        self._out.append(b"fix;")

    def outgoing(self) -> Sequence[bytes]:
        frames, self._out = self._out, []
        return frames


@contextlib.asynccontextmanager
async def attached(*wires: Wire) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wire.run()) for wire in wires]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def talk(host: TinyHost) -> None:
    """Until both ends have heard each other."""
    await host.until(lambda: host.present and b"fix;" in host.present[0].data)
    host.present[0].peer.write([b"?"])
    await host.until(lambda: b"ack;" in host.present[0].data)


# The pty.


def test_unplugging_hangs_up_the_other_end_and_takes_the_path_away(tmp_path: Path) -> None:
    port = PtyPort(tmp_path / "gps")
    with nothing_left_open():
        for _ in range(3):
            port.plug()
            port.plug()
            other = os.open(port.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            port.write(b"\x03\x04\x11\x13\r\n\x7f\xff")  # nothing of it is taken for a command
            assert os.read(other, 100) == b"\x03\x04\x11\x13\r\n\x7f\xff"
            assert port.is_plugged
            port.unplug()
            port.unplug()
            assert not port.path.is_symlink()
            assert os.read(other, 100) == b"", "the end, and for ever"
            with pytest.raises(OSError, match="Input/output"):
                os.write(other, b"x")
            os.close(other)


def test_what_nobody_reads_is_lost_and_counted(tmp_path: Path) -> None:
    port = PtyPort(tmp_path / "gps")
    port.write(b"12345")
    assert port.lost_bytes == 5
    port.plug()
    for _ in range(100):
        port.write(b"x" * 4096)
    other = os.open(port.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    taken = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            taken += len(os.read(other, 65536))
    assert taken > 0
    assert port.lost_bytes == 5 + 100 * 4096 - taken
    os.close(other)
    port.unplug()


def test_replugging_swaps_the_port_and_goes_on_listening(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = PtyPort(tmp_path / "gps")
        port.plug()
        said = bytearray()
        port.listen(said.extend)
        first = port.path.readlink()
        keep = os.open(first, os.O_RDWR | os.O_NOCTTY)  # so that the new one has another number
        await port.replug(0.01)
        assert port.path.readlink() != first
        other = os.open(port.path, os.O_RDWR | os.O_NOCTTY)
        os.write(other, b"hello")
        await eventually(lambda: said == b"hello")
        port.listen(None)
        os.write(other, b"unheard")
        await asyncio.sleep(0.02)
        assert said == b"hello"
        os.close(other)
        os.close(keep)
        port.unplug()

    asyncio.run(scenario())


def test_line_noise_has_the_rate_asked_for_and_follows_the_seed() -> None:
    zeros = bytes(125_000)  # a million bits
    noise = LineNoise(1e-3, seed=4)
    noisy = b"".join(noise(zeros[n : n + 100]) for n in range(0, len(zeros), 100))
    flipped = sum(byte.bit_count() for byte in noisy)
    assert flipped == noise.flipped
    assert 800 < flipped < 1200
    assert noisy == LineNoise(1e-3, seed=4)(zeros), "whatever the pieces"
    assert noisy != LineNoise(1e-3, seed=5)(zeros)
    assert LineNoise(0.0, seed=4)(zeros) == zeros


# Devices on wires.


def test_a_device_on_a_pty_talks_over_an_unplugging(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = PtyPort(tmp_path / "gps")
        port.plug()
        device = Beacon()
        wire = PtyWire(device, port, CLOCK, tick_s=0.01)
        host = TinyHost()
        async with attached(wire):
            async with running(SerialLink(str(port.path), 9600, CLOCK), host) as task:
                await talk(host)
                port.unplug()
                await task
            ticks = len(device.ticks)
            await eventually(lambda: len(device.ticks) > ticks + 3)
            assert wire.lost_frames >= 3, "the device knows nothing of the cable"
            port.plug()
            async with running(SerialLink(str(port.path), 9600, CLOCK), host):
                await talk(host)
        assert device.heard == b"??"
        assert wire.received_bytes == 2
        assert device.greetings == 0
        port.unplug()

    asyncio.run(scenario())


def test_a_noisy_cable_damages_what_the_device_sends(tmp_path: Path) -> None:
    async def scenario() -> None:
        port = PtyPort(tmp_path / "gps")
        port.plug()
        noise = LineNoise(0.02, seed=1)
        wire = PtyWire(Beacon(), port, CLOCK, tick_s=0.005, cable=noise)
        host = TinyHost()
        link = SerialLink(str(port.path), 9600, CLOCK)
        async with attached(wire), running(link, host):
            await host.until(lambda: noise.flipped and len(host.ears[0].data) > 200)
            assert set(host.ears[0].data) - set(b"fix;")
        port.unplug()

    asyncio.run(scenario())


def test_a_device_calls_again_after_its_connection_broke() -> None:
    async def scenario() -> None:
        link = TcpServerLink(
            "127.0.0.1", 0, allow=LOOPBACK, max_peers=9, max_peers_per_address=9, clock=CLOCK
        )
        host = TinyHost()
        async with running(link, host):
            assert link.bound is not None
            device = Beacon()
            wire = TcpClientWire(
                device,
                link.bound,
                CLOCK,
                tick_s=0.01,
                source="127.0.0.7",
                backoff=Backoff(0.01, 0.02),
            )
            async with attached(wire):
                await talk(host)
                assert host.ears[0].peer.name.startswith("127.0.0.7:")
                host.ears[0].peer.close("go away")
                await host.until(lambda: len(host.ears) == 2)
                await talk(host)
                assert wire.is_connected
                wire.drop()
                await host.until(lambda: len(host.ears) == 3)
                assert (wire.connections, device.greetings) == (3, 3)
                assert all(ear.data.startswith(b"login;") for ear in host.ears if ear.data)
            await host.until(lambda: not host.present)

    asyncio.run(scenario())


def test_a_device_without_a_gateway_waits_and_loses_nothing() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        device = Beacon()
        wire = TcpClientWire(device, ("127.0.0.1", 1), clock)
        async with attached(wire):
            for _ in range(20):
                await clock.advance(10)
        assert device.ticks == []
        assert (wire.sent_frames, wire.lost_frames, wire.connections) == (0, 0, 0)

    asyncio.run(scenario())


def test_a_device_that_is_called_serves_one_caller_the_newest() -> None:
    async def scenario() -> None:
        device = Beacon()
        wire = TcpServerWire(device, CLOCK, tick_s=0.01)
        async with attached(wire):
            address = await wire.listen()
            first, second = TinyHost(), TinyHost()
            async with running(TcpClientLink(*address, 2.0), first) as task:
                await talk(first)
                async with running(TcpClientLink(*address, 2.0), second):
                    await talk(second)
                    await task
            wire.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            assert await wire.listen() == address
            async with running(TcpClientLink(*address, 2.0), first):
                await talk(first)

    asyncio.run(scenario())


def test_a_udp_device_speaks_first_or_answers() -> None:
    async def scenario() -> None:
        def link(remote: tuple[str, int] | None) -> UdpLink:
            return UdpLink(
                "127.0.0.1",
                0,
                remote=remote,
                allow=LOOPBACK,
                max_peers=9,
                peer_idle_s=60.0,
                max_frame=100,
                clock=CLOCK,
            )

        called, host = link(None), TinyHost()
        async with running(called, host):
            assert called.bound is not None
            async with attached(UdpWire(Beacon(), CLOCK, gateway=called.bound, tick_s=0.01)):
                await talk(host)
                assert set(host.ears[0].pieces) == {b"fix;", b"ack;"}
        silent = UdpWire(Beacon(), CLOCK, tick_s=0.01)
        async with attached(silent):
            calling = link(await silent.listen())
            host = TinyHost(answer=lambda peer: peer.write([b"!"]))
            async with running(calling, host):
                await talk(host)

    asyncio.run(scenario())


def test_many_devices_tick_evenly_spread_and_cheaply() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        wires = [UdpWire(Beacon(), clock, listen=("127.0.0.1", 0)) for _ in range(60)]
        async with attached(*wires):
            for wire in wires:
                await wire.listen()
            await clock.advance(1.0)
            ticks = [wire.device.ticks for wire in wires if isinstance(wire.device, Beacon)]
            assert {len(each) for each in ticks} <= {10, 11}
            firsts = sorted(each[0] for each in ticks)
            assert max(b - a for a, b in itertools.pairwise(firsts)) < 0.01

    asyncio.run(scenario())
