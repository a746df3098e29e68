"""A budget divided among classes: never more than there is, the idle slowed first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.airtime.shares import LEAST_SHARE, PACES, URGENT, UnitClass, divide

COUNTS = st.dictionaries(st.sampled_from(list(UnitClass)), st.integers(0, 20_000))


@given(budget=st.floats(1, 5000), counts=COUNTS)
def test_the_shares_never_exceed_the_budget_and_no_class_is_forgotten(
    budget: float, counts: dict[UnitClass, int]
) -> None:
    given = divide(budget, counts)
    assert sum(given.values()) <= budget * (1 + 1e-9)
    assert given.keys() == {kind for kind, count in counts.items() if count}
    others = [kind for kind in given if kind not in URGENT]
    least = sum(counts[kind] * 60 / PACES[kind].slowest_s for kind in others)
    held = min(least, LEAST_SHARE ** len(URGENT) * budget)
    assert sum(given[kind] for kind in others) >= held * (1 - 1e-9)
    assert all(given[kind] > 0 for kind in others)


def test_with_room_enough_everybody_gets_what_is_liked() -> None:
    given = divide(1000, {UnitClass.PATROL: 100, UnitClass.IDLE: 200})
    assert given == pytest.approx({UnitClass.PATROL: 400, UnitClass.IDLE: 200})


def test_the_idle_are_slowed_before_the_patrols_and_those_before_the_responders() -> None:
    counts = {UnitClass.RESPONDING: 12, UnitClass.PATROL: 200, UnitClass.IDLE: 300}
    given = divide(1000, counts)
    assert given[UnitClass.RESPONDING] == pytest.approx(144)  # one every 5 s
    assert given[UnitClass.PATROL] == pytest.approx(800)  # one every 15 s
    assert given[UnitClass.IDLE] == pytest.approx(56)  # what is left, over 30 at the slowest
    tight = divide(500, counts)
    assert tight[UnitClass.IDLE] == pytest.approx(30)  # one every 600 s
    assert tight[UnitClass.RESPONDING] == pytest.approx(144)
    assert tight[UnitClass.PATROL] == pytest.approx(326)


def test_when_even_the_slowest_pace_is_too_much_all_but_the_urgent_are_slowed_alike() -> None:
    counts = {UnitClass.EMERGENCY: 10, UnitClass.PATROL: 2000, UnitClass.IDLE: 20_000}
    given = divide(1000, counts)
    assert given[UnitClass.EMERGENCY] == pytest.approx(60)  # one every 10 s
    assert given[UnitClass.PATROL] / given[UnitClass.IDLE] == pytest.approx(1000 / 2000)
    assert sum(given.values()) == pytest.approx(1000)


def test_a_tenth_is_held_for_those_who_are_not_urgent() -> None:
    given = divide(100, {UnitClass.EMERGENCY: 1000, UnitClass.IDLE: 100_000})
    assert given == pytest.approx({UnitClass.EMERGENCY: 90, UnitClass.IDLE: 10})
