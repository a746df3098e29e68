"""Deletes from the time series what some teams' positions may not be kept for so long."""

from collections.abc import Mapping

import httpx

from gateway.errors import ConfigError, SinkError
from gateway.model.quantities import NS_PER_S, Instant
from gateway.settings import InfluxSettings, Loaded
from gateway.sinks.influx_setup import Admin, client_of, version_of
from gateway.sinks.influx_steps import MINUTES, Step, ask, time_text

FIRST = "1970-01-01T00:00:00Z"


def forget(loaded: Loaded, admin: Admin, keep_s: Mapping[str, float], now: Instant) -> list[Step]:
    """Delete positions of teams older than their ``keep_s``; thinned ones too, alarms never.

    Raises SinkError where the server cannot be asked or refuses.
    """
    settings = loaded.settings.influx
    steps = []
    with client_of(settings, admin) as client:
        version = version_of(client)
        for team, seconds in sorted(keep_s.items()):
            before = Instant(now - round(seconds * NS_PER_S))
            if version.startswith("1."):
                _forget_v1(client, settings, team, before)
            elif version.startswith("2."):
                _forget_v2(client, settings, team, before)
            else:
                raise ConfigError(f"influxdb {settings.url}: version {version} deletes nothing")
            what = f"positions of team {team}"
            steps.append(Step(what=what, state="changed", detail=f"kept {time_text(seconds)}"))
    return steps


def _forget_v1(client: httpx.Client, settings: InfluxSettings, team: str, before: Instant) -> None:
    query = f'DELETE FROM "position" WHERE "team" = \'{team}\' AND time < {int(before)}'  # noqa: S608 - a team is a slug
    answer = ask(client, "POST", "/query", params={"db": settings.database}, data={"q": query})
    result = answer.json()["results"][0]
    if "error" in result:
        raise SinkError(f"influxdb {settings.url}: {result['error']}")


def _forget_v2(client: httpx.Client, settings: InfluxSettings, team: str, before: Instant) -> None:
    for bucket in (settings.database, f"{settings.database}/{MINUTES}"):
        asked = {
            "start": FIRST,
            "stop": before.text(),
            "predicate": f'_measurement="position" AND team="{team}"',
        }
        params = {"org": settings.org, "bucket": bucket}
        answer = ask(client, "POST", "/api/v2/delete", params=params, json=asked)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise SinkError(f"influxdb {settings.url}: there is no bucket {bucket!r}")
