"""R23: a day in the life of a town, sixty times as fast, with a fault a minute.

The real service, a real Mosquitto, a real InfluxDB, each behind a proxy that misbehaves. What the
gateway answered must be in the desk's log and in the series, once; afterwards memory, descriptors,
tasks and the outbox are as they were. ``--minutes 24`` is the day; two minutes are the short form,
too short for a slope of memory, which is then only bounded.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hil_tests.host import until
from hil_tests.rig.proxy import TcpProxy
from tests.conftest import find_tool, leave_out
from tests.support.databases import read_only
from tests.support.gateway_process import GatewayProcess
from tests.support.influxdb import InfluxDb, InfluxDb2, InfluxServer
from tests.support.ledger import EPOCH, Ledger, Radio
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import retained
from tests.support.ports import free_port
from tests.support.soak import Faults, Figures, Walker, figures, slope

FASTER = 60
WALKERS, PRESSERS = 100, 4
EVERY_VIRTUAL_S = 18.0  # 300 radios of a channel share 1,000 pulls a minute
PRESS_EVERY_VIRTUAL_S = 1800.0
FAULT_EVERY_S, MOST_FAULT_S = 60.0, 25.0
FIRST_FAULT_S = 15.0
SAMPLE_EVERY_S = 5.0
DRAIN_LIMIT_S = 120.0
SLOPE_FROM_MINUTES = 10  # below, a slope is noise
MIB_AN_HOUR = 1.0
MOST_MIB = 256.0
SETTINGS = """
[site]
id = "town"
data_dir = "var"
[outbox]
keep_s = {keep_s}
[desk]
listen = "127.0.0.1:{page}"
history_keep_s = 1e9  # the terminals' calendar is not today's
[mqtt]
enabled = true
port = {mqtt}
keepalive_s = 5
[influx]
{influx}timeout_s = 5.0
[[link]]
id = "terminals"
driver = "jt808"
transport = "tcp_server"
listen = "127.0.0.1:{terminals}"
"""


class Day:
    """One soak: who takes part, and what was seen."""

    def __init__(self, folder: Path, seed: int, version: type[InfluxServer]) -> None:
        self.source = random.Random(seed)
        self.desk_log = folder / "var" / "desk.db"
        self.broker = Mosquitto(folder)
        self.database = version(folder / "influx")
        self.page, self.terminals = free_port(), free_port()
        self.to_broker = TcpProxy(("127.0.0.1", self.broker.port), seed=seed)
        self.to_database = TcpProxy(("127.0.0.1", self.database.port), seed=seed)
        self.to_gateway = TcpProxy(("127.0.0.1", self.terminals), seed=seed)
        self.ledger = Ledger()
        self.walkers: list[Walker] = []
        self.seen: list[Figures] = []
        self.before: Figures | None = None  # without terminals, as at the end
        self.retained: dict[str, bytes] = {}  # emergencies that the broker holds at the end
        self.faults = Faults(
            self.source,
            broker=self.broker,
            database=self.database,
            to_broker=self.to_broker,
            to_database=self.to_database,
            to_gateway=self.to_gateway,
        )

    async def settings(self) -> str:
        """The gateway's, with the proxies' ports."""
        _, influx = await self.to_database.listen()
        direct = self.database.settings_text
        return SETTINGS.format(
            keep_s=3600 / FASTER,
            page=self.page,
            terminals=self.terminals,
            mqtt=(await self.to_broker.listen())[1],
            influx=direct.replace(self.database.url, f"http://127.0.0.1:{influx}"),
        )

    async def live(self, minutes: float) -> None:
        """The day itself; everything is healed when it returns, and the terminals are silent."""
        port = (await self.to_gateway.listen())[1]
        began = time.monotonic()
        end_s = minutes * 60

        def virtual_second() -> int:
            return 1_000_000 + round((time.monotonic() - began) * FASTER)

        self.walkers = [
            Walker(f"{13_900_000_000 + n:012d}", port, self.ledger) for n in range(WALKERS)
        ]
        pressers = [Radio(f"{13_800_000_000 + n:012d}", port, self.ledger) for n in range(PRESSERS)]
        presses = max(1, round(end_s * FASTER / PRESS_EVERY_VIRTUAL_S))
        async with asyncio.TaskGroup() as group:
            proxies = [
                group.create_task(proxy.run())
                for proxy in (self.to_broker, self.to_database, self.to_gateway)
            ]
            watch = group.create_task(self._watch(began))
            await asyncio.sleep(2 * SAMPLE_EVERY_S)
            self.before = self.seen[-1]
            every_s = EVERY_VIRTUAL_S / FASTER
            walks = [group.create_task(each.walk(every_s, virtual_second)) for each in self.walkers]
            press = [
                group.create_task(self._press(each, presses, end_s / presses)) for each in pressers
            ]
            await self._misfortunes(began + end_s)
            await asyncio.gather(*press)
            for walk in walks:
                walk.cancel()
            for radio in (*self.walkers, *pressers):
                radio.hang_up()
            await self._drained()
            await asyncio.sleep(2 * SAMPLE_EVERY_S)
            for task in (watch, *proxies):
                task.cancel()

    async def _misfortunes(self, end: float) -> None:
        at = time.monotonic() + FIRST_FAULT_S
        while at + MOST_FAULT_S < end:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            await self.faults.one(MOST_FAULT_S)
            at += FAULT_EVERY_S
        await asyncio.sleep(max(0.0, end - time.monotonic()))

    @staticmethod
    async def _press(radio: Radio, presses: int, every_s: float) -> None:
        for number in range(presses):
            started = time.monotonic()
            await radio.run(1, first=number)
            await asyncio.sleep(max(0.0, every_s - (time.monotonic() - started)))

    async def _watch(self, began: float) -> None:
        while True:
            found = await figures(self.page, time.monotonic() - began)
            if found is not None:
                self.seen.append(found)
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _drained(self) -> None:
        """Every sink has everything."""
        first = len(self.seen)
        await until(lambda: any(each.behind == 0 for each in self.seen[first:]), DRAIN_LIMIT_S)

    def logged_fixes(self) -> set[tuple[str, int]]:
        """Phone and device second of each position in the desk's log."""
        with read_only(self.desk_log) as log:
            rows = log.execute(
                "SELECT radio_id, fix_at FROM position JOIN holder USING (holder_key)"
            ).fetchall()
        assert len(set(rows)) == len(rows), "a position is there twice"
        start = int(EPOCH.timestamp())
        return {(radio.partition(":")[2], at // 10**9 - start) for radio, at in rows}


def median_of(seen: list[Figures], what: Callable[[Figures], float]) -> float:
    return statistics.median(map(what, seen))


@pytest.mark.fault
@pytest.mark.needs("mosquitto")
@pytest.mark.timeout(3600)
def test_a_day_with_a_fault_a_minute_loses_nothing_and_leaks_nothing(
    tmp_path: Path, minutes: float, influxdb: str
) -> None:
    version: type[InfluxServer] = InfluxDb if influxdb == "1" else InfluxDb2
    if find_tool(version.program) is None:
        leave_out(version.program)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, {minutes:g} minutes, {version.program}, folder {tmp_path}")
    day = Day(tmp_path, seed, version)

    async def story() -> None:
        gateway = GatewayProcess(tmp_path, await day.settings())
        gateway.start()
        try:
            await asyncio.to_thread(gateway.wait_for_port, day.terminals)
            await asyncio.to_thread(gateway.wait_for_port, day.page)
            await day.live(minutes)
            day.retained = await asyncio.to_thread(
                retained, day.broker.port, "pdt/v1/town/radio/+/emergency"
            )
            await asyncio.to_thread(gateway.stop)
        finally:
            await asyncio.to_thread(gateway.kill)

    with day.broker, day.database:
        day.database.create()
        asyncio.run(story())
        points = day.database.query("SELECT count(fix_valid) AS n FROM position")[0]["n"]
        raised = day.database.query("SELECT event_id FROM emergency WHERE event = 'raised'")

    answered = {(each.phone, second) for each in day.walkers for second in each.answered}
    logged = day.logged_fixes()
    hours = [each for each in day.seen if each.at_s >= 60]  # after the first virtual hour
    growth = slope([(each.at_s / 60, each.memory_mib) for each in hours]) if hours else 0.0
    before, last = day.before, day.seen[-1]
    assert before is not None
    outbox_mib = median_of(hours[: round(60 / SAMPLE_EVERY_S)], lambda f: f.outbox_mib)
    print(
        f"{len(day.faults.happened)} faults: {', '.join(day.faults.happened)}\n"
        f"{len(answered)} fixes answered, {len(logged)} logged, {points} points; "
        f"{len(day.ledger.obligations)} presses answered\n"
        f"memory {hours[0].memory_mib:.1f} to {last.memory_mib:.1f} MiB, worst "
        f"{max(each.memory_mib for each in day.seen):.1f}, slope {growth:.3f} MiB a virtual hour\n"
        f"descriptors {before.open_files} to {last.open_files}, "
        f"tasks {before.tasks} to {last.tasks}\n"
        f"outbox {outbox_mib:.1f} MiB in the first hours to {last.outbox_mib:.1f}, worst "
        f"{max(each.outbox_mib for each in day.seen):.1f}\n"
        f"loop lag, worst of each half minute: median "
        f"{median_of(day.seen, lambda f: f.lag_ms):.0f} ms, worst "
        f"{max(each.lag_ms for each in day.seen):.0f} ms"
    )
    assert len(day.faults.happened) >= minutes - 1
    assert day.ledger.judge(day.desk_log)[:5] == []
    lost = sorted(answered - logged)
    assert not lost[:5], f"{len(lost)} lost"
    assert points == len(logged), "the series has each position once"
    assert len({one["event_id"] for one in raised}) == len(raised) == len(day.ledger.obligations)
    assert len(day.retained) == PRESSERS
    assert max(each.memory_mib for each in day.seen) <= MOST_MIB
    if minutes >= SLOPE_FROM_MINUTES:
        assert growth < MIB_AN_HOUR
    assert last.open_files <= before.open_files + 2
    assert last.tasks <= before.tasks + 2
    assert last.outbox_mib <= outbox_mib + 8
