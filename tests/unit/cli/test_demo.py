"""The demo as a person starts and ends it: addresses on the screen, Ctrl-C, and nothing is left."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

START_LIMIT_S, END_LIMIT_S = 60.0, 30.0
SUMS = re.compile(
    r"received (\d+) = stored (\d+) \+ refreshed (\d+) \+ dropped (\d+) \+ waiting 0$"
)


def group_members(group: int) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[2]) == group and words[0] != "Z":
            found.append(folder.name)
    return found


@contextlib.contextmanager
def demo(
    folder: Path, *words: str, stdout: int | IO[bytes], stderr: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A demo in a process group of its own, of which nothing is left when it has ended."""
    started = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "--port", "0", *words],
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        yield started
        assert group_members(started.pid) == []
        assert not list(folder.glob("pdt-demo-*"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def wait_until(condition: Callable[[], Any], started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not condition():
        assert started.poll() is None, "the demo has ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_ends_everything_that_the_demo_started(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file, demo(tmp_path, stdout=file, stderr=file) as started:
        wait_until(lambda: "has no fix" in output.read_text(), started)
        assert len(group_members(started.pid)) > 1, "the broker is a process of its own"
        started.send_signal(signal.SIGINT)
        assert started.wait(END_LIMIT_S) == 0, output.read_text()
    told = output.read_text()
    assert re.search(r"http://127\.0\.0\.1:\d+/#sign-in=", told)
    assert "mosquitto_sub -h 127.0.0.1 -p " in told
    sums = next(found for line in told.splitlines() if (found := SUMS.match(line)))
    received, *ways = map(int, sums.groups())
    assert received == sum(ways) > 0


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "seen", ["pdt-demo-*", "pdt-demo-*/var/outbox.db", "pdt-demo-*/var/desk.db"]
)
def test_a_signal_while_the_demo_starts_ends_it(tmp_path: Path, seen: str) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file, demo(tmp_path, stdout=file, stderr=file) as started:
        wait_until(lambda: list(tmp_path.glob(seen)), started)
        started.send_signal(signal.SIGTERM)
        assert started.wait(END_LIMIT_S) == 0, output.read_text()
    assert "Traceback" not in output.read_text()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_demo_whose_time_is_over_before_it_has_started_ends(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        demo(tmp_path, "--seconds", "0.01", stdout=file, stderr=file) as started,
    ):
        assert started.wait(START_LIMIT_S) == 0, output.read_text()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_demo_that_nobody_reads_any_more_ends(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with errors.open("wb") as file, demo(tmp_path, stdout=subprocess.PIPE, stderr=file) as started:
        assert started.stdout is not None
        while "the emulated town is up" not in started.stdout.readline().decode():
            assert started.poll() is None, errors.read_text()
        started.stdout.close()
        assert started.wait(END_LIMIT_S) == 0, errors.read_text()
    assert errors.read_text() == ""
