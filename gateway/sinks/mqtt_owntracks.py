"""The mirror for OwnTracks programs: every fix as a ``location``, key sites as ``transition``.

Their fields are short and their units differ from ours: km/h, whole metres, seconds since 1970. A
unit is inside a key site from the first fix within its ring to the first one that is EDGE_M outside
it, so that a unit which stands at the edge does not come and go with the receiver's noise.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from gateway.model.events import PositionFix, to_json
from gateway.model.geo import Point, distance_m
from gateway.model.quantities import KMH_MPS, Instant
from gateway.model.views import SiteView
from gateway.sinks.mqtt_client import Message
from gateway.sinks.topics import owntracks, owntracks_event

EDGE_M = 20.0
TID_LETTERS = 2
TRIGGERS = {"time": "t", "request": "r", "emergency": "u"}  # timer, reply, pressed by a person


class Location(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="_type",
    tag="location",
):
    """The payload of ``owntracks/<team>/<unit>``; ``inregions`` are the key sites it is in."""

    lat: float
    lon: float
    tst: int
    created_at: int
    tid: str
    acc: int | None = None
    alt: int | None = None
    vel: int | None = None
    cog: int | None = None
    batt: int | None = None
    t: str | None = None
    inregions: list[str] = []


class Transition(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="_type",
    tag="transition",
):
    """The payload of ``owntracks/<team>/<unit>/event``: a unit has come to a key site, or left it.

    ``wtst`` is since when this gateway knows the site; the roster does not say when it was made.
    """

    event: Literal["enter", "leave"]
    rid: str
    desc: str
    wtst: int
    lat: float
    lon: float
    tst: int
    tid: str
    t: Literal["c"]  # a round region
    acc: int | None = None


class OwnTracks:
    """Makes the mirror's messages from fixes, oldest first."""

    def __init__(self, site: str, sites: Callable[[], Iterable[SiteView]], since: Instant) -> None:
        self._site = site
        self._sites = sites
        self._since = since
        self._inside: dict[str, set[str]] = {}  # unit: the key sites it is in

    def of(self, fix: PositionFix) -> list[Message]:
        """What ``fix`` becomes: nothing without a unit or a place."""
        if fix.unit_id is None or not fix.fix_valid or fix.lat_deg is None or fix.lon_deg is None:
            return []
        team = fix.team or self._site
        is_newest = fix.trigger != "stored"
        crossed, regions = self._crossed(fix, Point(fix.lat_deg, fix.lon_deg))
        location = Location(
            lat=fix.lat_deg,
            lon=fix.lon_deg,
            tst=_seconds(fix.fix_at or fix.received_at),
            created_at=_seconds(fix.received_at),
            tid=fix.unit_id[-TID_LETTERS:],
            acc=_whole(fix.accuracy_m),
            alt=_whole(fix.altitude_m),
            vel=_whole(fix.speed_mps / KMH_MPS if fix.speed_mps is not None else None),
            cog=_whole(fix.course_deg),
            batt=fix.battery_pct,
            t=TRIGGERS.get(fix.trigger or ""),
            inregions=regions,
        )
        topic = owntracks(team, fix.unit_id)
        events = [
            Message(owntracks_event(team, fix.unit_id), to_json(transition))
            for transition in crossed
        ]
        return [Message(topic, to_json(location), 1, retain=is_newest), *events]

    def _crossed(self, fix: PositionFix, place: Point) -> tuple[list[Transition], list[str]]:
        """Which key sites the unit has come to or left, and the names of those it is in."""
        unit = str(fix.unit_id)
        is_first = unit not in self._inside  # where it was before is not known
        inside = self._inside.setdefault(unit, set())
        crossed: list[Transition] = []
        regions: list[str] = []
        for site in self._sites():
            away_m = distance_m(place, Point(site.lat_deg, site.lon_deg))
            was = site.id in inside
            is_in = away_m <= site.ring_m + (EDGE_M if was else 0.0)
            if is_in:
                regions.append(site.name)
            if is_in == was or fix.trigger == "stored":
                continue
            (inside.add if is_in else inside.discard)(site.id)
            if not is_first:
                crossed.append(self._transition(fix, place, site, "enter" if is_in else "leave"))
        return crossed, regions

    def _transition(
        self, fix: PositionFix, place: Point, site: SiteView, event: Literal["enter", "leave"]
    ) -> Transition:
        return Transition(
            event=event,
            rid=site.id,
            desc=site.name,
            wtst=_seconds(self._since),
            lat=place.lat_deg,
            lon=place.lon_deg,
            tst=_seconds(fix.fix_at or fix.received_at),
            tid=str(fix.unit_id)[-TID_LETTERS:],
            t="c",
            acc=_whole(fix.accuracy_m),
        )


def _seconds(at: Instant) -> int:
    return at // 10**9


def _whole(value: float | None) -> int | None:
    return round(value) if value is not None else None
