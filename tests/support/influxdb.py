"""A real InfluxDB, 1.x or 2.x, with its own folder and ports on loopback."""

import json
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx
import pytest

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
TOKEN, ORG = "an-administrator-of-tests", "police"


class InfluxServer(ABC):
    """One server; stopped at the end of the ``with`` block."""

    program = ""
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.port = free_port()
        self._log = folder / f"{self.program}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Table ``influx`` of a gateway that writes to it."""

    @property
    def settings_text(self) -> str:
        """The same, below the head of the table."""
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.settings.items())

    @abstractmethod
    def create(self, *places: str) -> None:
        """Make ``pdt`` and more places of it, all to keep for ever."""

    @abstractmethod
    def place(self, name: str) -> str:
        """How a setting names a place of ``pdt``."""

    @abstractmethod
    def _arguments(self) -> list[str]:
        """What the program is started with."""

    def ask(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """One request of an administrator; fails where it is refused."""
        answer = httpx.request(
            method, f"{self.url}{path}", headers=self.headers, timeout=30, trust_env=False, **parts
        )
        assert answer.is_success, answer.text
        return answer

    def query(self, text: str, **parameters: str) -> list[dict[str, Any]]:
        """Run InfluxQL; gives the points of all series, tags of GROUP BY included."""
        params = {"db": "pdt", "epoch": "ns", **parameters}
        result = self.ask("POST", "/query", params=params, data={"q": text}).json()["results"][0]
        assert "error" not in result, result
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], values, strict=True))}
            for series in result.get("series", [])
            for values in series["values"]
        ]

    def write(self, lines: str, **where: str) -> None:
        """Write points in line protocol, now where they say no time; ``rp`` is a place."""
        self.ask("POST", "/write", params={"db": "pdt", **where}, content=lines.encode())

    def start(self) -> None:
        """Start, and wait until it listens."""
        program = find_tool(self.program)
        assert program is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, *self._arguments()], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for_port(self.port, self._process, self._log)

    @property
    def most_memory_mib(self) -> float:
        """The most that its process has had resident so far."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

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


class InfluxDb(InfluxServer):
    """Version 1.x."""

    program = "influxd"

    def __init__(self, folder: Path, *, auth: bool = False, thinning: bool = False) -> None:
        super().__init__(folder)
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

    @property
    def settings(self) -> dict[str, Any]:
        """See ``InfluxServer``."""
        return {"enabled": True, "url": self.url, "api": "1"}

    def create(self, *places: str) -> None:
        """See ``InfluxServer``: retention policies."""
        self.query("CREATE DATABASE pdt")
        for place in places:
            self.query(f"CREATE RETENTION POLICY {place} ON pdt DURATION INF REPLICATION 1")

    def place(self, name: str) -> str:
        """See ``InfluxServer``."""
        return name

    def _arguments(self) -> list[str]:
        return ["run", "-config", str(self._config)]


class InfluxDb2(InfluxServer):
    """Version 2.x: an organisation and its administrator, and no place for any series yet."""

    program = "influxd2"
    headers: ClassVar[dict[str, str]] = {"Authorization": f"Token {TOKEN}"}

    @property
    def settings(self) -> dict[str, Any]:
        """See ``InfluxServer``; with the administrator's token."""
        token_file = self._folder / "token"
        token_file.write_text(f"{TOKEN}\n")
        return {"enabled": True, "url": self.url, "org": ORG, "token_file": str(token_file)}

    def create(self, *places: str) -> None:
        """See ``InfluxServer``: buckets; InfluxQL finds them by their names."""
        org = self.ask("GET", "/api/v2/orgs", params={"org": ORG}).json()["orgs"][0]["id"]
        for name in ("pdt", *map(self.place, places)):
            self.ask("POST", "/api/v2/buckets", json={"orgID": org, "name": name})

    def place(self, name: str) -> str:
        """See ``InfluxServer``."""
        return f"pdt/{name}"

    def _arguments(self) -> list[str]:
        return [
            "run", "--reporting-disabled", "--http-bind-address", f"127.0.0.1:{self.port}",
            "--bolt-path", f"{self._folder}/influxd.bolt",
            "--engine-path", f"{self._folder}/engine",
            "--sqlite-path", f"{self._folder}/influxd.sqlite",
        ]  # fmt: skip

    def start(self) -> None:
        """Start; the first time, make the organisation."""
        super().start()
        if self.ask("GET", "/api/v2/setup").json()["allowed"]:
            first = {
                "username": "root",
                "password": TOKEN,
                "org": ORG,
                "bucket": "x",
                "token": TOKEN,
            }
            bucket = self.ask("POST", "/api/v2/setup", json=first).json()["bucket"]["id"]
            self.ask("DELETE", f"/api/v2/buckets/{bucket}")

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """What there is of ``buckets``, ``tasks`` or ``dbrps``, but the server's own."""
        found = self.ask("GET", f"/api/v2/{kind}", params={"org": ORG}).json()
        listed: list[dict[str, Any]] = found["content" if kind == "dbrps" else kind]
        return [each for each in listed if each.get("type") != "system"]

    def flux(self, script: str) -> str:
        """Run a script; gives its tables as annotated CSV."""
        asked = {"query": script, "type": "flux"}
        return self.ask("POST", "/api/v2/query", params={"org": ORG}, json=asked).text


VERSIONS = [
    pytest.param(kind, marks=pytest.mark.needs(kind.program), id=kind.program)
    for kind in (InfluxDb, InfluxDb2)
]
EACH_VERSION = pytest.mark.parametrize("version", VERSIONS)
