"""A real InfluxDB 1.x with its own folder and ports on loopback."""

import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.conftest import find_tool
from tests.support.mosquitto import wait_for_port
from tests.support.ports import free_port

CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
[continuous_queries]
  enabled = {thinning}
  log-enabled = false
  run-interval = "1s"
"""


class InfluxDb:
    """One server; stopped at the end of the ``with`` block."""

    def __init__(self, folder: Path, *, auth: bool = False, thinning: bool = False) -> None:
        self._folder = folder
        self.port = free_port()
        self._log = folder / "influxd.log"
        self._config = folder / "influxd.conf"
        self._config.write_text(
            CONFIG.format(
                rpc_port=free_port(),
                port=self.port,
                folder=folder,
                auth=str(auth).lower(),
                thinning=str(thinning).lower(),
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, text: str, **parameters: str) -> list[dict[str, Any]]:
        """Run InfluxQL; gives the points of all series, tags of GROUP BY included."""
        answer = httpx.post(
            f"{self.url}/query",
            params={"db": "pdt", "epoch": "ns", **parameters},
            data={"q": text},
            trust_env=False,
        )
        result = answer.json()["results"][0]
        assert "error" not in result, result
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], values, strict=True))}
            for series in result.get("series", [])
            for values in series["values"]
        ]

    def write(self, lines: str) -> None:
        """Write points in line protocol, now where they say no time."""
        answer = httpx.post(
            f"{self.url}/write", params={"db": "pdt"}, content=lines.encode(), trust_env=False
        )
        assert answer.status_code == httpx.codes.NO_CONTENT, answer.text

    def start(self) -> None:
        """Start, and wait until it listens."""
        program = find_tool("influxd")
        assert program is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "run", "-config", str(self._config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_for_port(self.port, self._process, self._log)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=10)
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()
