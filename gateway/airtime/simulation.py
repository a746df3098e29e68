"""A channel on a virtual clock: who was asked when, and how old their fixes became."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.airtime.channel import Channel
from gateway.airtime.shares import UnitClass
from gateway.model.views import Promise

ANSWER_S = 2.0
LATE_S = 0.001  # a timer is never early, and a little late


@dataclass
class Simulation:
    """Plays a channel; the age of a fix grows until the next answer is there."""

    channel: Channel
    now: float = 0.0
    asked: dict[str, float] = field(default_factory=dict)
    worst_age: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    most_a_minute: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def add(self, counts: Mapping[UnitClass, int]) -> None:
        """Units named after their class, "patrol-17"."""
        for kind, count in counts.items():
            for number in range(count):
                self.channel.put(f"{kind.name.lower()}-{number}", kind, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass, asking whoever is due; every unit answers after ANSWER_S."""
        end = self.now + seconds
        while (due := self.channel.next_due()) <= end:
            self.now = max(self.now, due) + LATE_S
            unit = self.channel.take(self.now)
            if unit is not None:
                self._asked(unit)
        self.now = end

    def worst(self, kind: UnitClass) -> float:
        """The oldest that a fix of a unit of this class ever was."""
        name = kind.name.lower()
        ages = (age for unit, age in self.worst_age.items() if unit.startswith(name))
        return max(ages, default=0.0)

    def _asked(self, unit: str) -> None:
        before = self.asked.get(unit)
        if before is not None:
            age = self.now - before + ANSWER_S
            self.worst_age[unit] = max(self.worst_age.get(unit, 0.0), age)
        self.asked[unit] = self.now
        self.requests += 1
        self._recent.append(self.now)
        while self._recent[0] <= self.now - 60:
            self._recent.popleft()
        self.most_a_minute = max(self.most_a_minute, len(self._recent))


class Row(NamedTuple):
    """One class of one simulated channel: what is promised beside what was measured."""

    kind: UnitClass
    promise: Promise
    worst_age_s: float
    most_a_minute: int


def simulate(counts: Mapping[UnitClass, int], budget_a_min: float, minutes: float) -> list[Row]:
    """Run a channel on the virtual clock; every unit answers."""
    played = Simulation(Channel(budget_a_min))
    played.add(counts)
    played.run(minutes * 60)
    return [
        Row(kind, promise, round(played.worst(kind), 1), played.most_a_minute)
        for kind, promise in played.channel.promises().items()
    ]
