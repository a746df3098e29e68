"""What the MQTT sink publishes beside the events: the present state, asked for when it is sent."""

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from gateway.model.emergency import Emergency
from gateway.model.events import LinkState, PositionFix
from gateway.model.identity import RadioId, UnitId
from gateway.model.quantities import Instant
from gateway.model.views import LinkView, SiteView, UnitState, UnitView

ChangeKind = Literal["emergency", "unit", "link", "gateway"]


class StateSource(Protocol):
    """The live board, as far as the broker hears of it.

    Every answer is the newest state. ``info`` and ``health`` are structs made of the model's types,
    without secrets and without positions.
    """

    def open_emergencies(self) -> Sequence[Emergency]:
        """Every emergency that no person has closed, oldest first."""
        ...

    def units(self) -> Iterable[UnitView]:
        """Every unit, and every radio without one."""
        ...

    def unit(self, key: str) -> UnitView | None:
        """One unit by unit id, or by radio id where there is no unit."""
        ...

    def last_fixes(self) -> Iterable[PositionFix]:
        """The last valid fix of each unit, and of each radio without one."""
        ...

    def sites(self) -> Iterable[SiteView]:
        """The key sites."""
        ...

    def links(self) -> Iterable[LinkView]:
        """Every link."""
        ...

    def link(self, link_id: str) -> LinkView | None:
        """One link."""
        ...

    def info(self) -> object:
        """What the gateway is: version, site, links."""
        ...

    def health(self) -> object:
        """How it does: counters, ages, what is wrong."""
        ...


class GatewayState(msgspec.Struct, frozen=True):
    """The payload of ``gateway/state``; the will says ``offline``."""

    state: Literal["online", "offline"]


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of ``link/<link_id>/state``."""

    link_id: str
    driver: str
    state: LinkState
    since: Instant
    why: str | None = None

    @classmethod
    def of(cls, view: LinkView) -> "LinkStatus":
        """The published part of what the technician sees."""
        return cls(
            link_id=view.link_id,
            driver=view.driver,
            state=view.state,
            since=view.since,
            why=view.why,
        )


class UnitStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of ``unit/<unit_id>/status``: no coordinates, those are in ``fix``."""

    unit_id: UnitId | None = None
    unit_name: str | None = None
    team: str | None = None
    radio_id: RadioId
    state: UnitState
    since: Instant
    battery_pct: int | None = None
    rssi_dbm: float | None = None
    heard_at: Instant | None = None
    fix_at: Instant | None = None
    link_id: str | None = None
    doubt: str | None = None

    @classmethod
    def of(cls, view: UnitView) -> "UnitStatus":
        """The published part of what the desk sees."""
        return cls(
            unit_id=view.unit_id,
            unit_name=view.unit_name,
            team=view.team,
            radio_id=view.radio_id,
            state=view.state,
            since=view.state_since,
            battery_pct=view.battery_pct,
            rssi_dbm=view.rssi_dbm,
            heard_at=view.heard_at,
            fix_at=view.fix_at,
            link_id=view.link_id,
            doubt=view.doubt,
        )

    def essence(self) -> tuple[object, ...]:
        """What a consumer must hear of at once; the rest may wait for the next turn."""
        return (self.state, self.since, self.radio_id, self.battery_pct, self.link_id, self.doubt)
