"""One conversation up to an outbox that a test opens and shuts: session, codec, pipeline, book.

Everything between the wire and the outbox is the real thing; time moves when the test says so.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from drivers.api import Codec, Driver, Heard, Moment, Outcome, Output, Reject, Report
from gateway.clock import ManualClock
from gateway.errors import StoreError
from gateway.incidents.book import EmergencyBook
from gateway.model.events import AnyEvent
from gateway.model.quantities import Instant
from gateway.outbox.rows import Write
from gateway.roster.units import Roster
from gateway.runtime.board import Board
from gateway.runtime.bus import Bus
from gateway.runtime.counters import Counters
from gateway.runtime.pipeline import Pipeline
from gateway.runtime.session import Session
from tests.support.battery import LINK_ID

SAME_PRESS_S = 300.0


Mood = Literal["commits", "fails", "blocks"]


class Disk:
    """Stands for the outbox: commits at once, fails at once, or lets everything wait."""

    def __init__(self) -> None:
        self.mood: Mood = "commits"
        self.waiting: list[Write] = []
        self.events: list[AnyEvent] = []

    def submit(self, write: Write) -> bool:
        self.waiting.append(write)
        if self.mood != "blocks":
            self.settle(None if self.mood == "commits" else StoreError("the disk fails"))
        return True

    async def room(self) -> None:
        return

    def settle(self, error: StoreError | None = None) -> None:
        """Settle everything that waits."""
        while self.waiting:
            self.settle_first(error)

    def settle_first(self, error: StoreError | None = None) -> None:
        """Settle what has waited longest."""
        write = self.waiting.pop(0)
        if error is None and write.event is not None:
            self.events.append(write.event)
        write.settle(error)


class Spy:
    """A codec that is listened to: what it asked receipts for, and what it was told."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.given: list[int] = []
        self.accepted: list[int] = []

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        return self._noted(self.codec.receive(data, now))

    def flush(self, now: Moment) -> Sequence[Output]:
        return self._noted(self.codec.flush(now))

    def accept(self, receipt: int) -> None:
        self.accepted.append(receipt)
        self.codec.accept(receipt)

    def outgoing(self) -> Sequence[bytes]:
        return self.codec.outgoing()

    def next_deadline(self) -> float | None:
        return self.codec.next_deadline()

    def expire(self, now: Moment) -> Sequence[Output]:
        return self._noted(self.codec.expire(now))

    def _noted(self, outputs: Sequence[Output]) -> Sequence[Output]:
        self.given += [
            each.receipt
            for each in outputs
            if isinstance(each, Report) and each.receipt is not None
        ]
        return outputs


class Ear:
    """The far end of the wire: keeps what is written, or hands it to a device."""

    name = "far end"

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.take: Callable[[bytes], None] | None = None

    def write(self, frames: Sequence[bytes]) -> None:
        self.written += frames
        for frame in frames:
            if self.take is not None:
                self.take(frame)

    def close(self, why: str) -> None:
        raise AssertionError(f"the session hung up: {why}")


class Talk:
    """One gateway's memory (book, pipeline), and conversations that come and go.

    Raises whatever a codec raises: in a test that is a bug.
    """

    link_id = LINK_ID

    def __init__(
        self,
        driver: Driver[Any],
        options: dict[str, Any] | None = None,
        at: Instant | None = None,
    ) -> None:
        self.driver_name = driver.name
        self.commands = driver.commands
        self.clock = ManualClock(at) if at is not None else ManualClock()
        self.disk = Disk()
        self.counters = Counters()
        self.heard_beats = 0
        self.rejects: list[Reject] = []
        self.ear = Ear()
        self.spy = Spy(driver.new_codec(options or {}, LINK_ID))
        self._driver = driver
        self._options = options or {}
        self.book = EmergencyBook(SAME_PRESS_S)
        self.restart()
        self.session = self._new_session()

    def restart(self) -> None:
        """A new process knows what the outbox kept: the states of emergencies."""
        kept = self.book.all()
        self.book = EmergencyBook(SAME_PRESS_S)
        self.book.load(kept)
        roster = Roster()
        board = Board(
            roster=roster, book=self.book, bus=Bus(), clock=self.clock, fresh_s=60, silent_s=300
        )
        self.pipeline = Pipeline(
            site="town",
            outbox=self.disk,
            book=self.book,
            roster=roster,
            board=board,
            counters=self.counters,
            clock=self.clock,
        )

    def reconnect(self) -> None:
        """A new conversation with a fresh codec."""
        self.spy = Spy(self._driver.new_codec(self._options, LINK_ID))
        self.ear = Ear()
        self.session = self._new_session()

    def pass_time(self, seconds: float) -> None:
        """Time passes at once; deadlines are looked at when it is over."""
        self.clock._move_to(self.clock.monotonic() + seconds)
        self.session.tick()

    def _new_session(self) -> Session:
        session = Session(
            host=self,
            peer=self.ear,
            new_codec=lambda: self.spy,
            pipeline=self.pipeline,
            clock=self.clock,
            frame_timeout_s=8,
        )
        session.start()
        return session

    # What a session tells.

    def bytes_came(self, count: int) -> None:
        """The link is alive."""

    def reported(self, session: Session, event: AnyEvent) -> None:
        """A radio said something."""

    def answered(self, outcome: Outcome) -> None:
        """A command has an outcome."""

    def heard(self, session: Session, beat: Heard, at: Instant) -> None:
        """A radio is alive."""
        self.heard_beats += 1

    def rejected(self, peer_name: str, reject: Reject, at: Instant) -> None:
        """Bytes were not taken."""
        self.rejects.append(reject)

    def codec_failed(self, peer_name: str, error: Exception, data: bytes) -> None:
        """A bug."""
        raise error

    def gone(self, session: Session) -> None:
        """The peer is lost."""
