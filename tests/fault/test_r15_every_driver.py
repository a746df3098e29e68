"""R15 for every driver, on every kind of wire that it has.

On each kind of wire there is a peer for everything of ``tests.support.hostile``: frames that are
cut or never end, bytes that drip, lengths and nestings at their greatest. Where a wire carries one
peer alone (a serial port, a connection that the gateway opens), each has a link of its own. The
process, which plays the peers too, may grow by 1 MiB a peer at most. Within 10 s of its last
hostile byte each peer is hung up on or understood again, and one that behaves on the same link, as
well as a terminal on another, is understood all the time.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from drivers.api import Driver, Transport
from gateway.clock import SystemClock
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.host import GatewayHere, until
from hil_tests.rig.attach import TcpClientWire
from hil_tests.rig.pty import PtyPort
from tests.support import battery
from tests.support.battery import Case
from tests.support.hostile import Hostility, hostilities

HOSTILE_S, PAUSE_S, FLOOD_PAUSE_S = 2.5, 0.1, 0.02
FLOOD_PIECES = 8  # at a time: 3 MB a second where the gateway takes it
RECOVERY_S = 10.0
MOST_MIB_A_PEER = 1.0
HEARD_S = 2.0  # a peer that behaves, at worst
EVERY_S = 0.2  # between two frames of one that behaves
MANY = {Transport.TCP_SERVER, Transport.UDP}  # any number of peers on one link
WITNESS = "jt808:013800138000"

DRIVERS = {
    name: found for name, found in battery.find_drivers().items() if isinstance(found, Driver)
}


def good_case(name: str) -> Case:
    """A vector that a fresh codec makes an event of, without a word before."""
    return next(
        case
        for case in battery.find_cases()
        if case.driver.name == name
        and case.vector.events
        and not case.vector.steps
        and not case.vector.expected_rejects
    )


# --- peers ----------------------------------------------------------------------------------------


class HungUpError(Exception):
    """The gateway has ended the conversation."""


class Wire(Protocol):
    """A peer's end of a wire; ``name`` is the gateway's for it, None where the link is the name."""

    name: str | None

    async def send(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Stream:
    """A connection; what the gateway answers is not read."""

    def __init__(self, writer: asyncio.StreamWriter, *, is_caller: bool) -> None:
        host, port = writer.get_extra_info("sockname")[:2]
        self.name = f"{host}:{port}" if is_caller else None
        self._writer = writer

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            raise HungUpError from None
        if self._writer.transport.is_closing():
            raise HungUpError

    def close(self) -> None:
        self._writer.transport.abort()


class Datagrams(asyncio.DatagramProtocol):
    """A source address."""

    name: str | None = None

    async def open(self, address: tuple[str, int]) -> "Datagrams":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=address)
        host, port = self._transport.get_extra_info("sockname")[:2]
        self.name = f"{host}:{port}"
        return self

    async def send(self, data: bytes) -> None:
        self._transport.sendto(data)

    def close(self) -> None:
        self._transport.close()


class Cable:
    """A serial port; what the line does not take is lost."""

    name: str | None = None

    def __init__(self, port: PtyPort) -> None:
        self._port = port

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), 2048):
            self._port.write(data[start : start + 2048])
            await asyncio.sleep(0)

    def close(self) -> None:
        self._port.unplug()


class Peer:
    """One far end: what it tries, its wire, and how often the gateway has understood it."""

    def __init__(self, hostility: Hostility | None, link_id: str, heard: Counter[Any]) -> None:
        self.hostility = hostility
        self.link_id = link_id
        self.wire: Wire | None = None
        self.met = asyncio.Event()
        self._heard = heard

    @property
    def count(self) -> int:
        assert self.wire is not None
        return self._heard[self.link_id, self.wire.name]

    def meet(self, wire: Wire) -> None:
        self.wire = wire
        self.met.set()

    async def send(self, data: bytes) -> None:
        await self.met.wait()
        assert self.wire is not None
        await self.wire.send(data)

    async def is_understood(self, good: list[bytes], within_s: float) -> bool:
        """Send good frames, a few a second, until one is understood; True too when hung up on."""
        before, deadline = self.count, time.monotonic() + within_s
        try:
            while time.monotonic() < deadline:
                for frame in good:
                    await self.send(frame)
                if await until(lambda: self.count > before, EVERY_S):
                    return True
        except HungUpError:
            return True
        return False


class Ground:
    """A gateway with links of one driver, and everybody on them."""

    def __init__(self, driver: Driver[Any], folder: Path, stack: contextlib.AsyncExitStack) -> None:
        case = good_case(driver.name)
        self.good = battery.joined(case, case.vector.frames)
        self.hostile: list[Peer] = []
        self.honest: list[Peer] = []
        self.heard: Counter[Any] = Counter()  # reports, by link and peer
        self.gateway: GatewayHere
        self._driver = driver
        self._options = case.options
        self._folder = folder
        self._stack = stack
        self._tries = hostilities(driver.name, self.good[0])

    @property
    def everybody(self) -> list[Peer]:
        return [*self.hostile, *self.honest]

    async def prepare(self) -> None:
        """Start the gateway and connect everybody."""
        tables = [await self._links(transport) for transport in sorted(self._driver.transports)]
        links = [table for some in tables for table in some]
        witness = {"id": "witness", "transport": "tcp_server", "driver": "jt808"}
        document = {"link": [*links, witness | {"listen": "127.0.0.1:0"}]}
        self.gateway = GatewayHere(self._folder, document)
        self._listen_to_reports()
        await self._stack.enter_async_context(self.gateway.running())
        await self.gateway.links_are_up([table["id"] for table in document["link"]])
        for peer in self.everybody:
            if not peer.met.is_set() and peer.link_id in {"tcp_server", "udp"}:
                await self._call(peer)
            await peer.met.wait()

    async def _links(self, transport: Transport) -> list[dict[str, Any]]:
        if transport is Transport.REPLAY:
            return []
        base = {"transport": transport.value, "driver": self._driver.name, "options": self._options}
        if transport in MANY:
            self.hostile += [Peer(each, transport.value, self.heard) for each in self._tries]
            self.honest.append(Peer(None, transport.value, self.heard))
            return [base | {"id": transport.value, "listen": "127.0.0.1:0"}]
        links = []
        for hostility in self._tries:
            peer = Peer(
                hostility, f"{transport.value.replace('_', '-')}-{hostility.name}", self.heard
            )
            self.hostile.append(peer)
            place = await (
                self._port(peer) if transport is Transport.SERIAL else self._server(peer)
            )
            links.append(base | {"id": peer.link_id} | place)
        return links

    async def _port(self, peer: Peer) -> dict[str, Any]:
        port = PtyPort(self._folder / f"tty-{peer.link_id}")
        port.plug()
        self._keep(peer, Cable(port))
        return {"port": str(port.path)}

    async def _server(self, peer: Peer) -> dict[str, Any]:
        def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._keep(peer, Stream(writer, is_caller=False))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._stack.callback(server.close)
        return dict(zip(("host", "port"), server.sockets[0].getsockname()[:2], strict=True))

    async def _call(self, peer: Peer) -> None:
        address = self.gateway.bound(peer.link_id)
        if peer.link_id == "udp":
            self._keep(peer, await Datagrams().open(address))
        else:
            _, writer = await asyncio.open_connection(*address)
            self._keep(peer, Stream(writer, is_caller=True))

    def _keep(self, peer: Peer, wire: Wire) -> None:
        self._stack.callback(wire.close)
        peer.meet(wire)

    def _listen_to_reports(self) -> None:
        """Note from whom each report comes, on its way to the pipeline."""
        pipeline = self.gateway.gateway.pipeline
        take: Callable[..., None] = pipeline.report

        def note(report: Any, *, link_id: str, peer: str, **rest: Any) -> None:
            self.heard[link_id, peer] += 1
            self.heard[link_id, None] += 1
            take(report, link_id=link_id, peer=peer, **rest)

        self._stack.enter_context(pytest.MonkeyPatch.context()).setattr(pipeline, "report", note)


# --- what they do ---------------------------------------------------------------------------------


async def attack(peer: Peer, good: list[bytes]) -> str:
    """Be hostile, then behave; what is wrong with how the gateway bore it, or ""."""
    assert peer.hostility is not None
    with contextlib.suppress(TimeoutError, HungUpError):
        async with asyncio.timeout(HOSTILE_S):
            await say(peer, peer.hostility)
    if await peer.is_understood(good, RECOVERY_S):
        return ""
    return f"{peer.link_id}, {peer.hostility.name}: not understood within {RECOVERY_S:g} s"


async def say(peer: Peer, hostility: Hostility) -> None:
    await peer.send(hostility.opening)
    pieces, pause_s = (FLOOD_PIECES, FLOOD_PAUSE_S) if hostility.is_flood else (1, PAUSE_S)
    while hostility.goes_on:
        for _ in range(pieces):
            await peer.send(hostility.goes_on)
        await asyncio.sleep(pause_s)
    await asyncio.sleep(HOSTILE_S)


async def behave(peer: Peer, good: list[bytes], is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        before = peer.count
        assert await peer.is_understood(good, HEARD_S), (
            f"{peer.link_id}: an honest peer is not heard"
        )
        assert peer.count > before, f"{peer.link_id}: an honest peer was hung up on"
        await asyncio.sleep(EVERY_S)


async def witness(gateway: GatewayHere, is_over: asyncio.Event) -> None:
    """A terminal on a link of its own, and what is committed of it."""
    clock = SystemClock()
    device = Jt808Device(WITNESS.removeprefix("jt808:0"), every_s=EVERY_S)
    device.move(22.94, 113.88, speed_mps=1.0, course_deg=90.0)
    wire = asyncio.create_task(TcpClientWire(device, gateway.bound("witness"), clock).run())
    try:
        while not is_over.is_set():
            await gateway.next_event(
                lambda event: event.get("radio_id") == WITNESS and event["type"] == "position_fix",
                HEARD_S,
            )
    finally:
        wire.cancel()


def memory_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


async def play(driver: Driver[Any], folder: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ground = Ground(driver, folder, stack)
        await ground.prepare()
        is_over = asyncio.Event()
        first = [peer.is_understood(ground.good, HEARD_S) for peer in ground.everybody]
        assert all(await asyncio.gather(*first)), "good frames are not understood to begin with"
        before_mib = highest_mib = memory_mib()
        async with asyncio.TaskGroup() as group:
            group.create_task(witness(ground.gateway, is_over))
            for peer in ground.honest:
                group.create_task(behave(peer, ground.good, is_over))
            attacks = [group.create_task(attack(peer, ground.good)) for peer in ground.hostile]
            while not all(task.done() for task in attacks):
                highest_mib = max(highest_mib, memory_mib())
                await asyncio.sleep(0.05)
            is_over.set()
    complaints = [task.result() for task in attacks if task.result()]
    grown_mib = highest_mib - before_mib
    print(f"{driver.name}: {len(attacks)} hostile peers, at most {grown_mib:.1f} MiB more")
    assert not complaints
    assert grown_mib <= MOST_MIB_A_PEER * len(attacks)


@pytest.mark.fault
@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
def test_hostile_peers_cost_little_and_harm_nobody(driver: Driver[Any], tmp_path: Path) -> None:
    asyncio.run(play(driver, tmp_path))
