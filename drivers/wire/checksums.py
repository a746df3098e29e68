"""The checks that protocols put on their frames, by the name of the protocol that prints them."""

from functools import reduce
from operator import xor


def xor8(data: bytes) -> int:
    """XOR of all bytes: NMEA 0183 sentences, JT/T 808 frames.

    Sums in one big number that is folded in half until a byte is left: three times as fast as a
    walk over the bytes of a usual frame, and every received frame pays for it.
    """
    if len(data) > 2048:  # noqa: PLR2004 - the widest fold below is half of it
        return reduce(xor, data, 0)
    folded = int.from_bytes(data, "big")
    if len(data) > 128:  # noqa: PLR2004 - 1024 bits, which the folds after this halve
        for shift in (8192, 4096, 2048, 1024):
            folded ^= folded >> shift
    folded ^= folded >> 512
    folded ^= folded >> 256
    folded ^= folded >> 128
    folded ^= folded >> 64
    folded ^= folded >> 32
    folded ^= folded >> 16
    folded ^= folded >> 8
    return folded & 0xFF


def ones_complement16(data: bytes) -> int:
    """Ones complement of the ones-complement sum of 16-bit big-endian words: HRNP packets.

    An odd last byte counts as the high half of a word whose low half is 0.
    """
    if len(data) & 1:
        data += b"\0"
    value = int.from_bytes(data, "big")
    # A carry out of 16 bits is worth 1, so the folded sum is the remainder modulo FFFFh; only a
    # sum of nothing but zeros stays 0.
    total = value % 0xFFFF or (0xFFFF if value else 0)
    return ~total & 0xFFFF


def hdap8(data: bytes) -> int:
    """HDAP message check over opcode, length and payload: 33h + NOT(sum of bytes), low 8 bits."""
    return (0x33 + (~sum(data) & 0xFF)) & 0xFF
