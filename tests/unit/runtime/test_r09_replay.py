"""R9: one frame a thousand times over 24 hours is one emergency; a second press is a second one.

By each driver's own rule for "the same": a frame that carries the radio's own time is known for as
long as its emergency is remembered, over reconnections, restarts and the closing by a person; a
frame without one is known while no more than ``board.same_press_s`` passes between two copies.
"""

import asyncio
import random
from typing import Any

import pytest

from drivers.api import Driver, Moment, Report
from gateway.catalog import Catalog
from gateway.model.events import EmergencyRaised
from gateway.model.quantities import NS_PER_S, Instant
from tests.support import battery
from tests.support.devices import DEVICES, Played
from tests.support.talk import SAME_PRESS_S, Talk

DAY_S = 86_400.0
COPIES = 1_000
RECONNECT_EVERY, RESTART_EVERY = 50, 300

DRIVERS: dict[str, Driver[Any]] = {driver.name: driver for driver in Catalog.scan()}


def presses_only(case: battery.Case) -> bool:
    """One frame that raises and ends nothing."""
    types = [event.get("type") for event in case.vector.events]
    return (
        len(case.vector.frames) == 1
        and "emergency_raised" in types
        and "emergency_ended" not in types
    )


def tells_of_emergencies(driver: Driver[Any]) -> bool:
    """By what its manifest says that messages become."""
    return any("emergency_raised" in each.becomes for each in driver.handles)


CASES = [case for case in battery.find_cases() if presses_only(case)]


def marks_of(case: battery.Case, later_s: float) -> list[str | None]:
    """By what a fresh codec would know the frame's emergencies again."""
    moment = case.vector.moment
    at = Instant(moment.at + round(later_s * NS_PER_S))
    codec = case.driver.new_codec(case.options, battery.LINK_ID)
    outputs = [
        *codec.receive(case.vector.frames[0], Moment(moment.mono + later_s, at)),
        *codec.flush(Moment(moment.mono + later_s, at)),
    ]
    return [
        each.same_as
        for each in outputs
        if isinstance(each, Report) and isinstance(each.event, EmergencyRaised)
    ]


def has_own_time(case: battery.Case) -> bool:
    """True where the frame itself says which press it is, whenever it comes."""
    marks = marks_of(case, 0.0)
    return None not in marks and marks == marks_of(case, DAY_S)


TIMED = [case for case in CASES if has_own_time(case)]
UNTIMED = [case for case in CASES if not has_own_time(case)]


def raised(talk: Talk) -> list[str]:
    return [each.event_id for each in talk.disk.events if isinstance(each, EmergencyRaised)]


def hear(talk: Talk, frame: bytes) -> None:
    talk.session.received(frame)
    talk.session._flush_codec()


def test_there_are_frames_of_both_kinds() -> None:
    names = {case.driver.name for case in CASES}
    assert {each.name for each in DRIVERS.values() if tells_of_emergencies(each)} <= names
    assert {case.driver.name for case in TIMED} >= {"hytera_hrnp", "jt808"}
    assert UNTIMED


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_frame_that_is_repeated_all_day_is_one_emergency(case: battery.Case) -> None:
    async def story() -> None:
        talk = Talk(case.driver, case.options, case.vector.moment.at)
        hear(talk, case.vector.frames[0])
        first = raised(talk)
        assert first
        for copy in range(1, COPIES):
            talk.pass_time(DAY_S / COPIES)
            if copy % RECONNECT_EVERY == 0:
                talk.reconnect()
            hear(talk, case.vector.frames[0])
        assert raised(talk) == first
        assert all(state.frames % COPIES == 0 for state in talk.book.open()), "every copy counts"
        assert talk.counters.account().difference == 0

    assert DAY_S / COPIES < SAME_PRESS_S
    asyncio.run(story())


@pytest.mark.parametrize("case", TIMED, ids=[case.name for case in TIMED])
def test_a_replayed_frame_raises_nothing_whenever_it_comes(case: battery.Case) -> None:
    """At random moments, over restarts of the gateway, and after a person has closed it."""
    chance = random.Random(f"r9:{case.name}")

    async def story() -> None:
        talk = Talk(case.driver, case.options, case.vector.moment.at)
        hear(talk, case.vector.frames[0])
        first = raised(talk)
        for copy in range(1, COPIES):
            talk.pass_time(chance.expovariate(COPIES / DAY_S))
            if copy % RESTART_EVERY == 0:
                talk.restart()
                talk.reconnect()
            if copy == COPIES // 2:
                for emergency_id in first:
                    await talk.pipeline.take(emergency_id, "值班员")
                    await talk.pipeline.close(emergency_id, "值班员", "true", None)
            hear(talk, case.vector.frames[0])
        assert raised(talk) == first
        assert talk.book.open() == []

    asyncio.run(story())


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_a_second_press_is_a_second_emergency_and_old_frames_are_no_third(name: str) -> None:
    async def story() -> None:
        played = Played(DRIVERS[name])
        await played.run(5)
        for press in (1, 2):
            played.presser.press()
            assert await played.until_acknowledged(within_s=10)
            if press == 1:
                played.presser.release()
                await played.run(played.apart_s)
                recorded = list(played.sent)
        assert played.raised == 2
        assert len({state.emergency_id for state in played.talk.book.open()}) == 2
        played.talk.reconnect()
        for frame in recorded:
            played.talk.session.received(frame)
            await asyncio.sleep(0)
        assert played.raised == 2

    asyncio.run(story())
