"""Hytera over real datagrams: who is heard (R10), and that silence is seen (R12)."""

import asyncio
import socket
import time
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers.api import Moment, Verb
from drivers.hytera.hrnp_host import KEEPALIVE_S
from drivers.hytera_hrnp import DRIVER as HRNP
from drivers.hytera_hstrp import DRIVER as HSTRP
from gateway.clock import ManualClock, SystemClock
from gateway.model.events import UNLISTED, CommandEnded, EmergencyRaised
from gateway.model.identity import RadioId
from gateway.runtime.downlink import Ask
from hil_tests.devices.hytera_hstrp import HEARTBEAT_S, HstrpRepeater
from hil_tests.rig.attach import UdpWire
from tests.support.links import eventually
from tests.support.runner import Runtime

ALARMS = {  # LP B003 of a radio that nobody has registered
    "hytera_hrnp": bytes.fromhex("7e04000010200001001fa34f0244b80c00010005001d8e3400178234007803"),
    "hytera_hstrp": bytes.fromhex(
        "3242002000018304000186a104010108b003002d0a348e1d0041303231353330323430"
        "3632354e333031342e353637384531323030392e38373635312e323038373303"
    ),
}
RECEIPTS = {
    "hytera_hrnp": bytes.fromhex("7e04001020100001000c61ce"),
    "hytera_hstrp": bytes.fromhex("3242002100018304000186a1040101"),
}


def table(driver: str, **more: Any) -> dict[str, Any]:
    return {
        "transport": "udp",
        "id": "link-1",
        "driver": driver,
        "listen": "127.0.0.1:0",
        "allow": ["127.0.0.1/32"],
        "options": {"connect": False},
    } | more


def place_of(runtime: Runtime, link: str = "link-1") -> tuple[str, int]:
    host, _, port = runtime.runners[link].view().place.split()[1].rpartition(":")
    return host, int(port)


def radio(source: str = "127.0.0.1") -> socket.socket:
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind((source, 0))
    wire.settimeout(0)
    return wire


@pytest.mark.parametrize("driver", sorted(ALARMS))
def test_strangers_are_shown_as_such_and_unknown_radios_are_not_verified(
    driver: str, tmp_path: Path
) -> None:
    async def story() -> None:
        runtime = Runtime([table(driver)], tmp_path)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(runtime.run())
            await eventually(lambda: runtime.runners["link-1"].view().state == "up")
            with radio("127.0.0.2") as stranger, radio() as friend:
                for _ in range(100):
                    stranger.sendto(ALARMS[driver], place_of(runtime))
                dropped = runtime.counters.link_dropped
                await eventually(lambda: dropped["link-1", "not_allowed"] == 100)
                (hearsay,) = (e for e in runtime.outbox.events if isinstance(e, EmergencyRaised))
                assert (hearsay.verified, hearsay.doubt) == (False, UNLISTED)
                begun = time.monotonic()
                waiting = group.create_task(
                    runtime.next_event(lambda event: isinstance(event, EmergencyRaised), 2)
                )
                await asyncio.sleep(0)
                friend.sendto(ALARMS[driver], place_of(runtime))
                raised = await waiting
                assert time.monotonic() - begun < 1
                assert isinstance(raised, EmergencyRaised)
                assert (raised.verified, raised.doubt) == (False, "unregistered radio")
                heard = []
                async with asyncio.timeout(2):
                    while RECEIPTS[driver] not in heard:
                        heard.append(await asyncio.get_running_loop().sock_recv(friend, 2000))
                with pytest.raises(BlockingIOError):
                    stranger.recv(2000)
            task.cancel()

    asyncio.run(story())


def test_a_repeater_that_disappears_is_silent_after_three_heartbeats(tmp_path: Path) -> None:
    (link,) = tomllib.loads(HSTRP.example)["link"]
    silent_after_s = link["silent_after_s"]
    assert silent_after_s == 3 * HEARTBEAT_S

    async def story() -> None:
        clock = ManualClock()
        runtime = Runtime([table("hytera_hstrp", silent_after_s=silent_after_s)], tmp_path, clock)
        runner = runtime.runners["link-1"]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(runtime.run())
            await eventually(partial(_is_up, runtime, "link-1"))
            repeater = HstrpRepeater(1002, every_s=3600)
            with radio() as wire:
                for _ in range(5):  # half a minute with nothing but heartbeats
                    before = runtime.counters.bytes_received["link-1"]
                    repeater.tick(Moment(clock.monotonic(), clock.now()))
                    for packet in repeater.outgoing():
                        wire.sendto(packet, place_of(runtime))
                    await eventually(partial(_has_received, runtime, more_than=before))
                    while packets := _waiting(wire):
                        for packet in packets:
                            repeater.receive(packet, Moment(clock.monotonic(), clock.now()))
                    await clock.advance(HEARTBEAT_S)
                    assert runner.view().state == "up"
                await clock.advance(2 * HEARTBEAT_S + 1)
                assert runner.view().state == "silent"
                assert runner.view().rejected["silent"] == 1
            task.cancel()

    asyncio.run(story())


def _is_up(runtime: Runtime, link_id: str) -> bool:
    return runtime.runners[link_id].view().state == "up"


def _has_received(runtime: Runtime, more_than: int) -> bool:
    return runtime.counters.bytes_received["link-1"] > more_than


def _waiting(wire: socket.socket) -> list[bytes]:
    packets = []
    while True:
        try:
            packets.append(wire.recv(2000))
        except BlockingIOError:
            return packets


def test_a_station_is_asked_so_often_that_its_silence_is_seen_in_thirty_seconds() -> None:
    (link,) = tomllib.loads(HRNP.example)["link"]
    assert link.get("silent_after_s", 30.0) <= 3 * KEEPALIVE_S == 30.0


class TextPort(HstrpRepeater):
    """The TMS port of a repeater: no radio reports there."""

    def _report(self, now: Moment) -> None:
        del now


def test_a_radio_that_reports_on_one_port_is_texted_on_another(tmp_path: Path) -> None:
    links = [
        table("hytera_hstrp", id="gps", options={"service": "lp"}),
        table("hytera_hstrp", id="tms", options={"service": "tmp", "own_number": 99_999}),
    ]
    verbs = {Verb.LOCATE: "", Verb.TEXT: "请回复", Verb.EMERGENCY_STOP: ""}

    async def story() -> None:
        clock = SystemClock()
        runtime = Runtime(links, tmp_path, clock)
        places, texts = HstrpRepeater(1002), TextPort(1002)
        places.move(22.94, 113.88, speed_mps=0.0, course_deg=0.0)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(runtime.run())]
            for link, device in (("gps", places), ("tms", texts)):
                await eventually(partial(_is_up, runtime, link))
                wire = UdpWire(device, clock, gateway=place_of(runtime, link))
                tasks.append(group.create_task(wire.run()))
            await eventually(lambda: places.is_registered and texts.is_connected)
            for verb, body in verbs.items():
                ask = Ask(RadioId("dmr:1002"), verb, "值班员", body)
                runtime.downlink.submit(ask, lambda _error: None)
            await eventually(lambda: len(_ends(runtime)) == len(verbs))
            for task in tasks:
                task.cancel()
        assert {(end.verb, end.result, end.why) for end in _ends(runtime)} == {
            (verb.value, "delivered", None) for verb in verbs
        }
        assert (texts.texts, places.texts) == (["请回复"], [])

    asyncio.run(story())


def _ends(runtime: Runtime) -> list[CommandEnded]:
    return [event for event in runtime.outbox.events if isinstance(event, CommandEnded)]
