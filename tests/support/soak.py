"""What a soak is made of: terminals that walk all day, faults by a seed, figures by the minute."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import httpx

from hil_tests.rig.proxy import (
    Bandwidth,
    Direction,
    Latency,
    ResetPeer,
    TcpProxy,
    Timeout,
    Toxic,
)
from tests.support.influxdb import InfluxServer
from tests.support.ledger import Ledger, Radio
from tests.support.mosquitto import Mosquitto

Fault = Callable[[], Awaitable[None]]
FIGURE = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)


class Walker(Radio):
    """A terminal that reports where it is, again until it is answered.

    ``answered`` are the device seconds of the reports that the gateway said to have.
    """

    def __init__(self, phone: str, port: int, ledger: Ledger) -> None:
        super().__init__(phone, port, ledger)
        self.answered: set[int] = set()

    async def walk(self, every_s: float, virtual_second: Callable[[], int]) -> None:
        """Report until cancelled."""
        while True:
            started = time.monotonic()
            second = virtual_second()
            if second not in self.answered:
                await self._until_acknowledged(self._report(second, alarm=0))
                self.answered.add(second)
            await asyncio.sleep(max(0.0, every_s - (time.monotonic() - started)))


class Figures(NamedTuple):
    """One look at ``/metrics``; ``at_s`` counts from the start of the soak."""

    at_s: float
    memory_mib: float
    open_files: int
    tasks: int
    outbox_mib: float
    behind: int
    lag_ms: float


async def figures(port: int, at_s: float) -> Figures | None:
    """Ask the gateway; None where it does not answer in time."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx.HTTPError:
        return None
    sums: dict[str, float] = {}
    for name, _labels, value in FIGURE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
    return Figures(
        at_s,
        sums["pdt_gateway_memory_bytes"] / 2**20,
        int(sums["pdt_gateway_open_files"]),
        int(sums["pdt_gateway_tasks"]),
        sums["pdt_outbox_used_bytes"] / 2**20,
        int(sums["pdt_sink_behind_rows"]),
        sums["pdt_gateway_loop_lag_seconds"] * 1000,
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much y grows with each x."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


class Faults:
    """One a minute, drawn by a seed; each is healed before the next."""

    def __init__(
        self,
        source: random.Random,
        *,
        broker: Mosquitto,
        database: InfluxServer,
        to_broker: TcpProxy,
        to_database: TcpProxy,
        to_gateway: TcpProxy,
    ) -> None:
        self._source = source
        self._broker = broker
        self._database = database
        self._proxies = {"broker": to_broker, "store": to_database, "radios": to_gateway}
        self.happened: list[str] = []

    async def one(self, most_s: float) -> None:
        """Choose a fault, let it last, heal it."""
        lasts_s = self._source.uniform(0.2, 1.0) * most_s
        kinds: dict[str, Fault] = {
            "broker killed": lambda: self._broker_killed(lasts_s),
            "broker frozen": lambda: self._broker_frozen(lasts_s),
            "store killed": lambda: self._store_killed(lasts_s),
        }
        for name, proxy in self._proxies.items():
            for toxic in (Latency(1.0, 0.5), Timeout(), ResetPeer(), Bandwidth(20_000)):
                what = f"{name} {type(toxic).__name__.lower()}"
                kinds[what] = partial(self._toxic, proxy, toxic, lasts_s)
            kinds[f"{name} half-open"] = partial(self._half_open, proxy, lasts_s)
        chosen = self._source.choice(sorted(kinds))
        self.happened.append(chosen)
        await kinds[chosen]()

    async def _broker_killed(self, lasts_s: float) -> None:
        await asyncio.to_thread(self._broker.kill)
        await asyncio.sleep(lasts_s)
        await asyncio.to_thread(self._broker.start)

    async def _broker_frozen(self, lasts_s: float) -> None:
        self._broker.freeze()
        await asyncio.sleep(lasts_s)
        self._broker.thaw()

    async def _store_killed(self, lasts_s: float) -> None:
        await asyncio.to_thread(self._database.kill)
        await asyncio.sleep(lasts_s)
        await asyncio.to_thread(self._database.start)

    @staticmethod
    async def _toxic(proxy: TcpProxy, toxic: Toxic, lasts_s: float) -> None:
        proxy.add(toxic)
        await asyncio.sleep(lasts_s)
        proxy.heal()

    @staticmethod
    async def _half_open(proxy: TcpProxy, lasts_s: float) -> None:
        """Our bytes arrive, nothing comes back."""
        proxy.add(Timeout(), Direction.DOWN)
        await asyncio.sleep(lasts_s)
        proxy.heal()
