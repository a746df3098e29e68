"""The way down: commands to radios, from being asked to their one end.

A command is on disk before it counts, is noted as sent before its first byte leaves, and has ended
when its end is on disk. So whatever dies in between, a restart finds the command and gives it the
end that it does not have: nothing is sent twice, nothing ends twice, nothing is forgotten.

While the radio is away its commands wait, in order; one of each verb is under way at a time.
Repeating what got lost on the air is the codec's business.
"""

import asyncio
import contextlib
import itertools
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Literal, NamedTuple

import structlog

from drivers.api import Command, Outcome, Verb
from gateway.clock import Clock
from gateway.errors import NotAllowedError, StoreError
from gateway.model.events import (
    AnyEvent,
    CommandEnded,
    CommandQueued,
    CommandResult,
    CommandSent,
)
from gateway.model.identity import EventId, RadioId, UnitId, derive_event_id
from gateway.model.quantities import NS_PER_S, Instant
from gateway.model.views import CommandState, CommandView
from gateway.roster.units import Roster
from gateway.runtime.bus import Bus
from gateway.runtime.counters import Counters
from gateway.runtime.pipeline import Pipeline
from gateway.runtime.reach import Reach, Route
from gateway.runtime.refusals import Refusals
from gateway.settings import CommandSettings

log = structlog.get_logger("gateway.downlink")

KEPT_ENDED = 200  # commands that have ended and are still shown
TICK_S = 0.5  # how late an expiry or a time-out may be noticed
MOST_WHY = 200  # characters of a driver's reason


class Ask(NamedTuple):
    """What somebody wants of a radio; ``by`` goes on record."""

    radio_id: RadioId
    verb: Verb
    by: str
    body: str = ""
    every_s: int = 0
    for_s: int = 0


class _Refusal(NamedTuple):
    """Why a command is not taken: the word it is counted by, the sentence for who asked."""

    reason: str
    why: str


Call = Callable[[RadioId, Verb], Route | None]
Phase = Literal["storing", "waiting", "sending", "sent", "ending"]


class _Order:
    """One open command. ``phase`` moves on only when the step before is on disk."""

    def __init__(self, number: int, ask: Ask, event: CommandQueued, expires_mono: float) -> None:
        self.number = number
        self.ask = ask
        self.command_id = event.event_id
        self.queued_at = event.received_at
        self.expires_at = event.expires_at
        self.expires_mono = expires_mono
        self.phase: Phase = "storing"
        self.route: Route | None = None
        self.until_mono = 0.0
        self.end: CommandEnded | None = None
        self.is_writing = False  # its end is on the way to the disk

    @property
    def is_under_way(self) -> bool:
        """True where no other of its verb may go out."""
        return self.phase in {"sending", "sent", "ending"} and self.route is not None


class Downlink:
    """All open commands; see the module's docstring. Lives on the event loop."""

    def __init__(
        self,
        settings: CommandSettings,
        *,
        pipeline: Pipeline,
        roster: Roster,
        bus: Bus,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._roster = roster
        self._bus = bus
        self._counters = counters
        self._clock = clock
        self._refusals = Refusals(pipeline, counters, clock)
        self._reach = Reach()
        self._callers: list[Call] = []
        self._numbers = itertools.count(1)
        self._orders: dict[int, _Order] = {}
        self._by_radio: dict[RadioId, dict[int, _Order]] = {}
        self._views: dict[EventId, CommandView] = {}  # open ones, and KEPT_ENDED others
        self._ended: deque[EventId] = deque()
        self._waiters: dict[EventId, asyncio.Event] = {}  # set, and forgotten, at the next change

    # Asking.

    def submit(self, ask: Ask, settled: Callable[[StoreError | None], None]) -> EventId:
        """Take a command; raises NotAllowedError where it is none of what may be asked.

        ``settled`` is called once: with None when the command is on disk and will have its end,
        with the error when it could not be stored and does not exist.
        """
        refused = self._refused(ask)
        if refused is not None:
            self.refuse(ask, *refused)
            raise NotAllowedError(refused.why)
        now = self._clock.now()
        event = CommandQueued(
            event_id=EventId(uuid.uuid4().hex),
            radio_id=ask.radio_id,
            received_at=now,
            verb=ask.verb.value,
            by=ask.by,
            expires_at=Instant(now + round(self._settings.expire_s * NS_PER_S)),
            body=ask.body or None,
            every_s=ask.every_s or None,
            for_s=ask.for_s or None,
        )
        expires_mono = self._clock.monotonic() + self._settings.expire_s
        order = self._add(_Order(next(self._numbers), ask, event, expires_mono))

        def stored(error: StoreError | None) -> None:
            if error is not None:
                self._remove(order)
            else:
                self._shows(order, "waiting")
            settled(error)
            if error is None:
                self._wait(order)

        self._pipeline.command_changed(event, stored)
        return order.command_id

    async def ask(self, ask: Ask) -> CommandView:
        """Take a command and wait until it is on disk; raises NotAllowedError or StoreError."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settled(error: StoreError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        command_id = self.submit(ask, settled)
        await done
        return self._views[command_id]

    def refuse(self, ask: Ask, reason: str, why: str) -> None:
        """Put a command on record that ends before it is queued; see ``Refusals``."""
        self._refusals.refuse(ask.radio_id, ask.verb, ask.by, reason=reason, why=why[:MOST_WHY])

    def _forbidden(self, verb: Verb) -> str | None:
        if not self._settings.enabled:
            return "commands to radios are off: set commands.enabled (未启用向电台下发指令)"
        if verb.value not in self._settings.allow:
            return f"{verb.value!r} is not in commands.allow (设置中未允许此指令)"
        return None

    def _routes(self, radio_id: RadioId, verb: Verb) -> list[Route]:
        """Where a radio can be reached now; a link that can call it is asked where none takes it.

        Empty while the radio is away.
        """
        routes = self._reach.routes(radio_id)
        if not routes or any(route.takes(verb) for route in routes):
            return routes
        called = [call(radio_id, verb) for call in self._callers]
        return [*routes, *(route for route in called if route is not None)]

    def _refused(self, ask: Ask) -> "_Refusal | None":
        """Why ``ask`` is none of what may be asked."""
        forbidden = self._forbidden(ask.verb)
        if forbidden is not None:
            return _Refusal("switched_off", forbidden)
        routes = self._routes(ask.radio_id, ask.verb)
        if routes and not any(route.takes(ask.verb) for route in routes):
            return _Refusal("no_such_command", _cannot(routes[0], ask.verb))
        mine = len(self._by_radio.get(ask.radio_id, ()))
        for name, count in (
            ("max_open_per_radio", mine),
            ("max_open", len(self._orders)),
        ):
            limit: int = getattr(self._settings, name)
            if count >= limit:
                return _Refusal(
                    "too_many",
                    f"{count} commands are open already, commands.{name} is {limit}: "
                    "wait for their end (未完成的指令过多)",
                )
        return None

    # The schedule's own requests: many, and worth no record.

    def can_locate(self, radio_id: RadioId) -> bool:
        """Whether this radio may, and can, be asked for its position now."""
        if self._forbidden(Verb.LOCATE) is not None:
            return False
        return any(route.takes(Verb.LOCATE) for route in self._reach.routes(radio_id))

    def locate(self, radio_id: RadioId) -> bool:
        """Ask for one position and keep no record; False where it did not go out.

        The answer is a position like any other; that none comes is seen by the age of the fix.
        """
        if not self.can_locate(radio_id):
            return False
        routes = self._reach.routes(radio_id)
        route = next(each for each in routes if each.takes(Verb.LOCATE))
        until_mono = self._clock.monotonic() + self._settings.answer_s
        self._counters.polls += 1
        route.send(Command(next(self._numbers), radio_id, Verb.LOCATE, until_mono))
        return True

    # What the links tell.

    def add_caller(self, call: Call) -> None:
        """A link that may be able to speak to a radio that has not spoken on it."""
        self._callers.append(call)

    def heard(self, radio_id: RadioId, route: Route) -> None:
        """A radio was heard: what waits for it may go."""
        self._reach.heard(radio_id, route)
        if radio_id in self._by_radio:
            self._pump(radio_id)

    def left(self, radio_id: RadioId) -> None:
        """A radio said good-bye."""
        self._reach.left(radio_id)

    def met(self, route: Route) -> None:
        """A peer is there; nothing was heard yet of any radio."""
        self._reach.met(route)

    def gone(self, route: Route) -> None:
        """A peer is lost; what went out over it will not be answered."""
        self._reach.gone(route)
        lost = [
            order
            for order in self._orders.values()
            if order.route is route and order.phase == "sent"
        ]
        for order in lost:
            self._end(order, "timed_out", "the connection was lost before an answer came")

    def answered(self, outcome: Outcome) -> None:
        """A codec tells what became of a command; one that has ended already is left alone."""
        order = self._orders.get(outcome.order)
        if order is not None and order.phase == "sent":
            self._end(order, outcome.result, outcome.why[:MOST_WHY])

    # Time.

    async def run(self) -> None:
        """Watch the deadlines until cancelled."""
        while True:
            await self._clock.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        """Look at the clock; called twice a second."""
        mono = self._clock.monotonic()
        for order in tuple(self._orders.values()):
            if order.number not in self._orders:
                continue  # the end of one before it ended this one too
            if order.phase == "waiting" and order.expires_mono <= mono:
                self._end(order, "expired", self._why_waiting(order))
            elif order.phase == "sent" and order.until_mono <= mono:
                why = f"no answer within {self._settings.answer_s:g} s"
                self._end(order, "timed_out", why)
            elif order.phase == "ending" and not order.is_writing:
                self._write_end(order)
            elif order.phase == "waiting":
                self._pump(order.ask.radio_id)

    def _why_waiting(self, order: _Order) -> str:
        if not self._reach.routes(order.ask.radio_id):
            return "the radio was not heard"
        return "other commands to this radio were under way"

    # After a restart.

    def restore(self, events: Iterable[AnyEvent]) -> None:
        """Take over what an earlier run left open; call once, when writes are accepted.

        What waited goes on waiting as long as it had left. What was sent has no codec any more that
        could hear its answer.
        """
        for queued, is_sent in _open_ones(events):
            left_s = queued.expires_at.seconds_since(self._clock.now())
            expires_mono = self._clock.monotonic() + min(left_s, self._settings.expire_s)
            ask = Ask(
                queued.radio_id,
                Verb(queued.verb),
                queued.by,
                queued.body or "",
                queued.every_s or 0,
                queued.for_s or 0,
            )
            order = self._add(_Order(next(self._numbers), ask, queued, expires_mono))
            self._shows(order, "sent" if is_sent else "waiting")
            forbidden = self._forbidden(ask.verb)
            if is_sent:
                self._end(order, "timed_out", "the gateway restarted before an answer came")
            elif left_s <= 0:
                self._end(order, "expired", "the radio was not heard")
            elif forbidden is not None:
                self._end(order, "refused", forbidden)
            else:
                self._wait(order)

    # What people ask.

    def views(self) -> list[CommandView]:
        """Every open command and the last that have ended, oldest first."""
        return sorted(self._views.values(), key=lambda view: view.queued_at)

    def view(self, command_id: EventId) -> CommandView | None:
        """One of them."""
        return self._views.get(command_id)

    async def follow(self, command_id: EventId) -> AsyncIterator[CommandView]:
        """The command now and at every change, until it has ended."""
        while (view := self._views.get(command_id)) is not None:
            changed = self._waiters.setdefault(command_id, asyncio.Event())
            yield view
            if not view.is_open:
                return
            if self._views.get(command_id) is view:
                await changed.wait()

    async def outcome(self, view: CommandView, within_s: float) -> CommandView:
        """The command at its end, or as it is after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                async for newer in self.follow(view.command_id):
                    view = newer
        return view

    # From waiting to its end.

    def _add(self, order: _Order) -> _Order:
        self._orders[order.number] = order
        self._by_radio.setdefault(order.ask.radio_id, {})[order.number] = order
        return order

    def _remove(self, order: _Order) -> None:
        del self._orders[order.number]
        mine = self._by_radio[order.ask.radio_id]
        del mine[order.number]
        if not mine:
            del self._by_radio[order.ask.radio_id]

    def _wait(self, order: _Order) -> None:
        order.phase = "waiting"
        order.route = None
        self._pump(order.ask.radio_id)

    def _pump(self, radio_id: RadioId) -> None:
        """Let go what may: the oldest of each verb, while nothing of that verb is under way."""
        for order in tuple(self._by_radio.get(radio_id, {}).values()):
            if order.phase != "waiting" or self._is_busy(order.ask):
                continue
            routes = self._routes(radio_id, order.ask.verb)
            if not routes:
                return
            route = next((each for each in routes if each.takes(order.ask.verb)), None)
            if route is None:
                self._end(order, "refused", _cannot(routes[0], order.ask.verb))
            else:
                self._send(order, route)

    def _is_busy(self, ask: Ask) -> bool:
        mine = self._by_radio[ask.radio_id].values()
        return any(order.is_under_way and order.ask.verb is ask.verb for order in mine)

    def _send(self, order: _Order, route: Route) -> None:
        order.phase = "sending"
        order.route = route
        now = self._clock.now()
        event = CommandSent(
            event_id=derive_event_id("command sent", order.command_id, now),
            radio_id=order.ask.radio_id,
            link_id=route.link_id,
            driver=route.driver_name,
            received_at=now,
            command_id=order.command_id,
            verb=order.ask.verb.value,
        )

        def stored(error: StoreError | None) -> None:
            if error is not None or route.is_lost:
                self._hold(order)
                return
            order.phase = "sent"
            order.until_mono = self._clock.monotonic() + self._settings.answer_s
            self._shows(order, "sent")
            ask = order.ask
            route.send(
                Command(
                    order.number,
                    ask.radio_id,
                    ask.verb,
                    order.until_mono,
                    ask.body,
                    ask.every_s,
                    ask.for_s,
                )
            )

        self._pipeline.command_changed(event, stored)

    @staticmethod
    def _hold(order: _Order) -> None:
        """It could not go out: it waits on, for the next tick or the radio's next word."""
        order.phase = "waiting"
        order.route = None

    def _end(self, order: _Order, result: CommandResult, why: str) -> None:
        order.phase = "ending"
        order.end = CommandEnded(
            event_id=derive_event_id("command ended", order.command_id),
            radio_id=order.ask.radio_id,
            link_id=order.route.link_id if order.route is not None else "",
            driver=order.route.driver_name if order.route is not None else "",
            received_at=self._clock.now(),
            command_id=order.command_id,
            verb=order.ask.verb.value,
            by=order.ask.by,
            result=result,
            why=why or None,
        )
        self._write_end(order)

    def _write_end(self, order: _Order) -> None:
        """An end counts when it is on disk; until then it is tried again."""
        end = order.end
        assert end is not None  # noqa: S101 - set by _end, the only way here
        order.is_writing = True

        def stored(error: StoreError | None) -> None:
            order.is_writing = False
            if error is not None:
                return
            self._remove(order)
            self._counters.commands_ended[end.verb, end.result] += 1
            log.info("command_ended", command=end.command_id, verb=end.verb, result=end.result)
            self._shows(order, end.result, end.why)
            self._pump(order.ask.radio_id)

        self._pipeline.command_changed(end, stored)

    def _shows(self, order: _Order, state: CommandState, why: str | None = None) -> None:
        """What people see has changed."""
        ask = order.ask
        unit = self._roster.unit_of(ask.radio_id)
        self._views[order.command_id] = view = CommandView(
            command_id=order.command_id,
            verb=ask.verb.value,
            radio_id=ask.radio_id,
            unit_id=UnitId(unit.id) if unit is not None else None,
            by=ask.by,
            state=state,
            queued_at=order.queued_at,
            changed_at=self._clock.now(),
            expires_at=order.expires_at,
            why=why,
        )
        if not view.is_open:
            self._ended.append(order.command_id)
            if len(self._ended) > KEPT_ENDED:
                del self._views[self._ended.popleft()]
        changed = self._waiters.pop(order.command_id, None)
        if changed is not None:
            changed.set()
        self._bus.publish("command", order.command_id)


def _cannot(route: Route, verb: Verb) -> str:
    return (
        f"driver {route.driver_name!r} on link {route.link_id!r}, where this radio is heard, "
        f"cannot do {verb.value!r} (此电台不支持)"
    )


def _open_ones(events: Iterable[AnyEvent]) -> list[tuple[CommandQueued, bool]]:
    """The commands without an end, each with whether it was sent."""
    found: dict[EventId, tuple[CommandQueued, bool]] = {}
    for event in events:
        if isinstance(event, CommandQueued):
            found[event.event_id] = (event, False)
        elif isinstance(event, CommandSent) and event.command_id in found:
            found[event.command_id] = (found[event.command_id][0], True)
        elif isinstance(event, CommandEnded):
            found.pop(event.command_id, None)
    return list(found.values())
