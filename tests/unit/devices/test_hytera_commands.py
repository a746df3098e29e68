"""Commands to emulated Hytera radios, over HRNP and over HSTRP: each ends in exactly one way."""

import random
from typing import Any, NamedTuple

import pytest

from drivers.api import Driver, Outcome, Verb
from drivers.hytera_hrnp import DRIVER as HRNP
from drivers.hytera_hstrp import DRIVER as HSTRP
from gateway.model.events import EmergencyEnded, PositionFix, RadioDeregistered, TextReceived
from gateway.model.identity import RadioId
from hil_tests.devices.hytera_hrnp import HrnpStation, HrnpUnit
from hil_tests.devices.hytera_hstrp import HstrpRepeater
from tests.support.bench import Bench, everything, nothing

UNIT = 0x348E1D
RADIO = RadioId(f"dmr:{UNIT}")
HOUR_S = 3600.0


class Pair(NamedTuple):
    """A driver, the device on its wire and the unit behind it."""

    driver: Driver[Any]
    carrier: HrnpStation | HstrpRepeater
    unit: HrnpUnit | HstrpRepeater


def station() -> Pair:
    made = HrnpStation(1001, every_s=HOUR_S)
    return Pair(HRNP, made, made.add_unit(UNIT))


def repeater() -> Pair:
    made = HstrpRepeater(UNIT, every_s=HOUR_S)
    return Pair(HSTRP, made, made)


class Asked(Bench[HrnpStation | HstrpRepeater]):
    """A bench on which commands are numbered one after the other."""

    def __init__(self, pair: Pair, **options: Any) -> None:
        super().__init__(pair.driver.new_codec(options, "link-1"), pair.carrier)
        self.unit = pair.unit
        self.orders = 0
        self.unit.move(30.25, 120.15, speed_mps=1.5, course_deg=87.0)
        self.run(3)
        self.forget()

    def command(self, verb: Verb, within_s: float = 30.0, **rest: Any) -> None:
        self.orders += 1
        self.ask(verb, RADIO, self.orders, within_s, **rest)


@pytest.fixture(params=[station, repeater], ids=["hrnp", "hstrp"])
def pair(request: pytest.FixtureRequest) -> Pair:
    made: Pair = request.param()
    return made


def test_locate_brings_a_place(pair: Pair) -> None:
    made = Asked(pair)
    made.command(Verb.LOCATE)
    made.run(1)
    assert made.outcomes == [Outcome(1, "delivered")]
    (fix,) = made.events(PositionFix)
    assert (fix.trigger, fix.radio_id) == ("request", RADIO)
    assert fix.lat_deg == pytest.approx(30.25, abs=1e-6)


def test_locate_of_a_radio_without_a_place_is_refused_with_the_reason(pair: Pair) -> None:
    made = Asked(pair)
    made.unit.lose_fix()
    made.command(Verb.LOCATE)
    made.run(1)
    assert made.outcomes == [Outcome(1, "refused", "position method failure (06)")]


def test_track_reports_until_it_is_over(pair: Pair) -> None:
    made = Asked(pair)
    made.command(Verb.TRACK, every_s=5, for_s=32)
    made.run(120)
    assert made.outcomes == [Outcome(1, "delivered")]
    fixes = made.events(PositionFix)
    assert [fix.trigger for fix in fixes] == ["time"] * 6


def test_text_arrives_and_is_acknowledged(pair: Pair) -> None:
    made = Asked(pair)
    made.command(Verb.TEXT, body="请回复")
    made.run(1)
    assert made.unit.texts == ["请回复"]
    assert made.outcomes == [Outcome(1, "delivered")]
    made.unit.write("收到")
    made.run(1)
    (text,) = made.events(TextReceived)
    assert (text.body, text.radio_id) == ("收到", RADIO)


@pytest.mark.parametrize("by", ["rrs", "rcp"])
def test_check_is_answered_by_a_radio_that_is_there(pair: Pair, by: str) -> None:
    by_rcp = {"check_by": "rcp"} if pair.driver is HRNP else {"service": "rcp"}
    made = Asked(pair, **(by_rcp if by == "rcp" else {}))
    made.command(Verb.CHECK)
    made.run(1)
    assert made.outcomes == [Outcome(1, "delivered")]
    made.unit.switch_off()
    made.run(1)
    assert [event.radio_id for event in made.events(RadioDeregistered)] == [RADIO]
    made.command(Verb.CHECK)
    made.run(40)
    assert len(made.outcomes) == 1, "a radio that is off says nothing"
    made.unit.switch_on()
    made.run(1)
    made.command(Verb.CHECK)
    made.run(1)
    assert made.outcomes[1:] == [Outcome(3, "delivered")]


def test_emergency_stop_ends_the_alarm_in_the_radio(pair: Pair) -> None:
    made = Asked(pair)
    made.unit.press()
    made.run(1)
    made.command(Verb.EMERGENCY_STOP)
    made.run(1)
    assert made.outcomes == [Outcome(1, "delivered")]
    assert [event.kind for event in made.events(EmergencyEnded)] == ["alarm"]


@pytest.mark.parametrize("seed", range(10))
def test_lost_packets_end_no_command_twice_and_no_text_is_shown_twice(
    pair: Pair, seed: int
) -> None:
    made = Asked(pair)
    rng = random.Random(seed)
    made.loses(lambda _frame: rng.random() < 0.3)
    for verb in Verb:
        made.command(verb, body="请回复", every_s=5, for_s=20)
    made.run(200)
    orders = [outcome.order for outcome in made.outcomes]
    assert sorted(set(orders)) == sorted(orders)
    assert len(orders) >= 3
    assert made.unit.texts in ([], ["请回复"])
    before = len(made.events(PositionFix))
    made.loses(nothing)
    made.run(60)
    assert len(made.events(PositionFix)) == before, "no track goes on"


def test_a_command_waits_for_the_connection(pair: Pair) -> None:
    made = Asked(pair)
    made.device.restart()
    made.loses(everything)
    made.run(30)
    made.command(Verb.LOCATE, within_s=60)
    made.run(5)
    assert made.outcomes == []
    made.loses(nothing)
    made.run(40)
    assert made.outcomes == [Outcome(1, "delivered")]
