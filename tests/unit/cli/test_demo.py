"""The demo as a person starts and ends it: addresses on the screen, Ctrl-C, and nothing is left."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

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


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_ends_everything_that_the_demo_started(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo", "--port", "0"],
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while "has no fix" not in output.read_text():
            assert demo.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        assert len(group_members(demo.pid)) > 1, "the broker is a process of its own"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(END_LIMIT_S) == 0, output.read_text()
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()
    told = output.read_text()
    assert re.search(r"http://127\.0\.0\.1:\d+/#sign-in=", told)
    assert "mosquitto_sub -h 127.0.0.1 -p " in told
    assert group_members(demo.pid) == []
    assert not list(tmp_path.glob("pdt-demo-*"))
    sums = next(found for line in told.splitlines() if (found := SUMS.match(line)))
    received, *ways = map(int, sums.groups())
    assert received == sum(ways) > 0
