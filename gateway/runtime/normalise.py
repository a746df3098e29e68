"""Check and normalise: what a codec read becomes something that the desk may trust.

Values that cannot be are taken out, never clamped; the event itself stays.
"""

import math
import re

import msgspec

from gateway.model.events import EmergencyRaised, PositionFix, RadioEvent, TextReceived
from gateway.model.quantities import Instant

MAX_SPEED_MPS = 150.0  # nothing that carries a handheld is faster
MAX_TEXT = 1_000  # characters
FUTURE_S = 86_400.0  # a fix from further ahead than this has a wrong clock
EARLIEST = Instant.parse("2000-01-01T00:00:00Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def normalise(event: RadioEvent, received_at: Instant) -> tuple[RadioEvent, str | None]:
    """The event as it goes on, and a short word for what was wrong with it, or None."""
    if isinstance(event, PositionFix):
        return _normalise_position(event, received_at)
    if isinstance(event, EmergencyRaised) and event.fix is not None:
        if _is_place(event.fix.lat_deg, event.fix.lon_deg):
            return event, None
        return msgspec.structs.replace(event, fix=None), "implausible_place"
    if isinstance(event, TextReceived):
        body = _CONTROL.sub("", event.body)[:MAX_TEXT]
        return (
            (event, None)
            if body == event.body
            else (
                msgspec.structs.replace(event, body=body),
                "text_cleaned",
            )
        )
    return event, None


def _normalise_position(fix: PositionFix, received_at: Instant) -> tuple[PositionFix, str | None]:
    changes: dict[str, object] = {}
    doubt = None
    if fix.lat_deg is not None and not _is_place(fix.lat_deg, fix.lon_deg):
        changes.update(fix_valid=False, lat_deg=None, lon_deg=None)
        doubt = "implausible_place"
    if fix.speed_mps is not None and not 0 <= fix.speed_mps <= MAX_SPEED_MPS:
        changes.update(speed_mps=None)
        doubt = "implausible_speed"
    if fix.course_deg is not None and not 0 <= fix.course_deg < 360:  # noqa: PLR2004 - a circle
        changes.update(course_deg=fix.course_deg % 360 if math.isfinite(fix.course_deg) else None)
    if fix.fix_at is not None and not (
        EARLIEST <= fix.fix_at <= received_at + round(FUTURE_S * 1e9)
    ):
        doubt = "implausible_time"  # kept as sent, beside our own stamp; nothing is ordered by it
    return (msgspec.structs.replace(fix, **changes) if changes else fix), doubt


def _is_place(lat_deg: float | None, lon_deg: float | None) -> bool:
    """On the globe, and not the 0, 0 that receivers without a fix send."""
    if lat_deg is None or lon_deg is None:
        return False
    on_globe = -90 <= lat_deg <= 90 and -180 <= lon_deg <= 180  # noqa: PLR2004 - the globe
    return on_globe and not (lat_deg == 0 and lon_deg == 0)
