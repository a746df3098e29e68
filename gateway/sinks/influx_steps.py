"""What both versions of the set-up are made of: names, one request, one step told."""

from typing import Any, Literal

import httpx
import msgspec

from gateway.errors import SinkError
from gateway.settings import InfluxSettings
from gateway.sinks.influx_answers import reason_of, unreached

MINUTES = "minutes"
ALARMS = "alarms"
USUAL_POLICY = "autogen"
THIN_EVERY, THIN_BACK = "30m", "6h"  # what comes later than six hours stays with the full positions
THINNED = (  # the last of each; a place comes with valid reports alone, so no fix_valid
    "lat", "lon", "lat_gcj", "lon_gcj", "altitude_m", "speed_mps", "course_deg", "accuracy_m",
    "satellites", "battery_pct", "rssi_dbm",
)  # fmt: skip

StepState = Literal["there", "made", "changed", "differs"]


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that the series need; ``differs``: there, not as wanted, left alone."""

    what: str
    state: StepState
    detail: str = ""


def ask(client: httpx.Client, method: str, path: str, **parts: Any) -> httpx.Response:
    """One request; raises SinkError for no answer and for a refusal other than 404."""
    place = f"influxdb {client.base_url}"
    try:
        answer = client.request(method, path, **parts)
    except httpx.TimeoutException:
        raise SinkError(f"{place}: no answer in time") from None
    except httpx.HTTPError as error:
        raise unreached(place, error) from None
    if answer.status_code in {401, 403}:
        raise SinkError(
            f"{place}: {answer.status_code}: {reason_of(answer.content, answer.headers)}; "
            "give an administrator: --token-file (2.x), or --user and --password-file (1.x)"
        )
    if answer.is_error and answer.status_code != httpx.codes.NOT_FOUND:
        why = reason_of(answer.content, answer.headers)
        raise SinkError(f"{place}: {method} {path}: {answer.status_code}: {why}")
    return answer


def organisation_of(client: httpx.Client, settings: InfluxSettings) -> str:
    """The id of the organisation of the settings; of the only one where they name none.

    Raises SinkError where there is no such one, or none is named and there are several.
    """
    answer = ask(client, "GET", "/api/v2/orgs", params={"org": settings.org})
    found = [] if answer.status_code == httpx.codes.NOT_FOUND else answer.json().get("orgs", [])
    for org in found:
        if org["name"] == settings.org or len(found) == 1:
            return str(org["id"])
    raise SinkError(
        f"influxdb {settings.url}: there is no organisation {settings.org!r}, or the token may "
        "not see it; check influx.org"
    )


def time_text(seconds: float) -> str:
    """Seconds as a person says them: 28 d, 6 h; 0 is for ever."""
    if seconds == 0:
        return "for ever"
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"
