"""What every driver must bear: its vectors six ways, and any split of their bytes.

The six ways are whole, byte by byte, after line noise, twice in one read, cut at every byte, and
with each bit flipped. Everything here works on the driver's public face alone, ``drivers.api``.
"""

import importlib
import json
import math
import pkgutil
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import drivers
from drivers.api import (
    Codec,
    Command,
    Driver,
    Heard,
    Moment,
    Output,
    Reject,
    Report,
    TakesCommands,
    Transport,
)
from drivers.api import Outcome as CommandOutcome
from gateway.model.events import to_json
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from tests.support.vectors import FOLDER, Send, Step, Vector, load_vectors

STREAMS = {Transport.SERIAL, Transport.TCP_CLIENT, Transport.TCP_SERVER}
LINK_ID = "link-1"
MOST_POSITIONS = 3000  # cuts and flips tried for one vector; a longer one is sampled evenly
MOST_EXPIRIES = 10_000  # deadlines kept in one step of a dialogue
NOISE_SEEDS = range(8)


@dataclass
class Outcome:
    """What a codec made of its input; events as JSON bytes, which are equal when the events are."""

    events: list[bytes] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        """Why bytes were not taken, in order."""
        return [reject.reason for reject in self.rejects]


class Player:
    """Feeds one codec the way a session does, and keeps everything that comes out."""

    def __init__(
        self, driver: Driver[Any], options: dict[str, Any], moment: Moment, peer: str = ""
    ) -> None:
        self.codec: Codec = driver.new_codec(options, LINK_ID, peer)
        self.moment = moment
        self.outcome = Outcome()
        self.unaccepted: list[int] = []
        self._orders = 0
        self._verbs = driver.commands
        self._drain()

    def receive(self, data: bytes) -> None:
        """Bytes come in; their receipts wait for ``accept``."""
        self._take(self.codec.receive(data, self.moment))

    def flush(self) -> None:
        """No more bytes will come."""
        self._take(self.codec.flush(self.moment))

    def accept(self) -> None:
        """Every event so far is on disk."""
        receipts, self.unaccepted = self.unaccepted, []
        for receipt in receipts:
            self.codec.accept(receipt)
        self._drain()

    def send(self, wish: Send) -> None:
        """A command for a radio."""
        assert wish.verb in self._verbs, f"the manifest does not name {wish.verb}"
        assert isinstance(self.codec, TakesCommands)
        self._orders += 1
        until_mono = self.moment.mono + wish.within_s
        command = Command(
            order=self._orders,
            radio_id=RadioId(wish.radio_id),
            verb=wish.verb,
            until_mono=until_mono,
            body=wish.body,
            every_s=wish.every_s,
            for_s=wish.for_s,
        )
        self._take(self.codec.send(command, self.moment))

    def wait(self, seconds: float) -> None:
        """Time passes, and every deadline on the way is kept."""
        end = self.moment.mono + seconds
        for _ in range(MOST_EXPIRIES):
            deadline = self.codec.next_deadline()
            if deadline is None or deadline > end:
                break
            self._move_to(max(deadline, self.moment.mono))
            self._take(self.codec.expire(self.moment))
            again = self.codec.next_deadline()
            assert again is None or again > self.moment.mono, "expire left a deadline that is due"
        self._move_to(end)

    def _move_to(self, mono: float) -> None:
        passed_ns = round((mono - self.moment.mono) * NS_PER_S)
        self.moment = Moment(mono, Instant(self.moment.at + passed_ns))

    def _take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Report):
                self.outcome.events.append(to_json(output.event))
                if output.receipt is not None:
                    self.unaccepted.append(output.receipt)
            elif isinstance(output, Heard):
                self.outcome.heard.append(output.radio_id)
            elif isinstance(output, CommandOutcome):
                why = f": {output.why}" if output.why else ""
                self.outcome.outcomes.append(f"{output.order} {output.result}{why}")
            else:
                self.outcome.rejects.append(output)
        self._drain()

    def _drain(self) -> None:
        self.outcome.sent.extend(bytes(frame) for frame in self.codec.outgoing())


@dataclass(frozen=True)
class Case:
    """One vector together with the driver that must understand it."""

    driver: Driver[Any]
    vector: Vector
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """For test ids."""
        return f"{self.driver.name}-{self.vector.name}"

    @property
    def is_stream(self) -> bool:
        """True where some transport may cut the bytes anywhere."""
        return is_stream(self.driver)

    def play(self, reads: Iterable[bytes]) -> Outcome:
        """Feed ``reads`` to a fresh codec, accepting at once, and flush."""
        player = Player(self.driver, self.options, self.vector.moment, self.vector.peer)
        for read in reads:
            player.receive(read)
            player.accept()
        player.flush()
        player.accept()
        return player.outcome


def is_stream(driver: Driver[Any]) -> bool:
    """True where some transport of the driver may cut the bytes anywhere."""
    return bool(driver.transports & STREAMS)


def find_drivers() -> dict[str, Driver[Any] | Exception]:
    """Every module of ``drivers`` that exports DRIVER, or the error that its import raised."""
    found: dict[str, Driver[Any] | Exception] = {}
    for module in pkgutil.iter_modules(drivers.__path__):
        try:
            manifest = getattr(importlib.import_module(f"drivers.{module.name}"), "DRIVER", None)
        except Exception as error:  # noqa: BLE001 - shown as that driver's own failing test
            found[module.name] = error
            continue
        if manifest is not None:
            found[module.name] = manifest
    return found


def find_cases() -> list[Case]:
    """Every vector of every driver that has a vector file."""
    cases = []
    for name, driver in find_drivers().items():
        file = FOLDER / f"{name}.toml"
        if isinstance(driver, Exception) or not file.is_file():
            continue
        loaded = load_vectors(file)
        assert loaded.driver == name, f"{file.name}: driver is {loaded.driver!r}"
        cases += [Case(driver, one, loaded.options | one.options) for one in loaded.vector]
    return cases


# --- the six ways ---------------------------------------------------------------------------------


def check_whole(case: Case) -> None:
    """Exactly the expected events, rejects and frames sent, in order."""
    vector = case.vector
    outcome = play_steps(case) if vector.steps else case.play(whole_reads(case))
    shown = [json.loads(event) for event in outcome.events]
    assert len(shown) == len(vector.events), f"events {shown}, rejects {outcome.rejects}"
    for number, (event, expected) in enumerate(zip(shown, vector.events, strict=True)):
        compare(event, expected, vector.tolerance, f"event {number}")
    assert outcome.reasons == vector.expected_rejects, outcome.rejects
    assert outcome.outcomes == list(vector.outcomes)
    if vector.heard is not None:
        assert outcome.heard == list(vector.heard)
    if vector.tx_hex is not None:
        assert [frame.hex() for frame in outcome.sent] == [
            "".join(text.lower().split()) for text in vector.tx_hex
        ]


def check_byte_by_byte(case: Case) -> None:
    """One byte a read gives what one read gives."""
    if case.vector.steps:
        whole, split = play_steps(case), play_steps(case, is_split=True)
    else:
        whole, split = case.play(whole_reads(case)), case.play(single_bytes(case.vector.frames))
    assert split.events == whole.events
    assert split.reasons == whole.reasons
    assert split.heard == whole.heard
    assert split.sent == whole.sent
    assert split.outcomes == whole.outcomes


def check_after_noise(case: Case) -> None:
    """Seeded noise before the first frame changes no event."""
    whole = case.play(whole_reads(case))
    for seed in NOISE_SEEDS:
        rng = random.Random(seed)
        noise = rng.randbytes(rng.randrange(1, 80))
        reads = [noise, *case.vector.frames]
        outcome = case.play([b"".join(reads)] if case.is_stream else reads)
        assert outcome.events == whole.events, f"after noise {noise.hex()}"


def check_twice(case: Case) -> None:
    """The same bytes twice in one read give the events twice: a codec is no filter."""
    whole = case.play(whole_reads(case))
    reads = case.vector.frames * 2
    outcome = case.play([b"".join(reads)] if case.is_stream else reads)
    assert outcome.events == whole.events * 2


def check_cut_anywhere(case: Case) -> None:
    """Cut at any byte: the events of the frames that came whole, and nothing else.

    A last frame that lacks only its line end (CR, LF) may count as whole.
    """
    frames = case.vector.frames
    upto = [case.play(joined(case, frames[:count])).events for count in range(len(frames) + 1)]
    for index, frame in enumerate(frames):
        for cut in sampled(len(frame)):
            outcome = case.play(joined(case, [*frames[:index], frame[:cut]]))
            allowed = [upto[index]]
            if not frame[cut:].strip(b"\r\n"):
                allowed.append(upto[index + 1])
            assert outcome.events in allowed, f"frame {index} cut after {cut} bytes"


def check_flipped_bits(case: Case) -> None:
    """With one bit flipped: the same events, or those of the frames beside the damaged one."""
    frames = case.vector.frames
    whole = case.play(joined(case, frames)).events
    for index, frame in enumerate(frames):
        allowed = {event for gone in _neighbours(index) for event in _without(case, gone)}
        for bit in sampled(len(frame) * 8):
            damaged = bytearray(frame)
            damaged[bit // 8] ^= 1 << bit % 8
            got = case.play(joined(case, [*frames[:index], bytes(damaged), *frames[index + 1 :]]))
            where = f"frame {index} with bit {bit % 8} of byte {bit // 8} flipped"
            assert len(got.events) <= len(whole), f"{where}: {got.events}"
            assert allowed.issuperset(got.events), f"{where}: {got.events}"


def _neighbours(index: int) -> tuple[frozenset[int], ...]:
    """The frames that one damaged delimiter or length can take along."""
    near = ((), (index,), (index, index + 1), (index - 1, index), (index - 1, index, index + 1))
    return tuple(frozenset(indices) for indices in near)


def _without(case: Case, gone: frozenset[int]) -> list[bytes]:
    left = [frame for index, frame in enumerate(case.vector.frames) if index not in gone]
    return case.play(joined(case, left)).events


WAYS = {  # way: check, the vector's switch
    "whole": (check_whole, ""),
    "byte-by-byte": (check_byte_by_byte, "no_split"),
    "after-noise": (check_after_noise, "no_noise"),
    "twice": (check_twice, "no_twice"),
    "cut-anywhere": (check_cut_anywhere, "no_truncation"),
    "flipped-bits": (check_flipped_bits, "no_bit_flips"),
}


def applies(way: str, case: Case) -> bool:
    """Whether a way makes sense for a vector, and its switch is not off.

    A dialogue runs whole and byte by byte only: its later frames answer earlier ones. Whole
    datagrams are never cut into bytes. A flipped bit may mend a vector that is broken on purpose.
    """
    _, switch = WAYS[way]
    if switch and getattr(case.vector, switch):
        return False
    if case.vector.steps and way not in {"whole", "byte-by-byte"}:
        return False
    if case.vector.expected_rejects and way == "flipped-bits":
        return False
    return way != "byte-by-byte" or case.is_stream


# --- pieces ---------------------------------------------------------------------------------------


def whole_reads(case: Case) -> list[bytes]:
    """A vector as one read, or as its datagrams."""
    return joined(case, case.vector.frames)


def joined(case: Case, frames: Sequence[bytes]) -> list[bytes]:
    """Frames as they would come: glued on a stream, apart as datagrams."""
    return [b"".join(frames)] if case.is_stream else list(frames)


def single_bytes(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Every byte a read of its own."""
    for frame in frames:
        for value in frame:
            yield bytes((value,))


def sampled(count: int) -> Sequence[int]:
    """0 to ``count`` - 1, or an even sample of it where it is long."""
    step = max(1, math.ceil(count / MOST_POSITIONS))
    return range(0, count, step)


def play_steps(case: Case, *, is_split: bool = False) -> Outcome:
    """Run a dialogue; asserts that the frames sent are those of its tx steps, and no others."""
    player = Player(case.driver, case.options, case.vector.moment, case.vector.peer)
    seen = 0
    for number, step in enumerate(case.vector.steps):
        _play_step(player, step, is_split=is_split)
        for wanted in step.sent():
            waiting = player.outcome.sent[seen : seen + 1]
            assert [frame.hex() for frame in waiting] == [wanted.hex()], f"step {number}"
            seen += 1
    player.flush()
    unasked = [frame.hex() for frame in player.outcome.sent[seen:]]
    assert not unasked, f"sent beyond the steps: {unasked}"
    return player.outcome


def _play_step(player: Player, step: Step, *, is_split: bool) -> None:
    frames = step.received()
    for read in single_bytes(frames) if is_split else frames:
        player.receive(read)
    if step.after_s is not None:
        player.wait(step.after_s)
    if step.accept:
        player.accept()
    if step.send is not None:
        player.send(step.send)


# --- comparing ------------------------------------------------------------------------------------


def compare(actual: Any, expected: Any, tolerance: float, where: str) -> None:
    """Every named field equal; numbers within ``tolerance``, instants as instants."""
    if isinstance(expected, dict):
        assert isinstance(actual, dict), f"{where}: is {actual!r}"
        for key, value in expected.items():
            if key == "absent":
                there = [name for name in value if name in actual]
                assert not there, f"{where}: has {there}: {actual}"
                continue
            assert key in actual, f"{where}: has no {key}: {actual}"
            compare(actual[key], value, tolerance, f"{where}.{key}")
    elif isinstance(expected, bool) or not isinstance(expected, int | float):
        same = _as_instant(actual) == _as_instant(expected)
        assert same, f"{where}: is {actual!r}, expected {expected!r}"
    else:
        assert isinstance(actual, int | float), f"{where}: is {actual!r}"
        near = math.isclose(actual, expected, rel_tol=tolerance, abs_tol=1e-12)
        assert near, f"{where}: is {actual!r}, expected {expected!r}"


def _as_instant(value: Any) -> Any:
    """TOML's date-times and RFC 3339 texts as instants, anything else as it is."""
    if hasattr(value, "tzinfo"):
        return Instant.from_datetime(value)
    if isinstance(value, str) and value.endswith("Z") and "T" in value:
        try:
            return Instant.parse(value)
        except ValueError:
            return value
    return value
