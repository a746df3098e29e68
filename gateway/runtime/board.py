"""The live board: where everybody is, how old that is, and who has not been heard.

Five states, told apart on purpose: on air with a fresh fix, on air with an old fix, on air without
a fix, silent, and switched off. Ages are measured by the monotonic clock.
"""

from collections.abc import Iterable

import msgspec

from gateway.clock import Clock
from gateway.incidents.book import EmergencyBook
from gateway.model.emergency import Emergency
from gateway.model.events import (
    AnyEvent,
    Fix,
    PositionFix,
    RadioDeregistered,
    StatusReceived,
)
from gateway.model.identity import RadioId, UnitId
from gateway.model.quantities import Instant
from gateway.model.views import LinkView, SiteView, UnitState, UnitView
from gateway.roster.units import Roster, Unit
from gateway.runtime.bus import Bus

LATE_S = 86_400.0  # a step back of more than a day is a clock that was set, not a late report
MAX_UNREGISTERED = 10_000  # radios without a unit that are shown; more are counted, not kept


class _Track:
    """What is known of one unit, or of one radio without a unit."""

    __slots__ = (
        "battery_pct",
        "doubt",
        "driver",
        "fix",
        "fix_mono",
        "heard_at",
        "heard_mono",
        "is_off",
        "link_id",
        "no_fix_mono",
        "radio_id",
        "rssi_dbm",
        "state",
        "state_since",
        "unit",
    )

    def __init__(self, radio_id: RadioId, unit: Unit | None, now: Instant) -> None:
        self.radio_id = radio_id
        self.unit = unit
        self.link_id: str | None = None
        self.driver: str | None = None
        self.heard_at: Instant | None = None
        self.heard_mono: float | None = None
        self.fix: PositionFix | None = None  # the last valid one
        self.fix_mono = 0.0
        self.no_fix_mono: float | None = None  # when the radio last said that it has none
        self.is_off = False
        self.battery_pct: int | None = None
        self.rssi_dbm: float | None = None
        self.doubt: str | None = None
        self.state: UnitState = "silent"
        self.state_since = now

    def keep_signal(self, event: PositionFix | StatusReceived) -> None:
        """The newest battery and signal; 0 is a value, absent is none."""
        if event.battery_pct is not None:
            self.battery_pct = event.battery_pct
        if event.rssi_dbm is not None:
            self.rssi_dbm = event.rssi_dbm


class Board:
    """The newest facts of every unit; see the module's docstring."""

    def __init__(
        self,
        *,
        roster: Roster,
        book: EmergencyBook,
        bus: Bus,
        clock: Clock,
        fresh_s: float,
        silent_s: float,
    ) -> None:
        self._roster = roster
        self._book = book
        self._bus = bus
        self._clock = clock
        self._fresh_s = fresh_s
        self._silent_s = silent_s
        self._tracks: dict[str, _Track] = {}  # by unit id, or radio id where there is no unit
        self._links: dict[str, LinkView] = {}
        self.unregistered_not_shown = 0
        now = clock.now()
        for unit in roster.units.values():
            radio = RadioId(unit.radios[0]) if unit.radios else RadioId("")
            self._tracks[unit.id] = _Track(radio, unit, now)

    # What the runtime tells.

    def restore(self, fixes: Iterable[PositionFix]) -> None:
        """Take over the last known fixes at start, as old as they are."""
        now, mono = self._clock.now(), self._clock.monotonic()
        for fix in fixes:
            track = self._track(fix.radio_id)
            if track is None or not fix.fix_valid:
                continue
            if track.fix is None or fix.received_at > track.fix.received_at:
                age_s = max(0.0, now.seconds_since(fix.received_at))
                track.fix, track.fix_mono = fix, mono - age_s
                track.radio_id = fix.radio_id
                track.heard_at, track.heard_mono = fix.received_at, mono - age_s
        self.refresh()

    def heard(
        self,
        radio_id: RadioId,
        *,
        link_id: str,
        driver: str,
        at: Instant,
        is_leaving: bool = False,
    ) -> None:
        """A radio is alive, whatever it said before; unless it says now that it leaves."""
        track = self._track(radio_id)
        if track is None:
            return
        track.radio_id = radio_id
        track.link_id = link_id
        track.driver = driver
        track.heard_at = at
        track.heard_mono = self._clock.monotonic()
        if not is_leaving:
            track.is_off = False
        if track.state in {"silent", "off"} and not track.is_off:
            self._refresh(self._key(radio_id), track)

    def doubt(self, radio_id: RadioId, doubt: str | None) -> None:
        """Something a radio said could not be; None: its newest place is beyond doubt."""
        track = self._track(radio_id)
        if track is not None:
            track.doubt = doubt

    def committed(self, event: AnyEvent) -> None:
        """An event of a radio is on disk."""
        track = self._track(event.radio_id)
        if track is None:
            return
        if isinstance(event, PositionFix):
            self._committed_fix(track, event)
        elif isinstance(event, RadioDeregistered):
            # It may have spoken again while its good-bye went to disk.
            track.is_off = track.heard_at is None or track.heard_at <= event.received_at
        elif isinstance(event, StatusReceived):
            track.keep_signal(event)
        key = self._key(event.radio_id)
        self._refresh(key, track)
        self._bus.publish("unit", key)

    def emergency_changed(self, emergency: Emergency) -> None:
        """An emergency has a new state on disk, or is back to the one that is there."""
        self._bus.publish("emergency", emergency.emergency_id)
        self._bus.publish("unit", self._key(emergency.radio_id))

    def link_changed(self, view: LinkView) -> None:
        """A link has a new state."""
        self._links[view.link_id] = view
        self._bus.publish("link", view.link_id)

    def refresh(self) -> None:
        """Look at the clock: what was fresh grows old. Called once a second."""
        for key, track in self._tracks.items():
            self._refresh(key, track)

    # What people ask.

    def last_place(self, radio_id: RadioId) -> Fix | None:
        """The last valid fix of a radio, or of its unit, with its age in seconds."""
        track = self._tracks.get(self._key(radio_id))
        if track is None or track.fix is None:
            return None
        age_s = round(max(0.0, self._clock.monotonic() - track.fix_mono), 1)
        return track.fix.place(age_s=age_s)

    def units(self) -> list[UnitView]:
        """Every unit, and every radio without one."""
        return [self._view(track) for track in self._tracks.values()]

    def unit(self, key: str) -> UnitView | None:
        """One unit by unit id, or by radio id where there is no unit."""
        track = self._tracks.get(key)
        return self._view(track) if track is not None else None

    def last_fixes(self) -> list[PositionFix]:
        """The last valid fix of each unit, and of each radio without one."""
        return [track.fix for track in self._tracks.values() if track.fix is not None]

    def knows(self, radio_id: RadioId) -> bool:
        """Whether a radio was heard, or belongs to a unit."""
        return self._key(radio_id) in self._tracks

    def sites(self) -> list[SiteView]:
        """The key sites."""
        return [SiteView(**msgspec.structs.asdict(site)) for site in self._roster.sites]

    def _key(self, radio_id: RadioId) -> str:
        unit = self._roster.unit_of(radio_id)
        return unit.id if unit is not None else radio_id

    def _track(self, radio_id: RadioId) -> _Track | None:
        key = self._key(radio_id)
        track = self._tracks.get(key)
        if track is None and radio_id:
            if len(self._tracks) - len(self._roster.units) >= MAX_UNREGISTERED:
                self.unregistered_not_shown += 1
                return None
            track = self._tracks[key] = _Track(radio_id, None, self._clock.now())
            self._bus.publish("unit", key)
        return track

    def _committed_fix(self, track: _Track, fix: PositionFix) -> None:
        mono = self._clock.monotonic()
        track.keep_signal(fix)
        if not fix.fix_valid or fix.lat_deg is None:
            track.no_fix_mono = mono
            return
        if track.fix is not None and _comes_late(fix, track.fix):
            return  # history has it, the map keeps the newer one
        age_s = 0.0
        if fix.trigger == "stored" and fix.fix_at is not None:
            age_s = max(0.0, fix.received_at.seconds_since(fix.fix_at))
        track.fix, track.fix_mono = fix, mono - age_s

    def _refresh(self, key: str, track: _Track) -> None:
        state = self._state(track)
        if state != track.state:
            track.state = state
            track.state_since = self._clock.now()
            self._bus.publish("unit", key)

    def _state(self, track: _Track) -> UnitState:
        mono = self._clock.monotonic()
        if track.is_off:
            return "off"
        if track.heard_mono is None or mono - track.heard_mono > self._silent_s:
            return "silent"
        if track.fix is None:
            return "no_fix"
        if mono - track.fix_mono <= self._fresh_s:
            return "fresh_fix"
        if track.no_fix_mono is not None and track.no_fix_mono > track.fix_mono:
            return "no_fix"
        return "old_fix"

    def _view(self, track: _Track) -> UnitView:
        unit, fix = track.unit, track.fix
        team = self._roster.teams.get(unit.team) if unit is not None and unit.team else None
        return UnitView(
            unit_id=UnitId(unit.id) if unit is not None else None,
            unit_name=unit.name if unit is not None else None,
            team=team.id if team is not None else None,
            team_name=team.name if team is not None else None,
            team_kind=team.kind if team is not None else None,
            radio_id=track.radio_id,
            state=track.state,
            state_since=track.state_since,
            lat_deg=fix.lat_deg if fix is not None else None,
            lon_deg=fix.lon_deg if fix is not None else None,
            altitude_m=fix.altitude_m if fix is not None else None,
            speed_mps=fix.speed_mps if fix is not None else None,
            course_deg=fix.course_deg if fix is not None else None,
            accuracy_m=fix.accuracy_m if fix is not None else None,
            satellites=fix.satellites if fix is not None else None,
            fix_at=fix.fix_at if fix is not None else None,
            fix_received_at=fix.received_at if fix is not None else None,
            heard_at=track.heard_at,
            battery_pct=track.battery_pct,
            rssi_dbm=track.rssi_dbm,
            link_id=track.link_id,
            driver=track.driver,
            has_emergency=self._has_emergency(track),
            is_test=unit is not None and unit.is_test,
            doubt=track.doubt,
        )

    def _has_emergency(self, track: _Track) -> bool:
        mine = set(track.unit.radios) if track.unit is not None else {track.radio_id}
        return any(state.radio_id in mine and not state.is_hearsay for state in self._book.open())


def _comes_late(fix: PositionFix, known: PositionFix) -> bool:
    """An older fix after a newer one, by the radio's clock; a clock that is off decides nothing."""
    at = fix.true_at()
    if at == fix.received_at:
        return False  # it is of now
    return 0 < known.true_at().seconds_since(at) <= LATE_S
