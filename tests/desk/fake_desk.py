"""A stand-in for the desk's server: the built page, and an API that says what a test tells it to.

Only the shapes of ``docs/desk-api.md`` are here; nothing is decided and nothing kept. The stream
can be cut (connections end and new ones are refused) and stalled (connections stay, nothing comes).
"""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

STATIC = Path(__file__).resolve().parents[2] / "gateway" / "desk" / "static"
POLICY = (
    "default-src 'self'; worker-src 'self' blob:; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
TYPES |= {".svg": "image/svg+xml"}
QUEUE_MESSAGES = 1000
HEARTBEAT_S = 1.0
ANSWER_WAIT_S = 10.0
CSRF = "a-token-of-this-session"


def ago(seconds: float = 0.0) -> str:
    """An instant of the contract, ``seconds`` before now."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FakeDesk:
    """What the API answers, and who listens to the stream; all calls are thread-safe."""

    def __init__(self) -> None:
        self._listeners: set[queue.Queue[bytes | None]] = set()
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begin anew, with nothing in it; streams stay open."""
        self.place = {"site": "rongxi", "site_name": "榕溪镇", "zone": "Asia/Shanghai"}
        self.is_signed_in = True
        self.roles = ["dispatcher"]
        self.units: dict[str, dict[str, Any]] = {}
        self.links: list[dict[str, Any]] = []
        self.sites: list[dict[str, Any]] = []
        self.emergencies: dict[str, dict[str, Any]] = {}
        self.commands: dict[str, dict[str, Any]] = {}
        self.possible: dict[str, list[str]] = {}
        self.base_map: dict[str, Any] | None = None
        self.gateway: dict[str, Any] = {"is_accepting": True}
        self.audit_ok = True
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.requested: list[str] = []  # every address that the browser asked for
        self.refusal: tuple[int, dict[str, Any]] | None = None  # the answer to the next act
        self.may_answer = threading.Event()  # cleared, an act is done and its answer waits
        self.may_answer.set()
        self.link_asks: dict[str, Any] = {"asks_name": True, "roles": ["dispatcher", "admin"]}
        self.is_cut = False
        self.is_stalled = False

    # What a test tells it.

    def push(self, name: str, data: dict[str, Any]) -> None:
        """Send one message to every open stream."""
        line = f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
        with self._lock:
            for listener in self._listeners:
                listener.put_nowait(line)

    def put_unit(self, **facts: Any) -> None:
        """A unit's new facts, over the stream."""
        unit = {"state": "fresh_fix", "state_since": ago(60), **facts}
        self.units[facts.get("unit_id", facts["radio_id"])] = unit
        self.push("units", {"units": [unit]})

    def raise_emergency(self, emergency_id: str, **facts: Any) -> dict[str, Any]:
        """A new emergency, or other facts of a known one, over the stream."""
        known = self.emergencies.get(emergency_id, {})
        emergency = {
            "emergency_id": emergency_id,
            "phase": "open",
            "link_id": "hytera-1",
            "driver": "hytera_hrnp",
            "radio_id": "pdt:80020201",
            "kind": "alarm",
            "is_drill": False,
            "verified": True,
            "raised_at": ago(),
            "refreshed_at": ago(),
            "frames": 1,
            **known,
            **facts,
        }
        self.emergencies[emergency_id] = emergency
        self.push("emergency", {"emergency": emergency})
        return emergency

    def put_link(self, number: int, **facts: Any) -> None:
        """Other facts of a known link, over the stream."""
        self.links[number] = {**self.links[number], **facts}
        self.push("links", {"links": [self.links[number]]})

    def put_command(self, command_id: str, **facts: Any) -> dict[str, Any]:
        """A command to a radio, or other facts of a known one, over the stream."""
        known = self.commands.get(command_id, {})
        command = {
            "command_id": command_id,
            "verb": "locate",
            "by": "李明 via desk",
            "state": "waiting",
            "queued_at": ago(),
            **known,
            "changed_at": ago(),
            **facts,
        }
        self.commands[command_id] = command
        self.push("command", {"command": command})
        return command

    def ask(self, key: str, verb: str) -> dict[str, Any]:
        """Queue a command, and tell every stream."""
        radio_id = self.units[key]["radio_id"]
        command_id = f"c{len(self.commands) + 1}"
        return self.put_command(command_id, unit_id=key, radio_id=radio_id, verb=verb)

    def cut(self) -> None:
        """End every stream and refuse new ones."""
        self.is_cut = True
        with self._lock:
            for listener in self._listeners:
                listener.put_nowait(None)

    def mend(self) -> None:
        """Let streams come back."""
        self.is_cut = self.is_stalled = False

    # What the API says.

    def me(self) -> dict[str, Any]:
        """The body of /api/me."""
        if not self.is_signed_in:
            return {"signed_in": False, **self.place}
        return {
            "signed_in": True,
            **self.place,
            "account_id": 3,
            "name": "李明",
            "roles": self.roles,
            "has_password": True,
            "csrf_token": CSRF,
            "expires_at": ago(-11 * 3600),
        }

    def snapshot(self) -> dict[str, Any]:
        """The body of /api/state."""
        now = {"version": "0.1.0", "started_at": ago(600), "now": ago()}
        state = {
            "gateway": {**self.place, **now, **self.gateway},
            "audit_ok": self.audit_ok,
            "units": list(self.units.values()),
            "links": self.links,
            "sites": self.sites,
            "emergencies": [e for e in self.emergencies.values() if e["phase"] != "closed"],
            "map": {"kind": "geojson", "url": "/api/map"} if self.base_map else None,
            "commands": list(self.commands.values()),
            "possible": self.possible,
        }
        if self.roles == ["viewer"]:
            del state["links"], state["commands"], state["possible"]
        return state

    def act(self, emergency_id: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """Take or close, and tell every stream."""
        if verb == "take":
            facts = {"phase": "taken", "taken_at": ago(), "taken_by": "李明"}
        else:
            facts = {"phase": "closed", "closed_at": ago(), "closed_by": "李明", **body}
        return self.raise_emergency(emergency_id, **facts)

    @contextmanager
    def listening(self) -> Iterator[queue.Queue[bytes | None]]:
        """A stream's own queue for as long as the stream is open."""
        listener: queue.Queue[bytes | None] = queue.Queue(QUEUE_MESSAGES)
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)


class _Handler(BaseHTTPRequestHandler):
    """One request; ``desk`` is set by ``serving``."""

    desk: ClassVar[FakeDesk]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go in two pieces

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: the test's own words are enough."""

    def do_GET(self) -> None:
        """Files of the page, and what the page asks."""
        path = self.path.partition("?")[0]
        if path == "/api/stream":
            self._stream()
        elif path == "/api/me":
            self._json(200, self.desk.me())
        elif path == "/api/map" and self.desk.base_map:
            self._json(200, self.desk.base_map)
        elif path.startswith("/api/track/"):
            self._json(200, {"type": "FeatureCollection", "features": []})
        elif path.startswith("/api/"):
            self._json(404, {"error": "not_found", "detail": path})
        else:
            self._file(path)

    def do_POST(self) -> None:
        """Sign-in, take, close."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(raw) if raw else {}
        self.desk.posts.append((self.path, body))
        if self.desk.refusal is not None:
            status, answer = self.desk.refusal
            self.desk.refusal = None
            self._json(status, answer)
        elif self.path == "/api/sign-in/link":
            self._json(200, self.desk.link_asks)
        elif self.path == "/api/sign-in":
            self.desk.is_signed_in = True
            self._json(200, self.desk.me())
        elif self.headers.get("X-CSRF-Token") != CSRF:
            self._json(403, {"error": "bad_csrf", "detail": "the token is missing"})
        elif self.path.startswith("/api/emergencies/"):
            _, _, _, emergency_id, verb = self.path.split("/")
            self._answer_late(200, self.desk.act(emergency_id, verb, body))
        elif self.path.startswith("/api/units/"):
            _, _, _, key, verb = self.path.split("/")
            self._answer_late(202, self.desk.ask(key, verb))
        elif self.path == "/api/sign-out":
            self.desk.is_signed_in = False
            self._json(200, {})

    def _answer_late(self, status: int, body: dict[str, Any]) -> None:
        self.desk.may_answer.wait(ANSWER_WAIT_S)
        self._json(status, body)

    def _stream(self) -> None:
        if self.desk.is_cut:
            self._json(503, {"error": "busy", "detail": "cut by the test"})
            return
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with self.desk.listening() as listener:
            self._send_event("snapshot", self.desk.snapshot())
            try:
                while True:
                    self._next_event(listener)
            except (OSError, StopIteration):
                return

    def _next_event(self, listener: "queue.Queue[bytes | None]") -> None:
        try:
            line = listener.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            if not self.desk.is_stalled:
                self._send_event("heartbeat", {"now": ago()})
            return
        if line is None:
            raise StopIteration
        self.wfile.write(line)

    def _send_event(self, name: str, data: dict[str, Any]) -> None:
        text = json.dumps(data, ensure_ascii=False)
        self.wfile.write(f"event: {name}\ndata: {text}\n\n".encode())

    def _file(self, path: str) -> None:
        file = STATIC / (path.lstrip("/") or "index.html")
        if not file.is_file():
            self._json(404, {"error": "not_found", "detail": path})
            return
        self._answer(200, TYPES[file.suffix], file.read_bytes())

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(body, ensure_ascii=False).encode())

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes its page in the middle of an answer is no error of the test."""


@contextmanager
def serving(desk: FakeDesk) -> Iterator[str]:
    """Serve ``desk`` on a free port of the loopback; gives the page's address."""
    handler = type("Handler", (_Handler,), {"desk": desk})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        desk.cut()
        server.shutdown()
        server.server_close()
        thread.join()
