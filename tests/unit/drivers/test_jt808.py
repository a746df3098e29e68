"""The JT/T 808 codec: framing, dialogue, acknowledgement after the disk, bounds."""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from drivers.api import Heard, Moment, Output, Reject, Report
from drivers.jt808 import DRIVER, MAX_STRANGERS
from drivers.jtt808.frames import MAX_BODY, MAX_FRAME, Deframer, Frame, Part, decode, encode
from drivers.jtt808.messages import Items, read_items
from drivers.jtt808.peers import MAX_DEBTS, MAX_TERMINALS, Terminals
from drivers.jtt808.reports import altitude_of, course_of, instant_of
from drivers.jtt808.split import MAX_OPEN, MAX_PARTS, TIMEOUT_S, Assembler
from gateway.model.events import (
    EmergencyRaised,
    PositionFix,
    RadioDeregistered,
    RadioRegistered,
)
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant

PHONE = "013800138000"
PHONE_2019 = "00000000013800138000"
AT = Instant.parse("2025-06-24T02:15:31Z")
SOS, COLLISION, ROLLOVER = 1, 1 << 29, 1 << 30
FIXED = 2


def position(
    alarm: int = 0,
    *,
    status: int = FIXED,
    time: str = "250624101530",
    lat: int = 30_242_797,
    lon: int = 120_164_608,
    items: str = "",
) -> bytes:
    fixed = struct.pack(">IIIIHHH", alarm, status, lat, lon, 12, 36, 87)
    return fixed + bytes.fromhex(time) + bytes.fromhex(items)


def batch(bodies: Sequence[bytes], kind: int = 1, count: int | None = None) -> bytes:
    items = b"".join(len(body).to_bytes(2, "big") + body for body in bodies)
    return struct.pack(">HB", len(bodies) if count is None else count, kind) + items


class Talk:
    """One conversation with a codec."""

    def __init__(self, **options: Any) -> None:
        self.codec = DRIVER.new_codec(options, "link-1")
        self.now = Moment(1000.0, AT)
        self.serial = 0
        self.phone = PHONE

    def send(
        self,
        message: int,
        body: bytes = b"",
        *,
        serial: int | None = None,
        part: Part | None = None,
    ) -> list[Output]:
        if serial is None:
            serial, self.serial = self.serial, self.serial + 1
        version = 1 if len(self.phone) == 20 else None
        frame = Frame(message, self.phone, serial, body, version, part)
        return list(self.codec.receive(encode(frame), self.now))

    def accept(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Report) and output.receipt is not None:
                self.codec.accept(output.receipt)

    def answers(self) -> list[tuple[int, bytes]]:
        frames = []
        for data in self.codec.outgoing():
            frame = decode(data[1:-1])
            assert isinstance(frame, Frame)
            assert frame.phone == self.phone
            frames.append((frame.message, frame.body))
        return frames

    def wait(self, seconds: float) -> None:
        at = Instant(self.now.at + round(seconds * NS_PER_S))
        self.now = Moment(self.now.mono + seconds, at)


def reports(outputs: Sequence[Output]) -> list[Report]:
    assert all(isinstance(output, Report) for output in outputs), outputs
    return [output for output in outputs if isinstance(output, Report)]


def reasons(outputs: Sequence[Output]) -> list[str]:
    return [output.reason for output in outputs if isinstance(output, Reject)]


def ack(serial: int, message: int, result: int = 0) -> tuple[int, bytes]:
    return 0x8001, struct.pack(">HHB", serial, message, result)


# --- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"\x7d\x7e\x7d\x01", b"~" * MAX_BODY])
@pytest.mark.parametrize("phone", [PHONE, PHONE_2019])
def test_what_is_encoded_decodes_to_the_same(phone: str, body: bytes) -> None:
    version = 1 if phone == PHONE_2019 else None
    for part in (None, Part(3, 2)):
        frame = Frame(0x0200, phone, 0x7D7E, body, version, part)
        wire = encode(frame)
        assert len(wire) <= MAX_FRAME
        assert b"~" not in wire[1:-1]
        assert decode(wire[1:-1]) == frame


def test_a_body_that_no_frame_holds_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="1024 bytes"):
        encode(Frame(0x0200, PHONE, 0, bytes(MAX_BODY + 1)))


def test_a_7d_that_is_no_escape_stands_for_itself() -> None:
    frame = Frame(0x0900, PHONE, 1, b"\x7d\x05\x7d")
    sloppy = encode(frame)[1:-1].replace(b"\x7d\x01", b"\x7d")
    assert decode(sloppy) == frame


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({3: 0xFF}, "length"),
        ({2: 0x04}, "encrypted"),
        ({2: 0x40}, "length"),
        ({2: 0x20}, "length"),
    ],
)
def test_a_header_that_lies_is_refused_for_its_reason(change: dict[int, int], reason: str) -> None:
    plain = bytearray(encode(Frame(0x0002, PHONE, 1, b""))[1:-1])
    for at, value in change.items():
        plain[-1] ^= plain[at] ^ value
        plain[at] = value
    refused = decode(bytes(plain))
    assert isinstance(refused, Reject)
    assert refused.reason == reason


def test_a_part_beyond_the_count_is_refused() -> None:
    refused = decode(encode(Frame(0x0704, PHONE, 1, b"", None, Part(2, 3)))[1:-1])
    assert isinstance(refused, Reject)
    assert refused.reason == "length"


def test_frames_with_shared_doubled_and_missing_delimiters_come_apart() -> None:
    beat = encode(Frame(0x0002, PHONE, 1, b""))
    codec = DRIVER.new_codec({}, "link-1")
    stream = b"noise" + beat + beat[1:] + b"\r\n" + beat + b"~~~" + beat[:8] + beat
    outputs = codec.receive(stream, Moment(0.0, AT))
    assert sum(isinstance(output, Heard) for output in outputs) == 4
    assert reasons(outputs) == ["noise", "length", "length"]


def test_an_endless_frame_is_given_up_once_and_the_next_one_is_read() -> None:
    deframer = Deframer()
    beat = encode(Frame(0x0002, PHONE, 1, b""))
    given_up = deframer.feed(b"~")
    for _ in range(100):
        given_up += deframer.feed(b"A" * 1000)
    assert deframer.feed(beat) == [beat[1:-1]]
    assert len(given_up) == 1
    assert isinstance(given_up[0], Reject)
    assert given_up[0].reason == "overrun"
    assert len(given_up[0].data) <= 256


@pytest.mark.parametrize("begin", [b"~", b""])
def test_a_whole_read_over_the_bound_is_given_up_as_one(begin: bytes) -> None:
    talk = Talk()
    beat = encode(Frame(0x0002, PHONE, 1, b""))
    outputs = talk.codec.receive(begin + b"A" * 5000 + beat, talk.now)
    assert reasons(outputs) == ["overrun"]
    assert isinstance(outputs[-1], Heard)


def test_bytes_without_any_delimiter_are_noise() -> None:
    talk = Talk()
    assert talk.codec.receive(b"\xe7\x55\x01", talk.now) == []
    assert reasons(talk.codec.flush(talk.now)) == ["noise"]
    assert talk.codec.flush(talk.now) == []


def test_silence_inside_a_frame_gives_it_up_and_its_tail_is_not_counted_again() -> None:
    talk = Talk()
    wire = encode(Frame(0x0002, PHONE, 1, b""))
    assert not talk.codec.receive(wire[:7], talk.now)
    assert reasons(talk.codec.flush(talk.now)) == ["unfinished"]
    assert not talk.codec.receive(wire[7:-1], talk.now)
    outputs = talk.codec.receive(wire, talk.now)
    assert [type(output) for output in outputs] == [Heard]


# --- dialogue -------------------------------------------------------------------------------------


@pytest.mark.parametrize("phone", [PHONE, PHONE_2019])
def test_registration_is_answered_when_it_is_on_disk_and_with_the_same_header(phone: str) -> None:
    talk = Talk()
    talk.phone = phone
    outputs = talk.send(0x0100, bytes(37))
    assert isinstance(reports(outputs)[0].event, RadioRegistered)
    assert talk.answers() == []
    talk.accept(outputs)
    assert talk.answers() == [(0x8100, b"\0\0\0" + b"13800138000")]


def test_registration_sent_again_is_the_same_report_and_gets_the_same_answer() -> None:
    talk = Talk(auth_code="K7")
    first = talk.send(0x0100, bytes(25), serial=0)
    talk.wait(5.0)
    again = talk.send(0x0100, bytes(25), serial=0)
    assert reports(first)[0].same_as == reports(again)[0].same_as
    talk.accept([*first, *again])
    assert talk.answers() == [(0x8100, b"\0\0\0K7")] * 2


def test_a_terminal_that_restarts_with_serial_0_registers_anew() -> None:
    marks = set()
    for start in range(2):
        talk = Talk()
        talk.wait(600.0 * start)
        marks.add(reports(talk.send(0x0100, bytes(25), serial=0))[0].same_as)
    assert len(marks) == 2


def test_registration_without_a_known_body_counts_by_its_number() -> None:
    event = reports(Talk().send(0x0100, b"\1"))[0].event
    assert event == RadioRegistered(radio_id=event.radio_id)
    assert event.radio_id == f"jt808:{PHONE}"


def test_a_plate_cannot_smuggle_control_characters_into_the_page() -> None:
    plate = "粤A\x1b[31m\u202e123".encode("gbk", "ignore")
    event = reports(Talk().send(0x0100, bytes(37) + plate * 50))[0].event
    assert isinstance(event, RadioRegistered)
    assert event.detail is not None
    assert event.detail.isprintable()
    assert len(event.detail) <= 200


def test_authentication_registers_once_a_conversation() -> None:
    talk = Talk()
    first = talk.send(0x0102, b"old code")
    assert isinstance(reports(first)[0].event, RadioRegistered)
    assert talk.answers() == []
    talk.accept(first)
    assert talk.answers() == [ack(0, 0x0102)]
    assert talk.send(0x0102, b"old code") == [Heard(first[0].event.radio_id)]  # type: ignore[union-attr]  # a Report
    assert talk.answers() == [ack(1, 0x0102)]


def test_authentication_before_the_first_is_on_disk_waits_too() -> None:
    talk = Talk()
    first = talk.send(0x0102, b"code", serial=4)
    again = talk.send(0x0102, b"code", serial=4)
    assert reports(first)[0].same_as == reports(again)[0].same_as
    assert talk.answers() == []
    talk.accept([*first, *again])
    assert talk.answers() == [ack(4, 0x0102)] * 2


@pytest.mark.parametrize(("code", "result"), [(b"wrong", 1), (b"13800138000", 0)])
def test_only_our_own_code_counts_where_the_option_says_so(code: bytes, result: int) -> None:
    talk = Talk(accept_any_auth=False)
    talk.accept(talk.send(0x0102, code))
    assert talk.answers() == [ack(0, 0x0102, result)]


def test_a_2019_code_whose_length_does_not_fit_is_read_as_a_code_alone() -> None:
    talk = Talk(accept_any_auth=False)
    talk.phone = PHONE_2019
    talk.accept(talk.send(0x0102, b"13800138000"))  # 31h is a length of 49
    assert talk.answers() == [ack(0, 0x0102)]


def test_heartbeat_is_answered_before_anything_is_stored() -> None:
    talk = Talk()
    assert talk.send(0x0002) == [Heard(RadioId(f"jt808:{PHONE}"))]
    assert talk.answers() == [ack(0, 0x0002)]


def test_logout_ends_the_registration() -> None:
    talk = Talk()
    talk.accept(talk.send(0x0102, b"c"))
    outputs = talk.send(0x0003)
    assert isinstance(reports(outputs)[0].event, RadioDeregistered)
    assert talk.answers() == [ack(0, 0x0102)]
    talk.accept(outputs)
    assert talk.answers() == [ack(1, 0x0003)]
    assert isinstance(reports(talk.send(0x0102, b"c"))[0].event, RadioRegistered)


def test_an_unknown_message_is_answered_as_unsupported_and_reports_nothing() -> None:
    talk = Talk()
    outputs = talk.send(0x0900, b"payload")
    assert [type(output) for output in outputs] == [Heard]
    assert talk.answers() == [ack(0, 0x0900, 3)]


# --- positions and alarms -------------------------------------------------------------------------


def test_a_report_is_answered_only_when_all_its_events_are_on_disk() -> None:
    talk = Talk()
    outputs = reports(talk.send(0x0200, position(SOS), serial=7))
    assert [type(output.event) for output in outputs] == [EmergencyRaised, PositionFix]
    receipts = [output.receipt for output in outputs]
    assert None not in receipts
    talk.codec.accept(receipts[1] or 0)
    talk.codec.accept(receipts[1] or 0)  # twice is once
    assert talk.answers() == []
    talk.codec.accept(receipts[0] or 0)
    assert talk.answers() == [ack(7, 0x0200)]


def test_a_receipt_that_is_not_ours_changes_nothing() -> None:
    talk = Talk()
    talk.send(0x0200, position())
    talk.codec.accept(99)
    assert talk.answers() == []


def test_the_alarm_comes_before_the_fix_and_carries_its_place() -> None:
    alarm, fix = reports(Talk().send(0x0200, position(SOS | 2)))
    assert isinstance(alarm.event, EmergencyRaised)
    assert isinstance(fix.event, PositionFix)
    assert (alarm.event.kind, alarm.event.raw_code) == ("alarm", "alarm 0x00000003")
    assert alarm.event.fix == fix.event.place()
    assert (alarm.event.verified, alarm.event.is_drill) == (True, False)
    assert fix.event.trigger == "emergency"
    assert fix.event.speed_mps == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("word", "kinds", "calm", "cleared"),
    [
        (0, [], ("vehicle",), ("alarm",)),
        (SOS, ["alarm"], ("vehicle",), ()),
        (COLLISION, ["vehicle"], (), ("alarm",)),
        (ROLLOVER | COLLISION, ["vehicle"], (), ("alarm",)),
        (SOS | ROLLOVER, ["alarm", "vehicle"], (), ()),
        (0x8FFFFFFE & ~COLLISION & ~ROLLOVER, [], ("vehicle",), ("alarm",)),
    ],
)
def test_every_report_says_what_goes_on_and_what_does_not(
    word: int, kinds: list[str], calm: tuple[str, ...], cleared: tuple[str, ...]
) -> None:
    """The SOS bit goes by our answer, a collision by itself: only that one is told to be over."""
    *alarms, fix = reports(Talk().send(0x0200, position(word)))
    assert [getattr(alarm.event, "kind", "") for alarm in alarms] == kinds
    assert (fix.calm, fix.cleared) == (calm, cleared)


def test_a_report_sent_again_is_the_same_and_a_new_one_is_not() -> None:
    talk = Talk()
    first = reports(talk.send(0x0200, position(SOS), serial=7))
    again = reports(talk.send(0x0200, position(SOS), serial=7))
    later = reports(talk.send(0x0200, position(SOS, time="250624101540"), serial=8))
    assert [one.same_as for one in first] == [one.same_as for one in again]
    assert first[0].same_as is not None
    assert first[0].same_as != later[0].same_as


@pytest.mark.parametrize("time", ["000000000000", "200101000000"])
def test_an_alarm_with_a_clock_that_cannot_be_believed_is_never_an_old_one(time: str) -> None:
    alarm, fix = reports(Talk().send(0x0200, position(SOS, status=0, time=time), serial=0))
    assert alarm.same_as is None
    assert fix.same_as is not None


def test_a_late_copy_from_before_the_alarm_does_not_end_it() -> None:
    talk = Talk()
    talk.send(0x0200, position(SOS, time="250624101530"), serial=8)
    (late,) = reports(talk.send(0x0200, position(0, time="250624101520"), serial=7))
    assert late.calm == late.cleared == ()
    (after,) = reports(talk.send(0x0200, position(0, time="250624101530"), serial=9))
    assert (after.calm, after.cleared) == (("vehicle",), ("alarm",))


def test_a_batch_raises_and_ends_nothing_and_is_answered_once() -> None:
    talk = Talk()
    outputs = reports(talk.send(0x0704, batch([position(SOS), position(0, time="250624101540")])))
    kinds = [type(output.event) for output in outputs]
    assert kinds == [EmergencyRaised, PositionFix, PositionFix]
    assert {(*output.calm, *output.cleared) for output in outputs} == {()}
    assert [getattr(output.event, "trigger", None) for output in outputs[1:]] == ["stored"] * 2
    talk.accept(outputs[:2])
    assert talk.answers() == []
    talk.accept(outputs[2:])
    assert talk.answers() == [ack(0, 0x0704)]


def test_only_what_a_store_gives_by_the_clock_of_satellites_has_a_time_of_storing() -> None:
    (stored, fix) = reports(Talk().send(0x0704, batch([position(SOS)])))
    assert isinstance(fix.event, PositionFix)
    assert stored.stored_at == fix.event.fix_at is not None
    for message, body in (
        (0x0200, position(SOS)),
        (0x0201, b"\0\5" + position(SOS)),
        (0x0704, batch([position(SOS)], kind=0)),
        (0x0704, batch([position(SOS, status=0)])),
    ):
        alarm, _ = reports(Talk().send(message, body))
        assert isinstance(alarm.event, EmergencyRaised)
        assert alarm.stored_at is None


@pytest.mark.parametrize(
    ("body", "kinds", "refused", "result"),
    [
        (batch([]), [], [], 0),
        (batch([], count=5), [], ["length"], 2),
        (batch([position()], count=5), [PositionFix], ["length"], 0),
        (batch([b"short", position()]), [PositionFix], ["length"], 0),
        (batch([position()])[:-1], [], ["length"], 2),
        (b"\0", [], ["length"], 2),
    ],
)
def test_a_batch_that_is_not_whole_gives_what_it_holds(
    body: bytes, kinds: list[type], refused: list[str], result: int
) -> None:
    talk = Talk()
    outputs = talk.send(0x0704, body)
    assert [type(one.event) for one in outputs if isinstance(one, Report)] == kinds
    assert reasons(outputs) == refused
    talk.accept(outputs)
    assert talk.answers() == [ack(0, 0x0704, result)]


def test_an_answer_to_a_query_is_a_fix_and_gets_no_answer() -> None:
    talk = Talk()
    (report,) = reports(talk.send(0x0201, b"\x00\x05" + position()))
    assert isinstance(report.event, PositionFix)
    assert (report.event.trigger, report.receipt) == ("request", None)
    assert talk.answers() == []
    assert reasons(talk.send(0x0201, b"\0")) == ["length"]


@pytest.mark.parametrize("place", [{"lat": 90_000_001}, {"lon": 180_000_001}])
def test_a_place_that_is_not_on_the_globe_is_none_and_the_alarm_stands(
    place: dict[str, int],
) -> None:
    alarm, fix = reports(Talk().send(0x0200, position(SOS, **place)))  # type: ignore[arg-type]  # places only
    assert isinstance(alarm.event, EmergencyRaised)
    assert isinstance(fix.event, PositionFix)
    assert alarm.event.fix is None
    assert (fix.event.fix_valid, fix.event.lat_deg) == (False, None)


def test_reports_come_without_registration() -> None:
    (report,) = reports(Talk().send(0x0200, position()))
    assert isinstance(report.event, PositionFix)
    assert report.event.fix_valid


def test_alarms_before_the_right_code_are_shown_in_doubt() -> None:
    talk = Talk(accept_any_auth=False)
    alarm, fix = reports(talk.send(0x0200, position(SOS)))
    assert isinstance(alarm.event, EmergencyRaised)
    assert (alarm.event.verified, alarm.event.doubt) == (False, "not authenticated")
    assert fix.calm == fix.cleared == ()
    talk.accept(talk.send(0x0102, b"13800138000"))
    alarm, _ = reports(talk.send(0x0200, position(SOS)))
    assert isinstance(alarm.event, EmergencyRaised)
    assert alarm.event.verified


# --- who may speak --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "refused"),
    [
        (("*",), []),
        ((), ["not_allowed"]),
        (("0138*",), []),
        (("0139*", "01380013800?"), []),
        (("138*",), ["not_allowed"]),
        (("0138",), ["not_allowed"]),
    ],
)
def test_the_allow_list_holds_patterns_of_whole_numbers(
    allow: tuple[str, ...], refused: list[str]
) -> None:
    assert reasons(Talk(allow=allow).send(0x0200, position())) == refused


def test_hex_digits_of_a_number_match_in_either_case() -> None:
    assert Terminals(["4EB6*"]).get("4eb6fb4afd9e").is_allowed


def test_a_terminal_that_is_not_allowed_is_told_so() -> None:
    talk = Talk(allow=["9*"])
    assert reasons(talk.send(0x0100, bytes(37))) == ["not_allowed"]
    assert reasons(talk.send(0x0102, b"c")) == ["not_allowed"]
    assert reasons(talk.send(0x0002)) == ["not_allowed"]
    assert reasons(talk.send(0x0200, b"short")) == ["not_allowed"]
    assert talk.answers() == [(0x8100, b"\0\0\4"), ack(1, 0x0102, 1)]


def test_an_alarm_of_a_stranger_is_shown_in_doubt_and_stays_set_in_the_terminal() -> None:
    talk = Talk(allow=["9*"])
    alarm, refused = talk.send(0x0200, position(SOS))
    assert isinstance(alarm, Report)
    assert isinstance(alarm.event, EmergencyRaised)
    assert (alarm.event.verified, alarm.event.doubt) == (False, "not on the allow list")
    assert alarm.receipt is None
    assert reasons([refused]) == ["not_allowed"]
    assert talk.answers() == []


def test_one_peer_cannot_flood_the_desk_with_strangers() -> None:
    talk = Talk(allow=["9*"])
    shown = 0
    for number in range(3 * MAX_STRANGERS):
        talk.phone = f"{number:012d}"
        shown += sum(isinstance(output, Report) for output in talk.send(0x0200, position(SOS)))
    assert shown == MAX_STRANGERS


@pytest.mark.parametrize(
    "options",
    [
        {"allowed": ["*"]},
        {"utc_offset_h": 20},
        {"encrypted_coordinates": "yes"},
        {"auth_code": "x" * 65},
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        DRIVER.new_codec(options, "link-1")


def test_an_authentication_code_that_no_terminal_can_read_is_refused() -> None:
    with pytest.raises(ValueError, match="gbk"):
        DRIVER.new_codec({"auth_code": "\U0001f511"}, "link-1")


# --- split messages -------------------------------------------------------------------------------


def test_a_frame_that_is_no_part_is_whole() -> None:
    frame = Frame(0x0200, PHONE, 1, b"")
    assert Assembler().add(frame, 0.0) == (frame, [])


def test_parts_in_any_order_become_one_message_and_each_is_answered() -> None:
    talk = Talk()
    body = batch([position(time=f"2506241015{second:02d}") for second in range(40)])
    first, second = body[:MAX_BODY], body[MAX_BODY:]
    assert talk.send(0x0704, second, serial=6, part=Part(2, 2)) == []
    assert talk.codec.next_deadline() == talk.now.mono + TIMEOUT_S
    outputs = reports(talk.send(0x0704, first, serial=5, part=Part(2, 1)))
    assert len(outputs) == 40
    assert talk.codec.next_deadline() is None
    assert talk.answers() == []
    talk.accept(outputs)
    assert talk.answers() == [ack(5, 0x0704), ack(6, 0x0704)]


def test_a_part_sent_again_does_not_complete_the_message() -> None:
    talk = Talk()
    assert talk.send(0x0704, b"\0\0\0", serial=5, part=Part(2, 1)) == []
    assert talk.send(0x0704, b"\0\0\0", serial=5, part=Part(2, 1)) == []


def test_parts_of_a_message_that_is_not_handled_are_not_kept() -> None:
    talk = Talk()
    talk.send(0x0801, bytes(1000), part=Part(30, 1))
    assert talk.codec.next_deadline() is None
    assert talk.answers() == [ack(0, 0x0801, 3)]


def test_an_unfinished_message_is_given_up_in_time() -> None:
    talk = Talk()
    talk.send(0x0704, bytes(100), part=Part(2, 1))
    talk.wait(TIMEOUT_S)
    assert reasons(talk.codec.expire(talk.now)) == ["unfinished"]
    assert talk.codec.next_deadline() is None


def test_split_messages_are_bounded_in_parts_and_in_number() -> None:
    talk = Talk()
    assert reasons(talk.send(0x0704, b"", part=Part(MAX_PARTS + 1, 1))) == ["overrun"]
    refused = []
    for number in range(10):
        talk.phone = f"{number:012d}"
        refused += talk.send(0x0704, bytes(MAX_BODY), part=Part(2, 1))
    assert reasons(refused) == ["unfinished"] * (10 - MAX_OPEN)


def test_a_message_joined_from_parts_may_be_malformed_too() -> None:
    talk = Talk()
    talk.send(0x0200, b"\0", serial=1, part=Part(2, 1))
    assert reasons(talk.send(0x0200, b"\0", serial=2, part=Part(2, 2))) == ["length"]
    assert talk.answers() == [ack(1, 0x0200, 2), ack(2, 0x0200, 2)]


# --- bounds and values ----------------------------------------------------------------------------


def test_reports_that_are_never_stored_are_forgotten_at_a_bound() -> None:
    talk = Talk()
    oldest = reports(talk.send(0x0200, position(), serial=1))
    for _ in range(MAX_DEBTS):
        newest = reports(talk.send(0x0200, position(), serial=2))
    talk.accept(oldest)
    assert talk.answers() == []
    talk.accept(newest)
    assert talk.answers() == [ack(2, 0x0200)]


def test_a_relay_with_too_many_terminals_loses_the_longest_known() -> None:
    terminals = Terminals(["*"])
    first = terminals.get("0")
    assert terminals.get("0") is first
    for number in range(MAX_TERMINALS):
        terminals.get(str(number + 1))
    assert terminals.get("0") is not first


@pytest.mark.parametrize(
    ("raw", "metres"),
    [(0, 0), (8848, 8848), (0x7FFF, 32767), (0xFFFB, -5), (0x8005, -5), (0xA000, None)],
)
def test_heights_below_the_sea_come_in_two_ways(raw: int, metres: float | None) -> None:
    assert altitude_of(raw) == metres


@pytest.mark.parametrize(("raw", "degrees"), [(0, 0), (359, 359), (360, 0), (361, None)])
def test_a_course_is_0_to_under_360(raw: int, degrees: float | None) -> None:
    assert course_of(raw) == degrees


@pytest.mark.parametrize(
    "bcd",
    [
        "000000000000",
        "251301000000",
        "250230000000",
        "ed0624101530",
        "2506240a0000",
        "250624240000",
        "250624006000",
        "250624000060",
    ],
)
def test_a_time_that_is_none_is_absent(bcd: str) -> None:
    assert instant_of(bytes.fromhex(bcd), 0) is None


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("", Items()),
        ("0104000000643101" + "09", Items(mileage=100, satellites=9)),
        ("010188" + "310109", Items(satellites=9)),
        ("310109" + "01ff00", Items(satellites=9)),
        ("310109" + "01", Items(satellites=9)),
        ("e4020063", Items(battery_pct=99)),
        ("e4020163", Items(battery_pct=99)),
        ("e4020263", Items()),
        ("e4020065", Items()),
        ("e40164", Items()),
        ("d40164", Items(battery_pct=100)),
        ("d401ff", Items()),
        ("56020acd", Items(battery_pct=100)),
        ("56020900", Items(battery_pct=90)),
        ("56020bcd", Items()),
        ("eb05" + "000300e164", Items(battery_pct=100)),
        ("eb0a" + "000300e1ff" + "000300a801", Items()),
        ("eb0a" + "000300010a" + "000300a82d", Items(battery_pct=45)),
        ("eb05" + "00ff00e164", Items()),
        ("eb05" + "0000000000", Items()),
        ("e708" + "0004000000000000", Items(vendor_alarms=4)),
        ("e708" + "0021000000000000", Items()),
        ("e702" + "0004", Items()),
        ("e402" + "0063" + "eb05000300e1ff", Items(battery_pct=99)),
    ],
)
def test_items_are_read_as_far_as_they_make_sense(items: str, expected: Items) -> None:
    assert read_items(position(items=items)) == expected


E7_SOS = "e7080002000000000000"


def test_the_sos_bits_of_a_vendor_raise_and_their_absence_ends_nothing() -> None:
    talk = Talk()
    alarm, fix = reports(talk.send(0x0200, position(items=E7_SOS)))
    assert isinstance(alarm.event, EmergencyRaised)
    assert (alarm.event.kind, alarm.event.raw_code) == ("alarm", "item E7 0x0002")
    assert isinstance(fix.event, PositionFix)
    assert fix.event.trigger == "emergency"
    assert (fix.calm, fix.cleared) == (("vehicle",), ())
    (calm,) = reports(talk.send(0x0200, position(items="e7080000000000000000")))
    assert (calm.calm, calm.cleared) == (("vehicle",), ("alarm",))


def test_the_sos_bits_of_a_vendor_can_be_left_out() -> None:
    (only,) = reports(Talk(vendor_sos=False).send(0x0200, position(items=E7_SOS)))
    assert isinstance(only.event, PositionFix)


def test_both_sos_bits_are_one_alarm() -> None:
    outputs = reports(Talk().send(0x0200, position(SOS, items=E7_SOS)))
    assert [type(one.event) for one in outputs] == [EmergencyRaised, PositionFix]


@pytest.mark.parametrize("message", [0x0001, 0x0104, 0x0201])
def test_an_answer_that_is_too_short_is_not_answered(message: int) -> None:
    talk = Talk()
    assert reasons(talk.send(message, b"\0")) == ["length"]
    assert talk.answers() == []


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (0x0004, (0x8004, bytes.fromhex("250624021531"))),
        (0x0109, (0x8109, bytes.fromhex("07e90618020f1f00"))),
    ],
)
def test_a_terminal_that_asks_for_the_time_gets_utc(
    message: int, answer: tuple[int, bytes]
) -> None:
    talk = Talk()
    assert [type(one) for one in talk.send(message)] == [Heard]
    assert talk.answers() == [answer]
