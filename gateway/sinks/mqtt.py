"""The MQTT sink: events, fixes and the retained present state, as the contract writes them.

After every connect: ``gateway/state`` online, then the state of every open emergency, then the
emergency lane opens, then links and units, then telemetry's backlog. What is retained about an
emergency is always computed from the present state when it is sent, one sender at a time, so an
old state never comes after a newer one.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

import gateway
from gateway.certificates import certificates_of
from gateway.clock import Clock
from gateway.errors import ConfigError, SinkError
from gateway.model.events import AnyEvent, PositionFix, to_json
from gateway.outbox.rows import Delivery, Lane, Row
from gateway.settings import Loaded
from gateway.sinks.mqtt_client import Message, MqttClient, PublishLostError
from gateway.sinks.mqtt_home_assistant import HomeAssistant
from gateway.sinks.mqtt_options import options_from
from gateway.sinks.mqtt_owntracks import OwnTracks
from gateway.sinks.mqtt_requests import Answers, MqttRequests
from gateway.sinks.mqtt_state import (
    ChangeKind,
    GatewayState,
    LinkStatus,
    StateSource,
    UnitStatus,
)
from gateway.sinks.topics import Topics, default_base, owner_of

log = structlog.get_logger("gateway.sinks.mqtt")

TURN_S = 1.0  # changes of units are gathered for so long
HEALTH_EVERY_S = 10.0
STATUS_EVERY_S = 10.0  # a unit's status that only says "heard again" is sent this seldom
UNITS_A_TURN = 500  # so many unit states are made before other tasks get a turn
MAX_WAITING = 20_000  # units and links with a change not yet sent; more are counted, not kept
STEADY_S = 1.0  # a connection that lasted so long makes the next pauses short again; not less, or
# two gateways with one client id would throw each other out without ever slowing down
FAREWELL_S = 1.0

ONLINE = to_json(GatewayState("online"))
OFFLINE = to_json(GatewayState("offline"))


class Pauses(Protocol):
    """How long to wait before the next try."""

    def next(self) -> float:
        """Seconds to wait now."""
        ...

    def reset(self) -> None:
        """It worked: the next pause is short again."""
        ...


class MqttSink:
    """Publishes the outbox and the live state; see the module's docstring.

    ``embedded`` is the address of the embedded broker, which speaks MQTT 3.1.1 without accounts and
    then takes the place of the one in the settings. ``on_open`` is called whenever a lane may
    deliver again, so that nobody need wait for the end of a pause. ``answers`` carries out what
    other programs ask for, ``count_request`` is told the outcome of each.
    """

    name = "mqtt"

    def __init__(
        self,
        loaded: Loaded,
        *,
        states: StateSource,
        clock: Clock,
        backoff: Pauses,
        embedded: tuple[str, int] | None = None,
        answers: Answers | None = None,
        count_request: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        settings = loaded.settings.mqtt
        site = loaded.settings.site.id
        try:
            self.topics = Topics(settings.base_topic or default_base(site))
        except ValueError as error:
            raise ConfigError(f"{loaded.file}: mqtt.base_topic: {error}") from None
        self._states = states
        self._clock = clock
        self._fix_qos = settings.fix_qos
        self._backoff = backoff
        will = Message(self.topics.gateway_state, OFFLINE, 1, retain=True)
        self._requests = MqttRequests(
            self.topics,
            settings.requests,
            answers=answers,
            rebirth=self._rebirth,
            publish=self._publish_response,
            count=count_request,
        )
        self._owntracks: OwnTracks | None = None
        if settings.owntracks:
            self._owntracks = OwnTracks(site, states.sites, clock.now())
        self._home_assistant: HomeAssistant | None = None
        if settings.home_assistant:
            self._home_assistant = HomeAssistant(self.topics, site, gateway.__version__)
        options = options_from(loaded, will, self._requests.inbox, embedded)
        self.place = options.place
        self._wake = asyncio.Event()
        self._client = MqttClient(options, clock, on_lost=self._wake.set)
        self._open: set[Lane] = set()  # lanes whose turn has come on this connection
        self._emergency_lock = asyncio.Lock()
        self._shown: dict[str, bytes] = {}  # emergency topics that may hold something
        self._is_following = False
        self._emergencies_changed = False
        self._health_changed = False
        self._is_rebirth_due = False
        self._links_changed: dict[str, None] = {}
        self._units_changed: dict[str, None] = {}
        self._told: dict[str, tuple[tuple[object, ...], float]] = {}  # topic: essence, when
        self._units_due_mono = 0.0
        self._health_due_mono = 0.0
        self._loaded = loaded
        self.certificates = certificates_of(loaded) if embedded is None else {}
        self.on_open: Callable[[], None] = lambda: None
        self.why_down: str | None = "not started yet"
        self._is_fallback_told = False
        self.connects = 0
        self.published = 0
        self.refused = 0
        self.states_dropped = 0

    # What the runtime calls.

    async def run(self) -> None:
        """Stay connected until cancelled; then say ``offline`` and leave politely."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests.run(), name="mqtt requests")
                while True:
                    await self._attempt()
                    await self._clock.sleep(self._backoff.next())
        finally:
            with suppress(SinkError, TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._farewell()

    def changed(self, kind: ChangeKind, key: str) -> None:
        """Something has a new state: it is asked for, and sent, when its turn has come."""
        if not self._is_following:
            return  # everything is asked for after the next connect
        if kind == "unit":
            self._remember(self._units_changed, key)
            return
        if kind == "link":
            self._remember(self._links_changed, key)
        elif kind == "emergency":
            self._emergencies_changed = True
        else:
            self._health_changed = True
        self._wake.set()

    async def deliver(self, rows: Sequence[Row]) -> Delivery:
        """Publish one batch of one lane; see ``Sink.deliver``."""
        if not rows:
            return Delivery(())
        lane = rows[0].lane
        if lane not in self._open or not self._client.is_connected:
            raise SinkError(f"{self.place}: {self.why_down or self._client.why_lost}")
        messages: list[Message] = []
        seqs: list[int] = []
        rejected: dict[int, str] = {}
        for row in rows:
            try:
                messages.append(self._message(row))
            except ValueError as error:
                rejected[row.seq] = str(error)
            else:
                seqs.append(row.seq)
        if lane is Lane.EMERGENCY:
            refused = await self._publish_emergencies(messages, self._touched(rows))
        else:
            try:
                refused = await self._client.publish_batch(messages)
            except PublishLostError as lost:
                if not lost.acknowledged:
                    raise
                self.published += len(lost.acknowledged)
                return Delivery([seqs[index] for index in sorted(lost.acknowledged)], rejected)
            await self._mirror(row.event for row in rows)
        self.published += len(messages) - len(refused)
        self.refused += len(refused) + len(rejected)
        for index, why in refused.items():
            rejected[seqs[index]] = f"{messages[index].topic}: {why}"
        return Delivery([seq for seq in seqs if seq not in rejected], rejected)

    # Rows.

    def _message(self, row: Row) -> Message:
        event = row.event
        if isinstance(event, PositionFix):
            topic = self.topics.fix(owner_of(event.unit_id, event.radio_id))
            # A point from a radio's memory is told, and does not take the newest one's place.
            is_newest = event.trigger != "stored"
            return Message(topic, row.payload, self._fix_qos, retain=is_newest)
        return Message(self.topics.event(_type_of(event)), row.payload)

    def _touched(self, rows: Sequence[Row]) -> set[str]:
        """The emergency topics that these events are about."""
        touched = set()
        for row in rows:
            with suppress(ValueError):  # such a row is rejected already, or has no topic of its own
                touched.add(self.topics.emergency(owner_of(row.event.unit_id, row.event.radio_id)))
        return touched

    async def _mirror(self, events: Iterable[AnyEvent]) -> None:
        """The opt-in mirrors come after the contract's topics, and nothing waits for them."""
        if self._owntracks is None:
            return
        fixes = (event for event in events if isinstance(event, PositionFix))
        with suppress(SinkError):
            await self._publish_states([m for fix in fixes for m in self._owntracks.of(fix)])

    # Emergencies: one sender at a time, always the present state.

    async def _publish_emergencies(
        self, events: Sequence[Message], touched: Iterable[str], *, everything: bool = False
    ) -> dict[int, str]:
        """Publish events, and with them every retained state that differs from the present one.

        ``touched`` topics are written in any case: another run of the gateway may have left
        something there. Returns the refused events, index: reason.
        """
        async with self._emergency_lock:
            wanted = self._wanted()
            due = (
                wanted.keys()
                if everything
                else {
                    topic for topic, payload in wanted.items() if self._shown.get(topic) != payload
                }
            )
            cleared = self._shown.keys() - wanted.keys()
            states = [
                Message(topic, wanted.get(topic, b""), 1, retain=True)
                for topic in sorted({*due, *cleared, *touched})
            ]
            for message in states:
                self._shown.setdefault(message.topic, b"")
            refused = await self._client.publish_batch([*events, *states], is_urgent=True)
            for index, message in enumerate(states, len(events)):
                why = refused.pop(index, None)
                if why is not None:
                    self._tell_refused(message.topic, why)
                if message.payload:
                    self._shown[message.topic] = message.payload
                else:
                    self._shown.pop(message.topic, None)
            return refused

    def _wanted(self) -> dict[str, bytes]:
        """What the emergency topics should hold: the newest open emergency of each owner.

        Hearsay only where the radio itself has none.
        """
        wanted: dict[str, bytes] = {}
        newest_last = sorted(
            self._states.open_emergencies(),
            key=lambda state: (not state.is_hearsay, state.raised_at),
        )
        for state in newest_last:
            try:
                topic = self.topics.emergency(owner_of(state.unit_id, state.radio_id))
            except ValueError:
                self.states_dropped += 1
                continue
            wanted[topic] = to_json(state)
        return wanted

    # The connection.

    async def _attempt(self) -> None:
        """Connect and serve until the connection is lost."""
        up_mono: float | None = None
        try:
            await self._client.connect()
            self._look_at_certificates()
            up_mono = self._clock.monotonic()
            await self._serve()
        except SinkError as error:
            self._tell_down(str(error))
        finally:
            self._open.clear()
            self._is_following = False
        if up_mono is not None and self._clock.monotonic() - up_mono >= STEADY_S:
            self._backoff.reset()

    def _look_at_certificates(self) -> None:
        """They may have been renewed since the last connection."""
        end = self._client.certificate_end
        if end is not None:
            self.certificates = {**certificates_of(self._loaded), "broker": end}

    async def _serve(self) -> None:
        await self._publish_first()
        self._open_lane(Lane.EMERGENCY)
        self.connects += 1
        self._tell_up()
        await self._publish_rest()
        self._open_lane(Lane.TELEMETRY)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await self._wake.wait()
            self._wake.clear()
            if not self._client.is_connected:
                raise SinkError(f"{self.place}: {self._client.why_lost}")
            if self._is_rebirth_due:
                self._is_rebirth_due = False
                await self._publish_first()
                await self._publish_rest()
                await self._publish_states(self._fix_messages())
                await self._mirror(self._states.last_fixes())
            await self._publish_changes()

    async def _publish_first(self) -> None:
        """That we are here, and every open emergency."""
        await self._publish_states([Message(self.topics.gateway_state, ONLINE, 1, retain=True)])
        self._forget_changes()
        self._is_following = True
        await self._publish_emergencies((), (), everything=True)

    async def _publish_rest(self) -> None:
        """Everything else that is retained, but positions: those are in the backlog."""
        info = to_json(self._states.info())
        await self._publish_states([Message(self.topics.gateway_info, info, 1, retain=True)])
        for link in self._states.links():
            self._links_changed[link.link_id] = None
        for unit in self._states.units():
            self._remember(self._units_changed, unit.unit_id or unit.radio_id)
        self._health_changed = True
        await self._publish_changes()

    def _rebirth(self) -> dict[str, object]:
        """Somebody asks for everything that is retained: it is sent on the next turn."""
        self._is_rebirth_due = True
        self._wake.set()
        return {"emergencies": len(self._wanted()), "units": sum(1 for _ in self._states.units())}

    async def _publish_response(self, message: Message, is_urgent: bool) -> None:  # noqa: FBT001
        await self._client.publish(message, is_urgent=is_urgent)

    def _open_lane(self, lane: Lane) -> None:
        self._open.add(lane)
        self.on_open()

    async def _farewell(self) -> None:
        if self._client.is_connected:
            await self._client.publish(Message(self.topics.gateway_state, OFFLINE, 1, retain=True))
            await self._client.disconnect()
        self.why_down = "stopped"

    # Changed states.

    def _remember(self, changes: dict[str, None], key: str) -> None:
        if len(changes) < MAX_WAITING or key in changes:
            changes[key] = None
        else:
            self.states_dropped += 1

    def _forget_changes(self) -> None:
        self._links_changed.clear()
        self._units_changed.clear()
        self._told.clear()
        if self._home_assistant is not None:
            self._home_assistant.forget()
        self._emergencies_changed = False
        self._units_due_mono = 0.0

    async def _publish_changes(self) -> None:
        """Emergencies first, then links and health, then units when their turn has come."""
        if self._emergencies_changed:
            self._emergencies_changed = False
            await self._publish_emergencies((), ())
        now_mono = self._clock.monotonic()
        await self._publish_states([*self._link_messages(), *self._health_messages(now_mono)])
        if now_mono < self._units_due_mono:
            return
        self._units_due_mono = now_mono + TURN_S
        changes, self._units_changed = list(self._units_changed), {}
        for first in range(0, len(changes), UNITS_A_TURN):
            keys = changes[first : first + UNITS_A_TURN]
            await self._publish_states(self._unit_messages(keys, now_mono))

    def _link_messages(self) -> list[Message]:
        views = [self._states.link(link_id) for link_id in self._links_changed]
        self._links_changed.clear()
        return [
            Message(
                self.topics.link_state(view.link_id), to_json(LinkStatus.of(view)), 1, retain=True
            )
            for view in views
            if view is not None
        ]

    def _health_messages(self, now_mono: float) -> list[Message]:
        if not self._health_changed and now_mono < self._health_due_mono:
            return []
        self._health_changed = False
        self._health_due_mono = now_mono + HEALTH_EVERY_S
        return [Message(self.topics.gateway_health, to_json(self._states.health()))]

    def _unit_messages(self, keys: Iterable[str], now_mono: float) -> list[Message]:
        messages: list[Message] = []
        for key in keys:
            view = self._states.unit(key)
            if view is None:
                continue
            try:
                topic = self.topics.status(owner_of(view.unit_id, view.radio_id))
            except ValueError:
                self.states_dropped += 1
                continue
            if self._home_assistant is not None:
                messages += self._home_assistant.of(view)
            status = UnitStatus.of(view)
            essence, told_mono = self._told.get(topic, ((), 0.0))
            if essence == status.essence() and now_mono - told_mono < STATUS_EVERY_S:
                continue
            if len(self._told) >= MAX_WAITING and topic not in self._told:
                del self._told[next(iter(self._told))]
            self._told[topic] = (status.essence(), now_mono)
            messages.append(Message(topic, to_json(status), 1, retain=True))
        return messages

    def _fix_messages(self) -> list[Message]:
        """The newest fix of each unit, as it was published."""
        messages = []
        for fix in self._states.last_fixes():
            with suppress(ValueError):  # it has no topic of its own, and never had
                topic = self.topics.fix(owner_of(fix.unit_id, fix.radio_id))
                messages.append(Message(topic, to_json(fix), self._fix_qos, retain=True))
        return messages

    async def _publish_states(self, messages: Sequence[Message]) -> None:
        refused = await self._client.publish_batch(messages)
        for index, why in refused.items():
            self._tell_refused(messages[index].topic, why)

    # What people are told.

    def _tell_refused(self, topic: str, why: str) -> None:
        """A state that the broker does not take is shown to the technician; nothing else waits."""
        if not self.refused:
            log.warning("mqtt_refused", topic=topic, why=why, hint="check the broker's ACL")
        self.refused += 1

    def _tell_up(self) -> None:
        self.why_down = None
        client = self._client
        log.info("mqtt_up", broker=self.place, protocol=client.spoken, connects=self.connects)
        if client.why_fallback is not None and not self._is_fallback_told:
            self._is_fallback_told = True
            log.warning("mqtt_fallback", why=client.why_fallback, protocol=client.spoken)

    def _tell_down(self, why: str) -> None:
        if self.why_down is None or self.why_down == "not started yet":
            log.warning("mqtt_down", broker=self.place, why=why, hint="trying again for ever")
        else:
            log.debug("mqtt_still_down", broker=self.place, why=why)
        self.why_down = why


def _type_of(event: AnyEvent) -> str:
    return str(event.__struct_config__.tag)
