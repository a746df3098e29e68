"""The gateway as a process of its own, that a test may kill.

Processes are forked from a server that has imported the gateway already, so that two hundred kills
cost seconds. What runs in them is the real thing, started the way the command line starts it.
"""

import asyncio
import json
import multiprocessing
import os
import pkgutil
import re
import socket
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.loop_watch import CALL_S, longest_calls, probe

BALANCE = re.compile(r"\b(received|stored|refreshed|waiting|difference)=(-?\d+)")
DROPPED = re.compile(r"'\w+': (\d+)")
START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0
WATCHDOG_S = 15.0  # as the command line has it
WARM_S = 4.0  # a watched gateway has started and written its first rows


def settings(
    port: int, *, broker: int | None = None, has_units: bool = False, more: str = ""
) -> str:
    """A settings file: terminals call in on ``port``, there is no page; ``more`` are other tables.

    ``broker`` is the port of one to publish to; ``has_units`` where a test writes ``units.toml``.
    """
    units_file = 'units_file = "units.toml"' if has_units else ""
    mqtt = f"[mqtt]\nenabled = true\nport = {broker}" if broker is not None else ""
    return f"""
[site]
id = "town"
data_dir = "var"
{units_file}
[desk]
enabled = false
{mqtt}
{more}
[[link]]
id = "terminals"
driver = "jt808"
transport = "tcp_server"
listen = "127.0.0.1:{port}"
"""


def _serve(config: str, log: str, environment: dict[str, str]) -> None:
    """What the child does: standard streams to the log, then ``pdt-gateway run``."""
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from gateway.app import serve  # noqa: PLC0415 - imported by the fork server before

    serve(Path(config), WATCHDOG_S)


def _serve_watched(config: str, log: str, environment: dict[str, str], report: str) -> None:
    """The same, with a probe on its loop; writes lags and long calls to ``report`` at its end."""
    import gateway.app as served  # noqa: PLC0415 - as above

    lags_s: list[float] = []
    calls: list[tuple[float, str]] = []
    run = served.run_until_signal

    async def watch() -> None:
        await asyncio.sleep(WARM_S)
        with longest_calls(CALL_S) as found:
            try:
                await probe(lags_s)
            finally:
                calls.extend(found)

    async def watched(*given: Any) -> None:
        watching = asyncio.ensure_future(watch())
        try:
            await run(*given)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    try:
        with patch.object(served, "run_until_signal", watched):
            _serve(config, log, environment)
    finally:
        Path(report).write_text(json.dumps({"lags_s": lags_s, "calls": calls}))


class GatewayProcess:
    """One gateway over its whole life: started, killed and started again on the same folder."""

    _context = multiprocessing.get_context("forkserver")

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.config = folder / "settings.toml"
        self.config.write_text(settings, encoding="utf-8")
        self.log = folder / "gateway.log"
        self.report: Path | None = None  # where the child writes how its loop did
        self.environment: dict[str, str] = {}  # what its service manager gives it
        self._process: BaseProcess | None = None
        # "__main__" and this module too, or every child would import the test runner anew.
        drivers = [f"drivers.{module.name}" for module in pkgutil.iter_modules(["drivers"])]
        loaded = ["__main__", __name__, "gateway.app", *drivers, "tests.support.frozen"]
        self._context.set_forkserver_preload(loaded)

    def start(self) -> None:
        """Begin; returns before it is ready."""
        told = (str(self.config), str(self.log), self.environment)
        if self.report is None:
            process = self._context.Process(target=_serve, args=told)
        else:
            told_too = (*told, str(self.report))
            process = self._context.Process(target=_serve_watched, args=told_too)
        process.start()
        self._process = process

    def wait_for_port(self, port: int) -> None:
        """Until it accepts TCP connections on ``port``."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self._process is not None and self._process.exitcode is not None:
                break
            time.sleep(0.005)
        raise AssertionError(f"the gateway did not start:\n{self.log_text()}")

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        if self._process is not None and self._process.exitcode is None:
            self._process.kill()
            self._process.join(STOP_LIMIT_S)

    def stop(self) -> float:
        """SIGTERM; the seconds that it took to end.

        Fails where it does not end by itself, or where its balance of events is not drawn or does
        not come out even (R20).
        """
        assert self._process is not None
        started = time.monotonic()
        self._process.terminate()
        self._process.join(STOP_LIMIT_S)
        took = time.monotonic() - started
        if self._process.exitcode is None:
            self.kill()
            raise AssertionError(f"the gateway did not end on SIGTERM:\n{self.log_text()}")
        assert self._process.exitcode == 0, self.log_text()
        self._assert_balanced()
        return took

    def _assert_balanced(self) -> None:
        """Received = stored + refreshed + dropped by reason, to the unit; nothing waits."""
        last = self.log.read_text(errors="replace").rpartition("gateway_stopped")[2].split("\n")[0]
        sums = dict(BALANCE.findall(last))
        dropped = sum(map(int, DROPPED.findall(last)))
        assert sums, f"no balance was drawn:\n{self.log_text()}"
        counted = int(sums["stored"]) + int(sums["refreshed"]) + dropped
        assert int(sums["received"]) == counted, last
        assert (sums["waiting"], sums["difference"]) == ("0", "0"), last

    def log_text(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else "(no log)"
