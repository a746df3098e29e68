"""What may be kept of a position: all of it, a coarse one, or nothing.

Positions of people are personal data. A rule for a kind of team says what is stored of its units
off duty; a team without a rule, and everybody in an emergency, is stored in full. The live view is
not concerned: it shows what is, and keeps nothing.
"""

from collections.abc import Callable, Iterable
from zoneinfo import ZoneInfo

import msgspec

from gateway.model.events import AnyEvent, PositionFix
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant
from gateway.model.views import UnitView
from gateway.outbox.rows import Row
from gateway.roster.units import Roster
from gateway.settings import PrivacySettings

COARSE_DIGITS = 2  # about a kilometre
COARSE_M = 800.0  # how wrong a rounded position may be, at most, anywhere on the globe

InEmergency = Callable[[RadioId, str | None, Instant], bool]


class Privacy:
    """Applied by every sink that keeps positions; see the module's docstring.

    ``in_emergency`` says whether one of that radio, or of its team, was going on at a moment.
    """

    def __init__(
        self,
        rules: Iterable[PrivacySettings],
        roster: Roster,
        zone: ZoneInfo,
        in_emergency: InEmergency,
    ) -> None:
        self._rules: dict[str, PrivacySettings] = {
            rule.kind: rule for rule in rules if rule.off_duty != "full"
        }
        self._roster = roster
        self._zone = zone
        self._in_emergency = in_emergency

    def kept_view(self, view: UnitView, at: Instant) -> UnitView:
        """What is shown now, as it may be stored."""
        rule = self._rules.get(view.team_kind or "") if self._rules else None
        if rule is None or view.has_emergency:
            return view
        if self._roster.is_on_duty(view.radio_id, at, self._zone):
            return view
        if self._in_emergency(view.radio_id, view.team, at):
            return view
        given: dict[str, float | None] = dict.fromkeys(("lat_deg", "lon_deg"))
        if rule.off_duty == "coarse" and view.lat_deg is not None and view.lon_deg is not None:
            given = {
                "lat_deg": round(view.lat_deg, COARSE_DIGITS),
                "lon_deg": round(view.lon_deg, COARSE_DIGITS),
            }
        return msgspec.structs.replace(view, **given, speed_mps=None, course_deg=None)

    def kept(self, event: AnyEvent) -> AnyEvent | None:
        """The event as it may be stored; None where nothing may."""
        if not self._rules or not isinstance(event, PositionFix):
            return event
        team = self._roster.teams.get(event.team) if event.team else None
        rule = self._rules.get(team.kind) if team is not None else None
        if rule is None or event.trigger == "emergency":
            return event
        at = event.true_at()
        if self._roster.is_on_duty(event.radio_id, at, self._zone):
            return event
        if self._in_emergency(event.radio_id, event.team, at):
            return event
        return None if rule.off_duty == "none" else coarse(event)

    def kept_rows(self, rows: Iterable[Row]) -> list[Row]:
        """The rows as they may be stored; those of which nothing may are left out."""
        kept = []
        for row in rows:
            event = self.kept(row.event)
            if event is row.event:
                kept.append(row)
            elif event is not None:
                kept.append(row._replace(event=event))
        return kept


def coarse(fix: PositionFix) -> PositionFix:
    """Where somebody is to about a kilometre, and nothing of how they move."""
    if fix.lat_deg is None or fix.lon_deg is None:
        return fix
    return msgspec.structs.replace(
        fix,
        lat_deg=round(fix.lat_deg, COARSE_DIGITS),
        lon_deg=round(fix.lon_deg, COARSE_DIGITS),
        accuracy_m=max(COARSE_M, fix.accuracy_m or 0.0),
        altitude_m=None,
        speed_mps=None,
        course_deg=None,
        odometer_m=None,
    )
