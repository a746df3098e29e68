"""Figures: each a median of several runs with its spread, beside a ceiling of the same run."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Better = Literal["higher", "lower"]


class Run(NamedTuple):
    """One run: what was measured, and the ceiling measured beside it (None where none is meant)."""

    value: float
    ceiling: float | None = None


@dataclass(kw_only=True)
class Figure:
    """One line of the table.

    ``goal`` bounds the median, ``ratio_goal`` the median of value over ceiling; ``better`` says on
    which side of the goal is the good one.
    """

    name: str
    unit: str
    ceiling_is: str = ""
    better: Better = "higher"
    goal: float | None = None
    ratio_goal: float | None = None
    note: str = ""
    runs: list[Run] = field(default_factory=list)

    def add(self, value: float, ceiling: float | None = None) -> None:
        """One more run."""
        self.runs.append(Run(value, ceiling))

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(run.value for run in self.runs)

    @property
    def ratio(self) -> float | None:
        """The median of value over ceiling; each run has its own ceiling."""
        ratios = [run.value / run.ceiling for run in self.runs if run.ceiling]
        return statistics.median(ratios) if ratios else None

    @property
    def is_met(self) -> bool | None:
        """Whether every goal is met; None where there is none."""
        ratio = self.ratio
        found = [
            is_good(measured, goal, self.better)
            for measured, goal in ((self.value, self.goal), (ratio, self.ratio_goal))
            if goal is not None and measured is not None
        ]
        return all(found) if found else None

    def verdict(self) -> str:
        """The goals and whether they are met, for the table."""
        sign = "≥" if self.better == "higher" else "≤"
        goals = []
        if self.goal is not None:
            goals.append(f"{sign} {number(self.goal)}")
        if self.ratio_goal is not None:
            goals.append(f"{sign} {self.ratio_goal:.0%}")
        met = self.is_met
        if met is None:
            return ""
        return f"{' and '.join(goals)}: {'met' if met else '**missed**'}"


def is_good(measured: float, goal: float, better: Better) -> bool:
    """On the right side of the goal."""
    return measured >= goal if better == "higher" else measured <= goal


def number(value: float) -> str:
    """Three digits that mean something, or whole thousands with a comma."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Median (smallest to largest)."""
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


HEAD = ("What", "Unit", "Median (min to max)", "Beside it", "Ceiling", "Ratio", "Goal")


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """The table's cells."""
    found: list[tuple[str, ...]] = []
    for figure in figures:
        ceilings = [run.ceiling for run in figure.runs if run.ceiling is not None]
        ratio = figure.ratio
        found.append(
            (
                figure.name,
                figure.unit,
                spread([run.value for run in figure.runs]),
                figure.ceiling_is,
                spread(ceilings) if ceilings else "",
                "" if ratio is None else (f"{ratio:.0%}" if ratio < 10 else f"{ratio:.0f}x"),
                figure.verdict(),
            )
        )
    return found


def markdown(figures: Sequence[Figure]) -> str:
    """A table for docs/figures.md."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(figures)]
    return "\n".join(lines) + "\n"


def plain(figures: Sequence[Figure]) -> str:
    """A table for the terminal: name and goal on one line, figures below."""
    lines = []
    for name, unit, value, beside, ceiling, ratio, goal in rows(figures):
        lines.append(f"{name}   {goal.replace('*', '')}".rstrip())
        second = f"    {value} {unit}"
        if ceiling:
            second += f"   beside {beside}: {ceiling}, ratio {ratio}"
        lines.append(second)
    return "\n".join(lines)


def missed(figures: Sequence[Figure]) -> list[str]:
    """One line for each figure that misses its goal."""
    return [
        f"{figure.name}: {number(figure.value)} {figure.unit}; {figure.verdict().replace('*', '')}"
        for figure in figures
        if figure.is_met is False
    ]


Say = Callable[[str], None]
