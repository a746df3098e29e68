"""A real Mosquitto on a free port of loopback, killed and started again as a test likes."""

import getpass
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import find_tool
from tests.support.ports import free_port

START_TIMEOUT_S = 10.0


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until ``process`` listens; fails with its log."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen on {port}: {log.read_text()[-2000:]}")


class Mosquitto:
    """One broker with its own folder; stopped at the end of the ``with`` block."""

    def __init__(
        self, folder: Path, *settings: str, config: Path | None = None, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self._log = folder / "mosquitto.log"
        self._config = config or self._write_config(folder, settings)
        self._process: subprocess.Popen[bytes] | None = None

    def _write_config(self, folder: Path, settings: tuple[str, ...]) -> Path:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence false",
            "set_tcp_nodelay true",
            "max_inflight_messages 0",
            f"user {getpass.getuser()}",  # started by root it would give up our files
            "log_type error",
            "log_type warning",
            *(settings or ("allow_anonymous true",)),
        ]
        file = folder / "mosquitto.conf"
        file.write_text("\n".join(lines) + "\n")
        return file

    @property
    def pid(self) -> int:
        """The broker's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it listens."""
        program = find_tool("mosquitto")
        assert program is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self._config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for_port(self.port, self._process, self._log)

    def kill(self) -> None:
        """SIGKILL: sessions and retained messages are gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=START_TIMEOUT_S)
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
            self.thaw()
            self.kill()
