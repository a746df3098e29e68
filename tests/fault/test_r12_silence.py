"""R12: a link that says nothing is shown as silent, also where its connection seems to stand.

Over real TCP. A terminal beats every second and its link may be silent for three of them. What it
says is swallowed by a proxy that keeps both connections open (half-open, as behind a router that
forgot), and its process is stopped by SIGSTOP (the kernel still acknowledges). Each time the link
is shown as silent within three heartbeats, and as up again when the terminal is heard.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.model.events import LinkChanged, LinkState
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.rig.attach import TcpClientWire
from hil_tests.rig.proxy import BOTH, TcpProxy, Timeout
from tests.support.ports import free_port
from tests.support.runner import Runtime

HEARTBEAT_S = 1.0
SILENT_AFTER_S = 3 * HEARTBEAT_S
NOTICED_S = 0.5  # after that, on a machine that is busy

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]


@contextlib.asynccontextmanager
async def gateway(folder: Path, port: int) -> AsyncIterator[Runtime]:
    table = {
        "id": "handhelds",
        "driver": "jt808",
        "transport": "tcp_server",
        "listen": f"127.0.0.1:{port}",
        "silent_after_s": SILENT_AFTER_S,
    }
    runtime = Runtime([table], folder)
    running = asyncio.create_task(runtime.run())
    try:
        await until(runtime, "up", 10.0)
        yield runtime
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(runtime: Runtime, state: LinkState, within_s: float) -> float:
    """Seconds until the link is in ``state``."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while runtime.runners["handhelds"].view().state != state:
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def heard(runtime: Runtime, beats: int) -> None:
    """Until so many more heartbeats were heard."""
    wanted = runtime.counters.heard + beats
    async with asyncio.timeout(20):
        while runtime.counters.heard < wanted:
            await asyncio.sleep(0.01)


def changes(runtime: Runtime) -> list[LinkState]:
    return [each.state for each in runtime.outbox.events if isinstance(each, LinkChanged)]


def test_a_half_open_connection_is_silence(tmp_path: Path) -> None:
    async def story() -> None:
        port = free_port()
        async with gateway(tmp_path, port) as runtime:
            proxy = TcpProxy(("127.0.0.1", port), seed=12)
            device = Jt808Device(
                every_s=3600.0, heartbeat_s=HEARTBEAT_S, answer_timeout_s=HEARTBEAT_S
            )
            wire = TcpClientWire(device, await proxy.listen(), SystemClock())
            tasks = [asyncio.create_task(proxy.run()), asyncio.create_task(wire.run())]
            await heard(runtime, 4)
            assert changes(runtime)[-1] == "up"
            proxy.add(Timeout(), *BOTH)
            noticed_s = await until(runtime, "silent", SILENT_AFTER_S + NOTICED_S)
            print(f"half-open: silent after {noticed_s:.2f} s")
            assert proxy.standing
            proxy.heal()
            await until(runtime, "up", 10.0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert changes(runtime)[-3:] == ["up", "silent", "up"]

    asyncio.run(story())


def test_a_stopped_terminal_is_silence(tmp_path: Path) -> None:
    async def story() -> None:
        port = free_port()
        async with gateway(tmp_path, port) as runtime:
            words = ["emulate", "jt808", "--connect", f"127.0.0.1:{port}", "--every", "1"]
            with subprocess.Popen(
                [sys.executable, "-m", "gateway", *words], stdout=subprocess.DEVNULL
            ) as terminal:
                try:
                    async with asyncio.timeout(30):
                        while len(runtime.outbox.events) < 5:
                            await asyncio.sleep(0.01)
                    os.kill(terminal.pid, signal.SIGSTOP)
                    noticed_s = await until(runtime, "silent", SILENT_AFTER_S + NOTICED_S)
                    print(f"stopped: silent after {noticed_s:.2f} s")
                    os.kill(terminal.pid, signal.SIGCONT)
                    await until(runtime, "up", 10.0)
                finally:
                    terminal.kill()

    asyncio.run(story())
