"""JT/T 808 terminals (2011, 2013, 2019): public-network handhelds, body-worn devices, vehicles.

The platform's side of the dialogue: registration, authentication, heartbeat, positions and alarms.
The general answer 8001 to a report with the emergency bit is what clears the bit in the terminal,
so it is given only when every event of that frame is on disk. The protocol proves nobody's
identity; see ``docs/drivers/jt808.md``.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import msgspec

from drivers.api import (
    CodecOptions,
    Command,
    Driver,
    Handles,
    Heard,
    Moment,
    Outcome,
    Output,
    Reject,
    Report,
    Transport,
)
from drivers.jtt808.commands import VERBS, Questions
from drivers.jtt808.explain import explain
from drivers.jtt808.frames import MAX_FRAME, Deframer, Frame, decode, reject
from drivers.jtt808.messages import (
    BATCH_STORED,
    FROM_PLATFORM,
    TEXT_ENCODING,
    Ack,
    AckResult,
    Message,
    RegisterResult,
    read_answered_position,
    read_auth,
    read_batch,
    read_parameters,
    read_register,
    text,
)
from drivers.jtt808.peers import Answers, Ledger, Terminal, Terminals
from drivers.jtt808.reports import (
    Reader,
    alarms_of,
    mark_of_alarm,
    mark_of_fix,
    stored_at_of,
)
from drivers.jtt808.split import Assembler
from drivers.wire import WireError
from gateway.model.events import (
    EmergencyRaised,
    RadioDeregistered,
    RadioRegistered,
    Trigger,
)

MAX_STRANGERS = 16  # terminals that are not allowed whose alarms one peer may still show
MAX_DETAIL = 200  # characters of a terminal's own description
ANSWERS = {Message.TERMINAL_ACK, Message.PARAMETERS, Message.POSITION_ANSWER}  # nobody answers them


class Jt808Options(CodecOptions, frozen=True, kw_only=True):
    """Options of a JT/T 808 link.

    ``allow`` lists the terminal numbers that may speak, with ``*`` and ``?``; 12 digits, 20 from
    2019 on. ``auth_code`` is given on registration, the number without leading zeros when empty.
    ``accept_any_auth`` false refuses another code and marks alarms before it as unverified.
    ``utc_offset_h`` is the terminals' clock, hours east of UTC. ``encrypted_coordinates`` says
    what becomes of positions with status bit 5 within China: "leave_out" or "take".
    ``vendor_sos`` takes the bits of item E7 for the SOS key as well. ``text_aloud`` has texts read
    out by the terminal, not only displayed.
    """

    allow: tuple[str, ...] = ("*",)
    auth_code: Annotated[str, msgspec.Meta(max_length=64)] = ""
    accept_any_auth: bool = True
    utc_offset_h: Annotated[float, msgspec.Meta(ge=-12, le=14)] = 8.0
    encrypted_coordinates: Literal["leave_out", "take"] = "leave_out"
    vendor_sos: bool = True
    text_aloud: bool = False


Handler = Callable[[Frame, Terminal, Moment], Sequence[Output]]


class Jt808Codec:
    """The platform's side of one connection, or of one UDP source."""

    def __init__(self, options: Jt808Options, link_id: str) -> None:
        del link_id
        self._options = options
        self._reader = Reader(
            utc_offset_s=round(options.utc_offset_h * 3600),
            takes_encrypted=options.encrypted_coordinates == "take",
            takes_vendor_sos=options.vendor_sos,
        )
        self._deframer = Deframer()
        self._assembler = Assembler()
        self._terminals = Terminals(options.allow)
        self._ledger = Ledger()
        self._strangers: set[str] = set()
        self._answers = Answers(options.auth_code)
        self._questions = Questions(self._answers, aloud=options.text_aloud)
        self._handlers: dict[int, Handler] = {
            int(Message.TERMINAL_ACK): self._terminal_ack,
            int(Message.HEARTBEAT): self._heartbeat,
            int(Message.LOGOUT): self._logout,
            int(Message.ASK_TIME): self._ask_time,
            int(Message.ASK_TIME_VENDOR): self._ask_time,
            int(Message.REGISTER): self._register,
            int(Message.AUTHENTICATE): self._authenticate,
            int(Message.PARAMETERS): self._parameters,
            int(Message.POSITION): self._position,
            int(Message.POSITION_ANSWER): self._position_answer,
            int(Message.POSITION_BATCH): self._position_batch,
        }

    # --- what the session calls -------------------------------------------------------------------

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Bytes as they come."""
        outputs: list[Output] = []
        for content in self._deframer.feed(data):
            frame = content if isinstance(content, Reject) else decode(content)
            if isinstance(frame, Reject):
                outputs.append(frame)
            elif frame.message < FROM_PLATFORM:
                outputs += self._frame(frame, now)
        return outputs

    def flush(self, now: Moment) -> Sequence[Output]:
        """The line fell silent; split messages wait on for their own time-out."""
        del now
        return self._deframer.flush()

    def accept(self, receipt: int) -> None:
        """An event is on disk; the last one of its frame releases the answer."""
        self._ledger.accept(receipt)

    def outgoing(self) -> Sequence[bytes]:
        """Answers to write now."""
        return self._answers.drain()

    def next_deadline(self) -> float | None:
        """When an unfinished split message is given up, or a question repeated."""
        unfinished, unanswered = self._assembler.next_deadline(), self._questions.next_deadline()
        if unfinished is None or unanswered is None:
            return unanswered if unfinished is None else unfinished
        return min(unfinished, unanswered)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Give up unfinished split messages, repeat what was asked."""
        self._questions.expire(now)
        return self._assembler.expire(now.mono)

    def send(self, command: Command, now: Moment) -> Sequence[Output]:
        """Ask a terminal that has spoken on this connection."""
        terminal = self._terminals.find(command.radio_id)
        if terminal is None:
            why = "no terminal of this number has spoken on this connection"
            return (Outcome(command.order, "refused", why),)
        doubt = self._doubt(terminal)
        if doubt is not None:
            return (Outcome(command.order, "refused", f"the terminal is {doubt}"),)
        return self._questions.ask(command, terminal, now)

    # --- frames -----------------------------------------------------------------------------------

    def _frame(self, frame: Frame, now: Moment) -> Sequence[Output]:
        terminal = self._terminals.get(frame.phone)
        if not terminal.is_allowed:
            return self._stranger(frame, terminal, now)
        terminal.version = frame.version
        handler = self._handlers.get(frame.message)
        if handler is None:
            self._answers.acknowledge(frame, AckResult.UNSUPPORTED)
            return [Heard(terminal.radio)]
        if frame.part is None:
            return self._handled(handler, frame, terminal, now)
        whole, rejects = self._assembler.add(frame, now.mono)
        if whole is None:
            return rejects
        return [*rejects, *self._handled(handler, whole, terminal, now)]

    def _handled(
        self, handler: Handler, frame: Frame, terminal: Terminal, now: Moment
    ) -> Sequence[Output]:
        try:
            return handler(frame, terminal, now)
        except WireError as error:
            if frame.message not in ANSWERS:
                self._answers.acknowledge(frame, AckResult.WRONG)
            return [reject("length", f"{frame.message:04X}: {error}", frame.body)]

    def _stranger(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        """A terminal that is not on the allow list: refused, but an alarm of it is shown.

        Its alarm is unverified and gets no answer, so that nothing is cleared on the far side. How
        many such terminals one peer may bring is bounded.
        """
        outputs: list[Output] = []
        if frame.message == Message.REGISTER:
            self._answers.register(frame, RegisterResult.NO_TERMINAL)
        elif frame.message == Message.AUTHENTICATE:
            self._answers.acknowledge(frame, AckResult.FAILED)
        elif frame.message == Message.POSITION and frame.part is None:
            outputs += self._stranger_alarm(frame, terminal, now)
        detail = f"terminal {frame.phone} is not on the allow list"
        outputs.append(reject("not_allowed", detail, frame.body))
        return outputs

    def _stranger_alarm(self, frame: Frame, terminal: Terminal, now: Moment) -> list[Output]:
        if frame.phone not in self._strangers:
            if len(self._strangers) >= MAX_STRANGERS:
                return []
            self._strangers.add(frame.phone)
        try:
            reports = self._read(frame, terminal, now, frame.body, "unknown")
        except WireError:
            return []  # refused as a whole anyway
        return [report for report in reports if isinstance(report.event, EmergencyRaised)]

    # --- messages ---------------------------------------------------------------------------------

    def _terminal_ack(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        del now
        outcomes = self._questions.acknowledged(frame.phone, Ack.unpack(frame.body))
        return [Heard(terminal.radio), *outcomes]

    def _parameters(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        """0104: of a terminal's many parameters only the intervals are looked at."""
        del now
        serial, found = read_parameters(frame.body)
        outcomes = self._questions.answered(frame.phone, serial, Message.PARAMETERS, found)
        return [Heard(terminal.radio), *outcomes]

    def _ask_time(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        self._answers.time(frame, now.at)
        return [Heard(terminal.radio)]

    def _heartbeat(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        del now
        self._answers.acknowledge(frame, AckResult.OK)
        return [Heard(terminal.radio)]

    def _logout(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        def pay() -> None:
            terminal.is_registered = terminal.is_authenticated = False
            self._answers.acknowledge(frame, AckResult.OK)

        event = RadioDeregistered(radio_id=terminal.radio)
        return self._ledger.owe(pay, [Report(event, None, terminal.mark(frame, now))])

    def _register(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        """The number in the header is what counts; the body only describes."""

        def pay() -> None:
            terminal.is_registered = True
            self._answers.register(frame, RegisterResult.OK)

        detail = None
        read = read_register(frame.body, frame.version)
        if read is not None:
            form, plate = read
            detail = _detail(
                maker=text(form.maker),
                model=text(form.model),
                terminal=text(form.terminal),
                plate=plate,
            )
        event = RadioRegistered(radio_id=terminal.radio, detail=detail)
        return self._ledger.owe(pay, [Report(event, None, terminal.mark(frame, now))])

    def _authenticate(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        """Log-on with a code; the first one of a conversation without 0100 registers the radio."""
        auth = read_auth(frame.body, frame.version)
        code = auth.code.encode(TEXT_ENCODING, "replace")
        if not self._options.accept_any_auth and code != self._answers.code_of(frame.phone):
            self._answers.acknowledge(frame, AckResult.FAILED)
            why = f"terminal {frame.phone} sent a wrong authentication code"
            return [reject("not_allowed", why, b"")]
        terminal.is_authenticated = True
        if terminal.is_registered:
            self._answers.acknowledge(frame, AckResult.OK)
            return [Heard(terminal.radio)]

        def pay() -> None:
            terminal.is_registered = True
            self._answers.acknowledge(frame, AckResult.OK)

        detail = _detail(imei=auth.imei, software=auth.software)
        event = RadioRegistered(radio_id=terminal.radio, detail=detail)
        return self._ledger.owe(pay, [Report(event, None, terminal.mark(frame, now))])

    def _position(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        reports = self._read(frame, terminal, now, frame.body, "unknown")
        return self._ledger.owe(lambda: self._answers.acknowledge(frame, AckResult.OK), reports)

    def _position_answer(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        """0201 is itself an answer: nobody waits for one to it."""
        serial, body = read_answered_position(frame.body)
        return [
            *self._read(frame, terminal, now, body, "request"),
            *self._questions.answered(frame.phone, serial, Message.POSITION_ANSWER),
        ]

    def _position_batch(self, frame: Frame, terminal: Terminal, now: Moment) -> Sequence[Output]:
        """Everything that is readable; the terminal would only send the rest the same again."""
        head, bodies = read_batch(frame.body)
        trigger: Trigger = "stored" if head.kind == BATCH_STORED else "time"
        reports: list[Report] = []
        refused: list[Output] = []
        if len(bodies) < head.count:
            detail = f"0704: {len(bodies)} of {head.count} positions are whole"
            refused.append(reject("length", detail, frame.body))
        for body in bodies:
            try:
                reports += self._read(frame, terminal, now, body, trigger)
            except WireError as error:
                refused.append(reject("length", f"0704: {error}", body))
        if not reports:
            self._answers.acknowledge(frame, AckResult.WRONG if refused else AckResult.OK)
            return refused
        return [
            *self._ledger.owe(lambda: self._answers.acknowledge(frame, AckResult.OK), reports),
            *refused,
        ]

    def _read(
        self, frame: Frame, terminal: Terminal, now: Moment, body: bytes, trigger: Trigger
    ) -> list[Report]:
        """The reports of one position body, the emergency first; raises WireError.

        Only a report of this moment can say what is not going on: a batch tells of the past.
        """
        reading = self._reader.read(body, terminal.radio, trigger)
        position, fix, raised = reading
        doubt = self._doubt(terminal)
        alarms: list[Report] = []
        if raised:
            mark = mark_of_alarm(frame.serial, position, fix, now.at)
            stored_at = stored_at_of(position, fix)
            alarms = [
                Report(event, None, mark, stored_at=stored_at)
                for event in alarms_of(reading, doubt)
            ]
            terminal.alarmed(fix.fix_at)
            if "alarm" in raised and trigger in {"unknown", "time"}:
                fix = msgspec.structs.replace(fix, trigger="emergency")
        is_now = trigger in {"unknown", "request"} and not terminal.is_past(fix.fix_at)
        mark = mark_of_fix(frame.serial, position)
        if not is_now or doubt is not None:
            return [*alarms, Report(fix, None, mark)]
        return [*alarms, Report(fix, None, mark, reading.calm, reading.cleared)]

    def _doubt(self, terminal: Terminal) -> str | None:
        """Why an alarm of this terminal cannot be believed without asking; None where it can."""
        if not terminal.is_allowed:
            return "not on the allow list"
        if not self._options.accept_any_auth and not terminal.is_authenticated:
            return "not authenticated"
        return None


def _detail(**said: str) -> str | None:
    """What a terminal says of itself, for the technician; control characters are left out."""
    parts = []
    for name, value in said.items():
        shown = "".join(char for char in value if char.isprintable()).strip()
        if shown:
            parts.append(f"{name} {shown}")
    return ", ".join(parts)[:MAX_DETAIL] or None


EXAMPLE = """\
[[link]]
id = "handhelds"
transport = "tcp_server"
driver = "jt808"
listen = "127.0.0.1:10808"     # no port is standard; terminals are told address and port
allow = ["127.0.0.0/8"]        # the networks that terminals come from
silent_after_s = 180.0         # longer than the terminals' heartbeat

[link.options]
allow = ["013800138*"]         # the numbers of our own terminals, with * and ?
auth_code = ""                 # given to a terminal that registers; empty: its own number
accept_any_auth = true         # false: alarms of who does not know the code are not verified
utc_offset_h = 8.0             # the terminals' clock, hours east of UTC
encrypted_coordinates = "leave_out"  # or "take": positions with status bit 5, within China
vendor_sos = true              # the SOS key in item E7, as well as the standard's alarm bit
text_aloud = false             # true: terminals read texts out, and do not only display them
"""

DRIVER = Driver(
    name="jt808",
    title="JT/T 808 terminals: public-network handhelds, body-worn devices, vehicles",
    title_zh="JT/T 808 终端：公网对讲机、执法记录仪、车载终端",
    spec="JT/T 808-2011, JT/T 808-2013, JT/T 808-2019",
    transports=frozenset(
        {Transport.TCP_SERVER, Transport.TCP_CLIENT, Transport.UDP, Transport.REPLAY}
    ),
    options=Jt808Options,
    codec=Jt808Codec,
    max_frame=MAX_FRAME,
    has_receipts=True,
    commands=VERBS,
    explain=explain,
    grade="silver",
    handles=(
        Handles(
            "0100", "registration", "radio_registered; 8100 after it", "captured 4, published 15"
        ),
        Handles(
            "0102", "authentication", "radio_registered; 8001 after it", "captured 3, published 6"
        ),
        Handles("0002", "heartbeat", "8001 at once", "captured 1, published 9, constructed 1"),
        Handles(
            "0003", "logout", "radio_deregistered; 8001 after it", "published 1, constructed 1"
        ),
        Handles(
            "0200",
            "position",
            "position_fix; 8001 after it",
            "captured 48, published 47, constructed 2",
        ),
        Handles(
            "0200 alarm bit 0",
            "SOS key",
            "emergency_raised (alarm); 8001 after it clears the bit",
            "captured 1, published 25, constructed 2",
        ),
        Handles(
            "0200 alarm bits 29, 30",
            "collision, rollover",
            "emergency_raised (vehicle)",
            "specification",
        ),
        Handles("0201", "answer to a position query", "position_fix (request)", "published 5"),
        Handles(
            "0704",
            "batch of positions",
            "position_fix (stored, time); 8001 after all",
            "captured 5, published 5",
        ),
        Handles(
            "0200 item E7, bits 1 to 4",
            "SOS key of some makers' terminals",
            "emergency_raised (alarm)",
            "one source",
        ),
        Handles(
            "0200 items 01, 31; 56, D4, E4, EB",
            "mileage, satellites; battery of several makers",
            "fields of position_fix",
            "captured 52",
        ),
        Handles("0001", "general answer of a terminal", "ends a command", "published 5"),
        Handles("0104", "parameters of a terminal", "ends a check", "published 17"),
        Handles("0004", "what time is it", "8004, UTC", "published 1"),
        Handles("0109", "what time is it, vendors' form", "8109, UTC", "one source"),
        Handles("8201", "position query", "sent for locate", "published 2"),
        Handles("8202", "temporary tracking", "sent for track", "published 4"),
        Handles("8300", "text", "sent for text", "published 7"),
        Handles("8104", "query of all parameters", "sent for check", "published 3"),
        Handles("8203", "manual confirmation of an alarm", "sent to end it", "published 4"),
        Handles("split messages", "parts of one message", "as the whole message", "constructed 2"),
    ),
    refuses=(
        Handles("checksum", "the check byte does not fit"),
        Handles("length", "header, body and their lengths disagree"),
        Handles("encrypted", "the body is encrypted (RSA)"),
        Handles("noise", "bytes before the first delimiter"),
        Handles("unfinished", "a frame or split message of which the rest did not come"),
        Handles("overrun", f"no delimiter within {MAX_FRAME} bytes, or too many parts"),
        Handles("not_allowed", "a number outside the allow list, or a wrong code"),
        Handles("other messages", "media, properties, driver cards", "8001 unsupported"),
    ),
    wiring=(
        "Nothing to wire: terminals come over the mobile network by TCP or UDP. Address, port and "
        "number are set in the terminal (parameters 0013 and 0018)."
    ),
    example=EXAMPLE,
)
