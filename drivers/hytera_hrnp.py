"""Hytera HRNP: a control-station radio on a serial line, or on UDP over its USB network.

The radio is connected to (CONNECT, ACCEPT), asked who it is, and told to report calls and status
changes. Its DATA packets carry HDAP messages. A packet that carries something to store is
acknowledged when all of it is on disk, any other at once; one that could not be read is not
acknowledged, so that the radio sends it again.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import msgspec

from drivers.api import (
    CodecOptions,
    Command,
    Driver,
    Handles,
    Moment,
    Outcome,
    Output,
    Reject,
    Transport,
)
from drivers.hytera.explain import explain_hrnp
from drivers.hytera.handles import HDAP_HANDLES, HDAP_REFUSES
from drivers.hytera.hdap import Message
from drivers.hytera.hrnp_frames import MAX_FRAME, Frame, FrameScanner, Opcode
from drivers.hytera.hrnp_host import HostSide
from drivers.hytera.intake import Intake
from drivers.hytera.orders import COMMANDS, CheckBy, Orders
from drivers.hytera.reports import HdapReader
from gateway.model.identity import parse_radio_id
from gateway.model.numbering import Numbering

FRAME_GAP_S = 1.0  # an unfinished packet after which so long nothing comes is given up


class HrnpOptions(CodecOptions, frozen=True, kw_only=True):
    """Options of a link with this driver.

    ``connect``: we connect to the radio; false where the peer connects to us. ``number_space``: how
    24-bit addresses are named, ``dmr`` as decimal numbers, ``pdt`` as 8-digit numbers of the PDT
    plan. ``own_radio_id``: the connected radio itself, such as ``dmr:1001``; asked for when empty.
    ``province_rule``: those are area and SSI in eight digits, as in Zhejiang.
    ``registration_validity_s``: for how long a registration is granted, in seconds. ``check_by``:
    how a radio is asked whether it is there, ``rrs`` by registration (0002), ``rcp`` by a radio
    check on the air (0833).
    """

    connect: bool = True
    number_space: Literal["dmr", "pdt"] = "dmr"
    province_rule: bool = False
    own_radio_id: str = ""
    registration_validity_s: Annotated[int, msgspec.Meta(ge=1, le=65_534)] = 300
    check_by: CheckBy = "rrs"

    def __post_init__(self) -> None:
        """Refuse an own radio id that is none."""
        if self.own_radio_id:
            parse_radio_id(self.own_radio_id)


class HrnpCodec:
    """One HRNP conversation; see the module's docstring."""

    def __init__(self, options: HrnpOptions, link_id: str) -> None:
        own = parse_radio_id(options.own_radio_id) if options.own_radio_id else None
        numbering = Numbering("dmr", options.number_space == "pdt", options.province_rule)
        reader = HdapReader(
            link_id=link_id,
            numbering=numbering,
            own_radio_id=own,
            registration_validity_s=options.registration_validity_s,
        )
        self._intake = Intake(reader)
        self._orders = Orders(numbering, lambda: reader.own_number, options.check_by)
        self._host = HostSide(wants_connection=options.connect)
        self._scanner = FrameScanner()
        self._may_ask = options.connect
        self._gap_due: float | None = None
        self._out: list[bytes] = []

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Take bytes: any part of a serial stream, or one datagram."""
        self._host.moment(now)
        outputs = self._take(self._scanner.feed(data), now)
        self._ask(now)
        self._gap_due = now.mono + FRAME_GAP_S if self._scanner.is_waiting else None
        return outputs

    def flush(self, now: Moment) -> Sequence[Output]:
        """Give up an unfinished packet, and find those behind its false beginning."""
        self._gap_due = None
        return self._take(self._scanner.give_up(), now)

    def accept(self, receipt: int) -> None:
        """A report is on disk; its packet is acknowledged when it was the last one."""
        self._intake.accept(receipt)

    def outgoing(self) -> Sequence[bytes]:
        """Packets to write now."""
        out, self._out = [*self._host.outgoing(), *self._out], []
        return out

    def next_deadline(self) -> float | None:
        """The conversation's next one, or the end of an unfinished packet."""
        orders_due = self._orders.next_deadline(is_ready=self._host.is_connected)
        deadlines = (self._host.next_deadline(), orders_due, self._gap_due)
        return min((due for due in deadlines if due is not None), default=None)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Connect, send again, ask again; give up an unfinished packet."""
        outputs = list(self._host.expire(now))
        if self._gap_due is not None and self._gap_due <= now.mono:
            outputs += self.flush(now)
        self._ask(now)
        return outputs

    def send(self, command: Command, now: Moment) -> Sequence[Output]:
        """Ask a radio for something; it waits while there is no connection."""
        if not self._may_ask:
            why = "this link asks for nothing (connect = false)"
            return (Outcome(command.order, "refused", why),)
        outcomes = self._orders.take(command)
        self._ask(now)
        return outcomes

    def _ask(self, now: Moment) -> None:
        for message in self._orders.due(now, is_ready=self._host.is_connected):
            self._host.send(message, now)

    def _take(self, found: Sequence[Frame | Reject], now: Moment) -> list[Output]:
        outputs: list[Output] = []
        for each in found:
            if isinstance(each, Reject):
                outputs.append(each)
                continue
            self._host.heard(each, now)
            if each.opcode == Opcode.DATA:
                answer = partial(self._acknowledge, each)
                also = partial(self._replied, now)
                outputs += self._intake.take(each.number, each.payload, now, answer, also)
            else:
                outputs += self._control(each, now)
        return outputs

    def _replied(
        self, now: Moment, message: Message, outputs: Sequence[Output]
    ) -> Sequence[Output]:
        """Replies to our subscriptions and commands."""
        return (*self._host.replied(message), *self._orders.heard(message, outputs, now))

    def _control(self, frame: Frame, now: Moment) -> list[Output]:
        """Everything that is not DATA; voice and opcodes that nobody knows are passed over."""
        if frame.opcode == Opcode.ACCEPT:
            self._intake.forget()  # the radio counts its packets anew
            self._host.accepted(frame, now)
        elif frame.opcode == Opcode.REJECT:
            return [self._host.refused(now)]
        elif frame.opcode == Opcode.DATA_ACK:
            self._host.acknowledged(frame.number)
        elif frame.opcode == Opcode.CONNECT:
            self._intake.forget()
            self._out.append(frame.answer(Opcode.ACCEPT).pack())
        elif frame.opcode == Opcode.CLOSE:
            self._out.append(frame.answer(Opcode.CLOSE_ACK).pack())
            self._host.closed(now)
        return []

    def _acknowledge(self, frame: Frame, answers: Sequence[Message]) -> None:
        self._out.append(frame.answer(Opcode.DATA_ACK).pack())
        for answer in answers:
            number = self._host.next_number()
            self._out.append(frame.answer(Opcode.DATA, number=number, payload=answer.pack()).pack())


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
    commands=COMMANDS,
    explain=explain_hrnp,
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
connect = true                  # we connect to the radio; false: it connects to us
number_space = "dmr"            # or "pdt": 8-digit numbers of the PDT plan
province_rule = false           # true: area and SSI in eight digits, as in Zhejiang
own_radio_id = ""               # asked for; or written, such as "dmr:1001"
registration_validity_s = 300   # seconds until a radio must register again
check_by = "rrs"                # or "rcp": presence is asked for by a radio check
""",
)
