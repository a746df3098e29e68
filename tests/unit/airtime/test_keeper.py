"""A channel on the live board: who is asked, who is not, and what is promised."""

import asyncio
from typing import Any

import pytest

from gateway.airtime.keeper import Keeper
from gateway.clock import ManualClock
from gateway.incidents.book import EmergencyBook
from gateway.model.emergency import Emergency
from gateway.model.events import Fix
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant
from gateway.model.views import UnitView
from gateway.settings import AirtimeSettings
from tests.support.emergencies import press


class Board:
    def __init__(self) -> None:
        self.views: dict[str, UnitView] = {}
        self.open: list[Emergency] = []

    def units(self) -> list[UnitView]:
        return list(self.views.values())

    def open_emergencies(self) -> list[Emergency]:
        return self.open

    def put(self, number: int, **facts: Any) -> None:
        radio = RadioId(f"dmr:{number}")
        wanted: dict[str, Any] = {"state": "old_fix", "link_id": "station-1", **facts}
        self.views[radio] = UnitView(radio_id=radio, state_since=Instant(0), **wanted)


class Radios:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.deaf: set[str] = set()

    def can_locate(self, radio_id: RadioId) -> bool:
        return radio_id not in self.deaf

    def locate(self, radio_id: RadioId) -> bool:
        self.asked.append(radio_id)
        return True


class World:
    def __init__(self, budget_a_min: float = 600.0) -> None:
        self.clock = ManualClock()
        self.board = Board()
        self.radios = Radios()
        settings = AirtimeSettings(id="ch", links=("station-1",), budget_a_min=budget_a_min)
        self.keeper = Keeper(settings, self.board, self.radios, self.clock)

    async def run(self, seconds: float) -> None:
        task = asyncio.ensure_future(self.keeper.run())
        await self.clock.advance(seconds)
        task.cancel()


def test_units_of_the_channel_are_asked_in_turn_and_others_never() -> None:
    world = World()
    for number in range(4):
        world.board.put(number)
    world.board.put(90, link_id="another")
    world.board.put(91, state="off")
    world.board.put(92)
    world.radios.deaf.add("dmr:92")
    asyncio.run(world.run(179))
    counts = {radio: world.radios.asked.count(radio) for radio in set(world.radios.asked)}
    assert counts == {f"dmr:{number}": 3 for number in range(4)}


def test_a_press_brings_the_unit_and_its_neighbours_to_the_front() -> None:
    world = World()
    near = {"lat_deg": 30.2501, "lon_deg": 120.16, "team_kind": "watch"}
    for number in range(300):
        world.board.put(number, **(near if number < 5 else {}))
    asyncio.run(world.run(60))
    world.radios.asked.clear()
    world.board.put(0, has_emergency=True, **near)
    book = EmergencyBook(300)
    book.raise_or_refresh(press(fix=Fix(lat_deg=30.25, lon_deg=120.16)), None)
    world.board.open = book.open()
    asyncio.run(world.run(20))
    asked = world.radios.asked
    assert asked.count("dmr:0") >= 3
    assert all(asked.count(f"dmr:{number}") >= 3 for number in range(1, 5))
    assert set(world.keeper.view().promises) == {"emergency", "responding", "idle"}


def test_a_radio_that_reports_by_itself_keeps_its_turn_and_the_air_stays_free() -> None:
    world = World()
    world.board.put(1, fix_received_at=Instant(world.clock.now() + 10**9))

    async def report() -> None:
        task = asyncio.ensure_future(world.keeper.run())
        for _ in range(40):
            world.board.put(1, fix_received_at=world.clock.now())
            await world.clock.advance(5)
        task.cancel()

    asyncio.run(report())
    assert world.radios.asked == []
    assert world.keeper.passed_over >= 3


def test_what_is_asked_in_a_minute_is_counted_and_promised() -> None:
    world = World(budget_a_min=30)
    for number in range(100):
        world.board.put(number)
    asyncio.run(world.run(300))
    health = world.keeper.view()
    assert 25 <= health.asked_last_min <= 30
    promise = health.promises["idle"]
    assert promise.units == 100
    assert promise.worst_age_s == pytest.approx(100 / (30 * 0.97) * 60, rel=0.05)
