"""GPS40: the 40 ASCII bytes in which Hytera location messages carry a fix.

Time, date, speed and course may each be NUL although the fix is valid. There is no altitude. This
module has no ``DRIVER``; ``drivers.hytera.hdap`` says which messages carry the record.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from drivers.wire import Layout, WireError, layout, raw
from gateway.model.quantities import KNOT_MPS, Instant, knots_to_mps

GPS_BYTES = 40
VALID, NOT_VALID = b"A", b"V"
MINUTES_A_DEGREE = 60
FULL_CIRCLE_DEG = 360
CENTURY = 2000  # the date has two digits of the year
HALF_DAY = timedelta(hours=12)

_DEGREES = re.compile(rb"(\d{2,3})(\d{2}\.\d{1,4})\Z")
_NUMBER = re.compile(rb" *\d+\.?\d* *\Z|\.\d+\Z")


class GpsFix(NamedTuple):
    """What a record says: WGS-84 degrees, m/s, degrees from true north; None where it is silent."""

    is_valid: bool
    lat_deg: float | None = None
    lon_deg: float | None = None
    fix_at: Instant | None = None
    speed_mps: float | None = None
    course_deg: float | None = None


@layout(">")
class Gps40(Layout):
    """The record, field by field; every field is text."""

    status: Annotated[bytes, raw(1)]  # A valid, V not valid
    time: Annotated[bytes, raw(6)]  # hhmmss UTC, or NUL
    date: Annotated[bytes, raw(6)]  # ddmmyy, or NUL
    north_south: Annotated[bytes, raw(1)]
    latitude: Annotated[bytes, raw(9)]  # ddmm.mmmm
    east_west: Annotated[bytes, raw(1)]
    longitude: Annotated[bytes, raw(10)]  # dddmm.mmmm
    speed: Annotated[bytes, raw(3)]  # knots, such as 0.2, or NUL
    course: Annotated[bytes, raw(3)]  # degrees, or NUL

    def fix(self, near: Instant) -> GpsFix:
        """The record in gateway units; ``near`` completes a time that has no date.

        Coordinates of a record that is not valid are left out. Raises WireError where the record
        calls itself valid and its coordinates cannot be read.
        """
        if self.status == NOT_VALID:
            return GpsFix(is_valid=False)
        if self.status != VALID:
            raise WireError(f"Gps40.status: {self.status!r} is neither A nor V")
        speed_kn, course_deg = _number(self.speed), _number(self.course)
        if course_deg is not None and course_deg >= FULL_CIRCLE_DEG:
            course_deg = 0.0 if course_deg == FULL_CIRCLE_DEG else None
        return GpsFix(
            is_valid=True,
            lat_deg=_degrees("latitude", self.latitude, self.north_south, b"NS", 90),
            lon_deg=_degrees("longitude", self.longitude, self.east_west, b"EW", 180),
            fix_at=self.instant(near),
            speed_mps=None if speed_kn is None else knots_to_mps(speed_kn),
            course_deg=course_deg,
        )

    def instant(self, near: Instant) -> Instant | None:
        """When the receiver says that it was there, or None; see ``fix``."""
        try:
            clock = datetime.strptime(self.time.decode("ascii"), "%H%M%S").replace(tzinfo=UTC)
            if not self.date.strip(b"\0"):
                return _nearest_day(clock, near.datetime())
            text = self.date.decode("ascii")
            day, month, year = int(text[:2]), int(text[2:4]), CENTURY + int(text[4:])
            return Instant.from_datetime(clock.replace(year=year, month=month, day=day))
        except ValueError:  # NUL, letters, or a day that no calendar has
            return None

    @classmethod
    def of(cls, fix: GpsFix) -> "Gps40":
        """The record that a radio would send: whole seconds, minutes with four decimals."""
        at = None if fix.fix_at is None else fix.fix_at.datetime()
        lat_deg, lon_deg = fix.lat_deg or 0.0, fix.lon_deg or 0.0
        speed, course = b"\0\0\0", b"\0\0\0"
        if fix.speed_mps is not None:
            speed = f"{min(fix.speed_mps / KNOT_MPS, 999):.1f}".encode()[:3]
        if fix.course_deg is not None:
            course = f"{round(fix.course_deg) % FULL_CIRCLE_DEG:03d}".encode()
        return cls(
            status=VALID if fix.is_valid else NOT_VALID,
            time=b"\0" * 6 if at is None else at.strftime("%H%M%S").encode(),
            date=b"\0" * 6 if at is None else at.strftime("%d%m%y").encode(),
            north_south=b"N" if lat_deg >= 0 else b"S",
            latitude=_minutes(lat_deg, 2),
            east_west=b"E" if lon_deg >= 0 else b"W",
            longitude=_minutes(lon_deg, 3),
            speed=speed,
            course=course,
        )


def _degrees(name: str, text: bytes, side: bytes, sides: bytes, limit: int) -> float:
    match = _DEGREES.match(text)
    if match is None or side not in sides:
        raise WireError(f"Gps40.{name}: {side + text!r} is not degrees and minutes")
    minutes = float(match[2])
    value = int(match[1]) + minutes / MINUTES_A_DEGREE
    if minutes >= MINUTES_A_DEGREE or value > limit:
        raise WireError(f"Gps40.{name}: {side + text!r} is not on the globe")
    return value if side == sides[:1] else -value


def _minutes(degrees: float, width: int) -> bytes:
    whole, ten_thousandths = divmod(round(abs(degrees) * MINUTES_A_DEGREE * 10_000), 600_000)
    return f"{whole:0{width}d}{ten_thousandths / 10_000:07.4f}".encode()


def _number(text: bytes) -> float | None:
    return float(text) if _NUMBER.match(text) else None


def _nearest_day(clock: datetime, near: datetime) -> Instant:
    moment = datetime.combine(near.date(), clock.timetz())
    if moment - near > HALF_DAY:
        moment -= timedelta(days=1)
    elif near - moment > HALF_DAY:
        moment += timedelta(days=1)
    return Instant.from_datetime(moment)
