"""Rows, settings and a state source for the sinks' tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway.model.emergency import Emergency
from gateway.model.events import (
    EMERGENCY_EVENTS,
    AnyEvent,
    EmergencyClosed,
    EmergencyRaised,
    PositionFix,
    to_json,
)
from gateway.model.identity import EventId, RadioId, UnitId, derive_event_id
from gateway.model.quantities import Instant
from gateway.model.views import LinkView, SiteView, UnitView
from gateway.outbox.rows import Lane, Row
from gateway.settings import Loaded, Settings, convert_table
from gateway.sinks.line_protocol import gateway_line
from gateway.sinks.mqtt import MqttSink

SITE = "town"
BASE = "pdt/v1/town"
AT = Instant.parse("2026-03-01T02:00:00.123Z")


def loaded(folder: Path, **tables: dict[str, Any]) -> Loaded:
    """Settings of the test site with ``tables`` as in a settings file."""
    document = {"site": {"id": SITE}, **tables}
    settings: Settings = convert_table(document, Settings, folder / "gateway.toml")
    return Loaded(settings, folder / "gateway.toml")


def row(seq: int, event: AnyEvent) -> Row:
    """A committed row."""
    lane = Lane.EMERGENCY if isinstance(event, EMERGENCY_EVENTS) else Lane.TELEMETRY
    return Row(seq, lane, event, to_json(event))


def header(number: int, **fields: Any) -> dict[str, Any]:
    """The header of an event of radio ``number``, bound to the unit of that number."""
    given = {
        "site": SITE,
        "link_id": "lan",
        "driver": "jt808",
        "radio_id": RadioId(f"pdt:{number}"),
        "unit_id": UnitId(f"u{number}"),
        "unit_name": f"巡逻{number}组",
        "team": "patrol",
        "received_at": AT,
    }
    return {**given, **fields}


def fix(number: int, seq: int = 0, **fields: Any) -> PositionFix:
    """A valid fix; ``seq`` makes it a different one."""
    given = {
        **header(number),
        "event_id": derive_event_id("fix", number, seq),
        "fix_valid": True,
        "lat_deg": 23.02 + seq * 1e-5,
        "lon_deg": 113.75,
        "fix_at": Instant(AT + seq * 1_000_000_000),
        "speed_mps": 1.5,
        "satellites": 9,
    }
    return PositionFix(**{**given, **fields})


def raised(number: int, mark: str = "first", **fields: Any) -> EmergencyRaised:
    """A pressed button."""
    given = {
        **header(number),
        "event_id": derive_event_id("emergency", number, mark),
        "kind": "alarm",
        "is_drill": False,
        "verified": True,
    }
    return EmergencyRaised(**{**given, **fields})


def closed(state: Emergency, **fields: Any) -> EmergencyClosed:
    """A person's closing of ``state``."""
    given = {
        "event_id": derive_event_id("closed", state.emergency_id),
        "site": state.site,
        "link_id": state.link_id,
        "driver": state.driver,
        "radio_id": state.radio_id,
        "unit_id": state.unit_id,
        "emergency_id": state.emergency_id,
        "received_at": AT,
        "by": "zhang",
        "verdict": "false",
    }
    return EmergencyClosed(**{**given, **fields})


def unit_view(number: int, **fields: Any) -> UnitView:
    """What the board knows of a unit."""
    given = {
        "unit_id": UnitId(f"u{number}"),
        "radio_id": RadioId(f"pdt:{number}"),
        "state": "fresh_fix",
        "state_since": AT,
        "heard_at": AT,
        "battery_pct": 80,
        "lat_deg": 23.02,
        "lon_deg": 113.75,
    }
    return UnitView(**{**given, **fields})


def link_view(link_id: str = "lan", **fields: Any) -> LinkView:
    """What the board knows of a link."""
    given = {
        "link_id": link_id,
        "driver": "jt808",
        "place": "tcp 127.0.0.1:8080",
        "state": "up",
        "since": AT,
    }
    return LinkView(**{**given, **fields})


class Health(msgspec.Struct):
    """A small health payload."""

    stored: int = 3
    lag_s: float = 0.5
    is_accepting: bool = True


def figures(at: Instant) -> Iterable[str]:
    """The lines of a moment: those of the small health payload."""
    text = gateway_line(SITE, Health(), at)
    return () if text is None else (text,)


class States:
    """A state source that a test writes by hand."""

    def __init__(self) -> None:
        self.emergencies: dict[EventId, Emergency] = {}
        self.unit_views: dict[str, UnitView] = {}
        self.link_views: dict[str, LinkView] = {}
        self.fixes: list[PositionFix] = []
        self.site_views: list[SiteView] = []

    def put(self, *states: Emergency) -> None:
        """Store the new state of emergencies."""
        for state in states:
            self.emergencies[state.emergency_id] = state

    def open_emergencies(self) -> Sequence[Emergency]:
        """Those not closed."""
        return [state for state in self.emergencies.values() if state.is_open]

    def units(self) -> Iterable[UnitView]:
        """All units."""
        return list(self.unit_views.values())

    def unit(self, key: str) -> UnitView | None:
        """One unit."""
        return self.unit_views.get(key)

    def last_fixes(self) -> Iterable[PositionFix]:
        """All fixes."""
        return list(self.fixes)

    def sites(self) -> Iterable[SiteView]:
        """All key sites."""
        return list(self.site_views)

    def links(self) -> Iterable[LinkView]:
        """All links."""
        return list(self.link_views.values())

    def link(self, link_id: str) -> LinkView | None:
        """One link."""
        return self.link_views.get(link_id)

    def info(self) -> object:
        """A version."""
        return {"version": "0.1.0", "links": sorted(self.link_views)}

    def health(self) -> Health:
        """Figures."""
        return Health()


async def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Until ``condition`` holds; fails after ``timeout_s``."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s:g} s for {what}") from None


@asynccontextmanager
async def running(sink: MqttSink) -> AsyncIterator[MqttSink]:
    """The sink connected and with both lanes open; stopped at the end of the block."""
    task = asyncio.ensure_future(sink.run())
    try:
        await eventually(lambda: Lane.TELEMETRY in sink._open, "the sink to open its lanes")
        yield sink
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
