"""MOTOTRBO texts (TMS), UDP port 4007: short messages both ways, acknowledged by their number.

A text that asks for it is acknowledged when it is on disk; the radio repeats it until then. A text
of ours is delivered when the radio acknowledges its number.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from drivers.api import (
    Command,
    Driver,
    Handles,
    Heard,
    Moment,
    Output,
    Reject,
    Report,
    Transport,
    Verb,
)
from drivers.motorola.peer import RADIO_NETWORKS, MotoOptions
from drivers.motorola.service import RadioService, heard_on, refused
from drivers.wire import Field, WireError
from gateway.model.events import TextReceived

PORT = 4007  # of the radios
MAX_FRAME = 2048  # bytes
MAX_BODY = 500  # characters of a text of ours; what radios take is not public
LENGTH_BYTES, HEAD_BYTES = 2, 4  # length; length, header and the address's length
MORE, ACKNOWLEDGE, RESERVED, CONTROL, TYPE = 0x80, 0x40, 0x20, 0x10, 0x0F
TEXT, ACK = 0x0, 0xF
LOW, HIGH, ENCODING = 0x1F, 0x60, 0x1F  # of the number: bits 0-4, and in the next byte 5-6
NUMBERS = 128
UCS2 = 4
BLANK_SUBJECT = "\r\n"  # stands before the text of every radio


class TmsOptions(MotoOptions, frozen=True, kw_only=True):
    """Options of a link with this driver."""


class Message(NamedTuple):
    """One datagram. ``number`` is None where it has none."""

    header: int
    address: bytes
    number: int | None = None
    encoding: int | None = None
    content: bytes = b""

    @property
    def kind(self) -> int:
        """Its type: text or availability, or acknowledgement."""
        return self.header & TYPE

    @property
    def is_text(self) -> bool:
        """True for a text; availability has the same type and the control bit."""
        return self.kind == TEXT and not self.header & CONTROL

    @property
    def is_ack(self) -> bool:
        """True for an acknowledgement."""
        return self.kind == ACK


def read_message(data: bytes) -> Message:
    """Take a datagram apart; raises WireError where it does not fit."""
    if len(data) < HEAD_BYTES:
        raise WireError(f"TMS: {len(data)} bytes, needs {HEAD_BYTES}")
    declared, there = int.from_bytes(data[:LENGTH_BYTES], "big"), len(data) - LENGTH_BYTES
    if declared != there:
        raise WireError(f"TMS: length {declared}, and {there} bytes are there")
    header, at = data[2], HEAD_BYTES + data[3]
    if at > len(data):
        raise WireError("TMS: the address is cut")
    message = Message(header, data[HEAD_BYTES:at])
    if not header & MORE or not (message.is_text or message.is_ack):
        return message._replace(content=data[at:])
    if at == len(data):
        raise WireError("TMS: the number is missing")
    number, encoding = data[at] & LOW, None
    if data[at] & MORE:
        at += 1
        if at == len(data):
            raise WireError("TMS: the second byte of the number is missing")
        number, encoding = number | data[at] & HIGH, data[at] & ENCODING
    return message._replace(number=number, encoding=encoding, content=data[at + 1 :])


def pack(header: int, number: int | None = None, encoding: int = 0, content: bytes = b"") -> bytes:
    """A datagram without an address."""
    body = bytes((header, 0))
    if number is not None:
        body += bytes((MORE | number & LOW, number & HIGH | encoding)) + content
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def acknowledgement(message: Message) -> bytes:
    """The answer to a message: with its number where it has one."""
    header = CONTROL | ACK | (0 if message.number is None else MORE)
    return pack(header, message.number)


class TmsCodec(RadioService[TmsOptions]):
    """One radio; see the module's docstring."""

    def __init__(self, options: TmsOptions, link_id: str) -> None:
        super().__init__(options, link_id)
        self._numbers = itertools.cycle(range(NUMBERS))

    def _read(self, data: bytes, now: Moment) -> Sequence[Output]:
        message = read_message(data)
        if message.is_text:
            return self._text(message, data, now)
        heard = Heard(self._radio)
        if message.is_ack and message.number is not None:
            return [heard, *self._asks.answered(message.number)]
        if not message.is_ack and message.header & ACKNOWLEDGE:
            self._out.append(acknowledgement(message))  # availability: there is nothing to store
        return [heard]

    def _ask(self, command: Command, now: Moment) -> Sequence[Output]:
        """A text to the radio."""
        if len(command.body) > MAX_BODY:
            return refused(
                command, f"the text has {len(command.body)} characters, at most {MAX_BODY}"
            )
        number = next(each for each in self._numbers if not self._asks.sends(each))
        content = (BLANK_SUBJECT + command.body).encode("utf-16-le", "replace")
        frame = pack(MORE | ACKNOWLEDGE | RESERVED, number, UCS2, content)
        return self._question(number, frame, command, now)

    def _text(self, message: Message, data: bytes, now: Moment) -> Sequence[Output]:
        if message.encoding != UCS2:
            why = f"TMS: a text in encoding {message.encoding}"
            return [Reject("unsupported", why, data)]
        body = message.content.decode("utf-16-le", "replace").removeprefix(BLANK_SUBJECT)
        wants_ack = bool(message.header & ACKNOWLEDGE)
        receipt = self._receipts.owe(acknowledgement(message)) if wants_ack else None
        event = TextReceived(radio_id=self._radio, body=body)
        return [Report(event, receipt, self._recent.mark(data, now))]


def explain(data: bytes) -> Sequence[Field]:
    """The fields of one datagram."""
    rows = [Field("0-1", data[:2].hex(), "length", str(int.from_bytes(data[:2], "big")))]
    try:
        message = read_message(data)
    except WireError as error:
        return [*rows, Field("-", data.hex(), "message", "", str(error))]
    kind = "acknowledgement" if message.is_ack else "text" if message.is_text else "availability"
    flags = ((MORE, "more"), (ACKNOWLEDGE, "acknowledge"), (CONTROL, "control"))
    said = [name for bit, name in flags if message.header & bit]
    rows.append(Field("2", data[2:3].hex(), "header", " ".join([kind, *said])))
    rows.append(Field("3", data[3:4].hex(), "length of the address", str(len(message.address))))
    if message.address:
        rows.append(Field("4", message.address.hex(), "address"))
    if message.number is not None:
        rows.append(Field("", "", "number", str(message.number)))
    if message.encoding is not None:
        rows.append(Field("", "", "encoding", str(message.encoding)))
    if message.content:
        is_ucs2 = message.is_text and message.encoding == UCS2
        text = repr(message.content.decode("utf-16-le", "replace")) if is_ucs2 else ""
        rows.append(Field("", message.content.hex(), "content", text))
    return rows


EXAMPLE = """\
[[link]]
id = "mototrbo-tms"
transport = "udp"
driver = "moto_tms"
listen = "192.168.10.2:4007"     # this computer's address on the control station's USB network
allow = ["12.0.0.0/8"]           # the radios
peer_idle_s = 14400.0            # longer than a registration holds
silent_after_s = 7200.0          # radios that have nothing to say are silent for hours

[link.options]
radio_network = 12               # the first octet of the radios' addresses
"""

DRIVER = Driver(
    name="moto_tms",
    title="MOTOTRBO texts (TMS)",
    title_zh="摩托罗拉 MOTOTRBO 短信（TMS）",
    spec="TMS, from published implementations and their samples",
    transports=frozenset({Transport.UDP, Transport.REPLAY}),
    options=TmsOptions,
    codec=TmsCodec,
    max_frame=MAX_FRAME,
    networks=RADIO_NETWORKS,
    has_receipts=True,
    commands=frozenset({Verb.TEXT}),
    explain=explain,
    place_of=heard_on(PORT),
    grade="silver",
    handles=(
        Handles("0 text", "in UCS-2", "text; acknowledged when it is on disk", "published 2"),
        Handles("F acknowledgement", "our text has come", "outcome", "published 2"),
        Handles("0 availability", "the radio takes texts", "alive; acknowledged", "published 1"),
    ),
    refuses=(
        Handles("layout", "a length or a number that does not fit"),
        Handles("unsupported", "a text in another encoding than UCS-2"),
    ),
    wiring=(
        "A control-station radio on USB (its network 192.168.10.0/24) or a repeater's network; "
        "route 12.0.0.0/8 to the control station. The radios' TMS address is this computer."
    ),
    example=EXAMPLE,
)
