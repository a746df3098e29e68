"""Five states of a unit, told apart by the clock."""

import asyncio
from typing import Any

from gateway.clock import ManualClock
from gateway.incidents.book import EmergencyBook
from gateway.model.events import RadioDeregistered, RadioRegistered, StatusReceived
from gateway.model.identity import RadioId
from gateway.model.views import UnitView
from gateway.roster.units import Roster, RosterFile, Team, Unit
from gateway.runtime.board import Board
from gateway.runtime.bus import Bus
from tests.support.emergencies import RADIO, at, fix, press


class Wall:
    """A board with one registered unit and a clock to move."""

    def __init__(self) -> None:
        self.clock = ManualClock(at(0))
        self.bus = Bus()
        self.book = EmergencyBook(300)
        self.board = Board(
            roster=Roster(
                RosterFile(
                    team=(Team(id="t1", name="机动队", kind="mobile"),),
                    unit=(Unit(id="u1", name="一组", team="t1", radios=(RADIO,)),),
                )
            ),
            book=self.book,
            bus=self.bus,
            clock=self.clock,
            fresh_s=60,
            silent_s=300,
        )

    def hear(self, event: Any) -> None:
        self.board.heard(
            event.radio_id,
            link_id="r1",
            driver="test",
            at=event.received_at,
            is_leaving=isinstance(event, RadioDeregistered),
        )
        self.board.committed(event)

    def after(self, seconds: float) -> UnitView:
        asyncio.run(self.clock.advance(seconds))
        self.board.refresh()
        view = self.board.unit("u1")
        assert view is not None
        return view


def test_a_unit_that_was_never_heard_is_silent_and_still_listed() -> None:
    view = Wall().after(0)
    assert (view.state, view.heard_at, view.lat_deg) == ("silent", None, None)
    assert (view.unit_name, view.team_name, view.team_kind) == ("一组", "机动队", "mobile")


def test_a_fix_is_fresh_then_old_then_the_unit_is_silent() -> None:
    wall = Wall()
    wall.hear(fix(0))
    assert wall.after(59).state == "fresh_fix"
    assert wall.after(2).state == "old_fix"
    view = wall.after(300)
    assert view.state == "silent"
    assert view.lat_deg == 22.94  # the last known place stays, however old


def test_a_unit_that_reports_without_a_fix_is_not_an_old_fix() -> None:
    wall = Wall()
    wall.hear(fix(0))
    wall.after(70)
    wall.hear(fix(70, fix_valid=False, lat_deg=None, lon_deg=None))
    assert wall.after(1).state == "no_fix"


def test_a_radio_that_leaves_is_off_until_it_is_back() -> None:
    wall = Wall()
    wall.hear(fix(0))
    wall.hear(RadioDeregistered(radio_id=RADIO, received_at=at(1)))
    assert wall.after(1).state == "off"
    wall.hear(RadioRegistered(radio_id=RADIO, received_at=at(2)))
    assert wall.after(1).state == "fresh_fix"


def test_a_radio_that_speaks_again_is_not_off_however_it_speaks() -> None:
    wall = Wall()
    wall.hear(fix(0))
    wall.hear(RadioDeregistered(radio_id=RADIO, received_at=at(1)))
    assert wall.after(1).state == "off"
    wall.board.heard(RADIO, link_id="r1", driver="test", at=at(2))  # a heartbeat
    assert wall.after(0).state == "fresh_fix"


def test_a_good_bye_on_disk_after_the_next_word_takes_nobody_off() -> None:
    wall = Wall()
    wall.hear(fix(0))
    bye = RadioDeregistered(radio_id=RADIO, received_at=at(1))
    wall.board.heard(RADIO, link_id="r1", driver="test", at=at(1), is_leaving=True)
    wall.board.heard(RADIO, link_id="r1", driver="test", at=at(1.01))
    wall.board.committed(bye)
    assert wall.after(0).state == "fresh_fix"


def test_an_older_fix_that_comes_late_does_not_move_the_unit() -> None:
    wall = Wall()
    wall.hear(fix(100))
    wall.hear(fix(50, lat_deg=22.0, trigger="stored", received_at=at(101)))
    assert wall.after(0).lat_deg == 22.94


def test_a_fix_from_a_clock_ahead_does_not_hold_the_unit_where_it_was() -> None:
    wall = Wall()
    wall.hear(fix(0, fix_at=at(7200), lat_deg=22.90))
    wall.after(10)
    wall.hear(fix(10, fix_at=at(9), lat_deg=22.95))
    assert wall.after(0).lat_deg == 22.95
    place = wall.board.last_place(RADIO)
    assert place is not None
    assert place.lat_deg == 22.95
    wall.hear(fix(11, fix_at=at(5), lat_deg=22.91))
    assert wall.after(0).lat_deg == 22.95, "right clocks still tell which is older"


def test_a_radio_whose_clock_is_always_ahead_is_shown_as_it_reports() -> None:
    wall = Wall()
    for second in (0, 10, 20):
        wall.hear(fix(second, fix_at=at(7200 + second), lat_deg=22.0 + second))
        assert wall.after(0).lat_deg == 22.0 + second
    wall.hear(fix(-60, trigger="stored", received_at=at(21), lat_deg=22.5))
    assert wall.after(0).lat_deg == 42.0


def test_the_gateways_own_clock_set_back_holds_no_fix_without_a_time_of_its_own() -> None:
    wall = Wall()
    wall.hear(fix(3600, fix_at=None, lat_deg=22.90))
    wall.hear(fix(1, fix_at=None, lat_deg=22.95))
    assert wall.after(0).lat_deg == 22.95


def test_a_stored_fix_is_as_old_as_it_is() -> None:
    wall = Wall()
    wall.hear(fix(-200, trigger="stored", received_at=at(0)))
    assert wall.after(0).state == "old_fix"


def test_a_radio_without_a_unit_is_shown_by_its_number() -> None:
    wall = Wall()
    stranger = RadioId("dmr:77")
    wall.hear(fix(0, radio_id=stranger))
    view = wall.board.unit(stranger)
    assert view is not None
    assert (view.unit_id, view.radio_id, view.state) == (None, stranger, "fresh_fix")


def test_the_last_place_is_given_with_its_age() -> None:
    wall = Wall()
    assert wall.board.last_place(RADIO) is None
    wall.hear(fix(0))
    wall.after(42)
    place = wall.board.last_place(RADIO)
    assert place is not None
    assert place.age_s == 42


def test_after_a_restart_the_last_fixes_are_as_old_as_they_are() -> None:
    wall = Wall()
    wall.board.restore([fix(-100), fix(-200, lat_deg=1.0)])
    view = wall.after(0)
    assert (view.state, view.lat_deg) == ("old_fix", 22.94)


def test_a_unit_with_an_open_emergency_says_so() -> None:
    wall = Wall()
    wall.hear(fix(0))
    wall.book.raise_or_refresh(press(1), None)
    assert wall.after(0).has_emergency


def test_a_viewer_is_told_each_thing_once_and_emergencies_first() -> None:
    async def story() -> None:
        bus = Bus()
        with bus.subscribe() as viewer:
            for _ in range(1000):
                bus.publish("unit", "u1")
            bus.publish("emergency", "e1")
            assert await viewer.wait_urgent(0.1)
            assert [change.key for change in viewer.drain()] == ["e1", "u1"]
            assert not await viewer.wait_urgent(0.01)
        bus.publish("unit", "u1")
        assert viewer.drain() == []

    asyncio.run(story())


def test_an_empty_battery_is_a_value_and_a_missing_one_is_not() -> None:
    wall = Wall()
    for battery_pct in (40, 0, None):
        wall.hear(
            StatusReceived(radio_id=RADIO, code="10", received_at=at(1), battery_pct=battery_pct)
        )
    assert wall.after(0).battery_pct == 0
