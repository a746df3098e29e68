"""An emergency is a state, not a message: raised, refreshed, ended by the radio, taken, closed.

Only a person closes one. No time-out, no restart and no retention does. The transitions are pure
functions here; the outbox keeps the state, the pipeline decides which report belongs to which.
"""

from typing import Literal

import msgspec

from gateway.model.events import (
    UNLISTED,
    EmergencyClosed,
    EmergencyEnded,
    EmergencyKind,
    EmergencyRaised,
    EmergencyTaken,
    Fix,
    Verdict,
)
from gateway.model.identity import EventId, RadioId, UnitId, derive_event_id
from gateway.model.quantities import Instant

EmergencyPhase = Literal["open", "taken", "closed"]


class Emergency(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The current state of one emergency; its ``emergency_id`` is the id of the raising event.

    ``phase`` is what people did; ``ended_at`` is what the radio said, and changes no phase.
    ``cleared_at`` is when a radio no longer told it because it had been answered: no end, but what
    it tells next is another press.
    ``fix`` is the place sent with the alarm or the last known one, ``refreshed_at`` the last frame
    of the same press, ``frames`` how many frames brought it. ``place`` is the key site where it
    began, and stays that when the radio moves on.
    """

    emergency_id: EventId
    phase: EmergencyPhase
    site: str
    link_id: str
    driver: str
    radio_id: RadioId
    unit_id: UnitId | None = None
    unit_name: str | None = None
    team: str | None = None
    kind: EmergencyKind
    raw_code: str | None = None
    talkgroup_id: str | None = None
    fix: Fix | None = None
    place: str | None = None
    is_drill: bool
    verified: bool
    doubt: str | None = None
    raised_at: Instant
    refreshed_at: Instant
    frames: int
    ended_at: Instant | None = None
    cleared_at: Instant | None = None
    taken_at: Instant | None = None
    taken_by: str | None = None
    closed_at: Instant | None = None
    closed_by: str | None = None
    verdict: Verdict | None = None
    note: str | None = None

    @property
    def is_open(self) -> bool:
        """True until a person has closed it."""
        return self.phase != "closed"

    @property
    def is_told(self) -> bool:
        """True while the radio may still be telling of this very press."""
        return self.ended_at is None and self.cleared_at is None

    @property
    def is_hearsay(self) -> bool:
        """True where its sender is not on the allow list: shown, and nothing follows by itself.

        It is an entry of its own beside whatever the radio that it names says itself.
        """
        return self.doubt == UNLISTED


def ended_id(emergency_id: EventId, at: Instant) -> EventId:
    """The id of the event by which the radio ends it at an instant; a call may end again."""
    return derive_event_id("ended", emergency_id, at)


def act_id(act: EmergencyTaken | EmergencyClosed) -> EventId:
    """The id of what a person does at an instant."""
    return derive_event_id(type(act).__name__, act.emergency_id, act.by, act.received_at)


def raised(event: EmergencyRaised) -> Emergency:
    """The state that a raising event begins."""
    return Emergency(
        emergency_id=event.event_id,
        phase="open",
        site=event.site,
        link_id=event.link_id,
        driver=event.driver,
        radio_id=event.radio_id,
        unit_id=event.unit_id,
        unit_name=event.unit_name,
        team=event.team,
        kind=event.kind,
        raw_code=event.raw_code,
        talkgroup_id=event.talkgroup_id,
        fix=event.fix,
        place=event.place,
        is_drill=event.is_drill,
        verified=event.verified,
        doubt=event.doubt,
        raised_at=event.received_at,
        refreshed_at=event.received_at,
        frames=1,
    )


def refreshed(state: Emergency, event: EmergencyRaised) -> Emergency:
    """Another frame of the same press: counts it, takes a place sent with it, closes nothing."""
    sent_place = event.fix if event.fix is not None and event.fix.age_s is None else None
    was_measured = state.fix is not None and state.fix.age_s is None
    return msgspec.structs.replace(
        state,
        refreshed_at=max(state.refreshed_at, event.received_at),
        frames=state.frames + 1,
        fix=sent_place or state.fix,
        place=event.place if sent_place is not None and not was_measured else state.place,
        talkgroup_id=state.talkgroup_id or event.talkgroup_id,
        verified=state.verified or event.verified,
        doubt=None if event.verified else state.doubt,
    )


def told_late(state: Emergency, event: EmergencyRaised) -> Emergency:
    """A frame of the same press out of the radio's store: what was told since then stands."""
    after = refreshed(state, event)
    was_measured = state.fix is not None and state.fix.age_s is None
    return msgspec.structs.replace(
        after, refreshed_at=state.refreshed_at, fix=state.fix if was_measured else after.fix
    )


def continued(state: Emergency, event: EmergencyRaised) -> Emergency:
    """What was going on goes on, also where the radio had let go in between."""
    return msgspec.structs.replace(refreshed(state, event), ended_at=None)


def ended(state: Emergency, event: EmergencyEnded) -> Emergency:
    """The radio says that it is over; the entry stays open for a person."""
    return msgspec.structs.replace(state, ended_at=event.received_at)


def cleared(state: Emergency, at: Instant) -> Emergency:
    """The radio has its answer and tells the press no more."""
    return msgspec.structs.replace(state, cleared_at=at)


def without(state: Emergency, before: Emergency, after: Emergency) -> Emergency:
    """``state`` as if the change from ``before`` to ``after`` had not been, as far as it shows."""
    taken_back = {
        field: getattr(before, field)
        for field in Emergency.__struct_fields__
        if getattr(after, field) != getattr(before, field)
        and getattr(after, field) == getattr(state, field)
    }
    return msgspec.structs.replace(state, **taken_back)


def taken(state: Emergency, event: EmergencyTaken) -> Emergency:
    """A person takes it; taking over from another person is allowed and recorded."""
    return msgspec.structs.replace(
        state, phase="taken", taken_at=event.received_at, taken_by=event.by
    )


def closed(state: Emergency, event: EmergencyClosed) -> Emergency:
    """A person closes it with a verdict."""
    return msgspec.structs.replace(
        state,
        phase="closed",
        closed_at=event.received_at,
        closed_by=event.by,
        verdict=event.verdict,
        note=event.note,
    )
