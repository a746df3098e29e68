"""TETRA radio on its peripheral equipment interface (EN 300 392-5): AT commands on a serial line.

The radio hands over the short messages that its user would get: statuses, texts and places (LIP) of
other radios, and calls. It does so for the services that were asked for, and forgets them when it
restarts. An emergency is status 0000, a place with the reason "emergency", or a call of priority
15. The lines have no check: a damaged digit is a digit.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

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
    Verb,
)
from drivers.tetra.at import OK, AtPort
from drivers.tetra.explain import explain
from drivers.tetra.lines import (
    MAX_LINE,
    SDS_TYPE_4,
    STATUS,
    Header,
    Line,
    Lines,
    check_length,
    identity,
    octets,
    read_header,
    read_own_position,
)
from drivers.tetra.lip import (
    REASON_EMERGENCY,
    REASON_POWER_OFF,
    Bits,
    Location,
    read_location,
)
from drivers.tetra.sds import (
    DONE,
    FAILED,
    LIP,
    REPORT,
    SIMPLE_TEXTS,
    STATUS_CLASS,
    TEXTS,
    TRANSFER,
    TransportHeader,
    pack_text,
    read_text,
    read_transport,
)
from drivers.wire import WireError
from gateway.model.events import (
    EmergencyEnded,
    EmergencyRaised,
    PositionFix,
    RadioDeregistered,
    StatusReceived,
    TextReceived,
    Trigger,
)
from gateway.model.identity import RadioId, radio_id
from gateway.model.quantities import kmh_to_mps

EMERGENCY_STATUS = 0x0000
STATUS_BITS = 16
EMERGENCY_PRIORITY = 15
CALL_FIELDS, CALLING, CALLED, PRIORITY = 13, 4, 11, 12  # of +CTICN
TALKER_FIELDS, TALKER = 6, 5  # of +CTXG
MOST_CALLS = 16  # emergency calls whose end is waited for
MOST_UNSTORED = 1024  # texts that wait for the disk; beyond that the oldest is not reported
MOST_ORDERS = 32  # texts under way
REFERENCES = 256
SDS_TL = b"AT+CTSDS=12,0,0,0,1\r\n"  # what is sent next is a message with a transport header
NO_SENDER = "the message names no radio"
CUT_LAYOUT = "the report has a part whose layout is not known"

TRIGGERS: dict[int | None, Trigger] = {
    0: "power_on",
    REASON_EMERGENCY: "emergency",
    32: "request",
    129: "time",
    130: "distance",
}

Service = Annotated[str, msgspec.Meta(pattern=r"^[0-3],[0-9],[0-9]{1,3}$")]


class TetraPeiOptions(CodecOptions, frozen=True, kw_only=True):
    """Options of a link with this driver.

    ``services``: what the radio is asked to hand over, each as ``AT+CTSP`` wants it: profile (1:
    to us alone, 2: to us and to the radio's own display), layer and service.
    """

    services: tuple[Service, ...] = ("2,2,20", "1,3,10", "1,3,130", "1,3,137")


class Order(NamedTuple):
    """A text on its way."""

    order: int
    radio: RadioId
    until_mono: float


class TetraPeiCodec:
    """One radio on a line; see the module's docstring."""

    def __init__(self, options: TetraPeiOptions, link_id: str) -> None:
        self._own_radio = radio_id("receiver", link_id)
        self._port = AtPort(options.services)
        self._lines = Lines()
        self._receipts = itertools.count(1)
        self._unstored: dict[int, tuple[RadioId, TransportHeader]] = {}
        self._calls: dict[str, RadioId] = {}  # emergency calls going on, by the radio's number
        self._references = itertools.count(1)
        self._orders: dict[int, Order] = {}  # by message reference
        self._words: dict[str, Callable[[str, Moment], Sequence[Output]]] = {
            "+CTICN": self._call,
            "+CTXG": self._talker,
            "+CTCR": self._call_ended,
            "+GPSPOS": self._own_position,
        }

    # --- what the session calls -------------------------------------------------------------------

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Take bytes."""
        self._port.moment(now)
        return self._read(self._lines.feed(data), now)

    def flush(self, now: Moment) -> Sequence[Output]:
        """The line fell silent: what is complete but for its line end is taken."""
        self._port.moment(now)
        return self._read(self._lines.finish(), now)

    def accept(self, receipt: int) -> None:
        """A text is on disk: its sender is told that it has come."""
        waiting = self._unstored.pop(receipt, None)
        if waiting is not None:
            sender, text = waiting
            self._post(sender, text.report(), lambda _why: ())

    def outgoing(self) -> Sequence[bytes]:
        """Commands to write now."""
        return self._port.outgoing()

    def next_deadline(self) -> float | None:
        """When the radio must have answered, or is asked again."""
        return self._port.next_deadline()

    def expire(self, now: Moment) -> Sequence[Output]:
        """Keep the conversation alive; texts that nobody waits for are forgotten."""
        self._forget_late(now)
        return self._port.expire(now)

    def send(self, command: Command, now: Moment) -> Sequence[Output]:
        """A text to a radio; it counts as delivered when the radio reports that it has it."""
        self._port.moment(now)
        self._forget_late(now)
        space, _, number = command.radio_id.partition(":")
        if space != "tetra" or not number.isdecimal():
            return [Outcome(command.order, "refused", f"{command.radio_id} is no TETRA radio")]
        if len(self._orders) >= MOST_ORDERS:
            return [Outcome(command.order, "refused", "too many texts are under way")]
        reference = next(each % REFERENCES for each in self._references)
        while reference in self._orders:
            reference = next(each % REFERENCES for each in self._references)
        message = pack_text(command.body, reference)
        if message is None:
            return [Outcome(command.order, "refused", "the text is too long for one message")]
        self._orders[reference] = Order(command.order, command.radio_id, command.until_mono)
        if not self._post(command.radio_id, message, lambda why: self._sent(reference, why)):
            del self._orders[reference]
            return [Outcome(command.order, "refused", "the line is busy")]
        return ()

    # --- lines ------------------------------------------------------------------------------------

    def _read(self, found: Sequence[Line | Reject], now: Moment) -> Sequence[Output]:
        outputs: list[Output] = []
        for item in found:
            if isinstance(item, Reject):
                outputs.append(item)
                continue
            try:
                outputs += self._line(item, now)
            except WireError as error:
                data = f"{item.word}: {item.body} {item.digits}".encode()
                outputs.append(Reject("layout", str(error), data))
        return outputs

    def _line(self, line: Line, now: Moment) -> Sequence[Output]:
        if line.digits:
            return self._message(read_header(line.body), line.digits, now)
        word = self._words.get(line.word)
        if word is not None:
            return word(line.body, now)
        if line.word in {OK, "ERROR"} or line.word.startswith("+CME ERROR"):
            return self._port.answered(line.word)
        return ()  # an echo, a prompt, or something that is not for us

    def _message(self, header: Header, digits: str, now: Moment) -> Sequence[Output]:
        check_length(digits, header.bits)
        if header.is_encrypted:
            return [Reject("encrypted", f"{header.sender}: encrypted end to end")]
        if header.service == STATUS:
            return self._status(header, digits)
        if header.service == SDS_TYPE_4 and header.bits >= 8:  # noqa: PLR2004 - an octet
            return self._sds(header, digits, now)
        return self._alive(header.sender)

    def _status(self, header: Header, digits: str) -> Sequence[Output]:
        if header.bits != STATUS_BITS:
            raise WireError(f"a status of {header.bits} bits")
        code = digits[:4]
        if int(code, 16) != EMERGENCY_STATUS:
            if header.sender is None:
                return [Reject("no_sender", f"status {code}: {NO_SENDER}")]
            status = StatusReceived(radio_id=header.sender, code=code, talkgroup_id=header.to)
            return [Report(status)]
        return [Report(self._alarm(header, f"status {code}"))]

    def _sds(self, header: Header, digits: str, now: Moment) -> Sequence[Output]:
        data = octets(digits, header.bits)
        identifier = data[0]
        if identifier == LIP:
            bits = Bits(int(digits, 16) >> (len(digits) * 4 - header.bits), header.bits)
            bits.take(8, "protocol identifier")
            return self._location(header, read_location(bits), now)
        if identifier in SIMPLE_TEXTS:
            return self._text(header, data[1:], None)
        if identifier in TEXTS:
            transport = read_transport(data)
            if transport.kind == TRANSFER:
                return self._text(header, transport.content, transport)
            if transport.kind == REPORT:
                return self._reported(header, transport)
        return self._alive(header.sender)  # unknown is not invalid

    def _alive(self, sender: RadioId | None) -> Sequence[Output]:
        return () if sender is None else [Heard(sender)]

    def _alarm(
        self, header: Header, raw_code: str, place: PositionFix | None = None, doubt: str = ""
    ) -> EmergencyRaised:
        doubt = doubt if header.sender is not None else NO_SENDER
        return EmergencyRaised(
            radio_id=header.sender or self._own_radio,
            kind="alarm",
            raw_code=raw_code,
            talkgroup_id=header.to,
            fix=place.place() if place is not None else None,
            is_drill=False,
            verified=not doubt,
            doubt=doubt or None,
        )

    # --- places -----------------------------------------------------------------------------------

    def _location(self, header: Header, location: Location | None, now: Moment) -> Sequence[Output]:
        if location is None:
            return self._alive(header.sender)
        fix = _fix(header.sender or self._own_radio, location, now)
        reports: list[Output] = []
        if location.reason == REASON_EMERGENCY:
            doubt = "" if location.is_whole else CUT_LAYOUT
            reports.append(Report(self._alarm(header, "LIP reason 2", fix, doubt)))
        if header.sender is None:
            return [*reports, Reject("no_sender", f"LIP: {NO_SENDER}")]
        reports.append(Report(fix))
        if location.reason == REASON_POWER_OFF:
            reports.append(Report(RadioDeregistered(radio_id=fix.radio_id, detail="power off")))
        return reports

    def _own_position(self, body: str, now: Moment) -> Sequence[Output]:
        lat_deg, lon_deg, fix_at, satellites = read_own_position(body, now.at)
        return [
            Report(
                PositionFix(
                    radio_id=self._own_radio,
                    fix_valid=True,
                    lat_deg=lat_deg,
                    lon_deg=lon_deg,
                    fix_at=fix_at,
                    satellites=satellites,
                    trigger="unknown",
                )
            )
        ]

    # --- texts ------------------------------------------------------------------------------------

    def _text(
        self, header: Header, content: bytes, transfer: TransportHeader | None
    ) -> Sequence[Output]:
        body = read_text(content)
        if header.sender is None:
            return [Reject("no_sender", f"text: {NO_SENDER}")]
        receipt = None
        if transfer is not None and transfer.wants_report:
            receipt = next(self._receipts)
            self._unstored[receipt] = (header.sender, transfer)
            while len(self._unstored) > MOST_UNSTORED:
                del self._unstored[next(iter(self._unstored))]
        return [Report(TextReceived(radio_id=header.sender, body=body, to=header.to), receipt)]

    def _reported(self, header: Header, report: TransportHeader) -> Sequence[Output]:
        """What became of a text of ours."""
        if header.sender is None:
            return ()
        if report.wants_ack:
            self._post(header.sender, report.acknowledgement(), lambda _why: ())
        order = self._orders.get(report.reference)
        status = report.status & STATUS_CLASS
        heard: list[Output] = [Heard(header.sender)]
        if order is None or order.radio != header.sender or status not in {DONE, FAILED}:
            return heard
        del self._orders[report.reference]
        if status == DONE:
            return [*heard, Outcome(order.order, "delivered")]
        why = f"delivery status {report.status:02X}"
        return [*heard, Outcome(order.order, "refused", why)]

    def _sent(self, reference: int, why: str) -> Sequence[Output]:
        """The radio took a text of ours for sending, or did not."""
        if not why:
            return ()
        order = self._orders.pop(reference, None)
        return () if order is None else [Outcome(order.order, "refused", f"the radio says {why}")]

    def _post(
        self, radio: RadioId, message: bytes, done: Callable[[str], Sequence[Output]]
    ) -> bool:
        number = radio.partition(":")[2]
        head = f"AT+CMGS={number},{len(message) * 8}\r\n"
        return self._port.ask((SDS_TL, f"{head}{message.hex().upper()}\x1a".encode()), done)

    def _forget_late(self, now: Moment) -> None:
        late = [key for key, order in self._orders.items() if order.until_mono <= now.mono]
        for reference in late:
            del self._orders[reference]

    # --- calls ------------------------------------------------------------------------------------

    def _call(self, body: str, now: Moment) -> Sequence[Output]:
        del now
        fields = [field.strip() for field in body.split(",")]
        if len(fields) < CALL_FIELDS:
            raise WireError(f"+CTICN: {len(fields)} fields, needs {CALL_FIELDS}")
        caller, called = identity(fields[CALLING]), identity(fields[CALLED])
        if not fields[PRIORITY].isdecimal() or int(fields[PRIORITY]) != EMERGENCY_PRIORITY:
            return self._alive(caller)
        radio = caller or self._own_radio
        if len(self._calls) >= MOST_CALLS:
            del self._calls[next(iter(self._calls))]
        self._calls[fields[0]] = radio
        return [
            Report(
                EmergencyRaised(
                    radio_id=radio,
                    kind="call",
                    raw_code=f"call priority {EMERGENCY_PRIORITY}",
                    talkgroup_id=called,
                    is_drill=False,
                    verified=caller is not None,
                    doubt=None if caller is not None else NO_SENDER,
                )
            )
        ]

    def _talker(self, body: str, now: Moment) -> Sequence[Output]:
        del now
        fields = [field.strip() for field in body.split(",")]
        return self._alive(identity(fields[TALKER])) if len(fields) >= TALKER_FIELDS else ()

    def _call_ended(self, body: str, now: Moment) -> Sequence[Output]:
        del now
        radio = self._calls.pop(body.partition(",")[0].strip(), None)
        if radio is None:
            return ()
        return [Report(EmergencyEnded(radio_id=radio, kind="call", raw_code="call released"))]


def _fix(radio: RadioId, location: Location, now: Moment) -> PositionFix:
    """A place that the radio has now; a lost one has no coordinates, an old one is the last known.

    The age of a short report is a class ("under 5 min"), no time: its ``fix_at`` is left out.
    """
    trigger = TRIGGERS.get(location.reason, "unknown")
    clock = location.clock
    fix_at = clock.newest(now.at) if clock is not None else None
    if not location.has_place:
        return PositionFix(radio_id=radio, fix_valid=False, fix_at=fix_at, trigger=trigger)
    speed_kmh = location.speed_kmh
    return PositionFix(
        radio_id=radio,
        fix_valid=location.is_place_now,
        lat_deg=location.lat_deg,
        lon_deg=location.lon_deg,
        fix_at=fix_at,
        altitude_m=location.altitude_m,
        speed_mps=kmh_to_mps(speed_kmh) if speed_kmh is not None else None,
        course_deg=location.course_deg,
        accuracy_m=location.accuracy_m,
        trigger=trigger,
    )


EXAMPLE = """\
[[link]]
id = "tetra-1"
transport = "serial"
driver = "tetra_pei"
port = "/dev/serial/by-id/usb-FTDI_TETRA_PEI-if00-port0"
baud = 38400             # 9600 to 38400, as it is programmed in the radio
silent_after_s = 30.0    # the radio is asked every 10 s whether it is there

[link.options]
services = ["2,2,20", "1,3,10", "1,3,130", "1,3,137"]  # status, places, texts, immediate texts
"""

DRIVER = Driver(
    name="tetra_pei",
    title="TETRA radio on its peripheral equipment interface",
    title_zh="TETRA 电台外设接口（PEI）",
    spec="EN 300 392-5 (PEI), EN 300 392-2 (SDS-TL), TS 100 392-18-1 (LIP)",
    transports=frozenset({Transport.SERIAL, Transport.TCP_CLIENT, Transport.REPLAY}),
    options=TetraPeiOptions,
    codec=TetraPeiCodec,
    max_frame=MAX_LINE,
    has_receipts=True,
    speaks_first=True,
    commands=frozenset({Verb.TEXT}),
    explain=explain,
    grade="silver",
    serial_baud=38400,
    handles=(
        Handles("+CTSDSR 13, 0000", "emergency status", "emergency_raised", "specification"),
        Handles("+CTSDSR 13", "status", "status", "published 1"),
        Handles(
            "+CTSDSR 12, 0A short",
            "LIP",
            "position_fix, emergency_raised",
            "captured 6, published 4",
        ),
        Handles(
            "+CTSDSR 12, 0A long",
            "LIP",
            "position_fix, emergency_raised",
            "captured 6, published 3",
        ),
        Handles("+CTSDSR 12, 02 and 09", "text", "text", "published 3"),
        Handles("+CTSDSR 12, 82 and 89", "text", "text; report when it is on disk", "published 6"),
        Handles("+CTSDSR 12, 82 report", "our text has come", "outcome", "published 4"),
        Handles("+CTICN", "call; priority 15", "emergency_raised of kind call", "published 1"),
        Handles("+CTCR", "call released", "emergency_ended", "one source"),
        Handles("+CTXG", "who talks", "alive", "published 1"),
        Handles("+GPSPOS", "own position", "position_fix", "published 1"),
        Handles("OK, ERROR, +CME ERROR", "answers to our commands", "", "one source"),
    ),
    refuses=(
        Handles("layout", "fields, digits or bits that do not fit"),
        Handles("unfinished", "a message header without its digits"),
        Handles("encrypted", "a message that is encrypted end to end"),
        Handles("no_sender", "nobody, or no TETRA number, sent it; an alarm is shown"),
        Handles("noise", "a line that is not text"),
        Handles("overrun", f"the head of a line longer than {MAX_LINE} bytes"),
        Handles("refused", "the radio does not grant a service"),
        Handles("unanswered", "the radio does not answer a command"),
    ),
    wiring=(
        "RS-232 or USB on the radio's accessory connector, 8N1, with the vendor's PEI cable. PEI "
        "must be switched on in the radio's programming."
    ),
    example=EXAMPLE,
)
