"""The LRRP driver and an emulated radio, and what vectors alone cannot say."""

from typing import Any

import pytest

from drivers.api import Command, Moment, Outcome, Report, Verb
from drivers.moto_lrrp import DRIVER
from drivers.motorola.mbxml import Bytes, uintvar
from drivers.wire import WireError
from gateway.model.events import PositionFix
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from hil_tests.devices.moto_lrrp import MotoLrrpDevice

START = Instant.parse("2026-05-01T08:00:00Z")
RADIO = RadioId("motorola:11")


class Bench:
    """A codec and a radio, in virtual time; ``is_deaf`` loses what is sent to the radio."""

    def __init__(self) -> None:
        self.codec: Any = DRIVER.new_codec({}, "link-1", "12.0.0.11:4001")
        self.radio = MotoLrrpDevice(11, every_s=1000.0)
        self.mono = 0.0
        self.is_deaf = False
        self.outputs: list[Any] = []

    @property
    def now(self) -> Moment:
        return Moment(self.mono, Instant(START + round(self.mono * NS_PER_S)))

    def ask(self, verb: Verb, order: int = 1, *, every_s: int = 0, for_s: int = 0) -> None:
        command = Command(order, RADIO, verb, self.mono + 30.0, every_s=every_s, for_s=for_s)
        self.outputs += self.codec.send(command, self.now)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.mono += 1.0
            deadline = self.codec.next_deadline()
            if deadline is not None and deadline <= self.mono:
                self.outputs += self.codec.expire(self.now)
            for frame in self.codec.outgoing():
                if not self.is_deaf:
                    self.radio.receive(frame, self.now)
            self.radio.tick(self.now)
            for frame in self.radio.outgoing():
                self.outputs += self.codec.receive(frame, self.now)

    @property
    def fixes(self) -> list[PositionFix]:
        events = [one.event for one in self.outputs if isinstance(one, Report)]
        return [event for event in events if isinstance(event, PositionFix)]

    @property
    def outcomes(self) -> list[Outcome]:
        return [one for one in self.outputs if isinstance(one, Outcome)]


def test_a_radio_is_located() -> None:
    bench = Bench()
    bench.radio.move(-33.86, 151.21, speed_mps=1.5, course_deg=90.0)
    bench.run(1)
    bench.ask(Verb.LOCATE)
    bench.run(2)
    unasked, asked = bench.fixes
    assert (unasked.trigger, asked.trigger) == ("unknown", "request")
    assert (asked.lat_deg, asked.lon_deg) == pytest.approx((-33.86, 151.21), abs=1e-6)
    assert (asked.speed_mps, asked.course_deg, asked.accuracy_m) == (1.5, 90.0, 5.0)
    assert bench.outcomes == [Outcome(1, "delivered")]


def test_a_request_that_is_lost_goes_out_three_times_and_no_more() -> None:
    bench = Bench()
    bench.is_deaf = True
    bench.ask(Verb.LOCATE)
    sent = len(bench.codec.outgoing())
    for _ in range(60):
        bench.mono += 1.0
        bench.codec.expire(bench.now)
        sent += len(bench.codec.outgoing())
    assert sent == 3
    assert bench.codec.next_deadline() is None
    assert bench.outcomes == []


def test_a_radio_is_tracked_and_let_go() -> None:
    bench = Bench()
    bench.radio.move(22.94, 113.88, speed_mps=0.0, course_deg=0.0)
    bench.run(1)
    bench.ask(Verb.TRACK, every_s=5, for_s=20)
    bench.run(19)
    assert bench.radio.tracked_every_s == 5
    assert [fix.trigger for fix in bench.fixes[1:]] == ["time"] * 3
    bench.run(10)
    assert bench.radio.tracked_every_s == 0
    assert bench.outcomes == [Outcome(1, "delivered")]
    assert bench.codec.next_deadline() is None


def test_a_second_tracking_ends_the_first() -> None:
    bench = Bench()
    bench.ask(Verb.TRACK, order=1, every_s=5, for_s=500)
    first = bench.codec.outgoing()
    bench.ask(Verb.TRACK, order=2, every_s=9, for_s=500)
    stop, request = bench.codec.outgoing()
    assert stop[0] == 0x0F
    assert stop[4:8] == first[0][4:8]
    assert request[0] == 0x09


def test_a_duplicate_of_a_repeated_request_is_the_first_one_granted() -> None:
    bench = Bench()
    bench.ask(Verb.TRACK, every_s=5, for_s=500)
    (request,) = bench.codec.outgoing()
    bench.mono = 6.0
    bench.codec.expire(bench.now)
    assert bench.codec.outgoing() == [request]
    answer = bytes((0x0B, 8, 0x22, 4)) + request[4:8] + bytes((0x37, 0x16))
    bench.outputs += bench.codec.receive(answer, bench.now)
    assert bench.outcomes == [Outcome(1, "delivered")]


def test_open_requests_are_bounded() -> None:
    bench = Bench()
    for order in range(20):
        bench.ask(Verb.LOCATE, order)
    assert [one.order for one in bench.outcomes] == [16, 17, 18, 19]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 86_400, 2**32])
def test_numbers_come_back(value: int) -> None:
    assert Bytes(uintvar(value)).uintvar() == value


@pytest.mark.parametrize("data", ["", "ff", "ffffffffffff01"])
def test_a_number_has_an_end(data: str) -> None:
    with pytest.raises(WireError):
        Bytes(bytes.fromhex(data)).uintvar()


def test_a_document_is_told_token_by_token() -> None:
    assert DRIVER.explain is not None
    rows = DRIVER.explain(bytes.fromhex("071a22042468ace0341f4dbc778051118ecd8d118ad47b00636c0006"))
    assert [row.name.split()[0] for row in rows] == [
        "document", "length", "request_id", "at", "lat_deg", "speed_mps",
    ]  # fmt: skip
    assert rows[3].value == "2003-06-30T07:30:00.000Z"
    cut = DRIVER.explain(bytes.fromhex("0d0a22042468ace066118ecd"))
    assert cut[-1].problem == "MBXML: 3 of 4 bytes are there"
