"""R10: nobody hides an alarm behind forged ones, and no forged one passes for a real one.

Over real UDP on loopback addresses. One address forges the alarms of two hundred terminals from
twenty ports, some of terminals that are not allowed and some of allowed ones that belong to nobody.
Another stranger has one alarm, and one terminal of ours presses in the middle of it.
"""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.jtt808.frames import Frame, decode, encode
from drivers.jtt808.messages import STATUS_FIXED, Message, PositionBody
from gateway.model.events import UNLISTED, EmergencyEnded, EmergencyRaised, PositionFix
from gateway.roster.units import RosterFile, Unit
from gateway.runtime.doubtful import MOST_ENTRIES
from tests.support.ports import free_port
from tests.support.runner import Runtime

FORGER, STRANGER, OURS = "127.0.0.2", "127.0.0.3", "127.0.0.4"
FORGED, PORTS = 200, 20
SHOWN_S = 1.0
OUR_PHONE, STRANGE_PHONE = "013800138000", "013800990000"


UNITS = RosterFile(unit=(Unit(id="patrol-1", name="巡逻一组", radios=(f"jt808:{OUR_PHONE}",)),))


def handhelds(port: int, allow: str) -> dict[str, object]:
    """A link for terminals on UDP that may speak from ``allow``."""
    return {
        "id": "handhelds",
        "driver": "jt808",
        "transport": "udp",
        "listen": f"127.0.0.1:{port}",
        "allow": [allow],
        "options": {"allow": ["0138*"]},
    }


def sos(phone: str) -> bytes:
    time_bcd = bytes.fromhex("260501160000")
    body = PositionBody(1, STATUS_FIXED, 22_940_000, 113_880_000, 12, 36, 87, time_bcd)
    return encode(Frame(Message.POSITION, phone, 7, body.pack()))


@contextmanager
def sockets(host: str, count: int = 1) -> Iterator[list[socket.socket]]:
    opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for each in opened:
            each.bind((host, 0))
            each.settimeout(0)
        yield opened
    finally:
        for each in opened:
            each.close()


def is_answered(wire: socket.socket) -> bool:
    try:
        frame = decode(wire.recv(4096)[1:-1])
    except BlockingIOError:
        return False
    return isinstance(frame, Frame) and frame.message == Message.PLATFORM_ACK


@pytest.mark.fault
def test_forged_alarms_stay_in_their_lane_and_a_real_one_gets_through(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    table = handhelds(port, "127.0.0.0/8")

    async def story() -> None:
        runtime = Runtime([table], tmp_path, units=UNITS)
        running = asyncio.create_task(runtime.run())
        await asyncio.sleep(0.2)
        place = ("127.0.0.1", port)

        async def seen(phone: str) -> EmergencyRaised:
            async with asyncio.timeout(SHOWN_S):
                while True:
                    for event in alarms():
                        if event.radio_id == f"jt808:{phone}":
                            return event
                    await asyncio.sleep(0.005)

        def alarms() -> list[EmergencyRaised]:
            return [each for each in runtime.outbox.events if isinstance(each, EmergencyRaised)]

        with sockets(FORGER, PORTS) as forgers, sockets(STRANGER) as (stranger,):
            with sockets(OURS) as (ours,):
                began = time.monotonic()
                for number in range(FORGED):
                    prefix = "0138" if number % 2 else "0199"
                    frame = sos(f"{prefix}{number:08d}")
                    forgers[number % PORTS].sendto(frame, place)
                    if number == FORGED // 2:
                        stranger.sendto(sos(STRANGE_PHONE), place)
                        ours.sendto(sos(OUR_PHONE), place)
                real, strange = await seen(OUR_PHONE), await seen(STRANGE_PHONE)
                print(f"shown after {time.monotonic() - began:.3f} s")
                await asyncio.sleep(SHOWN_S)
                assert is_answered(ours)
            assert (real.verified, real.unit_id) == (True, "patrol-1")
            assert (strange.verified, strange.doubt) == (False, "unregistered radio")
            forged = [each for each in alarms() if each not in (real, strange)]
            assert len(forged) == MOST_ENTRIES == 10
            assert not any(each.verified for each in forged)
            assert {each.doubt for each in forged} == {
                "unregistered radio",
                "not on the allow list",
            }
            assert sum(is_answered(each) for each in forgers) <= MOST_ENTRIES
        counted = runtime.counters.events_dropped["too_many_unverified"]
        assert counted + len(forged) == FORGED
        assert runtime.counters.account().difference == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


def position(phone: str, lat: int) -> bytes:
    """A report that says "no alarm", somewhere else."""
    time_bcd = bytes.fromhex("260501160100")
    body = PositionBody(0, STATUS_FIXED, lat, 113_880_000, 12, 36, 87, time_bcd)
    return encode(Frame(Message.POSITION, phone, 8, body.pack()))


@pytest.mark.fault
def test_an_address_that_is_not_allowed_is_shown_as_unverified_and_moves_nobody(
    tmp_path: Path,
) -> None:
    """The forger speaks in the name of ours, from an address outside of ``allow``."""
    port = free_port(socket.SOCK_DGRAM)
    table = handhelds(port, f"{OURS}/32")

    async def story() -> None:
        runtime = Runtime([table], tmp_path, units=UNITS)
        running = asyncio.create_task(runtime.run())
        await asyncio.sleep(0.2)
        place = ("127.0.0.1", port)

        def alarms() -> list[EmergencyRaised]:
            return [each for each in runtime.outbox.events if isinstance(each, EmergencyRaised)]

        with sockets(FORGER, PORTS) as forgers, sockets(STRANGER) as (stranger,):
            with sockets(OURS) as (ours,):
                began = time.monotonic()
                stranger.sendto(sos(STRANGE_PHONE), place)
                forgers[0].sendto(sos(OUR_PHONE), place)
                for number in range(FORGED):
                    forgers[number % PORTS].sendto(sos(f"0138{number:08d}"), place)
                ours.sendto(sos(OUR_PHONE), place)
                forgers[1].sendto(position(OUR_PHONE, 23_500_000), place)
                async with asyncio.timeout(SHOWN_S):
                    while not {True, False} <= {each.verified for each in alarms()}:
                        await asyncio.sleep(0.005)
                print(f"shown after {time.monotonic() - began:.3f} s")
                await asyncio.sleep(SHOWN_S)
                assert is_answered(ours)
            (real,) = [each for each in alarms() if each.verified]
            assert (real.unit_id, real.radio_id) == ("patrol-1", f"jt808:{OUR_PHONE}")
            doubtful = [each for each in alarms() if not each.verified]
            assert {(each.doubt, each.unit_id) for each in doubtful} == {(UNLISTED, None)}
            assert f"jt808:{STRANGE_PHONE}" in {each.radio_id for each in doubtful}
            claimed = [each for each in doubtful if each.radio_id == real.radio_id]
            assert [each.unit_name for each in claimed] == ["巡逻一组"]
            assert len(doubtful) == 1 + MOST_ENTRIES, "one of the stranger, ten of the forger"
            assert not any(is_answered(each) for each in (*forgers, stranger))
        assert not [each for each in runtime.outbox.events if isinstance(each, EmergencyEnded)]
        fixes = [each for each in runtime.outbox.events if isinstance(each, PositionFix)]
        assert {round(each.lat_deg or 0, 2) for each in fixes} == {22.94}, "ours alone moves"
        counted = runtime.counters.link_dropped["handhelds", "not_allowed"]
        assert counted == FORGED + 3
        assert runtime.counters.events_dropped["too_many_unverified"] > 0
        assert runtime.counters.account().difference == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())
