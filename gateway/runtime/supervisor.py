"""Keeps every link running: opens it, watches it, opens it again, for ever.

Only here does a failure become a restart. A change of state is one log line and one event; the
tries between two changes are counted, not told.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from drivers.api import Codec, Heard, Outcome, Reject, Verb
from gateway.addresses import address_text
from gateway.clock import Clock
from gateway.errors import LinkError
from gateway.links.base import Calls, Link, Peer
from gateway.model.events import LinkChanged, LinkState, RadioDeregistered, RadioEvent
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant
from gateway.model.views import LinkView, RejectedFrame
from gateway.runtime.backoff import Backoff
from gateway.runtime.board import Board
from gateway.runtime.counters import Counters
from gateway.runtime.downlink import Downlink
from gateway.runtime.pipeline import Pipeline
from gateway.runtime.session import Session
from gateway.runtime.strangers import Strangers

log = structlog.get_logger("gateway.links")

TICK_S = 0.05  # how late a codec's deadline may be noticed
KEPT_REJECTS = 50  # frames kept for the technician, each cut to KEPT_BYTES
KEPT_BYTES = 256
STEADY_S = 5.0  # a link that ran so long starts its next pauses short


class LinkRunner:
    """One link's life, and all that the technician may ask about it."""

    def __init__(
        self,
        *,
        link_id: str,
        driver_name: str,
        link: Link,
        new_codec: Callable[[str], Codec],
        commands: frozenset[Verb],
        place_of: Callable[[RadioId], tuple[str, int] | None],
        silent_after_s: float,
        frame_timeout_s: float,
        backoff: Backoff,
        pipeline: Pipeline,
        downlink: Downlink,
        board: Board,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self.link_id = link_id
        self.driver_name = driver_name
        self.commands = commands
        self._link = link
        self._place_of = place_of
        self._new_codec = new_codec
        self._silent_after_s = silent_after_s
        self._frame_timeout_s = frame_timeout_s
        self._backoff = backoff
        self._pipeline = pipeline
        self._downlink = downlink
        self._board = board
        self._counters = counters
        self._clock = clock
        self._sessions: set[Session] = set()
        self._state: LinkState = "down"
        self._since = clock.now()
        self._why: str | None = "not started yet"
        self._opened_mono: float | None = None
        self._last_byte_mono: float | None = None
        self._last_byte_at: Instant | None = None
        self._tries = 0
        self._rejects: deque[RejectedFrame] = deque(maxlen=KEPT_REJECTS)
        self._is_degraded = False
        self._strangers = Strangers(self, new_codec, pipeline, clock)
        downlink.add_caller(self.call)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_open(), name=f"link {self.link_id}")
            group.create_task(self._tick(), name=f"link {self.link_id} timers")

    async def _keep_open(self) -> None:
        while True:
            self._tries += 1
            if self._tries == 1:
                self._change("connecting", None)
            try:
                await self._link.run(self)
            except LinkError as error:
                why = str(error)
            except Exception as error:  # the one place that turns a bug into a restart
                log.exception("link_failed", link=self.link_id)
                why = f"internal error: {error!r}"
            if self._opened_mono is not None:
                if self._clock.monotonic() - self._opened_mono >= STEADY_S:
                    self._backoff.reset()
                self._opened_mono = None
                self._tries = 1
            pause_s = self._backoff.next()
            self._change("down", why)
            log.debug("link_retry", link=self.link_id, tries=self._tries, pause_s=round(pause_s, 2))
            await self._clock.sleep(pause_s)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            for session in tuple(self._sessions):
                session.tick()
            if self._state == "up" and self._quiet_s() > self._silent_after_s:
                self._change("silent", f"no byte for {self._silent_after_s:g} s")

    def _quiet_s(self) -> float:
        starts = [t for t in (self._opened_mono, self._last_byte_mono) if t is not None]
        return self._clock.monotonic() - max(starts, default=self._clock.monotonic())

    # What the link tells (LinkHost).

    def opened(self) -> None:
        """The link is open."""
        self._opened_mono = self._clock.monotonic()
        self._change("up", None)

    def peer(self, peer: Peer) -> Session:
        """A peer is there: give it a session with a codec of its own."""
        session = Session(
            host=self,
            peer=peer,
            new_codec=partial(self._new_codec, peer.name),
            pipeline=self._pipeline,
            clock=self._clock,
            frame_timeout_s=self._frame_timeout_s,
        )
        self._sessions.add(session)
        self._downlink.met(session)
        session.start()
        return session

    def call(self, radio_id: RadioId, verb: Verb) -> Session | None:
        """Speak to a radio that is on the air and has not spoken on this link, if that can be."""
        place = self._place_of(radio_id) if verb in self.commands else None
        if place is None or not isinstance(self._link, Calls):
            return None
        self._link.call(*place)
        name = address_text(place)
        return next((each for each in self._sessions if each.peer_name == name), None)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Something was thrown away before a session saw it."""
        self._counters.link_dropped[self.link_id, reason] += count

    def stranger(self, name: str, data: bytes) -> None:
        """A datagram from an address that is not allowed: only an alarm in it is shown."""
        self._strangers.received(name, data)

    # What a session tells (SessionHost).

    def bytes_came(self, count: int) -> None:
        """The link is alive."""
        self._counters.bytes_received[self.link_id] += count
        self._last_byte_mono = self._clock.monotonic()
        self._last_byte_at = self._clock.now()
        if self._state == "silent":
            self._change("up", None)

    def heard(self, session: Session, beat: Heard, at: Instant) -> None:
        """A radio is alive."""
        self._downlink.heard(beat.radio_id, session)
        self._counters.heard += 1
        self._board.heard(beat.radio_id, link_id=self.link_id, driver=self.driver_name, at=at)

    def reported(self, session: Session, event: RadioEvent) -> None:
        """A radio said something: it can be reached there, unless it said good-bye."""
        if isinstance(event, RadioDeregistered):
            self._downlink.left(event.radio_id)
        else:
            self._downlink.heard(event.radio_id, session)

    def answered(self, outcome: Outcome) -> None:
        """A command has an outcome."""
        self._downlink.answered(outcome)

    def rejected(self, peer_name: str, reject: Reject, at: Instant) -> None:
        """A frame that does not fit: counted, and kept in a small ring."""
        self._counters.frames_rejected[self.link_id, reject.reason] += 1
        self._rejects.append(
            RejectedFrame(
                at=at,
                peer=peer_name,
                reason=reject.reason,
                detail=reject.detail[:200],
                hex=reject.data[:KEPT_BYTES].hex(),
            )
        )

    def codec_failed(self, peer_name: str, error: Exception, data: bytes) -> None:
        """The driver has a bug; other links do not notice."""
        self._counters.codec_failures[self.driver_name] += 1
        if not self._is_degraded:
            self._is_degraded = True
            log.error(
                "driver_failed",
                link=self.link_id,
                driver=self.driver_name,
                peer=peer_name,
                error=repr(error)[:200],
                exc_info=error,
            )
        self.rejected(peer_name, Reject("driver_error", repr(error), data), self._clock.now())

    def gone(self, session: Session) -> None:
        """A peer is lost."""
        self._sessions.discard(session)
        self._downlink.gone(session)

    # What people ask.

    def view(self) -> LinkView:
        """The link as the desk and the technician see it."""
        mine = self._counters
        return LinkView(
            link_id=self.link_id,
            driver=self.driver_name,
            place=self._link.place,
            state=self._state,
            since=self._since,
            why=self._why,
            peers=len(self._sessions),
            bytes_received=mine.bytes_received[self.link_id],
            last_heard_at=self._last_byte_at,
            is_degraded=self._is_degraded,
            rejected=_of_link(mine.frames_rejected, self.link_id),
            dropped=_of_link(mine.link_dropped, self.link_id),
        )

    def rejects(self) -> Sequence[RejectedFrame]:
        """The last frames that were not taken, oldest first."""
        return tuple(self._rejects)

    def _change(self, state: LinkState, why: str | None) -> None:
        if (state, why) == (self._state, self._why):
            return
        changed_state = state != self._state
        self._state, self._why = state, why
        if not changed_state:
            self._board.link_changed(self.view())
            return
        self._since = self._clock.now()
        level = log.warning if state in {"down", "silent"} else log.info
        level("link_state", link=self.link_id, state=state, why=why, place=self._link.place)
        self._board.link_changed(self.view())
        self._pipeline.link_changed(
            LinkChanged(
                link_id=self.link_id,
                driver=self.driver_name,
                received_at=self._since,
                state=state,
                since=self._since,
                why=why,
            )
        )


def _of_link(counts: dict[tuple[str, str], int], link_id: str) -> dict[str, int]:
    return {reason: count for (link, reason), count in sorted(counts.items()) if link == link_id}


class Supervisor:
    """All links."""

    def __init__(self, runners: Sequence[LinkRunner]) -> None:
        self.runners = {runner.link_id: runner for runner in runners}

    async def run(self) -> None:
        """Serve every link until cancelled."""
        async with asyncio.TaskGroup() as group:
            for runner in self.runners.values():
                group.create_task(runner.run(), name=f"supervise {runner.link_id}")

    def views(self) -> list[LinkView]:
        """Every link as people see it."""
        return [runner.view() for runner in self.runners.values()]
