"""Makes the places that the time series needs, and says what was there already.

Three of them: every position for weeks, one position a minute for months, alarms for years. On 1.x
they are retention policies of one database with a continuous query between the first two; on 2.x
buckets with a task. Nothing that is there is changed unless asked for: a shorter retention deletes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import httpx

from gateway.errors import ConfigError
from gateway.settings import InfluxSettings, Loaded
from gateway.sinks.influx_setup_v1 import set_up_v1
from gateway.sinks.influx_setup_v2 import set_up_v2
from gateway.sinks.influx_steps import ALARMS, Step, ask


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
        version = version_of(client, "make the database with the server's own tool")
        make = set_up_v1 if version.startswith("1.") else set_up_v2
        steps = make(client, settings, may_change=may_change)
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


def version_of(client: httpx.Client, otherwise: str) -> str:
    """What the server says it is: "1.6.7", "2.7.12".

    Raises ConfigError for a server of another kind; ``otherwise`` is what a person does there.
    """
    answer = ask(client, "GET", "/ping")
    version: str = answer.headers.get("X-Influxdb-Version", "").removeprefix("v")
    if version.startswith(("1.", "2.")):
        return version
    said = f"version {version}" if version else "does not say that it is InfluxDB"
    raise ConfigError(
        f"influxdb {client.base_url}: {said}: this command knows 1.x and 2.x; "
        f"look at influx.url, or {otherwise}"
    )
