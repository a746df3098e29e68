"""R11: a port that is pulled out and put back, against the whole gateway.

Fifty cycles on five ports: the loss is on disk within 1 s, the first position after the return
within 3 s in 99 of 100 cases, and afterwards there is no descriptor, task or thread more than
before.
"""

import asyncio
import random
import statistics
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from hil_tests.devices.nmea0183 import Nmea0183Device
from hil_tests.host import Event, GatewayHere
from hil_tests.rig.attach import PtyWire
from hil_tests.rig.pty import PtyPort
from tests.support.descriptors import open_descriptors
from tests.support.links import eventually

PORTS = 5
CYCLES = 10  # on each port
NOTICED_S = 1.0
BACK_S = 3.0
LONGEST_OUT_S = 1.0
SEED = 11


class Port:
    """One receiver on one port, and how long things took."""

    def __init__(self, number: int, folder: Path, here: GatewayHere) -> None:
        self.link_id = link_id(number)
        self.noticed_s: list[float] = []
        self.back_s: list[float] = []
        self._port = PtyPort(port_path(number, folder))
        self._port.plug()
        self._here = here
        device = Nmea0183Device()
        device.move(31.2 + number, 121.5, speed_mps=1.0, course_deg=90.0)
        self.wire = PtyWire(device, self._port, SystemClock())

    async def cycle(self, out_s: float) -> None:
        """Pull it out, wait until that is seen, put it back, wait for a fix."""
        self._port.unplug()
        self.noticed_s.append(await self._here.next_event(self._is_loss, within_s=10))
        await asyncio.sleep(out_s)
        self._port.plug()
        self.back_s.append(await self._here.next_event(self._is_fix, within_s=10))

    def _is_fix(self, event: Event) -> bool:
        return (event["type"], event["link_id"]) == ("position_fix", self.link_id)

    def _is_loss(self, event: Event) -> bool:
        found = (event["type"], event["link_id"], event.get("state"))
        return found == ("link_changed", self.link_id, "down")

    def remove(self) -> None:
        self._port.unplug()


def link_id(number: int) -> str:
    return f"gps-{number}"


def port_path(number: int, folder: Path) -> Path:
    return folder / f"tty-{number}"


def live_threads() -> int:
    """Threads, but for the event loop's own pool, which is bounded and grows when first used."""
    return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())


@pytest.mark.fault
@pytest.mark.timeout(240)
def test_fifty_unpluggings_lose_nothing_but_their_seconds(tmp_path: Path) -> None:
    async def scenario() -> None:
        tables = [
            {
                "transport": "serial",
                "id": link_id(number),
                "driver": "nmea0183",
                "port": str(port_path(number, tmp_path)),
            }
            for number in range(PORTS)
        ]
        here = GatewayHere(tmp_path, {"link": tables})
        ports = [Port(number, tmp_path, here) for number in range(PORTS)]
        source = random.Random(SEED)

        async def wear_out(port: Port, outs_s: list[float]) -> None:
            for out_s in outs_s:
                await port.cycle(out_s)

        async with here.running(), asyncio.TaskGroup() as group:
            wires: list[asyncio.Task[Any]] = [group.create_task(port.wire.run()) for port in ports]
            await here.links_are_up(list(map(link_id, range(PORTS))))
            await asyncio.gather(*(port.cycle(0.1) for port in ports))
            await here.links_are_up(list(map(link_id, range(PORTS))))
            before = (len(open_descriptors()), len(asyncio.all_tasks()), live_threads())

            outs_s = [[source.uniform(0, LONGEST_OUT_S) for _ in range(CYCLES)] for _ in ports]
            await asyncio.gather(*map(wear_out, ports, outs_s))
            await here.links_are_up(list(map(link_id, range(PORTS))))
            await eventually(lambda: live_threads() <= before[2])
            after = (len(open_descriptors()), len(asyncio.all_tasks()), live_threads())
            for task in wires:
                task.cancel()
        for port in ports:
            port.remove()

        noticed_s = sorted(each for port in ports for each in port.noticed_s)
        back_s = sorted(each for port in ports for each in port.back_s)
        print(
            f"seed {SEED}: noticed median {statistics.median(noticed_s) * 1e3:.1f} ms, "
            f"worst {noticed_s[-1] * 1e3:.1f} ms; back median {statistics.median(back_s):.2f} s, "
            f"worst {back_s[-1]:.2f} s; descriptors, tasks, threads {before} then {after}"
        )
        assert len(noticed_s) == PORTS * (CYCLES + 1)
        assert noticed_s[-1] <= NOTICED_S
        assert back_s[int(len(back_s) * 0.99) - 1] <= BACK_S
        assert after == before

    asyncio.run(scenario())
