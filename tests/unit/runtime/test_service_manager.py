"""What systemd is told, on a real datagram socket."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.runtime.service_manager import ServiceManager
from hil_tests.host import GatewayHere
from tests.support.gateway_process import GatewayProcess

SETTINGS = '[site]\nid = "town"\ndata_dir = "var"\n[desk]\nenabled = false\n'


class Ear:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)

    def next(self, within_s: float = 10.0) -> str:
        """The next message; "" where none comes in time."""
        self._socket.settimeout(within_s)
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            return ""

    def waiting(self) -> list[str]:
        """What has come so far."""
        found = []
        while message := self.next(0.05):
            found.append(message)
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(name="ear")
def _ear(tmp_path: Path) -> Iterator[Ear]:
    ear = Ear(tmp_path)
    yield ear
    ear.close()


def test_the_service_says_ready_beats_and_says_stopping(
    ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = GatewayProcess(tmp_path, SETTINGS)
    gateway.environment = {"NOTIFY_SOCKET": ear.path, "WATCHDOG_USEC": "900000"}
    gateway.start()
    try:
        told = [ear.next() for _ in range(4)]
        assert "READY=1" in told[0] or "READY=1" in told[1]
        assert told.count("WATCHDOG=1") == 3
        os.kill(gateway.pid, signal.SIGSTOP)
        ear.waiting()
        assert ear.next(1.2) == "", "a process that stands still does not beat"
        os.kill(gateway.pid, signal.SIGCONT)
        assert ear.next() == "WATCHDOG=1"
        gateway.stop()
        assert "STOPPING=1" in ear.waiting()
    finally:
        gateway.kill()


def test_a_loop_that_is_blocked_does_not_beat(ear: Ear, tmp_path: Path) -> None:
    async def story() -> None:
        here = GatewayHere(tmp_path, {})
        here.gateway.manager = ServiceManager(
            {"NOTIFY_SOCKET": ear.path, "WATCHDOG_USEC": "600000"}, here.gateway.clock
        )
        async with here.running():
            await asyncio.sleep(0.5)
            assert "WATCHDOG=1" in ear.waiting()
            time.sleep(1)
            assert not ear.waiting()

    asyncio.run(story())


def test_without_the_outbox_thread_there_is_no_beat(ear: Ear) -> None:
    async def story() -> None:
        clock = ManualClock()
        lives = True
        environment = {"NOTIFY_SOCKET": ear.path, "WATCHDOG_USEC": "30000000"}
        manager = ServiceManager(environment, clock)
        beating = asyncio.ensure_future(manager.run(lambda: lives))
        await clock.advance(25)
        assert ear.waiting() == ["WATCHDOG=1"] * 3
        lives = False
        await clock.advance(60)
        assert ear.waiting() == []
        beating.cancel()

    asyncio.run(story())


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": "here"},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    manager = ServiceManager(environment, ManualClock())
    manager.ready("here")
    asyncio.run(asyncio.wait_for(manager.run(lambda: True), 5))
    manager.stopping()


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract space is Linux's own")
def test_a_name_of_the_abstract_space_is_heard() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"pdt-test-{os.getpid()}"
        sock.bind(f"\0{name}")
        sock.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}, ManualClock()).ready("3 links")
        assert sock.recv(100) == b"READY=1\nSTATUS=3 links"
