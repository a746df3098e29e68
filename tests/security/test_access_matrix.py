"""Every route, for every role and nobody, by every method: as the table of roles says.

The expectation is written here by action, as in the threat model, and not taken from the routes'
own column: a route whose roles are widened by mistake fails.
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway.desk.routes import PAGES, ROUTES, Route
from gateway.desk.server import Desk
from gateway.eventlog.accounts import ROLES, Account, Role, new_token
from gateway.settings import DeskSettings
from tests.support.desk_world import Person, World, world

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
EVERYBODY = {"", *ROLES}
SIGNED_IN: set[str] = set(ROLES)

ACTIONS: dict[str, set[str]] = {
    "open the page, ask for health, sign in": EVERYBODY,
    "see map, units, active emergencies": SIGNED_IN,
    "see history and trails, within a scope": SIGNED_IN,
    "own session": SIGNED_IN,
    "take, close an emergency": {"dispatcher"},
    "send a location request, a text": {"dispatcher", "technician"},
    "see commands": {"dispatcher", "technician", "admin"},
    "see links, state only or more": {"dispatcher", "technician", "admin"},
    "see counters, captures": {"technician", "admin"},
    "accounts": {"admin"},
    "read the audit log": {"admin"},
}
ACTION_OF = {
    "GET /": "open the page, ask for health, sign in",
    "GET /healthz": "open the page, ask for health, sign in",
    "GET /metrics": "see counters, captures",
    "GET /api/openapi.json": "open the page, ask for health, sign in",
    "GET /api/me": "open the page, ask for health, sign in",
    "POST /api/sign-in": "open the page, ask for health, sign in",
    "POST /api/sign-in/link": "open the page, ask for health, sign in",
    "POST /api/sign-out": "own session",
    "POST /api/me/password": "own session",
    "GET /api/state": "see map, units, active emergencies",
    "GET /api/stream": "see map, units, active emergencies",
    "GET /api/units.geojson": "see map, units, active emergencies",
    "GET /api/sites.geojson": "see map, units, active emergencies",
    "GET /api/map": "see map, units, active emergencies",
    "GET /api/emergencies": "see map, units, active emergencies",
    "GET /api/track/{}": "see history and trails, within a scope",
    "GET /api/events": "see history and trails, within a scope",
    "POST /api/emergencies/{}/take": "take, close an emergency",
    "POST /api/emergencies/{}/close": "take, close an emergency",
    "GET /api/commands": "see commands",
    "POST /api/units/{}/locate": "send a location request, a text",
    "POST /api/units/{}/track": "send a location request, a text",
    "POST /api/units/{}/text": "send a location request, a text",
    "POST /api/units/{}/check": "send a location request, a text",
    "GET /api/links": "see links, state only or more",
    "GET /api/links/{}/rejects": "see counters, captures",
    "GET /api/counters": "see counters, captures",
    "GET /api/audit": "read the audit log",
    "GET /api/accounts": "accounts",
    "POST /api/accounts": "accounts",
    "POST /api/accounts/{}/roles": "accounts",
    "POST /api/accounts/{}/disable": "accounts",
    "POST /api/accounts/{}/enable": "accounts",
    "POST /api/accounts/{}/link": "accounts",
}
REFUSED = {401, 403, 405}


def _plain(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _concrete(path: str) -> str:
    path = path.replace("{account_id:int}", "9999")
    return re.sub(r"\{[^}]*\}", "mobile-1-a.geojson", path)


def _paths() -> list[str]:
    return list(dict.fromkeys(route.path for route in ROUTES))


async def _send(person: Person, method: str, path: str) -> Any:
    headers = {"origin": "http://127.0.0.1:8080", "x-csrf-token": person.csrf}
    return await person.client.request(method, path, json={}, headers=headers)


async def _visitor(
    here: World, role: Role | Literal[""], accounts: Mapping[Role, Account]
) -> Person:
    """A fresh session for each request: some requests end it."""
    person = here.visitor(address="192.0.2.7")
    if role:
        token = new_token()
        await here.log.begin_session(accounts[role], token, 3600)
        person.client.cookies.set(here.desk.services.cookie_name, token)
        person.csrf = (await person.get("/api/me")).json()["csrf_token"]
    return person


def _expected(methods: dict[str, Route], method: str, role: str) -> set[int] | None:
    """The statuses that are right; None where anything but a refusal is."""
    route = methods.get(method)
    if route is None:
        return {405}
    allowed = ACTIONS[ACTION_OF[f"{method} {_plain(route.path)}"]]
    if role in allowed:
        # A wrong link or password is 401 as well; what is asked here is whether one may ask.
        return {400, 401} if route.path in {"/api/sign-in", "/api/sign-in/link"} else None
    return {403} if role else {401}


def test_the_matrix_names_every_route() -> None:
    assert {f"{route.method} {_plain(route.path)}" for route in ROUTES} == set(ACTION_OF)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_the_application_has_no_route_outside_of_the_table(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as here:
            served = {
                (method, _plain(route.path))
                for route in _litestar(here.desk).routes
                for method in route.methods - {"OPTIONS"}
            }
            pages = {("GET", path) for path in here.desk.services.pages}
            table = {(route.method, _plain(route.path)) for route in ROUTES}
            assert served == table | pages

    asyncio.run(main())


@pytest.mark.parametrize("role", ["", *ROLES])
def test_every_route_answers_every_method_as_the_roles_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: Role | Literal[""]
) -> None:
    async def main() -> None:
        async with world(tmp_path) as here:
            monkeypatch.setattr(here.desk.hub, "has_room", lambda _: False)  # it would not end
            accounts = {each: await here.account(each, [each], team="mobile-1") for each in ROLES}
            wrong = []
            for path in _paths():
                methods: dict[str, Route] = {r.method: r for r in ROUTES if r.path == path}
                for method in METHODS:
                    person = await _visitor(here, role, accounts)
                    answer = await _send(person, method, _concrete(path))
                    expected = _expected(methods, method, role)
                    status = answer.status_code
                    is_right = status in expected if expected else status not in REFUSED
                    if not is_right or (status >= 500 and path != "/api/stream"):
                        wrong.append((method, path, status, answer.text[:80]))
            assert not wrong

    asyncio.run(main())


def test_nothing_is_answered_to_a_stranger_but_the_public_routes(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as here:
            here.gateway.move("u1")
            await here.press()
            stranger = here.visitor(address="192.0.2.7")
            for route in ROUTES:
                if route.method == "GET":
                    answer = await stranger.get(_concrete(route.path))
                    assert "22.99" not in answer.text, route.path
                    assert "80020200" not in answer.text, route.path

    asyncio.run(main())


def test_metrics_are_for_this_machine_or_a_technician(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as here:
            assert (await here.visitor("127.0.0.1").get("/metrics")).status_code == 200
            assert (await here.visitor("::1").get("/metrics")).status_code == 200
            assert (await here.visitor("192.0.2.7").get("/metrics")).status_code == 401
            proxied = await here.visitor("127.0.0.1").get(
                "/metrics", headers={"x-forwarded-for": "192.0.2.7"}
            )
            assert proxied.status_code == 401
            technician = await here.person("technician", address="192.0.2.7")
            assert (await technician.get("/metrics")).text == "pdt_up 1\n"

    asyncio.run(main())


def test_metrics_are_for_the_networks_of_the_settings_without_a_login(tmp_path: Path) -> None:
    settings = DeskSettings(
        listen="127.0.0.1:0",
        trusted_proxies=("172.31.80.1/32",),
        metrics_allow=("172.31.80.0/24", "192.0.2.7/32"),
    )

    async def main() -> None:
        async with world(tmp_path, settings=settings) as here:
            for address, headers, status in (
                ("192.0.2.7", {}, 200),
                ("172.31.80.1", {}, 200),  # a program on the machine
                ("127.0.0.1", {}, 401),  # what is not named is not in
                ("192.0.2.8", {}, 401),
                ("172.31.80.1", {"x-forwarded-for": "192.0.2.7"}, 200),  # over the proxy
                ("172.31.80.1", {"x-forwarded-for": "192.0.2.8"}, 401),
                ("172.31.80.1", {"x-forwarded-for": "192.0.2.7, 192.0.2.8"}, 401),
                ("172.31.80.1", {"forwarded": "for=192.0.2.8"}, 401),
                ("192.0.2.7", {"x-forwarded-for": "192.0.2.7"}, 401),  # a proxy nobody named
            ):
                answer = await here.visitor(address).get("/metrics", headers=headers)
                assert answer.status_code == status, (address, headers)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("192.168.10.2:8080", 200),
        ("[fd00::1]:8080", 200),
        ("localhost:8080", 200),
        ("gateway:8080", 200),  # a container beside
        ("evil.example:8080", 401),
        ("127.0.0.1.evil.example", 401),
        ("[", 401),
        ("", 401),
    ],
)
def test_metrics_are_not_for_another_sites_page_in_a_browser_here(
    tmp_path: Path, host: str, status: int
) -> None:
    """It may let its own name lead to us; over TLS it would have to show our certificate."""
    wide = DeskSettings(listen="0.0.0.0:0")
    secure = DeskSettings(listen="0.0.0.0:0", secure_cookie=True)

    async def main() -> None:
        async with world(tmp_path, settings=wide) as here:
            answer = await here.visitor().get("/metrics", headers={"host": host})
            assert answer.status_code == status
        async with world(tmp_path, settings=secure) as here:
            answer = await here.visitor().get("/metrics", headers={"host": "desk.example"})
            assert answer.status_code == 200

    asyncio.run(main())


def test_routes_that_change_something_are_never_get() -> None:
    changing = re.compile(r"take|close|sign|password|disable|enable|roles$")
    assert not [
        route.path for route in ROUTES if route.method == "GET" and changing.search(route.path)
    ]
    assert PAGES in _paths()


def _litestar(desk: Desk) -> Any:
    armour: Any = desk.app
    return armour._app
