"""The emulated town at work: sixty units on wires, and a story that shows what the gateway is for.

One radio has no fix, one goes silent, one link is unplugged and comes back, and after some twenty
seconds somebody presses the button. Later more happens, so that a demo that runs on stays alive.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.clock import Clock
from gateway.demo.places import DemoPlaces
from gateway.demo.teams import UnitOfTown, units_of_town
from gateway.demo.town import Town
from gateway.demo.walks import Walk
from gateway.model import pdt_number
from hil_tests.devices.base import Device
from hil_tests.devices.hytera_hrnp import HrnpStation
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.devices.nmea0183 import Nmea0183Device
from hil_tests.rig.attach import PtyWire, TcpClientWire, UdpWire, Wire
from hil_tests.rig.pty import PtyPort

STEP_S = 0.5
STATION_REPORT_S = 4.0
STATION_ADDRESS = 0xFC0F00  # the control stations themselves; no unit of the town
TERMINAL_REPORT_S = 3.0

WITHOUT_FIX = "village-dongan-3"
GOES_SILENT = "watch-school-5"
UNPLUGGED = "gnss-3"
PRESSES = "plaza-stationed-2"


class Act(NamedTuple):
    """Something that happens at ``at_s`` seconds after the start."""

    at_s: float
    what: str  # told on the terminal
    do: Callable[[], None]


class Actor(NamedTuple):
    """One unit: who it is, how it walks, the device it carries."""

    unit: UnitOfTown
    walk: Walk
    device: Device


class Scene:
    """Builds the town's devices, hangs them on their wires and plays the story."""

    def __init__(self, places: DemoPlaces, clock: Clock, tell: Callable[[str], None]) -> None:
        self._places = places
        self._clock = clock
        self._tell = tell
        self._town = Town()
        self._ports: dict[str, PtyPort] = {}
        self._wires: dict[str, Wire] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stations: dict[str, HrnpStation] = {}
        self.actors = {
            unit.id: self._actor(unit, seed) for seed, unit in enumerate(units_of_town())
        }

    async def run(self) -> None:
        """Play until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, wire in self._wires.items():
                    self._tasks[name] = group.create_task(_serve(wire), name=f"device {name}")
                group.create_task(self._walk(), name="town walks")
                group.create_task(self._play(self._story()), name="town story")
        finally:
            for port in self._ports.values():
                port.unplug()

    # Building.

    def _actor(self, unit: UnitOfTown, seed: int) -> Actor:
        team = unit.team
        walk = Walk(self._town, team.home, range_m=team.range_m, pace_mps=team.pace_mps, seed=seed)
        return Actor(unit, walk, self._device(unit))

    def _device(self, unit: UnitOfTown) -> Device:
        clock, places = self._clock, self._places
        match unit.team.carries:
            case "gnss":
                receiver = Nmea0183Device(talker="GN")
                port = self._port(unit.number)
                self._wires[unit.number] = PtyWire(receiver, port, clock)
                return receiver
            case "terminal-tcp":
                terminal = Jt808Device(unit.number, every_s=TERMINAL_REPORT_S)
                gateway = ("127.0.0.1", places.terminals_tcp_port)
                self._wires[unit.id] = TcpClientWire(terminal, gateway, clock)
                return terminal
            case "terminal-udp":
                terminal = Jt808Device(unit.number, every_s=TERMINAL_REPORT_S)
                gateway = ("127.0.0.1", places.terminals_udp_port)
                self._wires[unit.id] = UdpWire(terminal, clock, gateway=gateway)
                return terminal
            case station:
                address = pdt_number.number_facts(unit.number, is_group=False).address
                return self._station(station).add_unit(address)

    def _station(self, link_id: str) -> HrnpStation:
        if link_id not in self._stations:
            own_address = STATION_ADDRESS + len(self._stations)
            station = HrnpStation(own_address, every_s=STATION_REPORT_S)
            self._stations[link_id] = station
            self._wires[link_id] = PtyWire(station, self._port(link_id), self._clock)
        return self._stations[link_id]

    def _port(self, link_id: str) -> PtyPort:
        port = self._ports[link_id] = PtyPort(self._places.serial_path(link_id))
        port.plug()
        return port

    # Playing.

    async def _walk(self) -> None:
        while True:
            for actor in self.actors.values():
                actor.walk.step(STEP_S)
                if actor.unit.id == WITHOUT_FIX:
                    actor.device.lose_fix()
                    continue
                lat_deg, lon_deg = actor.walk.lat_lon
                actor.device.move(
                    lat_deg,
                    lon_deg,
                    speed_mps=actor.walk.speed_mps,
                    course_deg=actor.walk.course_deg,
                )
            await self._clock.sleep(STEP_S)

    async def _play(self, acts: Sequence[Act]) -> None:
        start = self._clock.monotonic()
        for act in acts:
            await self._clock.sleep(max(0.0, start + act.at_s - self._clock.monotonic()))
            self._tell(act.what)
            act.do()

    def _story(self) -> list[Act]:
        name = self._name
        return [
            Act(3, f"{name(WITHOUT_FIX)} has no fix 无定位", lambda: None),
            Act(10, f"{name(GOES_SILENT)} goes silent 失联", self._silence),
            Act(14, f"link {UNPLUGGED} is unplugged 链路拔出", self._ports[UNPLUGGED].unplug),
            Act(20, f"{name(PRESSES)} presses the button 紧急报警", lambda: self._press(PRESSES)),
            Act(40, f"link {UNPLUGGED} is back 链路恢复", self._ports[UNPLUGGED].plug),
            Act(
                90,
                f"{name('village-shangyong-4')} presses the button 紧急报警",
                lambda: self._press("village-shangyong-4"),
            ),
            Act(
                180,
                f"{name('area-market-3')} presses the button 紧急报警",
                lambda: self._press("area-market-3"),
            ),
        ]

    def _name(self, unit_id: str) -> str:
        return self.actors[unit_id].unit.name

    def _silence(self) -> None:
        self._tasks[GOES_SILENT].cancel()

    def _press(self, unit_id: str) -> None:
        """The button; mobile teams and patrol cars hurry to the place."""
        actor = self.actors[unit_id]
        actor.device.press()
        for other in self.actors.values():
            if other.unit.team.kind in {"mobile", "police"}:
                other.walk.hurries_to = actor.unit.team.home


async def _serve(wire: Wire) -> None:
    await wire.run()
