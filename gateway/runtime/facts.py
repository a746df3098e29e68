"""One place that answers what people and programs ask about the gateway now.

The desk and the MQTT sink each see it through a protocol of their own (``desk.ports.LiveView``,
``sinks.mqtt_state.StateSource``), so that neither knows the other or the runtime.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from gateway.clock import Clock
from gateway.incidents.book import EmergencyBook
from gateway.model.emergency import Emergency
from gateway.model.events import CommandVerb, PositionFix
from gateway.model.identity import EventId
from gateway.model.quantities import Instant
from gateway.model.views import (
    ChannelView,
    CommandView,
    GatewayView,
    LinkView,
    RejectedFrame,
    SiteView,
    UnitView,
)
from gateway.outbox.dispatcher import Dispatcher
from gateway.outbox.store import Outbox
from gateway.runtime.board import Board
from gateway.runtime.counters import Counters
from gateway.runtime.downlink import Downlink
from gateway.runtime.health import Health, LoopLag, Resources, SinkHealth, memory_mib
from gateway.runtime.supervisor import Supervisor
from gateway.settings import SiteSettings


class GatewayInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of ``gateway/info``: what this gateway is; no secrets."""

    site: str
    site_name: str
    version: str
    links: list[dict[str, str]]
    counters: dict[str, int]


class Channel(Protocol):
    """A channel whose air time is kept."""

    def view(self) -> ChannelView:
        """What it promises, and what was asked in the last minute."""
        ...


class Facts:
    """The live state, asked for on the event loop and answered from memory."""

    def __init__(
        self,
        *,
        site: SiteSettings,
        version: str,
        board: Board,
        downlink: Downlink,
        possible_commands: Mapping[str, Sequence[CommandVerb]],
        book: EmergencyBook,
        supervisor: Supervisor,
        outbox: Outbox,
        counters: Counters,
        lag: LoopLag,
        clock: Clock,
    ) -> None:
        self._site = site
        self._version = version
        self._board = board
        self._downlink = downlink
        self._possible_commands = possible_commands
        self._book = book
        self._supervisor = supervisor
        self._outbox = outbox
        self._counters = counters
        self._lag = lag
        self._clock = clock
        self._started_at = clock.now()
        self._started_mono = clock.monotonic()
        self.dispatcher: Dispatcher | None = None  # built after the sinks, which ask here
        self.channels: Sequence[Channel] = ()  # likewise
        self.certificates: Callable[[], Mapping[str, Instant]] = dict  # when each ends; likewise

    def gateway(self) -> GatewayView:
        """The gateway itself."""
        is_accepting, why = self._accepting()
        return GatewayView(
            site=self._site.id,
            site_name=self._site.name or self._site.id,
            zone=self._site.zone,
            version=self._version,
            started_at=self._started_at,
            now=self._clock.now(),
            is_accepting=is_accepting,
            why=why,
            airtime=self._airtime(),
        )

    def units(self) -> list[UnitView]:
        """Every unit, and every radio without one."""
        return self._board.units()

    def unit(self, key: str) -> UnitView | None:
        """One of them."""
        return self._board.unit(key)

    def last_fixes(self) -> list[PositionFix]:
        """The last valid fix of each of them."""
        return self._board.last_fixes()

    def sites(self) -> list[SiteView]:
        """The key sites."""
        return self._board.sites()

    def links(self) -> list[LinkView]:
        """Every link."""
        return self._supervisor.views()

    def link(self, link_id: str) -> LinkView | None:
        """One link."""
        runner = self._supervisor.runners.get(link_id)
        return runner.view() if runner is not None else None

    def rejects(self, link_id: str) -> Sequence[RejectedFrame] | None:
        """The last frames that a link refused, oldest first; None where there is no such link."""
        runner = self._supervisor.runners.get(link_id)
        return runner.rejects() if runner is not None else None

    def emergencies(self) -> list[Emergency]:
        """Every emergency that is remembered, open ones all."""
        return self._book.all()

    def open_emergencies(self) -> list[Emergency]:
        """Every emergency that no person has closed, oldest first."""
        return self._book.open()

    def emergency(self, emergency_id: EventId) -> Emergency | None:
        """One emergency."""
        return self._book.get(emergency_id)

    def commands(self) -> list[CommandView]:
        """Open commands to radios and the last that have ended, oldest first."""
        return self._downlink.views()

    def command(self, command_id: EventId) -> CommandView | None:
        """One of them."""
        return self._downlink.view(command_id)

    def possible_commands(self) -> Mapping[str, Sequence[CommandVerb]]:
        """By driver: which commands are switched on and known to it."""
        return self._possible_commands

    def counters(self) -> Health:
        """Everything counted."""
        return self.health()

    def info(self) -> GatewayInfo:
        """What this gateway is."""
        account = self._counters.account()
        return GatewayInfo(
            site=self._site.id,
            site_name=self._site.name or self._site.id,
            version=self._version,
            links=[{"link_id": view.link_id, "driver": view.driver} for view in self.links()],
            counters={
                "received": account.received,
                "stored": account.stored,
                "refreshed": account.refreshed,
                "dropped": sum(account.dropped.values()),
            },
        )

    def health(self) -> Health:
        """How it does."""
        is_accepting, why = self._accepting()
        return Health(
            is_accepting=is_accepting,
            why=why,
            uptime_s=round(self._clock.monotonic() - self._started_mono, 1),
            loop_lag_ms=self._lag.worst_ms,
            memory_mib=memory_mib(),
            events=self._counters.account(),
            links={view.link_id: view.state for view in self.links()},
            sinks=self._sinks(),
            airtime=self._airtime(),
            requests=dict(sorted(self._counters.requests.items())),
        )

    def resources(self) -> Resources:
        """What it uses and holds."""
        stats = self._outbox.stats()
        return Resources(
            outbox_bytes=stats.used_bytes,
            rows_thinned=stats.thinned,
            rows_rejected=stats.rejected,
            last_commit_s=stats.last_commit_s,
            failed_commits=stats.failed_commits,
            open_emergencies=len(self._book.open()),
            certificates_s={
                name: end.seconds_since(self._clock.now())
                for name, end in self.certificates().items()
            },
        )

    def _airtime(self) -> list[ChannelView]:
        return [channel.view() for channel in self.channels]

    def _accepting(self) -> tuple[bool, str | None]:
        stats = self._outbox.stats()
        return stats.state != "not_accepting", stats.why or None

    def _sinks(self) -> list[SinkHealth]:
        if self.dispatcher is None:
            return []
        return [
            SinkHealth(
                name=state.name,
                state=state.condition,
                why=state.why or None,
                behind_rows=sum(state.lag.values()),
                oldest_age_s=round(state.oldest_age_s, 1),
                set_aside=state.set_aside,
            )
            for state in self.dispatcher.states()
        ]
