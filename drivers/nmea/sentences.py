"""The sentences of NMEA 0183 v4.11 that tell a place, its time or its quality, as tuples.

Each tuple has the fields of one table of the standard; each reader takes the fields of a sentence
(``fields[0]`` is the address, so that indices are those of the table) and raises ``ValueError`` for
what the table does not allow. ``None`` is a field that the receiver left empty, and the place of a
void sentence, which is not read: receivers without a fix print zeros or 720 degrees there. Times
are nanoseconds of the UTC day (a leap second counts as 24:00:00), dates are days since 1970-01-01,
angles degrees with north and east positive, lengths metres.
"""

import math
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from gateway.model.quantities import NS_PER_S

Fields = Sequence[bytes]
Place = tuple[float, float]  # latitude, longitude

_UNIX_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_GPS_YEAR = 80  # two-digit years from here on are of the 1900s: there was no GPS time before 1980
_LONGEST_NUMBER = 24  # characters; more is no measurement
_LONGEST_COUNT = 9
_REPEATED = (
    256  # fields remembered: RMC, GGA, GNS and GLL of a moment print the same time and place
)


class Rmc(NamedTuple):
    """Recommended minimum data. ``is_valid`` is the status letter A; any other is a warning."""

    time_ns: int | None
    is_valid: bool
    place: Place | None
    speed_knots: float | None
    course_deg: float | None
    date: int | None
    mode: bytes
    nav_status: bytes  # V says "not for navigation", and leaves the fix what it is


class Gga(NamedTuple):
    """Fix data. ``quality`` 0 is no fix, 6 dead reckoning, 7 manual, 8 simulator."""

    time_ns: int | None
    is_valid: bool
    place: Place | None
    quality: int
    satellites: int | None
    hdop: float | None
    altitude_m: float | None


class Gns(NamedTuple):
    """Fix data of several systems: one ``mode`` letter each, valid when one is not N."""

    time_ns: int | None
    is_valid: bool
    place: Place | None
    mode: bytes
    satellites: int | None
    hdop: float | None
    altitude_m: float | None
    nav_status: bytes


class Gll(NamedTuple):
    """Geographic position."""

    time_ns: int | None
    is_valid: bool
    place: Place | None
    mode: bytes


class Vtg(NamedTuple):
    """Course and speed over ground; ``mode`` N says that neither is known."""

    course_deg: float | None
    speed_knots: float | None
    speed_kmh: float | None
    mode: bytes


class Gsa(NamedTuple):
    """Dilution of precision and the satellites used; ``fix_mode`` 1 none, 2 flat, 3 with height."""

    fix_mode: int | None
    satellites: int
    pdop: float | None
    hdop: float | None
    vdop: float | None


class Gsv(NamedTuple):
    """Satellites in view, a part of the list; only the counts are kept."""

    total: int
    number: int
    in_view: int | None


class Zda(NamedTuple):
    """Time and date; the local zone is of no use here."""

    time_ns: int | None
    date: int | None


class Gst(NamedTuple):
    """Errors expected, standard deviations in metres."""

    time_ns: int | None
    rms_m: float | None
    lat_m: float | None
    lon_m: float | None
    altitude_m: float | None


class Txt(NamedTuple):
    """Text of the receiver; some chips send free text without the three numbers."""

    text: bytes


Placing = Rmc | Gga | Gns | Gll  # what claims a fix, or says that there is none
AnySentence = Placing | Vtg | Gsa | Gsv | Zda | Gst | Txt


def read_rmc(fields: Fields) -> Rmc:
    """1 time, 2 status, 3-6 place, 7 knots, 8 course, 9 ddmmyy, 12 mode, 13 nav status."""
    need(fields, 10)
    is_valid = fields[2] == b"A"
    return Rmc(
        time_of_day(fields[1]),
        is_valid,
        place_at(fields, 3) if is_valid else None,
        not_negative(fields[7]),
        course(fields[8]),
        short_date(fields[9]),
        _later(fields, 12),
        _later(fields, 13),
    )


def read_gga(fields: Fields) -> Gga:
    """1 time, 2-5 place, 6 quality, 7 satellites, 8 HDOP, 9 altitude above mean sea level."""
    need(fields, 10)
    quality = _count(fields[6]) or 0
    return Gga(
        time_of_day(fields[1]),
        quality > 0,
        place_at(fields, 2) if quality > 0 else None,
        quality,
        _count(fields[7]),
        not_negative(fields[8]),
        number(fields[9]),
    )


def read_gns(fields: Fields) -> Gns:
    """1 time, 2-5 place, 6 modes, 7 satellites, 8 HDOP, 9 altitude MSL, 13 nav status."""
    need(fields, 10)
    is_valid = bool(fields[6].strip(b"N"))
    return Gns(
        time_of_day(fields[1]),
        is_valid,
        place_at(fields, 2) if is_valid else None,
        fields[6],
        _count(fields[7]),
        not_negative(fields[8]),
        number(fields[9]),
        _later(fields, 13),
    )


def read_gll(fields: Fields) -> Gll:
    """1-4 place, 5 time, 6 status, 7 mode."""
    need(fields, 7)
    is_valid = fields[6] == b"A"
    return Gll(
        time_of_day(fields[5]),
        is_valid,
        place_at(fields, 1) if is_valid else None,
        _later(fields, 7),
    )


def read_vtg(fields: Fields) -> Vtg:
    """1 course true, 3 course magnetic, 5 knots, 7 km/h, 9 mode; 2, 4, 6, 8 are the units."""
    need(fields, 9)
    number(fields[3])
    return Vtg(
        course(fields[1]),
        not_negative(fields[5]),
        not_negative(fields[7]),
        _later(fields, 9),
    )


def read_gsa(fields: Fields) -> Gsa:
    """2 fix mode, 3-14 satellites used, 15 PDOP, 16 HDOP, 17 VDOP."""
    need(fields, 18)
    return Gsa(
        _count(fields[2]),
        sum(1 for satellite in fields[3:15] if satellite),
        not_negative(fields[15]),
        not_negative(fields[16]),
        not_negative(fields[17]),
    )


def read_gsv(fields: Fields) -> Gsv:
    """1 sentences, 2 number, 3 in view, then id, elevation, azimuth, strength of each satellite."""
    need(fields, 4)
    total, index = _count(fields[1]), _count(fields[2])
    if total is None or index is None:
        raise ValueError("GSV: is not numbered")
    angles = b"".join((*fields[5::4], *fields[6::4], *fields[7::4])).replace(b"-", b"")
    if angles and not angles.isdigit():
        raise ValueError("GSV: elevation, azimuth or strength is not a number")
    return Gsv(total, index, _count(fields[3]))


def read_zda(fields: Fields) -> Zda:
    """1 time, 2 day, 3 month, 4 year."""
    need(fields, 5)
    day, month, year = (_count(field) for field in fields[2:5])
    if day is None or month is None or year is None:
        return Zda(time_of_day(fields[1]), None)
    return Zda(time_of_day(fields[1]), _day(year, month, day))


def read_gst(fields: Fields) -> Gst:
    """1 time, 2 RMS, 3-5 ellipse, 6 latitude, 7 longitude, 8 altitude."""
    need(fields, 9)
    return Gst(
        time_of_day(fields[1]),
        number(fields[2]),
        not_negative(fields[6]),
        not_negative(fields[7]),
        not_negative(fields[8]),
    )


def read_txt(fields: Fields) -> Txt:
    """1 sentences, 2 number, 3 id, 4 text, which may hold commas; or free text alone."""
    numbers = [field.isdigit() for field in fields[1:4]]
    if fields[4:] and any(numbers) and not all(numbers[:2]):
        raise ValueError("TXT: is not numbered")
    return Txt(b",".join(fields[4:] if all(numbers[:2]) else fields[1:]))


READERS: dict[bytes, Callable[[Fields], AnySentence]] = {
    b"RMC": read_rmc,
    b"GGA": read_gga,
    b"GNS": read_gns,
    b"GLL": read_gll,
    b"VTG": read_vtg,
    b"GSA": read_gsa,
    b"GSV": read_gsv,
    b"ZDA": read_zda,
    b"GST": read_gst,
    b"TXT": read_txt,
}


# --- fields ---------------------------------------------------------------------------------------


def number(text: bytes) -> float | None:
    """A plain decimal number; Python's own ideas of one (nan, 1e9, 1_000) are refused."""
    if not text:
        return None
    if text.translate(None, b"0123456789.+-") or len(text) > _LONGEST_NUMBER:
        raise ValueError(f"{text[:_LONGEST_NUMBER]!r} is not a number")
    return float(text)


def not_negative(text: bytes) -> float | None:
    """A number from 0 up."""
    value = number(text)
    if value is not None and value < 0:
        raise ValueError(f"{text!r} is negative")
    return value


def course(text: bytes) -> float | None:
    """Degrees from true north, 0 to under 360; 360 itself is north."""
    value = number(text)
    if value is None:
        return None
    if not 0 <= value <= 360:  # noqa: PLR2004 - a full circle
        raise ValueError(f"course {text!r} is not 0 to 360")
    return value % 360


def _count(text: bytes) -> int | None:
    if not text:
        return None
    if not text.isdigit() or len(text) > _LONGEST_COUNT:
        raise ValueError(f"{text[:_LONGEST_NUMBER]!r} is not a count")
    return int(text)


def place_at(fields: Fields, index: int) -> Place | None:
    """Latitude ddmm.m, N or S, longitude dddmm.m, E or W, from ``index`` on."""
    return _place(fields[index], fields[index + 1], fields[index + 2], fields[index + 3])


@lru_cache(maxsize=_REPEATED)
def _place(lat: bytes, north: bytes, lon: bytes, east: bytes) -> Place | None:
    lat_deg = _angle(lat, north, b"NS", 90)
    lon_deg = _angle(lon, east, b"EW", 180)
    return None if lat_deg is None or lon_deg is None else (lat_deg, lon_deg)


def _angle(text: bytes, side: bytes, sides: bytes, limit_deg: int) -> float | None:
    """Degrees from dddmm.mmmm with two to eight decimals; the second of ``sides`` is negative."""
    if not text:
        return None
    dot = text.find(b".")
    split = (len(text) if dot < 0 else dot) - 2
    degrees, minutes = text[: max(split, 0)] or b"0", number(text[max(split, 0) :])
    if not degrees.isdigit() or minutes is None or not 0 <= minutes < 60:  # noqa: PLR2004
        raise ValueError(f"{text!r} is not an angle")
    value = int(degrees) + minutes / 60
    if value > limit_deg or len(side) != 1 or side not in sides:
        raise ValueError(f"{text!r} {side!r} is not within {limit_deg} degrees {sides!r}")
    return value if side == sides[:1] else -value


@lru_cache(maxsize=_REPEATED)
def time_of_day(text: bytes) -> int | None:
    """Nanoseconds of the day from hhmmss.sss with any number of decimals."""
    if not text:
        return None
    whole, _, fraction = text.partition(b".")
    if len(whole) != 6 or not whole.isdigit() or (fraction and not fraction.isdigit()):  # noqa: PLR2004
        raise ValueError(f"{text!r} is not hhmmss.s")
    hour, minute, second = int(whole[:2]), int(whole[2:4]), int(whole[4:])
    if hour > 23 or minute > 59 or second > 60:  # noqa: PLR2004 - 60 is a leap second
        raise ValueError(f"{text!r} is not a time of day")
    seconds = hour * 3600 + minute * 60 + second
    return seconds * NS_PER_S + (int(fraction[:9].ljust(9, b"0")) if fraction else 0)


@lru_cache(maxsize=_REPEATED)
def short_date(text: bytes) -> int | None:
    """Days since 1970-01-01 from ddmmyy, or None where no calendar has the date.

    Receivers whose week has rolled over print a wrong one beside a good place, and some print
    ``000000`` before they know it: the rest of the sentence stands. ``2208-1`` is 22 August 1999,
    by firmware that takes 2000 off the year.
    """
    if len(text) != 6 or not text[:4].isdigit():  # noqa: PLR2004
        return None
    try:
        day, month, year = int(text[:2]), int(text[2:4]), int(text[4:])
        return _day(year + (1900 if year >= _GPS_YEAR else 2000), month, day)
    except ValueError:
        return None


def _day(year: int, month: int, day: int) -> int:
    return date(year, month, day).toordinal() - _UNIX_EPOCH_ORDINAL


def _later(fields: Fields, index: int) -> bytes:
    """A field that a later edition of the standard added; empty where it is not there."""
    return fields[index] if len(fields) > index else b""


def need(fields: Fields, count: int) -> None:
    """Raises ValueError for a sentence with fewer fields, its address included."""
    if len(fields) < count:
        raise ValueError(f"has {len(fields)} fields, needs {count}")


def accuracy_m(gst: Gst) -> float | None:
    """The radius that its two horizontal deviations make, or None where one is not given."""
    if gst.lat_m is None or gst.lon_m is None:
        return None
    return math.hypot(gst.lat_m, gst.lon_m)
