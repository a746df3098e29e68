"""R18: the time series is away, slow, refuses, or answers by half; broker and desk do not notice.

Each fault of the proxy against a real InfluxDB, 1.x and 2.x, while terminals report and somebody
presses: what came in meanwhile is published and in the desk's log at once, and afterwards each
position is in the series, once. A stand-in plays the answers that no server gives on demand.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.outbox.dispatcher import SinkState
from gateway.outbox.inspect import refused_rows
from hil_tests.host import GatewayHere, until
from hil_tests.rig.proxy import Bandwidth, Direction, Latency, ResetPeer, TcpProxy, Timeout
from tests.support.influx_v2_stand_in import Answer, InfluxV2StandIn
from tests.support.influxdb import EACH_VERSION, TOKEN, InfluxServer
from tests.support.ledger import Ledger, Radio
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Listener
from tests.support.ports import free_port
from tests.support.soak import Walker

WALKERS = 20
EVERY_S = 0.2
CALM_S, FAULT_S = 1.0, 4.0
PROMPT_S = 2.0  # an alarm, while the series is away and the machine is busy
DRAIN_S = 20.0

pytestmark = [pytest.mark.fault, pytest.mark.timeout(90)]


class Town:
    """A gateway with terminals, a real broker, and a series that the test treats badly."""

    def __init__(self, folder: Path, broker: Mosquitto, influx: dict[str, Any]) -> None:
        self.port = free_port()
        self.here = GatewayHere(
            folder,
            {
                "mqtt": {"enabled": True, "port": broker.port},
                "influx": {"enabled": True, "timeout_s": 1.0, "batch_every_s": 0.2, **influx},
                "link": [
                    {
                        "transport": "tcp_server",
                        "id": "terminals",
                        "driver": "jt808",
                        "listen": f"127.0.0.1:{self.port}",
                    }
                ],
            },
        )
        self.ledger = Ledger()
        self.walkers = [
            Walker(f"{13_900_000_000 + n:012d}", self.port, self.ledger) for n in range(WALKERS)
        ]
        self._presser = Radio("013800138000", self.port, self.ledger)
        self._presses = 0

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Everybody reports inside the block; afterwards everything is delivered."""
        began = time.monotonic()

        def second() -> int:
            return 1_000_000 + round((time.monotonic() - began) * 50)

        async with self.here.running():
            await self.here.links_are_up(["terminals"])
            async with asyncio.TaskGroup() as group:
                walks = [group.create_task(each.walk(EVERY_S, second)) for each in self.walkers]
                try:
                    yield
                finally:
                    for walk in walks:
                        walk.cancel()
                    for radio in (*self.walkers, self._presser):
                        radio.hang_up()
            drained = await until(lambda: not self._behind(), DRAIN_S)
            assert drained, self._behind()

    async def press(self) -> float:
        """One press; the seconds until its acknowledgement."""
        began = time.monotonic()
        await self._presser.run(1, first=self._presses)
        self._presses += 1
        return time.monotonic() - began

    def sink(self, name: str) -> SinkState:
        dispatcher = self.here.gateway.facts.dispatcher
        assert dispatcher is not None
        return next(state for state in dispatcher.states() if state.name == name)

    def _behind(self) -> list[SinkState]:
        assert self.here.gateway.facts.dispatcher is not None
        states = self.here.gateway.facts.dispatcher.states()
        return [state for state in states if any(state.lag.values())]

    @property
    def fixes(self) -> set[str]:
        """Ids of the positions that were committed."""
        return {each["event_id"] for each in self.here.events if each["type"] == "position_fix"}


async def down(proxy: TcpProxy) -> None:
    proxy.refuse()
    proxy.cut()


async def timeout(proxy: TcpProxy) -> None:
    proxy.add(Timeout())


async def slow(proxy: TcpProxy) -> None:
    proxy.add(Latency(0.6))
    proxy.add(Bandwidth(3_000))


async def reset(proxy: TcpProxy) -> None:
    proxy.add(ResetPeer())


async def half_open(proxy: TcpProxy) -> None:
    """What we write arrives, and is written; no answer ever comes back."""
    proxy.add(Timeout(), Direction.DOWN)


@pytest.mark.needs("mosquitto")
@EACH_VERSION
@pytest.mark.parametrize("fault", [down, timeout, slow, reset, half_open])
def test_a_fault_of_the_series_is_nobody_elses(
    tmp_path: Path, version: type[InfluxServer], fault: Callable[[TcpProxy], Any]
) -> None:
    with Mosquitto(tmp_path) as broker, version(tmp_path / "influx") as database:
        database.create()
        proxy = TcpProxy(("127.0.0.1", database.port))

        async def story() -> Town:
            _, port = await proxy.listen()
            behind = {**database.settings, "url": f"http://127.0.0.1:{port}"}
            town = Town(tmp_path, broker, behind)
            carrying = asyncio.ensure_future(proxy.run())
            async with town.at_work():
                await asyncio.sleep(CALM_S)
                await fault(proxy)
                await asyncio.sleep(FAULT_S / 2)
                acknowledged_s = await town.press()
                await asyncio.sleep(FAULT_S / 2)
                others = [town.sink("desk"), town.sink("mqtt")]
                print(f"{fault.__name__}: acknowledged after {acknowledged_s * 1e3:.0f} ms")
                print(f"  influx {town.sink('influx').condition}: {town.sink('influx').why[:90]}")
                assert acknowledged_s < PROMPT_S
                assert [state.condition for state in others] == ["up", "up"]
                assert max(sum(state.lag.values()) for state in others) < 5 * WALKERS, (
                    "a second of them"
                )
                if fault is not slow:
                    assert town.sink("influx").condition == "down"
                proxy.heal()
                await proxy.listen()
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
            return town

        with Listener(broker.port, "pdt/v1/bench/radio/+/fix", "pdt/v1/bench/event/#") as listener:
            town = asyncio.run(story())
            heard = [message.topic for message in listener.messages]
        points = database.query("SELECT event_id FROM position")
        ids = [one["event_id"] for one in points]
        assert len(town.fixes) > WALKERS * 10
        assert set(ids) == town.fixes, "nothing is missing"
        assert len(ids) == len(set(ids)), "no row twice"
        assert heard.count("pdt/v1/bench/event/emergency_raised") == 1
        assert sum(topic.endswith("/fix") for topic in heard) >= len(town.fixes)
        assert town.sink("influx").set_aside == 0


@pytest.mark.needs("mosquitto")
def test_answers_that_mean_later_and_lines_that_are_refused(tmp_path: Path) -> None:
    """429 with a pause, 503, an error, then a partial refusal: one terminal's lines for ever."""
    bad = f"radio=jt808:{13_900_000_007:012d},"
    answers = [
        Answer(429, "too many requests", "slow down", (("Retry-After", "1"),)),
        Answer(503, "unavailable", "starting"),
        Answer(500, "internal error", "no space left"),
    ]

    def judge(lines: list[str]) -> Answer | None:
        if answers:
            return answers.pop(0)
        if any(bad in line for line in lines):
            return Answer(422, "unprocessable entity", "field type conflict: lat")
        return None

    (tmp_path / "token").write_text(TOKEN)
    settings = {"api": "2", "org": "police", "token_file": "token"}
    with Mosquitto(tmp_path) as broker, InfluxV2StandIn(judge) as server:

        async def story() -> Town:
            town = Town(tmp_path, broker, {**settings, "url": server.url})
            async with town.at_work():
                await asyncio.sleep(CALM_S + FAULT_S)
                assert town.sink("mqtt").condition == "up"
            return town

        town = asyncio.run(story())
    refused = {
        each["event_id"]
        for each in town.here.events
        if each["type"] == "position_fix" and each["radio_id"] in bad
    }
    taken = [line.partition('event_id="')[2].partition('"')[0] for line in server.lines]
    positions = [own_id for own_id in taken if own_id in town.fixes]
    assert not answers, "each of them was given"
    assert refused
    assert set(positions) == town.fixes - refused
    assert len(positions) == len(set(positions)), "what was taken is not sent again"
    shelf = refused_rows(tmp_path / "var" / "outbox.db", "influx", 10_000)
    assert len(shelf) == len(refused)
    assert all("field type conflict: lat" in row.reason for row in shelf)
