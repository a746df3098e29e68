"""Tells live viewers what has changed, without ever waiting for one of them.

What travels is the name of the thing that changed; a viewer asks for its newest state when it is
ready for it. So a slow viewer misses states in between, never the last one, and its memory is
bounded by the number of things.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

Kind = Literal["emergency", "unit", "link", "gateway", "command"]


class Changed(NamedTuple):
    """The name of a thing that has a new state."""

    kind: Kind
    key: str


class Subscription:
    """What one viewer has not been told yet: each thing once, emergencies first."""

    def __init__(self) -> None:
        self._urgent: dict[Changed, None] = {}
        self._ordinary: dict[Changed, None] = {}
        self._wake = asyncio.Event()
        self._urgent_wake = asyncio.Event()

    def offer(self, change: Changed) -> None:
        """Remember a change until it is drained."""
        if change.kind == "unit":
            self._ordinary[change] = None
        else:
            self._urgent[change] = None
            self._urgent_wake.set()
        self._wake.set()

    async def wait(self) -> None:
        """Until there is something to tell."""
        await self._wake.wait()

    async def wait_urgent(self, timeout_s: float) -> bool:
        """Until something urgent is there (True), at most ``timeout_s`` (False)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._urgent_wake.wait()
        except TimeoutError:
            return False
        return True

    def drain(self) -> list[Changed]:
        """Everything not told yet, urgent things first."""
        changes = [*self._urgent, *self._ordinary]
        self._ordinary.clear()
        self._wake.clear()
        self._urgent.clear()
        self._urgent_wake.clear()
        return changes

    def drain_urgent(self) -> list[Changed]:
        """The urgent things not told yet; ordinary ones stay."""
        changes = list(self._urgent)
        self._urgent.clear()
        self._urgent_wake.clear()
        if not self._ordinary:
            self._wake.clear()
        return changes


class Bus:
    """Fan-out of changes to all viewers."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, kind: Kind, key: str) -> None:
        """Tell every viewer that ``key`` has a new state."""
        change = Changed(kind, key)
        for subscription in self._subscriptions:
            subscription.offer(change)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A subscription for as long as the block runs."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
