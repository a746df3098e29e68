"""The battery must fail for a codec that deserves it: one toy protocol, broken one way at a time.

A frame of the toy is ``<``, one letter for the unit, one digit for the status, the XOR of both in
two hex digits, and ``>``.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from drivers.api import CodecOptions, Driver, Moment, Output, Reject, Report, Transport
from drivers.wire import xor8
from gateway.model.events import StatusReceived
from gateway.model.identity import RadioId
from tests.support import battery, fuzz
from tests.support.battery import Case
from tests.support.vectors import Step, Vector

FRAME = re.compile(rb"<([A-Z])([0-9])([0-9A-F]{2})>")


class ToyOptions(CodecOptions, frozen=True, kw_only=True):
    """No options."""


class Toy:
    """Reads the toy protocol rightly."""

    longest = 6

    def __init__(self, _options: ToyOptions, _link_id: str) -> None:
        self.buffer = b""
        self.deadline: float | None = None

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        del now
        self.buffer += data
        outputs: list[Output] = []
        end = 0
        for match in FRAME.finditer(self.buffer):
            end = match.end()
            outputs += self.told(match)
        self.buffer = self.buffer[end:][-self.longest + 1 :]
        return outputs

    def told(self, match: re.Match[bytes]) -> list[Output]:
        if xor8(match[1] + match[2]) != int(match[3], 16):
            return [Reject("checksum", repr(match[0]))]
        return [self.report(match[1], match[2])]

    def report(self, unit: bytes, status: bytes) -> Report:
        return Report(
            StatusReceived(radio_id=RadioId(f"dmr:{unit.decode()}"), code=status.decode())
        )

    def flush(self, now: Moment) -> Sequence[Output]:
        del now
        self.buffer = b""
        return ()

    def accept(self, receipt: int) -> None:
        """No receipts."""

    def outgoing(self) -> Sequence[bytes]:
        return ()

    def next_deadline(self) -> float | None:
        return self.deadline

    def expire(self, now: Moment) -> Sequence[Output]:
        del now
        return ()


class ForgetsBetweenReads(Toy):
    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        self.buffer = b""
        return super().receive(data, now)


class BelievesAnyCheck(Toy):
    def told(self, match: re.Match[bytes]) -> list[Output]:
        return [self.report(match[1], match[2])]


class WantsACleanLine(Toy):
    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        return super().receive(data, now) if (self.buffer + data).startswith(b"<") else ()


class DropsRepeats(Toy):
    last = b""

    def told(self, match: re.Match[bytes]) -> list[Output]:
        is_repeat, self.last = match[0] == self.last, match[0]
        return [] if is_repeat else super().told(match)


class Guesses(Toy):
    def flush(self, now: Moment) -> Sequence[Output]:
        rest = self.buffer
        super().flush(now)
        return [self.report(rest[1:2], b"0")] if re.match(rb"<[A-Z]", rest) else ()


class Grows(Toy):
    longest = 10_000_000


class Raises(Toy):
    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        if data.endswith(b"\xff"):
            raise IndexError
        return super().receive(data, now)


class NeverExpires(Toy):
    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        self.deadline = now.mono + 1
        return super().receive(data, now)


def frame(unit: str, status: str) -> str:
    return f"<{unit}{status}{xor8((unit + status).encode()):02X}>"


def case_of(codec: Callable[[ToyOptions, str], Any], **changes: Any) -> Case:
    driver = Driver(
        name="toy",
        title="toy",
        title_zh="玩具",
        spec="this file",
        transports=frozenset({Transport.SERIAL}),
        options=ToyOptions,
        codec=codec,
        max_frame=6,
    )
    given: dict[str, Any] = {
        "rx": [frame("A", "1"), frame("B", "2")],
        "events": (
            {"type": "status", "radio_id": "dmr:A", "code": "1", "absent": ["battery_pct"]},
            {"type": "status", "radio_id": "dmr:B", "code": "2"},
        ),
    }
    return Case(driver, Vector(name="two", source="this file", **(given | changes)), {})


def failing_ways(case: Case) -> set[str]:
    failed = set()
    for way, (check, _) in battery.WAYS.items():
        try:
            check(case)
        except AssertionError:
            failed.add(way)
    return failed


def test_a_right_codec_passes_every_way() -> None:
    case = case_of(Toy)
    assert failing_ways(case) == set()
    fuzz.assert_bears(case.driver, [case], inputs=500, seed="toy")
    assert fuzz.growth_bytes(case.driver, b"<A1") < 10_000


@pytest.mark.parametrize(
    ("codec", "way"),
    [
        (ForgetsBetweenReads, "byte-by-byte"),
        (BelievesAnyCheck, "flipped-bits"),
        (WantsACleanLine, "after-noise"),
        (Guesses, "cut-anywhere"),
    ],
)
def test_each_fault_is_found_by_its_way(codec: type[Toy], way: str) -> None:
    assert way in failing_ways(case_of(codec))


def test_a_codec_that_filters_repeats_fails_twice() -> None:
    one = {"rx": frame("A", "1"), "events": ({"type": "status"},)}
    assert failing_ways(case_of(DropsRepeats, **one)) == {"twice"}


@pytest.mark.parametrize(
    "changes",
    [
        {"events": ({"type": "status"},)},
        {"events": ({"code": "1"}, {"code": "3"})},
        {"events": ({"code": "1", "absent": ["code"]}, {"code": "2"})},
        {"events": ({"code": "1", "to": "x"}, {"code": "2"})},
        {"rejects": ("checksum",)},
        {"heard": ("dmr:A",)},
        {"tx_hex": ("00",)},
    ],
)
def test_a_wrong_expectation_is_found(changes: dict[str, Any]) -> None:
    assert "whole" in failing_ways(case_of(Toy, **changes))


def test_fuzz_finds_an_exception_and_growth_is_seen() -> None:
    case = case_of(Raises)
    with pytest.raises(AssertionError, match="IndexError"):
        fuzz.assert_bears(case.driver, [case], inputs=2_000, seed="toy")
    assert fuzz.growth_bytes(case_of(Grows).driver, b"<A1") > 500_000


def test_fuzz_finds_an_event_from_a_damaged_frame() -> None:
    case = case_of(BelievesAnyCheck)
    with pytest.raises(AssertionError, match="gave"):
        fuzz.assert_bears(case.driver, [case], inputs=2_000, seed="toy")


def test_a_deadline_that_stays_due_is_found() -> None:
    steps = (Step(rx=frame("A", "1")), Step(after_s=5.0))
    case = case_of(NeverExpires, rx=None, steps=steps, events=({"code": "1"},))
    with pytest.raises(AssertionError, match="deadline that is due"):
        battery.check_whole(case)


def test_a_dialogue_is_held_to_what_it_sends() -> None:
    steps = (Step(rx=frame("A", "1")), Step(tx_hex="06"))
    case = case_of(Toy, rx=None, steps=steps, events=({"code": "1"},))
    with pytest.raises(AssertionError, match="step 1"):
        battery.check_whole(case)
