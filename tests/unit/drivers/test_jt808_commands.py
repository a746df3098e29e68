"""Commands to JT/T 808 terminals: what is sent, which answer ends them, how often they repeat."""

import struct
from collections.abc import Sequence
from typing import Any

import pytest

from drivers.api import Command, Moment, Outcome, Output, Report, TakesCommands, Verb
from drivers.jt808 import DRIVER
from drivers.jtt808.commands import ANSWER_S, LONGEST_TEXT, MAX_ASKED, RESENDS
from drivers.jtt808.frames import Frame, decode, encode
from gateway.model.events import PositionFix
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from tests.support.reference import reference_vectors

PHONE = "013800138000"
PHONE_2019 = "00000000013800138000"
AT = Instant.parse("2025-06-24T02:15:31Z")
POSITION = bytes.fromhex("000000000000000201cd77ed07299100000c00240057250624101530")
ASK_POSITION, TRACK, CONFIRM, TEXT, ASK_PARAMETERS = 0x8201, 0x8202, 0x8203, 0x8300, 0x8104


class Talk:
    """A codec, and terminals that have spoken."""

    def __init__(self, *phones: str, **options: Any) -> None:
        self.codec = DRIVER.new_codec(options, "link-1")
        assert isinstance(self.codec, TakesCommands)
        self.mono = 1000.0
        self.orders = 0
        for phone in phones or (PHONE,):
            self.hear(0x0002, phone=phone)
        self.sent()

    @property
    def now(self) -> Moment:
        return Moment(self.mono, Instant(AT + round((self.mono - 1000) * NS_PER_S)))

    def hear(self, message: int, body: bytes = b"", *, phone: str = PHONE) -> list[Output]:
        version = 1 if len(phone) == 20 else None
        return list(self.codec.receive(encode(Frame(message, phone, 9, body, version)), self.now))

    def command(self, verb: Verb, *, phone: str = PHONE, **more: Any) -> list[Output]:
        self.orders += 1
        until_mono = self.mono + more.pop("within_s", 60.0)
        radio = RadioId(more.pop("radio", f"jt808:{phone}"))
        command = Command(self.orders, radio, verb, until_mono, **more)
        assert isinstance(self.codec, TakesCommands)
        return list(self.codec.send(command, self.now))

    def sent(self) -> list[Frame]:
        frames = [decode(data[1:-1]) for data in self.codec.outgoing()]
        return [frame for frame in frames if isinstance(frame, Frame)]

    def only(self) -> Frame:
        (frame,) = self.sent()
        return frame

    def wait(self, seconds: float) -> list[Frame]:
        """Time passes, deadlines are kept; gives what was sent meanwhile."""
        end = self.mono + seconds
        while (due := self.codec.next_deadline()) is not None and due <= end:
            self.mono = due
            assert not self.codec.expire(self.now)
        self.mono = end
        return self.sent()

    def acknowledge(self, asked: Frame, result: int = 0, phone: str = PHONE) -> list[Output]:
        body = struct.pack(">HHB", asked.serial, asked.message, result)
        return self.hear(0x0001, body, phone=phone)


def outcomes(outputs: Sequence[Output]) -> list[Outcome]:
    return [output for output in outputs if isinstance(output, Outcome)]


def refusal(outputs: Sequence[Output]) -> str:
    (only,) = outcomes(outputs)
    assert only.result == "refused"
    return only.why


def published(message: str) -> list[Frame]:
    """The frames of others with this message id."""
    frames = []
    for line in reference_vectors("jt808"):
        if line["hex"][2:6] == message and not line.get("note"):
            frame = decode(bytes.fromhex(line["hex"])[1:-1])
            assert isinstance(frame, Frame)
            frames.append(frame)
    return frames


# --- what is sent ---------------------------------------------------------------------------------


def test_a_position_is_asked_for_as_others_ask() -> None:
    talk = Talk()
    assert talk.command(Verb.LOCATE) == []
    asked = talk.only()
    assert (asked.message, asked.body) == (ASK_POSITION, b"")
    assert any(
        (each.message, each.body) == (asked.message, asked.body) for each in published("8201")
    )


def test_tracking_is_asked_for_as_others_ask() -> None:
    talk = Talk()
    talk.command(Verb.TRACK, every_s=5, for_s=600)
    assert talk.only().body in {each.body for each in published("8202")}


def test_parameters_are_asked_for_as_others_ask() -> None:
    talk = Talk()
    talk.command(Verb.CHECK)
    asked = talk.only()
    assert (asked.message, asked.body) in {(each.message, each.body) for each in published("8104")}


def test_every_alarm_of_the_sos_key_is_confirmed() -> None:
    talk = Talk()
    talk.command(Verb.EMERGENCY_STOP)
    asked = talk.only()
    assert (asked.message, asked.body) == (CONFIRM, bytes.fromhex("0000 00000001"))


def test_a_text_has_the_form_of_the_terminals_own_header() -> None:
    talk = Talk(PHONE, PHONE_2019)
    talk.command(Verb.TEXT, body="请回复")
    talk.command(Verb.TEXT, body="请回复", phone=PHONE_2019)
    older, newer = talk.sent()
    assert older.body == b"\x04" + "请回复".encode("gbk")
    assert newer.body == b"\x07\x01" + "请回复".encode("gbk")
    assert (older.version, newer.version) == (None, 1)
    words = {each.body[1:] for each in published("8300") if each.version is None}
    assert older.body[1:] in words


def test_texts_are_read_out_where_the_option_says_so() -> None:
    talk = Talk(text_aloud=True)
    talk.command(Verb.TEXT, body="到北门集合")
    assert talk.only().body[0] == 0b1100


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("a\0b", "NUL"),
        ("速到🚨", "'🚨' is not in GBK"),
        ("字" * (LONGEST_TEXT // 2 + 1), f"one message holds {LONGEST_TEXT}"),
    ],
)
def test_a_text_that_cannot_be_shown_is_refused_with_the_reason(body: str, why: str) -> None:
    talk = Talk()
    assert why in refusal(talk.command(Verb.TEXT, body=body))
    assert talk.sent() == []
    assert talk.codec.next_deadline() is None


def test_the_longest_text_fits_a_frame() -> None:
    talk = Talk(PHONE_2019)
    assert talk.command(Verb.TEXT, body="字" * (LONGEST_TEXT // 2), phone=PHONE_2019) == []
    assert len(talk.only().body) == 2 + LONGEST_TEXT // 2 * 2


@pytest.mark.parametrize(("every_s", "for_s"), [(0, 60), (65536, 60), (10, 0), (10, 1 << 32)])
def test_a_track_that_the_message_cannot_hold_is_refused(every_s: int, for_s: int) -> None:
    assert refusal(Talk().command(Verb.TRACK, every_s=every_s, for_s=for_s))


@pytest.mark.parametrize("radio", ["jt808:013800138001", "pdt:80020200", f"dmr:{PHONE}", "jt808:"])
def test_a_radio_that_has_not_spoken_here_is_refused(radio: str) -> None:
    talk = Talk()
    assert "no terminal" in refusal(talk.command(Verb.LOCATE, radio=radio))
    assert talk.sent() == []


def test_a_terminal_that_may_not_speak_is_not_spoken_to() -> None:
    talk = Talk("099999999999", allow=["0138*"])
    assert "no terminal" in refusal(talk.command(Verb.TEXT, phone="099999999999", body="secret"))


def test_a_terminal_that_has_not_proved_itself_is_told_nothing() -> None:
    talk = Talk(accept_any_auth=False)
    assert "not authenticated" in refusal(talk.command(Verb.TEXT, body="secret"))
    talk.hear(0x0102, b"13800138000")
    assert talk.command(Verb.TEXT, body="secret") == []


# --- what ends them -------------------------------------------------------------------------------


def test_a_position_that_comes_is_what_was_asked_for() -> None:
    talk = Talk()
    talk.command(Verb.LOCATE)
    serial = talk.only().serial
    report, outcome = talk.hear(0x0201, struct.pack(">H", serial) + POSITION)
    assert isinstance(report, Report)
    assert isinstance(report.event, PositionFix)
    assert report.event.trigger == "request"
    assert outcome == Outcome(1, "delivered")
    assert outcomes(talk.hear(0x0201, struct.pack(">H", serial) + POSITION)) == []
    assert talk.codec.next_deadline() is None


def test_a_position_for_another_question_ends_nothing() -> None:
    talk = Talk()
    talk.command(Verb.LOCATE)
    serial = talk.only().serial + 1
    assert outcomes(talk.hear(0x0201, struct.pack(">H", serial) + POSITION)) == []


def test_a_query_that_was_heard_waits_for_its_position_without_repeats() -> None:
    talk = Talk()
    talk.command(Verb.LOCATE)
    asked = talk.only()
    assert outcomes(talk.acknowledge(asked)) == []
    assert talk.wait(50.0) == []
    answer = struct.pack(">H", asked.serial) + POSITION
    assert outcomes(talk.hear(0x0201, answer)) == [Outcome(1, "delivered")]


@pytest.mark.parametrize("verb", [Verb.TEXT, Verb.TRACK, Verb.EMERGENCY_STOP])
def test_the_general_answer_ends_what_only_it_answers(verb: Verb) -> None:
    talk = Talk()
    talk.command(verb, body="text", every_s=5, for_s=60)
    asked = talk.only()
    assert outcomes(talk.acknowledge(asked)) == [Outcome(1, "delivered")]
    assert outcomes(talk.acknowledge(asked)) == []


@pytest.mark.parametrize("verb", [Verb.LOCATE, Verb.TEXT, Verb.TRACK, Verb.EMERGENCY_STOP])
@pytest.mark.parametrize(
    ("result", "why"), [(1, "failed"), (2, "wrong message"), (3, "not supported"), (9, "result 9")]
)
def test_a_terminal_that_will_not_refuses_by_name(verb: Verb, result: int, why: str) -> None:
    talk = Talk()
    talk.command(verb, body="text", every_s=5, for_s=60)
    assert refusal(talk.acknowledge(talk.only(), result)) == f"the terminal says: {why}"


@pytest.mark.parametrize("result", [0, 3])
def test_a_check_is_answered_by_whatever_the_terminal_says(result: int) -> None:
    talk = Talk()
    talk.command(Verb.CHECK)
    assert outcomes(talk.acknowledge(talk.only(), result)) == [Outcome(1, "delivered")]


def test_a_check_tells_how_often_the_terminal_reports() -> None:
    talk = Talk()
    talk.command(Verb.CHECK)
    parameters = bytes.fromhex("0000000104 0000003c0000001301310000002904 0000000a")
    body = struct.pack(">HB", talk.only().serial, 3) + parameters
    (outcome,) = outcomes(talk.hear(0x0104, body))
    assert outcome == Outcome(1, "delivered", "heartbeat every 60 s, report every 10 s")


def test_an_answer_for_another_message_or_terminal_ends_nothing() -> None:
    talk = Talk(PHONE, PHONE_2019)
    talk.command(Verb.TEXT, body="text")
    asked = talk.only()
    assert outcomes(talk.acknowledge(asked._replace(message=TRACK))) == []
    assert outcomes(talk.acknowledge(asked, phone=PHONE_2019)) == []
    assert outcomes(talk.acknowledge(asked)) == [Outcome(1, "delivered")]


def test_terminals_of_one_connection_are_kept_apart() -> None:
    phones = [f"0138001380{number:02}" for number in range(20)]
    talk = Talk(*phones)
    for phone in phones:
        talk.command(Verb.LOCATE, phone=phone)
    asked = talk.sent()
    assert [frame.phone for frame in asked] == phones
    ended = []
    for frame in reversed(asked):
        body = struct.pack(">H", frame.serial) + POSITION
        ended += outcomes(talk.hear(0x0201, body, phone=frame.phone))
    assert [one.order for one in ended] == list(range(20, 0, -1))


# --- repeats --------------------------------------------------------------------------------------


def test_what_is_not_answered_is_repeated_alike_and_given_up() -> None:
    talk = Talk()
    talk.command(Verb.TEXT, body="text", within_s=300.0)
    asked = talk.only()
    assert talk.wait(ANSWER_S - 0.1) == []
    assert talk.wait(0.2) == [asked]
    assert talk.wait(2 * ANSWER_S) == [asked]
    assert talk.wait(3 * ANSWER_S) == [asked]
    assert talk.wait(200.0) == []
    assert RESENDS == 3
    assert outcomes(talk.acknowledge(asked)) == [Outcome(1, "delivered")]  # late, and still in time


def test_nobody_waits_longer_than_the_command_says() -> None:
    talk = Talk()
    talk.command(Verb.TEXT, body="text", within_s=7.0)
    asked = talk.only()
    assert talk.wait(20.0) == [asked]
    assert talk.codec.next_deadline() is None
    assert outcomes(talk.acknowledge(asked)) == []


def test_one_command_too_many_is_refused_until_others_end() -> None:
    talk = Talk()
    for _ in range(MAX_ASKED):
        assert talk.command(Verb.LOCATE, within_s=30.0) == []
    assert "under way" in refusal(talk.command(Verb.LOCATE))
    talk.wait(31.0)
    assert talk.command(Verb.LOCATE) == []
