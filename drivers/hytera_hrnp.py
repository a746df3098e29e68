"""Hytera HRNP: a control-station radio on a serial line, or on UDP over its USB network.

The radio is connected to (CONNECT, ACCEPT), asked who it is, and told to report calls and status
changes. Its DATA packets carry HDAP messages. A packet that carries something to store is
acknowledged when all of it is on disk, any other at once; one that could not be read is not
acknowledged, so that the radio sends it again.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple
from zlib import crc32

import msgspec

from drivers.api import CodecOptions, Driver, Handles, Moment, Output, Reject, Report, Transport
from drivers.hytera_hdap import HdapError, Message, read_messages
from drivers.hytera_hrnp_frames import MAX_FRAME, Frame, FrameScanner, Opcode
from drivers.hytera_hrnp_host import HostSide
from drivers.hytera_reports import HDAP_HANDLES, HDAP_REFUSES, HdapReader, Mark, NumberSpace
from gateway.model.identity import parse_radio_id
from gateway.model.quantities import Instant

FRAME_GAP_S = 1.0  # an unfinished packet after which so long nothing comes is given up
RESENT_WITHIN_S = 30.0  # the same number with the same bytes so soon after is the packet again
RECENT_KEPT = 64  # packet numbers remembered for that
UNSTORED_KEPT = 1024  # reports that wait for the disk; beyond that the oldest is not acknowledged


class HrnpOptions(CodecOptions, frozen=True, kw_only=True):
    """Options of a link with this driver.

    ``connect``: we connect to the radio; false where the peer connects to us. ``number_space``: how
    24-bit addresses are named, ``dmr`` as decimal numbers, ``pdt`` as 8-digit numbers of the PDT
    plan. ``own_radio_id``: the connected radio itself, such as ``dmr:1001``; asked for when empty.
    ``registration_validity_s``: for how long a registration is granted, in seconds.
    """

    connect: bool = True
    number_space: NumberSpace = "dmr"
    own_radio_id: str = ""
    registration_validity_s: Annotated[int, msgspec.Meta(ge=1, le=65_534)] = 300

    def __post_init__(self) -> None:
        """Refuse an own radio id that is none."""
        if self.own_radio_id:
            parse_radio_id(self.own_radio_id)


class Recent(NamedTuple):
    """A DATA packet of the last while, to know it when it comes again."""

    payload: bytes
    first_at: Instant
    heard_at: float


class Unstored:
    """A DATA packet whose reports are not all on disk yet, and what answers it then."""

    __slots__ = ("answers", "frame", "left")

    def __init__(self, frame: Frame, answers: Sequence[Message], left: int) -> None:
        self.frame = frame
        self.answers = answers
        self.left = left


class HrnpCodec:
    """One HRNP conversation; see the module's docstring."""

    def __init__(self, options: HrnpOptions, link_id: str) -> None:
        own = parse_radio_id(options.own_radio_id) if options.own_radio_id else None
        self._reader = HdapReader(
            link_id=link_id,
            number_space=options.number_space,
            own_radio_id=own,
            registration_validity_s=options.registration_validity_s,
        )
        self._host = HostSide(wants_connection=options.connect)
        self._scanner = FrameScanner()
        self._gap_due: float | None = None
        self._recent: dict[int, Recent] = {}
        self._unstored: dict[int, Unstored] = {}
        self._next_receipt = 1
        self._out: list[bytes] = []

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Take bytes: any part of a serial stream, or one datagram."""
        self._host.moment(now)
        outputs = self._take(self._scanner.feed(data), now)
        self._gap_due = now.mono + FRAME_GAP_S if self._scanner.is_waiting else None
        return outputs

    def flush(self, now: Moment) -> Sequence[Output]:
        """Give up an unfinished packet, and find those behind its false beginning."""
        self._gap_due = None
        return self._take(self._scanner.give_up(), now)

    def accept(self, receipt: int) -> None:
        """A report is on disk; its packet is acknowledged when it was the last one."""
        unstored = self._unstored.pop(receipt, None)
        if unstored is None:
            return
        unstored.left -= 1
        if unstored.left == 0:
            self._acknowledge(unstored.frame, unstored.answers)

    def outgoing(self) -> Sequence[bytes]:
        """Packets to write now."""
        out, self._out = [*self._host.outgoing(), *self._out], []
        return out

    def next_deadline(self) -> float | None:
        """The conversation's next one, or the end of an unfinished packet."""
        deadlines = [due for due in (self._host.next_deadline(), self._gap_due) if due is not None]
        return min(deadlines, default=None)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Connect, send again, ask again; give up an unfinished packet."""
        outputs = list(self._host.expire(now))
        if self._gap_due is not None and self._gap_due <= now.mono:
            outputs += self.flush(now)
        return outputs

    def _take(self, found: Sequence[Frame | Reject], now: Moment) -> list[Output]:
        outputs: list[Output] = []
        for each in found:
            if isinstance(each, Reject):
                outputs.append(each)
                continue
            self._host.heard(each, now)
            if each.opcode == Opcode.DATA:
                outputs += self._data(each, now)
            else:
                outputs += self._control(each, now)
        return outputs

    def _control(self, frame: Frame, now: Moment) -> list[Output]:
        """Everything that is not DATA; voice and opcodes that nobody knows are passed over."""
        if frame.opcode == Opcode.ACCEPT:
            self._recent.clear()  # the radio counts its packets anew
            self._host.accepted(frame, now)
        elif frame.opcode == Opcode.REJECT:
            return [self._host.refused(now)]
        elif frame.opcode == Opcode.DATA_ACK:
            self._host.acknowledged(frame.number)
        elif frame.opcode == Opcode.CONNECT:
            self._recent.clear()
            self._out.append(frame.answer(Opcode.ACCEPT).pack())
        elif frame.opcode == Opcode.CLOSE:
            self._out.append(frame.answer(Opcode.CLOSE_ACK).pack())
            self._host.closed(now)
        return []

    def _data(self, frame: Frame, now: Moment) -> list[Output]:
        outputs: list[Output] = []
        answers: list[Message] = []
        first_at = self._first_heard(frame, now)
        is_read = True
        try:
            for index, message in enumerate(read_messages(frame.payload)):
                sent = f"{frame.number:04X}/{index} {message} {crc32(message.payload):08X}"
                reading = self._reader.read(message, now, Mark(sent, first_at))
                outputs += reading.outputs
                answers += reading.answers
                is_read = is_read and not any(isinstance(o, Reject) for o in reading.outputs)
                outputs += self._host.replied(message)
        except HdapError as error:
            outputs.append(Reject(error.reason, str(error), frame.payload))
            is_read = False
        return self._with_receipts(frame, outputs, answers) if is_read else outputs

    def _with_receipts(
        self, frame: Frame, outputs: list[Output], answers: list[Message]
    ) -> list[Output]:
        """Every report of the packet gets a receipt of its own; the last one brings the answer."""
        reports = sum(isinstance(output, Report) for output in outputs)
        if not reports:
            self._acknowledge(frame, answers)
            return outputs
        unstored = Unstored(frame, answers, reports)
        for index, output in enumerate(outputs):
            if isinstance(output, Report):
                receipt = self._next_receipt
                self._next_receipt += 1
                self._unstored[receipt] = unstored
                outputs[index] = Report(output.event, receipt, output.same_as)
        while len(self._unstored) > UNSTORED_KEPT:
            del self._unstored[next(iter(self._unstored))]
        return outputs

    def _acknowledge(self, frame: Frame, answers: Sequence[Message]) -> None:
        self._out.append(frame.answer(Opcode.DATA_ACK).pack())
        for answer in answers:
            number = self._host.next_number()
            self._out.append(frame.answer(Opcode.DATA, number=number, payload=answer.pack()).pack())

    def _first_heard(self, frame: Frame, now: Moment) -> Instant:
        """When this packet was heard first: now, unless it is one of the last ones again."""
        first_at = now.at
        known = self._recent.pop(frame.number, None)
        if known is not None and known.payload == frame.payload:
            if now.mono - known.heard_at <= RESENT_WITHIN_S:
                first_at = known.first_at
        elif len(self._recent) >= RECENT_KEPT:
            del self._recent[next(iter(self._recent))]
        self._recent[frame.number] = Recent(frame.payload, first_at, now.mono)
        return first_at


DRIVER = Driver(
    name="hytera_hrnp",
    title="Hytera control station (HRNP)",
    title_zh="海能达固定台、车载台数据口（HRNP）",
    spec="Hytera HRNP 4 with HDAP, from published captures and implementations",
    transports=frozenset({Transport.SERIAL, Transport.UDP, Transport.REPLAY}),
    options=HrnpOptions,
    codec=HrnpCodec,
    max_frame=MAX_FRAME,
    has_receipts=True,
    speaks_first=True,
    grade="silver",
    handles=(
        Handles("CONNECT, ACCEPT", "the connection", "sent, answered", "published 4"),
        Handles("REJECT, CLOSE", "no connection any more", "tried again", "one source"),
        Handles("DATA, DATA_ACK", "HDAP messages, their receipt", "see below", "published 16"),
        *HDAP_HANDLES,
    ),
    refuses=(Handles("VOICE", "RTP voice", "passed over", "one source"), *HDAP_REFUSES),
    serial_baud=115_200,
    wiring=(
        "Accessory or programming UART of the radio, 115200 8N1; or the radio's USB network "
        "(radio 192.168.10.1, this computer 192.168.10.2), UDP port 3005"
    ),
    example="""\
[[link]]
id = "station-1"
transport = "udp"
driver = "hytera_hrnp"
listen = "192.168.10.2:3005"
remote = "192.168.10.1:3005"
allow = ["192.168.10.1/32"]

[link.options]
connect = true
number_space = "dmr"            # or "pdt": 8-digit numbers of the PDT plan
own_radio_id = ""               # asked for; or written, such as "dmr:1001"
registration_validity_s = 300   # seconds until a radio must register again
""",
)
