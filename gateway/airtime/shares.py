"""A channel's budget of position requests, divided among the classes of units.

Every class has an interval it would like and a slowest one it should not pass. While the budget is
enough, everybody gets the interval that is liked. When it is not, the least urgent class is slowed
down first, as far as its slowest interval, then the next one. When even the slowest intervals are
too much, the urgent classes keep theirs and all others are slowed down alike. Those after it
are never left without ``LEAST_SHARE`` of what an urgent class finds: a unit that nobody asks any
more is a unit that nobody sees.
"""

from collections.abc import Mapping
from enum import IntEnum

import msgspec

SECONDS_A_MINUTE = 60.0
LEAST_SHARE = 0.1  # of what is left at a class's turn, held for those after it


class UnitClass(IntEnum):
    """How urgent a unit's position is; the first is the most urgent."""

    EMERGENCY = 0  # it has an open emergency
    RESPONDING = 1  # it is near one
    PATROL = 2  # it moves, or its team patrols
    IDLE = 3  # it stands at its post, or is silent


URGENT = (UnitClass.EMERGENCY, UnitClass.RESPONDING)


class Pace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds between two requests to one unit: as liked, and as slow as it should ever be."""

    wish_s: float
    slowest_s: float


PACES: Mapping[UnitClass, Pace] = {
    UnitClass.EMERGENCY: Pace(wish_s=5.0, slowest_s=10.0),
    UnitClass.RESPONDING: Pace(wish_s=5.0, slowest_s=30.0),
    UnitClass.PATROL: Pace(wish_s=15.0, slowest_s=120.0),
    UnitClass.IDLE: Pace(wish_s=60.0, slowest_s=600.0),
}


def divide(
    budget_a_min: float, counts: Mapping[UnitClass, int], paces: Mapping[UnitClass, Pace] = PACES
) -> dict[UnitClass, float]:
    """Requests a minute for each class that has units; they never add up to more than the budget.

    ``counts`` are the units of each class.
    """
    present = [kind for kind in UnitClass if counts.get(kind, 0) > 0]
    wishes = {kind: counts[kind] * SECONDS_A_MINUTE / paces[kind].wish_s for kind in present}
    least = {kind: counts[kind] * SECONDS_A_MINUTE / paces[kind].slowest_s for kind in present}
    if sum(least.values()) > budget_a_min:
        return _in_need(least, budget_a_min)
    return _lifted(least, wishes, budget_a_min)


def _in_need(least: Mapping[UnitClass, float], budget_a_min: float) -> dict[UnitClass, float]:
    """Even the slowest intervals are too much."""
    given: dict[UnitClass, float] = {}
    left, waiting = budget_a_min, sum(least.values())
    for kind in [kind for kind in URGENT if kind in least]:
        waiting -= least[kind]
        given[kind] = min(least[kind], left - min(waiting, LEAST_SHARE * left))
        left -= given[kind]
    others = {kind: share for kind, share in least.items() if kind not in URGENT}
    return given | {kind: share * left / waiting for kind, share in others.items()}


def _lifted(
    given: Mapping[UnitClass, float], goal: Mapping[UnitClass, float], budget_a_min: float
) -> dict[UnitClass, float]:
    """Each class lifted to its goal, the most urgent first, as far as the budget reaches."""
    lifted = dict(given)
    left = budget_a_min - sum(lifted.values())
    for kind in sorted(lifted):
        more = min(left, goal[kind] - lifted[kind])
        lifted[kind] += more
        left -= more
    return lifted
