"""How urgent a unit's position is, from what the board and the open emergencies say."""

from collections.abc import Sequence

from gateway.airtime.shares import UnitClass
from gateway.model.emergency import Emergency
from gateway.model.geo import Point, distance_m
from gateway.model.views import UnitView

MOVING_MPS = 0.7  # faster than this a person is on the way
PATROLLING_KINDS = frozenset({"mobile", "village", "police"})  # teams that walk or ride on duty


def places_of(emergencies: Sequence[Emergency]) -> list[Point]:
    """Where the open emergencies are, as far as that is known; hearsay moves no air time."""
    return [
        Point(one.fix.lat_deg, one.fix.lon_deg)
        for one in emergencies
        if one.fix is not None and not one.is_hearsay
    ]


def class_of(unit: UnitView, places: Sequence[Point], near_m: float) -> UnitClass | None:
    """The class of one unit, or None where asking it is of no use: it is switched off.

    A unit whose own place is not known is never near anything. A silent one is asked as seldom as
    an idle one: a radio that comes back answers.
    """
    if unit.has_emergency:
        return UnitClass.EMERGENCY
    if unit.state == "off":
        return None
    if unit.state == "silent":
        return UnitClass.IDLE
    if unit.lat_deg is not None and unit.lon_deg is not None:
        here = Point(unit.lat_deg, unit.lon_deg)
        if any(distance_m(here, place) <= near_m for place in places):
            return UnitClass.RESPONDING
    if unit.team_kind in PATROLLING_KINDS or (unit.speed_mps or 0.0) > MOVING_MPS:
        return UnitClass.PATROL
    return UnitClass.IDLE
