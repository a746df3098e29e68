"""Seeded malformed input: what a hostile or broken peer may send, and what a codec must bear.

Where ``tests/support/truth/<driver>.py`` exists, its ``good_frames(data)`` says, independently of
the driver, which frames in ``data`` have a check that fits; input without any must give no event.
For other drivers only single flipped bits are judged, which every check detects.
"""

import gc
import importlib
import importlib.util
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from drivers.api import Driver, Moment, Output, Report
from gateway.model.events import to_json
from gateway.model.quantities import Instant
from tests.support.battery import Case, is_stream

LIMIT_S = 0.005  # of processor time; no single input may take longer
MOST_BYTES = 2048  # of one input: more than any frame that a radio sends
TELLING = b"\x00\x01\x02\x03\x7d\x7e\x7f\x80\xff\xfe\x24\x21\x2a\x2c\x5c\x0a\x0d\x1b"
NOW = Moment(1000.0, Instant(1_777_622_400_000_000_000))  # 2026-05-01T08:00:00Z

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], bytearray]


def truth_of(driver_name: str) -> ModuleType | None:
    """The independent checker of a driver's frames, where there is one."""
    name = f"tests.support.truth.{driver_name}"
    try:
        if importlib.util.find_spec(name) is None:
            return None
    except ModuleNotFoundError:
        return None
    return importlib.import_module(name)


@dataclass(frozen=True)
class Bad:
    """One malformed input; ``may_give`` are the events that are no surprise, None for any."""

    reads: list[bytes]
    options: dict[str, Any]
    moment: Moment
    may_give: frozenset[bytes] | None


def feed(
    driver: Driver[Any], options: dict[str, Any], reads: Sequence[bytes], moment: Moment = NOW
) -> list[bytes]:
    """Everything a session would do with ``reads``; gives the events as JSON."""
    codec = driver.new_codec(options, "link-1")
    codec.outgoing()
    outputs: list[Output] = []
    for read in reads:
        outputs += codec.receive(read, moment)
    deadline = codec.next_deadline()
    if deadline is not None:
        outputs += codec.expire(Moment(max(deadline, moment.mono), moment.at))
    outputs += codec.flush(moment)
    for output in outputs:
        if isinstance(output, Report) and output.receipt is not None:
            codec.accept(output.receipt)
    codec.outgoing()
    return [to_json(output.event) for output in outputs if isinstance(output, Report)]


def assert_bears(driver: Driver[Any], cases: Sequence[Case], *, inputs: int, seed: str) -> None:
    """Feed ``inputs`` malformed inputs; fails on an exception, a slow one, or an invented event."""
    own = [case for case in cases if case.driver is driver]
    assert own, f"{driver.name} has no vectors to start from"
    for number, bad in enumerate(bad_inputs(driver, own, inputs, f"{seed}:{driver.name}")):
        shown = f"input {number} {[read.hex() for read in bad.reads]} options {bad.options}"
        try:
            events, seconds = _timed(driver, bad)
        except Exception as error:
            raise AssertionError(f"{shown} raised {error!r}; keep it in tests/corpus") from error
        assert seconds < LIMIT_S, f"{shown} took {seconds * 1000:.1f} ms"
        if bad.may_give is not None:
            invented = [event for event in events if event not in bad.may_give]
            assert not invented, f"{shown} gave {invented}"


def _timed(driver: Driver[Any], bad: Bad) -> tuple[list[bytes], float]:
    """Feed one input; an offender is timed twice more, since the machine has other work too."""
    events: list[bytes] = []
    seconds = LIMIT_S
    for _ in range(3):
        begun = time.thread_time()
        events = feed(driver, bad.options, bad.reads, bad.moment)
        seconds = time.thread_time() - begun
        if seconds < LIMIT_S:
            break
    return events, seconds


def bad_inputs(driver: Driver[Any], cases: Sequence[Case], count: int, seed: str) -> Iterator[Bad]:
    """Mutations of the vectors' frames, spliced and cut frames, and bytes from nowhere."""
    rng = random.Random(seed)
    truth = truth_of(driver.name)
    pool = [(case, frame) for case in cases for frame in _frames(case)]
    frames = [frame for _, frame in pool]
    known: dict[tuple[int, int], frozenset[bytes]] = {}
    for _ in range(count):
        index = rng.randrange(len(pool))
        case, frame = pool[index]
        moment = case.vector.moment
        data = bytearray(frame)
        may_give: frozenset[bytes] | None = None
        if truth is None and rng.random() < 0.3:
            _flip_bit(rng, data, frames)
            if not case.vector.no_bit_flips and not case.vector.expected_rejects:
                key = (index, 0)
                if key not in known:
                    known[key] = frozenset(feed(driver, case.options, [frame], moment))
                may_give = known[key]
        else:
            for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
                mutate = RARE if rng.random() < RARE_SHARE else rng.choice(MUTATIONS)
                data = mutate(rng, data, frames)
            data = data[:MOST_BYTES]
            if truth is not None and not case.vector.no_bit_flips:
                is_hopeless = next(truth.good_frames(bytes(data)), None) is None
                may_give = frozenset() if is_hopeless else None
        yield Bad(_reads(rng, driver, bytes(data)), case.options, moment, may_give)


def _frames(case: Case) -> list[bytes]:
    if case.vector.steps:
        return [frame for step in case.vector.steps for frame in step.received()]
    return case.vector.frames


def _reads(rng: random.Random, driver: Driver[Any], data: bytes) -> list[bytes]:
    """One read, or two on a stream."""
    if not is_stream(driver) or rng.random() < 0.7:
        return [data]
    cut = rng.randrange(len(data) + 1)
    return [data[:cut], data[cut:]]


def growth_bytes(driver: Driver[Any], rubbish: bytes) -> int:
    """How much memory a codec keeps after a megabyte of ``rubbish`` over and over."""
    codec = driver.new_codec({}, "link-1")
    block = (rubbish * (16_384 // len(rubbish) + 1))[:16_384]
    codec.receive(block, NOW)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(64):
            codec.receive(block, NOW)
            codec.outgoing()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


# --- mutations ------------------------------------------------------------------------------------


def _span(rng: random.Random, data: bytearray) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 8, 32)))


def _flip_bit(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _set_byte(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    if data:
        data[rng.randrange(len(data))] = rng.choice(TELLING)
    return data


def _nudge_word(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    """Lengths and counts are words: off by one, zero, huge, in both byte orders."""
    if len(data) >= 2:
        at = rng.randrange(len(data) - 1)
        order: Any = rng.choice(("big", "little"))
        word = int.from_bytes(data[at : at + 2], order)
        word = rng.choice((word + 1, word - 1, 0, 0x7FFF, 0xFFFF, word << 1)) & 0xFFFF
        data[at : at + 2] = word.to_bytes(2, order)
    return data


def _delete(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    start, end = _span(rng, data)
    del data[start:end]
    return data


def _insert(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    start, _end = _span(rng, data)
    data[start:start] = rng.randbytes(rng.choice((1, 2, 5, 20)))
    return data


def _repeat(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    start, end = _span(rng, data)
    data[start:start] = data[start:end] * rng.choice((1, 3, 20))
    return data


def _cut(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    return data[: rng.randrange(len(data) + 1)]


def _behead(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    return data[rng.randrange(len(data) + 1) :]


def _splice(rng: random.Random, data: bytearray, frames: Sequence[bytes]) -> bytearray:
    other = rng.choice(frames)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _follow(rng: random.Random, data: bytearray, frames: Sequence[bytes]) -> bytearray:
    return data + rng.choice(frames)


def _random(rng: random.Random, _data: bytearray, _: Sequence[bytes]) -> bytearray:
    return bytearray(rng.randbytes(rng.randrange(300)))


def _telling_only(rng: random.Random, _data: bytearray, _: Sequence[bytes]) -> bytearray:
    return bytearray(rng.choices(TELLING, k=rng.randrange(1, 200)))


def _endless(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytearray:
    filler = rng.choice((bytes(data) or b"\0", bytes((rng.choice(TELLING),))))
    return bytearray((filler * (MOST_BYTES // len(filler) + 1))[:MOST_BYTES])


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bit,
    _set_byte,
    _nudge_word,
    _delete,
    _insert,
    _repeat,
    _cut,
    _behead,
    _splice,
    _follow,
    _random,
    _telling_only,
)
RARE: Mutation = _endless
RARE_SHARE = 0.005  # long inputs are slow to make, and a few tell as much
