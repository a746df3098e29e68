"""Memory with 500 units, and the time from the start to the first report that is safe."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.children import ROOT, Child
from tests.bench.figures import Figure, Say
from tests.bench.site import UNITS, write_settings
from tests.bench.terminals import frame, phone_of
from tests.bench.watchers import connected
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port

TITLE = "Memory and start"
ABOUT = """\
Memory is what stays resident while 500 units, each on a TCP connection of its own, report once a
second with broker and desk page on. The start is measured from `pdt-gateway run` until a JT/T 808
terminal has its 8001: the first report is on disk. Beside both stands a bare interpreter that only
imports the same modules."""

MEMORY_GOAL_MIB, START_GOAL_S = 150.0, 3.0
START_LIMIT_S = 30.0
IMPORTS = """
import time, gateway.cli.main, gateway.app, gateway.desk.server, gateway.sinks.mqtt
from gateway.catalog import Catalog
Catalog.scan()
text = open("/proc/self/status").read()
print(int(text.partition("VmRSS:")[2].split()[0]) / 1024)
"""


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """Both figures."""
    memory = Figure(
        name=f"memory with {UNITS} units",
        unit="MiB",
        better="lower",
        goal=MEMORY_GOAL_MIB,
        ceiling_is="modules imported, nothing running",
    )
    start = Figure(
        name="start to the first report that is safe",
        unit="s",
        better="lower",
        goal=START_GOAL_S,
        ceiling_is="interpreter started, modules imported",
    )
    for turn in range(runs):
        bare_s, bare_mib = bare()
        start.add(start_s(), bare_s)
        memory.add(memory_mib(5.0 if quick else 20.0), bare_mib)
        say(
            f"run {turn + 1}: {start.runs[-1].value:.2f} s (bare {bare_s:.2f}), "
            f"{memory.runs[-1].value:.0f} MiB (bare {bare_mib:.0f})"
        )
    return [memory, start]


def bare() -> tuple[float, float]:
    """Seconds and MiB of an interpreter that imports what the gateway imports."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return time.monotonic() - begun, float(done.stdout)


def memory_mib(seconds: float) -> float:
    """Resident memory while everybody reports."""
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
        folder, port = Path(name), free_port()
        settings = write_settings(folder, listen=port, broker=broker.port, desk=free_port())
        log = folder / "log"
        crowd = ("--port", str(port), "--connections", str(UNITS), "--rate", str(UNITS))
        with (
            Child("gateway_child", str(settings), log=log) as gateway,
            Child("terminals", *crowd, log=log),
        ):
            time.sleep(seconds)
            found = gateway.ask("report")
            assert found["stored"] >= UNITS, found
            return float(found["memory_mib"])


def start_s() -> float:
    """Seconds from the command to the first 8001."""
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
        folder, port = Path(name), free_port()
        settings = write_settings(folder, listen=port, broker=broker.port, desk=free_port())
        begun = time.monotonic()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run", "--config", str(settings)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            with connected(port) as wire:
                wire.sendall(frame(bytes.fromhex(phone_of(0)), 1, int(time.time()), 1))
                assert wire.recv(64), "hung up"
                return time.monotonic() - begun
        finally:
            process.terminate()
            process.wait(START_LIMIT_S)
