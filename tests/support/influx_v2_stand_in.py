"""A stand-in for ``/api/v2/write`` that gives the answers which a real 2.x server gives seldom.

Pauses, overload, and whatever else a test wants to hear; paths, codes and texts are those of the
documentation. What a server makes of the lines is tested with real ones: ``support.influxdb``.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.influxdb import ORG, TOKEN


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    code: str = ""
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class InfluxV2StandIn:
    """Keeps every line it took; ``judge`` may answer otherwise for a body."""

    def __init__(self, judge: Callable[[list[str]], Answer | None] = lambda _lines: None) -> None:
        self.lines: list[str] = []
        self.requests = 0
        self._judge = judge
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body go in two pieces

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = stand_in._answer(self.path, self.headers["Authorization"], body)
                content = b""
                if answer.status != 204:
                    content = json.dumps({"code": answer.code, "message": answer.message}).encode()
                self.send_response(answer.status)
                for key, value in answer.headers:
                    self.send_header(key, value)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, path: str, authorization: str | None, body: bytes) -> Answer:
        self.requests += 1
        parts = urlsplit(path)
        given = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path != "/api/v2/write":
            return Answer(404, "not found", "path not found")
        if authorization != f"Token {TOKEN}":
            return Answer(401, "unauthorized", "unauthorized access")
        if given.get("org") != ORG or given.get("bucket") != "pdt":
            return Answer(404, "not found", f'bucket "{given.get("bucket")}" not found')
        if given.get("precision") != "ns":
            return Answer(400, "invalid", "the test expects nanoseconds")
        lines = body.decode().splitlines()
        answer = self._judge(lines)
        if answer is not None:
            return answer
        self.lines += lines
        return Answer(204)

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
