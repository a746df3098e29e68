"""Dashboards and alerts for a Grafana that one may only reach over HTTP, by address and token.

Whoever can mount files mounts ``dashboards/grafana`` instead (docs/grafana.md). What is pushed is
the same: the files of this package, with the site's own map put in. Pushing twice changes nothing;
what others have made in that Grafana is left alone, its notification policy too.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.errors import ConfigError, GatewayError
from gateway.reasons import reason

FOLDERS = {"zh": ("pdt", "PDT 指挥"), "en": ("pdt-en", "PDT (English)")}
SOURCE_UID = "pdt-influxql"
CONTACT = "pdt"
TIMEOUT_S = 15.0
NOT_FOUND = 404

State = Literal["created", "updated", "same", "kept"]


class GrafanaError(GatewayError):
    """Grafana is away, or does not do what it was asked."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What its maps show and its clock; what is not given stays as it is in the files.

    ``tiles`` is the address of a local map server ({z}, {x}, {y}), ``town`` that of a GeoJSON file.
    Times are shown and hours counted in ``zone``, wherever the browser is.
    """

    lat_deg: float | None = None
    lon_deg: float | None = None
    zoom: float | None = None
    tiles: str = ""
    town: str = ""
    zone: str = ""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """How Grafana reaches the time series: by name and password, or by token (2.x, 3.x)."""

    url: str
    database: str = "pdt"
    user: str = ""
    password: str = ""
    token: str = ""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be there afterwards; no ``source`` and no ``alert_url``: those are left alone."""

    site: Site = Site()
    source: Source | None = None
    alert_url: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing, and what was done about it."""

    what: str
    state: State
    detail: str = ""


# Files.


def folder() -> Path:
    """Where the dashboards are: in the installed package, or in the repository."""
    installed = Path(__file__).parent / "grafana_files"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "dashboards/grafana"


def dashboards(site: Site) -> dict[str, list[dict[str, Any]]]:
    """The dashboards of each language with what is of the site."""
    found = {
        lang: [_read(path) for path in sorted((folder() / "dashboards" / lang).glob("*.json"))]
        for lang in FOLDERS
    }
    for dashboard in (each for some in found.values() for each in some):
        if site.zone:
            dashboard["timezone"] = site.zone
        for panel in dashboard["panels"]:
            if panel["type"] == "geomap":
                _put_map(panel["options"], site)
    return found


def write(site: Site, into: Path) -> list[Path]:
    """Write the dashboards for file provisioning; returns what was written."""
    written = []
    for lang, some in dashboards(site).items():
        for dashboard in some:
            path = into / lang / f"{dashboard['uid']}.json"
            text = json.dumps(dashboard, ensure_ascii=False, indent=1, sort_keys=True)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text + "\n", encoding="utf-8")
            except OSError as error:
                raise ConfigError(
                    f"{into}: no dashboards can be written there ({error.strerror}); "
                    "name a folder that you may write"
                ) from None
            written.append(path)
    return written


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _put_map(options: dict[str, Any], site: Site) -> None:
    given = {"lat": site.lat_deg, "lon": site.lon_deg, "zoom": site.zoom}
    options["view"].update({name: value for name, value in given.items() if value is not None})
    if site.tiles:
        options["basemap"]["config"]["url"] = site.tiles
    if site.town:
        options["layers"][0]["config"]["src"] = site.town


# Pushing.


def connect(url: str, token: str) -> Any:
    """The client for an address and a token; raises ConfigError for what cannot be one."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{url}: not an address; one looks like https://grafana.example:3000")
    if parts.username or parts.password:
        raise ConfigError("--url: no name or password in the address; put a token into a file")
    if not token:
        raise ConfigError("the token file is empty; make a service account token in Grafana")
    try:
        import niquests  # noqa: PLC0415 - an optional package
        from grafana_client import GrafanaApi  # noqa: PLC0415 - as above
    except ImportError:
        raise ConfigError(
            "grafana-client is not installed; in an environment of its own: "
            "pip install 'pdt-gateway[grafana]' (docs/dependencies.md says why)"
        ) from None
    path = parts.path.rstrip("/")
    base = f"{parts.scheme}://{parts.netloc}{path}{'/' if path else ''}"
    api = GrafanaApi.from_url(base, credential=token, timeout=TIMEOUT_S)
    api.client.s.trust_env = False  # no proxy and no .netrc of the environment
    api.client.s.max_redirects = 0  # a token goes to the address that was given
    return Calls(api, base, token, niquests.exceptions.RequestException)


class Calls:
    """The client's calls, with its failures said in words that help; never with the token."""

    def __init__(self, api: Any, base: str, token: str, no_answer: type[Exception]) -> None:
        self.api = api
        self._base = base
        self._token = token
        self._no_answer = no_answer

    def do(self, what: str, call: Callable[[], Any]) -> Any:
        """Call; raises GrafanaError."""
        from grafana_client.client import GrafanaException  # noqa: PLC0415 - an optional package

        try:
            return call()
        except GrafanaException as error:
            raise GrafanaError(self._why(what, error.status_code, str(error.message))) from None
        except (self._no_answer, OSError, ValueError) as error:
            why = f"no answer: {reason(error)}; is Grafana running there, and is --url right?"
            raise GrafanaError(self._clean(f"{self._base}: {why}")) from None

    def get(self, what: str, call: Callable[[], Any]) -> Any:
        """The same; None where there is no such thing."""
        from grafana_client.client import GrafanaClientError  # noqa: PLC0415 - as above

        def or_none() -> Any:
            try:
                return call()
            except GrafanaClientError as error:
                if error.status_code == NOT_FOUND:
                    return None
                raise

        return self.do(what, or_none)

    def _why(self, what: str, status: int, message: str) -> str:
        hint = {
            0: "no answer in time",
            401: "the token is not accepted; make a new service account token",
            403: "the token may not do this; give its service account the role Admin, or the "
            "rights to write folders, data sources, dashboards and alert provisioning",
            404: "not there; is the address that of Grafana, with its path?",
        }.get(status, "Grafana refused it")
        return self._clean(f"{self._base}: {what}: {hint} ({status or 'timeout'}: {message[:300]})")

    def _clean(self, text: str) -> str:
        return text.replace(self._token, "…")


def push(calls: Calls, wanted: Wanted, *, dry_run: bool) -> Iterator[Step]:
    """Make it so, step by step; ``dry_run`` asks only, and says what would be done."""
    api = calls.api
    health = calls.do("health", lambda: api.client.GET("/health"))
    if not isinstance(health, Mapping) or "version" not in health:
        raise GrafanaError(f"{calls._base}: something answers there, but it is not Grafana")  # noqa: SLF001
    for uid, title in FOLDERS.values():
        yield _folder(calls, uid, title, dry_run=dry_run)
    yield _source(calls, wanted.source, dry_run=dry_run)
    for lang, some in dashboards(wanted.site).items():
        for dashboard in some:
            yield _dashboard(calls, dashboard, FOLDERS[lang][0], dry_run=dry_run)
    if wanted.alert_url:
        yield _contact(calls, wanted.alert_url, dry_run=dry_run)
    yield _rules(calls, told=bool(wanted.alert_url), dry_run=dry_run)


def _folder(calls: Calls, uid: str, title: str, *, dry_run: bool) -> Step:
    api, what = calls.api, f"folder {title}"
    there = calls.get(what, lambda: api.folder.get_folder(uid))
    if there is not None:
        return Step(what=what, state="same")
    if not dry_run:
        calls.do(what, lambda: api.folder.create_folder(title, uid))
    return Step(what=what, state="created")


def _source(calls: Calls, source: Source | None, *, dry_run: bool) -> Step:
    api, what = calls.api, f"data source {SOURCE_UID}"
    there = calls.get(what, lambda: api.datasource.get_datasource_by_uid(SOURCE_UID))
    if source is None:
        if there is None:
            raise ConfigError(
                f"{what} is not there yet; say where the time series is: --influx-url"
            )
        return Step(what=what, state="kept")
    if there is not None and there.get("readOnly"):
        return Step(what=what, state="kept", detail="comes from a file on the server")
    body = _source_body(source)
    if there is None:
        if not dry_run:
            calls.do(what, lambda: api.datasource.create_datasource(body))
        return Step(what=what, state="created")
    same = _covers(there, {k: v for k, v in body.items() if k != "secureJsonData"})
    if not dry_run:
        calls.do(what, lambda: api.datasource.update_datasource_by_uid(SOURCE_UID, body))
    return Step(
        what=what, state="same" if same else "updated", detail="its secret is written each time"
    )


def _source_body(source: Source) -> dict[str, Any]:
    settings: dict[str, Any] = {"dbName": source.database, "httpMode": "POST"}
    secrets: dict[str, str] = {}
    if source.token:
        settings["httpHeaderName1"] = "Authorization"
        secrets["httpHeaderValue1"] = f"Token {source.token}"
    if source.password:
        secrets["password"] = source.password
    return {
        "uid": SOURCE_UID,
        "name": "pdt",
        "type": "influxdb",
        "access": "proxy",
        "url": source.url,
        "user": source.user,
        "jsonData": settings,
        "secureJsonData": secrets,
    }


def _dashboard(calls: Calls, dashboard: dict[str, Any], place: str, *, dry_run: bool) -> Step:
    api, uid = calls.api, dashboard["uid"]
    what = f"dashboard {uid}"
    there = calls.get(what, lambda: api.dashboard.get_dashboard(uid))
    if there is not None:
        if there["meta"].get("provisioned"):
            return Step(what=what, state="kept", detail="comes from a file on the server")
        own = {k: v for k, v in there["dashboard"].items() if k not in {"id", "version"}}
        if own == dashboard and there["meta"].get("folderUid") == place:
            return Step(what=what, state="same")
    if not dry_run:
        body = {
            "dashboard": {**dashboard, "id": None},
            "folderUid": place,
            "overwrite": True,
            "message": "pdt-gateway grafana push",
        }
        calls.do(what, lambda: api.dashboard.update_dashboard(body))
    return Step(what=what, state="created" if there is None else "updated")


def _contact(calls: Calls, url: str, *, dry_run: bool) -> Step:
    api, what = calls.api.alertingprovisioning, f"contact point {CONTACT}"
    there = calls.do(what, lambda: api.get_contactpoints(CONTACT))
    uid = "pdt-webhook"
    body = {
        "uid": uid,
        "name": CONTACT,
        "type": "webhook",
        "settings": {"url": url, "httpMethod": "POST"},
        "disableResolveMessage": False,
    }
    mine = next((each for each in there or () if each.get("uid") == uid), None)
    if mine is not None and _covers(mine, body):
        return Step(what=what, state="same")
    if not dry_run:
        if mine is None:
            calls.do(what, lambda: api.create_contactpoint(body))
        else:
            calls.do(what, lambda: api.update_contactpoint(uid, body))
    return Step(what=what, state="created" if mine is None else "updated")


def _rules(calls: Calls, *, told: bool, dry_run: bool) -> Step:
    api = calls.api.alertingprovisioning
    group = rule_group(told=told)
    what = f"alert rules {group['title']}"
    ids = (group["folderUid"], group["title"])
    there = calls.get(what, lambda: api.get_rule_group(*ids))
    if there is not None and _covers(there, group):
        return Step(what=what, state="same")
    if not dry_run:
        calls.do(what, lambda: api.update_rule_group(*ids, group))
    return Step(
        what=what,
        state="created" if there is None else "updated",
        detail="" if told else "told to whom Grafana's own policy says; --alert-url-file names one",
    )


def rule_group(*, told: bool) -> dict[str, Any]:
    """The provisioned rules in the shape of the HTTP API; ``told``: straight to our contact point.

    The notification policy is one tree for all of a Grafana, so it is not touched: a rule says
    itself who hears of it.
    """
    (group,) = _read(folder() / "provisioning" / "alerting" / "rules.json")["groups"]
    uid = FOLDERS["zh"][0]
    rules = []
    for rule in group["rules"]:
        urgent = rule["labels"]["severity"] == "critical"
        settings = {
            "receiver": CONTACT,
            "group_by": ["grafana_folder", "alertname", "site", "unit", "radio", "link"],
            "group_wait": "1s" if urgent else "30s",
            "group_interval": "10s" if urgent else "1m",
            "repeat_interval": "5m" if urgent else "4h",
        }
        more: dict[str, Any] = {"notification_settings": settings} if told else {}
        place = {"orgID": 1, "folderUID": uid, "ruleGroup": group["name"]}
        rules.append({**rule, **place, **more})
    seconds = int(group["interval"].removesuffix("s"))
    return {"title": group["name"], "folderUid": uid, "interval": seconds, "rules": rules}


def _covers(there: Any, wanted: Any) -> bool:
    """What is wanted is there; what Grafana adds of its own does not matter."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            name in there and _covers(there[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(_covers(a, b) for a, b in zip(there, wanted, strict=True))
        )
    return bool(there == wanted)
