"""JT/T 808 message bodies, as the standard prints their tables."""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Annotated, NamedTuple

from drivers.wire import U8, U16, U32, Layout, WireError, layout, raw

TEXT_ENCODING = "gbk"


class Message(IntEnum):
    """Message ids that this driver knows; all others are answered "unsupported"."""

    TERMINAL_ACK = 0x0001
    HEARTBEAT = 0x0002
    LOGOUT = 0x0003
    ASK_TIME = 0x0004  # 2019
    REGISTER = 0x0100
    AUTHENTICATE = 0x0102
    PARAMETERS = 0x0104  # the answer to 8104
    ASK_TIME_VENDOR = 0x0109
    POSITION = 0x0200
    POSITION_ANSWER = 0x0201
    POSITION_BATCH = 0x0704
    PLATFORM_ACK = 0x8001
    TIME = 0x8004
    REGISTER_ANSWER = 0x8100
    SET_PARAMETERS = 0x8103
    ASK_PARAMETERS = 0x8104
    TIME_VENDOR = 0x8109
    ASK_POSITION = 0x8201
    TRACK = 0x8202
    CONFIRM_ALARM = 0x8203
    TEXT = 0x8300


FROM_PLATFORM = 0x8000  # ids from here on go to the terminal


class AckResult(IntEnum):
    """Result of the general answers 0001 and 8001."""

    OK = 0
    FAILED = 1
    WRONG = 2
    UNSUPPORTED = 3
    ALARM_HANDLED = 4


class RegisterResult(IntEnum):
    """Result of 8100."""

    OK = 0
    VEHICLE_ALREADY_REGISTERED = 1
    NO_VEHICLE = 2
    TERMINAL_ALREADY_REGISTERED = 3
    NO_TERMINAL = 4


# Alarm bits that are somebody's emergency; the other 29 are a vehicle's condition.
ALARM_EMERGENCY = 1 << 0  # the SOS key; stays set until the platform answers; the same bit in 8203
ALARM_COLLISION = 1 << 29
ALARM_ROLLOVER = 1 << 30

# Status bits that change what a position means.
STATUS_FIXED = 1 << 1
STATUS_SOUTH = 1 << 2
STATUS_WEST = 1 << 3
STATUS_ENCRYPTED = 1 << 5  # coordinates went through the offset plug-in


@layout(">")
class PositionBody(Layout):
    """0200 position report, the 28 bytes that are always there."""

    alarm: Annotated[int, U32]
    status: Annotated[int, U32]
    latitude: Annotated[int, U32]  # 1e-6 degrees, magnitude
    longitude: Annotated[int, U32]  # 1e-6 degrees, magnitude
    altitude: Annotated[int, U16]  # metres; some terminals send it signed
    speed: Annotated[int, U16]  # 0.1 km/h
    course: Annotated[int, U16]  # degrees, 0 to 359
    time: Annotated[bytes, raw(6)]  # BCD YYMMDDhhmmss, UTC+8


@layout(">")
class Ack(Layout):
    """0001 and 8001, the general answers."""

    serial: Annotated[int, U16]  # of the frame that is answered
    message: Annotated[int, U16]  # its id
    result: Annotated[int, U8]


@layout(">")
class RegisterAnswer(Layout):
    """8100; the authentication code follows where ``result`` is 0."""

    serial: Annotated[int, U16]
    result: Annotated[int, U8]


@layout(">")
class BatchHead(Layout):
    """0704, before its items; each item is a u16 length and a 0200 body."""

    count: Annotated[int, U16]
    kind: Annotated[int, U8]  # 0 normal, 1 stored while out of coverage


@layout(">")
class Register2011(Layout):
    """0100 of 2011; the plate follows."""

    province: Annotated[int, U16]
    city: Annotated[int, U16]
    maker: Annotated[bytes, raw(5)]
    model: Annotated[bytes, raw(8)]
    terminal: Annotated[bytes, raw(7)]
    plate_colour: Annotated[int, U8]


@layout(">")
class Register2013(Layout):
    """0100 of 2013; the plate follows."""

    province: Annotated[int, U16]
    city: Annotated[int, U16]
    maker: Annotated[bytes, raw(5)]
    model: Annotated[bytes, raw(20)]
    terminal: Annotated[bytes, raw(7)]
    plate_colour: Annotated[int, U8]


@layout(">")
class Register2019(Layout):
    """0100 of 2019; the plate follows."""

    province: Annotated[int, U16]
    city: Annotated[int, U16]
    maker: Annotated[bytes, raw(11)]
    model: Annotated[bytes, raw(30)]
    terminal: Annotated[bytes, raw(30)]
    plate_colour: Annotated[int, U8]


Register = Register2011 | Register2013 | Register2019


@layout(">")
class Track(Layout):
    """8202, temporary tracking."""

    interval: Annotated[int, U16]  # seconds; 0 stops it
    duration: Annotated[int, U32]  # seconds


@layout(">")
class ConfirmAlarm(Layout):
    """8203: a person has seen to the alarm."""

    serial: Annotated[int, U16]  # of the report with the alarm; 0 means all of these kinds
    kinds: Annotated[int, U32]  # bits of the alarm word


@layout(">")
class VendorTime(Layout):
    """8109, in UTC."""

    year: Annotated[int, U16]
    month: Annotated[int, U8]
    day: Annotated[int, U8]
    hour: Annotated[int, U8]
    minute: Annotated[int, U8]
    second: Annotated[int, U8]
    result: Annotated[int, U8]  # 0: the time is good


@layout(">")
class ParametersHead(Layout):
    """0104, before its parameters: u32 id, u8 length, value each. 8103 begins with the count."""

    serial: Annotated[int, U16]  # of the question
    count: Annotated[int, U8]


PARAMETER_HEARTBEAT = 0x0001  # u32 seconds
PARAMETER_EMERGENCY_INTERVAL = 0x0028  # u32 seconds between reports during an emergency
PARAMETER_INTERVAL = 0x0029  # u32 seconds between reports
PARAMETER_HEAD = 5  # bytes of id and length

TEXT_DISPLAY = 1 << 2  # flag bits of 8300
TEXT_ALOUD = 1 << 3
TEXT_NOTICE_2019 = 0b11  # bits 0 and 1 from 2019 on: 01 service, 10 emergency, 11 notice
TEXT_TYPE_NOTICE = 1  # the type byte that follows from 2019 on; 2 is service

BATCH_STORED = 1

ITEM_MILEAGE = 0x01  # u32, 0.1 km
ITEM_SATELLITES = 0x31  # u8
# Vendors' items; their ids mean other things to other makers, so that the size decides as well.
ITEM_BATTERY_TENTHS = 0x56  # u8 tenths of full, u8 reserved
ITEM_BATTERY_D4 = 0xD4  # u8 percent
ITEM_BATTERY_E4 = 0xE4  # u8 0 or 1, u8 percent
ITEM_ALARMS_E7 = 0xE7  # u16 alarms, six more bytes
ITEM_NESTED_EB = 0xEB  # items of u16 length, u16 id, value
NESTED_BATTERY = {0x00A8, 0x00E1}  # u8 percent
SOS_BITS_E7 = 0b1_1110  # bits 1 to 4
FULL_PCT = 100


class Items(NamedTuple):
    """What is used of the additional items after a position."""

    mileage: int | None = None  # 0.1 km
    satellites: int | None = None
    battery_pct: int | None = None
    vendor_alarms: int = 0  # the SOS bits of item E7


class Auth(NamedTuple):
    """0102: the code that the terminal was given, and from 2019 on its IMEI and software."""

    code: str
    imei: str = ""
    software: str = ""


def read_items(body: bytes) -> Items:
    """The additional items of a position body; reading stops where an item overruns the body.

    An item whose length is not the standard's is skipped, an unknown one too.
    """
    mileage = satellites = battery_pct = None
    vendor_alarms = 0
    at = PositionBody.size
    end = len(body)
    while at + 2 <= end:
        kind, size = body[at], body[at + 1]
        at += 2
        stop = at + size
        if stop > end:
            break
        if kind == ITEM_MILEAGE:
            if size == 4:  # noqa: PLR2004 - a u32
                mileage = int.from_bytes(body[at:stop], "big")
        elif kind == ITEM_SATELLITES:
            if size == 1:
                satellites = body[at]
        elif kind == ITEM_ALARMS_E7:
            if size == 8:  # noqa: PLR2004 - the one form whose bits are known
                vendor_alarms = int.from_bytes(body[at : at + 2], "big") & SOS_BITS_E7
        elif kind in _BATTERIES:
            found = _BATTERIES[kind](body[at:stop])
            battery_pct = battery_pct if found is None else found
        at = stop
    return Items(mileage, satellites, battery_pct, vendor_alarms)


def _tenths(value: bytes) -> int | None:
    return value[0] * 10 if len(value) == 2 and value[0] <= FULL_PCT // 10 else None  # noqa: PLR2004


def _percent(value: bytes) -> int | None:
    return value[0] if len(value) == 1 and value[0] <= FULL_PCT else None


def _percent_after_charging(value: bytes) -> int | None:
    return _percent(value[1:]) if value[:1] in {b"\0", b"\1"} else None


def _nested(value: bytes) -> int | None:
    for kind, inner in nested_items(value):
        if kind in NESTED_BATTERY:
            return _percent(inner)
    return None


_BATTERIES: dict[int, Callable[[bytes], int | None]] = {
    ITEM_BATTERY_TENTHS: _tenths,
    ITEM_BATTERY_D4: _percent,
    ITEM_BATTERY_E4: _percent_after_charging,
    ITEM_NESTED_EB: _nested,
}


def nested_items(value: bytes) -> Iterator[tuple[int, bytes]]:
    """The items within item EB, as far as they fit; a length counts the id, not itself."""
    at = 0
    while at + 4 <= len(value):
        size = int.from_bytes(value[at : at + 2], "big")
        stop = at + 2 + size
        if size < 2 or stop > len(value):  # noqa: PLR2004 - the id alone
            return
        yield int.from_bytes(value[at + 2 : at + 4], "big"), value[at + 4 : stop]
        at = stop


def read_batch(body: bytes) -> tuple[BatchHead, list[bytes]]:
    """0704: its head and the position bodies that are whole; raises WireError without a head."""
    head = BatchHead.unpack(body)
    bodies: list[bytes] = []
    at = BatchHead.size
    for _ in range(head.count):
        start = at + 2
        stop = start + int.from_bytes(body[at:start], "big")
        if start > len(body) or stop > len(body):
            break
        bodies.append(body[start:stop])
        at = stop
    return head, bodies


def read_register(body: bytes, version: int | None) -> tuple[Register, str] | None:
    """0100: its fields and the plate; None where the body is shorter than any known form.

    The forms of 2011 and 2013 differ by 12 bytes of ``model`` and nothing says which one it is; a
    2011 body with a plate of 12 bytes or more would be read as 2013, and no plate is that long.
    """
    forms: tuple[type[Register], ...] = (Register2013, Register2011)
    if version is not None:
        forms = (Register2019, *forms)
    for form in forms:
        if len(body) >= form.size:
            return form.unpack(body), text(body[form.size :])
    return None


def read_auth(body: bytes, version: int | None) -> Auth:
    """0102 in either form; a 2019 body whose length byte does not fit is read as a code alone."""
    if version is not None and body and 1 + body[0] <= len(body):
        end = 1 + body[0]
        return Auth(text(body[1:end]), text(body[end : end + 15]), text(body[end + 15 : end + 35]))
    return Auth(text(body))


def read_answered_position(body: bytes) -> tuple[int, bytes]:
    """0201: the serial of the query and the position body; raises WireError where it is short."""
    if len(body) < 2:  # noqa: PLR2004 - a u16
        raise WireError(f"0201: {len(body)} bytes, needs 2 and a position")
    return int.from_bytes(body[:2], "big"), body[2:]


def read_parameters(body: bytes) -> tuple[int, dict[int, bytes]]:
    """0104: the serial of the question, and the parameters up to one that overruns the body.

    Raises WireError where not even the head is there.
    """
    head = ParametersHead.unpack(body)
    return head.serial, {kind: value for kind, value, _ in parameters(body, ParametersHead.size)}


def parameters(body: bytes, at: int) -> Iterator[tuple[int, bytes, int]]:
    """Id, value and the value's place of each parameter from ``at`` on, as far as they fit."""
    while at + PARAMETER_HEAD <= len(body):
        start = at + PARAMETER_HEAD
        stop = start + body[start - 1]
        if stop > len(body):
            return
        yield int.from_bytes(body[at : at + 4], "big"), body[start:stop], start
        at = stop


def text(data: bytes) -> str:
    """Text of a terminal: GBK, padded with NUL on either side; what is no GBK becomes U+FFFD."""
    return data.strip(b"\0").decode(TEXT_ENCODING, "replace")
