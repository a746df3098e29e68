"""The watchdog of our own: a stuck loop ends the process, and nothing else does."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.clock import ManualClock, SystemClock
from gateway.runtime.service_manager import ServiceManager
from gateway.runtime.watchdog import EXIT_CODE, TURNS, Watchdog
from tests.support.ports import free_port

PATIENCE_S = 1.0
LIMIT_S = 20.0
SETTINGS = '[site]\nid = "town"\ndata_dir = "var"\n[desk]\nlisten = "127.0.0.1:{port}"\n'


@contextmanager
def gateway(folder: Path, way: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A gateway that has said where its page is, and gets stuck on SIGUSR1."""
    config = folder / "gateway.toml"
    config.write_text(SETTINGS.format(port=free_port()))
    command = [sys.executable, "-m", "tests.support.stuck_child", way, "run", "-c", str(config)]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), (folder / "log").read_text()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("way", "code"), [("wait", EXIT_CODE), ("spin", EXIT_CODE), ("hold", -signal.SIGPROF)]
)
def test_a_stuck_loop_ends_the_process_and_the_log_says_where_it_was(
    tmp_path: Path, way: str, code: int
) -> None:
    with gateway(tmp_path, way, "--watchdog-s", str(PATIENCE_S)) as process:
        time.sleep(3 * PATIENCE_S)  # nothing happens to one that is well, however long
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.wait(LIMIT_S) == code
    log = (tmp_path / "log").read_text()
    if code == EXIT_CODE:
        assert log.count("loop_stuck") == 1
        assert re.search(rf"{way} \(\S+/stuck_child.py:\d+\)", log), log
    else:  # by the system, with all threads
        assert re.search(rf'stuck_child.py", line \d+ in {way}$', log, re.MULTILINE), log


def test_a_process_that_was_stopped_for_longer_goes_on(tmp_path: Path) -> None:
    """A paused container, a machine that slept: the time passed and nobody had a turn."""
    with gateway(tmp_path, "wait", "--watchdog-s", str(PATIENCE_S)) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(3 * PATIENCE_S)
        process.send_signal(signal.SIGCONT)
        time.sleep(3 * PATIENCE_S)
        assert process.poll() is None, (tmp_path / "log").read_text()
        process.terminate()
        assert process.wait(LIMIT_S) == 0


def test_one_long_turn_is_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, with the watchdog's thread the first to have a turn again."""
    ended: list[float] = []
    monkeypatch.setattr(Watchdog, "_end", lambda _: ended.append(time.monotonic()))
    turns: list[float] = []

    class Paused(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            turns.append(time.monotonic())
            if len(turns) == TURNS // 2:
                time.sleep(3 * PATIENCE_S)
            return super().wait(timeout)

    watchdog = Watchdog(PATIENCE_S)
    watchdog._is_over = Paused()
    with watchdog:
        while len(turns) <= TURNS // 2 + 2:
            time.sleep(0.01)
        assert not ended
        while not ended:  # and then nothing beats
            time.sleep(0.01)
    assert len(turns) > TURNS


def test_switched_off_it_ends_nothing(tmp_path: Path) -> None:
    with gateway(tmp_path, "wait", "--watchdog-s", "0") as process:
        process.send_signal(signal.SIGUSR1)
        time.sleep(3 * PATIENCE_S)
        assert process.poll() is None


def test_a_log_that_nobody_reads_does_not_keep_it(tmp_path: Path) -> None:
    """What the loop is stuck on may be the log itself."""
    child = (
        "import os, time\n"
        "from gateway import logs\n"
        "from gateway.runtime.watchdog import Watchdog\n"
        "logs.set_up('info', 'text')\n"
        f"with Watchdog({PATIENCE_S}):\n"
        "    while True:\n"
        "        os.write(2, b'x' * 4096)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", child], stderr=subprocess.PIPE)
    try:
        assert process.wait(LIMIT_S) == EXIT_CODE
    finally:
        process.kill()
        assert process.stderr is not None
        process.stderr.close()


def test_nothing_of_it_stays_behind() -> None:
    with Watchdog(60.0):
        assert signal.getitimer(signal.ITIMER_PROF)[0] > 0
        assert "watchdog" in {thread.name for thread in threading.enumerate()}
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_the_beat_is_for_the_manager_where_one_counts_it(tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
    for given, has_own in (
        (environment, False),
        ({"NOTIFY_SOCKET": environment["NOTIFY_SOCKET"]}, True),  # it does not count
        ({"WATCHDOG_USEC": "30000000"}, True),  # nobody listens
        ({**environment, "WATCHDOG_PID": str(os.getppid())}, True),  # meant for another process
        ({}, True),
    ):

        async def story(given: dict[str, str] = given) -> bool:
            manager = ServiceManager(given, SystemClock(), watchdog_s=60.0)
            beating = asyncio.ensure_future(manager.run(lambda: True))
            await asyncio.sleep(0)
            found = "watchdog" in {thread.name for thread in threading.enumerate()}
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            return found

        assert asyncio.run(story()) is has_own, given


def test_without_the_outbox_there_is_no_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[float] = []
    monkeypatch.setattr(Watchdog, "beat", lambda _: beats.append(1))

    async def story() -> None:
        clock, lives = ManualClock(), True
        manager = ServiceManager({}, clock, watchdog_s=30.0)
        beating = asyncio.ensure_future(manager.run(lambda: lives))
        await clock.advance(25)
        before = len(beats)
        lives = False
        await clock.advance(60)
        assert len(beats) == before > 2
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)

    asyncio.run(story())
