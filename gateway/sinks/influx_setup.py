"""Makes the places that the time series needs, and says what was there already.

Three of them: every position for weeks, one position a minute for months, alarms for years. On 1.x
they are retention policies of one database with a continuous query between the first two; on 2.x
buckets with a task. Nothing that is there is changed unless asked for: a shorter retention deletes.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import httpx
import msgspec

from gateway.errors import ConfigError, SinkError
from gateway.settings import InfluxSettings, Loaded
from gateway.sinks.influx_answers import reason_of

MINUTES = "minutes"
ALARMS = "alarms"
USUAL_POLICY = "autogen"
THIN_EVERY, THIN_BACK = "30m", "6h"  # what comes later than six hours stays with the full positions
THINNED = (
    "lat", "lon", "lat_gcj", "lon_gcj", "altitude_m", "speed_mps", "course_deg", "accuracy_m",
    "satellites", "battery_pct", "rssi_dbm", "fix_valid",
)  # fmt: skip

StepState = Literal["there", "made", "changed", "differs"]


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that the series need; ``differs``: there, not as wanted, left alone."""

    what: str
    state: StepState
    detail: str = ""


class Admin(NamedTuple):
    """Who may make places: a user of 1.x, or a token of 2.x; all "" for a server without accounts.

    The gateway itself writes with credentials that can do nothing else.
    """

    user: str = ""
    password: str = ""
    token: str = ""

    def headers(self) -> dict[str, str]:
        """For a 2.x server."""
        return {"Authorization": f"Token {self.token}"} if self.token else {}

    def basic(self) -> httpx.BasicAuth | None:
        """For a 1.x server."""
        return httpx.BasicAuth(self.user, self.password) if self.user else None


def set_up(loaded: Loaded, admin: Admin, *, may_change: bool = False) -> list[Step]:
    """Make what is missing on the server of the settings; a further run finds everything there.

    ``may_change`` allows another retention for what is there, which can delete points. Raises
    SinkError where the server cannot be asked or refuses.
    """
    settings = loaded.settings.influx
    with client_of(settings, admin) as client:
        version = version_of(client)
        if version.startswith("1."):
            from gateway.sinks.influx_setup_v1 import set_up_v1  # noqa: PLC0415 - one of the two

            steps = set_up_v1(client, settings, may_change=may_change)
        elif version.startswith("2."):
            from gateway.sinks.influx_setup_v2 import set_up_v2  # noqa: PLC0415 - one of the two

            steps = set_up_v2(client, settings, may_change=may_change)
        else:
            raise ConfigError(
                f"influxdb {settings.url}: version {version or 'unknown'}: this command knows 1.x "
                "and 2.x; make the database with the server's own tool"
            )
    return [Step(what=f"server {settings.url}", state="there", detail=version), *steps]


def hints(settings: InfluxSettings, steps: Sequence[Step]) -> list[str]:
    """What a person still has to do."""
    told = []
    if any(step.state == "differs" for step in steps):
        told.append("run again with --change to make it as wanted; a shorter time deletes points")
    if not settings.alarms_to:
        name = ALARMS if settings.api == "1" else f"{settings.database}/{ALARMS}"
        told.append(f'alarms are not kept longer yet: write alarms_to = "{name}" into [influx]')
    return told


def client_of(settings: InfluxSettings, admin: Admin) -> httpx.Client:
    """A client that speaks to this server alone."""
    return httpx.Client(
        base_url=settings.url,
        timeout=settings.timeout_s,
        headers=admin.headers(),
        auth=admin.basic(),
        trust_env=False,  # a proxy of the environment is not for the command network
    )


def version_of(client: httpx.Client) -> str:
    """What the server says it is: "1.6.7", "2.7.12"."""
    answer = ask(client, "GET", "/ping")
    version: str = answer.headers.get("X-Influxdb-Version", "")
    return version.removeprefix("v")


def ask(client: httpx.Client, method: str, path: str, **parts: Any) -> httpx.Response:
    """One request; raises SinkError for no answer and for a refusal other than 404."""
    place = f"influxdb {client.base_url}"
    try:
        answer = client.request(method, path, **parts)
    except httpx.TimeoutException:
        raise SinkError(f"{place}: no answer in time") from None
    except httpx.HTTPError as error:
        raise SinkError(f"{place}: {str(error) or type(error).__name__}") from None
    if answer.status_code in {401, 403}:
        raise SinkError(
            f"{place}: {answer.status_code}: {reason_of(answer.content, answer.headers)}; "
            "give an administrator: --token-file (2.x), or --user and --password-file (1.x)"
        )
    if answer.is_error and answer.status_code != httpx.codes.NOT_FOUND:
        why = reason_of(answer.content, answer.headers)
        raise SinkError(f"{place}: {method} {path}: {answer.status_code}: {why}")
    return answer


def time_text(seconds: float) -> str:
    """Seconds as a person says them: 28 d, 6 h; 0 is for ever."""
    if seconds == 0:
        return "for ever"
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"
