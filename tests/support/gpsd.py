"""The real gpsd on loopback, as a child that ends with its test."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from socket import create_connection

from tests.conftest import find_tool
from tests.support.ports import free_port

START_LIMIT_S = 15.0
STOP_LIMIT_S = 5.0


def _program(name: str) -> str:
    found = find_tool(name)
    assert found is not None, f"{name} is not installed"
    return found


@contextlib.contextmanager
def running_gpsd(*sources: str) -> Iterator[int]:
    """Gpsd reading ``sources`` (paths, ``tcp://host:port``); gives its port."""
    port = free_port()
    command = [_program("gpsd"), "-N", "-n", "-S", str(port), *sources]
    with _child(command, port):
        yield port


@contextlib.contextmanager
def running_gpsfake(*logs: Path, cycle_s: float) -> Iterator[int]:
    """Gpsd fed by gpsfake from recordings, a sentence each ``cycle_s``; gives its port."""
    port = free_port()
    options = ["-q", "-n", "-c", str(cycle_s), "-P", str(port)]
    with _child([_program("gpsfake"), *options, *map(str, logs)], port):
        yield port


@contextlib.contextmanager
def _child(command: Sequence[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()  # gpsfake ends the gpsd that it started
        try:
            process.communicate(timeout=STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            _, error = process.communicate()
            raise AssertionError(f"it ended at once: {error.decode(errors='replace')[-500:]}")
        with contextlib.suppress(OSError), create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")
