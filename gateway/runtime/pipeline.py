"""From a report to a committed event: identify, normalise, dedupe, append; then accept.

One function settles each report: it runs after the commit, and nothing else lets an
acknowledgement go back to a radio. Everything that enters is counted once on its way out.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from drivers.api import Report
from gateway.clock import Clock
from gateway.errors import ShedError, StoreError, StoreFullError
from gateway.incidents.book import Change, EmergencyBook
from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.events import (
    EMERGENCY_EVENTS,
    UNLISTED,
    AnyEvent,
    CommandEvent,
    EmergencyClosed,
    EmergencyEnded,
    EmergencyKind,
    EmergencyRaised,
    EmergencyTaken,
    Fix,
    LinkChanged,
    PositionFix,
    RadioDeregistered,
    RadioEvent,
    RadioRegistered,
    Verdict,
)
from gateway.model.geo import Point
from gateway.model.identity import EventId, UnitId, derive_event_id
from gateway.model.quantities import Instant
from gateway.outbox.rows import Lane, Write
from gateway.roster.units import Roster
from gateway.runtime.board import Board
from gateway.runtime.counters import Counters, DropReason
from gateway.runtime.doubtful import DoubtfulLane
from gateway.runtime.normalise import normalise
from gateway.runtime.repeats import Repeats
from gateway.runtime.turns import Turns

MOST_HEARSAY = 100  # open emergencies of senders that are not on the allow list

Settle = Callable[[StoreError | None], None]
OfRadio = TypeVar("OfRadio", bound=RadioEvent | CommandEvent)


class Appends(Protocol):
    """What the pipeline needs of the outbox."""

    def submit(self, write: Write) -> bool:
        """Queue a write; False, and nothing queued, when the queue is full."""
        ...

    async def room(self) -> None:
        """Wait while the outbox is behind."""
        ...


class Pipeline:
    """The one way from a radio's report, or a person's action, to a row in the outbox."""

    def __init__(
        self,
        *,
        site: str,
        outbox: Appends,
        book: EmergencyBook,
        roster: Roster,
        board: Board,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._site = site
        self._outbox = outbox
        self._book = book
        self._roster = roster
        self._board = board
        self._counters = counters
        self._clock = clock
        self._repeats = Repeats()
        self._doubtful = DoubtfulLane()
        self._turns = Turns()

    async def room(self) -> None:
        """Wait while the outbox is behind, and for a turn to read."""
        await self._outbox.room()
        await self._turns.take()

    def report(
        self,
        report: Report,
        *,
        link_id: str,
        driver: str,
        at: Instant,
        settle: Settle,
        peer: str = "",
    ) -> None:
        """Take one report of a radio; ``settle`` tells when it is safe, or could not be made so.

        ``peer`` is the far end that it came from, as its name is written.
        """
        self._counters.events_received += 1
        event, doubt = normalise(self._identified(report.event, link_id, driver, at), at)
        if doubt is not None or (isinstance(event, PositionFix) and event.fix_valid):
            self._board.doubt(event.radio_id, doubt)
        self._board.heard(
            event.radio_id,
            link_id=link_id,
            driver=driver,
            at=at,
            is_leaving=isinstance(event, RadioDeregistered),
        )
        for kind in report.calm:
            if self._book.is_going_on(event.radio_id, kind):
                self._end_by_calm(event, kind)
        for kind in report.cleared:
            self._clear(event, kind)
        if isinstance(event, EmergencyRaised):
            self._emergency(report, event, settle, peer)
        elif isinstance(event, EmergencyEnded):
            self._emergency_end(event, settle)
        else:
            self._telemetry(event, report.same_as, settle)

    def hearsay(self, report: Report, *, link_id: str, driver: str, at: Instant, peer: str) -> None:
        """An alarm from an address that nobody allowed: shown as what it claims, and marked."""
        self._counters.events_received += 1
        event, _ = normalise(self._identified(report.event, link_id, driver, at), at)
        if isinstance(event, EmergencyRaised):
            event = msgspec.structs.replace(
                event, unit_id=None, team=None, verified=False, doubt=UNLISTED
            )
            self._raise(report, event, lambda _error: None, peer)

    def link_changed(self, event: LinkChanged) -> None:
        """A link changed its state."""
        own_id = derive_event_id("link", self._site, event.link_id, event.state, event.received_at)
        named = msgspec.structs.replace(event, site=self._site, event_id=own_id)
        self._counters.events_received += 1
        self._append(named, None, lambda _error: None, undo=None)

    def command_changed(self, event: CommandEvent, settle: Settle) -> None:
        """A command to a radio was queued, goes out, or has ended."""
        self._counters.events_received += 1
        named = self._identified(event, event.link_id, event.driver, event.received_at)
        self._append(named, None, settle, undo=None)

    async def take(self, emergency_id: str, by: str) -> None:
        """A named person takes it; returns when that is on disk, raises NotAllowedError."""
        await self._act(
            EmergencyTaken(emergency_id=EventId(emergency_id), by=by, received_at=self._clock.now())
        )

    async def close(self, emergency_id: str, by: str, verdict: Verdict, note: str | None) -> None:
        """A named person closes it; returns when that is on disk, raises NotAllowedError."""
        await self._act(
            EmergencyClosed(
                emergency_id=EventId(emergency_id),
                by=by,
                verdict=verdict,
                note=note,
                received_at=self._clock.now(),
            )
        )

    def _identified(self, event: OfRadio, link_id: str, driver: str, at: Instant) -> OfRadio:
        unit = self._roster.unit_of(event.radio_id)
        if unit is None:
            return msgspec.structs.replace(
                event, site=self._site, link_id=link_id, driver=driver, received_at=at
            )
        return msgspec.structs.replace(
            event,
            site=self._site,
            link_id=link_id,
            driver=driver,
            received_at=at,
            unit_id=UnitId(unit.id),
            unit_name=unit.name,
            team=unit.team,
        )

    def _emergency(self, report: Report, event: EmergencyRaised, settle: Settle, peer: str) -> None:
        if event.fix is None:
            last_known = self._board.last_place(event.radio_id)
            event = msgspec.structs.replace(event, fix=last_known)
        if event.unit_id is None and event.verified:
            event = msgspec.structs.replace(event, verified=False, doubt="unregistered radio")
        self._raise(report, event, settle, peer)

    def _raise(self, report: Report, event: EmergencyRaised, settle: Settle, peer: str) -> None:
        """A press of its own or another frame of one, where its sender may begin one.

        ``event`` is that of ``report``, identified.
        """
        event = msgspec.structs.replace(event, place=self._place_of(event.fix))
        if not event.verified and not self._book.knows(event, report.same_as, report.stored_at):
            mono = self._clock.monotonic()
            is_full = event.is_hearsay and self._book.open_hearsay() >= MOST_HEARSAY
            if is_full or not self._doubtful.lets_in(event.link_id, peer, mono):
                self._counters.events_dropped["too_many_unverified"] += 1
                settle(StoreError(f"{peer} shows too many emergencies that nobody vouches for"))
                return
        change = self._book.raise_or_refresh(event, report.same_as, report.stored_at)
        if change.verdict == "raised":
            named = msgspec.structs.replace(event, event_id=change.after.emergency_id)
            self._append(named, change.after, settle, undo=change)
        else:
            self._append(None, change.after, settle, undo=change)

    def _place_of(self, fix: Fix | None) -> str | None:
        """The name of the key site that a place belongs to."""
        if fix is None:
            return None
        site = self._roster.site_at(Point(fix.lat_deg, fix.lon_deg))
        return site.name if site is not None else None

    def _end_by_calm(self, event: RadioEvent, kind: EmergencyKind) -> None:
        """A report that says "no alarm" ends what went on; the report itself goes its own way."""
        self._counters.events_received += 1
        end = EmergencyEnded(
            site=event.site,
            link_id=event.link_id,
            driver=event.driver,
            radio_id=event.radio_id,
            unit_id=event.unit_id,
            unit_name=event.unit_name,
            team=event.team,
            received_at=event.received_at,
            kind=kind,
        )
        self._emergency_end(end, lambda _error: None)

    def _clear(self, event: RadioEvent, kind: EmergencyKind) -> None:
        """A report without what our answer takes away; nobody has called it off."""
        change = self._book.clear(event.radio_id, kind, event.received_at)
        if change is not None:
            self._counters.events_received += 1
            self._append(None, change.after, lambda _error: None, undo=change)

    def _emergency_end(self, event: EmergencyEnded, settle: Settle) -> None:
        change = self._book.end(event)
        if change is None:
            self._repeat(Lane.EMERGENCY, "nothing_to_end", settle)
            return
        emergency_id = change.after.emergency_id
        named = msgspec.structs.replace(
            event,
            event_id=transitions.ended_id(emergency_id, event.received_at),
            emergency_id=emergency_id,
            place=change.after.place,
        )
        self._append(named, change.after, settle, undo=change)

    def _telemetry(self, event: RadioEvent, same_as: str | None, settle: Settle) -> None:
        own_id, mark = _identify_report(event, same_as)
        seen = self._repeats.of(event.radio_id, is_ours=event.unit_id is not None)
        if seen.has(mark, event.received_at):
            self._repeat(Lane.TELEMETRY, "duplicate", settle)
            return
        named = msgspec.structs.replace(event, event_id=own_id)

        def settled(error: StoreError | None) -> None:
            if error is None:
                self._board.committed(named)
            else:
                seen.forget(mark)
            settle(error)

        self._append(named, None, settled, undo=None)

    def _repeat(self, lane: Lane, reason: DropReason, settle: Settle) -> None:
        """Nothing new to store; the answer waits until what it repeats is safe."""

        def settled(error: StoreError | None) -> None:
            self._counters.events_dropped[reason] += 1
            settle(error)

        if not self._outbox.submit(Write(lane, None, None, settled)):
            self._counters.events_dropped["outbox_full"] += 1
            settle(StoreFullError("the outbox's queue is full"))

    def _append(
        self,
        event: AnyEvent | None,
        emergency: Emergency | None,
        settle: Settle,
        *,
        undo: Change | None,
    ) -> None:
        self._counters.events_waiting += 1
        is_emergency = emergency is not None or isinstance(event, EMERGENCY_EVENTS)
        lane = Lane.EMERGENCY if is_emergency else Lane.TELEMETRY
        has_second_try = not is_emergency and _lets_alarms_through(event)

        def settled(error: StoreError | None) -> None:
            nonlocal has_second_try
            if has_second_try and isinstance(error, ShedError):
                has_second_try = False
                if self._outbox.submit(Write(Lane.EMERGENCY, event, None, settled)):
                    return
            self._count(event, error)
            if error is not None and undo is not None:
                self._undo(undo)
            if emergency is not None and error is None:
                self._board.emergency_changed(emergency)
            settle(error)

        if not self._outbox.submit(Write(lane, event, emergency, settled)):
            self._counters.events_waiting -= 1
            self._counters.events_dropped["outbox_full"] += 1
            if undo is not None:
                self._undo(undo)
            settle(StoreFullError("the outbox's queue is full"))

    def _undo(self, change: Change) -> None:
        """What could not be stored has not happened; whoever saw it meanwhile has to look again."""
        self._book.undo(change)
        if change.before is not None:
            self._board.emergency_changed(change.before)

    def _count(self, event: AnyEvent | None, error: StoreError | None) -> None:
        """A write has been settled."""
        counters = self._counters
        counters.events_waiting -= 1
        if error is not None:
            counters.events_dropped["not_stored"] += 1
        elif event is None:
            counters.events_refreshed += 1
        else:
            counters.events_stored += 1

    async def _act(self, action: EmergencyTaken | EmergencyClosed) -> None:
        """Apply a person's action and wait for its commit."""
        state = self._book.get(action.emergency_id)
        if state is not None:
            action = msgspec.structs.replace(
                action,
                event_id=transitions.act_id(action),
                site=self._site,
                link_id=state.link_id,
                driver=state.driver,
                radio_id=state.radio_id,
                unit_id=state.unit_id,
                unit_name=state.unit_name,
                team=state.team,
                raised_at=state.raised_at,
                kind=state.kind,
                place=state.place,
                is_drill=state.is_drill,
            )
        if isinstance(action, EmergencyTaken):
            if state is not None:
                action = msgspec.structs.replace(action, taken_from=state.taken_by)
            change = self._book.take(action)
        else:
            change = self._book.close(action)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: StoreError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._counters.events_received += 1
        self._append(action, change.after, settle, undo=change)
        await done


def _lets_alarms_through(event: AnyEvent | None) -> bool:
    """What emergencies need on a full disk: such telemetry goes by their lane while it is shed.

    An alarm's frame is acknowledged when its position is on disk too; and a radio of ours that is
    not let in does not even send its alarm.
    """
    if isinstance(event, PositionFix):
        return event.trigger == "emergency"
    return isinstance(event, RadioRegistered) and event.unit_id is not None


def _identify_report(event: RadioEvent, same_as: str | None) -> tuple[EventId, EventId]:
    """The event's id and the mark by which its copies are known.

    A valid fix has its own time, which makes both. Other reports have at best the peer's serial
    number, which comes round again: it marks copies for a while, and the arrival of the first copy
    makes the id.
    """
    if isinstance(event, PositionFix) and event.fix_valid and event.fix_at is not None:
        own_id = derive_event_id("fix", event.radio_id, event.fix_at, event.lat_deg, event.lon_deg)
        return own_id, own_id
    kind = type(event).__name__
    own_id = derive_event_id(kind, event.radio_id, same_as, event.received_at)
    if same_as is None:
        return own_id, own_id
    return own_id, derive_event_id(kind, event.radio_id, same_as)
