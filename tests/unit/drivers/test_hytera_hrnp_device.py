"""The emulated control station and the codec, talking to each other in memory."""

from typing import Any

import pytest

from drivers.api import Heard, Reject, Report
from drivers.hytera.hdap import LpRequest, Message, RrsAnswer, Service
from drivers.hytera.hrnp_frames import Frame, FrameScanner, Opcode
from drivers.hytera_hrnp import DRIVER
from gateway.model.events import (
    EmergencyEnded,
    EmergencyRaised,
    PositionFix,
    RadioDeregistered,
    RadioRegistered,
    TextReceived,
)
from gateway.model.identity import RadioId
from hil_tests.devices.base import Device
from hil_tests.devices.hytera_hrnp import HrnpStation, HrnpUnit
from tests.support.bench import Bench, nothing

UNIT, GROUP = 0x348E1D, 0x348217


def bench_of(station: HrnpStation, **options: Any) -> Bench[HrnpStation]:
    return Bench(DRIVER.new_codec(options, "station-1"), station)


def bench(**options: Any) -> tuple[Bench[HrnpStation], HrnpUnit]:
    station = HrnpStation(1001)
    unit = station.add_unit(UNIT, talkgroup=GROUP)
    unit.move(30.25, 120.15, speed_mps=1.0, course_deg=87.0)
    made = bench_of(station, **options)
    made.run(3)
    return made, unit


def test_station_and_unit_are_devices() -> None:
    made, unit = bench()
    devices: tuple[Device, ...] = (made.device, unit)
    assert [device.name for device in devices] == [
        "Hytera control station 1001",
        f"Hytera unit {UNIT} behind Hytera control station 1001",
    ]
    unit.tick(made.now)
    unit.receive(b"", made.now)
    assert unit.outgoing() == []
    assert made.device.units == (unit,)


def test_station_is_connected_to_and_tells_its_number() -> None:
    made, _ = bench()
    assert made.device.is_connected
    assert made.device.reports_calls
    assert Heard(RadioId("dmr:1001")) in made.outputs
    assert not any(isinstance(output, Reject) for output in made.outputs)


def test_unit_registers_until_it_is_answered_and_renews_in_time() -> None:
    made, unit = bench(registration_validity_s=60)
    assert unit.is_registered
    assert len(made.events(RadioRegistered)) == 1
    made.run(58)
    assert len(made.events(RadioRegistered)) == 2


def test_unit_registers_again_and_again_while_nothing_can_be_stored() -> None:
    station = HrnpStation()
    unit = station.add_unit(UNIT)
    made = bench_of(station)
    made.is_disk_full = True
    made.run(12)
    assert not unit.is_registered
    assert len(made.events(RadioRegistered)) > 2
    made.is_disk_full = False
    made.run(6)
    assert unit.is_registered


@pytest.mark.parametrize(
    ("form", "trigger"), [("C003", "time"), ("D003", "unknown"), ("D004", "unknown")]
)
def test_unit_reports_its_place_at_its_interval(form: Any, trigger: str) -> None:
    station = HrnpStation(every_s=5.0, form=form)
    unit = station.add_unit(UNIT)
    unit.move(30.25, 120.15, speed_mps=2.0, course_deg=87.0)
    made = bench_of(station)
    made.run(21)
    fixes = made.events(PositionFix)
    assert 4 <= len(fixes) <= 5
    assert {fix.trigger for fix in fixes} == {trigger}
    assert fixes[0].lat_deg == pytest.approx(30.25, abs=1e-6)
    assert fixes[0].speed_mps == pytest.approx(2.0, abs=0.03)
    assert fixes[0].fix_at is not None


def test_unit_that_loses_its_fix_says_so() -> None:
    made, unit = bench()
    made.forget()
    unit.lose_fix()
    made.run(10)
    (fix,) = made.events(PositionFix)
    assert fix.fix_valid is False
    assert fix.lat_deg is None


def test_press_is_heard_as_an_alarm_with_its_place_and_acknowledged() -> None:
    made, unit = bench(number_space="pdt")
    assert not unit.is_press_acknowledged
    unit.press()
    made.run(1)
    call, report = made.events(EmergencyRaised)
    assert (call.radio_id, call.kind, call.talkgroup_id) == (
        "pdt:40125312",
        "alarm",
        "pdt:40125934",
    )
    assert (report.radio_id, report.kind) == ("pdt:40125312", "alarm")
    assert report.fix.lat_deg == pytest.approx(30.25, abs=1e-6)
    assert unit.is_press_acknowledged


def test_press_is_repeated_with_the_same_marks_until_it_is_stored() -> None:
    made, unit = bench()
    made.forget()
    made.is_disk_full = True
    unit.press()
    made.run(9)
    assert not unit.is_press_acknowledged
    raised = [
        o for o in made.outputs if isinstance(o, Report) and isinstance(o.event, EmergencyRaised)
    ]
    assert len(raised) == 10
    assert len({report.same_as for report in raised}) == 2
    made.is_disk_full = False
    made.run(3)
    assert unit.is_press_acknowledged


def test_press_that_was_never_acknowledged_is_sent_anew() -> None:
    made, unit = bench()
    made.forget()
    made.is_disk_full = True
    unit.press()
    made.run(25)
    numbers = {
        frame.number
        for each in made.up
        for frame in FrameScanner().feed(each)
        if isinstance(frame, Frame) and b"\x44\xb8" in frame.payload
    }
    assert len(numbers) > 1


def test_release_ends_the_alarm() -> None:
    made, unit = bench()
    unit.press()
    made.run(1)
    unit.release()
    made.run(1)
    (ended,) = made.events(EmergencyEnded)
    assert (ended.radio_id, ended.kind) == (f"dmr:{UNIT}", "alarm")


def test_release_before_any_press_does_nothing() -> None:
    made, unit = bench()
    unit.release()
    made.run(1)
    assert made.events(EmergencyEnded) == []


def test_emergency_call_begins_hangs_and_ends() -> None:
    made, unit = bench()
    unit.press("call")
    made.run(1)
    assert [event.kind for event in made.events(EmergencyRaised)] == ["call"]
    assert unit.is_press_acknowledged
    unit.release()
    made.run(1)
    assert [event.kind for event in made.events(EmergencyEnded)] == ["call"]


@pytest.mark.parametrize("kind", ["man_down", "lone_worker"])
def test_automatic_alarm_of_a_unit_reaches_a_station_as_an_alarm(kind: Any) -> None:
    made, unit = bench()
    unit.press(kind)
    made.run(1)
    assert {event.kind for event in made.events(EmergencyRaised)} == {"alarm"}


@pytest.mark.parametrize("kind", ["alarm", "man_down", "lone_worker"])
def test_own_alarms_of_the_station_have_their_kinds_and_end(kind: Any) -> None:
    made, _ = bench()
    made.device.press(kind)
    made.run(1)
    (raised,) = made.events(EmergencyRaised)
    assert (raised.radio_id, raised.kind) == ("dmr:1001", kind)
    assert made.device.is_press_acknowledged
    made.device.release()
    made.run(1)
    assert [event.kind for event in made.events(EmergencyEnded)] == [kind]


def test_kinds_that_no_message_knows_are_refused() -> None:
    made, unit = bench()
    with pytest.raises(NotImplementedError, match="vehicle"):
        unit.press("vehicle")
    with pytest.raises(NotImplementedError, match="call"):
        made.device.press("call")


def test_press_before_the_connection_is_sent_once_it_stands() -> None:
    station = HrnpStation()
    unit = station.add_unit(UNIT)
    unit.press()
    station.press()
    made = bench_of(station)
    made.run(3)
    assert unit.is_press_acknowledged
    assert station.is_press_acknowledged
    assert len(made.events(EmergencyRaised)) >= 2


def test_call_before_the_subscription_is_sent_once_it_stands() -> None:
    station = HrnpStation()
    unit = station.add_unit(UNIT)
    unit.press("call")
    made = bench_of(station)
    made.loses_down = lambda frame: b"\xc9\x10" in frame
    made.run(1)
    assert made.events(EmergencyRaised) == []
    made.loses_down = nothing
    made.run(3)
    assert [event.kind for event in made.events(EmergencyRaised)] == ["call"]


def test_registration_that_is_refused_is_tried_again() -> None:
    station = HrnpStation()
    unit = station.add_unit(UNIT)
    made = bench_of(station)
    unit.serve(
        Message(Service.RRS, 0x0080, RrsAnswer(unit.ip, result=1, validity_s=300).pack()), made.now
    )
    assert not unit.is_registered
    made.run(1)
    assert unit.is_registered


def test_text_of_a_unit_arrives() -> None:
    made, unit = bench()
    unit.write("收到，马上到")
    made.run(1)
    (text,) = made.events(TextReceived)
    assert (text.body, text.to, text.radio_id) == ("收到，马上到", "dmr:1", f"dmr:{UNIT}")


def test_unit_that_is_switched_off_leaves_and_comes_back() -> None:
    made, unit = bench()
    unit.switch_off()
    made.run(30)
    assert len(made.events(RadioDeregistered)) == 1
    assert len(made.events(PositionFix)) == 1
    unit.switch_on()
    made.run(1)
    assert unit.is_registered
    assert len(made.events(RadioRegistered)) == 2


def test_unit_answers_where_it_is() -> None:
    made, unit = bench()
    made.forget()
    request = LpRequest(request_id=77, address=unit.ip)
    question = Message(Service.LP, 0xA001, request.pack()).pack()
    packet = Frame(Opcode.DATA, 0x20, 0x10, 99, question)
    made.device.receive(packet.pack(), made.now)
    made.device.receive(packet.pack(), made.now)
    made.run(0.2)
    unit.lose_fix()
    made.device.receive(packet._replace(number=100).pack(), made.now)
    made.run(0.2)
    found, lost = made.events(PositionFix)
    assert (found.trigger, found.fix_valid, lost.fix_valid) == ("request", True, False)


def test_station_that_restarts_is_connected_and_subscribed_to_again() -> None:
    made, unit = bench()
    made.device.restart()
    made.run(30)
    assert made.device.is_connected
    assert made.device.reports_calls
    assert [o.reason for o in made.outputs if isinstance(o, Reject)] == ["unanswered"]
    unit.press()
    made.run(1)
    assert unit.is_press_acknowledged


def test_station_hears_a_close_and_forgets_the_host() -> None:
    made, _ = bench()
    made.device.receive(Frame(Opcode.CLOSE, 0x20, 0x10, 3).pack(), made.now)
    (answer,) = FrameScanner().feed(made.device.outgoing()[-1])
    assert isinstance(answer, Frame)
    assert answer.opcode == Opcode.CLOSE_ACK
    assert not made.device.is_connected
    made.device.receive(b"\x7d noise", made.now)
    made.device.receive(Frame(Opcode.DATA, 0x20, 0x10, 3).pack(), made.now)
    made.device.tick(made.now)
    assert made.device.outgoing() == []


def test_lost_acknowledgements_lose_no_alarm_and_make_no_second_press() -> None:
    made, unit = bench()
    made.forget()
    lost: list[bytes] = []

    def lose_every_second(_frame: bytes) -> bool:
        lost.append(_frame)
        return len(lost) % 2 == 1

    made.loses_down = lose_every_second
    unit.press()
    made.run(12)
    assert unit.is_press_acknowledged
    raised = [
        o for o in made.outputs if isinstance(o, Report) and isinstance(o.event, EmergencyRaised)
    ]
    assert len(raised) > 2
    assert len({report.same_as for report in raised}) == 2


def test_many_units_share_one_line() -> None:
    station = HrnpStation(every_s=5.0)
    units = [station.add_unit(1000 + index) for index in range(60)]
    made = bench_of(station)
    made.run(8)
    assert all(unit.is_registered for unit in units)
    units[37].press()
    made.run(0.5)
    assert units[37].is_press_acknowledged
    assert len(made.events(PositionFix)) > 60
