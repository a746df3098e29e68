"""A line of NMEA 0183 told field by field, with the names that the standard's tables give them."""

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from drivers.nmea.kenwood import READERS as KENWOOD_READERS
from drivers.nmea.sentences import READERS
from drivers.wire import Field, xor8

_PLACE = ("latitude ddmm.m", "N/S", "longitude dddmm.m", "E/W")
_KENWOOD_FIX = (
    "time hhmmss",
    "validity A/V",
    *_PLACE,
    "speed, knots",
    "course, deg",
    "date ddmmyy",
    "magnetic variation",
)
_FLEET = ("fleet 100-349", "unit 1000-4999")

FIELDS: Mapping[str, Sequence[str]] = {
    "RMC": (
        "time hhmmss.s",
        "status A/V",
        *_PLACE,
        "speed, knots",
        "course, deg",
        "date ddmmyy",
        "magnetic variation",
        "E/W",
        "mode",
        "navigational status",
    ),
    "GGA": (
        "time hhmmss.s",
        *_PLACE,
        "quality",
        "satellites",
        "HDOP",
        "altitude",
        "M",
        "geoid",
        "M",
        "age of corrections, s",
        "station",
    ),
    "GNS": (
        "time hhmmss.s",
        *_PLACE,
        "modes, a letter a system",
        "satellites",
        "HDOP",
        "altitude, m",
        "geoid, m",
        "age of corrections, s",
        "station",
        "navigational status",
    ),
    "GLL": (*_PLACE, "time hhmmss.s", "status A/V", "mode"),
    "VTG": (
        "course, deg",
        "T",
        "magnetic course",
        "M",
        "speed, knots",
        "N",
        "speed, km/h",
        "K",
        "mode",
    ),
    "GSA": (
        "M/A",
        "fix 1 none, 2 flat, 3 whole",
        *("satellite",) * 12,
        "PDOP",
        "HDOP",
        "VDOP",
        "system",
    ),
    "GSV": (
        "sentences",
        "number",
        "in view",
        *("satellite", "elevation, deg", "azimuth, deg", "signal, dB-Hz") * 4,
        "signal id",
    ),
    "ZDA": ("time hhmmss.s", "day", "month", "year", "zone, h", "zone, min"),
    "GST": (
        "time hhmmss.s",
        "rms",
        "major axis, m",
        "minor axis, m",
        "orientation, deg",
        "latitude sigma, m",
        "longitude sigma, m",
        "altitude sigma, m",
    ),
    "TXT": ("sentences", "number", "id", "text"),
    "PKLSH": (*_PLACE, "time hhmmss", "validity A/V", *_FLEET),
    "PKNSH": (*_PLACE, "time hhmmss", "validity A/V", "unit"),
    "PKLDS": (*_KENWOOD_FIX, "side, version", *_FLEET, "status", "extension"),
    "PKNDS": (*_KENWOOD_FIX, "side, version", "unit", "status", "extension"),
    "PKLID": ("version", *_FLEET, "status", "extension"),
    "PKNID": ("version", "unit", "status", "extension"),
    "PKWDWPL": (*_KENWOOD_FIX[:-1], "altitude", "name", "symbol"),
}

_TAG_NAMES = {
    "s": "source",
    "c": "time, s or ms",
    "d": "destination",
    "g": "group number-total-id",
    "n": "line",
    "r": "relative time",
    "t": "text",
}
_LINE = re.compile(rb"(?:\\([^\\]*)\*([0-9A-Fa-f]{2})\\)?([$!])([^*$!]*)(?:\*([0-9A-Fa-f]{2}))?")
_ADDRESS = 5  # two letters of talker, three of type


def explain(data: bytes) -> Sequence[Field]:
    """The fields of the first sentence of ``data``; places are the numbers of its fields."""
    line = _LINE.search(data)
    if line is None:
        return [Field("-", _text(data), "line", "", "no sentence: nothing begins with $ or !")]
    tag, tag_check, start, body, check = line.groups()
    rows: list[Field] = []
    if line.start():
        rows.append(Field("-", _text(data[: line.start()]), "before the sentence", "passed over"))
    if tag is not None:
        rows += _tag(tag, tag_check)
    address, *fields = body.split(b",")
    kind = _kind(_text(address))
    rows.append(Field("0", _text(start + address), "address", _talker(_text(address), kind)))
    names = FIELDS.get(kind, ())
    for number, (field, name) in enumerate(zip_longest(fields, names), start=1):
        if field is None:
            rows.append(Field(str(number), "", name or "", "not sent"))
        else:
            rows.append(Field(str(number), _text(field), name or "?", "" if field else "empty"))
    rows.append(_check(body, check))
    problem = _problem(kind, body)
    if problem:
        rows.append(Field("-", "", kind, "", problem))
    return rows


def _kind(address: str) -> str:
    return address[2:] if len(address) == _ADDRESS and not address.startswith("P") else address


def _talker(address: str, kind: str) -> str:
    if kind not in FIELDS:
        return "passed over: nothing is said about this sentence"
    return kind if kind == address else f"talker {address[:2]}, type {kind}"


def _tag(tag: bytes, check: bytes) -> list[Field]:
    rows = []
    for part in tag.split(b","):
        key, _, value = _text(part).partition(":")
        rows.append(Field("TAG", _text(part), _TAG_NAMES.get(key, "?"), value))
    rows.append(_check(tag, check, place="TAG"))
    return rows


def _check(body: bytes, check: bytes | None, place: str = "check") -> Field:
    computed = f"{xor8(body):02X}"
    if check is None:
        return Field(place, "", "XOR of the sentence", f"{computed} by computation", "no check")
    sent = _text(check).upper()
    problem = "" if sent == computed else f"does not fit: {computed} by computation"
    return Field(place, sent, "XOR of the sentence", "fits", problem)


def _problem(kind: str, body: bytes) -> str:
    """What the driver says of the fields, empty where it takes them."""
    fields = body.split(b",")
    try:
        if kind in READERS_BY_TEXT:
            READERS[kind.encode()](fields)
        elif kind.encode() in KENWOOD_READERS:
            KENWOOD_READERS[kind.encode()](fields)
    except ValueError as error:
        return str(error)
    return ""


READERS_BY_TEXT = frozenset(key.decode() for key in READERS)


def _text(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace").rstrip("\r\n")
