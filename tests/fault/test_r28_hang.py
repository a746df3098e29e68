"""R28: a gateway that hangs is started again within 30 s; the broker shows it silent within 15 s.

A stand-in plays systemd: it listens on NOTIFY_SOCKET, kills what has not beaten for WatchdogSec and
starts it again after RestartSec, both as the unit file says, shortened where only the order counts.
"""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, settings
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Listener
from tests.support.ports import free_port

UNIT = Path(__file__).resolve().parents[2] / "config" / "pdt-gateway.service"
RESTARTED_S, SILENT_S = 30.0, 15.0

SHORT_S = 3.0

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
