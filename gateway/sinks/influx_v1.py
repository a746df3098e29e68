"""Lines to InfluxDB 1.x: ``POST /write``."""

import httpx

from gateway.errors import SinkError
from gateway.settings import InfluxSettings, Loaded
from gateway.sinks.influx_answers import check_answer, unreached

MAX_CONNECTIONS = 4  # both lanes at once, and room for one that dies


class WriterV1:
    """Writes with httpx on the event loop; the password travels in a header, never in the URL."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings.influx
        self.place = f"influxdb {settings.url}"
        password = loaded.secret("influx.password_file", settings.password_file)
        self._parameters = {"db": settings.database, "precision": "ns"}
        if settings.retention_policy:
            self._parameters["rp"] = settings.retention_policy
        self._hints = _hints(settings)
        self._client = httpx.AsyncClient(
            base_url=settings.url,
            timeout=settings.timeout_s,
            auth=httpx.BasicAuth(settings.user, password) if settings.user else None,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            trust_env=False,  # a proxy of the environment is not for the command network
        )

    async def write(self, body: bytes, place: str = "") -> None:
        """Write lines; ``place`` is a retention policy. Raises LinesRefusedError or SinkError."""
        parameters = {**self._parameters, "rp": place} if place else self._parameters
        try:
            answer = await self._client.post("/write", params=parameters, content=body)
        except httpx.TimeoutException:
            raise SinkError(f"{self.place}: no answer in time") from None
        except httpx.HTTPError as error:
            raise unreached(self.place, error) from None
        check_answer(self.place, answer.status_code, answer.content, answer.headers, self._hints)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _hints(settings: InfluxSettings) -> dict[int, str]:
    name = settings.database
    return {
        401: "check influx.user and influx.password_file",
        403: f"grant it: GRANT WRITE ON {name!r} TO {settings.user!r}",
        404: (
            f"make database {name!r} with `pdt-gateway influx setup`; "
            "a 2.x server needs influx.api = '2'"
        ),
    }
