"""A real VictoriaMetrics: takes line protocol by the 2.x write path, answers in its own language.

It keeps numbers: a text is written as 0. Points older than its retention vanish with a 204.
"""

import json
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.conftest import find_tool
from tests.support.mosquitto import wait_for_port
from tests.support.ports import free_port


class VictoriaMetrics:
    """One server; stopped at the end of the ``with`` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "victoria-metrics.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self.port}"

    def series(self, match: str) -> list[dict[str, Any]]:
        """Every series that ``match`` chooses: its labels in ``metric``, its ``values``."""
        httpx.get(f"{self.url}/internal/force_flush", trust_env=False)
        answer = httpx.get(f"{self.url}/api/v1/export", params={"match[]": match}, trust_env=False)
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    def __enter__(self) -> Self:
        program = find_tool("victoria-metrics")
        assert program is not None
        words = (
            f"-httpListenAddr=127.0.0.1:{self.port}",
            f"-storageDataPath={self._folder / 'victoria-metrics'}",
            "-retentionPeriod=1y",
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for_port(self.port, self._process, self._log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=10)
