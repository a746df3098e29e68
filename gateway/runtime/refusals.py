"""Commands that were refused before they were queued, on record like every other end.

Each makes one ``command_ended`` with the reason. Nothing was sent and nothing waits, so whoever may
ask at all could fill the log with them: of each way in (desk, broker, command line) as many as
MOST_ON_RECORD an hour are kept, the rest is counted.
"""

import uuid

from drivers.api import Verb
from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.model.events import CommandEnded
from gateway.model.identity import EventId, RadioId, derive_event_id
from gateway.runtime.counters import Counters
from gateway.runtime.pipeline import Pipeline
from gateway.runtime.rate import Rate

MOST_ON_RECORD = 60
WINDOW_S = 3_600.0
MOST_WAYS = 16


class Refusals:
    """Counts every refusal, and keeps what may be kept of them."""

    def __init__(self, pipeline: Pipeline, counters: Counters, clock: Clock) -> None:
        self._pipeline = pipeline
        self._counters = counters
        self._clock = clock
        self._rate = Rate(MOST_ON_RECORD, WINDOW_S, MOST_WAYS)

    def refuse(self, radio_id: RadioId, verb: Verb, by: str, *, reason: str, why: str) -> None:
        """``reason`` is the short word that it is counted by, ``why`` the sentence."""
        self._counters.commands_not_taken[reason] += 1
        if not self._rate.lets_in(way_of(by), self._clock.monotonic()):
            self._counters.refusals_off_record += 1
            return
        command_id = EventId(uuid.uuid4().hex)
        end = CommandEnded(
            event_id=derive_event_id("command ended", command_id),
            radio_id=radio_id,
            received_at=self._clock.now(),
            command_id=command_id,
            verb=verb.value,
            by=by,
            result="refused",
            why=why,
        )

        def stored(error: StoreError | None) -> None:
            if error is None:
                self._counters.commands_ended[end.verb, end.result] += 1

        self._pipeline.command_changed(end, stored)


def way_of(by: str) -> str:
    """The way in by which somebody asked: what stands behind the last "via", or all there is."""
    return by.rpartition(" via ")[2]
