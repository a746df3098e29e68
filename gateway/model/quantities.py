"""Instants and unit conversions: every conversion in the gateway has its name here."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

NS_PER_S = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

KNOT_MPS = 1852 / 3600
KMH_MPS = 1 / 3.6


class Instant(int):
    """A moment: nanoseconds since 1970-01-01T00:00:00Z, UTC, leap seconds not counted."""

    __slots__ = ()

    @classmethod
    def from_datetime(cls, moment: datetime) -> "Instant":
        """The instant of an aware ``moment``; microseconds are kept exactly."""
        delta = moment - EPOCH
        return cls((delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1_000)

    @classmethod
    def parse(cls, text: str) -> "Instant":
        """Read RFC 3339 text with ``Z`` or an offset; raises ValueError otherwise."""
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} has no time zone; write it with Z")
        return cls.from_datetime(moment)

    def datetime(self) -> datetime:
        """As an aware UTC datetime, cut to microseconds."""
        return EPOCH + timedelta(microseconds=self // 1_000)

    def text(self) -> str:
        """RFC 3339 UTC with ``Z`` and milliseconds, or microseconds where they are not zero."""
        seconds, ns = divmod(self, NS_PER_S)
        us = ns // 1_000
        if us % 1_000:
            return f"{_second_text(seconds)}.{us:06d}Z"
        return f"{_second_text(seconds)}.{us // 1_000:03d}Z"

    def seconds_since(self, earlier: "Instant") -> float:
        """Seconds from ``earlier`` to this instant; negative where the clock went back."""
        return (self - earlier) / NS_PER_S

    def is_within(self, limit_s: float, other: "Instant") -> bool:
        """Whether no more than ``limit_s`` lie between the two, whichever is the earlier."""
        return abs(self - other) <= limit_s * NS_PER_S


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def knots_to_mps(knots: float) -> float:
    """Speed over ground: knots (nautical miles an hour) to metres a second."""
    return knots * KNOT_MPS


def kmh_to_mps(kmh: float) -> float:
    """Speed: kilometres an hour to metres a second."""
    return kmh * KMH_MPS
