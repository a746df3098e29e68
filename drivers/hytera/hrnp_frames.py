"""HRNP packets: the header as the table prints it, and packets found in a dirty stream of bytes.

There is no escaping and no trailer: a packet begins with 7Eh and says its own length, so it counts
only when its check fits. There is no ``DRIVER`` here.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, NamedTuple

from drivers.api import Reject
from drivers.wire import U8, U16, Layout, layout, ones_complement16

START = 0x7E
HEADER_BYTES = 12
MAX_FRAME = 1500  # bytes, header included
LAST_VERSION = 0x0F  # 0, 3 and 4 have been seen
BLOCK = 0x00
CHECK_AT = 10
SAMPLE_BYTES = 64  # of what was not taken, for the technician


class Opcode(IntEnum):
    """What a packet is; numbers that are not here are passed over."""

    DATA = 0x00
    VOICE = 0x01
    DATA_ACK = 0x10
    CLOSE_ACK = 0xFA
    CLOSE = 0xFB
    REJECT = 0xFC
    ACCEPT = 0xFD
    CONNECT = 0xFE


@layout(">")
class HrnpHeader(Layout):
    """HRNP packet header, 12 bytes, big-endian."""

    start: Annotated[int, U8]
    version: Annotated[int, U8]
    block: Annotated[int, U8]
    opcode: Annotated[int, U8]
    source: Annotated[int, U8]  # 20 host application
    destination: Annotated[int, U8]  # 10 radio
    number: Annotated[int, U16]  # counted by the sender; an acknowledgement repeats it
    length: Annotated[int, U16]  # bytes, header included
    checksum: Annotated[int, U16]


class Frame(NamedTuple):
    """One HRNP packet."""

    opcode: int
    source: int
    destination: int
    number: int
    payload: bytes = b""
    version: int = 4

    @classmethod
    def unpack(cls, packet: bytes) -> "Frame":
        """The packet that ``packet`` is from end to end; its check is not looked at."""
        header = HrnpHeader.unpack(packet)
        addresses = (header.opcode, header.source, header.destination)
        return cls(*addresses, header.number, packet[HEADER_BYTES:], header.version)

    def pack(self) -> bytes:
        """The bytes on the wire."""
        length = HEADER_BYTES + len(self.payload)
        addresses = (self.opcode, self.source, self.destination)
        header = HrnpHeader.pack_values(
            START, self.version, BLOCK, *addresses, self.number, length, 0
        )
        bare = header + self.payload
        check = ones_complement16(bare).to_bytes(2, "big")
        return bare[:CHECK_AT] + check + bare[HEADER_BYTES:]

    def answer(self, opcode: int, *, number: int | None = None, payload: bytes = b"") -> "Frame":
        """A packet back to this one's sender, in its version; its number where none is given."""
        own = self.number if number is None else number
        return Frame(opcode, self.destination, self.source, own, payload, self.version)


class FrameScanner:
    """Finds packets in a stream; what lies between them comes out as one Reject a run.

    What comes out does not depend on how the stream was cut into reads. The buffer never holds more
    than one unfinished packet.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipped = 0
        self._reason = ""
        self._sample = bytearray()

    @property
    def is_waiting(self) -> bool:
        """True while the beginning of a packet waits for its rest."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Sequence[Frame | Reject]:
        """Take bytes; gives what is complete."""
        self._buffer += data
        return self._scan(is_last=False)

    def give_up(self) -> Sequence[Frame | Reject]:
        """The rest will not come: packets that lie behind the false beginning are found now."""
        return self._scan(is_last=True)

    def _scan(self, *, is_last: bool) -> list[Frame | Reject]:
        found: list[Frame | Reject] = []
        buffer, at = self._buffer, 0
        while at < len(buffer):
            result = self._packet_at(at)
            if result is None:
                if not is_last:
                    break
                result = "truncated"
            if isinstance(result, str):
                start = buffer.find(START, at + 1)
                end = start if start >= 0 else len(buffer)
                self._skip(at, end, result, found)
                at = end
                continue
            self._end_of_run(found)
            found.append(result)
            at += HEADER_BYTES + len(result.payload)
        del buffer[:at]
        if is_last:
            self._end_of_run(found)
        return found

    def _packet_at(self, at: int) -> Frame | str | None:
        """The packet that begins here, why there is none, or None while that cannot be said."""
        buffer = self._buffer
        fault = self._fault_of_start(at)
        if fault or len(buffer) < at + HEADER_BYTES:
            return fault
        length = buffer[at + 8] << 8 | buffer[at + 9]
        if not HEADER_BYTES <= length <= MAX_FRAME:
            return "length"
        if len(buffer) < at + length:
            return None
        packet = bytes(buffer[at : at + length])
        # With its check included the sum is all ones; a check of all ones is never sent.
        if ones_complement16(packet) != 0 or packet[CHECK_AT:HEADER_BYTES] == b"\xff\xff":
            return "checksum"
        return Frame.unpack(packet)

    def _fault_of_start(self, at: int) -> str | None:
        """What is wrong with the first three bytes, as far as they are there."""
        buffer = self._buffer
        if buffer[at] != START:
            return "noise"
        if len(buffer) > at + 1 and buffer[at + 1] > LAST_VERSION:
            return "header"
        if len(buffer) > at + 2 and buffer[at + 2] != BLOCK:
            return "header"
        return None

    def _skip(self, at: int, end: int, reason: str, found: list[Frame | Reject]) -> None:
        """Pass bytes over; the first one's reason names the run, and a run has a bound."""
        while at < end:
            if not self._skipped:
                self._reason = reason
            taken = min(end - at, MAX_FRAME - self._skipped)
            room = SAMPLE_BYTES - len(self._sample)
            if room:
                self._sample += self._buffer[at : at + min(taken, room)]
            self._skipped += taken
            at += taken
            reason = "noise"  # only the first byte began like a packet
            if self._skipped == MAX_FRAME:
                self._end_of_run(found)

    def _end_of_run(self, found: list[Frame | Reject]) -> None:
        if not self._skipped:
            return
        detail = f"HRNP: {self._skipped} bytes are no packet"
        found.append(Reject(self._reason, detail, bytes(self._sample)))
        self._skipped = 0
        self._sample.clear()
