"""Around every answer: security headers, a limit and a deadline for bodies, and no stack trace."""

import asyncio
from collections.abc import Iterable
from typing import cast

import structlog
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from gateway.desk.payloads import Problem
from gateway.model.events import to_json

log = structlog.get_logger("gateway.desk")

MAX_BODY = 16 * 1024  # bytes
BODY_S = 10.0  # a body that takes longer is given up

CONTENT_POLICY = (
    "default-src 'self'; "
    "worker-src 'self' blob:; "  # the map's worker
    "img-src 'self' data: blob:; "  # the map's own pictures
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")
NO_STORE = (b"cache-control", b"no-store")


class Armour:
    """Wraps the application; see the module's docstring."""

    def __init__(self, app: ASGIApp, *, is_secure: bool) -> None:
        self._app = app
        self._headers = (*HEADERS, ONLY_TLS) if is_secure else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_started = False

        async def send_armoured(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = self._armoured(message["headers"])
            await send(message)

        try:
            if scope.get("method") == "POST":
                body = await _read_body(receive)
                if isinstance(body, Problem):
                    await _refuse(send_armoured, body)
                    return
                receive = _replay(body, receive)
            await self._app(scope, receive, send_armoured)
        except Exception:
            log.exception("desk_request_failed", path=repr(scope.get("path", ""))[:200])
            if has_started:
                raise
            await _refuse(send_armoured, Problem(error="internal", detail="internal error"), 500)

    def _armoured(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = list(headers)
        kept.extend(self._headers)
        if not any(name.lower() == b"cache-control" for name, _ in kept):
            kept.append(NO_STORE)
        return kept


async def _read_body(receive: Receive) -> bytes | Problem:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return bytes(body)  # gone; the answer goes nowhere
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    return Problem(error="too_large", detail=f"a body may have {MAX_BODY} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return Problem(error="too_slow", detail=f"the body took more than {BODY_S:g} s")


def _replay(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def replay() -> HTTPReceiveMessage:
        nonlocal is_given
        if is_given:
            return cast("HTTPReceiveMessage", await receive())  # an HTTP scope has no others
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


_STATUS = {"too_large": 413, "too_slow": 408}


async def _refuse(send: Send, problem: Problem, status: int | None = None) -> None:
    body = to_json(problem)
    await send(
        {
            "type": "http.response.start",
            "status": status or _STATUS[problem.error],
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
