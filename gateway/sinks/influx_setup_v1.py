"""Database, retention policies and the continuous query of a 1.x server."""

import re
from typing import Any, NamedTuple

import httpx

from gateway.errors import SinkError
from gateway.settings import InfluxSettings
from gateway.sinks.influx_steps import (
    ALARMS,
    MINUTES,
    THIN_BACK,
    THIN_EVERY,
    THINNED,
    USUAL_POLICY,
    Step,
    StepState,
    ask,
    time_text,
)

_DURATION = re.compile(r"(\d+)(ns|u|µs|ms|s|m|h|d|w)")
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


class Policy(NamedTuple):
    """A retention policy as the server has it; 0 seconds is for ever."""

    name: str
    seconds: int
    is_default: bool


def set_up_v1(client: httpx.Client, settings: InfluxSettings, *, may_change: bool) -> list[Step]:
    """See ``influx_setup.set_up``."""
    database = settings.database
    steps = [_database(client, settings)]
    policies = {policy.name: policy for policy in _policies(client, database)}
    usual = next((name for name, each in policies.items() if each.is_default), "")
    fixes = settings.retention_policy or usual or USUAL_POLICY
    for name, keep_s in (
        (fixes, settings.keep_fixes_s),
        (MINUTES, settings.keep_minutes_s),
        (settings.alarms_to or ALARMS, settings.keep_alarms_s),
    ):
        found = policies.get(name)
        steps.append(_policy(client, database, name, round(keep_s), found, may_change=may_change))
    steps.append(_default(client, database, fixes, usual, may_change=may_change))
    steps.append(_thinning(client, database, fixes, may_change=may_change))
    return steps


def continuous_query(database: str, fixes: str) -> str:
    """The last position of every minute, from the full positions to the thinned ones."""
    fields = ", ".join(f"last({_name(field)}) AS {_name(field)}" for field in THINNED)
    base = _name(database)
    return (  # identifiers are quoted, the rest is ours
        f"CREATE CONTINUOUS QUERY {_name(_query_name(database))} ON {base} "  # noqa: S608
        f"RESAMPLE EVERY {THIN_EVERY} FOR {THIN_BACK} BEGIN "
        f'SELECT {fields} INTO {base}.{_name(MINUTES)}."position" '
        f'FROM {base}.{_name(fixes)}."position" GROUP BY time(1m), * END'
    )


def _database(client: httpx.Client, settings: InfluxSettings) -> Step:
    name = settings.database
    what = f"database {name}"
    if name in {row["name"] for row in _rows(client, "SHOW DATABASES")}:
        return Step(what=what, state="there")
    policy = settings.retention_policy or USUAL_POLICY
    _rows(
        client,
        f"CREATE DATABASE {_name(name)} WITH DURATION {round(settings.keep_fixes_s)}s "
        f"REPLICATION 1 NAME {_name(policy)}",
    )
    return Step(what=what, state="made")


def _policies(client: httpx.Client, database: str) -> list[Policy]:
    return [
        Policy(str(row["name"]), _seconds(str(row["duration"])), bool(row["default"]))
        for row in _rows(client, f"SHOW RETENTION POLICIES ON {_name(database)}")
    ]


def _policy(
    client: httpx.Client,
    database: str,
    name: str,
    seconds: int,
    found: Policy | None,
    *,
    may_change: bool,
) -> Step:
    what, keep = f"retention policy {name}", time_text(seconds)
    clause = f"{_name(name)} ON {_name(database)} DURATION {seconds}s REPLICATION 1"
    if found is None:
        _rows(client, f"CREATE RETENTION POLICY {clause}")
        return Step(what=what, state="made", detail=keep)
    if found.seconds == seconds:
        return Step(what=what, state="there", detail=keep)
    if not may_change:
        detail = f"{time_text(found.seconds)}, wanted {keep}"
        return Step(what=what, state="differs", detail=detail)
    _rows(client, f"ALTER RETENTION POLICY {clause}")
    return Step(what=what, state="changed", detail=f"{time_text(found.seconds)} to {keep}")


def _default(
    client: httpx.Client, database: str, wanted: str, found: str, *, may_change: bool
) -> Step:
    """Queries that name no policy, those of the dashboards, ask the default one."""
    what = "default retention policy"
    if found == wanted:
        return Step(what=what, state="there", detail=wanted)
    if found and not may_change:
        detail = f"{found}, wanted {wanted}: dashboards would not see what the gateway writes"
        return Step(what=what, state="differs", detail=detail)
    _rows(client, f"ALTER RETENTION POLICY {_name(wanted)} ON {_name(database)} DEFAULT")
    if not found:
        return Step(what=what, state="made", detail=wanted)
    return Step(what=what, state="changed", detail=f"{found} to {wanted}")


def _thinning(client: httpx.Client, database: str, fixes: str, *, may_change: bool) -> Step:
    name = _query_name(database)
    what = f"continuous query {name}"
    wanted = continuous_query(database, fixes)
    state: StepState = "made"
    found = {
        str(row["name"]): str(row["query"])
        for series in _series(client, "SHOW CONTINUOUS QUERIES")
        if series["name"] == database
        for row in _dicts(series)
    }
    if name in found:
        if _bare(found[name]) == _bare(wanted):
            return Step(what=what, state="there")
        if not may_change:
            return Step(what=what, state="differs", detail=found[name])
        _rows(client, f"DROP CONTINUOUS QUERY {_name(name)} ON {_name(database)}")
        state = "changed"
    _rows(client, wanted)
    return Step(what=what, state=state, detail=f"every {THIN_EVERY}, {THIN_BACK} back")


def _query_name(database: str) -> str:
    return f"{database}_{MINUTES}"


def _bare(query: str) -> str:
    """Without what the server writes in its own way."""
    return re.sub(r'[\s"]+', "", query).lower()


def _rows(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    return [row for series in _series(client, query) for row in _dicts(series)]


def _dicts(series: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        dict(zip(series["columns"], values, strict=True)) for values in series.get("values", ())
    ]


def _series(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    """Run one statement; raises SinkError with the server's words."""
    answer = ask(client, "POST", "/query", data={"q": query})
    result: dict[str, Any] = answer.json()["results"][0]
    if "error" in result:
        raise SinkError(f"influxdb {client.base_url}: {result['error']}: {query}")
    found: list[dict[str, Any]] = result.get("series", [])
    return found


def _seconds(duration: str) -> int:
    """The server's ``672h0m0s``; 0 is for ever."""
    return sum(int(n) * _SECONDS.get(unit, 0) for n, unit in _DURATION.findall(duration))


def _name(text: str) -> str:
    """An identifier in quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
