"""Our NMEA codec beside public parsers, over the same RMC and GGA sentences."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import reduce
from operator import xor

import pynmea2
import pynmeagps

from drivers.api import Moment
from gateway.catalog import Catalog
from gateway.clock import SystemClock
from tests.bench.figures import Figure, Say
from tests.conftest import find_tool

TITLE = "Beside public parsers"
ABOUT = """\
The same RMC and GGA sentences, check sums included, in processor time. Ours gives whole fixes with
the sentences of an epoch merged and the date completed; from pynmea2 latitude, longitude and time
are asked for, which it works out only then; pynmeagps works out everything; gpsdecode is the
decoder of gpsd, in C, which writes one JSON object for each. No package that reads the other
protocols was found to stand beside."""

EPOCHS = 2_000
READ_BYTES = 4096
GOAL = 1.0  # ahead of each


def sentences() -> list[bytes]:
    """Epochs of a receiver that walks, one second apart."""
    found = []
    for number in range(EPOCHS):
        clock = f"{8 + number // 3600:02}{number // 60 % 60:02}{number % 60:02}.00"
        place = f"2301.{number % 10_000:04},N,11352.{number * 7 % 10_000:04},E"
        found.append(_line(f"GPRMC,{clock},A,{place},{number % 40}.1,{number % 360}.0,010526,,,A"))
        found.append(_line(f"GPGGA,{clock},{place},1,09,0.9,12.5,M,-3.2,M,,"))
    return found


def _line(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n".encode()


def ours(lines: list[bytes]) -> float:
    """Processor seconds of the codec, a reading of 4 KiB at a time."""
    stream = b"".join(lines)
    codec = Catalog.scan().get("nmea0183").new_codec({}, "bench")
    now = Moment(0.0, SystemClock().now())
    fixes, begun = 0, time.process_time()
    for place in range(0, len(stream), READ_BYTES):
        fixes += len(codec.receive(stream[place : place + READ_BYTES], now))
        codec.outgoing()
    fixes += len(codec.flush(now))
    took = time.process_time() - begun
    assert fixes == EPOCHS, fixes
    return took


def with_pynmea2(lines: list[bytes]) -> float:
    """Processor seconds, with the three values that everybody needs."""
    texts = [line.decode() for line in lines]
    begun = time.process_time()
    for text in texts:
        found = pynmea2.parse(text, check=True)
        _ = found.latitude, found.longitude, found.timestamp
    return time.process_time() - begun


def with_pynmeagps(lines: list[bytes]) -> float:
    """Processor seconds; it works everything out at once."""
    begun = time.process_time()
    for line in lines:
        pynmeagps.NMEAReader.parse(line)
    return time.process_time() - begun


def with_gpsdecode(lines: list[bytes]) -> float:
    """Processor seconds of the process, its start included."""
    program = find_tool("gpsdecode")
    assert program is not None
    before = os.times()
    done = subprocess.run([program, "-d"], input=b"".join(lines), capture_output=True, check=True)
    after = os.times()
    assert done.stdout.count(b"TPV") >= EPOCHS // 2
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


OTHERS: Mapping[str, Callable[[list[bytes]], float]] = {
    "pynmea2": with_pynmea2,
    "pynmeagps": with_pynmeagps,
    "gpsdecode": with_gpsdecode,
}


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """Ours, once beside each."""
    del quick  # a second each
    lines = sentences()
    figures = {
        name: Figure(
            name=f"NMEA sentences, beside {name}",
            unit="sentences/s",
            ceiling_is=name,
            ratio_goal=GOAL,
        )
        for name in OTHERS
    }
    for turn in range(runs):
        for name, other in OTHERS.items():
            figures[name].add(len(lines) / ours(lines), len(lines) / other(lines))
            one = figures[name].runs[-1]
            say(f"run {turn + 1}: {one.value:,.0f}/s, {name} {one.ceiling:,.0f}/s")
    return list(figures.values())
