"""The emulated Kenwood base radio against the driver, byte for byte, without a wire."""

from collections.abc import Sequence
from typing import Any

import pytest

from drivers.api import Command, Moment, Outcome, Output, Report, Verb
from drivers.nmea0183 import Nmea0183Codec, Nmea0183Options
from gateway.model.events import EmergencyRaised, PositionFix, StatusReceived
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from hil_tests.devices.kenwood import KenwoodBase

START = Instant.parse("2026-05-01T08:00:00Z")


class Pair:
    def __init__(self, device: KenwoodBase) -> None:
        self.device = device
        self.codec = Nmea0183Codec(Nmea0183Options(emergency_status=(80,)), "base-1")
        self.mono = 100.0
        self.outputs: list[Output] = []

    def now(self) -> Moment:
        return Moment(self.mono, Instant(START + round(self.mono * NS_PER_S)))

    def take(self, outputs: Sequence[Output]) -> None:
        self.outputs += outputs

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.mono += 0.1
            for frame in self.codec.outgoing():
                self.device.receive(frame, self.now())
            self.device.tick(self.now())
            for printed in self.device.outgoing():
                self.take(self.codec.receive(printed, self.now()))
            self.take(self.codec.expire(self.now()))

    def send(self, verb: Verb, radio: str, **body: Any) -> None:
        command = Command(7, RadioId(radio), verb, self.mono + 30, **body)
        self.take(self.codec.send(command, self.now()))

    def events(self, kind: type) -> list[Any]:
        reports = [output for output in self.outputs if isinstance(output, Report)]
        return [report.event for report in reports if isinstance(report.event, kind)]

    def outcomes(self) -> list[Outcome]:
        return [output for output in self.outputs if isinstance(output, Outcome)]


def pair(number: str = "100-1001", every_s: float = 5.0) -> Pair:
    made = Pair(KenwoodBase(number, every_s=every_s))
    made.device.move(30.25, 120.16, speed_mps=1.3, course_deg=90.0)
    return made


@pytest.mark.parametrize("number", ["100-1001", "U03001"])
def test_its_sentences_are_fixes_of_its_unit(number: str) -> None:
    talk = pair(number)
    talk.run(11)
    fixes = talk.events(PositionFix)
    assert len(fixes) == 3
    assert {fix.radio_id for fix in fixes} == {f"kenwood:{number}"}
    assert fixes[0].lat_deg == pytest.approx(30.25, abs=1e-6)
    assert talk.events(StatusReceived)[0].code == "10"


def test_its_button_is_an_emergency_with_a_place() -> None:
    talk = pair()
    talk.device.press()
    talk.run(5)
    alarms = talk.events(EmergencyRaised)
    assert alarms
    assert alarms[0].fix is not None
    talk.device.release()
    talk.run(2)
    assert talk.events(StatusReceived)


def test_a_poll_brings_a_place_at_once() -> None:
    talk = pair("U03001", every_s=1000)
    talk.run(1)
    talk.send(Verb.LOCATE, "kenwood:U03001")
    talk.run(1)
    assert talk.outcomes() == [Outcome(7, "delivered")]
    assert talk.events(PositionFix)[-1].trigger == "request"


def test_a_text_arrives_or_is_refused() -> None:
    talk = pair()
    talk.send(Verb.TEXT, "kenwood:100-1001", body="gate 2")
    talk.run(1)
    assert talk.device.texts == ["gate 2"]
    assert talk.outcomes()[0].result == "delivered"
    talk.device.is_reachable = False
    talk.send(Verb.TEXT, "kenwood:100-1001", body="gate 3")
    talk.run(1)
    assert talk.outcomes()[1].result == "refused"
    assert talk.device.texts == ["gate 2"]
