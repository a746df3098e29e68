"""The present as points of the time series: what an event alone cannot tell.

Who is silent, which emergency is still open, that a link is up since last week: none of it happens,
so no event says it. Every few seconds the state is written as it is. Measurements and tags are
those of the events; a state that is written late is of no use, so nothing here is kept for later.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, get_args

import msgspec

from gateway.model.emergency import Emergency
from gateway.model.events import LinkState
from gateway.model.quantities import Instant
from gateway.model.views import LinkView, UnitState, UnitView
from gateway.sinks.line_protocol import (
    KIND_NS,
    FieldValue,
    field_name,
    gateway_line,
    line,
    place_fields,
    real,
)

UNIT_STATES: tuple[UnitState, ...] = get_args(UnitState)  # their place is their code, best first
LINK_CODES: Mapping[LinkState, int] = {"up": 0, "connecting": 1, "silent": 2, "down": 3}
REPEAT_S = 60.0  # a unit of which nothing changes is written this often
TRAILS = 6  # units in an emergency whose way a map can draw, each as a line of its own
TRAIL_ENDS_S = 1200.0  # longer than a map looks back, see Trails
OPEN_NS = 40  # after the events of one moment, see line_protocol


class Present(Protocol):
    """The live state, as far as the time series hears of it."""

    def health(self) -> msgspec.Struct:
        """Numbers of the gateway itself."""
        ...

    def units(self) -> Iterable[UnitView]:
        """Every unit, and every radio without one."""
        ...

    def links(self) -> Iterable[LinkView]:
        """Every link."""
        ...

    def open_emergencies(self) -> Sequence[Emergency]:
        """Every emergency that no person has closed, oldest first."""
        ...


class Figures:
    """Makes the lines of one moment; remembers what it wrote to leave out what did not change."""

    def __init__(
        self,
        site: str,
        present: Present,
        kept: Callable[[UnitView, Instant], UnitView] = lambda view, _at: view,
    ) -> None:
        self._site = site
        self._present = present
        self._kept = kept
        self._trails = Trails(site)
        self._written: dict[str, tuple[object, Instant]] = {}  # unit or radio: what, when

    def lines(self, at: Instant) -> Iterator[str]:
        """Every line that is to be written now."""
        units = list(self._present.units())
        emergencies = self._present.open_emergencies()
        trails = self._trails.of(emergencies)
        yield from _lines(
            gateway_line(self._site, self._gateway(units, emergencies, at), at),
            *(open_line(each, at) for each in most_urgent(emergencies)),
            *(link_line(self._site, view, at) for view in self._present.links()),
            *self._teams(units, at),
        )
        for view in (self._kept(each, at) for each in units):
            trail = trails.get(view.radio_id) if view.has_emergency else None
            if trail is not None:
                self._trails.passes(trail, view)
            if self._is_news(view, trail, at):
                yield from _lines(unit_line(self._site, view, trail, at))
        yield from _lines(*self._trails.ends(at))

    def _gateway(
        self, units: Sequence[UnitView], emergencies: Sequence[Emergency], at: Instant
    ) -> dict[str, object]:
        waiting = [each for each in emergencies if each.phase == "open"]
        ages = [
            age for view in units if _is_located(view) for age in [_age_s(view.fix_received_at, at)]
        ]
        health = self._present.health()
        own = {  # first, since a point has a most: whatever a channel promises comes last
            "emergencies_open": len(emergencies),
            "emergencies_waiting": len(waiting),
            "emergencies_waiting_s": max((_since(e.raised_at, at) for e in waiting), default=0.0),
            "units": _states(units),
            "links": _link_states(self._present.links()),
            "fix_oldest_s": max((age for age in ages if age is not None), default=0.0),
            "sinks_oldest_age_s": max(
                (sink.oldest_age_s for sink in getattr(health, "sinks", ())), default=0.0
            ),
        }
        return own | {k: v for k, v in msgspec.structs.asdict(health).items() if k not in own}

    def _teams(self, units: Sequence[UnitView], at: Instant) -> Iterator[str | None]:
        """How many of each team are in which state."""
        teams: dict[str, list[UnitView]] = {}
        for view in units:
            if view.team:
                teams.setdefault(view.team, []).append(view)
        for team, members in teams.items():
            fields: dict[str, FieldValue] = {
                f"units_{state}": count for state, count in _states(members).items()
            }
            fields["team_name"] = members[0].team_name
            yield line("radio_status", {"site": self._site, "team": team}, fields, at)

    def _is_news(self, view: UnitView, trail: int | None, at: Instant) -> bool:
        key = view.unit_id or view.radio_id
        what = (view.state, view.fix_received_at, view.has_emergency, trail)
        before = self._written.get(key)
        if before is not None and before[0] == what and at.seconds_since(before[1]) < REPEAT_S:
            return False
        self._written[key] = (what, at)
        return True


class Trails:
    """Gives each radio in an emergency a number from 1 to ``TRAILS`` for as long as it is open.

    One map layer draws one line, so each of them asks for a number and not for a unit. The number
    that was free for longest is given next; when all are in use, later ones have none. A map keeps
    a line of which it hears nothing more, so a trail ends by standing still at its last place until
    all that the map looks back to is that place.
    """

    def __init__(self, site: str) -> None:
        self._site = site
        self._free = list(range(1, TRAILS + 1))
        self._given: dict[str, int] = {}
        self._places: dict[int, dict[str, FieldValue]] = {}
        self._freed_at: dict[int, Instant | None] = {}

    def of(self, emergencies: Iterable[Emergency]) -> dict[str, int]:
        """The numbers by radio."""
        radios = list(dict.fromkeys(e.radio_id for e in emergencies if not e.is_hearsay))
        for radio in [each for each in self._given if each not in radios]:
            number = self._given.pop(radio)
            self._free.append(number)
            self._freed_at[number] = None  # known at the next ``ends``
        for radio in radios:
            if radio not in self._given and self._free:
                number = self._given[radio] = self._free.pop(0)
                self._places.pop(number, None)
                self._freed_at.pop(number, None)
        return dict(self._given)

    def passes(self, number: int, view: UnitView) -> None:
        """Where the unit of a number is now."""
        self._places[number] = place_fields(view.lat_deg, view.lon_deg)

    def ends(self, at: Instant) -> Iterator[str | None]:
        """A point of each trail that has ended of late."""
        for number, freed_at in list(self._freed_at.items()):
            start = self._freed_at[number] = freed_at or at
            place = self._places.get(number)
            if not place or at.seconds_since(start) > TRAIL_ENDS_S:
                del self._freed_at[number]
                continue
            yield line("radio_status", {"site": self._site}, {"trail": number, **place}, at)


def most_urgent(emergencies: Iterable[Emergency]) -> list[tuple[Emergency, int]]:
    """One of each radio, with how many it has open: who waits comes first, then the oldest.

    What somebody else says in a radio's name stands for itself.
    """
    by_radio: dict[tuple[str, bool], list[Emergency]] = {}
    for each in emergencies:
        by_radio.setdefault((each.radio_id, each.is_hearsay), []).append(each)
    return [
        (min(own, key=lambda each: (each.phase != "open", each.raised_at)), len(own))
        for own in by_radio.values()
    ]


def open_line(urgent: tuple[Emergency, int], at: Instant) -> str | None:
    """An open emergency; its place is the one that it was raised with."""
    state, count = urgent
    age_s = _since(state.raised_at, at)
    fields: dict[str, FieldValue] = {
        "event": "open",
        "emergency_id": state.emergency_id,
        "open_count": count,
        "phase": state.phase,
        "kind": state.kind,
        "name": state.unit_name or state.unit_id or state.radio_id,
        "place": state.place,
        "is_drill": state.is_drill,
        "verified": state.verified,
        "by": state.taken_by or "",
        "open_s": age_s,
        "waiting_s": age_s if state.phase == "open" else 0.0,
    }
    if state.fix is not None:
        fields |= place_fields(state.fix.lat_deg, state.fix.lon_deg)
    tags = {
        "driver": state.driver,
        "link": state.link_id,
        "radio": state.radio_id,
        "site": state.site,
        "team": state.team,
        "unit": state.unit_id,
    }
    return line("emergency", tags, fields, Instant(at + OPEN_NS + KIND_NS[state.kind]))


def unit_line(site: str, view: UnitView, trail: int | None, at: Instant) -> str | None:
    """A unit, or a radio without one; the place is that of the last valid fix, however old."""
    fields: dict[str, FieldValue] = {
        "state": view.state,
        "state_code": UNIT_STATES.index(view.state),
        "state_s": _since(view.state_since, at),
        "name": view.unit_name or view.unit_id or view.radio_id,
        "team_name": view.team_name,
        "team_kind": view.team_kind,
        # never heard: not since this gateway began to listen
        "heard_s": _since(view.heard_at or view.state_since, at),
        "fix_s": _age_s(view.fix_received_at, at),
        "speed_mps": real(view.speed_mps),
        "course_deg": real(view.course_deg),
        "battery_pct": view.battery_pct,
        "rssi_dbm": real(view.rssi_dbm),
        "has_emergency": view.has_emergency,
        "trail": trail,
    }
    fields |= place_fields(view.lat_deg, view.lon_deg)
    tags = {
        "driver": view.driver,
        "link": view.link_id,
        "radio": view.radio_id,
        "site": site,
        "team": view.team,
        "unit": view.unit_id,
    }
    return line("radio_status", tags, fields, at)


def link_line(site: str, view: LinkView, at: Instant) -> str | None:
    """A link, with what it refused and dropped since the start, by reason."""
    fields: dict[str, FieldValue] = {
        "state": view.state,
        "state_code": LINK_CODES[view.state],
        "is_up": view.state == "up",
        "state_s": _since(view.since, at),
        "why": view.why,
        "peers": view.peers,
        "bytes_received": view.bytes_received,
        "quiet_s": _age_s(view.last_heard_at, at),
        "is_degraded": view.is_degraded,
        "rejected": sum(view.rejected.values()),
        "dropped": sum(view.dropped.values()),
    }
    fields |= {f"rejected_{field_name(why)}": n for why, n in view.rejected.items()}
    fields |= {f"dropped_{field_name(why)}": n for why, n in view.dropped.items()}
    tags = {"driver": view.driver, "link": view.link_id, "site": site}
    return line("link", tags, fields, at)


def _lines(*lines: str | None) -> Iterator[str]:
    return (each for each in lines if each is not None)


def _states(units: Iterable[UnitView]) -> dict[str, int]:
    counted = Counter(view.state for view in units)
    return {state: counted[state] for state in UNIT_STATES}


def _link_states(links: Iterable[LinkView]) -> dict[str, int]:
    counted = Counter(view.state for view in links)
    return {state: counted[state] for state in LINK_CODES}


def _is_located(view: UnitView) -> bool:
    return view.state in {"fresh_fix", "old_fix"}


def _since(start: Instant, at: Instant) -> float:
    return round(max(0.0, at.seconds_since(start)), 3)


def _age_s(start: Instant | None, at: Instant) -> float | None:
    return None if start is None else _since(start, at)
