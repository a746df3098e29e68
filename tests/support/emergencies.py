"""Makes emergency events and fixes for tests, with only what a test cares about spelled out."""

from typing import Any

from gateway.model.events import EmergencyEnded, EmergencyRaised, PositionFix
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant

START = Instant.parse("2026-03-01T02:00:00Z")
RADIO = RadioId("pdt:80020201")


def at(seconds: float) -> Instant:
    """The instant ``seconds`` after the start of the test's story."""
    return Instant(START + round(seconds * NS_PER_S))


def press(seconds: float = 0.0, **fields: Any) -> EmergencyRaised:
    """One frame of a pressed button."""
    given = {
        "radio_id": RADIO,
        "kind": "alarm",
        "is_drill": False,
        "verified": True,
        "received_at": at(seconds),
    }
    return EmergencyRaised(**{**given, **fields})


def release(seconds: float, **fields: Any) -> EmergencyEnded:
    """The radio says that it is over."""
    return EmergencyEnded(
        **{"radio_id": RADIO, "kind": "alarm", "received_at": at(seconds), **fields}
    )


def fix(seconds: float = 0.0, **fields: Any) -> PositionFix:
    """A valid position of the test's radio."""
    given = {
        "radio_id": RADIO,
        "fix_valid": True,
        "lat_deg": 22.94,
        "lon_deg": 113.88,
        "fix_at": at(seconds),
        "received_at": at(seconds),
    }
    return PositionFix(**{**given, **fields})
