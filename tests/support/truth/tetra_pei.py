"""What is a whole message of a TETRA radio, said without the driver; and a stream to damage.

There is no check on the line. Whole is what has the form: a word with fields that are numbers, and
below it as many hex digits as the bits need. A damaged digit that is still a digit is whole.
"""

import re
from collections.abc import Iterator

WORD = rb"\+(?:CTSDSR|CTICN|CTXG|CTCR|CDTXC|GPSPOS):"
MESSAGE = re.compile(rb"(\+CTSDSR:[^\r\n]*)[\r\n][\r\n \t]*([0-9A-Fa-f]+)[ \t]*(?=[\r\n]|\Z)")
OTHER = re.compile(rb"\+(?:CTICN|CTXG|CTCR|CDTXC|GPSPOS):[^\r\n]*")


def good_frames(data: bytes) -> Iterator[bytes]:
    """Every message with its digits, and every other line with a word, in order."""
    found = [(match.start(), match) for match in MESSAGE.finditer(data)]
    found += [(match.start(), match) for match in OTHER.finditer(data)]
    for _, match in sorted(found, key=lambda each: each[0]):
        frame = match[0]
        head = frame[: len(match[1])] if match.lastindex else frame
        last = list(re.finditer(WORD, head))[-1].start()  # of several words the last one counts
        yield frame[last:] + b"\r\n"


def frames(count: int) -> Iterator[bytes]:
    """Statuses of radios; no two give one event."""
    for number in range(count):
        sender, code = 1 + number % 16_000_000, 0x8000 + number // 16_000_000
        yield b"\r\n+CTSDSR: 13,%d,0,4479999,0,16\r\n%04X\r\n" % (sender, code)
