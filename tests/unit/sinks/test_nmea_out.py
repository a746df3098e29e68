"""One unit's position as NMEA 0183: what is written, who may read it, who is hung up on."""

import asyncio
from typing import Any

import pytest

from gateway.clock import ManualClock, SystemClock
from gateway.model.identity import RadioId, UnitId
from gateway.model.quantities import Instant
from gateway.model.views import UnitView
from gateway.settings import NmeaOutSettings
from gateway.sinks.nmea import NmeaOut, sentences
from hil_tests.host import until

NOW = Instant.parse("2026-05-01T08:00:10Z")
FACTS: dict[str, Any] = {
    "lat_deg": 30.25,
    "lon_deg": -120.16,
    "fix_at": Instant.parse("2026-05-01T08:00:01.5Z"),
}


def unit(**facts: Any) -> UnitView:
    return UnitView(
        unit_id=UnitId("van-1"),
        radio_id=RadioId("receiver:gnss"),
        state_since=Instant(0),
        **{"state": "fresh_fix", **FACTS, **facts},
    )


class Units:
    def __init__(self, view: UnitView | None) -> None:
        self.view = view

    def unit(self, key: str) -> UnitView | None:
        return self.view if key == "van-1" else None


def test_a_fresh_fix_is_rmc_and_gga() -> None:
    full = unit(speed_mps=5.0, course_deg=87.0, altitude_m=12.0, satellites=9)
    assert sentences(full, NOW).decode().splitlines() == [
        "$GPRMC,080001.500,A,3015.00000,N,12009.60000,W,9.719,87.00,010526,,,A*72",
        "$GPGGA,080001.500,3015.00000,N,12009.60000,W,1,09,,12.0,M,,,,*0E",
    ]


def test_what_is_not_known_stays_empty() -> None:
    rmc, gga = sentences(unit(), NOW).decode().splitlines()
    assert ",W,,,010526,,,A*" in rmc
    assert gga.split(",")[7:] == ["", "", "", "", "", "", "", gga[gga.index("*") :]]


@pytest.mark.parametrize("state", ["old_fix", "no_fix", "silent", "off"])
def test_an_old_place_is_not_given_to_those_who_cannot_see_its_age(state: str) -> None:
    text = sentences(unit(state=state), NOW).decode()
    assert text.startswith("$GPRMC,080010.000,V,,,,,,,010526,,,N*")
    assert "3015" not in text


async def _open(out: NmeaOut) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    assert await until(lambda: out.bound is not None, 5)
    assert out.bound is not None
    return await asyncio.open_connection(*out.bound)


async def _with(out: NmeaOut, steps: Any) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(out.run())
        try:
            await steps()
        finally:
            task.cancel()


def settings(**changes: Any) -> NmeaOutSettings:
    return NmeaOutSettings(**{"unit": "van-1", "listen": "127.0.0.1:0", **changes})


def test_a_reader_gets_the_present_place_and_then_each_new_one_once() -> None:
    units = Units(unit())
    out = NmeaOut(settings(), units, SystemClock())

    async def steps() -> None:
        reader, writer = await _open(out)
        assert (await reader.readline()).startswith(b"$GPRMC,080001.500,A")
        assert (await reader.readline()).startswith(b"$GPGGA")
        out.changed("unit", "somebody-else")
        units.view = unit(fix_at=Instant.parse("2026-05-01T08:00:03Z"))
        out.changed("unit", "van-1")
        out.changed("unit", "van-1")
        units.view = unit(state="old_fix")
        out.changed("unit", "van-1")
        assert (await reader.readline()).startswith(b"$GPRMC,080003.000,A")
        await reader.readline()
        assert b",V," in await reader.readline()
        writer.close()

    asyncio.run(_with(out, steps))


def test_a_network_that_is_not_listed_is_hung_up_on() -> None:
    out = NmeaOut(settings(allow=("192.0.2.0/24",)), Units(unit()), SystemClock())

    async def steps() -> None:
        reader, writer = await _open(out)
        assert await reader.read() == b""
        assert out.readers_dropped == 1
        writer.close()

    asyncio.run(_with(out, steps))


def test_a_reader_that_does_not_read_is_dropped_and_the_others_go_on() -> None:
    units = Units(unit())
    out = NmeaOut(settings(), units, ManualClock())

    async def steps() -> None:
        _, deaf = await _open(out)
        for second in range(200_000):
            units.view = unit(fix_received_at=Instant(second))
            out.changed("unit", "van-1")
            if out.readers_dropped:
                break
            if second % 100 == 0:
                await asyncio.sleep(0)
        assert out.readers_dropped == 1
        reader, writer = await _open(out)
        assert (await reader.readline()).startswith(b"$GPRMC")
        writer.close()
        deaf.close()

    asyncio.run(_with(out, steps))
