"""A channel's schedule by a virtual clock: within the budget, fair, and as promised."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.airtime.channel import Channel
from gateway.airtime.shares import UnitClass
from gateway.airtime.simulation import Simulation

TOWN = {
    UnitClass.EMERGENCY: 1,
    UnitClass.RESPONDING: 12,
    UnitClass.PATROL: 120,
    UnitClass.IDLE: 400,
}


def test_every_class_keeps_its_promise() -> None:
    played = Simulation(Channel(1000))
    played.add(TOWN)
    played.run(1800)
    for kind, promise in played.channel.promises().items():
        assert played.worst(kind) <= promise.worst_age_s + 0.05, kind
        assert played.worst(kind) >= 0.8 * promise.interval_s, kind  # it promises no more than true


@settings(deadline=None, max_examples=40)
@given(
    budget=st.integers(1, 2000),
    steps=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([*UnitClass, None]), st.floats(0, 30)),
        max_size=60,
    ),
)
def test_no_minute_has_more_requests_than_the_budget(
    budget: int, steps: list[tuple[int, UnitClass | None, float]]
) -> None:
    played = Simulation(Channel(budget))
    for number, kind, seconds in steps:
        if kind is None:
            played.channel.remove(f"unit-{number}", played.now)
        else:
            played.channel.put(f"unit-{number}", kind, played.now)
        played.run(seconds)
    played.run(120)
    assert played.most_a_minute <= budget


def test_units_of_one_class_are_asked_in_turn() -> None:
    played = Simulation(Channel(600))
    played.add({UnitClass.PATROL: 50})
    played.run(600)
    asked = sorted(played.asked.values())
    assert asked[-1] - asked[0] <= 16  # all within one round
    assert len(asked) == 50


def test_a_unit_in_an_emergency_is_asked_at_once_and_its_neighbours_next() -> None:
    played = Simulation(Channel(1000))
    played.add({UnitClass.IDLE: 5000})
    played.run(300)
    pressed = played.now
    played.channel.put("idle-4999", UnitClass.EMERGENCY, pressed)
    for number in range(12):
        played.channel.put(f"idle-{number}", UnitClass.RESPONDING, pressed)
    played.run(5.5)
    assert played.asked["idle-4999"] >= pressed
    assert all(played.asked[f"idle-{number}"] >= pressed for number in range(12))


def test_a_pause_saves_nothing_up() -> None:
    channel = Channel(60)
    for number in range(100):
        channel.put(f"unit-{number}", UnitClass.EMERGENCY, 0.0)
    taken = [moment for moment in range(600, 660) if channel.take(float(moment)) is not None]
    assert len(taken) == 60
    assert channel.take(659.5) is None


def test_a_unit_that_left_is_asked_no_more() -> None:
    played = Simulation(Channel(1000))
    played.add({UnitClass.PATROL: 2})
    played.channel.remove("patrol-0", 0.0)
    played.channel.remove("nobody", 0.0)
    played.run(120)
    assert set(played.asked) == {"patrol-1"}
    played.channel.remove("patrol-1", played.now)
    assert played.channel.next_due() == float("inf")
    assert played.channel.promises() == {}


def test_a_budget_that_asks_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="asks nobody"):
        Channel(0.5)
