"""A bug in a way out ends neither the gateway nor its ways in."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway import app
from gateway.outbox.rows import Delivery
from hil_tests.host import GatewayHere, until


class Broken:
    """A sink that has a bug, once."""

    name = "broken"

    def __init__(self) -> None:
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        if self.runs == 1:
            raise KeyError("name")
        await asyncio.Event().wait()

    async def deliver(self, rows: Any) -> Any:
        return Delivery([row.seq for row in rows])


def test_a_sink_with_a_bug_begins_again_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PART_PAUSE_S", 0.05)
    link = {"id": "a", "driver": "jt808", "transport": "tcp_server", "listen": "127.0.0.1:0"}
    here = GatewayHere(tmp_path, {"link": [link]})
    broken = Broken()
    here.gateway.sinks.append(broken)

    async def story() -> None:
        async with here.running():
            await here.links_are_up(["a"])
            assert await until(lambda: broken.runs == 2, 5)

    asyncio.run(story())
