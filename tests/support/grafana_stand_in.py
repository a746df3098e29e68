"""A stand-in for Grafana's HTTP API, written from its documentation; see tests/support/grafana.py.

It keeps folders, data sources, dashboards, contact points and rule groups, answers with the
documented codes and bodies, and refuses what the documentation says is refused. It draws nothing.
"""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

Json = Any
TOKEN = "glsa_stand_in_0123456789"  # noqa: S105 - of the stand-in
RULE_KEYS = {
    "orgID", "folderUID", "ruleGroup", "title", "condition", "data", "noDataState",
    "execErrState", "for",
}  # fmt: skip


class Answer(NamedTuple):
    status: int
    body: Json


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"message": message})


class GrafanaStandIn:
    """One server under ``/grafana/``; stopped at the end of the ``with`` block."""

    def __init__(self) -> None:
        self.folders: dict[str, Json] = {}
        self.sources: dict[str, Json] = {}
        self.secrets: dict[str, Json] = {}
        self.dashboards: dict[str, Json] = {}
        self.contacts: dict[str, Json] = {}
        self.groups: dict[tuple[str, str], Json] = {}
        self.policies: Json = {"receiver": "the site's own"}
        self.forbidden = ""  # a path that the token may not write to
        self.moved_to = ""
        self.calls: list[tuple[str, str]] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve("GET")

            def do_POST(self) -> None:
                self._serve("POST")

            def do_PUT(self) -> None:
                self._serve("PUT")

            def _serve(self, method: str) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                if stand_in.moved_to:
                    self.send_response(302)
                    self.send_header("Location", stand_in.moved_to)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                answer = stand_in.answer(method, self.path, self.headers["Authorization"], body)
                sent = json.dumps(answer.body).encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/grafana"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def writes(self) -> list[tuple[str, str]]:
        """What was asked to change."""
        return [call for call in self.calls if call[0] != "GET"]

    def answer(self, method: str, target: str, authorization: str | None, body: Json) -> Answer:
        parts = urlsplit(target)
        path = unquote(parts.path)
        if not path.startswith("/grafana/api/"):
            return Answer(404, {"message": "Not found"})
        path = path.removeprefix("/grafana/api")
        self.calls.append((method, path))
        if path == "/health":
            return Answer(200, {"database": "ok", "version": "12.0.2"})
        if authorization != f"Bearer {TOKEN}":
            return Answer(401, {"message": "Invalid API key"})
        if self.forbidden and method != "GET" and path.startswith(self.forbidden):
            return Answer(403, {"message": "You'll need additional permissions"})
        try:
            return self._route(method, path, body, parse_qs(parts.query))
        except Refusal as refusal:
            return refusal.answer

    def _route(self, method: str, path: str, body: Json, query: Json) -> Answer:
        for verb, pattern, handle in self._routes():
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                return handle(body, query, *found.groups())
        raise Refusal(404, "Not found")

    def _routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        provisioning = "/v1/provisioning"
        return [
            ("GET", "/folders/([^/]+)", self._get_folder),
            ("POST", "/folders", self._post_folder),
            ("GET", "/datasources/uid/([^/]+)", self._get_source),
            ("POST", "/datasources", self._post_source),
            ("PUT", "/datasources/uid/([^/]+)", self._put_source),
            ("GET", "/dashboards/uid/([^/]+)", self._get_dashboard),
            ("POST", "/dashboards/db", self._post_dashboard),
            ("GET", f"{provisioning}/contact-points", self._get_contacts),
            ("POST", f"{provisioning}/contact-points", self._post_contact),
            ("PUT", f"{provisioning}/contact-points/([^/]+)", self._put_contact),
            ("GET", f"{provisioning}/folder/([^/]+)/rule-groups/([^/]+)", self._get_group),
            ("PUT", f"{provisioning}/folder/([^/]+)/rule-groups/([^/]+)", self._put_group),
        ]

    # Folders and data sources.

    def _get_folder(self, _body: Json, _query: Json, uid: str) -> Answer:
        return _found(self.folders, uid, "folder not found")

    def _post_folder(self, body: Json, _query: Json) -> Answer:
        if body["uid"] in self.folders:
            raise Refusal(412, "The folder has been changed by someone else")
        self.folders[body["uid"]] = {**body, "id": len(self.folders) + 1, "version": 1}
        return Answer(200, self.folders[body["uid"]])

    def _get_source(self, _body: Json, _query: Json, uid: str) -> Answer:
        return _found(self.sources, uid, "Data source not found")

    def _post_source(self, body: Json, _query: Json) -> Answer:
        if any(each["name"] == body["name"] for each in self.sources.values()):
            raise Refusal(409, "data source with the same name already exists")
        return self._keep_source(body["uid"], body)

    def _put_source(self, body: Json, _query: Json, uid: str) -> Answer:
        if uid not in self.sources:
            raise Refusal(404, "Data source not found")
        return self._keep_source(uid, body)

    def _keep_source(self, uid: str, body: Json) -> Answer:
        _wants(body, {"name", "type", "access", "url"})
        if self.sources.get(uid, {}).get("readOnly"):
            raise Refusal(403, "Cannot update read-only data source")
        shown = {k: v for k, v in body.items() if k != "secureJsonData"}
        self.secrets[uid] = body.get("secureJsonData", {})
        given = dict.fromkeys(self.secrets[uid], True)
        self.sources[uid] = {**shown, "id": 1, "secureJsonFields": given, "readOnly": False}
        return Answer(200, {"datasource": self.sources[uid], "message": "Datasource added"})

    # Dashboards.

    def _get_dashboard(self, _body: Json, _query: Json, uid: str) -> Answer:
        return _found(self.dashboards, uid, "Dashboard not found")

    def _post_dashboard(self, body: Json, _query: Json) -> Answer:
        dashboard, place = body["dashboard"], body.get("folderUid", "")
        uid = dashboard["uid"]
        if place not in self.folders:
            raise Refusal(400, "folder not found")
        there = self.dashboards.get(uid)
        if there and there["meta"]["provisioned"]:
            raise Refusal(400, "Cannot save provisioned dashboard")
        if there and not body.get("overwrite"):
            raise Refusal(412, "A dashboard with the same uid already exists")
        version = there["dashboard"]["version"] + 1 if there else 1
        kept = {**dashboard, "id": 7, "version": version}
        meta = {"provisioned": False, "folderUid": place, "version": version}
        self.dashboards[uid] = {"dashboard": kept, "meta": meta}
        return Answer(200, {"uid": uid, "status": "success", "version": version, "id": 7})

    # Alerting.

    def _get_contacts(self, _body: Json, query: Json) -> Answer:
        name = query.get("name", [""])[0]
        return Answer(200, [c for c in self.contacts.values() if not name or c["name"] == name])

    def _post_contact(self, body: Json, _query: Json) -> Answer:
        _wants(body, {"name", "type", "settings"})
        if body["type"] == "webhook" and not body["settings"].get("url"):
            raise Refusal(400, "required field 'url' is not specified")
        self.contacts[body["uid"]] = {**body, "provenance": "api"}
        return Answer(202, self.contacts[body["uid"]])

    def _put_contact(self, body: Json, query: Json, uid: str) -> Answer:
        if uid not in self.contacts:
            raise Refusal(404, "contact point not found")
        self._post_contact({**body, "uid": uid}, query)
        return Answer(202, {"message": "contactpoint updated"})

    def _get_group(self, _body: Json, _query: Json, place: str, name: str) -> Answer:
        return _found(self.groups, (place, name), "rule group not found")

    def _put_group(self, body: Json, _query: Json, place: str, name: str) -> Answer:
        if place not in self.folders:
            raise Refusal(400, "folder not found")
        if not isinstance(body["interval"], int) or body["interval"] % 10:
            raise Refusal(400, "interval should be divided exactly by scheduler interval: 10s")
        for rule in body["rules"]:
            _wants(rule, RULE_KEYS)
            self._check_rule(rule)
        rules = [{**rule, "id": n, "provenance": "api"} for n, rule in enumerate(body["rules"])]
        self.groups[place, name] = {**body, "rules": rules}
        return Answer(200, self.groups[place, name])

    def _check_rule(self, rule: Json) -> None:
        refs = {part["refId"] for part in rule["data"]}
        if rule["condition"] not in refs:
            raise Refusal(400, "invalid alert rule: condition does not exist")
        told = rule.get("notification_settings", {}).get("receiver")
        if told and told not in {each["name"] for each in self.contacts.values()}:
            raise Refusal(400, f"receiver '{told}' does not exist")
        for part in rule["data"]:
            if part["datasourceUid"] not in {"__expr__", *self.sources}:
                raise Refusal(400, "data source not found")


def _found(things: dict[Any, Json], key: object, missing: str) -> Answer:
    return Answer(200, things[key]) if key in things else Answer(404, {"message": missing})


def _wants(body: Json, keys: set[str]) -> None:
    missing = keys - body.keys()
    if missing:
        raise Refusal(400, f"bad request data: {sorted(missing)} missing")
