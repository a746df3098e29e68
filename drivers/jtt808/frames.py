"""JT/T 808 on the wire: delimiters, escapes, check byte, header, split messages.

A frame is ``7E`` content ``7E``; inside, 7D 01 stands for 7D and 7D 02 for 7E. The content is
header, body and one check byte, the XOR of everything before it. Two frames may share one 7E.
Strict on purpose: a frame whose check or length is wrong is refused, whatever it seems to say. The
one exception costs no safety: a 7D followed by neither 01 nor 02 stands for itself, since captured
terminals forget to escape it.
"""

from typing import Annotated, NamedTuple

from drivers.api import Reject
from drivers.wire import U8, U16, Layout, layout, raw, xor8

FLAG = b"\x7e"
ESCAPE = b"\x7d"

MAX_BODY = 1023  # bits 0-9 of the attributes
MAX_FRAME = 2200  # bytes on the wire: header 21, body 1023, check 1, every byte escaped, two flags
KEPT_OF_A_REJECT = 256  # bytes of refused input that are shown to the technician

LENGTH_BITS = 0x03FF
ENCRYPTION_BITS = 0x1C00
SPLIT_BIT = 0x2000
VERSION_BIT = 0x4000  # 2019 and later


@layout(">")
class Header2013(Layout):
    """Message header of JT/T 808-2011 and -2013, 12 bytes."""

    message: Annotated[int, U16]
    attributes: Annotated[int, U16]  # 0-9 body length, 10-12 encryption, 13 split, 14 version flag
    phone: Annotated[bytes, raw(6)]  # BCD, left padded with 0
    serial: Annotated[int, U16]


@layout(">")
class Header2019(Layout):
    """Message header of JT/T 808-2019, 17 bytes; bit 14 of the attributes is set."""

    message: Annotated[int, U16]
    attributes: Annotated[int, U16]
    version: Annotated[int, U8]
    phone: Annotated[bytes, raw(10)]
    serial: Annotated[int, U16]


@layout(">")
class Part(Layout):
    """Which part of a split message this is; follows the header where bit 13 is set."""

    total: Annotated[int, U16]
    number: Annotated[int, U16]  # from 1


class Frame(NamedTuple):
    """One frame that passed every check.

    ``phone`` is the terminal's number as the wire has it: 12 digits, 20 from 2019 on. Some
    terminals put an IMEI there as a binary number, so the digits may be hexadecimal.
    """

    message: int
    phone: str
    serial: int
    body: bytes
    version: int | None = None  # protocol version byte; None before 2019
    part: Part | None = None
    part_serials: tuple[int, ...] = ()  # of the frames that a split message was joined from


class Deframer:
    """Cuts a stream at its delimiters; keeps at most one frame."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_open = False  # a delimiter has been seen
        self._is_lost = False  # what comes up to the next delimiter was already given up

    def feed(self, data: bytes) -> list[bytes | Reject]:
        """The contents that are complete now, still escaped, and what had to be given up."""
        pieces = (self._rest + data).split(FLAG)
        self._rest = pieces.pop()
        found: list[bytes | Reject] = []
        for piece in pieces:
            if self._is_lost:
                self._is_lost = False
            elif len(piece) > MAX_FRAME:
                found.append(_overrun(piece))
            elif piece:
                found.append(piece if self._is_open else _noise(piece))
            self._is_open = True
        if self._is_lost:
            self._rest = b""
        elif len(self._rest) > MAX_FRAME:
            found.append(_overrun(self._rest))
            self._rest = b""
            self._is_lost = True
        return found

    def flush(self) -> list[Reject]:
        """No more bytes will come: give up what has no closing delimiter."""
        rest, self._rest = self._rest, b""
        if not rest:
            return []
        self._is_lost = True
        if not self._is_open:
            return [_noise(rest)]
        return [reject("unfinished", f"{len(rest)} bytes without a closing delimiter", rest)]


def decode(content: bytes) -> Frame | Reject:
    """Read what stands between two delimiters."""
    plain = unescape(content) if ESCAPE in content else content
    if len(plain) <= Header2013.size:
        return reject("length", f"{len(plain)} bytes are no frame", content)
    if xor8(plain) != 0:  # the check byte included, the XOR of a good frame is 0
        return reject("checksum", f"check byte {plain[-1]:02X} is wrong", content)
    version: int | None = None
    header: Header2013 | Header2019
    if plain[2] & 0x40:
        if len(plain) <= Header2019.size:
            return reject("length", f"{len(plain)} bytes are no 2019 frame", content)
        header = Header2019.unpack(plain)
        version = header.version
    else:
        header = Header2013.unpack(plain)
    return _checked(header, version, plain, content)


def unescape(content: bytes) -> bytes:
    """What stands between two delimiters, its escapes undone."""
    return content.replace(b"\x7d\x02", FLAG).replace(b"\x7d\x01", ESCAPE)


def _checked(
    header: Header2013 | Header2019, version: int | None, plain: bytes, content: bytes
) -> Frame | Reject:
    """The frame, where its attributes agree with its bytes."""
    attributes = header.attributes
    is_part = attributes & SPLIT_BIT
    start = header.size + (Part.size if is_part else 0)
    length = attributes & LENGTH_BITS
    have = len(plain) - start - 1
    if have != length:
        return reject("length", f"body of {have} bytes, the header says {length}", content)
    if attributes & ENCRYPTION_BITS:
        kind = (attributes & ENCRYPTION_BITS) >> 10
        return reject("encrypted", f"body is encrypted (kind {kind})", content)
    part = None
    if is_part:
        part = Part.unpack(plain, header.size)
        if not 1 <= part.number <= part.total:
            return reject("length", f"part {part.number} of {part.total}", content)
    return Frame(header.message, header.phone.hex(), header.serial, plain[start:-1], version, part)


def encode(frame: Frame) -> bytes:
    """The bytes of a frame, delimiters included.

    The header's form follows ``phone`` (12 digits, or 20 with a ``version``). Raises ValueError
    where the body is longer than MAX_BODY, WireError where a number does not fit its field.
    """
    if len(frame.body) > MAX_BODY:
        raise ValueError(f"body of {len(frame.body)} bytes; a frame holds {MAX_BODY}")
    attributes = len(frame.body) | (SPLIT_BIT if frame.part else 0)
    phone = bytes.fromhex(frame.phone)
    if frame.version is None:
        head = Header2013.pack_values(frame.message, attributes, phone, frame.serial)
    else:
        attributes |= VERSION_BIT
        head = Header2019.pack_values(frame.message, attributes, frame.version, phone, frame.serial)
    plain = head + (frame.part.pack() if frame.part else b"") + frame.body
    plain += bytes((xor8(plain),))
    return FLAG + plain.replace(ESCAPE, b"\x7d\x01").replace(FLAG, b"\x7d\x02") + FLAG


def reject(reason: str, detail: str, data: bytes) -> Reject:
    """A refusal that keeps the beginning of what was refused."""
    return Reject(reason, detail, data[:KEPT_OF_A_REJECT])


def _overrun(data: bytes) -> Reject:
    return reject("overrun", f"no delimiter within {MAX_FRAME} bytes", data)


def _noise(data: bytes) -> Reject:
    return reject("noise", f"{len(data)} bytes before the first delimiter", data)
