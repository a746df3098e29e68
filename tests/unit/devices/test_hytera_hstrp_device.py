"""The emulated repeater and the codec, talking to each other in memory."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from drivers.api import Moment, Output, Reject, Report
from drivers.hytera.hstrp_frames import Kind, Packet
from drivers.hytera.tmp import TextMessage
from drivers.hytera_hstrp import DRIVER
from gateway.model.events import (
    EmergencyEnded,
    EmergencyRaised,
    PositionFix,
    RadioRegistered,
)
from gateway.model.quantities import NS_PER_S, Instant
from hil_tests.devices.base import Device
from hil_tests.devices.hytera_hstrp import HEARTBEAT_S, HstrpRepeater

AT = Instant.parse("2026-05-01T08:00:00Z")
TICK_S = 0.1
UNIT, GROUP = 0x348E1D, 0x348217


class Bench:
    """A repeater and a codec on one network; ``is_disk_full`` keeps receipts back."""

    def __init__(self, repeater: HstrpRepeater, **options: Any) -> None:
        self.repeater: HstrpRepeater = repeater
        self.codec = DRIVER.new_codec(options, "repeater-1")
        self.outputs: list[Output] = []
        self.ticks = 0
        self.is_disk_full = False
        self.lose: Callable[[bytes], bool] = lambda _frame: False

    @property
    def now(self) -> Moment:
        seconds = self.ticks * TICK_S
        return Moment(seconds, Instant(AT + round(seconds * NS_PER_S)))

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.ticks += 1
            deadline = self.codec.next_deadline()
            if deadline is not None and deadline <= self.now.mono:
                self.take(self.codec.expire(self.now))
            self.repeater.tick(self.now)
            self.exchange()

    def exchange(self) -> None:
        for packet in self.repeater.outgoing():
            if not self.lose(packet):
                self.take(self.codec.receive(packet, self.now))
        for packet in self.codec.outgoing():
            if not self.lose(packet):
                self.repeater.receive(packet, self.now)

    def take(self, outputs: Any) -> None:
        self.outputs += outputs
        for output in outputs:
            if isinstance(output, Report) and output.receipt and not self.is_disk_full:
                self.codec.accept(output.receipt)

    def events(self, kind: type) -> list[Any]:
        reports = [output for output in self.outputs if isinstance(output, Report)]
        return [report.event for report in reports if isinstance(report.event, kind)]

    def forget(self) -> None:
        self.outputs.clear()


def bench(**options: Any) -> Bench:
    made = Bench(HstrpRepeater(UNIT, talkgroup=GROUP), **options)
    made.repeater.move(30.25, 120.15, speed_mps=1.5, course_deg=87.0)
    made.run(2)
    return made


@pytest.mark.parametrize("connect", [False, True])
def test_repeater_is_answered_and_its_unit_registers_and_reports(*, connect: bool) -> None:
    made = bench(connect=connect)
    device: Device = made.repeater
    assert device.name == f"Hytera unit {UNIT} on repeater 100001"
    assert made.repeater.is_connected
    assert made.repeater.is_registered
    made.run(20)
    assert len(made.events(RadioRegistered)) == 1
    fixes = made.events(PositionFix)
    assert len(fixes) == 3
    assert fixes[0].radio_id == f"dmr:{UNIT}"
    assert fixes[0].lat_deg == pytest.approx(30.25, abs=1e-6)


def test_press_is_acknowledged_only_when_it_is_on_disk() -> None:
    made = bench()
    made.is_disk_full = True
    made.repeater.press()
    made.run(15)
    acknowledged = [made.repeater.is_press_acknowledged]
    made.is_disk_full = False
    made.run(3)
    acknowledged.append(made.repeater.is_press_acknowledged)
    assert acknowledged == [False, True]
    marks = {
        output.same_as
        for output in made.outputs
        if isinstance(output, Report) and isinstance(output.event, EmergencyRaised)
    }
    assert len(marks) == 2, "B845 and B003, however often they were sent"


def test_call_begins_and_ends() -> None:
    made = bench()
    made.repeater.press("call")
    made.run(1)
    (raised,) = made.events(EmergencyRaised)
    assert (raised.kind, raised.talkgroup_id) == ("call", f"dmr:{GROUP}")
    made.repeater.release()
    made.run(1)
    assert [event.kind for event in made.events(EmergencyEnded)] == ["call"]


@pytest.mark.parametrize("seed", range(20))
def test_lost_packets_lose_no_alarm(seed: int) -> None:
    """By chance: what is lost in step with the repeats would be lost for ever."""
    made = bench()
    made.forget()
    rng = random.Random(seed)
    made.lose = lambda _packet: rng.random() < 0.5
    made.repeater.lose_fix()
    made.repeater.press()
    made.run(60)
    assert made.repeater.is_press_acknowledged
    assert {event.raw_code for event in made.events(EmergencyRaised)} == {
        "LP B003 type 00",
        "B845 status 00 call 0C",
    }


def test_repeater_that_restarts_with_an_open_press_is_heard_again() -> None:
    made = bench()
    made.is_disk_full = True
    made.repeater.press()
    made.run(1)
    made.repeater.restart()
    made.is_disk_full = False
    made.run(5)
    assert made.repeater.is_connected
    assert made.repeater.is_press_acknowledged


def test_silence_is_noticed_on_both_sides_and_mended() -> None:
    made = bench()
    made.lose = lambda _packet: True
    made.run(40)
    assert [o.reason for o in made.outputs if isinstance(o, Reject)] == ["silent"]
    connected = [made.repeater.is_connected]
    made.lose = lambda _packet: False
    made.run(2 * HEARTBEAT_S)
    connected.append(made.repeater.is_connected)
    assert connected == [False, True]
    made.repeater.press()
    made.run(1)
    assert made.repeater.is_press_acknowledged


def test_kinds_that_a_repeater_cannot_tell_and_packets_that_are_none() -> None:
    made = bench()
    with pytest.raises(NotImplementedError, match="man_down"):
        made.repeater.press("man_down")
    made.repeater.receive(b"noise", made.now)
    made.repeater.receive(Packet(Kind.HEARTBEAT, 0).pack(), made.now)
    assert made.repeater.outgoing() == []


def test_a_number_that_was_served_is_acknowledged_and_not_served_again() -> None:
    made = bench()
    text = TextMessage(0xA1, 0, 1, 0x0A000000 | UNIT, 0x0A000001, "x".encode("utf-16-le"))
    packet = Packet(0, 77, b"", text.message().pack())
    for _ in range(2):
        made.repeater.receive(packet.pack(), made.now)
    assert made.repeater.texts == ["x"]
    acks = [Packet.unpack(each) for each in made.repeater.outgoing()]
    assert [each.number for each in acks if each.kind & Kind.ACK] == [77, 77]
    made.repeater.receive(packet._replace(number=78).pack(), made.now)
    assert made.repeater.texts == ["x", "x"]
