"""The TETRA driver in conversation with a radio, and what vectors alone cannot say."""

from typing import Any

import msgspec
import pytest

from drivers.api import Outcome, Reject, Verb
from drivers.tetra.lip import Clock
from drivers.tetra_pei import DRIVER
from gateway.model.events import EmergencyRaised, PositionFix
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant
from hil_tests.devices.tetra_pei import TetraPeiDevice
from tests.support.bench import BEGIN, Bench, everything, nothing

RADIO = RadioId("tetra:4470001")


def bench_of(**options: Any) -> Bench[TetraPeiDevice]:
    return Bench(DRIVER.new_codec(options, "tetra-1"), TetraPeiDevice(4470001, every_s=5.0))


def test_the_radio_hands_over_what_was_asked_for() -> None:
    bench = bench_of()
    bench.device.move(30.24, 120.16, speed_mps=2.0, course_deg=90.0)
    bench.run(3)
    assert bench.device.services == {"20", "10", "130", "137"}
    bench.run(6)
    fixes = bench.events(PositionFix)
    assert fixes[0].radio_id == RADIO
    assert (fixes[0].lat_deg, fixes[0].lon_deg) == pytest.approx((30.24, 120.16), abs=1e-4)
    assert fixes[0].course_deg == 90.0


def test_a_press_is_a_status_and_a_place() -> None:
    bench = bench_of()
    bench.device.move(30.24, 120.16, speed_mps=0.0, course_deg=0.0)
    bench.run(3)
    bench.device.press()
    bench.run(1)
    raised = bench.events(EmergencyRaised)
    assert [event.raw_code for event in raised] == ["status 0000", "LIP reason 2"]
    assert raised[1].fix is not None


def test_a_restarted_radio_is_asked_for_its_services_again() -> None:
    bench = bench_of()
    bench.run(3)
    bench.device.restart()
    bench.loses(everything)
    bench.run(30)
    bench.loses(nothing)
    bench.run(8)
    assert bench.device.services == {"20", "10", "130", "137"}
    reasons = [one.reason for one in bench.outputs if isinstance(one, Reject)]
    assert reasons == ["unanswered"], "told once, however long it lasts"


def test_a_restart_that_nobody_noticed_is_caught_after_five_minutes() -> None:
    bench = bench_of()
    bench.run(3)
    bench.device.restart()
    bench.run(200)
    assert bench.device.services == set()
    bench.run(120)
    assert bench.device.services == {"20", "10", "130", "137"}


def test_a_text_is_reported_when_it_is_on_disk() -> None:
    bench = bench_of()
    bench.run(3)
    reference = bench.device.write("Hello")
    bench.run(2)
    assert bench.device.reported == {reference}


def test_a_text_of_ours_is_delivered_when_the_radio_reports_it() -> None:
    bench = bench_of()
    bench.ask(Verb.TEXT, RADIO, body="收到")
    bench.run(3)
    assert bench.device.texts == ["收到"]
    assert bench.outcomes == [Outcome(1, "delivered")]


def test_a_text_that_nobody_waits_for_any_longer_is_forgotten() -> None:
    bench = bench_of(services=[])
    bench.loses(everything)
    bench.ask(Verb.TEXT, RADIO, within_s=5.0, body="Hello")
    bench.run(30)
    assert bench.outcomes == [], "the gateway itself calls that timed out"
    assert bench.codec._orders == {}


def test_texts_under_way_are_bounded() -> None:
    bench = bench_of(services=[])
    for order in range(1, 40):
        bench.ask(Verb.TEXT, RADIO, order, body="Hello")
    assert len(bench.outcomes) == 7
    assert {one.why for one in bench.outcomes} == {"too many texts are under way"}


def test_a_text_longer_than_a_message_is_refused() -> None:
    bench = bench_of()
    bench.ask(Verb.TEXT, RADIO, 1, body="A" * 251)
    bench.ask(Verb.TEXT, RADIO, 2, body="A" * 252)
    bench.ask(Verb.TEXT, RADIO, 3, body="收" * 126)
    assert [(one.order, one.result) for one in bench.outcomes] == [(2, "refused"), (3, "refused")]


@pytest.mark.parametrize(
    ("clock", "at", "when"),
    [
        (Clock(25, 3, 50, 44), "2026-05-01T08:00:00Z", "2026-04-25T03:50:44Z"),
        (Clock(1, 7, 59, 59), "2026-05-01T08:00:00Z", "2026-05-01T07:59:59Z"),
        (Clock(1, 0, 0, 5), "2026-04-30T23:59:59Z", "2026-05-01T00:00:05Z"),
        (Clock(31, 12, 0, 0), "2026-03-02T00:00:00Z", "2026-01-31T12:00:00Z"),
        (Clock(31, 23, 0, 0), "2026-01-01T00:00:00Z", "2025-12-31T23:00:00Z"),
    ],
)
def test_a_day_without_a_month_is_the_newest_that_is_past(clock: Clock, at: str, when: str) -> None:
    assert clock.newest(Instant.parse(at)) == Instant.parse(when)


@pytest.mark.parametrize("clock", [Clock(0, 1, 1, 1), Clock(1, 24, 0, 0), Clock(1, 1, 60, 0)])
def test_a_time_that_is_none_is_left_out(clock: Clock) -> None:
    assert clock.newest(BEGIN) is None


@pytest.mark.parametrize("service", ["1,3", "1,3,10\r\nAT+X", "", "9,9,9"])
def test_a_service_that_is_none_is_refused(service: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="services"):
        DRIVER.new_codec({"services": [service]}, "tetra-1")


def test_a_message_is_told_field_by_field_to_where_it_breaks() -> None:
    assert DRIVER.explain is not None
    rows = DRIVER.explain(b"+CTSDSR: 12,4470001,0,4479999,0,84\r\n0A055734C9581889088020\r\n")
    named = {row.name: row for row in rows}
    assert named["longitude"].place == "bit 12-36"
    assert named["reason"].value == "2 emergency"
    assert not any(row.problem for row in rows)
    broken = DRIVER.explain(b"+CTSDSR: 12,4470001,0,4479999,0,60\r\n0A055734C958188\r\n")
    assert broken[-1] == ("bit 37-60", "", "latitude", "", "23 of 24 bits are there")
    assert DRIVER.explain(b"\xff\xfe")[0].problem.startswith("noise")
