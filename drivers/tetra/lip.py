"""Location Information Protocol (ETSI TS 100 392-18-1): packed bits in a TETRA short message.

The bits after the octet 0A that says "LIP". The short report has a fixed layout, the long one is
put together from optional parts; of some of those only the length of the parts before and behind
them is known here, and then what lies behind is read from the message's end. There is no
``DRIVER`` here.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from drivers.wire import Field, WireError
from gateway.model.quantities import Instant

SHORT, LONG = 0, 1
EXTENSION_LONG_REPORT = 3
LONGITUDE_BITS, LATITUDE_BITS = 25, 24
ERROR_M = (2.0, 20.0, 200.0, 2_000.0, 20_000.0, 200_000.0)  # upper bounds, by code
ERROR_HOPELESS = 6  # more than 200 km
ELAPSED_LONG = 2  # the fix is 5 to 30 minutes old
SPEED_UNKNOWN, SPEED_LINEAR = 127, 28
NO_SHAPE = 0
TAIL_BITS = 10  # acknowledgement request, kind of what follows, reason
CLOCK_AHEAD = timedelta(hours=1)  # of a radio whose clock is a little fast, at midnight

REASON_POWER_ON, REASON_POWER_OFF, REASON_EMERGENCY, REASON_POSITION_LOST = 0, 1, 2, 21
REASONS = {
    0: "power on", 1: "power off", 2: "emergency", 3: "push to talk", 4: "status",
    5: "transmit inhibited", 6: "transmit allowed", 7: "trunked mode", 8: "direct mode",
    9: "service entered", 10: "service lost", 11: "cell changed", 12: "low battery",
    13: "into the car kit", 14: "out of the car kit", 16: "arrival", 17: "arrival or approach",
    18: "approach", 19: "SDS type 1", 20: "application", 21: "position lost",
    22: "position regained", 23: "leaving", 24: "ambience listening", 25: "temporary reporting",
    26: "temporary reporting", 27: "call set-up", 28: "call set-up", 29: "GPS on", 30: "GPS off",
    32: "answer to a request", 129: "interval", 130: "distance",
}  # fmt: skip


class Clock(NamedTuple):
    """When the fix was made: a day without a month, UTC."""

    day: int
    hour: int
    minute: int
    second: int

    def newest(self, at: Instant) -> Instant | None:
        """The newest such moment that is not in the future; None where there is no such day."""
        latest = at.datetime() + CLOCK_AHEAD
        first = latest.replace(day=1)
        for _ in range(3):  # of three months in a row at least one has a day 31
            try:
                moment = datetime(
                    first.year, first.month, self.day, self.hour, self.minute, self.second,
                    tzinfo=UTC,
                )  # fmt: skip
            except ValueError:
                moment = latest + CLOCK_AHEAD
            if moment <= latest:
                return Instant.from_datetime(moment)
            first = (first - timedelta(days=1)).replace(day=1)
        return None


class Location(NamedTuple):
    """What a report says; None where it does not.

    ``elapsed`` is the code of how old the fix is (0 under 5 s, 1 under 5 min, 2 under 30 min, 3
    unknown). ``is_whole`` is false where a part has a layout that is not known: the reason behind
    it was then read from the end.
    """

    lat_deg: float | None = None
    lon_deg: float | None = None
    accuracy_m: float | None = None
    altitude_m: float | None = None
    speed_kmh: float | None = None
    course_deg: float | None = None
    elapsed: int | None = None
    clock: Clock | None = None
    reason: int | None = None
    wants_ack: bool = False
    is_whole: bool = True

    @property
    def has_place(self) -> bool:
        """True where there is a position; a radio that lost it still fills the fields."""
        return self.lat_deg is not None and self.reason != REASON_POSITION_LOST

    @property
    def is_place_now(self) -> bool:
        """True for a position that the radio has now; one of over 5 minutes ago is its last one."""
        return self.has_place and self.elapsed != ELAPSED_LONG


class Bits:
    """A run of bits, read from the front, most significant first; remembers what was read."""

    def __init__(self, value: int, length: int) -> None:
        self._value = value
        self.length = length
        self.at = 0
        self.fields: list[Field] = []
        self.raw: dict[str, int] = {}

    def take(self, width: int, name: str) -> int:
        """The next ``width`` bits; raises WireError where the message is over before."""
        end = self.at + width
        if end > self.length:
            left = self.length - self.at
            where = f"bit {self.at}-{end - 1}"
            self.fields.append(Field(where, "", name, "", f"{left} of {width} bits are there"))
            raise WireError(f"LIP {name}: {left} of {width} bits are there")
        value = self._value >> (self.length - end) & ((1 << width) - 1)
        where = f"bit {self.at}" if width == 1 else f"bit {self.at}-{end - 1}"
        self.fields.append(Field(where, f"{value:0{width}b}", name, str(value)))
        self.raw[name] = value
        self.at = end
        return value

    def signed(self, width: int, name: str) -> int:
        """The same, as two's complement."""
        value = self.take(width, name)
        return value - (1 << width) if value >> (width - 1) else value

    def skip_to_tail(self, width: int) -> bool:
        """Go to the last ``width`` bits; False where they have been read in part already."""
        if self.at + width > self.length:
            return False
        if self.at < self.length - width:
            where = f"bit {self.at}-{self.length - width - 1}"
            self.fields.append(Field(where, "", "layout not known", "", "not read"))
        self.at = self.length - width
        return True


def read_location(bits: Bits) -> Location | None:
    """A short or a long report; None for the other messages of LIP; raises WireError."""
    kind = bits.take(2, "PDU type")
    if kind == SHORT:
        return _short(bits)
    if kind == LONG and bits.take(4, "extension") == EXTENSION_LONG_REPORT:
        return _long(bits)
    return None


def _short(bits: Bits) -> Location:
    elapsed = bits.take(2, "time elapsed")
    lon_deg, lat_deg = _place(bits)
    error = bits.take(3, "position error")
    speed_kmh = speed_of(bits.take(7, "speed"))
    direction = bits.take(4, "direction")
    has_user_data = bits.take(1, "user data follows")
    code = bits.take(8, "user data" if has_user_data else "reason")
    is_hopeless = error == ERROR_HOPELESS
    return Location(
        lat_deg=None if is_hopeless else lat_deg,
        lon_deg=None if is_hopeless else lon_deg,
        accuracy_m=ERROR_M[error] if error < len(ERROR_M) else None,
        speed_kmh=speed_kmh,
        course_deg=None if direction == 15 and speed_kmh is None else direction * 22.5,  # noqa: PLR2004 - 15 with unknown speed is unknown
        elapsed=elapsed,
        reason=None if has_user_data else code,
    )


def _long(bits: Bits) -> Location:
    elapsed, clock = None, None
    time = bits.take(2, "time type")
    if time == 1:
        elapsed = bits.take(2, "time elapsed")
    elif time == 2:  # noqa: PLR2004 - a moment
        clock = Clock(*(bits.take(width, name) for width, name in CLOCK_FIELDS))
    here = Location(elapsed=elapsed, clock=clock)
    shape = bits.take(4, "shape")
    if shape != NO_SHAPE:
        lon_deg, lat_deg = _place(bits)
        here = here._replace(lon_deg=lon_deg, lat_deg=lat_deg)
    if time == 3 or shape not in SHAPES:  # noqa: PLR2004 - reserved
        return _rest_unknown(bits, here)
    for width, name in SHAPES[shape]:
        here = _with_shape(here, name, bits.take(width, name))
    velocity = bits.take(3, "velocity type")
    if velocity:
        here = here._replace(speed_kmh=speed_of(bits.take(7, "speed")))
    if velocity == 5:  # noqa: PLR2004 - speed and direction
        here = here._replace(course_deg=bits.take(8, "direction") * 360 / 256)
    elif velocity > 1:
        return _rest_unknown(bits, here)
    return _tail(bits, here)


CLOCK_FIELDS = ((5, "day"), (5, "hour"), (6, "minute"), (6, "second"))
_CIRCLE, _ALTITUDE = (6, "uncertainty"), (12, "altitude")
SHAPES: dict[int, tuple[tuple[int, str], ...]] = {  # what follows longitude and latitude
    NO_SHAPE: (),
    1: (),  # point
    2: (_CIRCLE,),
    4: (_ALTITUDE,),
    5: (_CIRCLE, _ALTITUDE),
    7: (_CIRCLE, _ALTITUDE, (3, "altitude uncertainty")),
    10: ((3, "position error"),),
}


def _with_shape(here: Location, name: str, value: int) -> Location:
    if name == "uncertainty":
        return here._replace(accuracy_m=2 * 1.2 ** (value + 5) - 4)
    if name == "altitude":
        return here._replace(altitude_m=altitude_of(value & 0x7FF))
    if name == "position error" and value == ERROR_HOPELESS:
        return here._replace(lat_deg=None, lon_deg=None)
    if name == "position error":
        return here._replace(accuracy_m=ERROR_M[value] if value < len(ERROR_M) else None)
    return here


def _rest_unknown(bits: Bits, here: Location) -> Location:
    here = here._replace(is_whole=False)
    return _tail(bits, here) if bits.skip_to_tail(TAIL_BITS) else here


def _tail(bits: Bits, here: Location) -> Location:
    wants_ack = bits.take(1, "acknowledgement wanted")
    has_user_data = bits.take(1, "user data follows")
    code = bits.take(8, "user data" if has_user_data else "reason")
    return here._replace(wants_ack=bool(wants_ack), reason=None if has_user_data else code)


def _place(bits: Bits) -> tuple[float, float]:
    """Longitude and latitude in degrees."""
    lon = bits.signed(LONGITUDE_BITS, "longitude") * 360 / 2**LONGITUDE_BITS
    return lon, bits.signed(LATITUDE_BITS, "latitude") * 180 / 2**LATITUDE_BITS


def speed_of(code: int) -> float | None:
    """km/h: each of them to 28, 3.8 % more with every step above; None for unknown."""
    if code == SPEED_UNKNOWN:
        return None
    return float(code) if code <= SPEED_LINEAR else 16 * 1.038 ** (code - 13)


def altitude_of(code: int) -> float | None:
    """Metres: steps of 1 to 1000, of 2 to 2450, of 75 above; None for the reserved 0."""
    if code == 0:
        return None
    if code <= 1201:  # noqa: PLR2004 - the table's rows
        return code - 201.0
    if code <= 1926:  # noqa: PLR2004 - the table's rows
        return 1000.0 + 2 * (code - 1201)
    return 2450.0 + 75 * (code - 1926)


def pack_short(
    lat_deg: float, lon_deg: float, *, error: int, speed_kmh: float | None, direction: int,
    reason: int,
) -> str:  # fmt: skip
    """The hex digits of a short report with its octet 0A, a padding nibble included."""
    speed = SPEED_UNKNOWN if speed_kmh is None else min(SPEED_LINEAR, round(speed_kmh))
    value, length = 0, 0
    for part, width in (
        (0x0A, 8), (SHORT, 2), (0, 2),
        (round(lon_deg * 2**LONGITUDE_BITS / 360), LONGITUDE_BITS),
        (round(lat_deg * 2**LATITUDE_BITS / 180), LATITUDE_BITS),
        (error, 3), (speed, 7), (direction, 4), (0, 1), (reason, 8), (0, 4),
    ):  # fmt: skip
        value = value << width | part & ((1 << width) - 1)
        length += width
    return f"{value:0{length // 4}X}"
