"""R28: a gateway that hangs is started again within 30 s; the broker shows it silent within 15 s.

A stand-in plays systemd: it listens on NOTIFY_SOCKET, kills what has not beaten for WatchdogSec and
starts it again after RestartSec, both as the unit file says, shortened where only the order counts.
In a container nobody counts beats, so the gateway ends itself, and the restart policy acts.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, settings
from tests.support.mosquitto import Mosquitto, wait_for_port
from tests.support.mqtt_listener import Listener
from tests.support.ports import free_port

UNIT = Path(__file__).resolve().parents[2] / "config" / "pdt-gateway.service"
DOCKERFILE = UNIT.parents[1] / "Dockerfile"
(COMMAND,) = re.findall(r'^CMD \["(run)", "(--config)", ', DOCKERFILE.read_text(), re.MULTILINE)
RESTARTED_S, SILENT_S = 30.0, 15.0

SHORT_S = 3.0
RESTART_POLICY_S = 0.1  # what Docker waits before it starts a container again that ran for a while

pytestmark = [pytest.mark.fault, pytest.mark.timeout(90)]


class Manager:
    """What systemd does for a service of Type=notify with a watchdog."""

    def __init__(self, folder: Path, gateway: GatewayProcess, patience_s: float) -> None:
        self._patience_s = patience_s
        self._gateway = gateway
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(0.1)
        gateway.environment = {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(round(patience_s * 1e6)),
        }

    def wait_for(self, text: str, within_s: float) -> float:
        """The seconds until such a message comes."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            if text in self._heard():
                return time.monotonic() - began
        raise AssertionError(f"no {text} within {within_s:g} s")

    def restart_when_silent(self, pause_s: float) -> float:
        """Watch until it hangs, then kill and start it; the seconds until it is ready again."""
        began = last = time.monotonic()
        while time.monotonic() - last < self._patience_s:
            if "WATCHDOG=1" in self._heard():
                last = time.monotonic()
        self._gateway.kill()
        time.sleep(pause_s)
        self._gateway.start()
        self.wait_for("READY=1", 20)
        return time.monotonic() - began

    def _heard(self) -> str:
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return ""

    def close(self) -> None:
        self._socket.close()


def unit_seconds(name: str) -> float:
    found = re.search(rf"^{name}=(\d+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.fixture(name="broker")
def _broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


@pytest.mark.needs("mosquitto")
def test_a_process_that_stands_still_is_shown_silent_and_started_again(
    tmp_path: Path, broker: Mosquitto
) -> None:
    port = free_port()
    gateway = GatewayProcess(tmp_path, settings(port, broker=broker.port))
    manager = Manager(tmp_path, gateway, SHORT_S)
    state = "pdt/v1/town/gateway/state"
    try:
        gateway.start()
        ready_s = manager.wait_for("READY=1", 20)
        with Listener(broker.port, state) as listener:
            listener.wait_for(lambda heard: any(b"online" in one.payload for one in heard))
            os.kill(gateway.pid, signal.SIGSTOP)
            stopped = time.monotonic()
            while not any(b"offline" in one.payload for one in listener.messages):
                assert time.monotonic() - stopped < SILENT_S, "the broker shows it online"
                time.sleep(0.05)
            silent_s = time.monotonic() - stopped
            restarted_s = manager.restart_when_silent(SHORT_S / 10)
            gateway.wait_for_port(port)
            listener.wait_for(lambda heard: b"online" in heard[-1].payload)
        gateway.stop()
    finally:
        gateway.kill()
        manager.close()
    most_s = unit_seconds("WatchdogSec") + unit_seconds("RestartSec") + ready_s
    print(
        f"shown silent after {silent_s:.1f} s; ready again {restarted_s - SHORT_S:.1f} s after the "
        f"watchdog of {SHORT_S:g} s; with the unit file's times {most_s:.1f} s at most"
    )
    assert most_s <= RESTARTED_S


class Container:
    """The gateway as the image starts it, with nobody who counts beats."""

    def __init__(self, folder: Path, port: int) -> None:
        self._config = folder / "settings.toml"
        self._config.write_text(settings(port), encoding="utf-8")
        self._port = port
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, way: str) -> None:
        """Start; it gets stuck in this way when told."""
        words = [*COMMAND, str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.stuck_child", way, *words],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for_port(self._port, self._process, self._log)

    def hang(self) -> int:
        """Let it get stuck; the exit code that it ends itself with."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        return self._process.wait(RESTARTED_S)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.mark.parametrize("way", ["wait", "spin", "hold"])
def test_a_gateway_in_a_container_that_hangs_ends_itself_and_is_started_again(
    tmp_path: Path, way: str
) -> None:
    container = Container(tmp_path, free_port())
    try:
        container.start(way)
        began = time.monotonic()
        code = container.hang()
        ended_s = time.monotonic() - began
        time.sleep(RESTART_POLICY_S)
        container.start(way)
        restarted_s = time.monotonic() - began
    finally:
        container.kill()
    print(
        f"{way}: ended after {ended_s:.1f} s with {code}, accepts again after {restarted_s:.1f} s"
    )
    assert code != 0, "a policy of on-failure would leave it"
    assert restarted_s <= RESTARTED_S
