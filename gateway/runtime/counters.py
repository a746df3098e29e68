"""Plain counters, so that received = stored + dropped by reason can be checked to the unit.

The hot path adds to integers; ``/metrics`` and the health payload read them.
"""

from collections import Counter
from typing import Literal, get_args

import msgspec

# Why an event that was received is not stored.
DropReason = Literal[
    "duplicate", "nothing_to_end", "too_many_unverified", "outbox_full", "not_stored"
]
DROP_REASONS: tuple[DropReason, ...] = get_args(DropReason)


class Counters:
    """Everything the gateway counts, from bytes to rows."""

    def __init__(self) -> None:
        self.bytes_received: Counter[str] = Counter()  # link
        self.frames_rejected: Counter[tuple[str, str]] = Counter()  # link, reason
        self.link_dropped: Counter[tuple[str, str]] = Counter()  # link, reason
        self.codec_failures: Counter[str] = Counter()  # driver
        self.heard: int = 0
        self.events_received: int = 0
        self.events_stored: int = 0
        self.events_refreshed: int = 0
        self.events_dropped: Counter[DropReason] = Counter()
        self.events_waiting: int = 0  # handed to the outbox, not settled yet
        self.requests: Counter[str] = Counter()  # over the broker, by outcome
        self.polls: int = 0  # position requests of the air-time schedule
        self.commands_ended: Counter[tuple[str, str]] = Counter()  # verb, result
        self.commands_not_taken: Counter[str] = Counter()  # reason: refused, and never queued
        self.refusals_off_record: int = 0  # of those: too many to be events
        self.desk_dropped: int = 0  # live messages not sent to slow viewers

    def request(self, outcome: str) -> None:
        """One request over the broker has found its end."""
        self.requests[outcome] += 1

    def account(self) -> "Account":
        """The balance of events; ``difference`` is 0 or something is not counted."""
        dropped: dict[str, int] = dict(sorted(self.events_dropped.items()))
        return Account(
            received=self.events_received,
            stored=self.events_stored,
            refreshed=self.events_refreshed,
            dropped=dropped,
            waiting=self.events_waiting,
            difference=self.events_received
            - self.events_stored
            - self.events_refreshed
            - sum(dropped.values())
            - self.events_waiting,
        )


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """received = stored + refreshed + dropped by reason + waiting."""

    received: int
    stored: int
    refreshed: int
    dropped: dict[str, int]
    waiting: int
    difference: int
