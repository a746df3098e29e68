"""What hostile peers say: for every driver, openings that ask the gateway to wait or to remember.

Three come from a valid frame and hold for any protocol. The others depend on the protocol: its
lengths at their greatest, what it lets stay open, what it lets come in parts.
"""

from collections.abc import Callable
from typing import NamedTuple

PIECE = 8 * 1024  # of what is sent without end, and no longer than a datagram may be


class Hostility(NamedTuple):
    """A peer sends ``opening``, then ``goes_on`` again and again; without one it falls silent.

    ``why`` tells what a reader that trusts it would do. ``is_flood`` where that reader keeps all of
    what goes on, so that much of it must be sent to see.
    """

    name: str
    why: str
    opening: bytes
    goes_on: bytes = b""
    is_flood: bool = False


def hostilities(driver: str, good: bytes) -> list[Hostility]:
    """Everything that peers of ``driver`` try; ``good`` is a frame that it understands."""
    head = good[: len(good) * 2 // 3]
    return [
        Hostility("cut", "waits for the end of a frame that was cut", head),
        Hostility("endless", "keeps a frame that never ends", head, b"A" * PIECE, is_flood=True),
        Hostility("drip", "lets a byte now and then renew its patience", good[:1], b"0"),
        *OF_DRIVER[driver](
            good
        ),  # a driver that is not there needs its lines: what would it trust?
    ]


def _gpsd_json(_good: bytes) -> list[Hostility]:
    return [
        Hostility(
            "text",
            "keeps a string that is never closed",
            b'{"class":"',
            b"T" * PIECE,
            is_flood=True,
        ),
        Hostility(
            "deep", "goes down as deep as it is told", b"[" * PIECE + b"\n", b"[" * 3000 + b"\n"
        ),
        Hostility(
            "list",
            "keeps a list that is never closed",
            b'{"class":"SKY","satellites":[',
            b"{}," * 2700,
            is_flood=True,
        ),
        Hostility("receivers", "remembers every receiver it is told of", b"", _devices()),
    ]


def _devices() -> bytes:
    lines = (
        b'{"class":"TPV","device":"/dev/%d","mode":1}\n' % number for number in range(PIECE // 48)
    )
    return b"".join(lines)


def _hytera_hrnp(good: bytes) -> list[Hostility]:
    of_packet, of_message = slice(8, 10), slice(15, 17)  # where the two lengths stand
    return [
        Hostility("packet", "waits for 64 KiB", _with(good, of_packet, b"\xff\xff")),
        Hostility(
            "packets", "waits for 64 KiB again and again", b"", _with(good, of_packet, b"\xff\xff")
        ),
        Hostility(
            "filled",
            "takes the 64 KiB that were declared",
            _with(good, of_packet, b"\xff\xff"),
            b"\x00" * PIECE,
        ),
        Hostility(
            "message", "looks for a message beyond its packet", _with(good, of_message, b"\xff\xff")
        ),
    ]


def _hytera_hstrp(good: bytes) -> list[Hostility]:
    of_option, of_message = slice(7, 8), slice(18, 20)  # where the lengths stand
    return [
        Hostility(
            "option", "looks for an option beyond its packet", b"", _with(good, of_option, b"\x7f")
        ),
        Hostility("options", "follows options without end", b"", good[:6] + b"\x83\x00" * 4000),
        Hostility(
            "message",
            "looks for a message beyond its packet",
            b"",
            _with(good, of_message, b"\xff\xff"),
        ),
        Hostility("long", "keeps the longest datagram that there is", b"", good + b"\x00" * 60_000),
    ]


def _jt808(_good: bytes) -> list[Hostility]:
    head = bytes.fromhex("7e 0200 23ff 013900000001 0001 ffff 0001")
    part = bytes.fromhex("7e 0704 2001 013900000001 0001 ffff 0001 00")
    return [
        Hostility("body", "waits for the greatest body, in 65,535 parts", head, b"\xff" * 64),
        Hostility("parts", "keeps the places of 65,535 parts", b"", _sealed(part) * 100),
        Hostility("delimiters", "makes frames of nothing", b"", b"\x7e" * PIECE),
    ]


def _sealed(frame: bytes) -> bytes:
    """With JT/T 808's check and closing delimiter."""
    check = 0
    for value in frame[1:]:
        check ^= value
    return frame + bytes((check, 0x7E))


def _moto_ars(good: bytes) -> list[Hostility]:
    return [
        Hostility("message", "waits for 64 KiB", b"", _with(good, slice(0, 2), b"\xff\xff")),
        Hostility(
            "device", "looks for a name beyond its message", b"", _with(good, slice(4, 5), b"\xff")
        ),
    ]


def _moto_lrrp(good: bytes) -> list[Hostility]:
    return [
        Hostility(
            "document", "waits for 4 GiB", b"", good[:1] + b"\x8f\xff\xff\xff\x7f" + good[2:]
        ),
        Hostility("number", "reads a number that never ends", b"", good[:1] + b"\xff" * PIECE),
        Hostility(
            "request", "looks for an id beyond its document", b"", _with(good, slice(3, 4), b"\x7f")
        ),
    ]


def _moto_tms(good: bytes) -> list[Hostility]:
    return [
        Hostility("message", "waits for 64 KiB", b"", _with(good, slice(0, 2), b"\xff\xff")),
        Hostility(
            "address",
            "looks for an address beyond its message",
            b"",
            _with(good, slice(3, 4), b"\xff"),
        ),
    ]


def _nmea0183(_good: bytes) -> list[Hostility]:
    return [
        Hostility("ubx", "skips 64 KiB of a UBX packet", b"", b"\xb5\x62\x01\x07\xff\xff"),
        Hostility("rtcm3", "skips 1 KiB of an RTCM 3 packet", b"", b"\xd3\x03\xff"),
        Hostility("sirf", "skips 32 KiB of a SiRF packet", b"", b"\xa0\xa2\x7f\xff"),
        Hostility("skytraq", "skips 64 KiB of a SkyTraq packet", b"", b"\xa0\xa1\xff\xff"),
        Hostility("casic", "skips 64 KiB of a CASIC packet", b"", b"\xba\xce\xff\xff"),
        Hostility(
            "tag", "keeps a TAG block that is never closed", b"\\s:", b"x" * PIECE, is_flood=True
        ),
        Hostility(
            "group",
            "waits for the 9,999 sentences of a group",
            b"",
            b"$GPGSV,9999,1,99*50\r\n" * 100,
        ),
    ]


def _tetra_pei(_good: bytes) -> list[Hostility]:
    head = b"+CTSDSR: 12,4470001,0,4479999,0,%d\r\n"
    return [
        Hostility(
            "digits", "waits for the digits of 64 Kibit", head % 65_535, b"0" * PIECE, is_flood=True
        ),
        Hostility("bits", "has room for 4 Gibit", head % (2**32 - 1), b"0A" * 8),
        Hostility("heads", "waits for the digits of every head", b"", head % 65_535 * 100),
    ]


def _with(frame: bytes, where: slice, value: bytes) -> bytes:
    """``frame`` with other bytes at a place."""
    return frame[: where.start] + value + frame[where.stop :]


OF_DRIVER: dict[str, Callable[[bytes], list[Hostility]]] = {
    "gpsd_json": _gpsd_json,
    "hytera_hrnp": _hytera_hrnp,
    "hytera_hstrp": _hytera_hstrp,
    "jt808": _jt808,
    "moto_ars": _moto_ars,
    "moto_lrrp": _moto_lrrp,
    "moto_tms": _moto_tms,
    "nmea0183": _nmea0183,
    "tetra_pei": _tetra_pei,
}
