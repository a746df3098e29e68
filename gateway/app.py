"""The composition root: settings in, everything built here, the one tree of tasks.

Start: the stores, what is known from before, then sinks, links and the desk. Stop: the links
first, so that nothing new comes in; what is committed is delivered as far as the deadline allows;
then the stores.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

import msgspec
import structlog

import gateway
from gateway import logs
from gateway.addresses import url_of
from gateway.airtime.keeper import Keeper
from gateway.catalog import Catalog
from gateway.check import check
from gateway.clock import Clock, SystemClock
from gateway.control import Control
from gateway.errors import GatewayError
from gateway.eventlog.store import EventLog
from gateway.incidents.book import EmergencyBook
from gateway.links.factory import longest_pause_s, make_link
from gateway.model.events import CommandVerb
from gateway.model.identity import EventId
from gateway.model.quantities import Instant
from gateway.outbox.dispatcher import Dispatcher
from gateway.outbox.inspect import Offered, offer_again, remembered_emergencies
from gateway.outbox.rows import Delivery, Row
from gateway.outbox.store import Outbox
from gateway.roster.units import Roster, team_keep_s
from gateway.runtime.backoff import Backoff
from gateway.runtime.board import Board
from gateway.runtime.bus import Bus, Kind
from gateway.runtime.counters import Account, Counters
from gateway.runtime.downlink import Downlink
from gateway.runtime.facts import Facts
from gateway.runtime.health import LoopLag, Metrics, keep_time
from gateway.runtime.pipeline import Pipeline
from gateway.runtime.requests import Requests
from gateway.runtime.service_manager import ServiceManager
from gateway.runtime.supervisor import LinkRunner, Supervisor
from gateway.settings import AnyLinkSettings, Loaded, parse_address
from gateway.sinks.base import Sink
from gateway.sinks.desk import DeskSink
from gateway.sinks.nmea import NmeaOut
from gateway.sinks.privacy import Privacy

if TYPE_CHECKING:
    from gateway.broker import EmbeddedBroker
    from gateway.desk.server import Desk

log = structlog.get_logger("gateway.app")

REMEMBER_CLOSED_NS = 2 * 86_400 * 10**9  # closed emergencies still known after a restart
DRAIN_LIMIT_S = 2.0  # how long the end waits for the sinks
BOARD_EVERY_S = 1.0
PART_PAUSE_S = 5.0  # before a part that failed begins again
HEALTH_EVERY_S = 10.0
KEEP_STATES_EVERY_S = 1.0
BROKER_PAUSE_S = 3.0  # longest between two tries: open alarms are on a broker 5 s after it is back
OPEN_FILES = 65_536
FIRST_ROLES = ("dispatcher", "technician", "admin")


class Gateway:
    """One gateway: built from settings, run until told to stop."""

    def __init__(
        self,
        loaded: Loaded,
        roster: Roster,
        catalog: Catalog,
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        watchdog_s: float = 0.0,
    ) -> None:
        settings = loaded.settings
        self.loaded = loaded
        self.clock = clock or SystemClock()
        self.manager = ServiceManager(environment or {}, self.clock, watchdog_s)
        self.data_dir = loaded.path(settings.site.data_dir)
        self.counters = Counters()
        self.bus = Bus()
        self.book = EmergencyBook(settings.board.same_press_s)
        self.board = Board(
            roster=roster,
            book=self.book,
            bus=self.bus,
            clock=self.clock,
            fresh_s=settings.board.fresh_s,
            silent_s=settings.board.silent_s,
        )
        self.outbox = Outbox(self.data_dir / "outbox.db", settings.outbox, self.clock)
        self.eventlog = EventLog(
            self.data_dir / "desk.db",
            self.clock,
            history_keep_s=settings.desk.history_keep_s,
            team_keep_s=team_keep_s(settings, roster),
        )
        self.privacy = Privacy(
            settings.privacy, roster, ZoneInfo(settings.site.zone), self.book.was_going_on
        )
        self.pipeline = Pipeline(
            site=settings.site.id,
            outbox=self.outbox,
            book=self.book,
            roster=roster,
            board=self.board,
            counters=self.counters,
            clock=self.clock,
        )
        self.downlink = Downlink(
            settings.commands,
            pipeline=self.pipeline,
            roster=roster,
            bus=self.bus,
            counters=self.counters,
            clock=self.clock,
        )
        self.requests = Requests(self.pipeline, self.downlink, self.board)
        self.control = Control(self.data_dir, self.requests, self.downlink)
        self._catalog = catalog
        self.supervisor = Supervisor([self._runner(link) for link in settings.link])
        self.lag = LoopLag(self.clock)
        self.facts = Facts(
            site=settings.site,
            version=gateway.__version__,
            board=self.board,
            downlink=self.downlink,
            possible_commands=self._possible_commands(),
            book=self.book,
            supervisor=self.supervisor,
            outbox=self.outbox,
            counters=self.counters,
            lag=self.lag,
            clock=self.clock,
        )
        self.broker = self._broker()
        self.sinks = self._sinks()
        self.keepers = [
            Keeper(one, self.facts, self.downlink, self.clock) for one in settings.airtime
        ]
        self.facts.channels = self.keepers
        self.nmea_outs = [NmeaOut(one, self.facts, self.clock) for one in settings.nmea_out]
        self.desk: Desk | None = None
        self.first_sign_in_url: str | None = None  # for the first person, while there is no account

    async def run(
        self, stop: asyncio.Event, ready: Callable[["Gateway"], None] | None = None
    ) -> Account:
        """Serve until ``stop`` is set; returns the balance of events.

        Raises ConfigError or StoreError where it cannot begin; ``ready`` is called when it has.
        """
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(self.outbox.open)
        try:
            dispatcher = await self._begin()
            async with asyncio.TaskGroup() as group:
                await self._serve(group, dispatcher, stop, ready)
        finally:
            await self.outbox.close()
            await self.eventlog.close()
        account = self.counters.account()
        log.info("gateway_stopped", **msgspec.structs.asdict(account))
        return account

    async def _begin(self) -> Dispatcher:
        """Open the stores and take over what is known from before."""
        for sink in self.sinks:
            self.outbox.register_sink(sink.name)
        dispatcher = Dispatcher(self.outbox, self.sinks, self.clock, new_pauses=Backoff)
        self.facts.dispatcher = dispatcher
        for sink in self.sinks:
            if isinstance(sink, Returns):
                sink.on_open = partial(dispatcher.retry, sink.name)
        self.outbox.on_state(lambda _state, _why: self.bus.publish("gateway", ""))
        since = Instant(max(0, self.clock.now() - REMEMBER_CLOSED_NS))
        self.book.load(self.outbox.recent_emergencies(since))
        await self.eventlog.open()
        await self.eventlog.put_emergencies(self.book.open())
        self.board.restore(await self.eventlog.last_fixes())
        left_open = self.outbox.commands()
        self.outbox.start(asyncio.get_running_loop())
        self.downlink.restore(left_open)
        return dispatcher

    async def _serve(
        self,
        group: asyncio.TaskGroup,
        dispatcher: Dispatcher,
        stop: asyncio.Event,
        ready: Callable[["Gateway"], None] | None,
    ) -> None:
        refresh = keep_time(self.clock, BOARD_EVERY_S, self.board.refresh)
        beat = keep_time(self.clock, HEALTH_EVERY_S, lambda: self.bus.publish("gateway", ""))
        background: list[asyncio.Task[None]] = []  # ended in reverse: sinks before their broker
        if self.broker is not None:
            background.append(group.create_task(self.broker.run(), name="embedded broker"))
        background += [
            group.create_task(self.lag.run(), name="loop lag"),
            group.create_task(refresh, name="board clock"),
            group.create_task(beat, name="health beat"),
            group.create_task(self.eventlog.run(), name="event log retention"),
            group.create_task(self._keep_states(), name="event log states"),
            group.create_task(dispatcher.run(), name="dispatcher"),
            group.create_task(self.downlink.run(), name="commands"),
            group.create_task(self.control.run(), name="control socket"),
            group.create_task(self._beat(), name="service manager"),
            *(self._part(group, f"sink {sink.name}", sink.run) for sink in self.sinks),
            *(self._part(group, out.name, out.run) for out in self.nmea_outs),
            *(self._part(group, keeper.name, keeper.run) for keeper in self.keepers),
        ]
        followers: list[Follows] = [sink for sink in self.sinks if isinstance(sink, Follows)]
        followers += self.nmea_outs
        if followers:
            background.append(group.create_task(self._tell(followers), name="tell sinks"))
        if self.loaded.settings.desk.enabled:
            self.desk = await self._desk()
            background.append(group.create_task(self.desk.serve(), name="desk"))
        links = group.create_task(self.supervisor.run(), name="links")
        log.info("gateway_started", site=self.loaded.settings.site.id, version=gateway.__version__)
        if ready is not None:
            ready(self)
        self.manager.ready(f"{len(self.loaded.settings.link)} links")
        await stop.wait()
        self.manager.stopping()
        await _end(links)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_LIMIT_S):
                await self.outbox.settled()  # what the links said last is committed first
                await dispatcher.caught_up()
        for task in reversed(background):
            await _end(task)

    async def _beat(self) -> None:
        """Tell the service manager that the loop turns and the outbox's thread lives."""
        await self.manager.run(lambda: self.outbox.is_running)

    def _part(
        self, group: asyncio.TaskGroup, name: str, run: Callable[[], Awaitable[None]]
    ) -> "asyncio.Task[None]":
        """A part that alarms do without: a bug of it is told, and it begins again."""

        async def keep() -> None:
            while True:
                try:
                    await run()
                except Exception:  # a way out must not end the way in
                    log.exception("part_failed", part=name, hint="it begins again")
                await self.clock.sleep(PART_PAUSE_S)

        return group.create_task(keep(), name=name)

    async def _tell(self, followers: Sequence["Follows"]) -> None:
        """Tell the sinks that publish the present state what has a new one."""
        with self.bus.subscribe() as changes:
            while True:
                await changes.wait()
                for change in changes.drain():
                    if change.kind != "command":  # its events go to the sinks by the outbox
                        for sink in followers:
                            sink.changed(change.kind, change.key)

    async def _keep_states(self) -> None:
        """Keep the log's copy of each emergency current: repeated frames make no rows."""
        with self.bus.subscribe() as changes:
            while True:
                await changes.wait()
                keys = [change.key for change in changes.drain() if change.kind == "emergency"]
                states = [state for key in keys if (state := self.book.get(EventId(key)))]
                try:
                    if states:
                        await self.eventlog.put_emergencies(states)
                except GatewayError as error:  # the rows themselves come by the outbox, for certain
                    log.warning("eventlog_states_failed", why=str(error))
                await self.clock.sleep(KEEP_STATES_EVERY_S)

    async def _desk(self) -> "Desk":
        """The page; imported here, since a gateway without one starts in half the time."""
        from gateway.desk.server import Desk  # noqa: PLC0415 - see above

        map_file = self.loaded.settings.site.map_file
        metrics = Metrics(self.counters, self.facts.health, self.facts.links, self.facts.resources)
        desk = Desk(
            settings=self.loaded.settings.desk,
            eventlog=self.eventlog,
            live=self.facts,
            actions=self.pipeline,
            requests=self.requests,
            feed=self.bus,
            clock=self.clock,
            metrics=metrics.text,
            map_file=self.loaded.path(map_file) if map_file else None,
        )
        desk.bind()
        if not await self.eventlog.has_accounts():
            token = await self.eventlog.create_sign_in_link(FIRST_ROLES, None)
            self.first_sign_in_url = desk.sign_in_url(token)
        return desk

    def _broker(self) -> "EmbeddedBroker | None":
        settings = self.loaded.settings.broker
        if not settings.embedded:
            return None
        from gateway.broker import EmbeddedBroker  # noqa: PLC0415 - only where it is used

        host, port = parse_address(settings.listen, "broker.listen")
        return EmbeddedBroker(self.data_dir / "broker", host, port, self.clock)

    def _sinks(self) -> list[Sink]:
        """The desk's log always; broker and time series as the settings say."""
        settings = self.loaded.settings
        sinks: list[Sink] = [DeskSink(self.eventlog, self.privacy)]
        if settings.mqtt.enabled:
            from gateway.sinks.mqtt import MqttSink  # noqa: PLC0415 - only where it is used

            mqtt = MqttSink(
                self.loaded,
                states=self.facts,
                clock=self.clock,
                backoff=Backoff(most_s=BROKER_PAUSE_S),
                embedded=self.broker.endpoint if self.broker is not None else None,
                answers=self.requests,
                count_request=self.counters.request,
            )
            self.facts.certificates = lambda: mqtt.certificates
            sinks.append(mqtt)
        if settings.influx.enabled:
            from gateway.sinks.figures import Figures  # noqa: PLC0415 - only where it is used
            from gateway.sinks.influx import InfluxSink  # noqa: PLC0415 - only where it is used

            figures = Figures(settings.site.id, self.facts, self.privacy.kept_view)
            sinks.append(
                InfluxSink(
                    self.loaded,
                    clock=self.clock,
                    figures=figures.lines,
                    privacy=self.privacy,
                )
            )
        return sinks

    def _possible_commands(self) -> dict[str, list[CommandVerb]]:
        """By driver in use: the commands that are switched on and that it knows."""
        commands = self.loaded.settings.commands
        if not commands.enabled:
            return {}
        names = sorted({link.driver for link in self.loaded.settings.link})
        known = {name: {verb.value for verb in self._catalog.get(name).commands} for name in names}
        return {name: [each for each in commands.allow if each in known[name]] for name in names}

    def _runner(self, link: AnyLinkSettings) -> LinkRunner:
        driver = self._catalog.get(link.driver)
        return LinkRunner(
            link_id=link.id,
            driver_name=driver.name,
            link=make_link(link, driver, self.loaded.folder, self.clock),
            new_codec=lambda peer: self._catalog.codec(driver.name, link.options, link.id, peer),
            commands=driver.commands,
            place_of=driver.places(link.options),
            silent_after_s=link.silent_after_s,
            frame_timeout_s=link.frame_timeout_s,
            backoff=Backoff(most_s=longest_pause_s(link)),
            pipeline=self.pipeline,
            downlink=self.downlink,
            board=self.board,
            counters=self.counters,
            clock=self.clock,
        )


@runtime_checkable
class Follows(Protocol):
    """A sink that also publishes the present state, and wants to hear what changed."""

    def changed(self, kind: Kind, key: str) -> None:
        """``key`` has a new state."""
        ...


@runtime_checkable
class Returns(Protocol):
    """A sink that says when its far end is back, so that the backlog need not wait for a pause."""

    on_open: Callable[[], None]


async def _end(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait until it has cleaned up."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def allow_many_peers() -> None:
    """Raise the limit of open files as far as the system lets us: each terminal is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(config: Path, watchdog_s: float) -> None:
    """``pdt-gateway run``: check the settings, serve until SIGTERM or SIGINT.

    With the event loop stuck for ``watchdog_s`` the process ends; 0: it does not.
    """
    catalog = Catalog.scan()
    loaded, roster, findings = check(config, catalog)
    logs.set_up(loaded.settings.log.level, loaded.settings.log.format)
    for finding in findings:
        log.warning("settings_note", where=finding.where, text=finding.text)
    allow_many_peers()
    os.umask(0o077)  # positions and secrets are for this user alone
    served = Gateway(loaded, roster, catalog, environment=os.environ, watchdog_s=watchdog_s)
    asyncio.run(run_until_signal(served, _begin_service))


def _begin_service(served: Gateway) -> None:
    """Started: say where, and let the collector forget what stays for good anyway.

    A full collection that looks at everything imported holds the event loop for a tenth of a
    second; of what comes after the start it takes milliseconds.
    """
    _say_where(served)
    gc.collect()
    gc.freeze()


def _say_where(served: Gateway) -> None:
    """What the person who started it wants to know; the link is a secret and goes to no log."""
    if served.desk is not None:
        print(f"desk page 席位页面: {served.desk.url}/", flush=True)
    if served.first_sign_in_url is not None:
        print(
            f"first sign-in, once, within the hour 首次登录: {served.first_sign_in_url}",
            flush=True,
        )


async def run_until_signal(served: Gateway, ready: Callable[[Gateway], None]) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await served.run(stop, ready)


def offer_again_to_influx(loaded: Loaded, roster: Roster) -> Offered:
    """Write the rows that the time series refused once more; raises SinkError where it is away.

    What an emergency that the outbox remembers concerned is kept in full, as it was at first.
    """
    from gateway.sinks.influx import InfluxSink  # noqa: PLC0415 - only where it is used

    settings = loaded.settings
    outbox = loaded.path(settings.site.data_dir) / "outbox.db"
    book = EmergencyBook(settings.board.same_press_s)
    book.load(remembered_emergencies(outbox))
    privacy = Privacy(settings.privacy, roster, ZoneInfo(settings.site.zone), book.was_going_on)

    def deliver(rows: Sequence[Row]) -> Delivery:
        async def write() -> Delivery:
            sink = InfluxSink(loaded, clock=SystemClock(), figures=lambda _: (), privacy=privacy)
            try:
                return await sink.deliver(rows)
            finally:
                await sink.close()

        return asyncio.run(write())

    return offer_again(outbox, "influx", deliver)


def make_sign_in_link(config: Path, name: str | None, roles: Sequence[str]) -> str:
    """A one-time link for a person, written beside a running gateway or before its first start."""
    loaded, _, _ = check(config, Catalog.scan())
    settings = loaded.settings
    data_dir = loaded.path(settings.site.data_dir)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_s = settings.desk.history_keep_s

    async def make() -> str:
        eventlog = EventLog(data_dir / "desk.db", SystemClock(), history_keep_s=keep_s)
        await eventlog.open()
        try:
            return await eventlog.create_sign_in_link(roles, name)
        finally:
            await eventlog.close()

    url = url_of(*parse_address(settings.desk.listen, "desk.listen"))
    return f"{url}/#sign-in={asyncio.run(make())}"
