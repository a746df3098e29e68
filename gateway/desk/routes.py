"""Every route of the desk in one table: path, method, who, handler.

The table follows the roles of the threat model; the access test walks it for every role and method,
so a route that is not here cannot be reached, and one that is here is checked.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.desk import (
    handlers_admin,
    handlers_commands,
    handlers_live,
    handlers_past,
    handlers_session,
)
from gateway.desk.geojson import MEDIA_TYPE
from gateway.eventlog.accounts import ROLES, Role

Access = Literal["public", "roles", "networks_or_roles"]

ANY = frozenset[Role](ROLES)
DISPATCHER = frozenset[Role]({"dispatcher"})
TECHNICIAN = frozenset[Role]({"technician", "admin"})
ADMIN = frozenset[Role]({"admin"})
COMMANDER = frozenset[Role]({"dispatcher", "technician"})  # the latter of test radios alone


@dataclass(frozen=True, slots=True)
class Route:
    """One row. ``networks_or_roles`` lets those of ``desk.metrics_allow`` in without a session.

    ``keeps_awake`` false: a request that the page makes by itself is no sign of a person.
    """

    method: Literal["GET", "POST"]
    path: str
    roles: frozenset[Role]
    handler: Callable[..., Awaitable[Any]]
    access: Access = "roles"
    status: int = 200
    keeps_awake: bool = True
    is_described: bool = True
    media_type: str = "application/json"


NOBODY = frozenset[Role]()
PAGES = "/"  # stands for the list of the built page's files

ROUTES: Sequence[Route] = (
    Route("GET", PAGES, NOBODY, handlers_live.page, access="public", is_described=False),
    Route("GET", "/healthz", NOBODY, handlers_live.health, access="public"),
    Route(
        "GET",
        "/metrics",
        TECHNICIAN,
        handlers_live.metrics,
        access="networks_or_roles",
        media_type="text/plain",
    ),
    Route("GET", "/api/openapi.json", NOBODY, handlers_live.openapi, access="public"),
    Route("GET", "/api/me", NOBODY, handlers_session.me, access="public", keeps_awake=False),
    Route("POST", "/api/sign-in", NOBODY, handlers_session.sign_in, access="public"),
    Route("POST", "/api/sign-in/link", NOBODY, handlers_session.ask_link, access="public"),
    Route("POST", "/api/sign-out", ANY, handlers_session.sign_out, status=204),
    Route("POST", "/api/me/password", ANY, handlers_session.set_password, status=204),
    Route("GET", "/api/state", ANY, handlers_live.state, keeps_awake=False),
    Route(
        "GET",
        "/api/stream",
        ANY,
        handlers_live.stream,
        keeps_awake=False,
        media_type="text/event-stream",
    ),
    Route(
        "GET",
        "/api/units.geojson",
        ANY,
        handlers_live.units_geojson,
        keeps_awake=False,
        media_type=MEDIA_TYPE,
    ),
    Route(
        "GET",
        "/api/sites.geojson",
        ANY,
        handlers_live.sites_geojson,
        keeps_awake=False,
        media_type=MEDIA_TYPE,
    ),
    Route("GET", "/api/track/{name:str}", ANY, handlers_past.track, media_type=MEDIA_TYPE),
    Route("GET", "/api/events", ANY, handlers_past.events),
    Route("GET", "/api/emergencies", ANY, handlers_past.emergencies),
    Route("POST", "/api/emergencies/{emergency_id:str}/take", DISPATCHER, handlers_past.take),
    Route("POST", "/api/emergencies/{emergency_id:str}/close", DISPATCHER, handlers_past.close),
    Route("GET", "/api/commands", TECHNICIAN | DISPATCHER, handlers_commands.commands),
    Route("POST", "/api/units/{key:str}/locate", COMMANDER, handlers_commands.locate, status=202),
    Route("POST", "/api/units/{key:str}/track", COMMANDER, handlers_commands.track, status=202),
    Route("POST", "/api/units/{key:str}/text", COMMANDER, handlers_commands.text, status=202),
    Route("POST", "/api/units/{key:str}/check", COMMANDER, handlers_commands.check, status=202),
    Route("GET", "/api/links", TECHNICIAN | DISPATCHER, handlers_live.links, keeps_awake=False),
    Route("GET", "/api/links/{link_id:str}/rejects", TECHNICIAN, handlers_live.rejects),
    Route("GET", "/api/counters", TECHNICIAN, handlers_live.counters, keeps_awake=False),
    Route("GET", "/api/map", ANY, handlers_live.map_file, keeps_awake=False),
    Route("GET", "/api/audit", ADMIN, handlers_admin.audit),
    Route("GET", "/api/accounts", ADMIN, handlers_admin.accounts),
    Route("POST", "/api/accounts", ADMIN, handlers_admin.create_account, status=201),
    Route("POST", "/api/accounts/{account_id:int}/roles", ADMIN, handlers_admin.set_roles),
    Route("POST", "/api/accounts/{account_id:int}/disable", ADMIN, handlers_admin.disable),
    Route("POST", "/api/accounts/{account_id:int}/enable", ADMIN, handlers_admin.enable),
    Route("POST", "/api/accounts/{account_id:int}/link", ADMIN, handlers_admin.invite),
)
