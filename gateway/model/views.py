"""What people look at: the live state of units, links, sites and the gateway, as plain facts."""

from typing import Literal

import msgspec

from gateway.model.events import CommandVerb, LinkState
from gateway.model.identity import EventId, RadioId, UnitId
from gateway.model.quantities import Instant

CommandState = Literal["waiting", "sent", "delivered", "refused", "timed_out", "expired"]
UnitState = Literal["fresh_fix", "old_fix", "no_fix", "silent", "off"]


class UnitView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One unit, or one radio without a unit, as the desk sees it now.

    ``lat_deg``/``lon_deg`` and ``fix_at``/``fix_received_at`` belong to the last valid fix,
    however old it is; ``state`` says how far to trust it. ``has_emergency`` is true while one is
    open.
    """

    unit_id: UnitId | None = None
    unit_name: str | None = None
    team: str | None = None
    team_name: str | None = None
    team_kind: str | None = None
    radio_id: RadioId
    state: UnitState
    state_since: Instant
    lat_deg: float | None = None
    lon_deg: float | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    accuracy_m: float | None = None
    satellites: int | None = None
    fix_at: Instant | None = None
    fix_received_at: Instant | None = None
    heard_at: Instant | None = None
    battery_pct: int | None = None
    rssi_dbm: float | None = None
    link_id: str | None = None
    driver: str | None = None
    has_emergency: bool = False
    is_test: bool = False
    doubt: str | None = None


class CommandView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One command to a radio, from the moment it is on disk; ``state`` ends as its event says."""

    command_id: EventId
    verb: CommandVerb
    radio_id: RadioId
    unit_id: UnitId | None = None
    by: str
    state: CommandState
    queued_at: Instant
    changed_at: Instant
    expires_at: Instant
    why: str | None = None

    @property
    def is_open(self) -> bool:
        """True until it has ended."""
        return self.state in {"waiting", "sent"}


class LinkView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One link as the technician sees it; ``rejected`` and ``dropped`` count by reason."""

    link_id: str
    driver: str
    place: str
    state: LinkState
    since: Instant
    why: str | None = None
    peers: int = 0
    bytes_received: int = 0
    last_heard_at: Instant | None = None
    is_degraded: bool = False
    rejected: dict[str, int] = {}
    dropped: dict[str, int] = {}


class RejectedFrame(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that were not taken, kept in a small ring for the technician."""

    at: Instant
    peer: str
    reason: str
    detail: str
    hex: str


class SiteView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key site (重点部位) with its ring in metres."""

    id: str
    name: str
    kind: str = ""
    lat_deg: float
    lon_deg: float
    ring_m: float
    team: str | None = None


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What a class of units may rely on: one that answers has a fix no older than worst_age_s."""

    units: int
    requests_a_min: float
    interval_s: float
    worst_age_s: float


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """The air time of one channel; ``promises`` by class, the most urgent first.

    ``passed_over`` counts turns without a request: the radio had reported by itself, or could not
    be reached.
    """

    channel: str
    budget_a_min: float
    asked_last_min: int
    passed_over: int
    promises: dict[str, Promise]


class GatewayView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The gateway; ``is_accepting`` false means that no radio gets an acknowledgement now."""

    site: str
    site_name: str
    zone: str
    version: str
    started_at: Instant
    now: Instant
    is_accepting: bool
    why: str | None = None
    airtime: list[ChannelView] = []
