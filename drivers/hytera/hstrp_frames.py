"""HSTRP packets: one datagram each, as the table prints them. There is no ``DRIVER`` here."""

from enum import IntFlag
from typing import Annotated, NamedTuple

from drivers.wire import U8, U16, Layout, WireError, layout

MAGIC = 0x3242  # "2B"
VERSION = 0x00
HEADER_BYTES = 6
MAX_FRAME = 1500  # bytes; one datagram that is not fragmented
MORE_OPTIONS = 0x80  # of an option's command
OPTION_HEAD = 2  # command and length
DEVICE, CHANNEL = 3, 4  # commands: number of the repeater (u32), time slot (u8, 1 or 2)


class Kind(IntFlag):
    """Bits of the type byte; a packet with none but OPTIONS carries HDAP messages."""

    ACK = 0x01
    HEARTBEAT = 0x02
    CONNECT = 0x04
    CLOSE = 0x08
    REJECT = 0x10
    OPTIONS = 0x20


CONTROL = Kind.ACK | Kind.HEARTBEAT | Kind.CONNECT | Kind.CLOSE | Kind.REJECT
UNKNOWN = 0xC0  # bits of the type byte that no source names


class HstrpError(WireError):
    """A datagram is not an HSTRP packet; ``reason`` is the word under which that is counted."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@layout(">")
class HstrpHeader(Layout):
    """HSTRP packet header, 6 bytes, big-endian."""

    magic: Annotated[int, U16]
    version: Annotated[int, U8]
    kind: Annotated[int, U8]  # bits of Kind
    number: Annotated[int, U16]  # counted by the sender; an acknowledgement repeats it


class Packet(NamedTuple):
    """One HSTRP packet; ``options`` are kept as bytes, to be given back as they came."""

    kind: int
    number: int
    options: bytes = b""
    payload: bytes = b""

    @classmethod
    def unpack(cls, data: bytes) -> "Packet":
        """The packet that a datagram is.

        Raises HstrpError: ``header`` for other magic, version or bits, ``length`` for a datagram
        that is too short or too long, ``options`` for options that do not end within it,
        ``payload`` for bytes behind a packet that carries no messages.
        """
        if not HEADER_BYTES <= len(data) <= MAX_FRAME:
            raise HstrpError("length", f"HSTRP: {len(data)} bytes are no packet")
        header = HstrpHeader.unpack(data)
        if header.magic != MAGIC or header.version != VERSION or header.kind & UNKNOWN:
            raise HstrpError("header", f"HSTRP: begins with {data[:4].hex()}")
        end = _end_of_options(data) if header.kind & Kind.OPTIONS else HEADER_BYTES
        packet = cls(header.kind, header.number, data[HEADER_BYTES:end], data[end:])
        if not packet.is_data and any(packet.payload):
            detail = f"HSTRP: {len(packet.payload)} bytes behind a packet of type {header.kind:02X}"
            raise HstrpError("payload", detail)
        return packet

    @property
    def is_data(self) -> bool:
        """True for a packet that carries messages."""
        return not self.kind & CONTROL

    def pack(self) -> bytes:
        """The bytes on the wire; the options bit follows from ``options``."""
        kind = self.kind | Kind.OPTIONS if self.options else self.kind & ~Kind.OPTIONS
        header = HstrpHeader.pack_values(MAGIC, VERSION, kind, self.number)
        return header + self.options + self.payload

    def acknowledgement(self) -> "Packet":
        """This packet's receipt: its number, its options and its bits, and no messages."""
        return Packet(self.kind | Kind.ACK, self.number, self.options)


def read_options(options: bytes) -> list[tuple[int, bytes]]:
    """Command and value of each option of ``Packet.options``."""
    found, at = [], 0
    while at < len(options):
        end = at + OPTION_HEAD + options[at + 1]
        found.append((options[at] & ~MORE_OPTIONS, options[at + OPTION_HEAD : end]))
        at = end
    return found


def pack_options(*options: tuple[int, bytes]) -> bytes:
    """The bytes of options, every one but the last marked as followed by another."""
    last = len(options) - 1
    return b"".join(
        bytes((command | (MORE_OPTIONS if index < last else 0), len(value))) + value
        for index, (command, value) in enumerate(options)
    )


def _end_of_options(data: bytes) -> int:
    at, is_more = HEADER_BYTES, True
    while is_more:
        if at + OPTION_HEAD > len(data):
            raise HstrpError("options", "HSTRP: the options have no end")
        is_more = bool(data[at] & MORE_OPTIONS)
        at += OPTION_HEAD + data[at + 1]
    if at > len(data):
        raise HstrpError("options", "HSTRP: an option is longer than its packet")
    return at
