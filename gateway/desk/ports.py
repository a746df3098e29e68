"""What the desk needs from the gateway, and nothing more: it could be in another process.

Everything here is asked on the event loop and answers at once, from memory; only the two actions
wait.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from gateway.model.emergency import Emergency
from gateway.model.events import CommandVerb, Verdict
from gateway.model.identity import EventId
from gateway.model.requests import Request, Verb
from gateway.model.views import (
    CommandView,
    GatewayView,
    LinkView,
    RejectedFrame,
    SiteView,
    UnitView,
)


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

    def commands(self) -> Sequence[CommandView]:
        """Open commands to radios and the last that have ended, oldest first."""
        ...

    def command(self, command_id: EventId) -> CommandView | None:
        """One of them."""
        ...

    def possible_commands(self) -> Mapping[str, Sequence[CommandVerb]]:
        """By driver: which commands are switched on and known to it; empty while all are off."""
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


class Requests(Protocol):
    """Who asks radios for something."""

    async def answer(self, verb: Verb, request: Request, by: str) -> dict[str, object]:
        """Returns the command as data when it is on disk; raises NotAllowedError, StoreError."""
        ...

    def refuse(self, verb: Verb, request: Request, by: str, why: str) -> None:
        """Somebody has no right to ask that: put it on record."""
        ...


class Change(Protocol):
    """The name of a thing that has a new state."""

    @property
    def kind(self) -> str:
        """``emergency``, ``unit``, ``link``, ``gateway`` or ``command``."""
        ...

    @property
    def key(self) -> str:
        """Emergency id, unit key as in ``LiveView.unit``, link id, or command id."""
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
