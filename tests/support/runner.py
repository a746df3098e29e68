"""Links kept running as the gateway runs them, up to an outbox that takes everything at once."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from drivers.api import Verb
from gateway.catalog import Catalog
from gateway.clock import Clock, SystemClock
from gateway.incidents.book import EmergencyBook
from gateway.links.factory import longest_pause_s, make_link
from gateway.model.events import AnyEvent
from gateway.outbox.rows import Write
from gateway.roster.units import Roster, RosterFile
from gateway.runtime.backoff import Backoff
from gateway.runtime.board import Board
from gateway.runtime.bus import Bus
from gateway.runtime.counters import Counters
from gateway.runtime.downlink import Downlink
from gateway.runtime.pipeline import Pipeline
from gateway.runtime.supervisor import LinkRunner
from gateway.settings import AnyLinkSettings, CommandSettings


class TakesAll:
    """Stands for the outbox: whatever comes is safe at once."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.waiting: list[tuple[Callable[[AnyEvent], bool], asyncio.Future[AnyEvent]]] = []

    def submit(self, write: Write) -> bool:
        if write.event is not None:
            self.events.append(write.event)
            self._tell(write.event)
        asyncio.get_running_loop().call_soon(write.settle, None)
        return True

    async def room(self) -> None:
        return

    def _tell(self, event: AnyEvent) -> None:
        for wanted, future in self.waiting:
            if not future.done() and wanted(event):
                future.set_result(event)
        self.waiting = [entry for entry in self.waiting if not entry[1].done()]


ALL_COMMANDS = CommandSettings(enabled=True, allow=tuple(verb.value for verb in Verb))


def downlink_for(pipeline: Pipeline, counters: Counters, clock: Clock) -> Downlink:
    """The way down with everything switched on."""
    return Downlink(
        ALL_COMMANDS,
        pipeline=pipeline,
        roster=Roster(RosterFile()),
        bus=Bus(),
        counters=counters,
        clock=clock,
    )


class Runtime:
    """Runners for ``[[link]]`` tables, and what they brought in."""

    def __init__(
        self,
        tables: Sequence[dict[str, Any]],
        folder: Path,
        clock: Clock | None = None,
        units: RosterFile | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.counters = Counters()
        self.outbox = TakesAll()
        roster, book = Roster(units or RosterFile()), EmergencyBook(300)
        self.board = Board(
            roster=roster, book=book, bus=Bus(), clock=self.clock, fresh_s=60, silent_s=300
        )
        self.pipeline = Pipeline(
            site="town",
            outbox=self.outbox,
            book=book,
            roster=roster,
            board=self.board,
            counters=self.counters,
            clock=self.clock,
        )
        self.downlink = downlink_for(self.pipeline, self.counters, self.clock)
        self._catalog = Catalog.scan()
        self._folder = folder
        self.runners = {str(table["id"]): self._runner(table) for table in tables}

    async def run(self) -> None:
        """Keep every link running until cancelled."""
        async with asyncio.TaskGroup() as group:
            for runner in self.runners.values():
                group.create_task(runner.run(), name=f"runner {runner.link_id}")

    async def next_event(
        self, wanted: Callable[[AnyEvent], bool], within_s: float = 10.0
    ) -> AnyEvent:
        """The first event from now on that is ``wanted``."""
        future: asyncio.Future[AnyEvent] = asyncio.get_running_loop().create_future()
        self.outbox.waiting.append((wanted, future))
        async with asyncio.timeout(within_s):
            return await future

    def _runner(self, table: dict[str, Any]) -> LinkRunner:
        settings: AnyLinkSettings = msgspec.convert(table, AnyLinkSettings)
        driver = self._catalog.get(settings.driver)
        return LinkRunner(
            link_id=settings.id,
            driver_name=driver.name,
            link=make_link(settings, driver, self._folder, self.clock),
            new_codec=lambda peer: driver.new_codec(settings.options, settings.id, peer),
            commands=driver.commands,
            place_of=driver.places(settings.options),
            silent_after_s=settings.silent_after_s,
            frame_timeout_s=settings.frame_timeout_s,
            backoff=Backoff(
                most_s=longest_pause_s(settings),
                source=random.Random(settings.id),
            ),
            pipeline=self.pipeline,
            downlink=self.downlink,
            board=self.board,
            counters=self.counters,
            clock=self.clock,
        )


def serve_links(tables: Sequence[dict[str, Any]], folder: Path) -> None:
    """Run links until killed: the body of a child process whose memory a test watches."""
    asyncio.run(Runtime(tables, folder).run())
