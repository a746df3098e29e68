"""What is remembered of reports, and for how long."""

from gateway.model.identity import EventId, RadioId
from gateway.runtime.repeats import MARKS_OF_OTHERS, MARKS_PER_RADIO, REPEAT_WINDOW_S, Repeats
from tests.support.emergencies import RADIO, at


def test_made_up_numbers_cost_a_bounded_memory_and_push_nobody_of_ours_out() -> None:
    repeats = Repeats()
    ours = repeats.of(RADIO, is_ours=True)
    assert not ours.has(EventId("a"), at(0))
    others = set()
    for number in range(MARKS_OF_OTHERS + 10_000):
        marks = repeats.of(RadioId(f"jt808:{number}"), is_ours=False)
        others.add(id(marks))
        assert not marks.has(EventId(f"m{number}"), at(1))
    assert (len(others), len(marks)) == (1, MARKS_OF_OTHERS)
    assert repeats.of(RADIO, is_ours=True).has(EventId("a"), at(2))


def test_a_mark_is_dropped_when_it_can_be_repeated_no_more() -> None:
    marks = Repeats().of(RADIO, is_ours=True)
    for number in range(10):
        marks.has(EventId(str(number)), at(0))
    assert marks.has(EventId("0"), at(REPEAT_WINDOW_S - 1))
    assert not marks.has(EventId("new"), at(REPEAT_WINDOW_S + 1))
    assert len(marks) == 2
    assert marks.has(EventId("0"), at(REPEAT_WINDOW_S + 2))


def test_of_a_radio_that_says_much_the_newest_marks_are_kept() -> None:
    marks = Repeats().of(RADIO, is_ours=True)
    for number in range(MARKS_PER_RADIO + 1):
        marks.has(EventId(str(number)), at(number / 10))
    assert not marks.has(EventId("0"), at(10))
    assert marks.has(EventId(str(MARKS_PER_RADIO)), at(10))


def test_what_could_not_be_stored_is_new_when_it_comes_again() -> None:
    marks = Repeats().of(RADIO, is_ours=True)
    marks.has(EventId("a"), at(0))
    marks.forget(EventId("a"))
    assert not marks.has(EventId("a"), at(1))
