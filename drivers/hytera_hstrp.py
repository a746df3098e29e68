"""Hytera HSTRP: a repeater that speaks to the ports of a dispatcher's computer, over UDP.

One link a port: 30001 and 30002 for registration, 30003 and 30004 for positions, 30009 and 30010
for what the repeater does, slot 1 and slot 2. The packets carry the HDAP messages of HRNP. A packet
that carries something to store is acknowledged when all of it is on disk, any other at once; one
that could not be read is not acknowledged, so that the repeater sends it again.
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
    Output,
    Reject,
    Transport,
    Verb,
)
from drivers.hytera.explain import explain_hstrp
from drivers.hytera.handles import HDAP_HANDLES, HDAP_REFUSES
from drivers.hytera.hdap import Message
from drivers.hytera.hstrp_frames import MAX_FRAME, HstrpError, Kind, Packet
from drivers.hytera.hstrp_host import PcSide
from drivers.hytera.intake import Intake
from drivers.hytera.orders import COMMANDS, SERVICE_VERBS, Orders
from drivers.hytera.reports import HdapReader
from gateway.model.numbering import Numbering


class HstrpOptions(CodecOptions, frozen=True, kw_only=True):
    """Options of a link with this driver.

    ``connect``: we connect to the repeater, which needs the link's ``remote``; false where the
    repeater announces itself to us. ``number_space``: how 24-bit addresses are named, ``dmr`` as
    decimal numbers, ``pdt`` as 8-digit numbers of the PDT plan. ``province_rule``: those are area
    and SSI in eight digits, as in Zhejiang. ``registration_validity_s``: for how long a
    registration is granted, in seconds. ``service``: what the port carries, ``rrs``, ``lp``,
    ``tmp``, ``rcp`` or ``all``, which decides what may be asked for on it. ``own_number``: the
    number under which radios see the dispatcher, from 1 to 16777215; texts come from it.
    """

    connect: bool = False
    number_space: Literal["dmr", "pdt"] = "dmr"
    province_rule: bool = False
    registration_validity_s: Annotated[int, msgspec.Meta(ge=1, le=65_534)] = 300
    service: Literal["all", "rrs", "lp", "tmp", "rcp"] = "all"
    own_number: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFF)] = 1


class HstrpCodec:
    """One HSTRP conversation; see the module's docstring."""

    def __init__(self, options: HstrpOptions, link_id: str) -> None:
        numbering = Numbering("dmr", options.number_space == "pdt", options.province_rule)
        reader = HdapReader(
            link_id=link_id,
            numbering=numbering,
            own_radio_id=None,  # a repeater has no button
            registration_validity_s=options.registration_validity_s,
        )
        self._intake = Intake(reader)
        self._service = options.service
        own_number = options.own_number
        self._orders = Orders(numbering, lambda: own_number, "rrs", options.service)
        self._pc = PcSide(wants_connection=options.connect)
        self._out: list[bytes] = []

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Take one datagram."""
        self._pc.moment(now)
        try:
            packet = Packet.unpack(data)
        except HstrpError as error:
            return [Reject(error.reason, str(error), data)]
        if packet.is_data:
            self._pc.heard(now)
            answer, also = partial(self._acknowledge, packet), partial(self._replied, now)
            outputs: Sequence[Output] = self._intake.take(
                packet.number, packet.payload, now, answer, also
            )
        else:
            outputs = self._control(packet, now)
        self._ask(now)
        return outputs

    def flush(self, now: Moment) -> Sequence[Output]:
        """Datagrams come whole: nothing is ever in progress."""
        del now
        return ()

    def accept(self, receipt: int) -> None:
        """A report is on disk; its packet is acknowledged when it was the last one."""
        self._intake.accept(receipt)

    def outgoing(self) -> Sequence[bytes]:
        """Packets to write now, a datagram each; acknowledgements first."""
        out, self._out = [*self._out, *self._pc.outgoing()], []
        return out

    def next_deadline(self) -> float | None:
        """The next connect, heartbeat or repeat, or the end of our patience."""
        deadlines = (
            self._pc.next_deadline(),
            self._orders.next_deadline(is_ready=self._pc.is_present),
        )
        return min((due for due in deadlines if due is not None), default=None)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Keep the conversation alive, and say when nobody answers."""
        outputs: Sequence[Output] = self._pc.expire(now)
        self._ask(now)
        return outputs

    def send(self, command: Command, now: Moment) -> Sequence[Output]:
        """Ask a radio for something; it waits while the repeater is not there."""
        outcomes = self._orders.take(command)
        self._ask(now)
        return outcomes

    def takes(self, verb: Verb) -> bool:
        """Whether this port carries what ``verb`` needs."""
        return verb in SERVICE_VERBS[self._service]

    def _ask(self, now: Moment) -> None:
        self._pc.moment(now)
        for message in self._orders.due(now, is_ready=self._pc.is_present):
            self._pc.send(message)

    def _replied(
        self, now: Moment, message: Message, outputs: Sequence[Output]
    ) -> Sequence[Output]:
        return tuple(self._orders.heard(message, outputs, now))

    def _control(self, packet: Packet, now: Moment) -> Sequence[Output]:
        """Everything that carries no messages."""
        kind = packet.kind
        if kind & Kind.CLOSE:
            return self._closed(packet, now)
        if kind & Kind.REJECT:
            return self._rejected(packet, now)
        if kind & Kind.CONNECT:
            self._intake.forget()
            self._pc.connected()
            if not kind & Kind.ACK:
                self._out.append(packet.acknowledgement().pack())
            self._pc.heard(now)
        elif kind & Kind.HEARTBEAT:
            self._pc.heard(now)
            self._pc.beaten(now)
        else:
            self._pc.heard(now)
            self._pc.acknowledged(packet.number)
        return ()

    def _closed(self, packet: Packet, now: Moment) -> Sequence[Output]:
        if not packet.kind & Kind.ACK:
            self._out.append(packet.acknowledgement().pack())
        self._pc.parted(now)
        return ()

    def _rejected(self, packet: Packet, now: Moment) -> Sequence[Output]:
        """A message of ours is not wanted, or our connect is not."""
        if self._pc.acknowledged(packet.number) and not packet.kind & Kind.CONNECT:
            return [Reject("refused", f"HSTRP: message {packet.number} was rejected")]
        self._pc.parted(now)
        return [Reject("refused", "HSTRP: the repeater rejects the connection")]

    def _acknowledge(self, packet: Packet, answers: Sequence[Message]) -> None:
        self._out.append(packet.acknowledgement().pack())
        for answer in answers:
            self._pc.send(answer)


DRIVER = Driver(
    name="hytera_hstrp",
    title="Hytera repeater (HSTRP)",
    title_zh="海能达中转台（HSTRP）",
    spec="Hytera HSTRP 0 with HDAP, from published captures and implementations",
    transports=frozenset({Transport.UDP, Transport.REPLAY}),
    options=HstrpOptions,
    codec=HstrpCodec,
    max_frame=MAX_FRAME,
    has_receipts=True,
    speaks_first=True,
    commands=COMMANDS,
    explain=explain_hstrp,
    grade="silver",
    handles=(
        Handles("24 connect", "the repeater announces itself", "answered by 25", "captured 1"),
        Handles("05 connect", "we announce ourselves", "sent with connect = true", "captured 1"),
        Handles("02 heartbeat", "the peer is there", "answered; sent every 5 s", "published 1"),
        Handles("00, 20 data", "HDAP messages", "see below, then 01 or 21", "captured 20"),
        Handles("01, 21 acknowledgement", "receipt of a message of ours", "", "captured 2"),
        Handles("08, 28 close", "no connection any more", "answered by 09, 29", "one source"),
        Handles("10 reject", "not wanted", "counted; tried again", "one source"),
        *HDAP_HANDLES,
    ),
    refuses=HDAP_REFUSES,
    wiring=(
        "Ethernet: the repeater's programming names this computer's address and the ports of its "
        "services (RRS 30001 and 30002, GPS 30003 and 30004, TMS 30007 and 30008, RCP 30009 and "
        "30010, slot 1 and slot 2). A link for each port."
    ),
    example="""\
[[link]]
id = "repeater-gps-1"
transport = "udp"
driver = "hytera_hstrp"
listen = "192.168.22.13:30003"
allow = ["192.168.22.10/32"]    # the repeater
silent_after_s = 18.0           # three of its heartbeats

[link.options]
connect = false                 # the repeater announces itself; true needs "remote"
number_space = "dmr"            # or "pdt": 8-digit numbers of the PDT plan
province_rule = false           # true: area and SSI in eight digits, as in Zhejiang
registration_validity_s = 300   # seconds until a radio must register again
service = "lp"                  # what this port carries: rrs, lp, tmp, rcp, all
own_number = 1                  # of the dispatcher; texts come from it
""",
)
