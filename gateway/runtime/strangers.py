"""Datagrams from addresses that are not on a link's allow list.

An address can be forged, and an alarm is never thrown away: what such a datagram says of an
emergency is shown, marked, and is hearsay (see ``Emergency.is_hearsay``). Nothing else of it is
taken, nothing is answered, no radio counts as heard. A codec of its own reads each datagram, so
that a stranger changes no conversation; how many are read is bounded, the rest is only counted.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from drivers.api import Codec, Moment, Output, Reject, Report
from gateway.clock import Clock
from gateway.model.events import EmergencyEnded, EmergencyRaised
from gateway.model.quantities import Instant
from gateway.runtime.doubtful import host_of
from gateway.runtime.pipeline import Pipeline

WINDOW_S = 1.0
MOST_READ = 200  # in a window, of all strangers: some hundredths of a processor
MOST_READ_OF_ONE = 20


class Listener(Protocol):
    """The link's runner."""

    link_id: str
    driver_name: str

    def dropped(self, reason: str) -> None:
        """Something was thrown away before a session saw it."""
        ...

    def rejected(self, peer_name: str, reject: Reject, at: Instant) -> None:
        """Bytes were not taken; kept for the technician."""
        ...

    def codec_failed(self, peer_name: str, error: Exception, data: bytes) -> None:
        """A codec raised: a bug of ours."""
        ...


class Strangers:
    """Listens to those who are not allowed; see the module's docstring."""

    def __init__(
        self,
        listener: Listener,
        new_codec: Callable[[str], Codec],
        pipeline: Pipeline,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._new_codec = new_codec
        self._pipeline = pipeline
        self._clock = clock
        self._window_mono = -WINDOW_S
        self._read: Counter[str] = Counter()  # by host; as many as MOST_READ at most

    def received(self, peer_name: str, data: bytes) -> None:
        """One datagram."""
        self._listener.dropped("not_allowed")
        now = Moment(self._clock.monotonic(), self._clock.now())
        if not self._is_read(host_of(peer_name), now.mono):
            return
        try:
            codec = self._new_codec(peer_name)
            outputs = [*codec.receive(data, now), *codec.flush(now)]
        except Exception as error:  # noqa: BLE001 - a codec's bug must not touch the link
            self._listener.codec_failed(peer_name, error, data)
            return
        for output in outputs:
            self._take(output, peer_name, data, now.at)

    def _take(self, output: Output, peer_name: str, data: bytes, at: Instant) -> None:
        if not isinstance(output, Report):
            return
        if isinstance(output.event, EmergencyRaised):
            self._pipeline.hearsay(
                output,
                link_id=self._listener.link_id,
                driver=self._listener.driver_name,
                at=at,
                peer=peer_name,
            )
        elif isinstance(output.event, EmergencyEnded):
            detail = f"says that an emergency of {output.event.radio_id} is over; not obeyed"
            self._listener.rejected(peer_name, Reject("not_allowed", detail, data), at)

    def _is_read(self, host: str, mono: float) -> bool:
        if mono - self._window_mono >= WINDOW_S:
            self._window_mono = mono
            self._read.clear()
        if self._read.total() >= MOST_READ or self._read[host] >= MOST_READ_OF_ONE:
            return False
        self._read[host] += 1
        return True
