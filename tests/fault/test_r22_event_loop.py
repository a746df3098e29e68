"""R22: the event loop is never held: lag at most 20 ms (p99) and 250 ms, no call over 50 ms.

The whole gateway with page, broker and series, under thirty times the nominal rate of reports and
with a page open. Others use the machine too: a probe without any load runs beside, and what it sees
is no fault of ours.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.outbox.rows import Lane, Write
from hil_tests.host import GatewayHere, until
from tests.support.gateway_process import free_port
from tests.support.influxdb import InfluxDb
from tests.support.loop_watch import at, longest_calls, probe
from tests.support.mosquitto import Mosquitto
from tests.support.outbox import fix

WALKERS, EVERY_S, SECONDS = 100, 0.2, 12.0  # 500 reports a second; nominal are 17
WARM_S = 3.0
P99_S, MOST_S, CALL_S = 0.020, 0.250, 0.050
BACKLOG = 20_000
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(120),
    pytest.mark.needs("mosquitto", "influxd"),
]


async def child(*words: object) -> dict[str, Any]:
    """Run a part of loop_watch in a process of its own; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.loop_watch", *map(str, words),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


def document(broker: Mosquitto, database: InfluxDb, port: int) -> dict[str, Any]:
    return {
        "desk": {"listen": f"127.0.0.1:{free_port()}"},
        "mqtt": {"enabled": True, "port": broker.port},
        "influx": {"enabled": True, "api": "1", "url": database.url},
        "link": [
            {
                "transport": "tcp_server",
                "id": "terminals",
                "driver": "jt808",
                "listen": f"127.0.0.1:{port}",
            }
        ],
    }


def judge(what: str, lags_s: list[float], beside: dict[str, float], calls: list[Any]) -> None:
    p99, most = at(lags_s, 0.99), max(lags_s)
    print(
        f"{what}: lag p99 {p99 * 1e3:.1f} ms, worst {most * 1e3:.1f} ms ({len(lags_s)} probes); "
        f"beside, without load: p99 {beside['p99'] * 1e3:.1f} ms, worst {beside['max'] * 1e3:.1f} "
        f"ms; calls over {CALL_S * 1e3:.0f} ms: {calls}"
    )
    assert not calls
    assert p99 <= P99_S + 2 * beside["p99"]
    assert most <= MOST_S + 2 * beside["max"]


def test_the_loop_is_not_held_under_load(tmp_path: Path) -> None:
    (tmp_path / "influx").mkdir()
    with Mosquitto(tmp_path) as broker, InfluxDb(tmp_path / "influx") as database:
        database.query("CREATE DATABASE pdt")
        port = free_port()
        lags_s: list[float] = []

        async def story() -> tuple[dict[str, Any], dict[str, Any]]:
            here = GatewayHere(tmp_path, document(broker, database, port))
            async with here.running():
                await here.links_are_up(["terminals"])
                walking = asyncio.ensure_future(child("walk", port, WALKERS, EVERY_S, SECONDS))
                await asyncio.sleep(WARM_S)
                lasts_s = SECONDS - WARM_S
                with longest_calls(CALL_S) as calls:
                    probing = asyncio.ensure_future(probe(lags_s))
                    beside = await child("idle", lasts_s - 2)
                    probing.cancel()
                    seen.extend(calls)
                return beside, await walking

        seen: list[Any] = []
        beside, walked = asyncio.run(story())
        print(f"{walked['answered'] / SECONDS:.0f} reports answered a second")
        assert walked["answered"] > WALKERS * SECONDS
        judge("under load", lags_s, beside, seen)


def test_the_loop_is_not_held_while_a_backlog_is_written(tmp_path: Path) -> None:
    """Full batches to broker and series at once, the most that a sink does in one go."""
    (tmp_path / "influx").mkdir()
    with Mosquitto(tmp_path) as broker, InfluxDb(tmp_path / "influx") as database:
        database.query("CREATE DATABASE pdt")
        lags_s: list[float] = []
        seen: list[Any] = []

        async def story() -> dict[str, Any]:
            here = GatewayHere(tmp_path, document(broker, database, free_port()))
            async with here.running():
                await asyncio.sleep(1)
                outbox = here.gateway.outbox

                def behind() -> int:
                    assert here.gateway.facts.dispatcher is not None
                    states = here.gateway.facts.dispatcher.states()
                    return max(sum(state.lag.values()) for state in states)

                with longest_calls(CALL_S) as calls:
                    probing = asyncio.ensure_future(probe(lags_s))
                    for number in range(BACKLOG):
                        while not outbox.submit(
                            Write(Lane.TELEMETRY, fix(number), None, lambda _error: None)
                        ):
                            await asyncio.sleep(0.01)
                        if number % 50 == 0:
                            await asyncio.sleep(0)
                    beside = await child("idle", 3)
                    assert await until(lambda: behind() == 0, 60)
                    probing.cancel()
                    seen.extend(calls)
                return beside

        beside = asyncio.run(story())
        judge("backlog", lags_s, beside, seen)
        assert database.query("SELECT count(lat) AS n FROM position")[0]["n"] == BACKLOG
