"""Buckets, the names under which InfluxQL finds them, and the task of a 2.x server."""

from typing import Any

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
    organisation_of,
    time_text,
)


def set_up_v2(client: httpx.Client, settings: InfluxSettings, *, may_change: bool) -> list[Step]:
    """See ``influx_setup.set_up``.

    A bucket named ``pdt/alarms`` is retention policy ``alarms`` of database ``pdt`` to InfluxQL.
    """
    database = settings.database
    org_id = organisation_of(client, settings)
    is_v2 = settings.api == "2"  # otherwise alarms_to names the policy
    alarms = settings.alarms_to if is_v2 and settings.alarms_to else f"{database}/{ALARMS}"
    policy = settings.alarms_to if not is_v2 and settings.alarms_to else ALARMS
    usual = settings.retention_policy or USUAL_POLICY
    steps: list[Step] = []
    for bucket, rp, keep_s in (
        (database, usual, settings.keep_fixes_s),
        (f"{database}/{MINUTES}", MINUTES, settings.keep_minutes_s),
        (alarms, policy, settings.keep_alarms_s),
    ):
        step, bucket_id = _bucket(client, org_id, bucket, round(keep_s), may_change=may_change)
        steps.append(step)
        steps.append(_mapping(client, org_id, database, rp, bucket_id))
    steps.append(_default(client, org_id, database, usual, may_change=may_change))
    steps.append(_task(client, org_id, database, may_change=may_change))
    return steps


def flux_task(database: str) -> str:
    """The last position of every minute, from the full positions to the thinned ones."""
    fields = " or ".join(f'r._field == "{field}"' for field in THINNED)
    name = _text(_task_name(database))
    return (
        f"option task = {{name: {name}, every: {THIN_EVERY}, offset: 2m}}\n\n"
        f"from(bucket: {_text(database)})\n"
        f"    |> range(start: -{THIN_BACK})\n"
        '    |> filter(fn: (r) => r._measurement == "position")\n'
        f"    |> filter(fn: (r) => {fields})\n"
        '    |> aggregateWindow(every: 1m, fn: last, timeSrc: "_start", createEmpty: false)\n'
        f"    |> to(bucket: {_text(f'{database}/{MINUTES}')})\n"
    )


def _bucket(
    client: httpx.Client, org_id: str, name: str, seconds: int, *, may_change: bool
) -> tuple[Step, str]:
    what, wanted = f"bucket {name}", time_text(seconds)
    rules = [{"type": "expire", "everySeconds": seconds}]
    found = _listed(client, "/api/v2/buckets", "buckets", orgID=org_id, name=name)
    if not found:
        asked = {"orgID": org_id, "name": name, "retentionRules": rules}
        made = _done(ask(client, "POST", "/api/v2/buckets", json=asked))
        return Step(what=what, state="made", detail=wanted), str(made["id"])
    bucket_id = str(found[0]["id"])
    present = sum(int(rule.get("everySeconds", 0)) for rule in found[0].get("retentionRules", ()))
    if present == seconds:
        return Step(what=what, state="there", detail=wanted), bucket_id
    if not may_change:
        detail = f"{time_text(present)}, wanted {wanted}"
        return Step(what=what, state="differs", detail=detail), bucket_id
    path = f"/api/v2/buckets/{bucket_id}"
    _done(ask(client, "PATCH", path, json={"retentionRules": rules}))
    detail = f"{time_text(present)} to {wanted}"
    return Step(what=what, state="changed", detail=detail), bucket_id


def _mapping(client: httpx.Client, org_id: str, database: str, policy: str, bucket_id: str) -> Step:
    what = f"InfluxQL name {database}.{policy}"
    found = _listed(client, "/api/v2/dbrps", "content", orgID=org_id, db=database, rp=policy)
    if any(each["bucketID"] == bucket_id for each in found):
        return Step(what=what, state="there")
    asked = {
        "orgID": org_id,
        "database": database,
        "retention_policy": policy,
        "bucketID": bucket_id,
    }
    _done(ask(client, "POST", "/api/v2/dbrps", json=asked))
    return Step(what=what, state="made")


def _default(
    client: httpx.Client, org_id: str, database: str, policy: str, *, may_change: bool
) -> Step:
    """Queries that name no policy, those of the dashboards, ask the bucket of the default one."""
    what = f"default InfluxQL name of {database}"
    names = _listed(client, "/api/v2/dbrps", "content", orgID=org_id, db=database)
    (wanted,) = (each for each in names if each["retention_policy"] == policy)
    found = next((each for each in names if each["default"]), None)
    if found is not None and found["bucketID"] == wanted["bucketID"]:
        return Step(what=what, state="there", detail=str(found["retention_policy"]))
    before = found["retention_policy"] if found is not None else "none"
    if not may_change:
        detail = f"{before}, wanted {policy}: dashboards would not see what the gateway writes"
        return Step(what=what, state="differs", detail=detail)
    path, org = f"/api/v2/dbrps/{wanted['id']}", {"orgID": org_id}
    _done(ask(client, "PATCH", path, params=org, json={"default": True}))
    return Step(what=what, state="changed", detail=f"{before} to {policy}")


def _task(client: httpx.Client, org_id: str, database: str, *, may_change: bool) -> Step:
    name, wanted = _task_name(database), flux_task(database)
    what = f"task {name}"
    found = _listed(client, "/api/v2/tasks", "tasks", orgID=org_id, name=name)
    done: StepState = "made"
    if found:
        if found[0]["flux"].split() == wanted.split():
            return Step(what=what, state="there")
        if not may_change:
            return Step(what=what, state="differs", detail=found[0]["flux"])
        _done(ask(client, "PATCH", f"/api/v2/tasks/{found[0]['id']}", json={"flux": wanted}))
        done = "changed"
    else:
        asked = {"orgID": org_id, "flux": wanted, "status": "active"}
        _done(ask(client, "POST", "/api/v2/tasks", json=asked))
    return Step(what=what, state=done, detail=f"every {THIN_EVERY}, {THIN_BACK} back")


def _listed(client: httpx.Client, path: str, key: str, **params: str) -> list[dict[str, Any]]:
    """What a listing names; a server answers 404 to a name that is not there."""
    answer = ask(client, "GET", path, params=params)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return []
    found: list[dict[str, Any]] = answer.json().get(key) or []
    return found


def _done(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise SinkError(f"influxdb: {answer.request.url.path}: 404: there is no such path")
    made: dict[str, Any] = answer.json()
    return made


def _task_name(database: str) -> str:
    return f"{database} {MINUTES}"


def _text(name: str) -> str:
    """A string of Flux, in which ``${`` would begin an expression."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'
