"""A MOTOTRBO radio is on the air by one service and is asked by another, over real sockets."""

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drivers.api import Verb
from gateway.model.events import CommandEnded, PositionFix, RadioRegistered
from gateway.model.identity import RadioId
from gateway.runtime.downlink import Ask
from tests.support.runner import Runtime


def table(driver: str) -> dict[str, Any]:
    return {
        "transport": "udp",
        "id": driver.replace("_", "-"),
        "driver": driver,
        "listen": "127.0.0.1:0",
        "allow": ["127.0.0.0/8"],
        "options": {"radio_network": 127},
    }


@contextlib.contextmanager
def service(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind((host, port))
        wire.settimeout(0)
        yield wire


def test_a_radio_that_registered_is_located_though_it_never_reported(tmp_path: Path) -> None:
    number = random.Random().randrange(0x010000, 0xFF0000)  # an address that no other test has
    host = f"127.{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}"
    radio = RadioId(f"motorola:{number}")

    async def story() -> None:
        runtime = Runtime([table("moto_ars"), table("moto_lrrp")], tmp_path)
        running = asyncio.ensure_future(runtime.run())
        loop = asyncio.get_running_loop()
        links: list[Any] = [runner._link for runner in runtime.runners.values()]
        async with asyncio.timeout(10):
            while None in [link.bound for link in links]:
                await asyncio.sleep(0.01)
            with service(host, 4005) as registration, service(host, 4001) as location:
                registered = asyncio.ensure_future(
                    runtime.next_event(lambda event: isinstance(event, RadioRegistered))
                )
                await asyncio.sleep(0)
                await loop.sock_sendto(
                    registration, bytes.fromhex("0007f0200231310000"), links[0].bound
                )
                assert (await registered).radio_id == radio
                ended = asyncio.ensure_future(
                    runtime.next_event(lambda event: isinstance(event, CommandEnded))
                )
                placed = asyncio.ensure_future(
                    runtime.next_event(lambda event: isinstance(event, PositionFix))
                )
                runtime.downlink.submit(Ask(radio, Verb.LOCATE, "值班员"), lambda _error: None)
                request = await loop.sock_recv(location, 100)
                assert request[0] == 0x05
                report = bytes((7, 15)) + request[2:8] + bytes.fromhex("66118ecd8d118ad47b")
                await loop.sock_sendto(location, report, links[1].bound)
                assert (await placed).radio_id == radio
                end: Any = await ended
                assert (end.result, end.driver) == ("delivered", "moto_lrrp")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(story())
