"""What becomes of a report, and when it may be acknowledged."""

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest

from drivers.api import Report
from gateway.clock import ManualClock
from gateway.errors import NotAllowedError, ShedError, StoreError, StoreFullError
from gateway.incidents.book import EmergencyBook
from gateway.model.events import (
    EMERGENCY_EVENTS,
    EmergencyRaised,
    EmergencyTaken,
    Fix,
    PositionFix,
    RadioDeregistered,
    RadioRegistered,
    TextReceived,
)
from gateway.model.identity import RadioId
from gateway.outbox.rows import Lane, Write
from gateway.roster.units import KeySite, Roster, RosterFile, Unit
from gateway.runtime import board, repeats
from gateway.runtime.board import Board
from gateway.runtime.bus import Bus
from gateway.runtime.counters import Counters
from gateway.runtime.doubtful import MAX_SOURCES, MOST_ENTRIES, WINDOW_S, DoubtfulLane, host_of
from gateway.runtime.pipeline import Pipeline
from tests.support.emergencies import RADIO, at, fix, press, release


class Shelf:
    """Stands for the outbox: keeps writes until the test settles them."""

    def __init__(self) -> None:
        self.waiting: list[Write] = []
        self.is_full = False

    def submit(self, write: Write) -> bool:
        if not self.is_full:
            self.waiting.append(write)
        return not self.is_full

    async def room(self) -> None:
        return

    def settle(self, error: StoreError | None = None) -> list[Write]:
        writes, self.waiting = self.waiting, []
        for write in writes:
            write.settle(error)
        return writes


class Desk:
    """A pipeline with everything it needs, and a note of what was settled."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.clock = ManualClock(at(0))
        self.counters = Counters()
        self.roster = Roster(
            RosterFile(
                unit=(Unit(id="patrol-1", name="巡逻一组", radios=(RADIO,)),),
                site=(KeySite(id="plaza", name="广场", lat_deg=22.94, lon_deg=113.88),),
            )
        )
        self.book = EmergencyBook(300)
        self.bus = Bus()
        self.board = Board(
            roster=self.roster,
            book=self.book,
            bus=self.bus,
            clock=self.clock,
            fresh_s=60,
            silent_s=300,
        )
        self.pipeline = Pipeline(
            site="town",
            outbox=self.shelf,
            book=self.book,
            roster=self.roster,
            board=self.board,
            counters=self.counters,
            clock=self.clock,
        )
        self.settled: list[StoreError | None] = []

    def report(
        self,
        event: Any,
        same_as: str | None = None,
        *,
        calm: bool = False,
        cleared: bool = False,
        stored_s: float | None = None,
        peer: str = "far end",
    ) -> None:
        self.pipeline.report(
            Report(
                event,
                1,
                same_as,
                ("alarm",) if calm else (),
                ("alarm",) if cleared else (),
                None if stored_s is None else at(stored_s),
            ),
            link_id="radio-1",
            driver="test",
            at=event.received_at,
            settle=self.settled.append,
            peer=peer,
        )

    async def takes(self, emergency_id: str, by: str) -> EmergencyTaken:
        """A person takes it; that is not done before it is on disk."""
        task = asyncio.create_task(self.pipeline.take(emergency_id, by))
        await asyncio.sleep(0)
        assert not task.done()
        taken = self.shelf.settle()[0].event
        await task
        assert isinstance(taken, EmergencyTaken)
        return taken


def test_a_report_is_settled_only_after_the_commit() -> None:
    desk = Desk()
    desk.report(fix(0))
    assert desk.settled == []
    desk.shelf.settle()
    assert desk.settled == [None]


def test_an_event_carries_site_link_unit_and_its_own_id() -> None:
    desk = Desk()
    desk.report(fix(0))
    event = desk.shelf.waiting[0].event
    assert isinstance(event, PositionFix)
    assert (event.site, event.link_id, event.driver) == ("town", "radio-1", "test")
    assert (event.unit_id, event.unit_name) == ("patrol-1", "巡逻一组")
    assert len(event.event_id) == 32


def test_a_repeated_report_is_stored_once_and_answered_after_the_first() -> None:
    desk = Desk()
    desk.report(fix(0))
    desk.report(fix(0))
    assert [write.event is not None for write in desk.shelf.waiting] == [True, False]
    desk.shelf.settle()
    assert desk.settled == [None, None]
    assert desk.counters.events_dropped["duplicate"] == 1


def test_a_report_that_could_not_be_stored_is_not_taken_for_a_repeat_later() -> None:
    desk = Desk()
    desk.report(fix(0))
    desk.shelf.settle(StoreError("disk"))
    desk.report(fix(0))
    assert desk.shelf.waiting[0].event is not None


def test_a_serial_number_that_comes_round_again_is_a_new_report() -> None:
    desk = Desk()
    text = TextReceived(radio_id=RADIO, body="收到", received_at=at(0))
    desk.report(text, "serial 0")
    desk.report(TextReceived(radio_id=RADIO, body="收到", received_at=at(5)), "serial 0")
    desk.report(TextReceived(radio_id=RADIO, body="收到", received_at=at(4000)), "serial 0")
    stored = [write.event for write in desk.shelf.waiting if write.event is not None]
    assert len(stored) == 2
    assert stored[0].event_id != stored[1].event_id


def test_an_emergency_goes_by_its_own_lane_with_its_state() -> None:
    desk = Desk()
    desk.report(press(0), "serial 7")
    write = desk.shelf.waiting[0]
    assert write.lane is Lane.EMERGENCY
    assert write.event is not None
    assert write.emergency is not None
    assert write.event.event_id == write.emergency.emergency_id


def test_an_alarm_without_a_place_gets_the_last_known_one_with_its_age() -> None:
    desk = Desk()
    desk.report(fix(0))
    desk.shelf.settle()
    asyncio.run(desk.clock.advance(12))
    desk.report(press(12))
    event = desk.shelf.waiting[0].event
    assert isinstance(event, EmergencyRaised)
    assert event.fix is not None
    assert (event.fix.lat_deg, event.fix.age_s) == (22.94, 12.0)


def test_an_alarm_of_an_unregistered_radio_is_shown_with_its_doubt() -> None:
    desk = Desk()
    desk.report(press(0, radio_id=RadioId("dmr:99")))
    event = desk.shelf.waiting[0].event
    assert isinstance(event, EmergencyRaised)
    assert (event.verified, event.doubt) == (False, "unregistered radio")


def unregistered(number: int) -> EmergencyRaised:
    return press(0, radio_id=RadioId(f"dmr:{number}"))


def test_a_source_begins_ten_unverified_emergencies_a_minute_and_the_rest_is_counted() -> None:
    desk = Desk()
    for number in range(1000):
        desk.report(unregistered(number), peer=f"10.9.9.9:{5000 + number}")
    assert len(desk.shelf.waiting) == MOST_ENTRIES == 10
    assert desk.counters.events_dropped == {"too_many_unverified": 990}
    assert len(desk.settled) == 990
    assert all(isinstance(error, StoreError) for error in desk.settled)
    desk.shelf.settle()
    assert desk.counters.account().difference == 0


def test_the_minute_slides_and_a_radio_that_means_it_gets_in() -> None:
    desk = Desk()
    for number in range(11):
        desk.report(unregistered(number))
    desk.clock._move_to(WINDOW_S - 0.1)
    desk.report(unregistered(10))
    assert len(desk.shelf.settle()) == 10
    desk.clock._move_to(WINDOW_S)
    desk.report(unregistered(10))
    (write,) = desk.shelf.settle()
    assert write.event is not None
    assert write.event.radio_id == "dmr:10"


def test_a_flood_of_one_source_does_not_cost_another_nor_registered_radios_nor_repeats() -> None:
    desk = Desk()
    for number in range(50):
        desk.report(unregistered(number), peer="10.9.9.9:1")
    desk.shelf.settle()
    desk.report(unregistered(3), peer="10.9.9.9:1")  # refreshes what is there
    desk.report(unregistered(99), peer="10.9.9.8:1")
    desk.report(press(0), peer="10.9.9.9:1")
    assert [write.event is not None for write in desk.shelf.settle()] == [False, True, True]


def test_sources_are_forgotten_beyond_a_bound() -> None:
    lane = DoubtfulLane()
    for number in range(MAX_SOURCES + 1):
        assert lane.lets_in("radio-1", f"10.0.{number // 256}.{number % 256}:1", 0.0)
    assert len(lane._rate._begun) == MAX_SOURCES


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("10.1.2.3:4005", "10.1.2.3"),
        ("[fe80::1]:4005", "[fe80::1]"),
        ("/dev/serial/by-path/pci-0000:00:14.0-usb-0:3:1.0-port0", ""),
        ("/dev/ttyUSB0", ""),
    ],
)
def test_a_source_is_an_address_whatever_its_port(peer: str, host: str) -> None:
    assert host_of(peer) == (host or peer)


def test_a_repeated_emergency_is_no_second_row_and_is_answered() -> None:
    desk = Desk()
    desk.report(press(0), "serial 7")
    desk.shelf.settle()
    desk.report(press(3), "serial 7")
    write = desk.shelf.waiting[0]
    assert write.event is None
    assert write.emergency is not None
    assert write.emergency.frames == 2
    desk.shelf.settle()
    assert desk.settled == [None, None]


def test_an_emergency_that_could_not_be_stored_is_raised_again_by_the_retry() -> None:
    desk = Desk()
    desk.report(press(0), "serial 7")
    desk.shelf.settle(StoreError("disk"))
    assert isinstance(desk.settled[0], StoreError)
    desk.report(press(1), "serial 7")
    assert desk.shelf.waiting[0].event is not None


def test_who_has_seen_a_taking_that_could_not_be_stored_looks_again() -> None:
    async def story() -> None:
        desk = Desk()
        desk.report(press(0), "serial 7")
        (raised,) = desk.shelf.settle()
        assert raised.emergency is not None
        with desk.bus.subscribe() as changes:
            desk.report(press(3), "serial 7")
            task = asyncio.create_task(desk.pipeline.take(raised.emergency.emergency_id, "李明"))
            await asyncio.sleep(0)
            repeat, taking = desk.shelf.waiting
            repeat.settle(None)
            assert [change.kind for change in changes.drain()].count("emergency") == 1
            assert [state.phase for state in desk.book.open()] == ["taken"], "as it is seen"
            taking.settle(StoreError("disk"))
            assert [change.kind for change in changes.drain()].count("emergency") == 1
            assert [state.phase for state in desk.book.open()] == ["open"]
        with pytest.raises(StoreError):
            await task

    asyncio.run(story())


def test_a_full_outbox_refuses_and_counts() -> None:
    desk = Desk()
    desk.shelf.is_full = True
    desk.report(fix(0))
    desk.report(press(0))
    assert all(isinstance(error, StoreError) for error in desk.settled)
    assert desk.counters.events_dropped["outbox_full"] == 2
    assert desk.book.open() == []


def test_the_radio_that_ends_its_emergency_leaves_it_open() -> None:
    desk = Desk()
    desk.report(press(0))
    desk.report(release(9))
    desk.shelf.settle()
    assert [state.ended_at for state in desk.book.open()] == [at(9)]


PLAZA, FAR = Fix(lat_deg=22.94, lon_deg=113.88), Fix(lat_deg=22.99, lon_deg=113.88)


def place_now(desk: Desk) -> str | None:
    (state,) = desk.book.open()
    return state.place


def test_every_event_of_an_emergency_names_the_key_site_where_it_began() -> None:
    async def story() -> None:
        desk = Desk()
        desk.report(press(0, fix=PLAZA))
        desk.report(press(1, fix=FAR))
        desk.report(release(2))
        (state,) = desk.book.open()
        taking = asyncio.create_task(desk.pipeline.take(state.emergency_id, "李明"))
        await asyncio.sleep(0)
        writes = desk.shelf.settle()
        await taking
        closing = asyncio.create_task(desk.pipeline.close(state.emergency_id, "李明", "true", None))
        await asyncio.sleep(0)
        writes += desk.shelf.settle()
        await closing
        named = {
            type(e): e.place for e in (w.event for w in writes) if isinstance(e, EMERGENCY_EVENTS)
        }
        assert named == dict.fromkeys(EMERGENCY_EVENTS, "广场")

    asyncio.run(story())


@pytest.mark.parametrize("fields", [{"fix": FAR}, {}])
def test_outside_every_ring_and_without_a_position_there_is_no_place(fields: Any) -> None:
    desk = Desk()
    desk.report(press(0, **fields))
    assert place_now(desk) is None


def test_a_measured_place_corrects_a_last_known_one_and_nothing_else_does() -> None:
    desk = Desk()
    desk.report(fix(0, lat_deg=22.99))
    desk.shelf.settle()
    desk.report(press(1))
    assert place_now(desk) is None, "the last known place is far away"
    desk.report(press(2, fix=PLAZA))
    assert place_now(desk) == "广场"
    desk.report(press(3, fix=FAR))
    desk.report(press(4))
    assert place_now(desk) == "广场"


def test_a_report_that_says_no_alarm_ends_the_one_going_on_once() -> None:
    desk = Desk()
    desk.report(fix(0), calm=True)
    desk.report(press(1), "serial 7")
    desk.report(fix(2), calm=True)
    desk.report(fix(3), calm=True)
    kinds = [type(write.event).__name__ for write in desk.shelf.waiting]
    assert kinds == [
        "PositionFix",
        "EmergencyRaised",
        "EmergencyEnded",
        "PositionFix",
        "PositionFix",
    ]
    desk.report(press(4), "serial 8")
    desk.shelf.settle()
    assert len(desk.book.open()) == 2
    assert desk.counters.account().difference == 0


def test_what_a_store_tells_again_refreshes_the_press_that_was_heard() -> None:
    desk = Desk()
    place = Fix(lat_deg=22.94, lon_deg=113.88, fix_at=at(0))
    desk.report(press(0, fix=place), "serial 1")
    desk.report(fix(1), cleared=True)
    desk.report(press(60, fix=place, verified=False), "serial 9", stored_s=-20)
    desk.report(press(61, fix=place), "serial 10", stored_s=20)
    desk.shelf.settle()
    assert [state.frames for state in desk.book.open()] == [2, 1], "nobody has heard the last one"


def test_each_end_of_an_emergency_call_has_an_id_of_its_own() -> None:
    desk = Desk()
    for n in range(3):
        desk.report(press(15 * n, kind="call"), f"packet {n}")
        desk.report(release(15 * n + 10, kind="call"), f"packet {n}")
    events = [write.event for write in desk.shelf.settle() if write.event is not None]
    assert [type(event).__name__ for event in events] == [
        "EmergencyRaised",
        *["EmergencyEnded"] * 3,
    ]
    assert len({event.event_id for event in events}) == 4


def test_what_our_answer_clears_is_no_end_and_the_next_press_is_another() -> None:
    desk = Desk()
    desk.report(fix(0), cleared=True)
    desk.report(press(1), "serial 7")
    desk.report(fix(2), cleared=True)
    desk.report(fix(3), cleared=True)
    desk.report(press(4), "serial 7")  # sent again: its answer was on the way
    (first,) = desk.book.open()
    assert (first.ended_at, first.cleared_at, first.frames) == (None, at(2), 2)
    kept = [write.emergency for write in desk.shelf.waiting if write.emergency is not None]
    assert [state.cleared_at for state in kept] == [None, at(2), at(2)], "it outlives a restart"
    desk.report(press(5), "serial 8")
    desk.shelf.settle()
    assert len(desk.book.open()) == 2
    assert desk.counters.account().difference == 0


def test_a_clearing_that_could_not_be_stored_is_noticed_by_the_next_report() -> None:
    desk = Desk()
    desk.report(press(1), "serial 7")
    desk.shelf.settle()
    desk.report(fix(2), cleared=True)
    desk.shelf.settle(StoreError("disk"))
    assert [state.is_told for state in desk.book.open()] == [True]
    desk.report(fix(3), cleared=True)
    desk.shelf.settle()
    assert [state.cleared_at for state in desk.book.open()] == [at(3)]


def test_a_serial_number_from_before_the_clock_was_set_back_hides_nothing() -> None:
    desk = Desk()
    for seconds in (0, -3600):
        desk.report(TextReceived(radio_id=RADIO, body="到了", received_at=at(seconds)), "serial 7")
    desk.shelf.settle()
    assert desk.counters.events_dropped["duplicate"] == 0


def test_every_report_is_counted_once_on_its_way_out() -> None:
    desk = Desk()
    desk.report(fix(0))
    desk.report(fix(0))
    desk.report(fix(1))
    desk.report(press(2))
    desk.report(press(3))
    desk.report(release(4))
    desk.report(release(5))
    desk.shelf.settle()
    desk.report(fix(9))
    desk.shelf.settle(StoreError("disk"))
    desk.report(fix(10))  # still waiting
    account = desk.counters.account()
    assert account.received == 9
    assert account.stored == 4
    assert account.refreshed == 1
    assert account.dropped == {"duplicate": 1, "nothing_to_end": 1, "not_stored": 1}
    assert account.waiting == 1
    assert account.difference == 0


def test_taking_returns_after_the_commit_and_names_the_person() -> None:
    async def story() -> None:
        desk = Desk()
        desk.report(press(0))
        desk.shelf.settle()
        emergency_id = desk.book.open()[0].emergency_id
        taken = await desk.takes(emergency_id, "王警官")
        assert (taken.by, taken.taken_from) == ("王警官", None)
        assert taken.unit_id == "patrol-1"
        assert desk.book.open()[0].taken_by == "王警官"

    asyncio.run(story())


def test_taking_over_names_the_colleague() -> None:
    async def story() -> None:
        desk = Desk()
        desk.report(press(0))
        desk.shelf.settle()
        emergency_id = desk.book.open()[0].emergency_id
        await desk.takes(emergency_id, "王警官")
        over = await desk.takes(emergency_id, "李明")
        assert (over.by, over.taken_from) == ("李明", "王警官")
        assert desk.book.open()[0].taken_by == "李明"

    asyncio.run(story())


def test_taking_what_is_not_there_is_refused() -> None:
    desk = Desk()
    with pytest.raises(NotAllowedError):
        asyncio.run(desk.pipeline.take("0" * 32, "王警官"))


def test_a_place_that_cannot_be_is_taken_out_and_the_report_stays() -> None:
    desk = Desk()
    desk.report(fix(0, lat_deg=0.0, lon_deg=0.0))
    desk.report(fix(1, lat_deg=91.0))
    for write in desk.shelf.waiting:
        assert isinstance(write.event, PositionFix)
        assert (write.event.fix_valid, write.event.lat_deg) == (False, None)


def lanes_after_shedding(event: Any) -> list[Lane]:
    """By which lanes an event goes on a disk that takes emergencies only."""
    desk = Desk()
    desk.report(event)
    lanes = []
    while desk.shelf.waiting:
        (write,) = desk.shelf.waiting
        lanes.append(write.lane)
        desk.shelf.settle(ShedError("full") if write.lane is Lane.TELEMETRY else None)
    assert desk.counters.account().difference == 0
    assert desk.counters.account().waiting == 0
    assert desk.settled[-1] is None or desk.counters.events_dropped["not_stored"] == 1
    return lanes


def test_what_an_alarm_needs_takes_its_lane_while_telemetry_is_shed() -> None:
    both = [Lane.TELEMETRY, Lane.EMERGENCY]
    assert lanes_after_shedding(fix(0, trigger="emergency")) == both
    assert lanes_after_shedding(RadioRegistered(radio_id=RADIO, received_at=at(0))) == both


def test_other_telemetry_is_shed_and_strangers_do_not_eat_the_reserve() -> None:
    stranger = RadioRegistered(radio_id=RadioId("dmr:99"), received_at=at(0))
    assert lanes_after_shedding(fix(0, trigger="time")) == [Lane.TELEMETRY]
    assert lanes_after_shedding(stranger) == [Lane.TELEMETRY]


def test_on_a_disk_that_takes_nothing_an_alarm_s_position_is_refused_once() -> None:
    desk = Desk()
    desk.report(fix(0, trigger="emergency"))
    desk.shelf.settle(ShedError("full"))
    desk.shelf.settle(StoreFullError("nothing left"))
    assert desk.shelf.waiting == []
    assert isinstance(desk.settled[0], StoreFullError)
    assert desk.counters.account().dropped == {"not_stored": 1}


def test_a_doubt_stays_on_the_card_until_a_fix_without_one() -> None:
    desk = Desk()

    def doubt_after(event: PositionFix) -> str | None:
        desk.report(event)
        desk.shelf.settle()
        view = desk.board.unit("patrol-1")
        assert view is not None
        return view.doubt

    assert doubt_after(fix(1, speed_mps=200.0)) == "implausible_speed"
    assert doubt_after(fix(2, fix_at=at(200_000))) == "implausible_time"
    assert doubt_after(fix(3, fix_valid=False, lat_deg=None, lon_deg=None)) is not None
    assert doubt_after(fix(4)) is None


def test_a_radio_that_left_and_raises_an_alarm_is_on_the_air() -> None:
    desk = Desk()
    bye = RadioDeregistered(radio_id=RADIO, received_at=at(1))
    desk.report(fix(0))
    for copy in (bye, bye):  # the radio says it again; that is no sign of life
        desk.report(copy, "logout 7")
        desk.shelf.settle()
    view = desk.board.unit("patrol-1")
    assert view is not None
    assert view.state == "off"
    desk.report(press(100))
    desk.shelf.settle()
    view = desk.board.unit("patrol-1")
    assert view is not None
    assert (view.state, view.has_emergency) == ("fresh_fix", True)


def test_numbers_that_somebody_makes_up_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeats, "MARKS_OF_OTHERS", 500)
    monkeypatch.setattr(board, "MAX_UNREGISTERED", 100)
    desk = Desk()

    def heard(first: int, end: int) -> int:
        """Bytes that are kept after so many more numbers, each with one report."""
        for number in range(first, end):
            desk.report(fix(0, radio_id=RadioId(f"jt808:{number:012d}")))
            if number % 100 == 0:
                desk.shelf.settle()
                desk.settled.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = heard(0, 2_001)
        after = heard(2_001, 8_001)
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
