"""MBXML, the binary documents of MOTOTRBO location services: numbers, tokens, answers, requests.

A document is an id, a length and tokens; a token is one byte and what belongs to it. What belongs
to a token that is not known here is not known either, so reading ends there. Even ids carry a table
of constants before their tokens. There is no ``DRIVER`` here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import NamedTuple

from drivers.wire import Field, WireError
from drivers.wire.explain import place as bytes_place
from gateway.model.quantities import Instant

MORE = 0x80  # of a byte of a number: another one follows
SIGN = 0x40  # of the first byte of a signed number
LONGEST_NUMBER = 5  # bytes
LATITUDE_SIGN = 1 << 31  # and 31 bits of magnitude
LATITUDE_STEP = 180 / 2**32
LONGITUDE_STEP = 360 / 2**32
COURSE_STEP_DEG = 2


class Kind(IntEnum):
    """What a document is: its id, the odd one of the pair."""

    IMMEDIATE_REQUEST = 0x05
    IMMEDIATE_REPORT = 0x07
    TRIGGERED_REQUEST = 0x09
    TRIGGERED_ANSWER = 0x0B
    TRIGGERED_REPORT = 0x0D
    STOP_REQUEST = 0x0F
    STOP_ANSWER = 0x11
    UNSOLICITED_REPORT = 0x13
    VERSION = 0x15


REQUESTS = frozenset({Kind.IMMEDIATE_REQUEST, Kind.TRIGGERED_REQUEST, Kind.STOP_REQUEST})
REPORTS = frozenset({Kind.IMMEDIATE_REPORT, Kind.TRIGGERED_REPORT, Kind.UNSOLICITED_REPORT})

RET_INFO, WANT_COURSE, WANT_SPEED, PERIODIC, INTERVAL = 0x51, 0x57, 0x62, 0x34, 0x31
REQUEST_ID = 0x22
NO_GPS, DUPLICATE, GPS_STARTS = 0x10, 0x16, 0x200
RESULTS = {
    0x0A: "invalid command",
    NO_GPS: "no GPS",
    DUPLICATE: "duplicate request",
    GPS_STARTS: "GPS is starting",
}


class Bytes:
    """A run of bytes read from the front; raises WireError where they are over."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self.at + count
        if end > len(self.data):
            raise WireError(f"MBXML: {len(self.data) - self.at} of {count} bytes are there")
        taken, self.at = self.data[self.at : end], end
        return taken

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def uintvar(self) -> int:
        """Seven bits a byte, the first bit says that another byte follows."""
        return self._group()[0]

    def sintvar(self) -> int:
        """The same with a sign in the first byte."""
        is_negative, value = self._signed()
        return -value if is_negative else value

    def ufloatvar(self) -> float:
        """A whole part, and a second number for what is behind the point."""
        return self.uintvar() + self._fraction()

    def sfloatvar(self) -> float:
        """The same with a sign, which counts for both parts."""
        is_negative, whole = self._signed()
        value = whole + self._fraction()
        return -value if is_negative else value

    def _group(self, first: int | None = None, bits: int = 7) -> tuple[int, int]:
        """The value of a group of bytes, and how many there were."""
        byte = self.u8() if first is None else first
        value, count = byte & ((1 << bits) - 1), 1
        while byte & MORE:
            if count == LONGEST_NUMBER:
                raise WireError(f"MBXML: a number of over {LONGEST_NUMBER} bytes")
            byte = self.u8()
            value, count = value << 7 | byte & 0x7F, count + 1
        return value, count

    def _signed(self) -> tuple[bool, int]:
        first = self.u8()
        return bool(first & SIGN), self._group(first, bits=6)[0]

    def _fraction(self) -> float:
        value, count = self._group()
        return value / 128.0**count


class Document(NamedTuple):
    """A datagram: its id, and where its tokens begin."""

    own_id: int
    tokens: Bytes

    @property
    def kind(self) -> int:
        """The odd id of its pair."""
        return self.own_id | 1


def read_document(data: bytes) -> Document:
    """The head of a document; raises WireError where its length does not fit."""
    reader = Bytes(data)
    own_id, length = reader.u8(), reader.uintvar()
    if length != len(data) - reader.at:
        raise WireError(f"MBXML: length {length}, and {len(data) - reader.at} bytes are there")
    if not own_id & 1:
        reader.take(reader.u8())  # the table of constants
    return Document(own_id, reader)


class Answer(NamedTuple):
    """What an answer or a report says; None where it does not.

    ``is_whole`` is false where a token came that is not known: nothing behind it was read.
    """

    request_id: bytes | None = None
    at: Instant | None = None
    lat_deg: float | None = None
    lon_deg: float | None = None
    accuracy_m: float | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    climb_mps: float | None = None
    level: int | None = None  # of confidence, or whatever 65 and 6B stand for
    result: int | None = None
    text: bytes = b""
    is_success: bool = False
    is_whole: bool = True


def read_answer(document: Document, rows: list[Field] | None = None) -> Answer:
    """The tokens of an answer; ``rows`` gets a field each; raises WireError."""
    answer, reader = Answer(), document.tokens
    while reader.at < len(reader.data):
        begin = reader.at
        token = reader.u8()
        name, read = TOKENS.get(token, ("", None))
        if read is None:
            _row(rows, reader, begin, f"token {token:02X}", problem="not known, nor what follows")
            return answer._replace(is_whole=False)
        try:
            answer = read(answer, reader)
        except WireError as error:
            _row(rows, reader, begin, name, problem=str(error))
            raise
        _row(rows, reader, begin, name, value=_shown(answer, name.split()))
    return answer


def _shown(answer: Answer, names: Sequence[str]) -> str:
    values = [getattr(answer, name) for name in names]
    texts = [
        value.hex()
        if isinstance(value, bytes)
        else value.text()
        if isinstance(value, Instant)
        else str(value)
        for value in values
    ]
    return " ".join(texts)


def _row(
    rows: list[Field] | None,
    reader: Bytes,
    begin: int,
    name: str,
    *,
    value: str = "",
    problem: str = "",
) -> None:
    if rows is not None:
        there = reader.data[begin : max(reader.at, begin + 1)]
        rows.append(Field(bytes_place(begin, len(there)), there.hex(), name, value, problem))


def _request_id(answer: Answer, reader: Bytes) -> Answer:
    return answer._replace(request_id=reader.take(reader.u8()))


def _short_request_id(answer: Answer, reader: Bytes) -> Answer:
    return answer._replace(request_id=reader.take(1))


def _time(answer: Answer, reader: Bytes) -> Answer:
    value = int.from_bytes(reader.take(5), "big")
    year, month, day = value >> 26, value >> 22 & 0xF, value >> 17 & 0x1F
    hour, minute, second = value >> 12 & 0x1F, value >> 6 & 0x3F, value & 0x3F
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return answer  # a receiver that has no time yet
    return answer._replace(at=Instant.from_datetime(moment))


def _result(answer: Answer, reader: Bytes) -> Answer:
    return answer._replace(result=reader.uintvar())


def _success(answer: Answer, reader: Bytes) -> Answer:
    del reader
    return answer._replace(is_success=True)


def _result_text(answer: Answer, reader: Bytes) -> Answer:
    result = reader.uintvar()
    return answer._replace(result=result, text=reader.take(reader.uintvar()))


def _point(answer: Answer, reader: Bytes) -> Answer:
    lat = int.from_bytes(reader.take(4), "big")
    lon = int.from_bytes(reader.take(4), "big", signed=True)
    lat_deg = (lat & ~LATITUDE_SIGN) * LATITUDE_STEP
    return answer._replace(
        lat_deg=-lat_deg if lat & LATITUDE_SIGN else lat_deg, lon_deg=lon * LONGITUDE_STEP
    )


def _circle(answer: Answer, reader: Bytes) -> Answer:
    answer = _point(answer, reader)
    return answer._replace(accuracy_m=reader.ufloatvar())


def _high_circle(answer: Answer, reader: Bytes) -> Answer:
    answer = _circle(answer, reader)
    return answer._replace(altitude_m=reader.sfloatvar())


def _high_circle_accurate(answer: Answer, reader: Bytes) -> Answer:
    answer = _high_circle(answer, reader)
    reader.ufloatvar()  # of the height
    return answer


def _high_point(answer: Answer, reader: Bytes) -> Answer:
    answer = _point(answer, reader)
    return answer._replace(altitude_m=reader.sfloatvar())


def _high_point_accurate(answer: Answer, reader: Bytes) -> Answer:
    answer = _high_point(answer, reader)
    reader.ufloatvar()  # of the height
    return answer


def _course(answer: Answer, reader: Bytes) -> Answer:
    return answer._replace(course_deg=float(reader.u8() * COURSE_STEP_DEG))


def _level(answer: Answer, reader: Bytes) -> Answer:
    return answer._replace(level=reader.u8())


def _speed(answer: Answer, reader: Bytes) -> Answer:
    return answer._replace(speed_mps=reader.ufloatvar())


def _climb(answer: Answer, reader: Bytes) -> Answer:
    return answer._replace(climb_mps=reader.sfloatvar())


Reading = Callable[[Answer, Bytes], Answer]
TOKENS: Mapping[int, tuple[str, Reading | None]] = {  # the fields of Answer, and what reads them
    REQUEST_ID: ("request_id", _request_id),
    0x23: ("request_id", _short_request_id),
    0x34: ("at", _time),
    0x37: ("result", _result),
    0x38: ("is_success", _success),
    0x39: ("result text", _result_text),
    0x51: ("lat_deg lon_deg accuracy_m", _circle),
    0x54: ("lat_deg lon_deg accuracy_m altitude_m", _high_circle),
    0x55: ("lat_deg lon_deg accuracy_m altitude_m", _high_circle_accurate),
    0x56: ("course_deg", _course),
    0x65: ("level", _level),
    0x66: ("lat_deg lon_deg", _point),
    0x69: ("lat_deg lon_deg altitude_m", _high_point),
    0x6A: ("lat_deg lon_deg altitude_m", _high_point_accurate),
    0x6B: ("level", _level),
    0x6C: ("speed_mps", _speed),
    0x70: ("climb_mps", _climb),
}


def uintvar(value: int) -> bytes:
    """A number as a document has it."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | MORE)
    return bytes(reversed(out))


def pack(kind: Kind, request_id: int, tokens: bytes = b"") -> bytes:
    """A document with a request id of four bytes."""
    body = bytes((REQUEST_ID, 4)) + request_id.to_bytes(4, "big") + tokens
    return bytes((kind,)) + uintvar(len(body)) + body


WISHES = bytes((RET_INFO, WANT_COURSE, WANT_SPEED))


def locate(request_id: int) -> bytes:
    """Where are you now?"""
    return pack(Kind.IMMEDIATE_REQUEST, request_id, WISHES)


def track(request_id: int, every_s: int) -> bytes:
    """Where are you, again and again?"""
    trigger = bytes((PERIODIC, INTERVAL)) + uintvar(every_s)
    return pack(Kind.TRIGGERED_REQUEST, request_id, WISHES + trigger)


def stop(request_id: int) -> bytes:
    """No more of what that request began."""
    return pack(Kind.STOP_REQUEST, request_id)
