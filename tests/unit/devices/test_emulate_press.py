"""``pdt-gateway emulate … --press-after``: what it tells of the answer, or of none."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.demo.emulate import ANSWER_S, DEVICES, UNANSWERED, Emulation, press
from hil_tests.devices.base import Device
from tests.support.devices import DEVICES as ANSWERED

PRESS_S = 1.0


def lines_of(kind: str) -> list[str]:
    """What is told within five minutes in which no gateway says a word."""

    async def story() -> list[str]:
        clock = ManualClock()
        lines: list[str] = []
        _, device = DEVICES[kind](Emulation(kind, "", None, "", "", "", 2.0, None))
        task = asyncio.create_task(press(kind, device, PRESS_S, clock, lines.append))
        await clock.advance(300)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return lines

    return asyncio.run(story())


@pytest.mark.parametrize("kind", sorted(ANSWERED))
def test_an_answer_that_does_not_come_is_spoken_of_once(kind: str) -> None:
    pressed, late = lines_of(kind)
    assert pressed == "the button is pressed"
    assert f"no acknowledgement has come within {ANSWER_S:g} s" in late


@pytest.mark.parametrize("kind", sorted(UNANSWERED))
def test_where_no_answer_can_come_that_is_said_at_once(kind: str) -> None:
    assert lines_of(kind)[1].startswith(f"no answer will come: {UNANSWERED[kind]}")


@pytest.mark.parametrize("kind", sorted(DEVICES.keys() - ANSWERED.keys() - UNANSWERED.keys()))
def test_a_device_without_a_button_says_so(kind: str) -> None:
    (line,) = lines_of(kind)
    assert line.startswith("no button is pressed: ")


def test_a_late_answer_is_told_all_the_same() -> None:
    class Slow:
        is_press_acknowledged = False

        def press(self) -> None: ...

    async def story() -> list[str]:
        clock = ManualClock()
        lines: list[str] = []
        device: Device = Slow()  # type: ignore[assignment] # what a press asks of a device
        task = asyncio.create_task(press("jt808", device, PRESS_S, clock, lines.append))
        await clock.advance(60)
        device.is_press_acknowledged = True  # type: ignore[misc] # as above
        await clock.advance(1)
        await task
        return lines

    assert asyncio.run(story())[-1] == "the gateway has acknowledged it"


@pytest.mark.slow
def test_a_device_that_nobody_reads_any_more_ends_and_takes_its_port_along(tmp_path: Path) -> None:
    port = tmp_path / "port"
    words = ["emulate", "kenwood", "--pty", str(port), "--press-after", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as device:
        assert device.stdout is not None
        assert device.stderr is not None
        assert b"Kenwood" in device.stdout.readline()
        device.stdout.close()
        assert device.wait(20) == 0
        assert device.stderr.read() == b""
    assert not port.is_symlink()
