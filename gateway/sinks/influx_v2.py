"""Lines to InfluxDB 2.x and 3.x: ``/api/v2/write`` through influxdb-client.

The client's batching mode loses points and hides a 404; its synchronous mode tells the truth, and
takes the lines as they are. It blocks, so each request has a thread of its own: a daemon, because a
server that hangs must not hold up the gateway's end.
"""

import asyncio
import threading
from collections.abc import Callable

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from gateway.errors import SinkError
from gateway.settings import InfluxSettings, Loaded
from gateway.sinks.influx_answers import check_answer, unreached


class WriterV2:
    """Writes with influxdb-client; the token travels in a header."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings.influx
        self.place = f"influxdb {settings.url}"
        self._bucket = settings.database
        self._org = settings.org
        self._hints = _hints(settings)
        self._client = InfluxDBClient(
            url=settings.url,
            token=loaded.secret("influx.token_file", settings.token_file),
            org=settings.org,
            timeout=round(settings.timeout_s * 1000),
        )
        self._api = self._client.write_api(write_options=SYNCHRONOUS)

    async def write(self, body: bytes, place: str = "") -> None:
        """Write lines; ``place`` is a bucket. Raises LinesRefusedError or SinkError."""
        bucket = place or self._bucket
        try:
            await _in_thread(lambda: self._api.write(bucket, self._org, body))
        except ApiException as error:
            content = error.body if isinstance(error.body, bytes) else str(error.body).encode()
            headers = {str(key): str(value) for key, value in (error.headers or {}).items()}
            check_answer(self.place, error.status or 0, content, headers, self._hints)
        except NewConnectionError as error:  # to urllib3 it is a kind of time-out
            raise unreached(self.place, error) from None
        except HttpTimeoutError:
            raise SinkError(f"{self.place}: no answer in time") from None
        except (HTTPError, OSError) as error:
            raise unreached(self.place, error) from None

    async def close(self) -> None:
        """Close the connections; a request still under way ends by its own time limit."""
        # The client only forgets its connections, and a failure's traceback may hold on to them.
        pools = self._client.api_client.rest_client.pool_manager.pools
        for key in pools.keys():  # noqa: SIM118 - it is no dictionary
            pools[key].close()
        self._client.close()


async def _in_thread(call: Callable[[], object]) -> None:
    """Run ``call`` on a thread and wait for its end; its exception is raised here."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def work() -> None:
        failure: BaseException | None = None
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            failure = error
        try:
            loop.call_soon_threadsafe(settle, failure)
        except RuntimeError:
            return  # the loop has ended meanwhile: nobody waits

    threading.Thread(target=work, name="influx write", daemon=True).start()
    await done


def _hints(settings: InfluxSettings) -> dict[int, str]:
    return {
        401: "check influx.token_file",
        403: f"the token may not write to bucket {settings.database!r}; make one that may",
        404: (
            f"make bucket {settings.database!r} of organisation {settings.org!r} with "
            "`pdt-gateway influx setup`; "
            "a 1.x server needs influx.api = '1'"
        ),
    }
