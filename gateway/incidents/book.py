"""Which frames are one press: the book of emergencies, kept in memory beside the outbox's table.

A repeated frame refreshes the emergency it belongs to, a real second press raises another one. The
peer's own mark of the press (``Report.same_as``) decides where there is one; a window of time
decides otherwise. A window reaches as far back as forward: where the clock was set back, an old
state lies in the future, and what cannot be told to be a repeat is a press. A state is changed here
at once, so that the next frame sees it, and put back if the outbox could not make it durable.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from gateway.errors import NotAllowedError
from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.events import (
    EmergencyClosed,
    EmergencyEnded,
    EmergencyKind,
    EmergencyRaised,
    EmergencyTaken,
)
from gateway.model.identity import EventId, RadioId, derive_event_id
from gateway.model.quantities import Instant

MARKS_KEPT = 20_000  # remembered marks of presses, over all radios
CLOSED_KEPT = 2_000  # closed emergencies remembered to know a late repeat; open ones are all kept
MARK_HOLDS_S = 86_400.0  # a mark that comes again so long after the closing names a new press
STRAGGLER_S = 10.0  # frames so soon after a person closed it still belong to the closed press


class Change(NamedTuple):
    """What became of a report: the state before (None when it raised) and after."""

    verdict: Literal["raised", "refreshed", "ended", "cleared"]
    before: Emergency | None
    after: Emergency


class _Key(NamedTuple):
    """What frames of one press have in common. Hearsay never mixes with what a radio says."""

    radio_id: RadioId
    kind: EmergencyKind
    is_hearsay: bool


def _key_of(about: EmergencyRaised | Emergency) -> _Key:
    return _Key(about.radio_id, about.kind, about.is_hearsay)


class EmergencyBook:
    """The current state of every emergency that matters; see the module's docstring."""

    def __init__(self, same_press_s: float) -> None:
        self._same_press_s = same_press_s
        self._states: dict[EventId, Emergency] = {}
        self._latest: dict[_Key, EventId] = {}
        self._marks: OrderedDict[EventId, EventId] = OrderedDict()  # mark of a press: emergency

    def load(self, states: Iterable[Emergency]) -> None:
        """Take over what the outbox kept, at start; oldest first."""
        for state in sorted(states, key=lambda each: each.raised_at):
            self._begin(state)

    def get(self, emergency_id: EventId) -> Emergency | None:
        """The current state, or None where it is not known."""
        return self._states.get(emergency_id)

    def all(self) -> list[Emergency]:
        """Every emergency that is remembered: all open ones, and those closed lately."""
        return list(self._states.values())

    def open(self) -> list[Emergency]:
        """Every emergency that no person has closed, oldest first."""
        return [state for state in self._states.values() if state.is_open]

    def open_hearsay(self) -> int:
        """How many open ones have a sender that is not on the allow list."""
        return sum(state.is_hearsay for state in self._states.values() if state.is_open)

    def was_going_on(self, radio: RadioId, team: str | None, at: Instant) -> bool:
        """Whether an emergency of the radio, or of its team, was open at that moment."""
        return any(
            not state.is_hearsay
            and (state.radio_id == radio or (team is not None and state.team == team))
            and state.raised_at <= at
            and (state.closed_at is None or at <= state.closed_at)
            for state in self._states.values()
        )

    def raise_or_refresh(
        self, event: EmergencyRaised, same_as: str | None, stored_at: Instant | None = None
    ) -> Change:
        """Decide whether ``event`` is a press of its own, and apply it.

        ``same_as`` and ``stored_at`` are those of its ``Report``.
        """
        mark = _mark(event, same_as)
        change = self._told_again(event, mark, stored_at)
        if change is not None:
            self._put(change.after)
        else:
            own_id = self._own_id(event) if mark is None or mark in self._states else mark
            begun = transitions.raised(msgspec.structs.replace(event, event_id=own_id))
            change = Change("raised", None, begun)
            self._begin(begun)
        if mark is not None:
            self._remember(mark, change.after.emergency_id)
        return change

    def knows(
        self, event: EmergencyRaised, same_as: str | None, stored_at: Instant | None = None
    ) -> bool:
        """Whether ``event`` would only refresh what is there."""
        return self._told_again(event, _mark(event, same_as), stored_at) is not None

    def clear(self, radio: RadioId, kind: EmergencyKind, at: Instant) -> Change | None:
        """The radio's answered press is told no more; None where it was not being told."""
        state = self._latest_of(_Key(radio, kind, is_hearsay=False))
        if state is None or not state.is_told:
            return None
        change = Change("cleared", state, transitions.cleared(state, at))
        self._put(change.after)
        return change

    def is_going_on(self, radio: RadioId, kind: EmergencyKind) -> bool:
        """True while the radio has raised one and has not said that it is over."""
        state = self._latest_of(_Key(radio, kind, is_hearsay=False))
        return state is not None and state.ended_at is None

    def end(self, event: EmergencyEnded) -> Change | None:
        """The radio says it is over; None where nothing of it is going on."""
        state = self._latest_of(_Key(event.radio_id, event.kind, is_hearsay=False))
        if state is None or state.ended_at is not None:
            return None
        change = Change("ended", state, transitions.ended(state, event))
        self._put(change.after)
        return change

    def take(self, event: EmergencyTaken) -> Change:
        """A person takes it; raises NotAllowedError where that cannot be."""
        state = self._open_state(event.emergency_id)
        change = Change("refreshed", state, transitions.taken(state, event))
        self._put(change.after)
        return change

    def close(self, event: EmergencyClosed) -> Change:
        """A person closes it; raises NotAllowedError where that cannot be."""
        state = self._open_state(event.emergency_id)
        if state.phase != "taken":
            raise NotAllowedError("take the emergency first, then close it (先接警，再结案)")
        change = Change("refreshed", state, transitions.closed(state, event))
        self._put(change.after)
        self._forget_oldest_closed()
        return change

    def undo(self, change: Change) -> None:
        """The outbox could not keep ``change``: forget it, so that the radio's retry counts.

        Of a state that has changed again since, what ``change`` brought is taken out.
        """
        emergency_id = change.after.emergency_id
        if change.before is not None:
            state = self._states.get(emergency_id)
            if state is not None:
                self._put(transitions.without(state, change.before, change.after))
            return
        self._states.pop(emergency_id, None)
        key = _key_of(change.after)
        if self._latest.get(key) == emergency_id:
            del self._latest[key]
        for mark in [m for m, e in self._marks.items() if e == emergency_id]:
            del self._marks[mark]

    def _own_id(self, event: EmergencyRaised) -> EventId:
        own_id = derive_event_id("emergency", event.radio_id, event.kind, event.received_at)
        while own_id in self._states:  # pressed, ended and pressed again in one read
            own_id = derive_event_id("again", own_id)
        return own_id

    def _told_again(
        self, event: EmergencyRaised, mark: EventId | None, stored_at: Instant | None
    ) -> Change | None:
        """What the frame makes of the press it belongs to; None where it is a press of its own."""
        if (known := self._by_store(event, stored_at)) is not None:
            return Change("refreshed", known, transitions.told_late(known, event))
        if (known := self._by_mark(event, mark)) is not None:
            return Change("refreshed", known, transitions.refreshed(known, event))
        if (known := self._by_time(event)) is not None:
            return Change("refreshed", known, transitions.continued(known, event))
        return None

    def _by_store(self, event: EmergencyRaised, stored_at: Instant | None) -> Emergency | None:
        """The last emergency, open or closed, that a frame out of the radio's store tells of again.

        The frame is no newer than one that was heard, by the radio's own clock, and no older than
        what the window joins with the beginning. Whatever else it may be, nobody has seen it.
        """
        latest = self._latest_of(_key_of(event))
        if latest is None or latest.fix is None or stored_at is None:
            return None
        heard_at = latest.fix.fix_at if latest.fix.age_s is None else None
        if heard_at is None or stored_at > heard_at:
            return None
        early_s = latest.raised_at.seconds_since(stored_at)
        return latest if early_s <= self._same_press_s else None

    def _by_mark(self, event: EmergencyRaised, mark: EventId | None) -> Emergency | None:
        """The emergency that the peer itself says the frame belongs to."""
        if mark is None:
            return None
        known = self._states.get(self._marks.get(mark, mark))
        if known is None or _is_open_or_closed_within(MARK_HOLDS_S, known, event.received_at):
            return known
        return None

    def _by_time(self, event: EmergencyRaised) -> Emergency | None:
        """The emergency of which the frame comes soon enough.

        An emergency call ends and begins again with each transmission of the open microphone.
        """
        at = event.received_at
        latest = self._latest_of(_key_of(event))
        if latest is None:
            return None
        if latest.kind == "call" and latest.is_open and latest.ended_at is not None:
            return latest if at.is_within(self._same_press_s, latest.ended_at) else None
        if not latest.is_told:
            return None
        if not latest.is_open:
            return latest if _is_open_or_closed_within(STRAGGLER_S, latest, at) else None
        return latest if at.is_within(self._same_press_s, latest.refreshed_at) else None

    def _latest_of(self, key: _Key) -> Emergency | None:
        emergency_id = self._latest.get(key)
        return self._states.get(emergency_id) if emergency_id is not None else None

    def _open_state(self, emergency_id: EventId) -> Emergency:
        state = self._states.get(emergency_id)
        if state is None:
            raise NotAllowedError("there is no such emergency (没有这条报警)")
        if not state.is_open:
            raise NotAllowedError(f"already closed by {state.closed_by} (已结案)")
        return state

    def _begin(self, state: Emergency) -> None:
        """It is what its radio tells of now; later changes of an older one do not alter that."""
        self._put(state)
        self._latest[_key_of(state)] = state.emergency_id

    def _put(self, state: Emergency) -> None:
        self._states[state.emergency_id] = state

    def _forget_oldest_closed(self) -> None:
        closed = [state for state in self._states.values() if not state.is_open]
        for state in closed[: max(0, len(closed) - CLOSED_KEPT)]:
            del self._states[state.emergency_id]

    def _remember(self, mark: EventId, emergency_id: EventId) -> None:
        self._marks[mark] = emergency_id
        self._marks.move_to_end(mark)
        if len(self._marks) > MARKS_KEPT:
            self._marks.popitem(last=False)


def _is_open_or_closed_within(limit_s: float, state: Emergency, at: Instant) -> bool:
    return state.closed_at is None or at.is_within(limit_s, state.closed_at)


def _mark(event: EmergencyRaised, same_as: str | None) -> EventId | None:
    """The id of a press that its radio names; None where it names none."""
    if same_as is None:
        return None
    about = ("hearsay",) if event.is_hearsay else ()
    return derive_event_id("emergency", event.radio_id, event.kind, same_as, *about)
