"""A real InfluxDB filled by the real gateway from the emulated town, in some ten seconds.

The demo's story is told faster: presses, a taken and a closed emergency, a radio that falls silent,
an unplugged link, frames that are refused.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers.api import Report
from gateway.app import Gateway
from gateway.catalog import Catalog
from gateway.check import check
from gateway.clock import SystemClock
from gateway.demo.places import DemoPlaces, prepare
from gateway.demo.scene import PRESSES, UNPLUGGED, Scene
from gateway.model.emergency import Emergency
from gateway.model.events import StatusReceived, Verdict
from gateway.model.identity import RadioId
from gateway.sinks import influx
from hil_tests.host import assert_balanced
from tests.support.influxdb import InfluxServer
from tests.support.sink_rows import eventually

PLAY_S = 7.0  # until a receiver that says nothing is silent
FALLS_SILENT = "gnss-4"
ALSO_PRESS = (
    "area-market-1",
    "area-market-2",
    "village-shangyong-1",
    "village-shangyong-2",
    "plaza-stationed-3",
)


@contextmanager
def town_series(folder: Path, version: type[InfluxServer]) -> Iterator[InfluxServer]:
    """The filled database, while the block lasts."""
    with version(folder / "influxdb") as database:
        database.create()
        table = f"\n[influx]\n{database.settings_text}batch_every_s = 0.2\n"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(influx, "FIGURES_EVERY_S", 1.0)
            asyncio.run(_play(folder / "town", table))
        yield database


async def _play(folder: Path, series: str) -> None:
    folder.mkdir()
    places = prepare(folder, 0)
    text = places.settings_file.read_text(encoding="utf-8")
    text = text.replace("fresh_s = 20.0", "fresh_s = 2.5").replace(
        "silent_s = 45.0", "silent_s = 5.0"
    )
    places.settings_file.write_text(text + series, encoding="utf-8")
    catalog = Catalog.scan()
    loaded, roster, _ = check(places.settings_file, catalog)
    gateway = Gateway(loaded, roster, catalog)
    scene = Scene(places, SystemClock(), lambda _what: None)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(gateway.run(stop, lambda _: ready.set()), name="gateway")
        await ready.wait()
        town = group.create_task(scene.run(), name="town")
        await _story(gateway, scene, places)
        town.cancel()
        stop.set()
    assert_balanced(serving.result())


async def _story(gateway: Gateway, scene: Scene, places: DemoPlaces) -> None:
    await asyncio.sleep(1.5)
    scene._silence()
    scene._ports[UNPLUGGED].unplug()
    scene._tasks[FALLS_SILENT].cancel()
    _noise(places)
    _weak_radio(gateway)
    closed: dict[str, Verdict] = {"village-shangyong-4": "false", "area-market-3": "true"}
    for unit, verdict in closed.items():
        state = await _press(gateway, scene, unit)
        await gateway.pipeline.take(state.emergency_id, "李明")
        await asyncio.sleep(0.3)
        await gateway.pipeline.close(state.emergency_id, "李明", verdict, None)
    for unit in (PRESSES, *ALSO_PRESS):  # nobody takes these
        await _press(gateway, scene, unit)
    await asyncio.sleep(PLAY_S)


async def _press(gateway: Gateway, scene: Scene, unit: str) -> Emergency:
    def mine() -> list[Emergency]:
        return [e for e in gateway.facts.open_emergencies() if e.unit_id == unit]

    scene._press(unit)
    await eventually(lambda: bool(mine()), f"the alarm of {unit}")
    return mine()[0]


def _weak_radio(gateway: Gateway) -> None:
    """Battery and signal, which no emulated device of the town tells; from the pipeline on real."""
    radio = RadioId("pdt:80020203")
    event = StatusReceived(radio_id=radio, code="1", battery_pct=14, rssi_dbm=-108.0)
    now = gateway.clock.now()
    gateway.pipeline.report(
        Report(event=event), link_id="hytera-plaza", driver="hytera_hrnp", at=now, settle=_settled
    )


def _settled(error: object) -> None:
    assert error is None


def _noise(places: DemoPlaces) -> None:
    """A frame with a wrong check sum for the terminals' port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        frame = bytes.fromhex("7e0002000001380013800000010f7e")
        sender.sendto(frame, ("127.0.0.1", places.terminals_udp_port))
