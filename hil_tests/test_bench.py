"""Scenario and bench files say clearly what is wrong with them, and a person is asked clearly."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.errors import ConfigError
from hil_tests.bench import EXAMPLE, BenchFile, RealBench, RealDevice, load_bench, obstacle, request
from hil_tests.devices.base import Device
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.devices.nmea0183 import Nmea0183Device
from hil_tests.rig.attach import PtyWire, TcpClientWire, Wire
from hil_tests.rig.pty import PtyPort
from hil_tests.runner import NotSeenError, Play
from hil_tests.scenario import (
    FOLDER,
    Ask,
    Close,
    DeviceDo,
    Noise,
    Scenario,
    Take,
    load_scenario,
    scenario_files,
)

HERE = (22.94, 113.88)
SHORT = """
title = "t"
title_zh = "标题"
about = "a"
device = [{ name = "receiver", kind = "receiver", link = "gnss-1" }]
steps = [%s]
[[link]]
id = "gnss-1"
driver = "nmea0183"
transport = "serial"
"""


def short_scenario(folder: Path, step: str) -> Path:
    file = folder / "short.toml"
    file.write_text(SHORT % step, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ('{ do = "pres", device = "receiver" }', "'do pres' is wrong; one of .*do press"),
        ('{ device = "receiver" }', "neither or both of do and see"),
        ('{ do = "press", device = "nobody" }', "step 1: there is no device 'nobody'"),
        ('{ see = "link", link = "x", state = "up" }', "step 1: there is no link 'x'"),
        ('{ do = "press", device = "receiver", knd = "alarm" }', "did you mean 'kind'"),
        ('{ see = "count", type = "text", device = "receiver" }', "step 1: say one of exactly"),
        (
            '{ do = "ask", device = "receiver", verb = "locate" }',
            "commands. must be enabled and allow",
        ),
        ('{ do = "ask", device = "receiver", verb = "kill" }', "'kill' is wrong"),
        ('{ do = "wait", after_s = -1 }', "after_s: -1 is wrong"),
    ],
)
def test_a_wrong_line_of_a_scenario_is_named(tmp_path: Path, step: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_scenario(short_scenario(tmp_path, step))


def test_a_step_that_no_wire_can_do_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "button_on_hytera.toml").read_text(encoding="utf-8")
    file = tmp_path / "button.toml"
    file.write_text(text.replace('"release", device', '"unplug", device'), encoding="utf-8")
    with pytest.raises(ConfigError, match="'radio-a' has no wire of its own; use its station"):
        load_scenario(file)


def test_what_is_not_seen_is_told_with_what_was_there_instead(tmp_path: Path) -> None:
    step = '{ see = "link", link = "gnss-1", state = "up", within_s = 0.2 }'
    scenario = load_scenario(short_scenario(tmp_path, step))
    nothing = RealDevice(port=str(tmp_path / "no-port"))
    bench = RealBench(scenario, BenchFile(patience_s=0.1, device={"receiver": nothing}), print)
    with pytest.raises(NotSeenError, match=r"not within 0.2 s: see link .*instead: down \(serial"):
        asyncio.run(Play(scenario, bench, tmp_path, print).run())


def test_the_example_bench_has_a_place_for_every_device_and_words_for_every_step() -> None:
    bench = load_bench(EXAMPLE)
    for scenario in map(load_scenario, scenario_files()):
        assert scenario.title_zh
        is_noisy = any(isinstance(step, Noise) for step in scenario.steps)
        assert bool(obstacle(scenario, bench)) == is_noisy
        for step in scenario.steps:
            if isinstance(step, DeviceDo) and not isinstance(step, Noise | Take | Close | Ask):
                assert "radio A" in request(step, "radio A") or step.say


def test_a_bench_file_with_a_wrong_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text('[device.station]\nradio_id = "80020299"\n')
    with pytest.raises(ConfigError, match=r"device.station.radio_id: .*'pdt:80020200'"):
        load_bench(file)
    file.write_text("[device.station]\nbuad = 9600\n")
    with pytest.raises(ConfigError, match="did you mean 'baud'"):
        load_bench(file)


class Person:
    """Does what is asked with a device that is not the scenario's, but the bench's own."""

    def __init__(self, device: Device, port: PtyPort | None) -> None:
        self._device = device
        self._port = port
        self.was_asked: list[str] = []

    def listen(self, line: str) -> None:
        """A line of the bench; those with arrows are for people."""
        if ">>>" not in line:
            return
        self.was_asked.append(line)
        if "sees the sky" in line:
            self._device.move(*HERE, speed_mps=1.0, course_deg=0.0)
        elif "press the emergency button" in line:
            self._device.press()
        elif "pull out" in line and self._port is not None:
            self._port.unplug()
        elif "put the adapter" in line and self._port is not None:
            self._port.plug()


async def play_by_hand(
    scenario: Scenario, real: RealDevice, person: Person, wire: Wire, folder: Path
) -> None:
    bench_file = BenchFile(patience_s=5.0, device={scenario.device[0].name: real})
    assert obstacle(scenario, bench_file) == ""
    bench = RealBench(scenario, bench_file, person.listen)

    async def serve() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await wire.run()

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve())
        try:
            await Play(scenario, bench, folder, print).run()
        finally:
            serving.cancel()


def test_a_person_with_a_real_port_plays_the_scenario_of_the_adapter(tmp_path: Path) -> None:
    port = PtyPort(tmp_path / "ttyUSB7")
    port.plug()
    device = Nmea0183Device(every_s=0.3)
    person = Person(device, port)
    scenario = load_scenario(FOLDER / "receiver_unplugged_and_back.toml")
    real = RealDevice(label="the grey receiver", port=str(port.path), baud=38400)
    wire = PtyWire(device, port, SystemClock())
    try:
        asyncio.run(play_by_hand(scenario, real, person, wire, tmp_path))
    finally:
        port.unplug()
    assert person.was_asked == [
        "  >>> switch on: the grey receiver",
        "  >>> put the grey receiver where it sees the sky, and leave it there",
        "  >>> pull out the adapter of the grey receiver now",
        "  >>> put the adapter of the grey receiver back in now",
    ]


def test_a_person_with_a_real_handheld_plays_the_scenario_of_the_key(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    device = Jt808Device("13999999999", every_s=0.5)
    person = Person(device, None)
    scenario = load_scenario(FOLDER / "terminal_sos_over_tcp.toml")
    real = RealDevice(listen=f"127.0.0.1:{port}", radio_id="jt808:013999999999")
    wire = TcpClientWire(device, ("127.0.0.1", port), SystemClock())
    asyncio.run(play_by_hand(scenario, real, person, wire, tmp_path))
    assert sum("press the emergency button of terminal" in line for line in person.was_asked) == 2
