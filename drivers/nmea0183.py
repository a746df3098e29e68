"""NMEA 0183 receivers: sentences in, one position for each moment of fixing out.

A receiver tells one fix in several sentences: RMC, GGA and GNS each know a part, all with the same
time of day. The codec gathers them into an epoch and reports it once, when a sentence of another
time comes, when the line falls silent, or at the latest ``LONGEST_EPOCH_S`` after its first
sentence. The date is in RMC and ZDA alone; where it is missing it follows from the last known one,
or from the moment of receipt. Kenwood base radios speak a dialect of it, see
``drivers.nmea.kenwood``.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from drivers.api import (
    Codec,
    CodecOptions,
    Command,
    Driver,
    Handles,
    Moment,
    Output,
    Reject,
    Report,
    Transport,
)
from drivers.nmea.epochs import Epoch, Receiver
from drivers.nmea.explain import explain
from drivers.nmea.kenwood import Kenwood, PacketReader, same_fix
from drivers.nmea.kenwood_sender import VERBS
from drivers.nmea.sentences import READERS
from drivers.wire.sentences import Flaw, Sentence, SentenceReader
from gateway.model.identity import SLUG, radio_id

MAX_LINE = 1024  # bytes; the standard says 82, receivers with long lists go to about 250
QUIET_S = 0.25  # a pause that ends an epoch; a sentence of 82 bytes takes 0.17 s at 4800 baud
LONGEST_EPOCH_S = 1.5  # for a line that several receivers keep busy
MAX_RECEIVERS = 256  # sources told apart on one link; beyond that the oldest is given up
ADDRESS_LENGTH = 5  # two letters of talker, three of type; proprietary addresses begin with P

StatusNumber = Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=r"^\d+$")]


class Nmea0183Options(CodecOptions, frozen=True, kw_only=True):
    """The ``options`` of a link.

    ``checksum``: ``"optional"`` accepts sentences without ``*hh``, as receivers older than NMEA 2.0
    send them; a wrong checksum is never accepted. ``fix_week_rollover``: add the 1024 weeks that an
    old receiver lost, where this brings its date to within a day of the gateway's clock.
    ``emergency_status``: the status numbers with which Kenwood units call for help; 28 is ``0028``.
    """

    checksum: Literal["required", "optional"] = "required"
    fix_week_rollover: bool = False
    emergency_status: tuple[StatusNumber, ...] = ()


class Nmea0183Codec(Codec):
    """One line, with one receiver or with several told apart by the source of their TAG blocks."""

    def __init__(self, options: Nmea0183Options, link_id: str) -> None:
        self._options = options
        self._link_id = link_id
        self._reader = SentenceReader(
            max_line=MAX_LINE, needs_checksum=options.checksum == "required"
        )
        self._packets = PacketReader()
        self._kenwood = Kenwood(map(int, options.emergency_status))
        self._receivers: dict[str, Receiver] = {}
        self._heard_mono = 0.0

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Take bytes; give the epochs that they complete."""
        self._heard_mono = now.mono
        outputs: list[Output] = []
        for piece in self._packets.feed(data):
            if isinstance(piece, bytes):
                outputs += self._read(self._reader.feed(piece), now)
                continue
            outputs += self._read(self._reader.feed(b"\n"), now)  # a packet ends a line
            said = self._kenwood.packet(piece.text, now)
            if said is None:
                said = self._read(self._reader.feed(piece.text + b"\n"), now)
            outputs += said
        return outputs

    def flush(self, now: Moment) -> Sequence[Output]:
        """Give the line and the epochs in progress."""
        outputs = self._read(self._reader.feed(self._packets.finish()), now)
        outputs += self._read(self._reader.finish(), now)
        for receiver in self._receivers.values():
            self._complete(receiver, now, outputs)
        return outputs

    def accept(self, receipt: int) -> None:
        """Receivers know no acknowledgement."""

    def outgoing(self) -> Sequence[bytes]:
        """Nothing is ever sent to a receiver; a Kenwood base radio is asked for its units."""
        return self._kenwood.sender.outgoing()

    def send(self, command: Command, now: Moment) -> Sequence[Output]:
        """Ask a unit of a Kenwood base radio."""
        return self._kenwood.sender.send(command, now)

    def next_deadline(self) -> float | None:
        """When the epochs in progress are over, and a poll is given up."""
        begun = [one.epoch.begun_mono for one in self._receivers.values() if one.epoch]
        asked = self._kenwood.sender.next_deadline()
        if not begun:
            return asked
        over = min(self._heard_mono + QUIET_S, min(begun) + LONGEST_EPOCH_S)
        return over if asked is None else min(over, asked)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Give the epochs that are over."""
        self._kenwood.sender.expire(now)
        outputs: list[Output] = []
        is_quiet = now.mono >= self._heard_mono + QUIET_S
        for receiver in self._receivers.values():
            epoch = receiver.epoch
            if epoch and (is_quiet or now.mono >= epoch.begun_mono + LONGEST_EPOCH_S):
                self._complete(receiver, now, outputs)
        return outputs

    def _read(self, found: Sequence[Sentence | Flaw], now: Moment) -> list[Output]:
        outputs: list[Output] = []
        for item in found:
            if isinstance(item, Flaw):
                outputs.append(Reject(item.reason, repr(item.data[:100]), item.data))
            else:
                self._take(item, now, outputs)
        return outputs

    def _take(self, item: Sentence, now: Moment, outputs: list[Output]) -> None:
        fields = item.body.split(b",")
        address = fields[0]
        reader = READERS.get(address[2:]) if len(address) == ADDRESS_LENGTH else None
        if item.is_encapsulated:
            return
        try:
            if reader is None or address.startswith(b"P"):
                outputs += self._kenwood.sentence(fields, now)
                return  # unknown is not invalid
            sentence = reader(fields)
        except ValueError as error:
            outputs.append(Reject("fields", f"{address!r}: {error}", item.body))
            return
        receiver = self._receiver(item.source, now, outputs)
        if receiver.epoch and not receiver.epoch.has_room_for(address, sentence):
            self._complete(receiver, now, outputs)
        if receiver.epoch is None:
            receiver.epoch = Epoch(now.mono)
        receiver.epoch.add(address, sentence)

    def _receiver(self, source: str, now: Moment, outputs: list[Output]) -> Receiver:
        receiver = self._receivers.get(source)
        if receiver is None:
            if len(self._receivers) >= MAX_RECEIVERS:
                oldest = next(iter(self._receivers))
                self._complete(self._receivers.pop(oldest), now, outputs)
            number = source if SLUG.match(source) else self._link_id
            receiver = self._receivers[source] = Receiver(radio_id("receiver", number))
        return receiver

    def _complete(self, receiver: Receiver, now: Moment, outputs: list[Output]) -> None:
        epoch, receiver.epoch = receiver.epoch, None
        if epoch is None:
            return
        fix_at = receiver.fix_at(epoch, now, fix_week_rollover=self._options.fix_week_rollover)
        fix = epoch.fix(receiver.radio, fix_at)
        if fix is None:
            return
        owner = self._kenwood.owner(fix, now)
        if owner is not None:
            fix = msgspec.structs.replace(fix, radio_id=owner, trigger="unknown")
        outputs.append(Report(fix, same_as=same_fix(fix)))


EXAMPLE = """\
[[link]]
id = "gnss-1"
transport = "serial"
driver = "nmea0183"
port = "/dev/serial/by-id/usb-u-blox_AG_u-blox_GNSS_receiver-if00"
baud = 9600              # 4800 for receivers that keep to the standard
silent_after_s = 10.0    # a receiver that speaks every second and has been still so long is lost

[link.options]
checksum = "required"    # or "optional": sentences without one are taken as well
fix_week_rollover = false  # true: dates that are 1024 weeks back are moved to the present
emergency_status = []    # for a Kenwood base radio: the status numbers that mean an emergency
"""

DRIVER = Driver(
    name="nmea0183",
    title="NMEA 0183 GNSS receiver",
    title_zh="NMEA 0183 卫星定位接收机",
    spec="NMEA 0183 v4.11 (IEC 61162-1), TAG blocks of IEC 61162-450",
    transports=frozenset(
        {
            Transport.SERIAL,
            Transport.TCP_CLIENT,
            Transport.TCP_SERVER,
            Transport.UDP,
            Transport.REPLAY,
        }
    ),
    options=Nmea0183Options,
    codec=Nmea0183Codec,
    max_frame=MAX_LINE,
    commands=VERBS,
    explain=explain,
    grade="silver",
    handles=(
        Handles("RMC", "recommended minimum data", "position_fix", "captured 46, published 47"),
        Handles("GGA", "fix data", "position_fix", "captured 37, published 14"),
        Handles("GNS", "fix data of several systems", "position_fix", "captured 5, published 5"),
        Handles("GLL", "geographic position", "position_fix", "captured 14, published 4"),
        Handles("VTG", "course and speed", "joins its epoch", "captured 23, published 3"),
        Handles("GSA", "dilution of precision", "joins its epoch", "captured 70, published 3"),
        Handles("GST", "expected errors", "joins its epoch", "captured 4, published 1"),
        Handles("ZDA", "date", "dates its epoch", "captured 12, published 1"),
        Handles("GSV", "satellites in view", "checked, not used", "captured 132, published 9"),
        Handles("TXT", "text of the receiver", "checked, not used", "captured 6, published 2"),
        Handles("PKLDS, PKNDS", "Kenwood unit", "position_fix, status", "published 11, 12 altered"),
        Handles("PKLSH, PKNSH", "Kenwood unit, short", "position_fix", "published 11, 3 altered"),
        Handles("PKLID, PKNID", "Kenwood unit's status", "status", "published 3"),
        Handles("PKWDWPL", "Kenwood APRS", "position_fix", "published 4"),
        Handles("STX I0 I1 D gI ETX", "Kenwood caller", "alive", "published 6"),
        Handles("STX xE ETX", "Kenwood status message", "status", "one source"),
        Handles("STX 0, 1 ETX", "Kenwood receipt", "ends a command", "published 3"),
        Handles("R3, gR3", "Kenwood poll", "sent for locate", "one source"),
        Handles("F, G, gF, gG", "Kenwood text", "sent for text", "one source"),
        Handles("TAG block", "source of a sentence", "radio number", "published 18, constructed 4"),
    ),
    refuses=(
        Handles("checksum", "the check does not fit"),
        Handles("unfinished", "a sentence without its check, cut or overwritten"),
        Handles("fields", "the check fits, and the fields are not those of the sentence"),
        Handles("tag_block", "a damaged TAG block: nobody knows whose sentence it is"),
        Handles("noise", "a line without any sentence"),
        Handles("overrun", f"the head of a line longer than {MAX_LINE} bytes"),
    ),
    wiring=(
        "RS-232 or USB, 8N1, 4800 or 9600 baud, or TCP and UDP (port 10110). Only the receiver's "
        "transmit line and ground are needed: nothing is sent to it. A Kenwood base radio needs "
        "both lines where its units shall be asked for their position."
    ),
    example=EXAMPLE,
)
