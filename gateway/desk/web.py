"""The routes as a Litestar application: guard, errors, encoding, and the API's description."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import structlog
from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State as AppState
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.plugins import OpenAPISchemaPlugin
from litestar.serialization import encode_json
from litestar.types import ASGIApp
from litestar.typing import FieldDefinition

from gateway import __version__
from gateway.desk import guard, refusal
from gateway.desk.armour import Armour
from gateway.desk.guard import Principal
from gateway.desk.payloads import Problem
from gateway.desk.refusal import RefusedError
from gateway.desk.routes import PAGES, ROUTES, Route
from gateway.desk.services import Services
from gateway.errors import GatewayError, NotAllowedError, StoreError
from gateway.model.events import to_json
from gateway.model.quantities import Instant

log = structlog.get_logger("gateway.desk")

AnyRequest = Request[Any, Any, Any]
AnyConnection = ASGIConnection[Any, Any, Any, Any]

SIGN_INS = ("/api/sign-in", "/api/sign-in/link")  # changing requests before there is a session


def build_app(services: Services) -> ASGIApp:
    """The whole application, ready to be served."""
    app = Litestar(
        route_handlers=_handlers(sorted(services.pages)),
        guards=[_guard],
        dependencies=_dependencies(),
        exception_handlers={Exception: _answer_error, HTTPException: _answer_error},
        type_encoders={Instant: Instant.text},
        state=AppState({"services": services, "openapi": openapi_document}),
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return Armour(app, is_secure=services.is_secure)


@cache
def openapi_document() -> bytes:
    """OpenAPI 3.1, written from the table and the handlers' own types."""
    described = Litestar(
        route_handlers=_handlers([PAGES]),
        dependencies=_dependencies(),
        openapi_config=OpenAPIConfig(
            title="PDT gateway desk",
            version=__version__,
            description="Live units, emergencies and history of one site; see docs/desk-api.md.",
        ),
        plugins=[InstantSchema()],
        logging_config=None,
    )
    return encode_json(described.openapi_schema.to_schema())


class InstantSchema(OpenAPISchemaPlugin):
    """Describes an instant as what it is in JSON: RFC 3339 text."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """True for our instant."""
        return value is Instant

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Text with a format."""
        del field_definition, schema_creator
        return Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME)


def _handlers(pages: Sequence[str]) -> list[HTTPRouteHandler]:
    return [_handler(route, pages) for route in ROUTES]


def _handler(route: Route, pages: Sequence[str]) -> HTTPRouteHandler:
    decorate = get if route.method == "GET" else post
    problems = {400: "does not fit", 503: "cannot now"}
    if route.access != "public":
        problems |= {401: "not signed in", 403: "no role that may"}
    if route.method == "POST":
        problems |= {409: "the state does not permit it"}
    return decorate(
        list(pages) if route.path == PAGES else route.path,
        status_code=route.status,
        media_type=route.media_type,
        opt={"route": route},
        include_in_schema=route.is_described,
        summary=(route.handler.__doc__ or "").partition("\n")[0],
        operation_id=f"{route.method.lower()}_{route.handler.__name__}",
        security=[] if route.access == "public" else [{"session": []}],
        responses={
            status: ResponseSpec(Problem, generate_examples=False, description=text)
            for status, text in problems.items()
        },
        raises=[],
    )(route.handler)


async def _guard(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Everything that must hold before a handler runs; see ``gateway.desk.guard``."""
    services: Services = connection.app.state["services"]
    route: Route = handler.opt["route"]
    headers = connection.headers
    peer = connection.client.host if connection.client else ""
    address = guard.client_address(
        peer, headers.getall("x-forwarded-for", []), services.trusted_proxies
    )
    connection.state["address"] = address
    host = headers.get("host", "")
    if not guard.is_own_host(host, services.listen_host, is_secure=services.is_secure):
        raise RefusedError(421, "wrong_host", "this desk is not reached by that name")
    who = None
    if route.path != PAGES:
        who = await _identify(connection, services, keeps_awake=route.keeps_awake)
    connection.state["who"] = who
    if route.method == "POST":
        await _check_sender(connection, services, route, who)
    if route.access == "public":
        return
    if (
        route.access == "networks_or_roles"
        and (services.is_secure or guard.is_of_nobody(host))
        and guard.may_watch(
            peer, headers, address, services.trusted_proxies, services.metrics_allow
        )
    ):
        return
    if who is None:
        raise refusal.not_signed_in()
    if not who.roles & route.roles:
        await _refused(connection, services, who.name, "forbidden")
        raise refusal.forbidden()


async def _identify(
    connection: AnyConnection, services: Services, *, keeps_awake: bool
) -> Principal | None:
    token = connection.cookies.get(services.cookie_name)
    if not token:
        return None
    session = await services.eventlog.session(token)
    if session is None:
        return None
    now = services.clock.now()
    who = guard.principal(session, token, now)
    if not who.roles:
        return None  # an administrator's session that fell asleep
    idle_s = now.seconds_since(session.seen_at)
    if keeps_awake and idle_s >= guard.TOUCH_S and not guard.is_asleep(session, now):
        await services.eventlog.touch_session(session.token_hash)
    return who


async def _check_sender(
    connection: AnyConnection, services: Services, route: Route, who: Principal | None
) -> None:
    name = who.name if who is not None else ""
    try:
        guard.check_origin(connection.headers, is_secure=services.is_secure)
        if who is not None and route.path not in SIGN_INS:
            guard.check_csrf(who, connection.headers)
    except RefusedError as error:
        await _refused(connection, services, name, error.error)
        raise


async def _refused(connection: AnyConnection, services: Services, name: str, reason: str) -> None:
    if not name:  # anybody can send these; the audit log is for people who are known
        return
    await services.audit(
        name,
        "refused",
        f"{connection.scope.get('method', '')} {connection.url.path}"[:200],
        address=connection.state["address"],
        result="refused",
        detail=reason,
    )


def _dependencies() -> dict[str, Provide]:
    """What handlers may name as parameters."""
    return {
        "desk": Provide(_desk, sync_to_thread=False),
        "who": Provide(_who, sync_to_thread=False),
        "maybe_who": Provide(_maybe_who, sync_to_thread=False),
        "address": Provide(_address, sync_to_thread=False),
    }


def _desk(request: AnyRequest) -> Any:
    return request.app.state["services"]


def _who(request: AnyRequest) -> Any:
    return request.state["who"]


def _maybe_who(request: AnyRequest) -> Any:
    return request.state["who"]


def _address(request: AnyRequest) -> Any:
    return request.state["address"]


def _answer_error(request: AnyRequest, error: Exception) -> Response[bytes]:
    refused = _as_refusal(request, error)
    problem = Problem(
        error=refused.error,
        detail=refused.detail,
        retry_after_s=refused.retry_after_s or None,
    )
    headers = {"Retry-After": str(refused.retry_after_s)} if refused.retry_after_s else {}
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {}) | headers
    return Response(
        to_json(problem),
        status_code=refused.status,
        media_type="application/json",
        headers=headers,
    )


def _as_refusal(request: AnyRequest, error: Exception) -> RefusedError:
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, NotAllowedError):
        return RefusedError(409, "not_allowed", str(error))
    if isinstance(error, StoreError):
        return RefusedError(503, "not_stored", "could not be stored; try again (未能保存，请重试)")
    if isinstance(error, GatewayError):
        log.warning("desk_busy", path=request.url.path[:200], why=str(error)[:200])
        return RefusedError(503, "busy", "try again (请重试)")
    if isinstance(error, HTTPException):
        return refusal.from_http(error)
    log.error("desk_request_failed", path=repr(request.url.path)[:200], exc_info=error)
    return RefusedError(500, "internal", "internal error (内部错误)")
