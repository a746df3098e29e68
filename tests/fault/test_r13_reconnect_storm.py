"""R13: three hundred terminals come back within five seconds.

The town's radio network comes back after a power cut: all terminals have lost their connections
and log on again at random moments of five seconds. One in eight comes back with its SOS key
pressed, and terminals that were never gone press in the middle of it. All are registered within
30 s, the presses are acknowledged within 2 s (p99), and the gateway's loop never stands still for
longer than 250 ms.
"""

import asyncio
import random
import re
import time
import urllib.request
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from drivers.api import Moment
from gateway.clock import SystemClock
from hil_tests.devices.jt808 import Jt808Device, Phase
from hil_tests.rig.attach import TcpClientWire
from tests.support.databases import read_only
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port
from tests.support.units import write_units

RETURNING, STEADY = 300, 20
WITHIN_S = 5.0
PRESSING_EVERY = 8
REGISTERED_S = 30.0
PRESS_P99_S = 2.0
STALL_MS = 250.0
STEP_S = 0.01
LAG_WINDOW_S = 31.0  # so long the gateway remembers its worst stall
SETTINGS = """
[site]
id = "town"
data_dir = "var"
units_file = "units.toml"
[desk]
listen = "127.0.0.1:{page}"
[[link]]
id = "terminals"
driver = "jt808"
transport = "tcp_server"
listen = "127.0.0.1:{port}"
"""


class Terminal:
    """One emulated terminal, whose connection comes and goes."""

    def __init__(self, number: int, port: int) -> None:
        self.device = Jt808Device(f"{13_800_000_000 + number}", every_s=10.0)
        self.device.move(22.94, 113.88, speed_mps=1.0, course_deg=90.0)
        self._port = port
        self._running: asyncio.Task[None] | None = None

    @property
    def is_online(self) -> bool:
        return self.device.phase is Phase.ONLINE

    def connect(self) -> None:
        wire = TcpClientWire(self.device, ("127.0.0.1", self._port), SystemClock())
        self._running = asyncio.create_task(wire.run())

    async def vanish(self) -> None:
        """Its connection breaks, and it knows."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        clock = SystemClock()
        self.device.connected(Moment(clock.monotonic(), clock.now()))

    async def come_back(self, after_s: float, *, is_pressed: bool) -> float | None:
        """Seconds from the connection to the acknowledgement of the press, where there is one."""
        await asyncio.sleep(after_s)
        if is_pressed:
            self.device.press()
        began = time.monotonic()
        self.connect()
        return await self._acknowledged(began) if is_pressed else None

    async def press(self, after_s: float) -> float:
        """The same for a terminal that was never gone."""
        await asyncio.sleep(after_s)
        self.device.press()
        return await self._acknowledged(time.monotonic())

    async def _acknowledged(self, began: float) -> float:
        async with asyncio.timeout(REGISTERED_S):
            while not self.device.is_press_acknowledged:
                await asyncio.sleep(STEP_S)
        return time.monotonic() - began


async def all_online(terminals: list[Terminal], within_s: float) -> float:
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not all(each.is_online for each in terminals):
            await asyncio.sleep(STEP_S)
    return time.monotonic() - began


def worst_stall_ms(page: int) -> float:
    """As the gateway measures it, over the last half minute."""
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(r"^pdt_gateway_loop_lag_seconds(?:\{.*\})? (\S+)", text, re.MULTILINE)
    assert found is not None, text[:2000]
    return float(found[1]) * 1000


def registrations(desk_log: Path) -> Counter[str]:
    with read_only(desk_log) as connection:
        rows = connection.execute("SELECT payload FROM event WHERE type = 'radio_registered'")
        return Counter(str(msgspec.json.decode(payload)["radio_id"]) for (payload,) in rows)


@pytest.mark.fault
@pytest.mark.quiet
@pytest.mark.timeout(240)
def test_a_town_that_comes_back_at_once_is_registered_and_heard(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    port, page = free_port(), free_port()
    write_units(
        tmp_path, (f"jt808:0{13_800_000_000 + number}" for number in range(RETURNING + STEADY))
    )
    gateway = GatewayProcess(tmp_path, SETTINGS.format(port=port, page=page))
    gateway.start()
    gateway.wait_for_port(port)

    async def story() -> None:
        everybody = [Terminal(number, port) for number in range(RETURNING + STEADY)]
        returning, steady = everybody[:RETURNING], everybody[RETURNING:]
        for each in everybody:
            each.connect()
            await asyncio.sleep(STEP_S)
        await all_online(everybody, REGISTERED_S)
        await asyncio.gather(*(each.vanish() for each in returning))
        await asyncio.sleep(LAG_WINDOW_S)

        waits = [chance.uniform(0, WITHIN_S) for _ in everybody]
        presses = [
            asyncio.create_task(each.come_back(wait, is_pressed=n % PRESSING_EVERY == 0))
            for n, (each, wait) in enumerate(zip(returning, waits, strict=False))
        ]
        presses += [
            asyncio.create_task(each.press(wait))
            for each, wait in zip(steady, waits[RETURNING:], strict=True)
        ]
        registered_s = await all_online(everybody, REGISTERED_S)
        took = sorted(each for each in await asyncio.gather(*presses) if each is not None)
        stall_ms = await asyncio.to_thread(worst_stall_ms, page)
        p99 = took[int(len(took) * 0.99)]
        print(
            f"seed {seed}: {len(returning)} back after {registered_s:.1f} s; {len(took)} presses, "
            f"p50 {took[len(took) // 2]:.2f} s, p99 {p99:.2f} s; stall {stall_ms:.0f} ms"
        )
        assert len(took) == len(steady) + -(-RETURNING // PRESSING_EVERY)
        assert p99 <= PRESS_P99_S
        assert stall_ms <= STALL_MS
        await asyncio.gather(*(each.vanish() for each in everybody))

    try:
        asyncio.run(story())
        gateway.stop()
    finally:
        gateway.kill()
    seen = registrations(tmp_path / "var" / "desk.db")
    assert len(seen) == RETURNING + STEADY
    assert sum(seen.values()) == 2 * RETURNING + STEADY
