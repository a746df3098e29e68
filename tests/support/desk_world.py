"""A desk with a small gateway behind it, in one event loop, for tests."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec

from gateway.clock import Clock, ManualClock
from gateway.desk.server import Desk
from gateway.errors import NotAllowedError, StoreError
from gateway.eventlog.accounts import Account, Role, new_token
from gateway.eventlog.store import EventLog
from gateway.incidents.book import EmergencyBook
from gateway.model.emergency import Emergency
from gateway.model.events import CommandVerb, EmergencyClosed, EmergencyTaken, Verdict
from gateway.model.identity import EventId, RadioId, UnitId
from gateway.model.quantities import Instant
from gateway.model.requests import Request, Verb
from gateway.model.views import (
    ChannelView,
    CommandView,
    GatewayView,
    LinkView,
    RejectedFrame,
    SiteView,
    UnitView,
)
from gateway.runtime.bus import Bus
from gateway.settings import DeskSettings
from tests.support.desk_rows import raised, rows

ORIGIN = "http://127.0.0.1:8080"
PASSWORD = "correct horse"  # noqa: S105 - of accounts that live for one test


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What the fake gateway counts."""

    received: int = 3
    dropped: dict[str, int] = msgspec.field(default_factory=lambda: {"duplicate": 1})


class FakeGateway:
    """The live side: facts that a test sets, and emergencies that follow the real book."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.bus = Bus()
        self.book = EmergencyBook(same_press_s=300)
        self.why: str | None = None
        self.airtime: list[ChannelView] = []
        self.store_error: StoreError | None = None
        self.unit_views: dict[str, UnitView] = {}
        self.link_views = [
            LinkView(
                link_id="link-1",
                driver="jt808",
                place="tcp 127.0.0.1:808",
                state="up",
                since=clock.now(),
                peers=2,
                rejected={"checksum": 1},
            )
        ]
        self.acts: list[tuple[str, str, str]] = []
        self.command_views: dict[EventId, CommandView] = {}
        self.asked: list[tuple[Verb, Request, str]] = []
        self.refused: list[tuple[Verb, str | None, str]] = []
        self.refusal: str | None = None
        self._states: dict[EventId, Emergency] = {}

    def gateway(self) -> GatewayView:
        return GatewayView(
            site="town",
            site_name="寮步镇",
            zone="Asia/Shanghai",
            version="0.1.0",
            started_at=Instant(0),
            now=self.clock.now(),
            is_accepting=self.why is None,
            why=self.why,
            airtime=self.airtime,
        )

    def units(self) -> Sequence[UnitView]:
        return list(self.unit_views.values())

    def unit(self, key: str) -> UnitView | None:
        return self.unit_views.get(key)

    def links(self) -> Sequence[LinkView]:
        return self.link_views

    def rejects(self, link_id: str) -> Sequence[RejectedFrame] | None:
        if link_id != "link-1":
            return None
        return [
            RejectedFrame(at=Instant(n), peer="p", reason="checksum", detail="", hex="7e")
            for n in (1, 2)
        ]

    def sites(self) -> Sequence[SiteView]:
        return [SiteView(id="park", name="工业园", lat_deg=22.99, lon_deg=113.88, ring_m=100.0)]

    def emergencies(self) -> Sequence[Emergency]:
        return list(self._states.values())

    def emergency(self, emergency_id: EventId) -> Emergency | None:
        return self._states.get(emergency_id)

    def counters(self) -> msgspec.Struct:
        return Counted()

    def commands(self) -> Sequence[CommandView]:
        return list(self.command_views.values())

    def command(self, command_id: EventId) -> CommandView | None:
        return self.command_views.get(command_id)

    def possible_commands(self) -> dict[str, list[CommandVerb]]:
        return {"jt808": ["locate", "text"]}

    def refuse(self, verb: Verb, request: Request, by: str, why: str) -> None:
        self.refused.append((verb, request.unit_id, by))

    async def answer(self, verb: Verb, request: Request, by: str) -> dict[str, object]:
        self._fail_if_told()
        if self.refusal is not None:
            raise NotAllowedError(self.refusal)
        command_id = EventId(f"{len(self.asked) + 1:032x}")
        self.asked.append((verb, request, by))
        self.command_views[command_id] = CommandView(
            command_id=command_id,
            verb=msgspec.convert(verb, CommandVerb),
            radio_id=request.radio_id or RadioId("pdt:80020200"),
            unit_id=request.unit_id,
            by=by,
            state="waiting",
            queued_at=self.clock.now(),
            changed_at=self.clock.now(),
            expires_at=self.clock.now(),
        )
        self.bus.publish("command", command_id)
        return {"command_id": command_id}

    async def take(self, emergency_id: str, by: str) -> None:
        self._fail_if_told()
        event = EmergencyTaken(
            emergency_id=EventId(emergency_id), by=by, received_at=self.clock.now()
        )
        self._changed(self.book.take(event).after)
        self.acts.append(("take", emergency_id, by))

    async def close(self, emergency_id: str, by: str, verdict: Verdict, note: str | None) -> None:
        self._fail_if_told()
        event = EmergencyClosed(
            emergency_id=EventId(emergency_id),
            by=by,
            verdict=verdict,
            note=note,
            received_at=self.clock.now(),
        )
        self._changed(self.book.close(event).after)
        self.acts.append(("close", emergency_id, by))

    def press(self, press: str = "1") -> EventId:
        """Somebody presses the button."""
        state = self.book.raise_or_refresh(raised(0, press=press), press).after
        self._changed(state)
        return state.emergency_id

    def move(self, key: str, lat_deg: float = 22.99, *, is_test: bool = False) -> None:
        """A unit has a new fix."""
        self.unit_views[key] = UnitView(
            unit_id=UnitId(key),
            unit_name="机动一组甲",
            radio_id=RadioId("pdt:80020200"),
            state="fresh_fix",
            state_since=Instant(0),
            lat_deg=lat_deg,
            lon_deg=113.88,
            fix_at=self.clock.now(),
            is_test=is_test,
        )
        self.bus.publish("unit", key)

    def _changed(self, state: Emergency) -> None:
        self._states[state.emergency_id] = state
        self.bus.publish("emergency", state.emergency_id)

    def _fail_if_told(self) -> None:
        if self.store_error is not None:
            raise self.store_error


class Person:
    """A browser: a cookie jar, the CSRF token of its session, and the right origin."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.csrf = ""

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.client.get(path, **more)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A changing request as the page sends it."""
        sent = {"origin": ORIGIN, "x-csrf-token": self.csrf} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        sent = {name: value for name, value in sent.items() if value}
        return await self.client.post(path, json={} if body is None else body, headers=sent)

    async def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        answer = await self.post("/api/sign-in", {"name": name, "password": password})
        if answer.status_code == 200:
            self.csrf = answer.json()["csrf_token"]
        return answer


@dataclass
class World:
    """Desk, gateway, log and clock together."""

    desk: Desk
    gateway: FakeGateway
    log: EventLog
    clock: ManualClock
    clients: list[httpx.AsyncClient]

    def visitor(self, address: str = "127.0.0.1", base_url: str = ORIGIN) -> Person:
        """Somebody without a session."""
        transport = httpx.ASGITransport(cast("Any", self.desk.app), client=(address, 50_000))
        client = httpx.AsyncClient(transport=transport, base_url=base_url)
        self.clients.append(client)
        return Person(client)

    async def account(
        self, name: str, roles: Iterable[str], team: str | None = None, *, password: bool = False
    ) -> Account:
        hashed = await self.desk.services.passwords.hash(PASSWORD) if password else ""
        return await self.log.create_account(name, list(roles), team, hashed)

    async def person(
        self, *roles: Role, name: str = "", team: str | None = None, address: str = "127.0.0.1"
    ) -> Person:
        """Somebody with a session, without the cost of a password."""
        account = await self.account(name or "、".join(roles), roles, team)
        token = new_token()
        await self.log.begin_session(account, token, 12 * 3600)
        person = self.visitor(address)
        person.client.cookies.set(self.desk.services.cookie_name, token)
        person.csrf = (await person.get("/api/me")).json()["csrf_token"]
        return person

    async def press(self, press: str = "1") -> EventId:
        """An emergency that both the gateway and the log know."""
        emergency_id = self.gateway.press(press)
        event = raised(0, press=press)
        await self.log.apply(rows(msgspec.structs.replace(event, event_id=emergency_id)))
        return emergency_id

    async def audited(self) -> list[tuple[str, str, str, str]]:
        """Who, action, subject, result of every audit row, oldest first."""
        found = await self.log.audit_rows(None, 1000)
        return [(row.who, row.action, row.subject, row.result) for row in reversed(found)]


@asynccontextmanager
async def world(
    folder: Path, *, settings: DeskSettings | None = None, static: Path | None = None, **more: Any
) -> AsyncIterator[World]:
    """A desk that answers in process; nothing listens."""
    clock = ManualClock()
    log = EventLog(folder / "desk.db", clock, history_keep_s=30 * 86_400)
    await log.open()
    gateway = FakeGateway(clock)
    static = static or folder / "static"
    static.mkdir(exist_ok=True)
    desk = Desk(
        settings=settings or DeskSettings(listen="127.0.0.1:0"),
        eventlog=log,
        live=gateway,
        actions=gateway,
        requests=gateway,
        feed=gateway.bus,
        clock=clock,
        metrics=lambda: b"pdt_up 1\n",
        static=static,
        **more,
    )
    await desk.services.passwords.start()
    made = World(desk, gateway, log, clock, [])
    try:
        yield made
    finally:
        for client in made.clients:
            await client.aclose()
        await desk.services.passwords.stop()
        await log.close()
