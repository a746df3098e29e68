"""Commands all the way down to emulated JT/T 808 terminals over real sockets, and back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.api import Verb
from drivers.jtt808.messages import Message
from gateway.clock import SystemClock
from gateway.model.events import PositionFix
from gateway.model.identity import RadioId
from gateway.runtime.downlink import Ask
from hil_tests.devices.jt808 import Jt808Device, Phase
from hil_tests.rig.attach import TcpClientWire, UdpWire, Wire
from tests.support.runner import Runtime

Story = Callable[[Runtime, list[Jt808Device]], Awaitable[None]]


def wire_for(transport: str, device: Jt808Device, place: tuple[str, int]) -> Wire:
    if transport == "udp":
        return UdpWire(device, SystemClock(), gateway=place)
    return TcpClientWire(device, place, SystemClock())


def tell(folder: Path, transport: str, devices: list[Jt808Device], story: Story) -> None:
    """Run ``story`` once all terminals are online."""

    async def play() -> None:
        table = {"id": "t", "driver": "jt808", "transport": transport, "listen": "127.0.0.1:0"}
        runtime = Runtime([table], folder)
        tasks = [asyncio.create_task(runtime.run())]
        async with asyncio.timeout(20):
            while runtime.runners["t"].view().state != "up":
                await asyncio.sleep(0.01)
            address = next(
                word for word in runtime.runners["t"].view().place.split() if ":" in word
            )
            host, _, port = address.rpartition(":")
            tasks += [
                asyncio.create_task(wire_for(transport, each, (host, int(port))).run())
                for each in devices
            ]
            while any(each.phase is not Phase.ONLINE for each in devices):
                await asyncio.sleep(0.01)
            await story(runtime, devices)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(play())


async def ask(runtime: Runtime, device: Jt808Device, verb: Verb, **more: Any) -> tuple[str, str]:
    """The command's end, and why."""
    radio = RadioId(f"jt808:{device.phone}")
    view = await runtime.downlink.ask(Ask(radio, verb, "值班员", **more))
    view = await runtime.downlink.outcome(view, 10)
    return view.state, view.why or ""


@pytest.mark.parametrize("transport", ["tcp_server", "udp"])
def test_terminals_are_located_texted_and_checked_each_by_itself(
    transport: str, tmp_path: Path
) -> None:
    async def story(runtime: Runtime, devices: list[Jt808Device]) -> None:
        first, second = devices
        assert await ask(runtime, first, Verb.TEXT, body="到北门集合") == ("delivered", "")
        assert await ask(runtime, second, Verb.TEXT, body="收队") == ("delivered", "")
        assert (first.texts, second.texts) == (("到北门集合",), ("收队",))
        assert await ask(runtime, second, Verb.LOCATE) == ("delivered", "")
        (asked,) = [
            event
            for event in runtime.outbox.events
            if isinstance(event, PositionFix) and event.trigger == "request"
        ]
        assert (asked.radio_id, asked.lat_deg) == (f"jt808:{second.phone}", 22.95)
        state, told = await ask(runtime, first, Verb.CHECK)
        assert (state, told.partition(",")[0]) == ("delivered", "heartbeat every 60 s")
        refused = ("refused", "the terminal says: not supported")
        assert await ask(runtime, second, Verb.EMERGENCY_STOP) == refused

    first, second = (
        Jt808Device("13800138001"),
        Jt808Device("13800138002", is_2019=True, refuses=[Message.CONFIRM_ALARM]),
    )
    first.move(22.94, 113.88, speed_mps=1.0, course_deg=90.0)
    second.move(22.95, 113.88, speed_mps=1.0, course_deg=90.0)
    tell(tmp_path, transport, [first, second], story)
