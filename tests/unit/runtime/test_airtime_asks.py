"""The air-time schedule through the whole gateway: polled radios answer, within the budget."""

import asyncio
from pathlib import Path

from gateway.clock import SystemClock
from gateway.roster.units import RosterFile, Unit
from hil_tests.devices.kenwood import KenwoodBase
from hil_tests.host import GatewayHere, until
from hil_tests.rig.attach import TcpServerWire


async def _run(folder: Path, *, is_allowed: bool) -> tuple[GatewayHere, int]:
    base = KenwoodBase("100-1001", every_s=1000)
    wire = TcpServerWire(base, SystemClock())
    host, port = await wire.listen()
    document = {
        "link": [
            {
                "id": "base",
                "transport": "tcp_client",
                "driver": "nmea0183",
                "host": host,
                "port": port,
            }
        ],
        "commands": {"enabled": is_allowed, "allow": ["locate"]},
        "airtime": [{"id": "channel-1", "links": ["base"], "budget_a_min": 600}],
    }
    roster = RosterFile(unit=(Unit(id="van-1", name="机动1", radios=("kenwood:100-1001",)),))
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(wire.run())
        async with GatewayHere(folder, document, roster).running() as here:
            await here.links_are_up(["base"])
            asked = await until(
                lambda: any(one.get("trigger") == "request" for one in here.events),
                5.0 if is_allowed else 3.0,
            )
            promised = here.gateway.facts.gateway().airtime[0].promises
            assert asked == is_allowed, here.events
            assert bool(promised) == is_allowed
        feeding.cancel()
    return here, here.gateway.counters.polls


def test_a_radio_is_polled_and_its_answer_is_a_fix_by_request(tmp_path: Path) -> None:
    here, polls = asyncio.run(_run(tmp_path, is_allowed=True))
    assert polls >= 1
    kinds = {one["type"] for one in here.events}
    assert not any(kind.startswith("command") for kind in kinds)  # polls leave no record


def test_nobody_is_polled_while_commands_are_off(tmp_path: Path) -> None:
    _, polls = asyncio.run(_run(tmp_path, is_allowed=False))
    assert polls == 0
