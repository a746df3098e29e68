"""The HSTRP codec: receipts, copies, the conversation, and packets that are none."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api import Output, Reject
from drivers.hytera.hdap import Message, RrsAddress, Service
from drivers.hytera.hstrp_frames import (
    CHANNEL,
    DEVICE,
    MAX_FRAME,
    HstrpError,
    Kind,
    Packet,
    pack_options,
    read_options,
)
from drivers.hytera.hstrp_host import (
    CONNECT,
    HEARTBEAT,
    HEARTBEAT_S,
    LONGEST_PAUSE_S,
    LOST_AFTER_S,
    UNANSWERED_KEPT,
)
from drivers.hytera.intake import RECENT_KEPT, UNSTORED_KEPT
from drivers.hytera_hstrp import DRIVER
from gateway.model.events import EmergencyEnded, EmergencyRaised
from tests.unit.drivers.test_hytera_hrnp import (
    AT,
    IP,
    accept_all,
    emergency_report,
    marks,
    moment,
    rejects,
    repeater,
    reports,
    text,
)

OPTIONS = pack_options((DEVICE, (100_001).to_bytes(4, "big")), (CHANNEL, b"\1"))
CHANNEL_FREE = 4


def codec(**options: Any) -> Any:
    made = DRIVER.new_codec(options, "repeater-1")
    made.receive(HEARTBEAT, moment(0))
    made.outgoing()
    return made


def data(number: int, *messages: Message, options: bytes = OPTIONS) -> bytes:
    payload = b"".join(message.pack() for message in messages)
    return Packet(Kind.OPTIONS if options else 0, number, options, payload).pack()


def control(kind: int, number: int = 0) -> bytes:
    return Packet(kind, number).pack()


def sent(made: Any) -> list[Packet]:
    return [Packet.unpack(packet) for packet in made.outgoing()]


def register() -> Message:
    return Message(Service.RRS, 0x0003, RrsAddress(address=IP).pack())


def run_until(made: Any, start: float, end: float) -> tuple[list[tuple[float, int]], list[Output]]:
    """Keep every deadline between two moments: what was sent and when, and what was said."""
    out: list[tuple[float, int]] = []
    outputs: list[Output] = []
    now = start
    while (due := made.next_deadline()) is not None and due <= moment(end).mono:
        now = max(now, due - 1000.0)
        outputs += made.expire(moment(now))
        out += [(now, each.kind) for each in sent(made)]
    return out, outputs


# --- receipts -------------------------------------------------------------------------------------


def test_a_packet_is_acknowledged_with_its_options_when_all_its_reports_are_on_disk() -> None:
    made = codec()
    outputs = made.receive(data(7, emergency_report(AT), text("hilfe")), moment(0))
    receipts = [report.receipt for report in reports(outputs)]
    assert len(set(receipts)) == 3
    for receipt in (receipts[2], receipts[0]):
        made.accept(receipt)
        assert sent(made) == []
    made.accept(receipts[1])
    ack, answer = sent(made)
    assert ack == Packet(Kind.ACK | Kind.OPTIONS, 7, OPTIONS)
    assert answer.is_data
    assert answer.number == 1


def test_a_packet_without_options_is_acknowledged_without() -> None:
    made = codec()
    accept_all(made, made.receive(data(7, emergency_report(AT), options=b""), moment(0)))
    assert [each.pack().hex() for each in sent(made)] == ["324200010007"]


def test_a_packet_with_nothing_to_store_is_acknowledged_at_once() -> None:
    made = codec()
    made.receive(data(3, repeater(2, call_type=1)), moment(0))
    assert [each.number for each in sent(made)] == [3]


def test_a_packet_of_which_a_part_cannot_be_read_is_stored_and_not_acknowledged() -> None:
    made = codec()
    outputs = made.receive(data(3, repeater(2), Message(Service.RRS, 3, b"\x0a")), moment(0))
    assert rejects(outputs) == ["layout"]
    (alarm,) = reports(outputs)
    assert isinstance(alarm.event, EmergencyRaised)
    assert alarm.receipt is None
    assert sent(made) == []


def test_reports_that_never_reach_the_disk_do_not_pile_up() -> None:
    made = codec()
    for number in range(UNSTORED_KEPT + 10):
        made.receive(data(number, repeater(2)), moment(number / 100))
    assert made._intake.unstored == UNSTORED_KEPT
    assert made._intake.remembered == RECENT_KEPT
    made.outgoing()
    made.accept(1)
    assert sent(made) == []
    made.accept(11)
    assert [each.number for each in sent(made)] == [10]


# --- the same packet again ------------------------------------------------------------------------


def test_a_packet_sent_again_has_the_same_marks() -> None:
    made = codec()
    packet = data(9, emergency_report(None), repeater(2))
    first = marks(made.receive(packet, moment(0)))
    for seconds in (2, 30, 55):
        assert marks(made.receive(packet, moment(seconds))) == first
    assert len(set(first)) == 2
    assert None not in first


@pytest.mark.parametrize("between", [31.0, 0.0])
def test_the_same_number_after_a_pause_or_a_restart_is_another_press(between: float) -> None:
    made = codec()
    first = marks(made.receive(data(9, repeater(2)), moment(0)))
    if not between:
        made.receive(control(Kind.CONNECT), moment(1))
        between = 2.0
    assert marks(made.receive(data(9, repeater(2)), moment(between))) != first


def test_an_old_number_is_read_all_the_same() -> None:
    made = codec()
    made.receive(data(900, repeater(2)), moment(0))
    (alarm,) = reports(made.receive(data(3, repeater(2)), moment(1)))
    assert isinstance(alarm.event, EmergencyRaised)


def test_an_emergency_call_ends_when_the_channel_is_free() -> None:
    made = codec()
    made.receive(data(1, repeater(2)), moment(0))
    (ended,) = reports(
        made.receive(data(2, repeater(CHANNEL_FREE, call_type=0, sender=0)), moment(5))
    )
    assert isinstance(ended.event, EmergencyEnded)
    assert ended.event.kind == "call"


# --- the conversation -----------------------------------------------------------------------------


def test_a_repeater_that_announces_itself_gets_its_options_back_and_a_heartbeat() -> None:
    made = DRIVER.new_codec({}, "repeater-1")
    assert made.outgoing() == []
    assert made.next_deadline() is None
    made.receive(Packet(Kind.CONNECT | Kind.OPTIONS, 2, OPTIONS).pack(), moment(0))
    answer, beat = sent(made)
    assert answer == Packet(Kind.CONNECT | Kind.ACK | Kind.OPTIONS, 2, OPTIONS)
    assert beat.pack() == HEARTBEAT


def test_heartbeats_go_out_every_five_seconds_until_nobody_is_heard() -> None:
    made = codec()
    out, outputs = run_until(made, 0, 200)
    assert [at for at, _ in out] == [HEARTBEAT_S * n for n in range(1, 4)]
    assert rejects(outputs) == ["silent"]
    assert made.next_deadline() is None
    made.receive(data(1, repeater(2, call_type=1)), moment(300))
    assert [each.kind & ~Kind.OPTIONS for each in sent(made)] == [Kind.ACK, Kind.HEARTBEAT]


def test_anything_heard_puts_the_silence_off() -> None:
    made = codec()
    for seconds in range(0, 60, 6):
        made.receive(HEARTBEAT, moment(seconds))
        _, outputs = run_until(made, seconds, seconds + 6)
        assert outputs == []


def test_two_peers_that_answer_heartbeats_make_no_storm() -> None:
    made = codec()
    for tenth in range(50):
        made.receive(HEARTBEAT, moment(tenth / 10))
    assert len(made.outgoing()) == 4


def test_connect_goes_out_on_opening_and_again_with_growing_pauses() -> None:
    made = DRIVER.new_codec({"connect": True}, "repeater-1")
    assert made.outgoing() == [CONNECT]
    out, outputs = run_until(made, 0, 400)
    pauses = [b - a for a, b in itertools.pairwise([0.0, *(at for at, _ in out)])]
    assert pauses[:6] == [1, 2, 4, 8, 16, 30]
    assert set(pauses[5:]) == {LONGEST_PAUSE_S}
    assert {kind for _, kind in out} == {Kind.CONNECT | Kind.ACK}
    assert outputs == []


@pytest.mark.parametrize("kind", [Kind.CONNECT | Kind.ACK, Kind.HEARTBEAT, Kind.ACK])
def test_any_answer_to_a_connect_makes_the_repeater_present(kind: int) -> None:
    made = DRIVER.new_codec({"connect": True}, "repeater-1")
    made.outgoing()
    made.receive(control(kind), moment(0))
    assert [each.pack() for each in sent(made)] == [HEARTBEAT]
    out, outputs = run_until(made, 0, LOST_AFTER_S + 1)
    assert out[-1] == (LOST_AFTER_S + 1, Kind.CONNECT | Kind.ACK)
    assert rejects(outputs) == ["silent"]


def test_a_flood_of_rejects_does_not_put_the_next_connect_off() -> None:
    made = DRIVER.new_codec({"connect": True}, "repeater-1")
    made.outgoing()
    for tenth in range(10):
        assert rejects(made.receive(control(Kind.REJECT), moment(tenth / 10))) == ["refused"]
    made.expire(moment(1))
    assert made.outgoing() == [CONNECT]


def test_a_close_is_answered_and_ends_the_heartbeats() -> None:
    made = codec()
    made.receive(control(Kind.CLOSE, 5), moment(1))
    assert sent(made) == [Packet(Kind.CLOSE | Kind.ACK, 5)]
    assert made.next_deadline() is None
    made.receive(control(Kind.CLOSE | Kind.ACK, 5), moment(2))
    assert sent(made) == []


def test_answers_of_ours_count_upward_over_a_connect_and_stop_when_rejected() -> None:
    made = codec()
    for number in (1, 2):
        accept_all(made, made.receive(data(number, register()), moment(0)))
        made.receive(control(Kind.CONNECT | Kind.ACK), moment(0))
    accept_all(made, made.receive(data(3, register()), moment(0)))
    assert [each.number for each in sent(made) if each.is_data] == [1, 2, 3]
    assert rejects(made.receive(control(Kind.REJECT, 3), moment(1))) == ["refused"]
    out, outputs = run_until(made, 1, 10)
    assert {kind for _, kind in out} == {Kind.HEARTBEAT}
    assert outputs == []


def test_answers_that_nobody_acknowledges_do_not_pile_up() -> None:
    made = codec()
    for number in range(UNANSWERED_KEPT + 20):
        accept_all(made, made.receive(data(number, register()), moment(0)))
    assert len(made._pc._unanswered) == UNANSWERED_KEPT


# --- packets --------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from([0, Kind.ACK, Kind.HEARTBEAT, Kind.CONNECT, Kind.CLOSE, Kind.REJECT]),
    number=st.integers(0, 65_535),
    options=st.lists(st.tuples(st.integers(1, 7), st.binary(max_size=20)), max_size=5),
    payload=st.binary(max_size=200),
)
def test_any_packet_comes_back_from_its_bytes(
    kind: int, number: int, options: list[tuple[int, bytes]], payload: bytes
) -> None:
    packed = pack_options(*options)
    bits = kind | (Kind.OPTIONS if packed else 0)
    packet = Packet(bits, number, packed, b"" if kind else payload)
    assert Packet.unpack(packet.pack()) == packet
    assert read_options(packed) == options


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        ("", "length"),
        ("3242002400", "length"),
        ("324200" + "00" * MAX_FRAME, "length"),
        ("324300000000", "header"),
        ("324201000000", "header"),
        ("324200400000", "header"),
        ("324200200000", "options"),
        ("32420020000083", "options"),
        ("3242002000000302", "options"),
        ("32420002000001", "payload"),
    ],
)
def test_a_datagram_that_is_no_packet_is_refused(packet: str, reason: str) -> None:
    with pytest.raises(HstrpError) as caught:
        Packet.unpack(bytes.fromhex(packet))
    assert caught.value.reason == reason
    made = codec()
    (refused,) = made.receive(bytes.fromhex(packet), moment(0))
    assert isinstance(refused, Reject)
    assert refused.reason == reason
    assert made.outgoing() == []


@pytest.mark.parametrize(
    "options", [{"registration_validity_s": 0}, {"number_space": "tetra"}, {"own_radio_id": "x"}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        DRIVER.new_codec(options, "repeater-1")
