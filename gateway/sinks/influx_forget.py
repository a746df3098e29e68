"""Deletes from the time series what some teams' positions may not be kept for so long.

Where somebody was is in two measurements: the positions, and the present states with the last one.
What was written while an emergency of the team went on is spared, as in the desk's history; which
ones there were, the series itself says. A thinned position carries the beginning of its minute, so
an emergency counts from the beginning of the minute in which it was raised.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import httpx

from gateway.errors import SinkError
from gateway.model.quantities import NS_PER_S, Instant
from gateway.settings import InfluxSettings, Loaded
from gateway.sinks.influx_setup import Admin, client_of, version_of
from gateway.sinks.influx_steps import ALARMS, MINUTES, Step, ask, organisation_of, time_text
from gateway.sinks.line_protocol import LAST_NS

MEASUREMENTS = ("position", "radio_status")
MINUTE_NS = 60 * NS_PER_S


class Span(NamedTuple):
    """From ``first`` to ``last`` nanosecond, both within."""

    first: int
    last: int


def forget(loaded: Loaded, admin: Admin, keep_s: Mapping[str, float], now: Instant) -> list[Step]:
    """Delete positions of teams older than their ``keep_s``, but for those of emergencies.

    Raises SinkError where the server cannot be asked or refuses.
    """
    settings = loaded.settings.influx
    steps = []
    with client_of(settings, admin) as client:
        version = version_of(client, "delete with the server's own means")
        delete = (
            partial(_delete_v1, client, settings)
            if version.startswith("1.")
            else partial(_delete_v2, client, settings, organisation_of(client, settings))
        )
        for team, seconds in sorted(keep_s.items()):
            spared = emergencies(client, settings, team, version)
            for span in between(spared, now - round(seconds * NS_PER_S)):
                delete(team, span)
            detail = f"kept {time_text(seconds)}"
            if spared:
                detail += f", those of emergencies longer ({len(spared)})"
            steps.append(Step(what=f"positions of team {team}", state="changed", detail=detail))
    return steps


def emergencies(
    client: httpx.Client, settings: InfluxSettings, team: str, version: str
) -> list[Span]:
    """When a team had an emergency; one that nobody has closed goes on."""
    raised_at: dict[str, int] = {}
    closed_at: dict[str, int] = {}
    for source in _sources(settings, version):
        query = (
            f'SELECT "emergency_id", "event", "close_s" FROM {source} WHERE "team" = \'{team}\''  # noqa: S608 - a team is a slug
            " AND (\"event\" = 'raised' OR \"event\" = 'closed')"
        )
        for at, own_id, event, close_s in _answer(client, settings, "GET", query):
            if event == "raised":
                raised_at[own_id] = at
            else:  # the alarm may have gone before its closing
                closed_at[own_id] = at
                raised_at.setdefault(own_id, at - round((close_s or 0.0) * NS_PER_S))
    return [
        Span(at // MINUTE_NS * MINUTE_NS, closed_at.get(own_id, LAST_NS))
        for own_id, at in raised_at.items()
    ]


def between(spared: Iterable[Span], before_ns: int) -> list[Span]:
    """What lies before a moment and in none of the spared spans."""
    gaps: list[Span] = []
    first = 0
    for span in [*sorted(spared), Span(before_ns, before_ns)]:
        gaps.append(Span(first, min(span.first, before_ns) - 1))
        first = max(first, span.last + 1)
    return [gap for gap in gaps if gap.first <= gap.last]


def _sources(settings: InfluxSettings, version: str) -> list[str]:
    """Where alarms are: beside the rest, and where they are kept longer."""
    policies = [settings.retention_policy]
    if settings.alarms_to:  # a bucket has a name of its own in InfluxQL, see ``influx setup``
        names_policy = settings.api == "1" or version.startswith("1.")
        policies.append(settings.alarms_to if names_policy else ALARMS)
    return [f'"{policy}"."emergency"' if policy else '"emergency"' for policy in policies]


def _delete_v1(client: httpx.Client, settings: InfluxSettings, team: str, span: Span) -> None:
    for measurement in MEASUREMENTS:
        query = (
            f'DELETE FROM "{measurement}" WHERE "team" = \'{team}\''  # noqa: S608 - a team is a slug
            f" AND time >= {span.first} AND time <= {span.last}"
        )
        _answer(client, settings, "POST", query)


def _delete_v2(
    client: httpx.Client, settings: InfluxSettings, org_id: str, team: str, span: Span
) -> None:
    for bucket in (settings.database, f"{settings.database}/{MINUTES}"):
        for measurement in MEASUREMENTS:
            asked = {
                "start": _text(span.first),
                "stop": _text(span.last),
                "predicate": f'_measurement="{measurement}" AND team="{team}"',
            }
            params = {"orgID": org_id, "bucket": bucket}
            answer = ask(client, "POST", "/api/v2/delete", params=params, json=asked)
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise SinkError(f"influxdb {settings.url}: there is no bucket {bucket!r}")


def _answer(
    client: httpx.Client, settings: InfluxSettings, method: str, query: str
) -> list[list[Any]]:
    """The values of one InfluxQL statement, times in nanoseconds; raises SinkError."""
    params = {"db": settings.database, "epoch": "ns", "q": query}
    answer = ask(client, method, "/query", params=params)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise SinkError(f"influxdb {settings.url}: /query: 404: {answer.text.strip()[:200]}")
    result = answer.json()["results"][0]
    if "error" in result:
        raise SinkError(f"influxdb {settings.url}: {result['error']}")
    return [values for series in result.get("series", ()) for values in series["values"]]


def _text(at_ns: int) -> str:
    """RFC 3339 to the nanosecond."""
    seconds, ns = divmod(at_ns, NS_PER_S)
    return f"{Instant(seconds * NS_PER_S).text().partition('.')[0]}.{ns:09d}Z"
