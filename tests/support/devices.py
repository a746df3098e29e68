"""An emulated device in conversation with a session, in virtual time: no wire, no waiting."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from drivers.api import Driver, Moment
from gateway.model.events import EmergencyKind
from hil_tests.devices.base import Device
from hil_tests.devices.hytera_hrnp import HrnpStation
from hil_tests.devices.hytera_hstrp import HstrpRepeater
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.devices.moto_ars import MotoArsDevice
from hil_tests.devices.moto_tms import MotoTmsDevice
from hil_tests.devices.tetra_pei import TetraPeiDevice
from tests.support.talk import SAME_PRESS_S, Talk

STEP_S = 0.1
HERE = (22.94, 113.88)


class Cast(NamedTuple):
    """The device that speaks on the wire, and the one whose button is pressed.

    ``apart_s`` is how long after a release another press is another emergency.
    """

    speaker: Device
    presser: Device
    apart_s: float = 20.0


def terminal() -> Cast:
    """A public-network handheld."""
    device = Jt808Device("13800138000")
    return Cast(device, device)


def station_and_unit() -> Cast:
    """A control station, and a unit that it hears."""
    station = HrnpStation(1001)
    return Cast(station, station.add_unit(1002))


class CallingRepeater(HstrpRepeater):
    """Presses are emergency calls: a repeater tells the end of those, and of alarms it does not.

    Soon after its end one goes on: its open microphone comes and goes.
    """

    def press(self, kind: EmergencyKind = "call") -> None:
        super().press(kind)


def repeater_and_unit() -> Cast:
    """A repeater, with a unit on its air."""
    repeater = CallingRepeater(1002)
    return Cast(repeater, repeater, apart_s=SAME_PRESS_S + 20)


# By driver. One with receipts and a grade above bronze belongs here, or below.
DEVICES: dict[str, Callable[[], Cast]] = {
    "jt808": terminal,
    "hytera_hrnp": station_and_unit,
    "hytera_hstrp": repeater_and_unit,
}


class Said(NamedTuple):
    """What a device without an answer to its emergencies has answered instead, and why so."""

    why: str
    device: Callable[[], Any]
    say: Callable[[Any], None]
    is_answered: Callable[[Any], bool]


# By driver. R9 asks nothing of the two that carry no emergency.
UNANSWERED: dict[str, Said] = {
    "tetra_pei": Said(
        "neither a status nor a place is answered; its receipts are SDS-TL reports for texts",
        lambda: TetraPeiDevice(4470001),
        lambda radio: radio.write("Hello"),
        lambda radio: bool(radio.reported),
    ),
    "moto_ars": Said(
        "carries no emergency; its receipts are for registrations, which it repeats by itself",
        lambda: MotoArsDevice(11),
        lambda radio: None,
        lambda radio: radio.is_registered,
    ),
    "moto_tms": Said(
        "carries no emergency; its receipts are for texts",
        lambda: MotoTmsDevice(11),
        lambda radio: radio.write("Hello"),
        lambda radio: bool(radio.acknowledged),
    ),
}


class Played:
    """A device of ``DEVICES``, or of ``UNANSWERED``, against a session of its driver."""

    def __init__(self, driver: Driver[Any]) -> None:
        self.talk = Talk(driver)
        self.sent: list[bytes] = []  # by the device, so far
        self.speaker, self.presser, self.apart_s = _cast(driver.name)
        self.presser.move(*HERE, speed_mps=0.0, course_deg=0.0)
        self.talk.ear.take = self._to_device
        for frame in self.talk.ear.written:  # what the codec said on opening
            self._to_device(frame)

    async def run(self, seconds: float) -> None:
        """Both go on for so long."""
        for _ in range(round(seconds / STEP_S)):
            self.talk.pass_time(STEP_S)
            self.speaker.tick(self._now())
            for frame in self.speaker.outgoing():
                self.sent.append(frame)
                self.talk.session.received(frame)
            await asyncio.sleep(0)

    async def until_acknowledged(self, within_s: float) -> bool:
        """Go on until the button's press is acknowledged; False where that takes longer."""
        for _ in range(round(within_s)):
            await self.run(1.0)
            if self.presser.is_press_acknowledged:
                return True
        return False

    @property
    def raised(self) -> int:
        """How many emergencies are on disk."""
        return sum(type(event).__name__ == "EmergencyRaised" for event in self.talk.disk.events)

    def _to_device(self, frame: bytes) -> None:
        self.speaker.receive(frame, self._now())

    def _now(self) -> Moment:
        return Moment(self.talk.clock.monotonic(), self.talk.clock.now())


def _cast(driver: str) -> Cast:
    if driver in DEVICES:
        return DEVICES[driver]()
    device = UNANSWERED[driver].device()
    return Cast(device, device)
