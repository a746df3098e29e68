"""Frames a second through each driver's codec, beside a bare scan for frame ends.

Every driver of the catalog that has a vector file is measured, over the frames of its own vectors:
those that give events, without dialogues. The codec is fed as a session feeds it: bytes in,
receipts accepted, frames to send drained. The scan only finds where each frame ends in the same
bytes, in the same interpreter: nobody who looks at every frame can be faster.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from drivers.api import Codec, Moment, Report
from gateway.catalog import Catalog
from tests.bench.figures import Figure, Say
from tests.support.battery import Case, find_cases

TITLE = "Codecs"
ABOUT = """\
Every driver reads the frames of its own test vectors over and over; a second is one of processor
time on one core. Beside it stands the least work that anybody can do with the same bytes: finding
where each frame ends. For frames with an end mark that is one search each, for others one look at a
length and one slice. The ratio says how much of the time goes into finding frames; the rest is
understanding them."""

FRAMES_A_READ = 64  # on a stream; a datagram is a read of its own
FRAMES_A_PASS = 512


class Load(NamedTuple):
    """The reads of one codec, and the frames that they repeat."""

    codec: Codec
    moment: Moment
    reads: list[bytes]
    frames: list[bytes]


def loads_of(cases: Sequence[Case]) -> list[Load]:
    """One load for each vector that says something and can be read again and again."""
    return [
        Load(
            case.driver.new_codec(case.options, "bench", case.vector.peer),
            case.vector.moment,
            list(_reads(case)),
            case.vector.frames,
        )
        for case in cases
        if case.vector.frames
        and case.vector.events
        and not case.vector.expected_rejects
        and not case.vector.no_twice
    ]


def _reads(case: Case) -> Iterator[bytes]:
    """The vector's frames many times over, in reads as a wire gives them."""
    frames = case.vector.frames
    everything = iter(frames * max(1, FRAMES_A_PASS // len(frames)))
    if not case.is_stream:
        yield from everything
        return
    while some := list(islice(everything, FRAMES_A_READ)):
        yield b"".join(some)


def decode(load: Load) -> None:
    """One pass, as a session does it."""
    codec = load.codec
    for read in load.reads:
        for output in codec.receive(read, load.moment):
            if isinstance(output, Report) and output.receipt is not None:
                codec.accept(output.receipt)
        codec.outgoing()


def scan(load: Load) -> int:
    """Find each frame's end: by its last byte where all frames share one, else by lengths."""
    ends = {frame[-1] for frame in load.frames}
    found = 0
    if len(ends) == 1:
        end = bytes(ends)
        for read in load.reads:
            place = read.find(end)
            while place >= 0:
                found += 1
                place = read.find(end, place + 1)
        return found
    sizes = [len(frame) for frame in load.frames]
    for read in load.reads:
        place = turn = 0
        while place < len(read):
            size = sizes[turn % len(sizes)]
            int.from_bytes(read[place : place + 2], "big")
            found += len(read[place : place + size]) > 0
            place += size
            turn += 1
    return found


def per_second(loads: Sequence[Load], step: Callable[[Load], object], seconds: float) -> float:
    """Frames in a second of processor time, which others on the machine do not shorten."""
    frames = sum(FRAMES_A_PASS // len(load.frames) * len(load.frames) for load in loads)
    done, begun = 0, time.process_time()
    while (took := time.process_time() - begun) < seconds:
        for load in loads:
            step(load)
        done += frames
    return done / took


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """One figure for each driver."""
    seconds = 0.3 if quick else 1.5
    cases = find_cases()
    figures = []
    for driver in Catalog.scan():
        loads = loads_of([case for case in cases if case.driver.name == driver.name])
        if not loads:
            say(f"{driver.name}: no vector to measure with")
            continue
        figure = Figure(
            name=f"`{driver.name}`, {len(loads)} vectors",
            unit="frames/s",
            ceiling_is="bare scan for frame ends",
        )
        for _ in range(runs):
            figure.add(per_second(loads, decode, seconds), per_second(loads, scan, seconds / 5))
        say(f"{driver.name}: {figure.value:,.0f} frames/s")
        figures.append(figure)
    return figures
