"""R16: one bit in a thousand flipped over 10 MB of valid frames, seeded.

Every intact frame is decoded as it is when the damaged ones are left out, so the codec is in step
again at the first intact frame after a damaged one. No event comes from a frame whose check does
not fit; a frame damaged twice so that its check fits again (one in some hundred with an 8-bit XOR)
cannot be told from an intact one, and its event is no invention of the codec. Where a protocol's
structure makes a loss unavoidable, its ``tests/support/truth/<driver>.py`` says so as ``MAY_LOSE``,
the share of intact frames, with the reason beside it. A protocol of datagrams gets every frame as
one, damaged or not.
"""

import bisect
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from drivers.api import Driver, Report, Transport
from gateway.model.events import to_json
from tests.support import battery, fuzz

STREAM_BYTES = 10_000_000
ERROR_RATE = 1e-3  # of bits
CASES = battery.find_cases()
DRIVERS = {
    name: found
    for name, found in battery.find_drivers().items()
    if isinstance(found, Driver)
    and (Transport.SERIAL in found.transports or fuzz.truth_of(name) is not None)
}


def frame_source(driver: Driver[Any]) -> Iterator[bytes]:
    """Valid frames without end: the driver's own stream, or the vectors that are one frame each."""
    truth = fuzz.truth_of(driver.name)
    if truth is not None and hasattr(truth, "frames"):
        yield from truth.frames(STREAM_BYTES)
    usable = [
        case.vector.frames[0]
        for case in CASES
        if case.driver is driver
        and len(case.vector.frames) == 1
        and case.vector.events
        and not case.vector.expected_rejects
        and not case.vector.options
        and not case.vector.no_bit_flips
    ]
    assert usable, f"{driver.name} has no vector of one frame to make a stream of"
    while True:
        yield from usable


def damage(stream: bytearray, rng: random.Random) -> list[int]:
    """Flip bits at ``ERROR_RATE``; gives the places of the damaged bytes, in order."""
    places = []
    bit = 0.0
    while (bit := bit + 1 + rng.expovariate(ERROR_RATE)) < len(stream) * 8:
        stream[int(bit) // 8] ^= 1 << int(bit) % 8
        places.append(int(bit) // 8)
    return places


def chunks(stream: bytes, rng: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        size = rng.randrange(1, 2048)
        yield stream[at : at + size]
        at += size


def events_of(driver: Driver[Any], reads: Iterable[bytes]) -> Counter[bytes]:
    """What one codec reports of ``reads``, accepting as it goes."""
    codec = driver.new_codec({}, "link-1")
    events: Counter[bytes] = Counter()

    def take(outputs: Iterable[object]) -> None:
        for output in outputs:
            if isinstance(output, Report):
                events[to_json(output.event)] += 1
                if output.receipt is not None:
                    codec.accept(output.receipt)
        codec.outgoing()

    for read in reads:
        take(codec.receive(read, fuzz.NOW))
    take(codec.flush(fuzz.NOW))
    return events


@pytest.mark.fault
@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
def test_every_intact_frame_is_decoded_and_none_is_invented(driver: Driver[Any]) -> None:
    rng = random.Random(f"r16:{driver.name}")
    stream, bounds = bytearray(), [0]
    frames = []
    for frame in frame_source(driver):
        frames.append(frame)
        stream += frame
        bounds.append(len(stream))
        if len(stream) >= STREAM_BYTES:
            break
    damaged = damage(stream, rng)
    intact = [
        frame
        for frame, begin, end in zip(frames, bounds, bounds[1:], strict=False)
        if bisect.bisect_left(damaged, begin) == bisect.bisect_left(damaged, end)
    ]
    assert 0.02 < len(intact) / len(frames) < 0.98, "the noise is neither nothing nor everything"

    is_stream = battery.is_stream(driver)
    received = [bytes(stream[a:b]) for a, b in itertools.pairwise(bounds)]
    got = events_of(driver, chunks(bytes(stream), rng) if is_stream else received)

    truth = fuzz.truth_of(driver.name)
    lost = (events_of(driver, intact) - got).total()
    assert lost <= getattr(truth, "MAY_LOSE", 0.0) * len(intact), f"{lost} of {len(intact)} lost"
    if truth is not None:
        whole = [bytes(stream)] if is_stream else received
        good = (frame for data in whole for frame in truth.good_frames(data))
        invented = got - events_of(driver, good)
        assert not invented, f"{invented.total()} invented, such as {next(iter(invented))!r}"
