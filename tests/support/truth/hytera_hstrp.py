"""Which datagrams are HSTRP packets with a message whose check fits, from the tables alone.

The packet itself has no check; its messages have one of 8 bits each. A packet counts as soon as its
first message fits: what stands before a damaged one is reported.
"""

from collections.abc import Iterator

CONTROL_OR_UNKNOWN = 0b1101_1111  # every bit of the type byte but that of the options


def good_frames(data: bytes) -> Iterator[bytes]:
    """``data``, one datagram, where it is such a packet."""
    if len(data) < 6 or len(data) > 1500 or data[:3] != b"\x32\x42\x00":
        return
    if data[3] & CONTROL_OR_UNKNOWN:
        return
    at = 6
    if data[3] & 0x20:
        more = True
        while more and at + 1 < len(data):
            more = data[at] >= 0x80
            at += 2 + data[at + 1]
    if _fits(data[at:]):
        yield data


def _fits(message: bytes) -> bool:
    if len(message) < 7:
        return False
    low, high = message[3], message[4]
    length = high * 256 + low if message[0] % 128 == 2 else low * 256 + high
    end = 5 + length
    if end + 2 > len(message) or message[end + 1] != 3:
        return False
    return (0x33 + 255 - sum(message[1:end]) % 256) % 256 == message[end]
