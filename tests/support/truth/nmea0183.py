"""What is a whole NMEA sentence, said without the driver; and a stream of sentences to damage."""

import datetime as dt
import re
from collections.abc import Iterator

MAX_BODY = 1024


def check_of(body: bytes) -> bytes:
    """The two hex digits after ``*``."""
    total = 0
    for byte in body:
        total ^= byte
    return b"%02X" % total


def good_frames(data: bytes) -> Iterator[bytes]:
    """Every run ``$…*hh`` in ``data`` whose check fits, with a line end, and Kenwood's statuses.

    A status message of a Kenwood radio has no check: STX and ETX are all that it is known by.
    """
    yield from re.findall(rb"\x02xE[ -~]{19,26}\x03", data)
    start = data.find(b"$")
    while start >= 0:
        following = data.find(b"$", start + 1)
        end = data.find(b"*", start)
        if end >= 0 and (following < 0 or end < following) and end - start < MAX_BODY:
            body, digits = data[start + 1 : end], data[end + 1 : end + 3]
            if check_of(body) == digits.upper():
                yield data[start : end + 3] + b"\r\n"
        start = following


def frames(count: int) -> Iterator[bytes]:
    """RMC sentences a second apart, each with a place of its own: no two give one event."""
    begin = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    for number in range(count):
        at = begin + dt.timedelta(seconds=number)
        lat, lon = 10 + number % 50, 100 + number % 79
        body = (
            f"GNRMC,{at:%H%M%S}.00,A,{lat}{number % 60:02d}.{number % 100_000:05d},N,"
            f"{lon}{(number * 7) % 60:02d}.{(number * 13) % 100_000:05d},E,"
            f"{number % 300 / 10:.1f},{number % 360}.0,{at:%d%m%y},,,A,V"
        ).encode()
        yield b"$" + body + b"*" + check_of(body) + b"\r\n"
