"""A way down without a wire: pipeline and outbox of a test, radios that do what they are told."""

from collections import Counter

import msgspec

from drivers.api import Command, Outcome, Verb
from gateway.clock import ManualClock
from gateway.incidents.book import EmergencyBook
from gateway.model.events import AnyEvent, CommandEnded, CommandQueued, CommandSent
from gateway.model.identity import EventId, RadioId
from gateway.roster.units import Roster, RosterFile, Unit
from gateway.runtime.board import Board
from gateway.runtime.bus import Bus
from gateway.runtime.counters import Counters
from gateway.runtime.downlink import Ask, Downlink
from gateway.runtime.pipeline import Pipeline
from gateway.settings import CommandSettings
from tests.support.runner import ALL_COMMANDS
from tests.support.talk import Disk

RADIO = RadioId("pdt:80020200")
OTHER = RadioId("pdt:80020201")
ROSTER = Roster(RosterFile(unit=(Unit(id="patrol-1", name="巡逻一组", radios=(RADIO, OTHER)),)))


class Peer:
    """A session that keeps what it is asked to send; it answers when the test says so."""

    driver_name = "scripted"

    def __init__(
        self, link_id: str = "link-1", verbs: frozenset[Verb] = frozenset(Verb), port_of: str = ""
    ) -> None:
        self.link_id = link_id
        self.port_of = port_of
        self.verbs = verbs
        self.is_lost = False
        self.sent: list[Command] = []

    def takes(self, verb: Verb) -> bool:
        return verb in self.verbs

    def send(self, command: Command) -> None:
        self.sent.append(command)


class Place:
    """One gateway's memory and its disk; ``restart`` keeps the disk alone."""

    def __init__(self, settings: CommandSettings = ALL_COMMANDS) -> None:
        self.settings = settings
        self.clock = ManualClock()
        self.disk = Disk()
        self.start()

    def start(self) -> None:
        """A new process on what is on disk."""
        self.counters = Counters()
        self.bus = Bus()
        book = EmergencyBook(300)
        self.board = Board(
            roster=ROSTER, book=book, bus=self.bus, clock=self.clock, fresh_s=60, silent_s=300
        )
        pipeline = Pipeline(
            site="town",
            outbox=self.disk,
            book=book,
            roster=ROSTER,
            board=self.board,
            counters=self.counters,
            clock=self.clock,
        )
        self.downlink = Downlink(
            self.settings,
            pipeline=pipeline,
            roster=ROSTER,
            bus=self.bus,
            counters=self.counters,
            clock=self.clock,
        )
        self.downlink.restore([event for event in self.disk.events if is_of_command(event)])

    def kill(self) -> None:
        """What was not committed is gone."""
        self.disk.waiting.clear()

    def submit(self, verb: Verb = Verb.LOCATE, radio: RadioId = RADIO, by: str = "李明") -> EventId:
        return self.downlink.submit(Ask(radio, verb, by), lambda _error: None)

    def answer(self, command: Command, result: str = "delivered", why: str = "") -> None:
        self.downlink.answered(
            msgspec.convert((command.order, result, why), Outcome)  # what a codec gives
        )

    def pass_time(self, seconds: float) -> None:
        """Time passes at once; the deadlines are looked at when it is over."""
        self.clock._move_to(self.clock.monotonic() + seconds)
        self.downlink.tick()

    def ends(self) -> list[tuple[str, str]]:
        """Result and reason of every end on disk, in order."""
        return [
            (event.result, event.why or "")
            for event in self.disk.events
            if isinstance(event, CommandEnded)
        ]

    def ends_of_each(self) -> Counter[EventId]:
        """How many ends every command on disk has."""
        counts = Counter({e.event_id: 0 for e in self.disk.events if isinstance(e, CommandQueued)})
        counts.update(e.command_id for e in self.disk.events if isinstance(e, CommandEnded))
        return counts


def is_of_command(event: AnyEvent) -> bool:
    """One of the three events of a command."""
    return isinstance(event, CommandQueued | CommandSent | CommandEnded)
