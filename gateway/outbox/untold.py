"""Events of which only the state that they made is left, told anew from it.

A commit writes an event and the state that it made to different pages. Where it was cut short, or
damaged later, one of them may be there without the other. An event without its state makes the
state anew (``salvage.replayed``). A state without its event would be known to us and to nobody
else: no sink would hear of it, and the radio's retry would be taken for a repetition.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.model.emergency import Emergency, act_id, ended_id
from gateway.model.events import (
    AnyEvent,
    EmergencyClosed,
    EmergencyEnded,
    EmergencyRaised,
    EmergencyTaken,
)

_HEADER = ("site", "link_id", "driver", "radio_id", "unit_id", "unit_name", "team", "kind", "place")


def events_between(before: Emergency | None, after: Emergency) -> Iterator[AnyEvent]:
    """The events that lead from one state of an emergency to another; from None: its whole life.

    They have the ids that they had, so telling one twice is harmless. What a state does not keep is
    absent: the code of the radio's own end, and of several who took it all but the last.
    """
    own_id = after.emergency_id
    header: dict[str, Any] = {name: getattr(after, name) for name in _HEADER}
    act = {**header, "raised_at": after.raised_at, "is_drill": after.is_drill}
    if before is None:
        yield EmergencyRaised(
            **header,
            event_id=own_id,
            received_at=after.raised_at,
            raw_code=after.raw_code,
            talkgroup_id=after.talkgroup_id,
            fix=after.fix,
            is_drill=after.is_drill,
            verified=after.verified,
            doubt=after.doubt,
        )
    has_new_end = before is None or before.ended_at != after.ended_at
    if has_new_end and after.ended_at is not None:
        yield EmergencyEnded(
            **header,
            event_id=ended_id(own_id, after.ended_at),
            received_at=after.ended_at,
            emergency_id=own_id,
        )
    is_another = before is None or before.taken_at != after.taken_at
    if is_another and after.taken_at is not None and after.taken_by:
        taken_from = before.taken_by if before is not None else None
        yield _identified(
            EmergencyTaken(
                **act,
                received_at=after.taken_at,
                emergency_id=own_id,
                by=after.taken_by,
                taken_from=taken_from,
            )
        )
    was_open = before is None or before.closed_at is None
    if was_open and after.closed_at is not None and after.closed_by and after.verdict:
        yield _identified(
            EmergencyClosed(
                **act,
                received_at=after.closed_at,
                emergency_id=own_id,
                by=after.closed_by,
                verdict=after.verdict,
                note=after.note,
            )
        )


def _identified(act: Any) -> AnyEvent:
    named: AnyEvent = msgspec.structs.replace(act, event_id=act_id(act))
    return named
