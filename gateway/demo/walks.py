"""How people move: along streets from corner to corner, stopping now and then, near their post."""

import math
import random

from gateway.demo.town import Point, Town, to_lat_lon


class Walk:
    """One person or one motorcycle on the town's streets.

    Keeps within ``range_m`` metres of ``home``; ``pace_mps`` is the usual speed while moving.
    """

    def __init__(
        self, town: Town, home: tuple[int, int], *, range_m: float, pace_mps: float, seed: int
    ) -> None:
        self._town = town
        self._home = town.place(home)
        self._range_m = range_m
        self._pace_mps = pace_mps
        self._random = random.Random(seed)  # noqa: S311 - scenery
        self._from = self._to = home
        self._done_m = 0.0
        self._stands_s = self._random.uniform(0, 8)
        self._side_m = self._random.uniform(-5, 5)  # people keep to their side of the street
        self.hurries_to: tuple[int, int] | None = None
        self._choose_street()
        self._done_m = self._random.uniform(0, self._length_m())

    def step(self, seconds: float) -> None:
        """Let time pass."""
        if self._stands_s > 0 and self.hurries_to is None:
            self._stands_s -= seconds
            return
        pace = self._pace_mps * (2.2 if self.hurries_to is not None else 1.0)
        self._done_m += pace * seconds
        while self._done_m >= self._length_m():
            self._done_m -= self._length_m()
            self._from, self._to = self._to, self._from
            self._choose_street()
            if self._random.random() < 0.12:  # noqa: PLR2004 - looks around at a corner
                self._stands_s = self._random.uniform(3, 20)

    @property
    def speed_mps(self) -> float:
        """Speed over ground now."""
        return 0.0 if self._stands_s > 0 else self._pace_mps

    @property
    def course_deg(self) -> float:
        """Clockwise from true north."""
        a, b = self._town.place(self._from), self._town.place(self._to)
        return math.degrees(math.atan2(b.x - a.x, b.y - a.y)) % 360

    @property
    def lat_lon(self) -> tuple[float, float]:
        """WGS-84 degrees."""
        return to_lat_lon(self._point())

    def _point(self) -> Point:
        a, b = self._town.place(self._from), self._town.place(self._to)
        share = min(1.0, self._done_m / max(1.0, self._length_m()))
        turn = math.atan2(b.x - a.x, b.y - a.y)
        return Point(
            a.x + (b.x - a.x) * share + self._side_m * math.cos(turn),
            a.y + (b.y - a.y) * share - self._side_m * math.sin(turn),
        )

    def _length_m(self) -> float:
        a, b = self._town.place(self._from), self._town.place(self._to)
        return math.hypot(b.x - a.x, b.y - a.y) or 1.0

    def _choose_street(self) -> None:
        """From the corner just reached, take another street that stays near home."""
        ways = self._town.streets[self._from]
        choices = [corner for corner in ways if corner != self._to] or ways
        goal = self._home if self.hurries_to is None else self._town.place(self.hurries_to)

        def to_goal_m(corner: tuple[int, int]) -> float:
            return _apart(self._town.place(corner), goal)

        near = [corner for corner in choices if to_goal_m(corner) <= self._range_m]
        if self.hurries_to is None and near:
            self._to = self._random.choice(near)
        else:
            self._to = min(choices, key=to_goal_m)


def _apart(a: Point, b: Point) -> float:
    return math.hypot(a.x - b.x, a.y - b.y)
