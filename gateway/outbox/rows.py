"""What goes into the outbox and what comes out."""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec

from gateway.errors import StoreError
from gateway.model.emergency import Emergency
from gateway.model.events import AnyEvent


class Lane(IntEnum):
    """Two lanes run through the same pipes; the emergency lane is never evicted or thinned."""

    EMERGENCY = 0
    TELEMETRY = 1


class Write(NamedTuple):
    """One thing to make durable.

    ``event`` becomes a row. ``emergency`` is written in the same transaction: inserted together
    with its raising event, updated otherwise (an update of a state that is not on disk fails the
    write). Both None make a write that only waits its turn: the answer to a repeated report may go
    out when everything before it is safe. ``settle`` is called once on the event loop: with None
    after the commit, with the error when nothing was written.
    """

    lane: Lane
    event: AnyEvent | None
    emergency: Emergency | None
    settle: Callable[[StoreError | None], None]


class Row(NamedTuple):
    """A committed event: ``seq`` grows by commit order, ``payload`` is its contract JSON."""

    seq: int
    lane: Lane
    event: AnyEvent
    payload: bytes


class Delivery(msgspec.Struct, frozen=True):
    """What a sink did with one batch; rows in neither list are offered again."""

    accepted: Sequence[int]
    rejected: Mapping[int, str] = {}  # seq: the reason; will never be taken
