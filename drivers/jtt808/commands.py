"""What is asked of JT/T 808 terminals, and which answer belongs to which question.

A terminal answers with the serial number of the question: 8201 with a position (0201), 8104 with
its parameters (0104), everything else with the general answer 0001. What stays unanswered is
repeated with the same serial number after T, 2T and 3T, as terminals do it themselves.
"""

from collections.abc import Iterator, Sequence

from drivers.api import Command, Moment, Outcome, Verb
from drivers.jtt808.frames import MAX_BODY, Frame
from drivers.jtt808.messages import (
    ALARM_EMERGENCY,
    PARAMETER_EMERGENCY_INTERVAL,
    PARAMETER_HEARTBEAT,
    PARAMETER_INTERVAL,
    TEXT_ALOUD,
    TEXT_DISPLAY,
    TEXT_ENCODING,
    TEXT_NOTICE_2019,
    TEXT_TYPE_NOTICE,
    Ack,
    AckResult,
    ConfirmAlarm,
    Message,
    Track,
)
from drivers.jtt808.peers import Answers, Terminal

ANSWER_S = 5.0  # T, until the first repeat
RESENDS = 3
MAX_ASKED = 256  # questions to the terminals of one peer that may be under way at a time
LONGEST_TEXT = MAX_BODY - 2  # bytes of GBK: one frame, less flag and type
LONGEST_INTERVAL_S = 0xFFFF
LONGEST_TRACK_S = 0xFFFFFFFF
ALL_OF_THIS_KIND = 0  # in place of one report's serial number

VERBS = frozenset({Verb.LOCATE, Verb.TRACK, Verb.TEXT, Verb.CHECK, Verb.EMERGENCY_STOP})

# Questions with an answer of their own; 0001 says of them only that they were heard.
ANSWERED_BY: dict[int, Message] = {
    Message.ASK_POSITION: Message.POSITION_ANSWER,
    Message.ASK_PARAMETERS: Message.PARAMETERS,
}
REFUSALS: dict[int, str] = {
    AckResult.FAILED: "failed",
    AckResult.WRONG: "wrong message",
    AckResult.UNSUPPORTED: "not supported",
}
INTERVALS = (
    (PARAMETER_HEARTBEAT, "heartbeat"),
    (PARAMETER_INTERVAL, "report"),
    (PARAMETER_EMERGENCY_INTERVAL, "report in an emergency"),
)


class _Asked:
    """A question under way; ``due_mono`` is None once it need not be repeated."""

    __slots__ = ("command", "due_mono", "frame", "sendings")

    def __init__(self, command: Command, frame: Frame, now: Moment) -> None:
        self.command = command
        self.frame = frame
        self.sendings = 1
        self.due_mono: float | None = now.mono + ANSWER_S

    @property
    def deadline(self) -> float:
        """When something must be done about it."""
        until_mono = self.command.until_mono
        return until_mono if self.due_mono is None else min(self.due_mono, until_mono)

    def delivered(self, told: str = "") -> Outcome:
        """The end: it was done."""
        return Outcome(self.command.order, "delivered", told)


class Questions:
    """The questions to the terminals of one peer, by terminal and serial number."""

    def __init__(self, answers: Answers, *, aloud: bool) -> None:
        self._answers = answers
        self._text_flags = TEXT_DISPLAY | (TEXT_ALOUD if aloud else 0)
        self._asked: dict[tuple[str, int], _Asked] = {}

    def ask(self, command: Command, terminal: Terminal, now: Moment) -> Sequence[Outcome]:
        """Send a command to a terminal, or refuse it."""
        if len(self._asked) >= MAX_ASKED:
            why = f"{MAX_ASKED} commands are under way on this connection"
            return (Outcome(command.order, "refused", why),)
        try:
            message, body = self._put(command, terminal.version)
        except ValueError as error:
            return (Outcome(command.order, "refused", str(error)),)
        frame = self._answers.ask(terminal.phone, terminal.version, message, body)
        self._asked[terminal.phone, frame.serial] = _Asked(command, frame, now)
        return ()

    def acknowledged(self, phone: str, ack: Ack) -> Iterator[Outcome]:
        """0001: what a terminal says of a message of ours."""
        asked = self._asked.get((phone, ack.serial))
        if asked is None or asked.frame.message != ack.message:
            return
        if asked.command.verb is Verb.CHECK:
            yield self._over(asked).delivered()  # whatever it says, it is there
        elif ack.result != AckResult.OK:
            self._over(asked)
            said = REFUSALS.get(ack.result, f"result {ack.result}")
            yield Outcome(asked.command.order, "refused", f"the terminal says: {said}")
        elif asked.frame.message in ANSWERED_BY:
            asked.due_mono = None  # heard; the answer itself may take as long as a fix takes
        else:
            yield self._over(asked).delivered()

    def answered(
        self, phone: str, serial: int, answer: Message, parameters: dict[int, bytes] | None = None
    ) -> Iterator[Outcome]:
        """0201 or 0104 came for the question with this serial number."""
        asked = self._asked.get((phone, serial))
        if asked is not None and ANSWERED_BY.get(asked.frame.message) is answer:
            yield self._over(asked).delivered(told_intervals(parameters or {}))

    def next_deadline(self) -> float | None:
        """When something is repeated or forgotten."""
        if not self._asked:
            return None
        return min(asked.deadline for asked in self._asked.values())

    def expire(self, now: Moment) -> None:
        """Repeat what is due, forget what nobody waits for."""
        for asked in tuple(self._asked.values()):
            if asked.command.until_mono <= now.mono:
                self._over(asked)
            elif asked.due_mono is not None and asked.due_mono <= now.mono:
                self._repeat(asked, now)

    def _repeat(self, asked: _Asked, now: Moment) -> None:
        if asked.sendings > RESENDS:
            asked.due_mono = None
            return
        self._answers.again(asked.frame)
        asked.sendings += 1
        asked.due_mono = now.mono + asked.sendings * ANSWER_S

    def _over(self, asked: _Asked) -> _Asked:
        return self._asked.pop((asked.frame.phone, asked.frame.serial))

    def _put(self, command: Command, version: int | None) -> tuple[Message, bytes]:
        """The message of a command; raises ValueError where it has none."""
        match command.verb:
            case Verb.LOCATE:
                return Message.ASK_POSITION, b""
            case Verb.CHECK:
                return Message.ASK_PARAMETERS, b""
            case Verb.TRACK:
                return Message.TRACK, _track(command)
            case Verb.EMERGENCY_STOP:
                return Message.CONFIRM_ALARM, ConfirmAlarm(ALL_OF_THIS_KIND, ALARM_EMERGENCY).pack()
            case Verb.TEXT:
                return Message.TEXT, self._text(command.body, version)

    def _text(self, body: str, version: int | None) -> bytes:
        if not body.strip():
            raise ValueError("the text is empty")
        if "\0" in body:
            raise ValueError("a text cannot have the character NUL: it ends texts on the wire")
        try:
            encoded = body.encode(TEXT_ENCODING)
        except UnicodeEncodeError as error:
            char = body[error.start]
            raise ValueError(f"{char!r} is not in GBK, the characters of JT/T 808") from None
        if len(encoded) > LONGEST_TEXT:
            raise ValueError(f"{len(encoded)} bytes of GBK; one message holds {LONGEST_TEXT}")
        if version is None:
            return bytes((self._text_flags,)) + encoded
        return bytes((self._text_flags | TEXT_NOTICE_2019, TEXT_TYPE_NOTICE)) + encoded


def told_intervals(parameters: dict[int, bytes]) -> str:
    """How often a terminal beats and reports, as far as its parameters say."""
    return ", ".join(
        f"{name} every {int.from_bytes(parameters[kind], 'big')} s"
        for kind, name in INTERVALS
        if len(parameters.get(kind, b"")) == 4  # noqa: PLR2004 - a u32
    )


def _track(command: Command) -> bytes:
    """8202; the terminal itself ends it after its duration."""
    if not 1 <= command.every_s <= LONGEST_INTERVAL_S:
        raise ValueError(f"a position every 1 to {LONGEST_INTERVAL_S} s, not {command.every_s}")
    if not 1 <= command.for_s <= LONGEST_TRACK_S:
        raise ValueError(f"for 1 to {LONGEST_TRACK_S} s, not {command.for_s}")
    return Track(command.every_s, command.for_s).pack()
