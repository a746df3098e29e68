"""The emulated JT/T 808 terminal against the codec, in memory."""

from collections.abc import Sequence
from typing import Any

import pytest

from drivers.api import (
    Command,
    Heard,
    Moment,
    Outcome,
    Output,
    Reject,
    Report,
    TakesCommands,
    Verb,
)
from drivers.jt808 import DRIVER
from drivers.jtt808.frames import Frame, decode, encode
from drivers.jtt808.messages import Message
from gateway.model.events import EmergencyRaised, PositionFix, RadioDeregistered, RadioRegistered
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from hil_tests.devices.base import Device
from hil_tests.devices.jt808 import Jt808Device, Phase

START = Instant.parse("2026-05-01T08:00:00Z")


class Bench:
    """A terminal, a codec and the wire between them; ``is_cut`` loses everything on it."""

    def __init__(self, device: Jt808Device) -> None:
        self.device = device
        self.codec = DRIVER.new_codec({}, "link-1")
        self.mono = 0.0
        self.is_cut = False
        self.is_stored = True
        self.outputs: list[Output] = []
        self.frames: list[Frame] = []

    @property
    def now(self) -> Moment:
        return Moment(self.mono, Instant(START + round(self.mono * NS_PER_S)))

    def run(self, seconds: float) -> list[Output]:
        """Let time pass in steps of 0.1 s; gives what the codec made of it."""
        seen = len(self.outputs)
        for _ in range(round(seconds * 10)):
            self.device.tick(self.now)
            due = self.codec.next_deadline()
            if due is not None and due <= self.mono:
                self.outputs += self.codec.expire(self.now)
            self.exchange(self.device.outgoing())
            self.mono += 0.1
        return self.outputs[seen:]

    def exchange(self, frames: Sequence[bytes]) -> None:
        for data in frames:
            frame = decode(data[1:-1])
            assert isinstance(frame, Frame)
            self.frames.append(frame)
            if not self.is_cut:
                self.hear(data)
        for data in self.codec.outgoing():
            if not self.is_cut:
                self.device.receive(data, self.now)

    def hear(self, data: bytes) -> None:
        for output in self.codec.receive(data, self.now):
            assert not isinstance(output, Reject), output
            self.outputs.append(output)
            if isinstance(output, Report) and output.receipt is not None and self.is_stored:
                self.codec.accept(output.receipt)

    def command(self, verb: Verb, **more: Any) -> None:
        """Ask the terminal for something, for a minute."""
        assert isinstance(self.codec, TakesCommands)
        radio = RadioId(f"jt808:{self.device.phone}")
        command = Command(1, radio, verb, self.mono + 60.0, **more)
        self.outputs += self.codec.send(command, self.now)

    def sent(self, message: int) -> list[Frame]:
        return [frame for frame in self.frames if frame.message == message]


def kinds(outputs: Sequence[Output]) -> list[type]:
    return [type(one.event) if isinstance(one, Report) else type(one) for one in outputs]


def fixes(outputs: Sequence[Output]) -> list[PositionFix]:
    return [
        one.event
        for one in outputs
        if isinstance(one, Report) and isinstance(one.event, PositionFix)
    ]


def online(**options: float) -> Bench:
    bench = Bench(Jt808Device(**options))  # type: ignore[arg-type]  # times only
    bench.device.move(30.242797, 120.164608, speed_mps=1.0, course_deg=87.0)
    bench.run(0.3)
    assert bench.device.phase is Phase.ONLINE
    return bench


@pytest.mark.parametrize("is_2019", [False, True])
def test_it_registers_authenticates_reports_and_beats(*, is_2019: bool) -> None:
    device: Device = Jt808Device(is_2019=is_2019, every_s=10.0, heartbeat_s=25.0)
    assert isinstance(device, Jt808Device)
    bench = Bench(device)
    device.move(-33.856784, -151.215296, speed_mps=10.0, course_deg=359.6)
    outputs = bench.run(30.0)
    assert kinds(outputs).count(RadioRegistered) == 1
    assert kinds(outputs).count(Heard) == 2  # the authentication after 0100, and one heartbeat
    *_, last = fixes(outputs)
    assert (last.lat_deg, last.lon_deg, last.course_deg) == (-33.856784, -151.215296, 0.0)
    assert last.speed_mps == pytest.approx(10.0)
    assert last.satellites == 9
    assert last.fix_at == Instant.parse("2026-05-01T08:00:20Z")
    assert last.radio_id == f"jt808:{device.phone}"
    assert len(device.phone) == (20 if is_2019 else 12)


def test_without_satellites_it_reports_no_place() -> None:
    bench = online(every_s=1.0)
    bench.device.lose_fix()
    last = fixes(bench.run(2.0))[-1]
    assert (last.fix_valid, last.lat_deg, last.satellites) == (False, None, 0)


def test_the_sos_bit_stays_until_a_report_that_has_it_is_answered() -> None:
    bench = online(every_s=2.0)
    bench.is_stored = False
    bench.device.press()
    outputs = bench.run(8.0)
    assert kinds(outputs).count(EmergencyRaised) > 3
    assert [bench.device.is_press_acknowledged] == [False]
    bench.is_stored = True
    outputs = bench.run(6.0)
    assert [bench.device.is_press_acknowledged] == [True]
    last = [one for one in outputs if isinstance(one, Report)][-1]
    assert isinstance(last.event, PositionFix)
    assert last.cleared == ("alarm",)


def test_a_report_that_is_not_answered_is_sent_again_after_t_2t_and_3t() -> None:
    bench = online(every_s=1000.0, answer_timeout_s=5.0)
    bench.is_stored = False
    bench.device.press()
    begun = bench.mono
    sendings = []
    for _ in range(400):
        before = len(bench.sent(0x0200))
        bench.run(0.1)
        sendings += [bench.mono - begun] * (len(bench.sent(0x0200)) - before)
    assert sendings[:4] == pytest.approx([0.1, 5.1, 15.1, 30.1], abs=0.35)
    assert len({frame.serial for frame in bench.sent(0x0200)[-4:]}) == 1


def test_places_without_coverage_come_as_a_batch_and_a_held_alarm_comes_first() -> None:
    bench = online(every_s=5.0, answer_timeout_s=1.0)
    bench.is_cut = True
    bench.run(20.0)
    assert bench.device.phase is Phase.AUTHENTICATING
    bench.device.press()
    bench.run(60.0)
    kept = bench.device.points_kept
    assert kept >= 14
    bench.is_cut = False
    outputs = bench.run(3.0)
    assert bench.device.points_kept == 0
    assert bench.device.is_press_acknowledged
    alarm, now, *_ = [one for one in kinds(outputs) if one is not Heard]
    assert (alarm, now) == (EmergencyRaised, PositionFix)
    assert fixes(outputs)[0].trigger == "emergency"
    stored = [fix for fix in fixes(outputs) if fix.trigger == "stored"]
    assert len(stored) in {kept, kept + 1}  # one may be taken while it logs on
    assert len(bench.sent(0x0704)) == -(-len(stored) // 10)
    times = [fix.fix_at for fix in stored if fix.fix_at is not None]
    assert times == sorted(times)


def test_a_new_connection_begins_with_the_known_code() -> None:
    bench = online()
    bench.codec = DRIVER.new_codec({}, "link-1")
    bench.device.connected(bench.now)
    outputs = bench.run(0.3)
    assert kinds(outputs)[0] is RadioRegistered
    assert len(bench.sent(0x0100)) == 1
    assert len(bench.sent(0x0102)) == 2
    assert bench.device.phase is Phase.ONLINE


def test_a_code_that_the_platform_does_not_know_any_more_is_asked_for_anew() -> None:
    bench = online(answer_timeout_s=1.0)
    bench.codec = DRIVER.new_codec({"auth_code": "NEW", "accept_any_auth": False}, "link-1")
    bench.device.connected(bench.now)
    bench.device.tick(bench.now)
    for data in bench.device.outgoing():
        bench.codec.receive(data, bench.now)
    for data in bench.codec.outgoing():
        bench.device.receive(data, bench.now)
    bench.run(3.0)
    assert bench.device.phase is Phase.ONLINE
    assert len(bench.sent(0x0100)) == 2


def test_a_collision_ends_when_the_device_says_so() -> None:
    bench = online(every_s=1.0)
    bench.device.press("vehicle")
    outputs = bench.run(2.0)
    alarms = [one.event for one in outputs if isinstance(one, Report)]
    assert {event.kind for event in alarms if isinstance(event, EmergencyRaised)} == {"vehicle"}
    assert bench.device.is_press_acknowledged
    bench.device.release()
    last = [one for one in bench.run(1.0) if isinstance(one, Report)][-1]
    assert last.calm == ("vehicle",)


def test_it_has_no_button_for_other_kinds() -> None:
    with pytest.raises(NotImplementedError, match="man_down"):
        Jt808Device().press("man_down")


def test_letting_go_of_the_key_does_not_clear_the_sos_bit() -> None:
    bench = online(every_s=1.0)
    bench.is_stored = False
    bench.device.press()
    bench.device.release()
    assert EmergencyRaised in kinds(bench.run(1.0))


def test_it_takes_no_notice_of_noise_and_of_answers_to_others() -> None:
    bench = online()
    name = bench.device.name
    other = encode(Frame(0x8100, "0" * 12, 0, b"\0\0\0"))
    unknown = encode(Frame(0x8300, bench.device.phone, 0, b"\5text"))
    stale = encode(Frame(0x8001, bench.device.phone, 0, b"\x12\x34\2\0\0"))
    again = encode(Frame(0x8100, bench.device.phone, 0, b"\0\0\0NEW"))
    bench.device.receive(b"noise~noise~" + other + unknown + stale + again, bench.now)
    bench.device.connected(bench.now)
    bench.run(0.3)
    assert bench.sent(0x0102)[-1].body == b"13800138000"
    assert name == "JT/T 808 terminal 013800138000 (2013)"


def test_after_logging_out_it_is_silent() -> None:
    bench = online(every_s=1.0)
    bench.device.log_out()
    outputs = bench.run(5.0)
    assert kinds(outputs) == [RadioDeregistered]


# --- asked by the platform ------------------------------------------------------------------------


def outcomes(outputs: Sequence[Output]) -> list[Outcome]:
    return [one for one in outputs if isinstance(one, Outcome)]


def asked_to(verb: Verb, device: Jt808Device | None = None, **more: Any) -> Bench:
    """A terminal that is online and was just asked for something."""
    bench = Bench(device or Jt808Device())
    bench.device.move(30.242797, 120.164608, speed_mps=1.0, course_deg=87.0)
    bench.run(0.3)
    bench.outputs.clear()
    bench.command(verb, **more)
    return bench


@pytest.mark.parametrize("is_2019", [False, True])
def test_a_terminal_that_is_located_says_where_it_is(*, is_2019: bool) -> None:
    bench = asked_to(Verb.LOCATE, Jt808Device(is_2019=is_2019))
    outputs = bench.run(0.3)
    (fix,) = fixes(outputs)
    assert fix.trigger == "request"
    assert (fix.lat_deg, fix.lon_deg) == (30.242797, 120.164608)
    assert outcomes(outputs) == [Outcome(1, "delivered")]


def test_a_question_that_was_lost_is_asked_again() -> None:
    bench = asked_to(Verb.LOCATE)
    bench.is_cut = True
    bench.run(0.3)
    bench.is_cut = False
    assert outcomes(bench.run(6.0)) == [Outcome(1, "delivered")]


@pytest.mark.parametrize("is_2019", [False, True])
def test_a_text_is_on_the_display(*, is_2019: bool) -> None:
    bench = asked_to(Verb.TEXT, Jt808Device(is_2019=is_2019), body="到北门集合")
    assert outcomes(bench.run(0.3)) == [Outcome(1, "delivered")]
    assert bench.device.texts == ("到北门集合",)


def test_a_tracked_terminal_reports_as_often_as_asked_and_then_as_usual() -> None:
    bench = asked_to(Verb.TRACK, every_s=2, for_s=10)
    tracked = bench.run(10.0)
    assert outcomes(tracked) == [Outcome(1, "delivered")]
    assert 5 <= len(fixes(tracked)) <= 6
    assert len(fixes(bench.run(20.0))) <= 3


def test_a_check_hears_the_terminals_intervals() -> None:
    (outcome,) = outcomes(asked_to(Verb.CHECK).run(0.3))
    assert outcome == Outcome(
        1,
        "delivered",
        "heartbeat every 60 s, report every 10 s, report in an emergency every 10 s",
    )


def test_a_confirmed_alarm_ends_in_the_terminal() -> None:
    bench = Bench(Jt808Device())
    bench.run(0.3)
    bench.is_stored = False  # nothing is answered, so that the bit stays
    bench.device.press()
    bench.run(1.0)
    bench.command(Verb.EMERGENCY_STOP)
    outputs = bench.run(1.0)
    assert outcomes(outputs) == [Outcome(1, "delivered")]
    last = [one for one in outputs if isinstance(one, Report)][-1]
    assert "alarm" in last.cleared


def test_what_a_terminal_does_not_know_is_refused() -> None:
    bench = asked_to(Verb.TEXT, Jt808Device(refuses=[Message.TEXT]), body="text")
    assert outcomes(bench.run(0.3)) == [
        Outcome(1, "refused", "the terminal says: not supported"),
    ]
    assert bench.device.texts == ()


def test_intervals_are_set_by_8103() -> None:
    bench = Bench(Jt808Device())
    bench.run(0.3)
    body = bytes.fromhex("02 0000000104 00000005 0000002904 00000002")
    asked = Frame(Message.SET_PARAMETERS, bench.device.phone, 77, body)
    bench.device.receive(encode(asked), bench.now)
    bench.run(12.0)
    (answer,) = bench.sent(Message.TERMINAL_ACK)
    assert answer.body == bytes.fromhex("004d 8103 00")
    bench.command(Verb.CHECK)
    (outcome,) = outcomes(bench.run(0.3))
    assert outcome.why.startswith("heartbeat every 5 s, report every 2 s")


@pytest.mark.parametrize(
    ("message", "body", "result"),
    [(Message.TRACK, b"\0", 2), (0x8500, b"\1", 3), (Message.CONFIRM_ALARM, b"", 2)],
)
def test_a_broken_or_unknown_question_is_answered_with_its_result(
    message: int, body: bytes, result: int
) -> None:
    bench = Bench(Jt808Device())
    bench.device.receive(encode(Frame(message, bench.device.phone, 7, body)), bench.now)
    (answer,) = (decode(data[1:-1]) for data in bench.device.outgoing())
    assert isinstance(answer, Frame)
    assert answer.body[-1] == result
