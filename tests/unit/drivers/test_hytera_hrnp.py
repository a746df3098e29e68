"""The HRNP codec: receipts, copies, framing, numbers, and the host's side of the conversation."""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api import Heard, Moment, Output, Reject, Report
from drivers.hytera.gps import Gps40, GpsFix
from drivers.hytera.hdap import (
    LpEmergencyReport,
    LpRequest,
    LpResult,
    Message,
    RcpReceiveStatus,
    RcpRepeaterStatus,
    RcpTransmitStatus,
    RrsAddress,
    Service,
    pack_switches,
    read_messages,
    unpack_switches,
)
from drivers.hytera.hrnp_frames import MAX_FRAME, Frame, FrameScanner, Opcode
from drivers.hytera.hrnp_host import KEEPALIVE_S, LONGEST_PAUSE_S, SUBSCRIBE_AGAIN_S
from drivers.hytera.intake import RECENT_KEPT, UNSTORED_KEPT
from drivers.hytera.reports import ENDS_KEPT
from drivers.hytera.tmp import (
    TextMessage,
    read_text,
)
from drivers.hytera_hrnp import DRIVER
from drivers.wire import WireError
from gateway.model.events import (
    EmergencyEnded,
    EmergencyRaised,
    PositionFix,
    RadioRegistered,
    TextReceived,
)
from gateway.model.identity import RadioId, radio_id
from gateway.model.quantities import NS_PER_S, Instant

AT = Instant.parse("2025-06-24T02:16:00Z")
IP = 0x0A348E1D
SENDER, GROUP = 0x348E1D, 0x348217


def moment(seconds: float) -> Moment:
    return Moment(1000.0 + seconds, Instant(AT + round(seconds * NS_PER_S)))


def codec(**options: Any) -> Any:
    made = DRIVER.new_codec({"connect": False} | options, "station-1")
    made.outgoing()
    return made


def frame(number: int, *messages: Message, version: int = 4) -> bytes:
    payload = b"".join(message.pack() for message in messages)
    return Frame(Opcode.DATA, 0x10, 0x20, number, payload, version).pack()


def heard(process: int, call_type: int = 5, sender: int = SENDER) -> Message:
    body = RcpReceiveStatus(process=process, call_type=call_type, sender=sender, target=GROUP)
    return Message(Service.RCP, 0xB844, body.pack())


def repeater(status: int, call_type: int = 3, sender: int = SENDER) -> Message:
    body = RcpRepeaterStatus(
        mode=1, status=status, service=1, call_type=call_type, target=GROUP, sender=sender
    )
    return Message(Service.RCP, 0xB845, body.pack())


def emergency_report(fix_at: Instant | None) -> Message:
    fix = GpsFix(is_valid=True, lat_deg=30.25, lon_deg=120.15, fix_at=fix_at)
    body = LpEmergencyReport(address=IP, emergency_type=0, gps=Gps40.of(fix).pack())
    return Message(Service.LP, 0xB003, body.pack())


def text(body: str, request_id: int = 1) -> Message:
    return TextMessage(0xA1, 0x80, request_id, 1, IP, body.encode("utf-16-le")).message()


def reports(outputs: Sequence[Output]) -> list[Report]:
    return [output for output in outputs if isinstance(output, Report)]


def rejects(outputs: Sequence[Output]) -> list[str]:
    return [output.reason for output in outputs if isinstance(output, Reject)]


def sent(made: Any) -> list[Frame]:
    found = FrameScanner().feed(b"".join(made.outgoing()))
    return [each for each in found if isinstance(each, Frame)]


def accept_all(made: Any, outputs: Sequence[Output]) -> None:
    for report in reports(outputs):
        if report.receipt is not None:
            made.accept(report.receipt)


# --- receipts -------------------------------------------------------------------------------------


def test_a_packet_is_acknowledged_only_when_all_its_reports_are_on_disk() -> None:
    made = codec()
    outputs = made.receive(frame(7, heard(1), emergency_report(AT), text("hilfe")), moment(0))
    receipts = [report.receipt for report in reports(outputs)]
    assert len(receipts) == 4
    assert len(set(receipts)) == 4
    for order in (receipts[3], receipts[0], receipts[1]):
        made.accept(order)
        assert sent(made) == []
    made.accept(receipts[2])
    ack, answer = sent(made)
    assert (ack.opcode, ack.number) == (Opcode.DATA_ACK, 7)
    (message,) = read_messages(answer.payload)
    assert read_text(message).kind == 0xA2


def test_a_receipt_that_is_accepted_twice_or_unknown_does_nothing() -> None:
    made = codec()
    (alarm, fix) = reports(made.receive(frame(1, emergency_report(AT)), moment(0)))
    for receipt in (alarm.receipt, alarm.receipt, alarm.receipt, 4711):
        made.accept(receipt)
    assert sent(made) == []
    made.accept(fix.receipt)
    assert [each.number for each in sent(made)] == [1]


def test_a_packet_with_nothing_to_store_is_acknowledged_at_once() -> None:
    made = codec()
    outputs = made.receive(frame(3, heard(1, call_type=1)), moment(0))
    assert outputs == [Heard(radio_id("dmr", SENDER))]
    assert [(each.opcode, each.number) for each in sent(made)] == [(Opcode.DATA_ACK, 3)]


def test_a_packet_of_which_a_part_cannot_be_read_is_stored_and_not_acknowledged() -> None:
    made = codec()
    broken = Message(Service.RRS, 0x0003, b"\x0a")
    outputs = made.receive(frame(3, heard(1), broken), moment(0))
    assert rejects(outputs) == ["layout"]
    (alarm,) = reports(outputs)
    assert isinstance(alarm.event, EmergencyRaised)
    assert alarm.receipt is None
    assert sent(made) == []


def test_packets_whose_reports_never_reach_the_disk_do_not_pile_up() -> None:
    made = codec()
    for number in range(UNSTORED_KEPT + 10):
        made.receive(frame(number, heard(1)), moment(number))
    assert made._intake.unstored == UNSTORED_KEPT
    made.accept(1)
    assert sent(made) == []
    made.accept(11)
    assert [each.number for each in sent(made)] == [10]
    assert made._intake.remembered == RECENT_KEPT


# --- the same packet again ------------------------------------------------------------------------


def marks(outputs: Sequence[Output]) -> list[str | None]:
    return [report.same_as for report in reports(outputs)]


def test_a_packet_sent_again_has_the_same_marks_however_long_it_is_repeated() -> None:
    made = codec()
    packet = frame(9, heard(1), text("ja"))
    first = marks(made.receive(packet, moment(0)))
    for seconds in (2, 30, 55, 80):
        assert marks(made.receive(packet, moment(seconds))) == first
    assert None not in first
    assert len(set(first)) == 2


def test_the_same_number_after_a_pause_is_another_press() -> None:
    made = codec()
    first = marks(made.receive(frame(9, heard(1)), moment(0)))
    assert marks(made.receive(frame(9, heard(1)), moment(31))) != first


def test_the_same_press_with_another_number_is_left_to_the_window_of_time() -> None:
    made = codec()
    first = marks(made.receive(frame(9, heard(1)), moment(0)))
    assert marks(made.receive(frame(10, heard(1)), moment(1))) != first


def test_a_peer_that_never_counts_is_told_apart_by_what_lies_between() -> None:
    made = codec()
    first = marks(made.receive(frame(0, heard(1)), moment(0)))
    made.receive(frame(0, heard(0x0A)), moment(1))
    assert marks(made.receive(frame(0, heard(1)), moment(2))) != first


def test_a_new_connection_begins_with_new_numbers() -> None:
    made = codec(connect=True)
    first = marks(made.receive(frame(1, heard(1)), moment(0)))
    made.receive(Frame(Opcode.ACCEPT, 0x10, 0x20, 0).pack(), moment(1))
    assert marks(made.receive(frame(1, heard(1)), moment(2))) != first


def test_an_emergency_report_is_marked_by_its_gps_time_also_over_a_restart() -> None:
    packet = frame(9, emergency_report(AT))
    (first, _), (again, _) = (
        marks(codec().receive(packet, moment(seconds))) for seconds in (0, 100)
    )
    assert first == again
    assert first is not None
    assert AT.text() in first


def test_a_second_press_with_a_fix_time_that_stands_still_has_another_mark() -> None:
    made = codec()
    first, _ = marks(made.receive(frame(9, emergency_report(AT)), moment(0)))
    second, _ = marks(made.receive(frame(10, emergency_report(AT)), moment(5)))
    assert first != second


def test_two_texts_in_one_packet_have_two_marks() -> None:
    found = marks(codec().receive(frame(1, text("a", 1), text("b", 2)), moment(0)))
    assert len(set(found)) == 2


# --- emergencies ----------------------------------------------------------------------------------


def events(made: Any, seconds: float, *messages: Message) -> list[Any]:
    number = round(seconds * 10) & 0xFFFF
    return [
        report.event for report in reports(made.receive(frame(number, *messages), moment(seconds)))
    ]


def test_hang_time_raises_an_alarm_whose_beginning_was_missed_and_refreshes_a_known_one() -> None:
    made = codec()
    assert [type(event) for event in events(made, 0, heard(2))] == [EmergencyRaised]
    assert [type(event) for event in events(made, 1, heard(1))] == [EmergencyRaised]
    assert [type(event) for event in events(made, 2, heard(2))] == [EmergencyRaised]


def test_hang_time_right_after_the_end_raises_nothing_and_later_it_does() -> None:
    made = codec()
    assert [type(event) for event in events(made, 0, heard(0x0A))] == [EmergencyEnded]
    assert events(made, 59, heard(2)) == []
    assert [type(event) for event in events(made, 61, heard(2))] == [EmergencyRaised]


def test_a_new_alarm_right_after_the_end_is_raised_with_its_hang_time() -> None:
    made = codec()
    events(made, 0, heard(0x0A))
    assert [type(event) for event in events(made, 1, heard(1))] == [EmergencyRaised]
    assert [type(event) for event in events(made, 2, heard(2))] == [EmergencyRaised]


@pytest.mark.parametrize(
    ("process", "call_type", "kind"),
    [(1, 3, "call"), (1, 5, "alarm"), (1, 0x0C, "alarm"), (0x11, 0, "call"), (0x11, 5, "alarm")],
)
def test_every_call_type_of_an_emergency_has_its_kind(
    process: int, call_type: int, kind: str
) -> None:
    (event,) = events(codec(), 0, heard(process, call_type))
    assert (event.kind, event.verified) == (kind, True)
    assert event.talkgroup_id == (None if call_type == 0 else f"dmr:{GROUP}")


@pytest.mark.parametrize(
    ("process", "call_type", "kind"),
    [(3, 3, "call"), (0x0A, 3, "call"), (0x0A, 5, "alarm"), (0x0A, 1, "alarm")],
)
def test_every_end_of_an_emergency_has_its_kind(process: int, call_type: int, kind: str) -> None:
    (event,) = events(codec(), 0, heard(process, call_type))
    assert isinstance(event, EmergencyEnded)
    assert event.kind == kind


@pytest.mark.parametrize("status", [8, 0x0D, 4, 5])
def test_an_emergency_call_on_a_repeater_ends_with_the_call(status: int) -> None:
    made = codec()
    (begun,) = events(made, 0, repeater(0))
    (over,) = events(made, 1, repeater(status))
    assert (type(begun), type(over)) == (EmergencyRaised, EmergencyEnded)
    assert begun.kind == over.kind == "call"


def test_a_channel_that_falls_asleep_ends_the_call_that_was_on_it_once() -> None:
    made = codec()
    events(made, 0, repeater(0))
    (over,) = events(made, 1, repeater(5, call_type=0, sender=0))
    assert (type(over), over.radio_id) == (EmergencyEnded, f"dmr:{SENDER}")
    assert events(made, 2, repeater(5, call_type=0, sender=0)) == []


def test_an_alarm_on_a_repeater_outlives_its_call_and_its_hang_time_refreshes_it() -> None:
    made = codec()
    assert [type(event) for event in events(made, 0, repeater(2, call_type=0x0C))] == [
        EmergencyRaised
    ]
    assert [type(event) for event in events(made, 1, repeater(3, call_type=0x0C))] == [
        EmergencyRaised
    ]
    assert events(made, 2, repeater(4, call_type=0x0C)) == []
    (odd,) = events(made, 3, repeater(0x77, call_type=0x0C))
    assert odd.verified is False


def test_hang_time_of_an_ended_repeater_call_raises_nothing() -> None:
    made = codec()
    events(made, 0, repeater(0))
    events(made, 1, repeater(8))
    assert events(made, 2, repeater(7)) == []


def test_an_end_of_nobody_belongs_to_the_link() -> None:
    (event,) = events(codec(), 0, heard(0x0A, sender=0))
    assert event.radio_id == "receiver:station-1"


def test_an_emergency_report_too_short_for_an_address_still_raises() -> None:
    raised, fix = events(codec(), 0, Message(Service.LP, 0xB003, b""))
    assert (raised.radio_id, raised.verified) == ("receiver:station-1", False)
    assert isinstance(fix, PositionFix)


def test_ends_are_remembered_up_to_a_bound() -> None:
    made = codec()
    for index in range(ENDS_KEPT + 5):
        events(made, index / 10, heard(0x0A, sender=index + 1))
    assert len(made._intake._reader._ends) == ENDS_KEPT


def test_own_radio_is_named_by_its_answer_and_not_heard_before() -> None:
    made = codec()
    own_call = Message(
        Service.RCP,
        0xB843,
        RcpTransmitStatus(process=1, source=0, call_type=0, target=5).pack(),
    )
    assert made.receive(frame(1, own_call), moment(0)) == []
    answer = Message(Service.RCP, 0x8452, b"\0\0\xe9\3\0\0")
    assert made.receive(frame(2, answer), moment(1)) == [Heard(radio_id("dmr", 1001))]
    assert made.receive(frame(3, own_call), moment(2)) == [Heard(radio_id("dmr", 1001))]
    (event,) = events(made, 3, Message(Service.RCP, 0xB0C8, b"\x09\1\0"))
    assert event.radio_id == "dmr:1001"


@pytest.mark.parametrize("payload", [b"\1\0\xe9\3\0\0", b"\0\0\0\0\0\0"])
def test_own_number_that_the_radio_cannot_give_stays_unknown(payload: bytes) -> None:
    made = codec()
    assert made.receive(frame(1, Message(Service.RCP, 0x8452, payload)), moment(0)) == []


def test_a_number_that_is_set_is_not_changed_by_the_radios_answer() -> None:
    made = codec(own_radio_id="pdt:80020200")
    answer = Message(Service.RCP, 0x8452, b"\0\0\xe9\3\0\0")
    assert made.receive(frame(2, answer), moment(1)) == [Heard(RadioId("pdt:80020200"))]


def test_emergency_stop_ends_the_alarm_by_request_and_by_answer() -> None:
    request = Message(Service.LP, 0xB001, LpRequest(request_id=1, address=IP).pack())
    answer = Message(Service.LP, 0xB002, LpResult(request_id=1, address=IP, result=0).pack())
    for message, raw_code in ((request, "LP B001"), (answer, "LP B002")):
        (event,) = events(codec(), 0, message)
        assert isinstance(event, EmergencyEnded)
        assert (event.kind, event.raw_code, event.radio_id) == ("alarm", raw_code, f"dmr:{SENDER}")


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"own_radio_id": "1001"},
        {"registration_validity_s": 0},
        {"registration_validity_s": 65_535},
        {"number_space": "tetra"},
        {"conect": True},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        DRIVER.new_codec(options, "station-1")


# --- framing --------------------------------------------------------------------------------------


def test_a_lying_length_delays_an_alarm_by_a_second_at_most() -> None:
    made = codec()
    lie = bytes.fromhex("7e0400001020000105dc0000")
    assert made.receive(lie + frame(1, heard(1)), moment(0)) == []
    assert made.next_deadline() == moment(1).mono
    outputs = made.expire(moment(1))
    assert rejects(outputs) == ["truncated"]
    assert [type(report.event) for report in reports(outputs)] == [EmergencyRaised]
    assert made.next_deadline() is None


@given(st.binary(max_size=200), st.integers(0, 50), st.binary(max_size=200))
def test_an_alarm_is_found_in_any_noise(before: bytes, cut: int, after: bytes) -> None:
    packet = frame(1, heard(1))
    made = codec()
    data = before + packet + after
    outputs = list(made.receive(data[:cut], moment(0)))
    outputs += made.receive(data[cut:], moment(0))
    outputs += made.flush(moment(0))
    found = [report for report in reports(outputs) if isinstance(report.event, EmergencyRaised)]
    assert found
    assert found[0].event.radio_id == f"dmr:{SENDER}"


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_what_is_found_does_not_depend_on_how_the_stream_was_cut(
    data: bytes, cuts: list[int]
) -> None:
    data = data + frame(1, heard(1)) + b"\x7e\4" + data
    whole = FrameScanner()
    expected = [*whole.feed(data), *whole.give_up()]
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    split = FrameScanner()
    found = [each for a, b in itertools.pairwise(bounds) for each in split.feed(data[a:b])]
    assert [*found, *split.give_up()] == expected


def test_an_endless_run_of_noise_is_said_in_bounded_pieces() -> None:
    scanner = FrameScanner()
    found = [each for _ in range(10 * MAX_FRAME) for each in scanner.feed(b"A")]
    assert len(found) == 10
    assert all(isinstance(each, Reject) and len(each.data) <= 64 for each in found)
    assert not scanner.is_waiting


def test_the_longest_packet_is_read_and_a_longer_one_is_not() -> None:
    longest = Frame(Opcode.DATA, 0x10, 0x20, 1, bytes(MAX_FRAME - 12)).pack()
    (found,) = FrameScanner().feed(longest)
    assert isinstance(found, Frame)
    scanner = FrameScanner()
    longer = Frame(Opcode.DATA, 0x10, 0x20, 1, bytes(MAX_FRAME - 11)).pack()
    assert not any(isinstance(each, Frame) for each in [*scanner.feed(longer), *scanner.give_up()])


@given(
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 65_535),
    st.binary(max_size=300),
    st.integers(0, 15),
)
def test_any_packet_comes_back_from_its_bytes(
    opcode: int, source: int, number: int, payload: bytes, version: int
) -> None:
    made = Frame(opcode, source, 0x20, number, payload, version)
    assert FrameScanner().feed(made.pack()) == [made]


@given(
    service=st.sampled_from(list(Service)),
    opcode=st.integers(0, 65_535),
    payload=st.binary(max_size=100),
    is_reliable=st.booleans(),
)
def test_any_message_comes_back_from_its_bytes(
    *, service: Service, opcode: int, payload: bytes, is_reliable: bool
) -> None:
    message = Message(service, opcode, payload, is_reliable)
    assert list(read_messages(message.pack() + b"\0\0")) == [message]


@given(
    st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 100), st.floats(0, 360, exclude_max=True)
)
def test_any_place_comes_back_from_its_record(
    lat: float, lon: float, speed: float, course: float
) -> None:
    fix = GpsFix(
        is_valid=True, lat_deg=lat, lon_deg=lon, fix_at=AT, speed_mps=speed, course_deg=course
    )
    record = Gps40.of(fix).pack()
    assert len(record) == 40
    back = Gps40.unpack(record).fix(AT)
    assert back.lat_deg == pytest.approx(lat, abs=1e-6)
    assert back.lon_deg == pytest.approx(lon, abs=1e-6)
    assert back.speed_mps == pytest.approx(speed, abs=0.52)  # three characters: whole knots from 10
    assert back.course_deg is not None
    assert abs((back.course_deg - course + 180) % 360 - 180) <= 0.51
    assert back.fix_at == AT


@pytest.mark.parametrize(
    ("time", "date", "near", "instant"),
    [
        (b"021530", b"240625", "2026-05-01T08:00:00Z", "2025-06-24T02:15:30Z"),
        (b"235959", b"\0" * 6, "2026-05-01T00:00:05Z", "2026-04-30T23:59:59Z"),
        (b"000001", b"\0" * 6, "2026-04-30T23:59:58Z", "2026-05-01T00:00:01Z"),
        (b"120000", b"\0" * 6, "2026-04-30T11:00:00Z", "2026-04-30T12:00:00Z"),
        (b"\0" * 6, b"240625", "2026-05-01T08:00:00Z", None),
        (b"250000", b"240625", "2026-05-01T08:00:00Z", None),
        (b"120000", b"310225", "2026-05-01T08:00:00Z", None),
        (b"\xff" * 6, b"240625", "2026-05-01T08:00:00Z", None),
        (b"120000", b"24062\0", "2026-05-01T08:00:00Z", None),
    ],
)
def test_a_records_time_is_completed_or_left_out(
    time: bytes, date: bytes, near: str, instant: str | None
) -> None:
    record = Gps40.of(GpsFix(is_valid=True, lat_deg=1.0, lon_deg=1.0)).pack()
    record = record[:1] + time + date + record[13:]
    found = Gps40.unpack(record).instant(Instant.parse(near))
    assert found == (None if instant is None else Instant.parse(instant))


@pytest.mark.parametrize(
    ("at", "put"),
    [
        (0, b"X"),
        (13, b"Q"),
        (14, b"9001.0000"),
        (14, b"3060.0000"),
        (14, b" 014.5678"),
        (24, b"18000.0001"),
    ],
)
def test_a_record_that_calls_itself_valid_and_is_not_is_refused(at: int, put: bytes) -> None:
    record = Gps40.of(GpsFix(is_valid=True, lat_deg=30.0, lon_deg=120.0)).pack()
    with pytest.raises(WireError):
        Gps40.unpack(record[:at] + put + record[at + len(put) :]).fix(AT)


@pytest.mark.parametrize(
    ("speed", "course", "speed_kn", "course_deg"),
    [
        (b"12.", b"360", 12.0, 0.0),
        (b".50", b"361", 0.5, None),
        (b"nan", b"1e1", None, None),
        (b"   ", b"\0\0\0", None, None),
    ],
)
def test_speed_and_course_are_numbers_or_absent(
    speed: bytes, course: bytes, speed_kn: float | None, course_deg: float | None
) -> None:
    record = Gps40.of(GpsFix(is_valid=True, lat_deg=30.0, lon_deg=120.0)).pack()
    fix = Gps40.unpack(record[:34] + speed + course).fix(AT)
    assert fix.course_deg == course_deg
    if speed_kn is None:
        assert fix.speed_mps is None
    else:
        assert fix.speed_mps == pytest.approx(speed_kn * 1852 / 3600)


def test_a_text_that_is_no_utf16_is_shown_as_far_as_it_goes() -> None:
    body = "紧急".encode("utf-16-le") + b"\x00\xd8" + b"A"
    message = TextMessage(0xB1, 0, 3, 77, IP, body + b"\0\0").message()
    (event,) = events(codec(), 0, message)
    assert isinstance(event, TextReceived)
    assert event.body.startswith("紧急")
    assert event.to == "dmr:77"


@pytest.mark.parametrize(
    "message",
    [
        Message(Service.TMP, 0x80A1, b"\0" * 11),
        Message(Service.TMP, 0x80B2, b"\0" * 7),
        Message(Service.TMP, 0xC0A1, b"\0\xff" + b"\0" * 20),
        Message(Service.LP, 0xA002, b"\0" * 49),
        Message(Service.RCP, 0xB844, b"\0" * 11),
        Message(Service.RRS, 0x0003, b"\0" * 4),
    ],
)
def test_a_message_too_short_for_its_table_is_refused(message: Message) -> None:
    made = codec()
    assert rejects(made.receive(frame(1, message), moment(0))) == ["layout"]
    assert sent(made) == []


def test_switches_come_back_and_a_lying_count_is_refused() -> None:
    assert unpack_switches(pack_switches(((9, 1), (14, 0)))) == [(9, 1), (14, 0)]
    for payload in (b"", b"\2\1\1"):
        with pytest.raises(WireError):
            unpack_switches(payload)


def test_messages_are_named_for_people() -> None:
    assert str(Message(Service.LP, 0xB003, b"")) == "LP B003"
    assert str(Message(0x55, 1, b"")) == "service 55 0001"


# --- the host's side ------------------------------------------------------------------------------


def connected(made: Any, seconds: float = 0.0) -> list[Frame]:
    made.receive(Frame(Opcode.ACCEPT, 0x10, 0x20, 0).pack(), moment(seconds))
    frames = sent(made)
    for each in frames:
        made.receive(Frame(Opcode.DATA_ACK, 0x10, 0x20, each.number).pack(), moment(seconds))
    return frames


def run_until(made: Any, start: float, end: float) -> list[tuple[float, Frame]]:
    """Keep every deadline between two moments; what was sent, and when."""
    out: list[tuple[float, Frame]] = []
    now = start
    while (due := made.next_deadline()) is not None and due <= moment(end).mono:
        now = max(now, due - 1000.0)
        made.expire(moment(now))
        out += [(now, each) for each in sent(made)]
    return out


def test_connect_goes_out_on_opening_and_again_with_growing_pauses_for_ever() -> None:
    made = DRIVER.new_codec({}, "station-1")
    (first,) = sent(made)
    assert (first.opcode, first.source, first.destination) == (Opcode.CONNECT, 0x20, 0x10)
    tries = run_until(made, 0, 400)
    assert {each.opcode for _, each in tries} == {Opcode.CONNECT}
    pauses = [b - a for a, b in itertools.pairwise([0.0, *(at for at, _ in tries)])]
    assert pauses[:6] == [1, 2, 4, 8, 16, 30]
    assert set(pauses[5:]) == {LONGEST_PAUSE_S}


def test_alarms_are_heard_before_the_radio_has_accepted() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    outputs = made.receive(frame(1, heard(1)), moment(0))
    accept_all(made, outputs)
    assert [each.opcode for each in sent(made)] == [Opcode.DATA_ACK]


def test_a_flood_of_rejects_does_not_put_the_next_connect_off() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.receive(b"", moment(0))
    made.outgoing()
    for tenth in range(10):
        outputs = made.receive(Frame(Opcode.REJECT, 0x10, 0x20, 0).pack(), moment(tenth / 10))
        assert rejects(outputs) == ["refused"]
    made.expire(moment(1))
    assert [each.opcode for each in sent(made)] == [Opcode.CONNECT]


def test_subscriptions_are_the_calls_the_alarms_of_the_radio_itself_and_texts() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    messages = [message for each in connected(made) for message in read_messages(each.payload)]
    assert [message.opcode for message in messages] == [0x0452, 0x10C9, 0x10C7, 0x1847]
    assert unpack_switches(messages[1].payload) == [(0, 1), (1, 1)]
    assert unpack_switches(messages[2].payload) == [(9, 1), (0x0E, 1), (0x17, 1)]


def test_a_second_accept_changes_nothing() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    connected(made)
    assert connected(made, 1.0) == []


def test_an_accept_that_nobody_asked_for_changes_nothing() -> None:
    made = codec(connect=False)
    assert connected(made) == []
    assert made.next_deadline() is None


def test_a_reject_while_connected_leads_to_a_new_connection() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    connected(made)
    assert rejects(made.receive(Frame(Opcode.REJECT, 0x10, 0x20, 0).pack(), moment(5))) == [
        "refused"
    ]
    assert [(at, each.opcode) for at, each in run_until(made, 5, 6)] == [(6.0, Opcode.CONNECT)]


def test_a_quiet_radio_is_asked_and_one_that_forgot_us_is_connected_to_again() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    connected(made)
    out = run_until(made, 0, KEEPALIVE_S + 12)
    asked = [at for at, each in out if each.opcode == Opcode.DATA]
    assert asked == [10, 12, 14, 16, 18]
    assert [(at, each.opcode) for at, each in out][-1] == (21.0, Opcode.CONNECT)


def test_only_what_is_due_goes_out_again() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    connected(made)
    made.expire(moment(KEEPALIVE_S))
    made.receive(frame(1, heard(1, call_type=1)), moment(KEEPALIVE_S + 1))
    sent(made)
    made.expire(moment(KEEPALIVE_S + 1.9))
    assert sent(made) == []
    made.expire(moment(KEEPALIVE_S + 2))
    assert [each.opcode for each in sent(made)] == [Opcode.DATA]


def test_subscriptions_are_repeated_while_the_radio_answers() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    connected(made)
    opcodes: list[int] = []
    seconds = 0.0
    while seconds < SUBSCRIBE_AGAIN_S + 1:
        seconds += 1.0
        made.expire(moment(seconds))
        for each in sent(made):
            opcodes += [message.opcode for message in read_messages(each.payload)]
            made.receive(Frame(Opcode.DATA_ACK, 0x10, 0x20, each.number).pack(), moment(seconds))
    assert {opcodes.count(opcode) for opcode in (0x10C9, 0x10C7, 0x1847)} == {1}
    assert opcodes.count(0x0452) == 29


def test_a_refused_subscription_is_no_reason_to_keep_the_receipt_back() -> None:
    made = DRIVER.new_codec({}, "station-1")
    made.outgoing()
    connected(made)
    for payload in (b"\1", b""):
        outputs = made.receive(frame(8, Message(Service.RCP, 0x80C9, payload)), moment(1))
        assert rejects(outputs) == ["refused"]
        assert [each.opcode for each in sent(made)] == [Opcode.DATA_ACK]


def test_a_peer_that_connects_to_us_is_accepted_in_its_version_and_not_subscribed_to() -> None:
    made = codec(connect=False)
    made.receive(Frame(Opcode.CONNECT, 0x20, 0x10, 0, b"", 3).pack(), moment(0))
    assert sent(made) == [Frame(Opcode.ACCEPT, 0x10, 0x20, 0, b"", 3)]
    made.receive(Frame(Opcode.CLOSE, 0x20, 0x10, 5).pack(), moment(1))
    assert sent(made) == [Frame(Opcode.CLOSE_ACK, 0x10, 0x20, 5)]


def test_a_registration_is_answered_after_its_receipt_with_the_next_number() -> None:
    made = codec()
    for number in (1, 2):
        register = Message(Service.RRS, 0x0003, RrsAddress(address=IP).pack())
        outputs = made.receive(frame(number, register), moment(number))
        assert [type(report.event) for report in reports(outputs)] == [RadioRegistered]
        accept_all(made, outputs)
        ack, answer = sent(made)
        assert (ack.opcode, ack.number) == (Opcode.DATA_ACK, number)
        assert (answer.opcode, answer.number) == (Opcode.DATA, number)
