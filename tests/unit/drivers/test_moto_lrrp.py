"""The LRRP driver and an emulated radio, and what vectors alone cannot say."""

import pytest

from drivers.api import Outcome, Verb
from drivers.moto_lrrp import DRIVER
from drivers.motorola.mbxml import Bytes, uintvar
from drivers.wire import WireError
from gateway.model.events import PositionFix
from gateway.model.identity import RadioId
from hil_tests.devices.moto_lrrp import MotoLrrpDevice
from tests.support.bench import Bench, everything

RADIO = RadioId("motorola:11")


def bench_of() -> Bench[MotoLrrpDevice]:
    codec = DRIVER.new_codec({}, "link-1", "12.0.0.11:4001")
    return Bench(codec, MotoLrrpDevice(11, every_s=1000.0), step_s=1.0)


def test_a_radio_is_located() -> None:
    bench = bench_of()
    bench.device.move(-33.86, 151.21, speed_mps=1.5, course_deg=90.0)
    bench.run(1)
    bench.ask(Verb.LOCATE, RADIO)
    bench.run(2)
    unasked, asked = bench.events(PositionFix)
    assert (unasked.trigger, asked.trigger) == ("unknown", "request")
    assert (asked.lat_deg, asked.lon_deg) == pytest.approx((-33.86, 151.21), abs=1e-6)
    assert (asked.speed_mps, asked.course_deg, asked.accuracy_m) == (1.5, 90.0, 5.0)
    assert bench.outcomes == [Outcome(1, "delivered")]


def test_a_request_that_is_lost_goes_out_three_times_and_no_more() -> None:
    bench = bench_of()
    bench.loses_down = everything
    bench.ask(Verb.LOCATE, RADIO)
    bench.run(60)
    assert len(bench.down) == 3
    assert bench.codec.next_deadline() is None
    assert bench.outcomes == []


def test_a_radio_is_tracked_and_let_go() -> None:
    bench = bench_of()
    bench.device.move(22.94, 113.88, speed_mps=0.0, course_deg=0.0)
    bench.run(1)
    bench.ask(Verb.TRACK, RADIO, every_s=5, for_s=20)
    bench.run(19)
    assert bench.device.tracked_every_s == 5
    assert [fix.trigger for fix in bench.events(PositionFix)[1:]] == ["time"] * 3
    bench.run(10)
    assert bench.device.tracked_every_s == 0
    assert bench.outcomes == [Outcome(1, "delivered")]
    assert bench.codec.next_deadline() is None


def test_a_second_tracking_ends_the_first() -> None:
    bench = bench_of()
    bench.ask(Verb.TRACK, RADIO, order=1, every_s=5, for_s=500)
    first = bench.codec.outgoing()
    bench.ask(Verb.TRACK, RADIO, order=2, every_s=9, for_s=500)
    stop, request = bench.codec.outgoing()
    assert stop[0] == 0x0F
    assert stop[4:8] == first[0][4:8]
    assert request[0] == 0x09


def test_a_duplicate_of_a_repeated_request_is_the_first_one_granted() -> None:
    bench = bench_of()
    bench.ask(Verb.TRACK, RADIO, every_s=5, for_s=500)
    bench.loses_down = everything
    bench.run(6)
    request, again = bench.down
    assert request == again
    answer = bytes((0x0B, 8, 0x22, 4)) + request[4:8] + bytes((0x37, 0x16))
    bench.take(bench.codec.receive(answer, bench.now))
    assert bench.outcomes == [Outcome(1, "delivered")]


def test_open_requests_are_bounded() -> None:
    bench = bench_of()
    for order in range(20):
        bench.ask(Verb.LOCATE, RADIO, order)
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
