"""What is plugged in and what it speaks, on real pseudo-terminals."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.catalog import Catalog
from gateway.clock import SystemClock
from gateway.ports import PortFacts, listen
from hil_tests.devices.base import Device
from hil_tests.devices.hytera_hrnp import HrnpStation
from hil_tests.devices.nmea0183 import Nmea0183Device
from hil_tests.rig.attach import PtyWire
from hil_tests.rig.pty import PtyPort
from tests.unit.cli.test_cli import run

DRIVERS = list(Catalog.scan())


@contextmanager
def device_on(path: Path, device: Device) -> Iterator[None]:
    """``device`` on a pty at ``path``, served by a thread with a loop of its own."""
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        port = PtyPort(path)
        port.plug()
        wire = asyncio.ensure_future(PtyWire(device, port, SystemClock()).run())
        ready.set()
        while not done.is_set():
            await asyncio.sleep(0.02)
        wire.cancel()
        port.unplug()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(5)
    try:
        yield
    finally:
        done.set()
        thread.join()


def facts(path: Path) -> PortFacts:
    return PortFacts(path=str(path), device=str(path))


def test_a_receiver_is_known_by_listening(tmp_path: Path) -> None:
    receiver = Nmea0183Device(every_s=0.1)
    receiver.move(30.25, 120.16, speed_mps=0, course_deg=0)
    path = tmp_path / "port"
    with device_on(path, receiver):
        found = listen(facts(path), DRIVERS, seconds=0.5)
    assert found.speaks[0].driver == "nmea0183"
    assert found.speaks[0].understood >= 2
    assert found.sample.startswith("$GN") or "$G" in found.sample


def test_a_radio_that_waits_to_be_asked_is_known_only_by_asking(tmp_path: Path) -> None:
    path = tmp_path / "port"
    with device_on(path, HrnpStation(0xFC0F00, every_s=0.2)):
        silent = listen(facts(path), DRIVERS, seconds=0.1)
        asked = listen(facts(path), DRIVERS, seconds=1.0, asks=True)
    assert not silent.speaks
    assert asked.speaks[0].driver == "hytera_hrnp"


def test_noise_is_heard_and_understood_by_nobody(tmp_path: Path) -> None:
    master, slave = os.openpty()
    stop = threading.Event()

    def shout() -> None:
        while not stop.is_set():
            os.write(master, bytes(range(128, 160)))
            stop.wait(0.02)

    thread = threading.Thread(target=shout)
    thread.start()
    try:
        found = listen(facts(Path(os.ttyname(slave))), DRIVERS, seconds=0.1)
    finally:
        stop.set()
        thread.join()
        os.close(master)
        os.close(slave)
    assert not found.speaks
    assert found.bytes_heard > 0


def test_a_port_that_is_not_there_says_so(tmp_path: Path) -> None:
    found = listen(facts(tmp_path / "gone"), DRIVERS, seconds=0.1)
    assert found.trouble == "not there (ENOENT)"


def test_the_command_ends_with_1_where_nothing_speaks(tmp_path: Path) -> None:
    done = run("ports", str(tmp_path / "gone"), "--seconds", "0.1", "--json")
    assert done.returncode == 1
    assert '"trouble": "not there (ENOENT)"' in done.stdout


@pytest.mark.parametrize("words", [["--seconds", "-1"]])
def test_a_negative_time_is_refused(words: list[str]) -> None:
    assert run("ports", *words).returncode == 2
