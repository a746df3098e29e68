"""R10: an alarm from an address that nobody allowed is shown, marked, and does nothing else."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from drivers.api import Codec, Driver, Moment, Output, Reject, Report, Transport
from gateway.airtime.classes import places_of
from gateway.catalog import Catalog
from gateway.model.emergency import raised
from gateway.model.events import UNLISTED, EmergencyRaised, Fix
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant
from gateway.runtime.doubtful import MOST_ENTRIES, WINDOW_S
from gateway.runtime.pipeline import MOST_HEARSAY
from gateway.runtime.strangers import MOST_READ, MOST_READ_OF_ONE, Strangers
from gateway.sinks.figures import Trails
from tests.support import battery
from tests.support.emergencies import RADIO, at, fix, press, release
from tests.support.talk import Talk
from tests.unit.runtime.test_pipeline import Desk
from tests.unit.runtime.test_r09_replay import CASES, tells_of_emergencies

STRANGER = "192.0.2.9:4000"
ON_UDP = [case for case in CASES if Transport.UDP in case.driver.transports]


class Door:
    """A link's runner, as far as a stranger meets it."""

    link_id = battery.LINK_ID
    driver_name = "jt808"

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.rejects: list[Reject] = []
        self.failures: list[Exception] = []

    def dropped(self, reason: str) -> None:
        self.drops[reason] += 1

    def rejected(self, peer_name: str, reject: Reject, at: Instant) -> None:
        self.rejects.append(reject)

    def codec_failed(self, peer_name: str, error: Exception, data: bytes) -> None:
        self.failures.append(error)


class Says:
    """A codec that makes the same of every datagram, and counts them; it is never answered for."""

    def __init__(self, *outputs: Output) -> None:
        self.outputs = outputs
        self.read: list[bytes] = []

    def receive(self, data: bytes, now: Moment) -> list[Output]:
        self.read.append(data)
        return list(self.outputs)

    def flush(self, now: Moment) -> list[Output]:
        return []

    def accept(self, receipt: int) -> None:
        raise AssertionError("a stranger gets no receipt")

    def outgoing(self) -> list[bytes]:
        raise AssertionError("a stranger gets no answer")

    def next_deadline(self) -> float | None:
        return None

    def expire(self, now: Moment) -> list[Output]:
        return []


def strangers(desk: Desk | Talk, codec: Codec) -> tuple[Door, Strangers]:
    door = Door()
    return door, Strangers(door, lambda _peer: codec, desk.pipeline, desk.clock)


def test_every_driver_on_udp_that_tells_of_emergencies_is_here() -> None:
    drivers: list[Driver[Any]] = list(Catalog.scan())
    telling = {
        each.name
        for each in drivers
        if Transport.UDP in each.transports and tells_of_emergencies(each)
    }
    assert telling <= {case.driver.name for case in ON_UDP}


@pytest.mark.parametrize("case", ON_UDP, ids=[case.name for case in ON_UDP])
def test_a_single_datagram_with_an_alarm_is_shown_and_nothing_else_comes_of_it(
    case: battery.Case,
) -> None:
    async def story() -> None:
        talk = Talk(case.driver, case.options, case.vector.moment.at)
        codec = case.driver.new_codec(case.options, battery.LINK_ID, STRANGER)
        door, heard = strangers(talk, codec)
        heard.received(STRANGER, case.vector.frames[0])
        assert not door.failures
        assert talk.disk.events, "the alarm is not thrown away"
        for event in talk.disk.events:
            assert isinstance(event, EmergencyRaised)
            assert (event.verified, event.doubt, event.unit_id) == (False, UNLISTED, None)
        assert all(state.is_hearsay for state in talk.book.open())
        assert door.drops == {"not_allowed": 1}
        assert talk.counters.account().difference == 0

    asyncio.run(story())


def test_what_a_stranger_says_of_a_radio_is_an_entry_of_its_own() -> None:
    desk = Desk()
    _, heard = strangers(desk, Says(Report(press(0, fix=Fix(lat_deg=1, lon_deg=2)), None, "7")))
    desk.report(press(0), "7")
    heard.received(STRANGER, b"?")
    desk.report(press(2), "7")
    desk.shelf.settle()
    mine, theirs = sorted(desk.book.open(), key=lambda state: state.is_hearsay)
    assert (mine.verified, mine.unit_id, mine.frames, mine.fix) == (True, "patrol-1", 2, None)
    assert (theirs.verified, theirs.unit_id, theirs.frames) == (False, None, 1)
    assert theirs.unit_name == "巡逻一组", "who it claims to be"
    desk.report(release(3))
    assert [state.ended_at for state in desk.book.open() if state.is_hearsay] == [None]
    assert desk.counters.account().difference == 0


def test_a_real_press_after_a_forged_one_is_no_repetition_of_it() -> None:
    """A dispatcher closes the forged one as false; the officer presses within seconds."""

    async def story() -> None:
        desk = Desk()
        _, heard = strangers(desk, Says(Report(press(0))))
        heard.received(STRANGER, b"?")
        desk.shelf.settle()
        (forged,) = desk.book.open()
        for act in (
            desk.pipeline.take(forged.emergency_id, "李明"),
            desk.pipeline.close(forged.emergency_id, "李明", "false", None),
        ):
            doing = asyncio.create_task(act)
            await asyncio.sleep(0)
            desk.shelf.settle()
            await doing
        desk.report(press(1))
        desk.shelf.settle()
        (real,) = desk.book.open()
        assert (real.verified, real.frames) == (True, 1)

    asyncio.run(story())


def test_nothing_follows_by_itself() -> None:
    desk = Desk()
    place = Fix(lat_deg=22.94, lon_deg=113.88)
    outputs = [Report(press(0, fix=place)), Report(fix(0, lat_deg=22.0)), Report(release(1))]
    door, heard = strangers(desk, Says(*outputs))
    heard.received(STRANGER, b"?")
    desk.shelf.settle()
    (view,) = desk.board.units()
    assert not view.has_emergency
    assert (view.heard_at, view.lat_deg) == (None, None), "not heard, not moved"
    assert not desk.book.was_going_on(RADIO, None, at(1))
    assert not places_of(desk.book.open()), "no air time"
    assert not Trails("town").of(desk.book.open()), "no line on the map"
    assert [state.ended_at for state in desk.book.open()] == [None]
    (reject,) = door.rejects
    assert (reject.reason, "not obeyed" in reject.detail) == ("not_allowed", True)


def test_it_is_still_hearsay_after_a_restart() -> None:
    desk = Desk()
    _, heard = strangers(desk, Says(Report(press(0))))
    heard.received(STRANGER, b"?")
    states = desk.book.open()
    again = Desk()
    again.book.load(states)
    again.report(press(1))
    assert sorted(state.is_hearsay for state in again.book.open()) == [False, True]


def numbered(number: int) -> RadioId:
    return RadioId(f"pdt:8002{number:04d}")


def test_one_source_begins_ten_a_minute() -> None:
    desk = Desk()
    codec = Says()
    door, heard = strangers(desk, codec)
    for number in range(3 * MOST_ENTRIES):
        codec.outputs = (Report(press(0, radio_id=numbered(number))),)
        heard.received(f"192.0.2.9:{number}", b"?")
        if number % MOST_READ_OF_ONE == MOST_READ_OF_ONE - 1:
            desk.clock._move_to(desk.clock.monotonic() + 1)
    assert len(desk.book.open()) == MOST_ENTRIES
    assert desk.counters.events_dropped["too_many_unverified"] == 2 * MOST_ENTRIES
    assert door.drops["not_allowed"] == 3 * MOST_ENTRIES
    assert desk.counters.account().difference == 0


def test_many_forged_sources_fill_their_own_lane_and_no_more() -> None:
    desk = Desk()
    codec = Says()
    _, heard = strangers(desk, codec)
    for number in range(2 * MOST_HEARSAY):
        codec.outputs = (Report(press(0, radio_id=numbered(number))),)
        heard.received(f"192.0.2.{number % 250}:{number}", b"?")
        desk.clock._move_to(desk.clock.monotonic() + WINDOW_S)
    assert desk.book.open_hearsay() == MOST_HEARSAY
    desk.report(press(1))
    assert [state.verified for state in desk.book.open() if not state.is_hearsay] == [True]


def test_how_many_datagrams_are_read_is_bounded() -> None:
    desk = Desk()
    codec = Says()
    door, heard = strangers(desk, codec)
    for number in range(1000):
        heard.received(f"192.0.2.9:{number}", b"?")
    assert len(codec.read) == MOST_READ_OF_ONE
    for number in range(1000):
        heard.received(f"198.51.100.{number % 250}:{number}", b"?")
    assert len(codec.read) == MOST_READ
    desk.clock._move_to(desk.clock.monotonic() + 1)
    heard.received(STRANGER, b"?")
    assert len(codec.read) == MOST_READ + 1
    assert door.drops["not_allowed"] == 2001


def test_a_codec_that_fails_on_it_is_a_bug_and_nothing_more() -> None:
    class Fails(Says):
        def receive(self, data: bytes, now: Moment) -> list[Output]:
            raise IndexError(data)

    door, heard = strangers(Desk(), Fails())
    heard.received(STRANGER, b"?")
    assert [type(error) for error in door.failures] == [IndexError]


def test_other_doubts_are_no_hearsay() -> None:
    assert not raised(press(0)).is_hearsay
    assert not raised(press(0, verified=False, doubt="unregistered radio")).is_hearsay
