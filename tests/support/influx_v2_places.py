"""A stand-in for what a 2.x server keeps of places: organisations, buckets, names, tasks.

It also notes which queries and deletions it was asked for.

No package of a real 2.x server is at hand; paths, fields and answers follow the documentation of
InfluxDB 2.7's API. That the task's Flux means what it should is not shown by it.
"""

import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

TOKEN = "an-administrator-of-tests"  # noqa: S105 - opens nothing
ORG = {"id": "00000000000000aa", "name": "police"}
LISTS = {"buckets": "buckets", "dbrps": "content", "tasks": "tasks"}
FILTERS = {"name": "name", "db": "database", "rp": "retention_policy"}


class InfluxV2Places:
    """Keeps what was made; ``kept`` by kind."""

    def __init__(self, version: str = "v2.7.12") -> None:
        self.version = version
        self.kept: dict[str, list[dict[str, Any]]] = {kind: [] for kind in LISTS}
        self.deleted: list[dict[str, Any]] = []
        self.writes: list[tuple[str, str]] = []
        self.asked: list[dict[str, str]] = []  # in InfluxQL
        self.answers: list[list[Any]] = []  # the rows that each of them finds
        self._numbers = itertools.count(1)
        places = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                status, answer = places.answer(
                    self.command, self.path, self.headers.get("Authorization"), body
                )
                content = json.dumps(answer).encode() if answer is not None else b""
                self.send_response(status)
                self.send_header("X-Influxdb-Version", places.version)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(  # noqa: PLR0911 - a table of answers
        self, method: str, path: str, authorization: str | None, body: dict[str, Any]
    ) -> tuple[int, Any]:
        """Status and document for one request."""
        parts = urlsplit(path)
        given = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/ping":
            return 204, None
        if authorization != f"Token {TOKEN}":
            return 401, {"code": "unauthorized", "message": "unauthorized access"}
        if parts.path == "/api/v2/orgs":
            return 200, {"orgs": [ORG] if given.get("org") == ORG["name"] else []}
        if parts.path == "/api/v2/delete":
            self.deleted.append({**given, **body})
            return 204, None
        if parts.path == "/query":
            return 200, {"results": [self._query(given)]}
        found = re.fullmatch(r"/api/v2/(buckets|dbrps|tasks)(?:/(\w+))?", parts.path)
        if found is None:
            return 404, {"code": "not found", "message": "path not found"}
        kind, own_id = found.groups()
        if method == "GET":
            return self._list(kind, given)
        self.writes.append((method, parts.path))
        if method == "POST":
            return 201, self._make(kind, body)
        entry = next(each for each in self.kept[kind] if each["id"] == own_id)
        entry.update(body)
        return 200, entry

    def _query(self, given: dict[str, str]) -> dict[str, Any]:
        """InfluxQL reads a bucket by its mapping, and without one by its own name."""
        databases = {each["database"] for each in self.kept["dbrps"]}
        databases |= {each["name"].partition("/")[0] for each in self.kept["buckets"]}
        if given["db"] not in databases:
            return {"statement_id": 0, "error": f"database not found: {given['db']}"}
        self.asked.append(given)
        columns = re.findall(r'"(\w+)"', given["q"].partition(" FROM ")[0])
        series = {"name": "emergency", "columns": ["time", *columns], "values": self.answers}
        return {"statement_id": 0, "series": [series] if self.answers else []}

    def _list(self, kind: str, given: dict[str, str]) -> tuple[int, Any]:
        wanted = {FILTERS[key]: value for key, value in given.items() if key in FILTERS}
        listed = [each for each in self.kept[kind] if wanted.items() <= each.items()]
        if kind == "buckets" and wanted and not listed:
            return 404, {"code": "not found", "message": f"bucket {given['name']!r} not found"}
        return 200, {LISTS[kind]: listed}

    def _make(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        assert body["orgID"] == ORG["id"]
        entry = {"id": f"{next(self._numbers):016x}", **body}
        if kind == "tasks":
            name = re.search(r'name: "([^"]+)"', body["flux"])
            assert name is not None
            entry["name"] = name[1]
        self.kept[kind].append(entry)
        return entry

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
