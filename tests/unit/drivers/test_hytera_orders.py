"""Commands to Hytera radios: who may be asked, how often, and what ends them."""

from typing import Any

import pytest

from drivers.api import Command, Heard, Moment, Outcome, Verb
from drivers.hytera.hdap import (
    LpRequest,
    LpResult,
    LpTriggeredRequest,
    Message,
    RcpTarget,
    RrsState,
    Service,
    read_body,
)
from drivers.hytera.orders import (
    ASK_AGAIN_S,
    MOST_ASKS,
    MOST_ORDERS,
    MOST_TEXT_UNITS,
    SERVICE_VERBS,
    STOP_WITHIN_S,
    Orders,
    interval_text,
)
from drivers.hytera.tmp import read_text
from gateway.model.identity import RadioId
from gateway.model.numbering import Numbering
from gateway.model.quantities import Instant

AT = Instant.parse("2026-05-01T08:00:00Z")
RADIO = RadioId("dmr:1002")
IP = 0x0A000000 | 1002


def moment(seconds: float) -> Moment:
    return Moment(seconds, AT)


def orders(check_by: Any = "rrs", service: str = "all") -> Orders:
    return Orders(Numbering("dmr"), lambda: 1001, check_by, service)


def command(verb: Verb, order: int = 1, *, radio: RadioId = RADIO, **rest: Any) -> Command:
    return Command(order, radio, verb, rest.pop("until", 30.0), **rest)


def ask(made: Orders, asked: Command, at: float = 0.0) -> Message:
    assert made.take(asked) == ()
    (message,) = made.due(moment(at), is_ready=True)
    return message


def result(opcode: int, request_id: int, value: int = 0, address: int = IP) -> Message:
    return Message(Service.LP, opcode, LpResult(request_id, address, value).pack())


def answers(made: Orders, message: Message, at: float = 1.0) -> list[Outcome]:
    return list(made.heard(message, (), moment(at)))


def test_a_question_is_asked_three_times_and_forgotten_when_nobody_waits() -> None:
    made = orders()
    first = ask(made, command(Verb.EMERGENCY_STOP, until=25.0))
    times = []
    while (due := made.next_deadline(is_ready=True)) is not None:
        messages = made.due(moment(due), is_ready=True)
        times += [due for message in messages if message == first]
    assert times == [ASK_AGAIN_S * n for n in range(1, MOST_ASKS)]
    assert made.pending == 0
    assert answers(made, result(0xB002, 1), 26.0) == []


def test_a_text_goes_out_once() -> None:
    made = orders()
    text = read_text(ask(made, command(Verb.TEXT, body="到")))
    assert (text.text, text.source, text.destination) == ("到", 0x0A000000 | 1001, IP)
    assert made.next_deadline(is_ready=True) == 30.0
    assert made.due(moment(ASK_AGAIN_S), is_ready=True) == []


def test_nothing_is_sent_and_nothing_is_due_while_there_is_no_connection() -> None:
    made = orders()
    made.take(command(Verb.LOCATE))
    assert made.due(moment(5), is_ready=False) == []
    assert made.next_deadline(is_ready=False) == 30.0
    assert len(made.due(moment(6), is_ready=True)) == 1
    made.take(command(Verb.LOCATE, 2, until=7.0))
    assert made.due(moment(7), is_ready=False) == []
    assert made.pending == 1


@pytest.mark.parametrize(
    "answer",
    [
        result(0xB002, 2),
        result(0xB002, 1, address=IP + 1),
        result(0xC002, 1),
        result(0xC005, 1),
        Message(Service.LP, 0xB002, b"\0\0"),
        Message(Service.TMP, 0x00A2, b"\0\0\0\1"),
        Message(Service.RRS, 0x0082, RrsState(address=IP, state=0).pack()),
        Message(Service.DDS, 0x0008, b"\x0a\0\3\xea\xa0\1\4"),
        Message(Service.DDS, 0x0008, b"\x0a\0\3\xea\xb0\1\0"),
    ],
)
def test_what_answers_something_else_ends_nothing(answer: Message) -> None:
    made = orders()
    ask(made, command(Verb.EMERGENCY_STOP))
    assert answers(made, answer) == []
    assert answers(made, result(0xB002, 1)) == [Outcome(1, "delivered")]
    assert answers(made, result(0xB002, 1)) == [], "a copy of the answer"


def test_an_unknown_result_is_told_as_it_is() -> None:
    made = orders()
    ask(made, command(Verb.EMERGENCY_STOP))
    assert answers(made, result(0xB002, 1, 7)) == [Outcome(1, "refused", "unknown result (07)")]


def test_a_track_that_was_begun_is_ended() -> None:
    made = orders()
    request = read_body(ask(made, command(Verb.TRACK, every_s=30, for_s=600)))
    assert isinstance(request, LpTriggeredRequest)
    assert (request.start, request.stop, request.interval) == (b"0" * 14, b"0" * 14, b"00000030")
    assert answers(made, result(0xC002, 1)) == [Outcome(1, "delivered")]
    assert answers(made, result(0xC002, 1)) == []
    assert made.next_deadline(is_ready=True) == 601.0
    (stop,) = made.due(moment(601), is_ready=True)
    assert (stop.opcode, read_body(stop)) == (0xC004, LpRequest(1, IP))
    assert answers(made, result(0xC005, 1), 602) == []
    assert made.pending == 0


def test_a_track_that_nobody_answered_is_ended_too_and_the_telling_has_an_end() -> None:
    made = orders()
    ask(made, command(Verb.TRACK, every_s=5, for_s=60))
    stops, end = [], 0.0
    while (due := made.next_deadline(is_ready=True)) is not None:
        end = due
        stops += [m.opcode for m in made.due(moment(due), is_ready=True)]
    assert stops == [0xC001] * (MOST_ASKS - 1) + [0xC004] * MOST_ASKS
    assert end == 30.0 + STOP_WITHIN_S


def test_a_track_that_never_went_out_is_only_forgotten() -> None:
    made = orders()
    made.take(command(Verb.TRACK, every_s=5, for_s=60))
    assert made.due(moment(30), is_ready=True) == []
    assert made.pending == 0


def test_a_newer_track_takes_the_place_of_one_that_is_not_answered() -> None:
    made = orders()
    ask(made, command(Verb.TRACK, every_s=5, for_s=60))
    (refused,) = made.take(command(Verb.TRACK, 2, every_s=9, for_s=60))
    assert refused.order == 1
    assert "newer track" in refused.why
    assert [m.opcode for m in made.due(moment(1), is_ready=True)] == [0xC004, 0xC001]


def test_a_radio_check_is_answered_by_whoever_is_heard_after_it() -> None:
    made = orders("rcp")
    made.take(command(Verb.CHECK))
    other = Message(Service.RCP, 0xB844, b"")
    assert list(made.heard(other, (Heard(RADIO),), moment(0))) == [], "not asked yet"
    (message,) = made.due(moment(0), is_ready=True)
    assert read_body(message) == RcpTarget(target=1002)
    assert list(made.heard(other, (Heard(RadioId("dmr:1")),), moment(1))) == []
    assert list(made.heard(other, (Heard(RADIO),), moment(1))) == [Outcome(1, "delivered")]


def test_commands_in_progress_are_bounded() -> None:
    made = orders()
    for order in range(MOST_ORDERS):
        assert made.take(command(Verb.LOCATE, order)) == ()
    (refused,) = made.take(command(Verb.LOCATE, MOST_ORDERS))
    assert refused.result == "refused"
    assert str(MOST_ORDERS) in refused.why


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (command(Verb.LOCATE, radio=RadioId("jt808:013800138000")), "not a radio of this link"),
        (command(Verb.TEXT, body=""), "1 to 700"),
        (command(Verb.TEXT, body="x" * (MOST_TEXT_UNITS + 1)), "this one 701"),
        (command(Verb.TRACK, every_s=0, for_s=9), "every 1 to"),
        (command(Verb.TRACK, every_s=86_401, for_s=9), "every 1 to"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(asked: Command, why: str) -> None:
    (refused,) = orders().take(asked)
    assert why in refused.why


def test_a_text_with_half_a_character_is_sent_with_a_mark_in_its_place() -> None:
    assert read_text(ask(orders(), command(Verb.TEXT, body="a\ud800b"))).text == "a?b"


def test_every_port_takes_the_verbs_of_its_service() -> None:
    for service, verbs in SERVICE_VERBS.items():
        for verb in Verb:
            made = orders(service=service)
            outcomes = made.take(command(verb, body="x", every_s=5, for_s=60))
            assert (outcomes == ()) == (verb in verbs)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(30, b"00000030"), (60, b"00000100"), (3661, b"00010101"), (86_400, b"01000000")],
)
def test_intervals_are_days_hours_minutes_and_seconds(seconds: int, text: bytes) -> None:
    assert interval_text(seconds) == text
