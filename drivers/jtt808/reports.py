"""What a JT/T 808 position report means: a place, and the emergencies of its alarm word."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from drivers.jtt808.messages import (
    ALARM_COLLISION,
    ALARM_EMERGENCY,
    ALARM_ROLLOVER,
    STATUS_ENCRYPTED,
    STATUS_FIXED,
    STATUS_SOUTH,
    STATUS_WEST,
    Items,
    PositionBody,
    read_items,
)
from gateway.model.events import (
    EmergencyKind,
    EmergencyRaised,
    PositionFix,
    Trigger,
)
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant, kmh_to_mps

KINDS: tuple[tuple[EmergencyKind, int], ...] = (
    ("alarm", ALARM_EMERGENCY),
    ("vehicle", ALARM_COLLISION | ALARM_ROLLOVER),
)
WATCHED = ALARM_EMERGENCY | ALARM_COLLISION | ALARM_ROLLOVER
# The standard: bit 0 is cleared when a report with it is answered, bits 29 and 30 stand until the
# condition is over. Whether an answer clears a maker's SOS item is not known.
CLEARED_BY_ANSWER: tuple[EmergencyKind, ...] = ("alarm",)
ENDED_BY_TERMINAL: tuple[EmergencyKind, ...] = ("vehicle",)
NO_ALARMS: Mapping[EmergencyKind, str] = {}

POLE = 90_000_000  # 1e-6 degrees
DATE_LINE = 180_000_000
SIGN_BIT = 0x8000
DEEPEST_M = -500  # below sea level; no land lies lower than -430
FULL_CIRCLE_DEG = 360
NO_BCD = 255  # beyond any month, day, hour, minute and second
TENS_AND_ONES = tuple(  # the number that a BCD byte says
    byte // 16 * 10 + byte % 16 if byte // 16 < 10 and byte % 16 < 10 else NO_BCD  # noqa: PLR2004
    for byte in range(256)
)
TRUSTED_CLOCK_NS = 86_400 * NS_PER_S

# The offset plug-in of status bit 5 exists for mainland China alone: latitude and longitude of a
# box around it, 1e-6 degrees.
PLUG_IN_LATITUDES = range(18_000_000, 54_000_001)
PLUG_IN_LONGITUDES = range(73_000_000, 136_000_001)


class Reading(NamedTuple):
    """What one position body says: the wire struct, the place, and each emergency with its code."""

    position: PositionBody
    fix: PositionFix
    alarms: Mapping[EmergencyKind, str]

    @property
    def calm(self) -> tuple[EmergencyKind, ...]:
        """The kinds of emergency that are over."""
        return self._absent(ENDED_BY_TERMINAL)

    @property
    def cleared(self) -> tuple[EmergencyKind, ...]:
        """The kinds that are not told, which may be because they were answered."""
        return self._absent(CLEARED_BY_ANSWER)

    def _absent(self, kinds: tuple[EmergencyKind, ...]) -> tuple[EmergencyKind, ...]:
        if not self.alarms:
            return kinds
        return tuple(kind for kind in kinds if kind not in self.alarms)


class Reader(NamedTuple):
    """How the reports of a link are read: its options, in the units of the wire."""

    utc_offset_s: int
    takes_encrypted: bool
    takes_vendor_sos: bool

    def read(self, body: bytes, radio: RadioId, trigger: Trigger) -> Reading:
        """A 0200 body; raises WireError where it is short."""
        position = PositionBody.unpack(body)
        items = read_items(body)
        alarms: Mapping[EmergencyKind, str] = NO_ALARMS
        if position.alarm & WATCHED or items.vendor_alarms:
            alarms = self._alarms(position.alarm, items)
        return Reading(position, self._fix(position, items, radio, trigger), alarms)

    def _alarms(self, word: int, items: Items) -> Mapping[EmergencyKind, str]:
        found = {kind: f"alarm 0x{word:08X}" for kind, bits in KINDS if word & bits}
        if items.vendor_alarms and self.takes_vendor_sos:
            found.setdefault("alarm", f"item E7 0x{items.vendor_alarms:04X}")
        return found

    def _fix(
        self, position: PositionBody, items: Items, radio: RadioId, trigger: Trigger
    ) -> PositionFix:
        """A report without a fix keeps its time and its counters only.

        What the terminal writes into the other fields then is left over or 0.
        """
        fix_at = instant_of(position.time, self.utc_offset_s)
        odometer_m = None if items.mileage is None else items.mileage * 100.0
        if not self._has_place(position):
            return PositionFix(
                radio_id=radio,
                fix_valid=False,
                fix_at=fix_at,
                satellites=items.satellites,
                trigger=trigger,
                battery_pct=items.battery_pct,
                odometer_m=odometer_m,
            )
        status = position.status
        return PositionFix(
            radio_id=radio,
            fix_valid=True,
            lat_deg=(-position.latitude if status & STATUS_SOUTH else position.latitude) / 1e6,
            lon_deg=(-position.longitude if status & STATUS_WEST else position.longitude) / 1e6,
            fix_at=fix_at,
            altitude_m=altitude_of(position.altitude),
            speed_mps=kmh_to_mps(position.speed / 10),
            course_deg=course_of(position.course),
            satellites=items.satellites,
            trigger=trigger,
            battery_pct=items.battery_pct,
            odometer_m=odometer_m,
        )

    def _has_place(self, position: PositionBody) -> bool:
        """A fix on the globe that was not moved off its place on purpose."""
        status = position.status
        if not status & STATUS_FIXED:
            return False
        if position.latitude > POLE or position.longitude > DATE_LINE:
            return False
        if not status & STATUS_ENCRYPTED or self.takes_encrypted:
            return True
        in_china = (
            not status & (STATUS_SOUTH | STATUS_WEST)
            and position.latitude in PLUG_IN_LATITUDES
            and position.longitude in PLUG_IN_LONGITUDES
        )
        return not in_china


def alarms_of(reading: Reading, doubt: str | None) -> list[EmergencyRaised]:
    """One event for each kind of emergency that a report tells.

    The word is a state that every report repeats, so that every report raises; which of them are
    one press is decided where the open emergencies are kept.
    """
    fix = reading.fix
    return [
        EmergencyRaised(
            radio_id=fix.radio_id,
            kind=kind,
            raw_code=code,
            fix=fix.place(),
            is_drill=False,
            verified=doubt is None,
            doubt=doubt,
        )
        for kind, code in reading.alarms.items()
    ]


def mark_of_fix(serial: int, position: PositionBody) -> str:
    """A report sent again has the same serial number and the same time."""
    return f"{serial} {position.time.hex()}"


def mark_of_alarm(
    serial: int, position: PositionBody, fix: PositionFix, received_at: Instant
) -> str | None:
    """As for a fix, where the terminal's clock can be believed; None otherwise.

    A terminal without a fix may start again and again at the same wrong time with serial number 0.
    A real press must never be taken for one of last week, so such a clock marks nothing.
    """
    if fix.fix_at is None:
        return None
    is_set_by_satellites = position.status & STATUS_FIXED
    if is_set_by_satellites or abs(fix.fix_at - received_at) <= TRUSTED_CLOCK_NS:
        return mark_of_fix(serial, position)
    return None


def stored_at_of(position: PositionBody, fix: PositionFix) -> Instant | None:
    """When the terminal stored a report; None for one of now, or by a clock of its own."""
    is_stored = fix.trigger == "stored" and position.status & STATUS_FIXED
    return fix.fix_at if is_stored else None


def altitude_of(raw: int) -> float | None:
    """Metres above sea level; None for what cannot be.

    The standard's field is unsigned. Some terminals send heights below the sea as two's
    complement, others with bit 15 as a sign; what is plausible tells which.
    """
    if raw < SIGN_BIT:
        return float(raw)
    for below in (raw - 0x10000, SIGN_BIT - raw):
        if below >= DEEPEST_M:
            return float(below)
    return None


def course_of(raw: int) -> float | None:
    """Degrees from true north, 0 to under 360; None for what is no course."""
    if raw > FULL_CIRCLE_DEG:
        return None
    return float(raw % FULL_CIRCLE_DEG)


def instant_of(bcd: bytes, utc_offset_s: int) -> Instant | None:
    """The moment of six BCD bytes YYMMDDhhmmss in local time; None where they are no time."""
    day_s = _day_s(bcd[:3])
    hour, minute, second = (TENS_AND_ONES[byte] for byte in bcd[3:])
    if day_s is None or hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - of a clock
        return None
    return Instant((day_s + hour * 3600 + minute * 60 + second - utc_offset_s) * NS_PER_S)


@lru_cache(maxsize=1024)
def _day_s(bcd: bytes) -> int | None:
    """Seconds from 1970 to a day YYMMDD."""
    year, month, day = (TENS_AND_ONES[byte] for byte in bcd)
    if year == NO_BCD:
        return None
    try:
        return round(datetime(2000 + year, month, day, tzinfo=UTC).timestamp())
    except ValueError:
        return None
