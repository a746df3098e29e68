"""R1: nothing lost, nothing doubled, under kills at random moments.

Forty radios press 4,000 times in all; the gateway is killed 200 times without a word and started
again on the same folder. Every press that was acknowledged must be in the desk's log exactly once,
in order, and nothing else may be there; afterwards a fresh press gets through within five seconds.
"""

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, settings
from tests.support.ledger import Ledger, Radio, wait_until_delivered
from tests.support.ports import free_port
from tests.support.units import write_units

RADIOS, PRESSES, KILLS = 40, 100, 200
PHONES = [f"{13_800_000_000 + n:012d}" for n in range(RADIOS)]


async def chaos(gateway: GatewayProcess, port: int, kills: int, seed: int) -> None:
    """Kill and restart at random moments; every life is long enough to accept something."""
    source = random.Random(seed)
    for _ in range(kills):
        await asyncio.to_thread(gateway.wait_for_port, port)
        await asyncio.sleep(source.uniform(0.0, 0.12))
        await asyncio.to_thread(gateway.kill)
        gateway.start()
    await asyncio.to_thread(gateway.wait_for_port, port)


@pytest.mark.fault
@pytest.mark.timeout(300)
def test_every_acknowledged_press_is_in_the_desk_log_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, folder {tmp_path}")
    port = free_port()
    write_units(tmp_path, (f"jt808:{phone}" for phone in PHONES))
    gateway = GatewayProcess(tmp_path, settings(port, has_units=True))
    ledger = Ledger()
    desk_log = tmp_path / "var" / "desk.db"

    async def story() -> None:
        radios = [Radio(phone, port, ledger) for phone in PHONES]
        async with asyncio.TaskGroup() as group:
            group.create_task(chaos(gateway, port, KILLS, seed))
            for radio in radios:
                group.create_task(radio.run(PRESSES))
        await wait_until_delivered(ledger, desk_log, limit_s=30)
        started = time.monotonic()
        await radios[0].run(1, first=PRESSES)
        await wait_until_delivered(ledger, desk_log, limit_s=5)
        print(f"fresh press delivered after {time.monotonic() - started:.2f} s")

    gateway.start()
    try:
        asyncio.run(story())
        gateway.stop()
    finally:
        gateway.kill()
    assert len(ledger.obligations) == RADIOS * PRESSES + 1
    assert ledger.judge(desk_log) == []
