"""Rows as the outbox hands them on, for tests of the desk and its log."""

import itertools

from gateway.model.events import (
    AnyEvent,
    EmergencyClosed,
    EmergencyEnded,
    EmergencyRaised,
    EmergencyTaken,
    PositionFix,
    TextReceived,
    to_json,
)
from gateway.model.identity import EventId, RadioId, UnitId, derive_event_id
from gateway.model.quantities import NS_PER_S, Instant
from gateway.outbox.rows import Lane, Row

T0 = Instant(1_750_000_000_000_000_000)
RADIO = RadioId("pdt:80020200")


def at(seconds: float) -> Instant:
    """``seconds`` after T0."""
    return Instant(T0 + round(seconds * NS_PER_S))


def fix(
    seconds: float,
    *,
    radio: str = RADIO,
    unit: str | None = "mobile-1-a",
    team: str | None = "mobile-1",
    lat_deg: float | None = 22.99,
    lon_deg: float | None = 113.88,
    received_s: float | None = None,
) -> PositionFix:
    """A fix taken ``seconds`` after T0; one without a latitude says "no position"."""
    return PositionFix(
        event_id=derive_event_id("fix", radio, seconds, lat_deg, lon_deg),
        site="town",
        link_id="link-1",
        driver="jt808",
        radio_id=RadioId(radio),
        unit_id=UnitId(unit) if unit else None,
        unit_name="机动一组甲" if unit else None,
        team=team if unit else None,
        received_at=at(seconds if received_s is None else received_s),
        fix_valid=lat_deg is not None,
        lat_deg=lat_deg,
        lon_deg=lon_deg if lat_deg is not None else None,
        fix_at=at(seconds),
        speed_mps=1.5,
    )


def raised(seconds: float, *, press: str = "1", team: str = "mobile-1") -> EmergencyRaised:
    """An alarm ``seconds`` after T0."""
    return EmergencyRaised(
        event_id=EventId(f"raised-{press}"),
        site="town",
        link_id="link-1",
        driver="jt808",
        radio_id=RADIO,
        unit_id=UnitId("mobile-1-a"),
        unit_name="机动一组甲",
        team=team,
        received_at=at(seconds),
        kind="alarm",
        is_drill=False,
        verified=True,
    )


def ended(seconds: float, *, press: str = "1") -> EmergencyEnded:
    """The radio says that the alarm is over."""
    return EmergencyEnded(
        event_id=EventId(f"ended-{press}"),
        radio_id=RADIO,
        received_at=at(seconds),
        kind="alarm",
        emergency_id=EventId(f"raised-{press}"),
    )


def taken(seconds: float, *, press: str = "1", by: str = "李明") -> EmergencyTaken:
    """Somebody took it."""
    return EmergencyTaken(
        event_id=EventId(f"taken-{press}-{by}"),
        radio_id=RADIO,
        received_at=at(seconds),
        emergency_id=EventId(f"raised-{press}"),
        by=by,
    )


def closed(seconds: float, *, press: str = "1", by: str = "李明") -> EmergencyClosed:
    """Somebody closed it."""
    return EmergencyClosed(
        event_id=EventId(f"closed-{press}"),
        radio_id=RADIO,
        received_at=at(seconds),
        emergency_id=EventId(f"raised-{press}"),
        by=by,
        verdict="true",
        note="已处置",
    )


def text(seconds: float, body: str, *, team: str | None = "mobile-1") -> TextReceived:
    """A text message."""
    return TextReceived(
        event_id=derive_event_id("text", seconds, body),
        radio_id=RADIO,
        team=team,
        received_at=at(seconds),
        body=body,
    )


def rows(*events: AnyEvent, first: int = 1) -> list[Row]:
    """Events as committed rows."""
    numbers = itertools.count(first)
    return [Row(next(numbers), Lane.TELEMETRY, event, to_json(event)) for event in events]
