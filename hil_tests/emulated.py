"""A bench of emulated devices on ptys and loopback sockets."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from drivers.api import Moment
from gateway.clock import Clock
from gateway.errors import ConfigError
from gateway.model.geo import Point
from gateway.model.identity import RadioId
from hil_tests.devices.base import Device, ShowsTexts
from hil_tests.devices.hytera_hrnp import HrnpStation, HrnpUnit
from hil_tests.devices.hytera_hstrp import HstrpRepeater
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.devices.kenwood import KenwoodBase
from hil_tests.devices.nmea0183 import Nmea0183Device
from hil_tests.devices.tetra_pei import TetraPeiDevice
from hil_tests.numbers import address_of, radio_of
from hil_tests.rig.attach import (
    TICK_S,
    PtyWire,
    TcpClientWire,
    TcpServerWire,
    UdpWire,
    Wire,
    unchanged,
)
from hil_tests.rig.pty import LineNoise, PtyPort
from hil_tests.scenario import (
    DeviceDo,
    DeviceTable,
    LinkTable,
    LoseFix,
    Move,
    Noise,
    Plug,
    Press,
    Release,
    Return,
    Scenario,
    Silence,
    SwitchOff,
    Unplug,
)

ANSWER_TIMEOUT_S = 1.0  # a terminal repeats after so long; the standard leaves the time to it

# Devices whose number is written as they have it themselves, by kind.
PLAIN: dict[str, Callable[[str, float], Device]] = {
    "receiver": lambda _number, every_s: Nmea0183Device(every_s=every_s),
    "terminal": lambda number, every_s: Jt808Device(
        number, every_s=every_s, answer_timeout_s=ANSWER_TIMEOUT_S
    ),
    "tetra": lambda number, every_s: TetraPeiDevice(int(number), every_s=every_s),
    "kenwood": lambda number, every_s: KenwoodBase(number, every_s=every_s),
}


class Cable:
    """What lies between a device and a serial port."""

    def __init__(self) -> None:
        self.damage: Callable[[bytes], bytes] = unchanged

    def __call__(self, data: bytes) -> bytes:
        """``data`` at the far end."""
        return self.damage(data)


class Actor(NamedTuple):
    """A device and its cable."""

    device: Device
    cable: Cable


class EmulatedBench:
    """Every device of a scenario, emulated."""

    patience_s = 0.0  # an emulated device does at once what it is told

    def __init__(self, scenario: Scenario, folder: Path, clock: Clock) -> None:
        self._scenario = scenario
        self._folder = folder
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._actors: dict[str, Actor] = {}
        self._wires: dict[str, Wire] = {}  # a unit behind a station has none of its own
        self._stands_at: dict[str, Point] = {}
        for table in sorted(scenario.device, key=lambda each: bool(each.behind)):
            self._actors[table.name] = Actor(self._device(table), Cable())

    def radio_of(self, name: str) -> RadioId:
        """The radio id by which the gateway will know a device."""
        return radio_of(self._scenario, self._scenario.device_named(name))

    def stands_at(self, name: str) -> Point | None:
        """Where a device has been moved to."""
        return self._stands_at.get(name)

    def is_acknowledged(self, name: str) -> bool | None:
        """True where the device has its acknowledgement; None where nobody can tell."""
        return self._actors[name].device.is_press_acknowledged

    def texts_of(self, name: str) -> Sequence[str]:
        """What a device has shown; nothing where it has no display."""
        device = self._actors[name].device
        return device.texts if isinstance(device, ShowsTexts) else ()

    async def links(self) -> list[dict[str, Any]]:
        """The ``[[link]]`` tables, with places on this machine."""
        return [await self._place(link) for link in self._scenario.link]

    async def begin(
        self, group: asyncio.TaskGroup, bound: Callable[[str], tuple[str, int]]
    ) -> None:
        """Switch every device on; ``bound`` tells where the links listen."""
        self._group = group
        for table in self._scenario.device:
            if not table.behind and table.name not in self._wires:
                self._wires[table.name] = self._wire_to(table, bound(table.link))
        for name, wire in self._wires.items():
            self._serve(name, wire.run)

    async def end(self) -> None:
        """Switch everything off."""
        for task in self._serving.values():
            task.cancel()
        for wire in self._wires.values():
            if isinstance(wire, PtyWire):
                wire.port.unplug()

    async def do(self, step: DeviceDo) -> None:
        """Let something happen to a device."""
        actor = self._actors[step.device]
        wire = self._wires.get(step.device)
        if isinstance(step, Silence):
            self._serve(step.device, lambda: self._out_of_coverage(actor.device))
        elif isinstance(step, Return) and wire is not None:
            self._serve(step.device, wire.run)
        elif isinstance(step, Plug | Unplug | Noise) and isinstance(wire, PtyWire):
            self._at_port(wire.port, actor.cable, step)
        else:
            self._at_device(actor.device, step)

    # Building.

    def _device(self, table: DeviceTable) -> Device:
        number, every_s = table.number, table.every_s
        if table.kind in PLAIN:
            return PLAIN[table.kind](number, every_s)
        address = address_of(self._scenario, table)
        if table.kind == "repeater":
            return HstrpRepeater(address, every_s=every_s)
        if table.kind == "station":
            return HrnpStation(address, every_s=every_s)
        station = self._actors[table.behind].device
        if not isinstance(station, HrnpStation):
            raise ConfigError(f"device {table.name!r}: {table.behind!r} is no station")
        return station.add_unit(address)

    async def _place(self, link: LinkTable) -> dict[str, Any]:
        """A link's table; devices that are spoken to first are made ready for it."""
        table = msgspec.structs.asdict(link)
        carrier = next((each for each in self._scenario.device if each.link == link.id), None)
        if link.transport == "serial":
            return {**table, "port": str(self._on_port(link, carrier))}
        if link.transport == "tcp_client" and carrier is not None:
            server = TcpServerWire(self._actors[carrier.name].device, self._clock)
            self._wires[carrier.name] = server
            host, port = await server.listen()
            return {**table, "host": host, "port": port}
        table["listen"] = "127.0.0.1:0"
        if carrier is not None and carrier.kind == "station":
            radio = UdpWire(self._actors[carrier.name].device, self._clock)
            self._wires[carrier.name] = radio
            host, port = await radio.listen()
            table["remote"] = f"{host}:{port}"
        return table

    def _on_port(self, link: LinkTable, carrier: DeviceTable | None) -> Path:
        port = PtyPort(self._folder / f"tty-{link.id}")
        if carrier is not None:
            actor = self._actors[carrier.name]
            self._wires[carrier.name] = PtyWire(actor.device, port, self._clock, cable=actor.cable)
            port.plug()
        return port.path

    def _wire_to(self, table: DeviceTable, gateway: tuple[str, int]) -> Wire:
        """A wire of a device that speaks first."""
        device = self._actors[table.name].device
        if self._scenario.link_of(table).transport == "udp":
            return UdpWire(device, self._clock, gateway=gateway)
        return TcpClientWire(device, gateway, self._clock)

    # What happens.

    def _serve(self, name: str, run: Callable[[], Any]) -> None:
        assert self._group is not None  # noqa: S101 - begin was called
        if name in self._serving:
            self._serving[name].cancel()
        self._serving[name] = self._group.create_task(_run(run), name=f"device {name}")

    def _at_device(self, device: Device, step: DeviceDo) -> None:
        if isinstance(step, Move):
            self._stands_at[step.device] = Point(step.lat_deg, step.lon_deg)
            device.move(
                step.lat_deg, step.lon_deg, speed_mps=step.speed_mps, course_deg=step.course_deg
            )
        elif isinstance(step, LoseFix):
            device.lose_fix()
        elif isinstance(step, Press):
            device.press(step.kind)
        elif isinstance(step, Release):
            device.release()
        elif isinstance(step, SwitchOff):
            if isinstance(device, HrnpUnit | HstrpRepeater | TetraPeiDevice):
                device.switch_off()
            elif isinstance(device, Jt808Device):
                device.log_out()
            else:
                raise NotImplementedError(f"{device.name} says nothing when it is switched off")
        else:
            raise NotImplementedError(f"nobody knows how to do {type(step).__name__}")

    @staticmethod
    def _at_port(port: PtyPort, cable: Cable, step: Plug | Unplug | Noise) -> None:
        if isinstance(step, Plug):
            port.plug()
        elif isinstance(step, Unplug):
            port.unplug()
        elif step.bit_error_rate:
            cable.damage = LineNoise(step.bit_error_rate, step.seed)
        else:
            cable.damage = unchanged

    async def _out_of_coverage(self, device: Device) -> NoReturn:
        """Its time goes on, and nobody hears what it says."""
        while True:
            device.tick(Moment(self._clock.monotonic(), self._clock.now()))
            device.outgoing()
            await self._clock.sleep(TICK_S)


async def _run(run: Callable[[], Any]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await run()
