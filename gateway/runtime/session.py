"""One peer, one codec, one conversation: the only place where wire, clock and codec meet."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from drivers.api import (
    Codec,
    Command,
    Heard,
    Moment,
    OneOfManyPorts,
    Outcome,
    Output,
    Reject,
    Report,
    TakesCommands,
    Verb,
)
from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.links.base import Peer
from gateway.model.events import RadioEvent
from gateway.model.quantities import Instant
from gateway.runtime.pipeline import Pipeline

log = structlog.get_logger("gateway.session")

FAILURES_BEFORE_HANGING_UP = 3


class SessionHost(Protocol):
    """What a session tells the runner of its link."""

    link_id: str
    driver_name: str
    commands: frozenset[Verb]

    def bytes_came(self, count: int) -> None:
        """The link is alive."""
        ...

    def heard(self, session: "Session", beat: Heard, at: Instant) -> None:
        """A radio showed that it is alive."""
        ...

    def reported(self, session: "Session", event: RadioEvent) -> None:
        """A radio said something through ``session``."""
        ...

    def answered(self, outcome: Outcome) -> None:
        """What became of a command."""
        ...

    def rejected(self, peer_name: str, reject: Reject, at: Instant) -> None:
        """Bytes were not taken; kept for the technician."""
        ...

    def codec_failed(self, peer_name: str, error: Exception, data: bytes) -> None:
        """A codec raised: a bug of ours."""
        ...

    def gone(self, session: "Session") -> None:
        """The peer is lost."""
        ...


class Session:
    """Feeds a codec, hands its reports on, and writes what it has to say.

    An acknowledgement leaves only here, after ``Codec.accept``, which runs after the commit.
    """

    def __init__(
        self,
        *,
        host: SessionHost,
        peer: Peer,
        new_codec: Callable[[], Codec],
        pipeline: Pipeline,
        clock: Clock,
        frame_timeout_s: float,
    ) -> None:
        self._host = host
        self._peer = peer
        self._new_codec = new_codec
        self._codec = new_codec()
        self._pipeline = pipeline
        self._clock = clock
        self._frame_timeout_s = frame_timeout_s
        self._quiet_deadline: float | None = None
        self._failures = 0
        self._is_lost = False
        self._is_flush_due = False

    @property
    def peer_name(self) -> str:
        """For people: where the peer is."""
        return self._peer.name

    @property
    def link_id(self) -> str:
        """Of its link."""
        return self._host.link_id

    @property
    def driver_name(self) -> str:
        """Of its link."""
        return self._host.driver_name

    @property
    def is_lost(self) -> bool:
        """True once the peer is gone."""
        return self._is_lost

    def takes(self, verb: Verb) -> bool:
        """Whether a radio behind this peer can be asked that."""
        codec = self._codec
        if verb not in self._host.commands or not isinstance(codec, TakesCommands):
            return False
        return codec.takes(verb) if isinstance(codec, OneOfManyPorts) else True

    @property
    def port_of(self) -> str:
        """The peer that this is one port of; empty where it is all there is of it."""
        if not isinstance(self._codec, OneOfManyPorts):
            return ""
        return f"{self.driver_name} {self._peer.name.rpartition(':')[0]}"

    def send(self, command: Command) -> None:
        """Ask a radio for something; ``SessionHost.answered`` hears what became of it."""
        codec = self._codec
        if not isinstance(codec, TakesCommands):
            self._host.answered(Outcome(command.order, "refused", "this driver takes no commands"))
            return
        self._run(lambda _data, now: codec.send(command, now), b"", self._now())

    def start(self) -> None:
        """Say what the codec has to say on opening."""
        self._write()

    def received(self, data: bytes) -> None:
        """Bytes from the link."""
        now = self._now()
        self._host.bytes_came(len(data))
        self._quiet_deadline = now.mono + self._frame_timeout_s
        self._run(self._codec.receive, data, now)

    def tick(self) -> None:
        """Time passes; called by the link's runner about twenty times a second."""
        mono = self._clock.monotonic()
        deadline = self._codec.next_deadline()
        if deadline is not None and deadline <= mono:
            self._expire()
        if self._quiet_deadline is not None and self._quiet_deadline <= mono:
            self._quiet_deadline = None  # an unfinished frame will not be finished any more
            self._flush_codec()

    def lost(self, why: str) -> None:
        """The peer is gone; what was complete is still taken."""
        del why
        self._is_lost = True
        self._flush_codec()
        self._host.gone(self)

    async def room(self) -> None:
        """Wait while the gateway is behind."""
        await self._pipeline.room()

    def close(self, why: str) -> None:
        """Hang up."""
        self._peer.close(why)

    def _flush_codec(self) -> None:
        self._run(lambda _data, now: self._codec.flush(now), b"", self._now())

    def _expire(self) -> None:
        self._run(lambda _data, now: self._codec.expire(now), b"", self._now())

    def _run(
        self, step: Callable[[bytes, Moment], Sequence[Output]], data: bytes, now: Moment
    ) -> None:
        try:
            outputs = step(data, now)
        except Exception as error:  # noqa: BLE001 - a codec's bug must not touch another link
            self._quarantine(error, data)
            return
        for output in outputs:
            self._take(output, now.at)
        self._write()

    def _take(self, output: Output, at: Instant) -> None:
        if isinstance(output, Report):
            self._host.reported(self, output.event)
            self._pipeline.report(
                output,
                link_id=self._host.link_id,
                driver=self._host.driver_name,
                at=at,
                settle=self._settler(output.receipt),
                peer=self._peer.name,
            )
        elif isinstance(output, Heard):
            self._host.heard(self, output, at)
        elif isinstance(output, Outcome):
            self._host.answered(output)
        else:
            self._host.rejected(self._peer.name, output, at)

    def _settler(self, receipt: int | None) -> Callable[[StoreError | None], None]:
        if receipt is None:
            return _nothing
        codec = self._codec

        def settle(error: StoreError | None) -> None:
            # No receipt where nothing was stored: the radio will send it again. A codec that was
            # replaced meanwhile does not know the receipt any more.
            if error is not None or self._is_lost or codec is not self._codec:
                return
            try:
                codec.accept(receipt)
            except Exception as failure:  # noqa: BLE001 - as above
                self._quarantine(failure, b"")
                return
            if not self._is_flush_due:
                self._is_flush_due = True  # one write for all receipts of a commit
                asyncio.get_running_loop().call_soon(self._flush_receipts)

        return settle

    def _flush_receipts(self) -> None:
        self._is_flush_due = False
        self._write()

    def _write(self) -> None:
        if self._is_lost:
            return
        frames = self._codec.outgoing()
        if frames:
            self._peer.write(frames)

    def _quarantine(self, error: Exception, data: bytes) -> None:
        """The codec has a bug: put a fresh one in its place, hang up when that happens again."""
        self._host.codec_failed(self._peer.name, error, data)
        self._failures += 1
        self._codec = self._new_codec()
        self._quiet_deadline = None
        if self._failures >= FAILURES_BEFORE_HANGING_UP and not self._is_lost:
            self._peer.close("its driver fails again and again")

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.now())


def _nothing(_error: StoreError | None) -> None:
    """A report whose radio waits for no answer."""
