"""One channel's schedule: which unit is asked next, and when.

Each class is a ring that is asked in turn at the class's own rate, so two requests to one unit lie
the size of its ring divided by that rate apart. Requests of the channel are never closer than the
budget allows, and what was not used is not saved up: in any minute there are at most ``budget``
of them. A unit that becomes more urgent is asked first in its new ring.
"""

from collections import OrderedDict
from collections.abc import Mapping
from math import inf

from gateway.airtime.shares import PACES, SECONDS_A_MINUTE, Pace, UnitClass, divide
from gateway.model.views import Promise

PLANNED = 0.97  # of the budget is promised; the rest makes up for requests that go out late

CATCH_UP_S = 5.0  # a ring that was held up longer than this begins anew


class _Ring:
    """The units of one class, the next one to ask in front."""

    __slots__ = ("due_mono", "every_s", "units")

    def __init__(self) -> None:
        self.units: OrderedDict[str, None] = OrderedDict()
        self.every_s = inf  # seconds between two requests of the ring
        self.due_mono = 0.0


class Channel:
    """See the module's docstring; ``budget_a_min`` requests a minute, at least one.

    ``answer_s`` is how long a unit may take to answer; it is part of the promise.
    """

    def __init__(
        self,
        budget_a_min: float = 1000.0,
        *,
        paces: Mapping[UnitClass, Pace] = PACES,
        answer_s: float = 2.0,
    ) -> None:
        if budget_a_min < 1:
            raise ValueError(f"a budget of {budget_a_min:g} requests a minute asks nobody")
        self.budget_a_min = budget_a_min
        self._paces = paces
        self._answer_s = answer_s
        self._slot_s = SECONDS_A_MINUTE / budget_a_min
        self._free_mono = 0.0  # when the channel may carry the next request
        self._rings = {kind: _Ring() for kind in UnitClass}
        self._class_of: dict[str, UnitClass] = {}

    def put(self, unit: str, kind: UnitClass, now_mono: float) -> None:
        """Add a unit, or change its class."""
        before = self._class_of.get(unit)
        if before is kind:
            return
        if before is not None:
            del self._rings[before].units[unit]
        self._class_of[unit] = kind
        ring = self._rings[kind]
        ring.units[unit] = None
        if before is not None and kind < before:
            ring.units.move_to_end(unit, last=False)
            ring.due_mono = min(ring.due_mono, now_mono)
        self._divide(now_mono)

    def remove(self, unit: str, now_mono: float) -> None:
        """Ask it no more; harmless for a unit that is not here."""
        kind = self._class_of.pop(unit, None)
        if kind is not None:
            del self._rings[kind].units[unit]
            self._divide(now_mono)

    def interval_s(self, unit: str) -> float | None:
        """Seconds between two requests to a unit; None for one that is not here."""
        kind = self._class_of.get(unit)
        if kind is None:
            return None
        ring = self._rings[kind]
        return len(ring.units) * ring.every_s

    def next_due(self) -> float:
        """When ``take`` can give a unit, monotonic seconds; infinite while there is none."""
        due = min((ring.due_mono for ring in self._rings.values() if ring.units), default=inf)
        return max(due, self._free_mono)

    def take(self, now_mono: float) -> str | None:
        """The unit to ask now, or None while none is due or the budget is used."""
        if now_mono < self._free_mono:
            return None
        due = [ring for ring in self._rings.values() if ring.units and ring.due_mono <= now_mono]
        if not due:
            return None
        ring = min(due, key=lambda one: one.due_mono)
        unit = next(iter(ring.units))
        ring.units.move_to_end(unit)
        ring.due_mono = max(ring.due_mono + ring.every_s, now_mono - CATCH_UP_S)
        self._free_mono = now_mono + self._slot_s
        return unit

    def promises(self) -> dict[UnitClass, Promise]:
        """What each class that has units may rely on.

        The worst age is one interval, the answer, and a slot for every other class, since each of
        them may be asked first once.
        """
        present = {kind: ring for kind, ring in self._rings.items() if ring.units}
        waits_s = self._slot_s * len(present)
        found = {}
        for kind, ring in present.items():
            interval_s = len(ring.units) * ring.every_s
            found[kind] = Promise(
                units=len(ring.units),
                requests_a_min=round(SECONDS_A_MINUTE / ring.every_s, 1),
                interval_s=round(interval_s, 1),
                worst_age_s=round(interval_s + waits_s + self._answer_s, 1),
            )
        return found

    def _divide(self, now_mono: float) -> None:
        """Divide the budget anew; a ring that was empty starts now."""
        counts = {kind: len(ring.units) for kind, ring in self._rings.items()}
        given = divide(self.budget_a_min * PLANNED, counts, self._paces)
        for kind, ring in self._rings.items():
            if kind not in given:
                ring.every_s = inf
                continue
            every_s = SECONDS_A_MINUTE / given[kind]
            if ring.every_s == inf:
                ring.due_mono = now_mono
            else:
                ring.due_mono = min(ring.due_mono, now_mono + every_s)
            ring.every_s = every_s
