"""Plays a scenario against the whole gateway, on whatever bench it is given."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from drivers.api import Verb
from gateway.errors import NotAllowedError
from gateway.model.emergency import Emergency
from gateway.model.geo import Point, distance_m
from gateway.model.identity import RadioId
from gateway.roster.units import RosterFile, Unit
from gateway.runtime import downlink
from hil_tests.host import Event, GatewayHere, until
from hil_tests.scenario import (
    AnyStep,
    Ask,
    Close,
    DeviceDo,
    Do,
    RestartGateway,
    Scenario,
    See,
    SeeAcknowledged,
    SeeCount,
    SeeEmergency,
    SeeEvent,
    SeeLink,
    SeeOutcome,
    SeeRejected,
    SeeShown,
    SeeUnit,
    Take,
    Wait,
)

TELL_EVENTS = 8  # of the last events, when something was not seen
Tell = Callable[[str], None]


class NotSeenError(AssertionError):
    """What a step of a scenario wants to see did not come."""


class Bench(Protocol):
    """The devices of a scenario: emulated, or real ones with a person beside them."""

    patience_s: float  # how much longer everything may take, since a person has to do it

    def radio_of(self, name: str) -> RadioId:
        """The radio id by which the gateway will know a device."""
        ...

    def stands_at(self, name: str) -> Point | None:
        """Where a device is, as far as that is known."""
        ...

    def is_acknowledged(self, name: str) -> bool | None:
        """True where the device has its acknowledgement; None where nobody can tell."""
        ...

    def texts_of(self, name: str) -> Sequence[str] | None:
        """Every text that the device has shown; None where nobody can tell."""
        ...

    async def links(self) -> list[dict[str, Any]]:
        """The ``[[link]]`` tables."""
        ...

    async def begin(
        self, group: asyncio.TaskGroup, bound: Callable[[str], tuple[str, int]]
    ) -> None:
        """Switch every device on; ``bound`` tells where the links listen."""
        ...

    async def do(self, step: DeviceDo) -> None:
        """Let something happen to a device."""
        ...

    async def end(self) -> None:
        """Switch everything off."""
        ...


class Play:
    """One performance of a scenario.

    ``tell`` is told what happens and what is seen, a line each.
    """

    def __init__(self, scenario: Scenario, bench: Bench, folder: Path, tell: Tell) -> None:
        self._scenario = scenario
        self._bench = bench
        self._folder = folder
        self._tell = tell
        self._links: list[dict[str, Any]] = []
        self._here: GatewayHere | None = None
        self._before: list[Event] = []  # events of gateways that have been stopped
        self._mark = 0  # events before the last thing that was done
        self._done_at = 0.0
        self._lives = contextlib.AsyncExitStack()

    async def run(self) -> None:
        """Play it; raises NotSeenError at the first thing that is not seen."""
        self._links = await self._bench.links()
        async with self._lives:
            await self._start()
            failure: Exception | None = None
            async with asyncio.TaskGroup() as group:
                try:
                    await self._bench.begin(group, self._gateway.bound)
                    await self._steps()
                except (NotSeenError, NotAllowedError) as error:
                    failure = error  # raised outside of the group, to stay what it is
                finally:
                    await self._bench.end()
            if failure is not None:
                raise failure

    async def _steps(self) -> None:
        self._done_at = asyncio.get_running_loop().time()
        for number, step in enumerate(self._scenario.steps, start=1):
            self._tell(f"{number:2}. {describe(step)}")
            if isinstance(step, See):
                await self._see(step)
            else:
                await self._do(step)

    # The gateway.

    @property
    def _gateway(self) -> GatewayHere:
        assert self._here is not None  # noqa: S101 - started before the first step
        return self._here

    async def _start(self) -> None:
        document = {
            "link": self._links,
            "board": msgspec.structs.asdict(self._scenario.board),
            "commands": msgspec.structs.asdict(self._scenario.commands),
        }
        self._here = GatewayHere(self._folder, document, self._roster())
        await self._lives.enter_async_context(self._here.running())
        listening = [link["id"] for link in self._links if "listen" in link]
        await self._here.links_are_up(listening)
        for link in self._links:
            if "listen" in link:  # the same port again after a restart
                host, port = self._here.bound(link["id"])
                link["listen"] = f"{host}:{port}"

    async def _restart(self) -> None:
        await self._lives.aclose()
        self._before += self._gateway.events
        await self._start()

    def _roster(self) -> RosterFile:
        return RosterFile(
            unit=tuple(
                Unit(id=device.unit, name=device.unit, radios=(self._bench.radio_of(device.name),))
                for device in self._scenario.device
                if device.unit
            )
        )

    @property
    def _events(self) -> Sequence[Event]:
        return [*self._before, *self._gateway.events]

    # What happens.

    async def _do(self, step: Do) -> None:
        await asyncio.sleep(step.after_s)
        self._mark = len(self._events)
        if isinstance(step, Take | Close):
            await self._act(step)
        elif isinstance(step, Ask):
            await self._ask(step)
        elif isinstance(step, RestartGateway):
            await self._restart()
        elif isinstance(step, DeviceDo):
            await self._bench.do(step)
        elif not isinstance(step, Wait):
            raise NotImplementedError(f"nobody knows how to do {describe(step)}")
        self._done_at = asyncio.get_running_loop().time()

    async def _act(self, step: Take | Close) -> None:
        emergency = self._emergency(step.device)
        if emergency is None:
            raise NotSeenError(f"{step.device} has no emergency to {type(step).__name__.lower()}")
        pipeline = self._gateway.gateway.pipeline
        if isinstance(step, Take):
            await pipeline.take(emergency.emergency_id, step.by)
        else:
            await pipeline.close(emergency.emergency_id, step.by, step.verdict, None)

    async def _ask(self, step: Ask) -> None:
        radio = self._bench.radio_of(step.device)
        await self._gateway.gateway.downlink.ask(
            downlink.Ask(radio, Verb(step.verb), step.by, step.body, step.every_s, step.for_s)
        )

    # What must be seen.

    async def _see(self, step: See) -> None:
        loop = asyncio.get_running_loop()
        left_s = self._done_at + step.within_s + self._bench.patience_s - loop.time()
        if isinstance(step, SeeCount) and step.exactly is not None:
            await asyncio.sleep(max(0.0, self._done_at + step.within_s - loop.time()))
            left_s = 0.0
        if (look := self._only_a_person_sees(step)) is not None:
            self._tell(f"      look: {look}")
            return
        if not await until(lambda: self._is_seen(step), left_s):
            raise NotSeenError(
                f"{self._scenario.name}: not within {step.within_s:g} s: {describe(step)}; "
                f"instead: {self._instead(step)}"
            )

    def _only_a_person_sees(self, step: See) -> str | None:
        """What to look for where nothing here can tell, else None."""
        bench = self._bench
        if isinstance(step, SeeAcknowledged) and bench.is_acknowledged(step.device) is None:
            return f"{step.device} shows that its alarm was received"
        if isinstance(step, SeeShown) and bench.texts_of(step.device) is None:
            return f"{step.device} shows {step.body!r}"
        return None

    def _is_seen(self, step: See) -> bool:
        looks: dict[type[See], Callable[[Any], bool]] = {
            SeeEvent: self._sees_event,
            SeeLink: self._sees_link,
            SeeEmergency: self._sees_emergency,
            SeeAcknowledged: lambda look: self._bench.is_acknowledged(look.device) is True,
            SeeUnit: lambda look: self._unit_state(look.device) == look.state,
            SeeCount: self._sees_count,
            SeeRejected: lambda look: self._rejected(look.link) >= look.at_least,
            SeeOutcome: self._sees_outcome,
            SeeShown: lambda look: look.body in (self._bench.texts_of(look.device) or ()),
        }
        return looks[type(step)](step)

    def _sees_event(self, look: SeeEvent) -> bool:
        place = self._bench.stands_at(look.device)
        found = self._events_of(look.device, look.type, look.fields, self._events[self._mark :])
        for event in found:
            if not all(_field(event, name) is not None for name in look.has):
                continue
            if any(_field(event, name) is not None for name in look.lacks):
                continue
            if look.near_m is None or place is None or _is_near(event, place, look.near_m):
                return True
        return False

    def _sees_link(self, look: SeeLink) -> bool:
        view = self._gateway.gateway.facts.link(look.link)
        return view is not None and view.state == look.state

    def _sees_emergency(self, look: SeeEmergency) -> bool:
        state = self._emergency(look.device)
        if state is None or state.phase != look.phase:
            return False
        if look.kind is not None and state.kind != look.kind:
            return False
        return look.ended is None or (state.ended_at is not None) == look.ended

    def _sees_count(self, look: SeeCount) -> bool:
        count = self._count(look)
        if look.exactly is not None:
            return count == look.exactly
        return look.at_least is not None and count >= look.at_least

    def _count(self, look: SeeCount) -> int:
        return len(self._events_of(look.device, look.type, look.fields, self._events))

    def _sees_outcome(self, look: SeeOutcome) -> bool:
        ended = {"verb": look.verb, "result": look.result}
        since = self._events[self._mark :]
        return bool(self._events_of(look.device, "command_ended", ended, since))

    def _events_of(
        self, device: str, kind: str, fields: dict[str, Any], events: Sequence[Event]
    ) -> list[Event]:
        radio = self._bench.radio_of(device)
        return [
            event
            for event in events
            if event["type"] == kind and event.get("radio_id") == radio and _has(event, fields)
        ]

    def _emergency(self, device: str) -> Emergency | None:
        radio = self._bench.radio_of(device)
        mine = [state for state in self._gateway.gateway.book.all() if state.radio_id == radio]
        return max(mine, key=lambda state: state.raised_at, default=None)

    def _unit_state(self, device: str) -> str | None:
        radio = self._bench.radio_of(device)
        key = self._scenario.device_named(device).unit or radio
        view = self._gateway.gateway.facts.unit(key)
        return view.state if view is not None else None

    def _rejected(self, link: str) -> int:
        view = self._gateway.gateway.facts.link(link)
        return sum(view.rejected.values()) if view is not None else 0

    def _instead(self, step: See) -> str:
        """What there is, for whoever has to find out why."""
        tells: dict[type[See], Callable[[Any], str]] = {
            SeeLink: self._link_now,
            SeeUnit: lambda look: str(self._unit_state(look.device)),
            SeeEmergency: lambda look: repr(self._emergency(look.device)),
            SeeCount: lambda look: f"{self._count(look)} events",
            SeeOutcome: lambda _look: self._commands_now(),
            SeeShown: lambda look: repr(self._bench.texts_of(look.device)),
        }
        tell = tells.get(type(step), lambda _look: self._last_events())
        return tell(step)

    def _link_now(self, look: SeeLink) -> str:
        view = self._gateway.gateway.facts.link(look.link)
        return "no such link" if view is None else f"{view.state} ({view.why})"

    def _commands_now(self) -> str:
        views = self._gateway.gateway.downlink.views()
        return "; ".join(f"{v.verb} {v.state} {v.why or ''}" for v in views) or "no command"

    def _last_events(self) -> str:
        last = [f"{each['type']} {each}" for each in self._events[-TELL_EVENTS:]]
        return "the last events: " + ("; ".join(last) or "none")


def describe(step: AnyStep | Do | See) -> str:
    """A step as a line: what, and everything that is not as usual."""
    fields = msgspec.structs.asdict(step)
    usual = {field.name: field.default for field in msgspec.structs.fields(step)}
    words = [
        f"{name}={value!r}"
        for name, value in fields.items()
        if name not in {"device", "after_s", "within_s"} and value not in (usual[name], {})
    ]
    tag = str(type(step).__struct_config__.tag)
    return " ".join([tag, str(fields.get("device", "")), *words]).replace("  ", " ").strip()


def _field(event: Event, dotted: str) -> Any:
    """``fix.age_s`` of an event, None where it is absent."""
    here: Any = event
    for name in dotted.split("."):
        here = here.get(name) if isinstance(here, dict) else None
    return here


def _has(event: Any, wanted: dict[str, Any]) -> bool:
    """True where every wanted field is there and the same."""
    for name, value in wanted.items():
        found = event.get(name) if isinstance(event, dict) else None
        if isinstance(value, dict):
            if not _has(found, value):
                return False
        elif found != value:
            return False
    return True


def _is_near(event: Event, place: Point, near_m: float) -> bool:
    where = event.get("fix", event)
    if "lat_deg" not in where:
        return False
    return distance_m(Point(where["lat_deg"], where["lon_deg"]), place) <= near_m
