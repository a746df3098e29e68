"""The desk as a server inside the gateway's own event loop: ``await desk.serve()``."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.addresses import AllowList, url_of
from gateway.clock import Clock
from gateway.desk.guard import is_loopback
from gateway.desk.hub import Hub
from gateway.desk.lockout import Lockout
from gateway.desk.pages import STATIC, read_pages
from gateway.desk.passwords import Passwords
from gateway.desk.ports import EmergencyActions, Feed, LiveView, Requests
from gateway.desk.services import AuditState, Services, base_map, current_state
from gateway.desk.web import build_app
from gateway.errors import GatewayError
from gateway.eventlog.store import EventLog
from gateway.settings import DeskSettings, parse_address

log = structlog.get_logger("gateway.desk")

HEADERS_S = 10.0  # a connection that has not sent a whole request head by then is closed
KEEP_ALIVE_S = 30
MAX_HEAD = 16 * 1024  # bytes of a request head
MAX_CONNECTIONS = 400
BACKLOG = 128
SEND_BUFFER = 128 * 1024  # bytes
STOP_S = 1  # what is under way may take this long at the end


class Desk:
    """The desk page and its API.

    ``metrics`` gives the Prometheus text, ``map_file`` the base map or None. The event log belongs
    to the caller, who has opened it.
    """

    def __init__(
        self,
        *,
        settings: DeskSettings,
        eventlog: EventLog,
        live: LiveView,
        actions: EmergencyActions,
        requests: Requests,
        feed: Feed,
        clock: Clock,
        metrics: Callable[[], bytes],
        map_file: Path | None = None,
        static: Path = STATIC,
    ) -> None:
        self._host, self._port = parse_address(settings.listen, "desk.listen")
        self._secure = settings.secure_cookie
        audit_state = AuditState()
        self.hub = Hub(
            live=live,
            feed=feed,
            clock=clock,
            eventlog=eventlog,
            state=lambda sight: current_state(
                live, sight, audit_ok=audit_state.is_ok, base_map=base_map(map_file)
            ),
            audit_ok=lambda: audit_state.is_ok,
        )
        self.services = Services(
            settings=settings,
            listen_host=self._host,
            eventlog=eventlog,
            live=live,
            actions=actions,
            requests=requests,
            hub=self.hub,
            clock=clock,
            passwords=Passwords(),
            lockout=Lockout(clock),
            audit_state=audit_state,
            metrics=metrics,
            pages=read_pages(static),
            map_file=map_file,
            trusted_proxies=AllowList(settings.trusted_proxies),
            metrics_allow=AllowList(settings.metrics_allow),
        )
        self.app = build_app(self.services)
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._is_up = asyncio.Event()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the real port once bound, where port 0 was asked for too."""
        return self._host, self._port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections) if self._server is not None else 0

    @property
    def url(self) -> str:
        """The page's address as this machine reaches it, without a trailing slash."""
        return url_of(self._host, self._port)

    def sign_in_url(self, token: str) -> str:
        """The one-time link of a token made by ``EventLog.create_sign_in_link``."""
        return f"{self.url}/#sign-in={token}"

    def bind(self) -> None:
        """Take the port, so that it is known early; raises GatewayError where it is not free."""
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server(
                (self._host, self._port), family=family, backlog=BACKLOG
            )
        except OSError as error:
            raise GatewayError(
                f"desk.listen: cannot listen on {self._host}:{self._port} ({error.strerror}); "
                "free it or name another port"
            ) from None
        # Connections inherit it: what the kernel holds for a page that reads not is bounded too.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._port = self._socket.getsockname()[1]
        if not is_loopback(self._host) and not self._secure:
            log.warning("desk_without_tls", listen=f"{self._host}:{self._port}")

    async def started(self) -> None:
        """Wait until requests are answered."""
        await self._is_up.wait()

    async def serve(self) -> None:
        """Serve until cancelled; then streams say goodbye, and all is closed within two seconds."""
        self.bind()
        listening = self._socket
        assert listening is not None  # noqa: S101 - bind() has just made it
        server = self._server = _Server(_config(self.app))
        try:
            await self.services.passwords.start()
            async with asyncio.TaskGroup() as group:
                hub = group.create_task(self.hub.run(), name="desk hub")
                beat = group.create_task(self.hub.beat(), name="desk heartbeat")
                try:
                    await self._serve_http(server, listening)
                finally:
                    hub.cancel()
                    beat.cancel()
        finally:
            self._is_up.clear()
            listening.close()
            self._socket = None
            await self.services.passwords.stop()

    async def _serve_http(self, server: "_Server", listening: socket.socket) -> None:
        try:
            await server.serve_until_cancelled(listening, self._is_up)
        finally:
            self.hub.finish()
            await server.end(listening)


class _Server(uvicorn.Server):
    """uvicorn as a guest: signals and the end of the process are the gateway's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signal handlers alone."""
        yield

    async def serve_until_cancelled(self, listening: socket.socket, is_up: asyncio.Event) -> None:
        """Answer requests."""
        if not self.config.loaded:
            self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listening])
        is_up.set()
        await self.main_loop()

    async def end(self, listening: socket.socket) -> None:
        """Close what is open, after what is under way; harmless where nothing was started."""
        if self.started:
            self.should_exit = True
            await self.shutdown(sockets=[listening])


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=DeskProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what matters is logged by us; bad requests would fill the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD,
        backlog=BACKLOG,
    )


class DeskProtocol(H11Protocol):
    """HTTP/1.1 that waits not for ever for a request, and can drop a peer that reads not."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(  # type: ignore[override] # as uvicorn itself narrows it
        self, transport: asyncio.Transport
    ) -> None:
        """A client is there: it has HEADERS_S for its first request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Bytes; the time runs while a request head is unfinished."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        else:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEADERS_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.abort()
