"""What the desk needs from the gateway, and nothing more: it could be in another process.

Everything here is asked on the event loop and answers at once, from memory; only the two actions
wait.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from gateway.model.emergency import Emergency
from gateway.model.events import Verdict
from gateway.model.identity import EventId
from gateway.model.views import GatewayView, LinkView, RejectedFrame, SiteView, UnitView


class LiveView(Protocol):
    """How things are now."""

    def gateway(self) -> GatewayView:
        """Version, site, clock, and whether events are accepted (``why`` not, in one sentence)."""
        ...

    def units(self) -> Sequence[UnitView]:
        """Every unit, and every radio without one."""
        ...

    def unit(self, key: str) -> UnitView | None:
        """One of them by unit id, or by radio id where there is no unit."""
        ...

    def links(self) -> Sequence[LinkView]:
        """Every link with its counters."""
        ...

    def rejects(self, link_id: str) -> Sequence[RejectedFrame] | None:
        """The last frames that this link refused, oldest first; None for an unknown link."""
        ...

    def sites(self) -> Sequence[SiteView]:
        """The key sites."""
        ...

    def emergencies(self) -> Sequence[Emergency]:
        """Every open one, and those closed lately as far as they are remembered; any order.

        They win over the desk's log, which hears of a change a moment later.
        """
        ...

    def emergency(self, emergency_id: EventId) -> Emergency | None:
        """One of them."""
        ...

    def counters(self) -> msgspec.Struct:
        """Everything counted, as a struct of numbers that goes out as it is; no positions."""
        ...


class EmergencyActions(Protocol):
    """What a dispatcher may do. Both return when the act is on disk, and not before.

    Both raise ``NotAllowedError`` when the state does not permit it, ``StoreError`` when it could
    not be made durable: then nothing has happened. ``by`` is the account's name.
    """

    async def take(self, emergency_id: str, by: str) -> None:
        """Take it (接警), or take it over."""
        ...

    async def close(self, emergency_id: str, by: str, verdict: Verdict, note: str | None) -> None:
        """Close it (结案)."""
        ...


class Change(Protocol):
    """The name of a thing that has a new state."""

    @property
    def kind(self) -> str:
        """``emergency``, ``unit``, ``link`` or ``gateway``; others are passed over."""
        ...

    @property
    def key(self) -> str:
        """Emergency id, unit key as in ``LiveView.unit``, or link id."""
        ...


class Changes(Protocol):
    """What has changed since it was last asked: each thing once, which bounds it."""

    async def wait_urgent(self, timeout_s: float) -> bool:
        """Until something other than a unit has changed (True), at most ``timeout_s`` (False)."""
        ...

    def drain_urgent(self) -> Sequence[Change]:
        """What is urgent; units stay."""
        ...

    def drain(self) -> Sequence[Change]:
        """Everything."""
        ...


class Feed(Protocol):
    """Tells of changes. A slow reader misses states in between, never the last one."""

    def subscribe(self) -> AbstractContextManager[Changes]:
        """Hear of changes for as long as the block runs."""
        ...
