"""Which JT/T 808 frames in some bytes have a check byte and a length that fit.

Written from the tables of the standard, without the driver's code, so that both are not wrong in
the same way.
"""

import datetime as dt
import struct
from collections.abc import Iterator

SHORTEST = 13  # header of 2013 and the check byte


def good_frames(data: bytes) -> Iterator[bytes]:
    """Every run between two delimiters whose XOR is 0 and whose length is right, in order."""
    for content in data.split(b"~")[1:-1]:
        plain = bytes(_unescaped(content))
        check = 0
        for value in plain:
            check ^= value
        if len(plain) >= SHORTEST and check == 0 and _stated_length(plain) == len(plain):
            yield b"~" + content + b"~"


def _stated_length(plain: bytes) -> int:
    attributes = plain[2] * 256 + plain[3]
    header = 17 if attributes // 0x4000 % 2 else 12
    if attributes // 0x2000 % 2:
        header += 4
    return header + attributes % 1024 + 1


def _unescaped(content: bytes) -> Iterator[int]:
    """One byte after the other; a 7D that begins no escape stands for itself."""
    at = 0
    while at < len(content):
        value = content[at]
        follower = content[at + 1] if at + 1 < len(content) else None
        if value == 0x7D and follower in {1, 2}:
            value = 0x7C + follower
            at += 1
        yield value
        at += 1


def frames(count: int) -> Iterator[bytes]:
    """Position reports ten seconds apart, each with a place of its own, some with the SOS bit."""
    begin = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    for number in range(count):
        at = begin + dt.timedelta(seconds=10 * number)
        body = struct.pack(
            ">IIIIHHH",
            number % 50 == 0,
            2,
            20_000_000 + number * 7 % 20_000_000,
            100_000_000 + number * 13 % 20_000_000,
            number % 3000,
            number % 900,
            number % 360,
        ) + bytes.fromhex(f"{at:%y%m%d%H%M%S}")
        plain = struct.pack(">HH", 0x0200, len(body)) + bytes.fromhex("013800138000")
        yield _on_the_wire(plain + (number % 65536).to_bytes(2, "big") + body)


def _on_the_wire(plain: bytes) -> bytes:
    check = 0
    for value in plain:
        check ^= value
    escapes = {0x7D: b"}\x01", 0x7E: b"}\x02"}
    content = b"".join(escapes.get(value, bytes((value,))) for value in (*plain, check))
    return b"~" + content + b"~"
