"""The emulated repeater and the codec, talking to each other in memory."""

import random
from typing import Any

import pytest

from drivers.api import Reject, Report
from drivers.hytera.hstrp_frames import Kind, Packet
from drivers.hytera.tmp import TextMessage
from drivers.hytera_hstrp import DRIVER
from gateway.model.events import (
    EmergencyEnded,
    EmergencyRaised,
    PositionFix,
    RadioRegistered,
)
from hil_tests.devices.base import Device
from hil_tests.devices.hytera_hstrp import HEARTBEAT_S, HstrpRepeater
from tests.support.bench import Bench, everything, nothing

UNIT, GROUP = 0x348E1D, 0x348217


def bench(**options: Any) -> Bench[HstrpRepeater]:
    repeater = HstrpRepeater(UNIT, talkgroup=GROUP)
    made = Bench(DRIVER.new_codec(options, "repeater-1"), repeater)
    made.device.move(30.25, 120.15, speed_mps=1.5, course_deg=87.0)
    made.run(2)
    return made


@pytest.mark.parametrize("connect", [False, True])
def test_repeater_is_answered_and_its_unit_registers_and_reports(*, connect: bool) -> None:
    made = bench(connect=connect)
    device: Device = made.device
    assert device.name == f"Hytera unit {UNIT} on repeater 100001"
    assert made.device.is_connected
    assert made.device.is_registered
    made.run(20)
    assert len(made.events(RadioRegistered)) == 1
    fixes = made.events(PositionFix)
    assert len(fixes) == 3
    assert fixes[0].radio_id == f"dmr:{UNIT}"
    assert fixes[0].lat_deg == pytest.approx(30.25, abs=1e-6)


def test_press_is_acknowledged_only_when_it_is_on_disk() -> None:
    made = bench()
    made.is_disk_full = True
    made.device.press()
    made.run(15)
    acknowledged = [made.device.is_press_acknowledged]
    made.is_disk_full = False
    made.run(3)
    acknowledged.append(made.device.is_press_acknowledged)
    assert acknowledged == [False, True]
    marks = {
        output.same_as
        for output in made.outputs
        if isinstance(output, Report) and isinstance(output.event, EmergencyRaised)
    }
    assert len(marks) == 2, "B845 and B003, however often they were sent"


def test_call_begins_and_ends() -> None:
    made = bench()
    made.device.press("call")
    made.run(1)
    (raised,) = made.events(EmergencyRaised)
    assert (raised.kind, raised.talkgroup_id) == ("call", f"dmr:{GROUP}")
    made.device.release()
    made.run(1)
    assert [event.kind for event in made.events(EmergencyEnded)] == ["call"]


@pytest.mark.parametrize("seed", range(20))
def test_lost_packets_lose_no_alarm(seed: int) -> None:
    """By chance: what is lost in step with the repeats would be lost for ever."""
    made = bench()
    made.forget()
    rng = random.Random(seed)
    made.loses(lambda _packet: rng.random() < 0.5)
    made.device.lose_fix()
    made.device.press()
    made.run(60)
    assert made.device.is_press_acknowledged
    assert {event.raw_code for event in made.events(EmergencyRaised)} == {
        "LP B003 type 00",
        "B845 status 00 call 0C",
    }


def test_repeater_that_restarts_with_an_open_press_is_heard_again() -> None:
    made = bench()
    made.is_disk_full = True
    made.device.press()
    made.run(1)
    made.device.restart()
    made.is_disk_full = False
    made.run(5)
    assert made.device.is_connected
    assert made.device.is_press_acknowledged


def test_silence_is_noticed_on_both_sides_and_mended() -> None:
    made = bench()
    made.loses(everything)
    made.run(40)
    assert [o.reason for o in made.outputs if isinstance(o, Reject)] == ["silent"]
    connected = [made.device.is_connected]
    made.loses(nothing)
    made.run(2 * HEARTBEAT_S)
    connected.append(made.device.is_connected)
    assert connected == [False, True]
    made.device.press()
    made.run(1)
    assert made.device.is_press_acknowledged


def test_kinds_that_a_repeater_cannot_tell_and_packets_that_are_none() -> None:
    made = bench()
    with pytest.raises(NotImplementedError, match="man_down"):
        made.device.press("man_down")
    made.device.receive(b"noise", made.now)
    made.device.receive(Packet(Kind.HEARTBEAT, 0).pack(), made.now)
    assert made.device.outgoing() == []


def test_a_number_that_was_served_is_acknowledged_and_not_served_again() -> None:
    made = bench()
    text = TextMessage(0xA1, 0, 1, 0x0A000000 | UNIT, 0x0A000001, "x".encode("utf-16-le"))
    packet = Packet(0, 77, b"", text.message().pack())
    for _ in range(2):
        made.device.receive(packet.pack(), made.now)
    assert made.device.texts == ["x"]
    acks = [Packet.unpack(each) for each in made.device.outgoing()]
    assert [each.number for each in acks if each.kind & Kind.ACK] == [77, 77]
    made.device.receive(packet._replace(number=78).pack(), made.now)
    assert made.device.texts == ["x", "x"]
