"""Weekly duty hours in the site's own time: ``mon-fri 07:00-19:00``, ``daily 22:00-06:00``."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.model.quantities import Instant

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
_LINE = re.compile(r"([a-z,-]+) (\d\d):(\d\d)-(\d\d):(\d\d)")
EXAMPLE = "'mon-fri 07:00-19:00', 'sat,sun 08:00-12:00' or 'daily 22:00-06:00'"


class Span(NamedTuple):
    """Some days, from one minute of the day to another; over midnight where that is less."""

    days: frozenset[int]
    start: int
    end: int

    def covers(self, day: int, minute: int) -> bool:
        """Whether that minute of that day is within."""
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        is_evening = day in self.days and minute >= self.start
        return is_evening or ((day - 1) % 7 in self.days and minute < self.end)


class Duty:
    """When somebody is on duty; without any hours always."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._spans = [_span(line) for line in lines]

    @property
    def is_always(self) -> bool:
        """No hours were given."""
        return not self._spans

    def is_on(self, at: Instant, zone: ZoneInfo) -> bool:
        """Whether ``at`` is within the hours, in the site's time."""
        if not self._spans:
            return True
        local: datetime = at.datetime().astimezone(zone)
        minute = local.hour * 60 + local.minute
        return any(span.covers(local.weekday(), minute) for span in self._spans)


def _span(text: str) -> Span:
    """Read one line; raises ValueError that says how it is written."""
    found = _LINE.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is not duty hours; write them like {EXAMPLE}")
    days, *clock = found.groups()
    hour, minute, end_hour, end_minute = map(int, clock)
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if max(start, end) > DAY_MINUTES or max(minute, end_minute) > 59 or start == end:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(f"{text!r} has no such time of day; write it like {EXAMPLE}")
    return Span(frozenset(_days(days, text)), start, end)


def _days(text: str, whole: str) -> Iterable[int]:
    if text == "daily":
        return range(7)
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{whole!r}: {part!r} is not a day; write it like {EXAMPLE}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found += [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
    return found
