"""Debian's gpsd on both sides of the gateway: what it says, and what it makes of ours."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from drivers.wire.sentences import write_place, write_sentence
from gateway.clock import SystemClock
from gateway.roster.units import RosterFile, Unit
from hil_tests.devices.nmea0183 import Nmea0183Device
from hil_tests.host import GatewayHere, until
from hil_tests.rig.attach import TcpServerWire
from tests.support.gpsd import running_gpsd, running_gpsfake
from tests.support.ports import free_port

LIMIT_S = 15.0
MICRODEGREE = 1e-6

PLACES = [(30.2400 + 0.0001 * step, 120.1600 + 0.0002 * step) for step in range(8)]


def walk(file: Path) -> None:
    """A recording of a receiver that goes through PLACES, a second each."""
    lines = [b"# a made-up walk\n"]
    for second, (lat_deg, lon_deg) in enumerate(PLACES):
        time, place = f"0830{second:02d}.00", write_place(lat_deg, lon_deg)
        lines.append(write_sentence(f"GNRMC,{time},A,{place},2.50,63.00,270326,,,A"))
        lines.append(write_sentence(f"GNGGA,{time},{place},1,09,0.80,12.0,M,8.0,M,,"))
    file.write_bytes(b"".join(lines))


async def _fixes_from_gpsfake(tmp_path: Path) -> list[dict[str, Any]]:
    log = tmp_path / "walk.nmea"
    walk(log)
    with running_gpsfake(log, cycle_s=0.05) as port:
        link = {
            "id": "gnss",
            "transport": "tcp_client",
            "driver": "gpsd_json",
            "host": "127.0.0.1",
            "port": port,
        }
        async with GatewayHere(tmp_path, {"link": [link]}).running() as here:

            def fixes() -> list[dict[str, Any]]:
                return [one for one in here.events if one.get("fix_valid")]

            assert await until(lambda: len(fixes()) >= len(PLACES), LIMIT_S), here.events
            return fixes()


@pytest.mark.needs("gpsd", "gpsfake")
def test_positions_of_a_real_gpsd_are_those_of_the_recording(tmp_path: Path) -> None:
    for fix in asyncio.run(_fixes_from_gpsfake(tmp_path)):
        assert fix["radio_id"] == "receiver:gnss"
        near = min(max(abs(fix["lat_deg"] - lat), abs(fix["lon_deg"] - lon)) for lat, lon in PLACES)
        assert near < MICRODEGREE, fix
        assert fix["speed_mps"] == pytest.approx(2.5 * 1852 / 3600, abs=0.01)


@pytest.mark.needs("gpsd")
def test_a_real_gpsd_reads_the_gateways_nmea_output_and_finds_the_same_places(
    tmp_path: Path,
) -> None:
    asyncio.run(_republish(tmp_path))


async def _republish(folder: Path) -> None:
    listen, out = free_port(), free_port()
    receiver = Nmea0183Device(every_s=0.2)
    wire = TcpServerWire(receiver, SystemClock(), listen=("127.0.0.1", listen))
    link = {
        "id": "gnss",
        "transport": "tcp_client",
        "driver": "nmea0183",
        "host": "127.0.0.1",
        "port": listen,
    }
    roster = RosterFile(unit=(Unit(id="van-1", name="机动1", radios=("receiver:gnss",)),))
    document = {"link": [link], "nmea_out": [{"unit": "van-1", "listen": f"127.0.0.1:{out}"}]}
    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(wire.run())
        async with GatewayHere(folder, document, roster).running() as here:
            await here.links_are_up(["gnss"])
            with running_gpsd(f"tcp://127.0.0.1:{out}") as port:
                seen = await _places_of_gpsd(port, receiver)
            stored = {
                (round(one["lat_deg"], 6), round(one["lon_deg"], 6))
                for one in here.events
                if one.get("fix_valid")
            }
        feeding.cancel()
    assert seen, "gpsd has seen no fix"
    for lat_deg, lon_deg in seen:
        near = min(max(abs(lat_deg - lat), abs(lon_deg - lon)) for lat, lon in stored)
        assert near < 2 * MICRODEGREE


async def _places_of_gpsd(port: int, receiver: Nmea0183Device) -> set[tuple[float, float]]:
    """Move the receiver about, and gather what gpsd says of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'?WATCH={"enable":true,"json":true};\n')
    seen: set[tuple[float, float]] = set()
    step = 0
    try:
        async with asyncio.timeout(LIMIT_S):
            while len(seen) < 3:
                lat_deg, lon_deg = PLACES[step // 4 % len(PLACES)]
                receiver.move(lat_deg, lon_deg, speed_mps=1.0, course_deg=45.0)
                step += 1
                line = json.loads(await reader.readline())
                if line["class"] == "TPV" and line.get("mode", 0) >= 2:
                    seen.add((line["lat"], line["lon"]))
    finally:
        writer.close()
    return seen
