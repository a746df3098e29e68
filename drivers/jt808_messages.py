"""JT/T 808 message bodies, as the standard prints their tables."""

from enum import IntEnum
from typing import Annotated, NamedTuple

from drivers.wire import U8, U16, U32, Layout, WireError, layout, raw

TEXT_ENCODING = "gbk"


class Message(IntEnum):
    """Message ids that this driver knows; all others are answered "unsupported"."""

    TERMINAL_ACK = 0x0001
    HEARTBEAT = 0x0002
    LOGOUT = 0x0003
    REGISTER = 0x0100
    AUTHENTICATE = 0x0102
    POSITION = 0x0200
    POSITION_ANSWER = 0x0201
    POSITION_BATCH = 0x0704
    PLATFORM_ACK = 0x8001
    REGISTER_ANSWER = 0x8100


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
ALARM_EMERGENCY = 1 << 0  # the SOS key; stays set until the platform answers
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

BATCH_STORED = 1

ITEM_MILEAGE = 0x01  # u32, 0.1 km
ITEM_SATELLITES = 0x31  # u8
ITEM_BATTERY = 0xE4  # u16 percent in two captures; other makers use the id for other things
FULL_PCT = 100


class Items(NamedTuple):
    """What is used of the additional items after a position."""

    mileage: int | None = None  # 0.1 km
    satellites: int | None = None
    battery_pct: int | None = None


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
    at = PositionBody.size
    end = len(body)
    while at + 2 <= end:
        kind, size = body[at], body[at + 1]
        at += 2
        stop = at + size
        if stop > end:
            break
        if kind == ITEM_MILEAGE and size == 4:  # noqa: PLR2004 - a u32
            mileage = int.from_bytes(body[at:stop], "big")
        elif kind == ITEM_SATELLITES and size == 1:
            satellites = body[at]
        elif kind == ITEM_BATTERY and size == 2 and body[at] == 0 and body[at + 1] <= FULL_PCT:  # noqa: PLR2004 - a u16
            battery_pct = body[at + 1]
        at = stop
    return Items(mileage, satellites, battery_pct)


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


def text(data: bytes) -> str:
    """Text of a terminal: GBK, padded with NUL on either side; what is no GBK becomes U+FFFD."""
    return data.strip(b"\0").decode(TEXT_ENCODING, "replace")
