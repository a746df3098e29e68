"""One emulated device on a wire, by hand: what the bench uses, at the command line."""

import asyncio
import math
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.clock import Clock, SystemClock
from gateway.demo.town import Town
from gateway.demo.walks import Walk
from gateway.errors import ConfigError, LinkError
from gateway.model import pdt_number
from gateway.reasons import reason
from gateway.settings import parse_address
from hil_tests.devices.base import Device, ShowsTexts
from hil_tests.devices.hytera_hrnp import HrnpStation
from hil_tests.devices.hytera_hstrp import HstrpRepeater
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.devices.kenwood import KenwoodBase
from hil_tests.devices.moto_ars import MotoArsDevice
from hil_tests.devices.moto_lrrp import MotoLrrpDevice
from hil_tests.devices.moto_tms import MotoTmsDevice
from hil_tests.devices.nmea0183 import Nmea0183Device
from hil_tests.devices.tetra_pei import TetraPeiDevice
from hil_tests.rig.attach import PtyWire, TcpClientWire, TcpServerWire, UdpWire, Wire
from hil_tests.rig.pty import PtyPort

STEP_S = 0.5
STATION_ADDRESS = 0xFC0F00
ANSWER_S = 10.0  # an acknowledgement that has not come by then is spoken of

# What a press of these is answered with: nothing, by their protocols.
UNANSWERED = {
    "kenwood": "the data port of a base radio has no acknowledgement",
    "tetra_pei": "neither a status nor a place is acknowledged",
}


class Emulation(NamedTuple):
    """What to play: a device, its number, its wire, and when the button is pressed."""

    device: str
    number: str
    pty: Path | None
    connect: str
    listen: str
    udp: str
    every_s: float
    press_after_s: float | None


def play(wanted: Emulation, tell: Callable[[str], None], seconds: float) -> None:
    """Play one device until Ctrl-C, or for ``seconds`` where that is not 0.

    It also ends when nobody reads any more what it tells.
    """
    try:
        asyncio.run(_play(wanted, tell, seconds))
    except* (KeyboardInterrupt, BrokenPipeError):
        pass


async def _play(wanted: Emulation, tell: Callable[[str], None], seconds: float) -> None:
    clock = SystemClock()
    carrier, mover = _device(wanted)
    wire, place = _wire(wanted, carrier, clock, tell)
    tell(f"{mover.name} on {place}; Ctrl-C ends it")
    try:
        async with asyncio.timeout(seconds or None), asyncio.TaskGroup() as group:
            group.create_task(_run(wire, place), name="wire")
            group.create_task(_walk(mover, clock), name="walk")
            if isinstance(mover, ShowsTexts):
                group.create_task(_show_texts(mover, clock, tell), name="display")
            if wanted.press_after_s is not None:
                group.create_task(press(wanted.device, mover, wanted.press_after_s, clock, tell))
    except TimeoutError:
        pass
    finally:
        if isinstance(wire, PtyWire):
            wire.port.unplug()


Pair = tuple[Device, Device]  # the device on the wire, and the one that moves and presses


def _receiver(wanted: Emulation) -> Pair:
    receiver = Nmea0183Device(every_s=wanted.every_s)
    return receiver, receiver


def _kenwood(wanted: Emulation) -> Pair:
    number = wanted.number or "100-1001"
    for part in number.split("-"):
        _whole(part)
    base = KenwoodBase(number, every_s=wanted.every_s)
    return base, base


def _terminal(wanted: Emulation) -> Pair:
    number = wanted.number or "13800138000"
    _whole(number)
    terminal = Jt808Device(number, every_s=wanted.every_s)
    return terminal, terminal


def _station(wanted: Emulation) -> Pair:
    """A station hears its unit."""
    station = HrnpStation(STATION_ADDRESS, every_s=wanted.every_s)
    facts = pdt_number.number_facts(wanted.number or "80020201", is_group=False)
    return station, station.add_unit(facts.address)


def _moto_ars(wanted: Emulation) -> Pair:
    radio = MotoArsDevice(_whole(wanted.number or "11"))
    return radio, radio


def _moto_lrrp(wanted: Emulation) -> Pair:
    radio = MotoLrrpDevice(_whole(wanted.number or "11"), every_s=wanted.every_s)
    return radio, radio


def _moto_tms(wanted: Emulation) -> Pair:
    radio = MotoTmsDevice(_whole(wanted.number or "11"))
    return radio, radio


def _tetra(wanted: Emulation) -> Pair:
    radio = TetraPeiDevice(_whole(wanted.number or "4470001"), every_s=wanted.every_s)
    return radio, radio


def _whole(number: str) -> int:
    if not (number.isascii() and number.isdecimal()):
        raise ValueError("it is written in digits")
    return int(number)


def _repeater(wanted: Emulation) -> Pair:
    """A repeater, with one unit on its air."""
    facts = pdt_number.number_facts(wanted.number or "80020201", is_group=False)
    repeater = HstrpRepeater(facts.address, every_s=wanted.every_s)
    return repeater, repeater


DEVICES: Mapping[str, Callable[[Emulation], Pair]] = {
    "nmea0183": _receiver,
    "kenwood": _kenwood,  # read by the driver nmea0183
    "jt808": _terminal,
    "hytera_hrnp": _station,
    "hytera_hstrp": _repeater,
    "tetra_pei": _tetra,
    "moto_ars": _moto_ars,
    "moto_lrrp": _moto_lrrp,
    "moto_tms": _moto_tms,
}


def _device(wanted: Emulation) -> Pair:
    build = DEVICES.get(wanted.device)
    if build is None:
        raise ConfigError(f"device {wanted.device!r} does not exist; one of {', '.join(DEVICES)}")
    try:
        return build(wanted)
    except ValueError as error:
        raise ConfigError(f"--number {wanted.number!r}: {error}") from None


def _wire(
    wanted: Emulation, device: Device, clock: Clock, tell: Callable[[str], None]
) -> tuple[Wire, str]:
    if wanted.pty is not None:
        port = PtyPort(wanted.pty)
        try:
            port.plug()
        except OSError as error:
            why = f"no serial port can be made there ({error.strerror})"
            raise LinkError(f"--pty {wanted.pty}: {why}") from None
        return PtyWire(device, port, clock), f"serial port {wanted.pty}"
    if wanted.connect:
        address = parse_address(wanted.connect, "--connect")
        return TcpClientWire(device, address, clock, tell=tell), f"tcp to {wanted.connect}"
    if wanted.udp:
        address = parse_address(wanted.udp, "--udp")
        return UdpWire(device, clock, gateway=_found(address)), f"udp to {wanted.udp}"
    if wanted.listen:
        address = parse_address(wanted.listen, "--listen")
        return TcpServerWire(device, clock, listen=address), f"tcp at {wanted.listen}"
    raise ConfigError("say where: --pty PATH, --connect, --listen or --udp ADDRESS:PORT")


def _found(address: tuple[str, int]) -> tuple[str, int]:
    """A name's address, looked up once: a datagram to an unknown name is lost without a word."""
    try:
        (_, _, _, _, place), *_ = socket.getaddrinfo(
            *address, family=socket.AF_INET, type=socket.SOCK_DGRAM
        )
    except OSError as error:
        raise LinkError(f"--udp {address[0]}:{address[1]}: {reason(error)}") from None
    return str(place[0]), address[1]


async def _run(wire: Wire, place: str) -> None:
    try:
        await wire.run()
    except OSError as error:
        raise LinkError(f"{place}: {reason(error)}") from None


async def _walk(device: Device, clock: Clock) -> None:
    walk = Walk(Town(), (6, 4), range_m=400, pace_mps=1.3, seed=1)
    while True:
        lat_deg, lon_deg = walk.lat_lon
        device.move(lat_deg, lon_deg, speed_mps=walk.speed_mps, course_deg=walk.course_deg)
        await clock.sleep(STEP_S)
        walk.step(STEP_S)


async def _show_texts(device: ShowsTexts, clock: Clock, tell: Callable[[str], None]) -> None:
    shown = 0
    while True:
        for body in device.texts[shown:]:
            tell(f"text: {body}")
            shown += 1
        await clock.sleep(0.1)


async def press(
    kind: str, device: Device, after_s: float, clock: Clock, tell: Callable[[str], None]
) -> None:
    """Press the button of a device of ``DEVICES`` after so long, and tell what it hears of it."""
    await clock.sleep(after_s)
    try:
        device.press()
    except NotImplementedError as error:
        tell(f"no button is pressed: {error}")
        return
    tell("the button is pressed")
    if kind in UNANSWERED:
        tell(f"no answer will come: {UNANSWERED[kind]}; the desk shows whether it was heard")
        return
    late_at = clock.monotonic() + ANSWER_S
    while not device.is_press_acknowledged:
        await clock.sleep(0.1)
        if clock.monotonic() >= late_at:
            late_at = math.inf
            tell(
                f"no acknowledgement has come within {ANSWER_S:g} s: is the gateway there, does "
                "its disk take events (pdt-gateway outbox), is the driver the right one? waiting on"
            )
    tell("the gateway has acknowledged it")
