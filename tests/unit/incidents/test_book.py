"""Which frames are one press."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NotAllowedError
from gateway.incidents.book import EmergencyBook
from gateway.model.events import EmergencyClosed, EmergencyTaken, Fix
from gateway.model.identity import EventId, RadioId
from tests.support.emergencies import RADIO, at, press, release

WINDOW_S = 300.0


def book() -> EmergencyBook:
    return EmergencyBook(same_press_s=WINDOW_S)


def take(desk: EmergencyBook, emergency_id: EventId, seconds: float) -> None:
    desk.take(EmergencyTaken(emergency_id=emergency_id, by="李", received_at=at(seconds)))


def close(desk: EmergencyBook, emergency_id: EventId, seconds: float) -> None:
    desk.close(
        EmergencyClosed(emergency_id=emergency_id, by="李", verdict="true", received_at=at(seconds))
    )


def test_the_first_frame_raises_and_the_next_one_refreshes() -> None:
    desk = book()
    first = desk.raise_or_refresh(press(0), None)
    second = desk.raise_or_refresh(press(5), None)
    assert (first.verdict, second.verdict) == ("raised", "refreshed")
    assert second.after.emergency_id == first.after.emergency_id
    assert second.after.frames == 2


@pytest.mark.parametrize("is_repeat_stored", [True, False])
def test_a_taking_that_was_not_stored_is_gone_whatever_came_after_it(
    *, is_repeat_stored: bool
) -> None:
    desk = book()
    emergency_id = desk.raise_or_refresh(press(0), None).after.emergency_id
    taking = desk.take(EmergencyTaken(emergency_id=emergency_id, by="李", received_at=at(1)))
    repeat = desk.raise_or_refresh(press(2), None)
    desk.undo(taking)
    if not is_repeat_stored:
        desk.undo(repeat)
    (state,) = desk.open()
    assert (state.phase, state.taken_by, state.taken_at) == ("open", None, None)
    assert (state.frames, state.refreshed_at) == ((2, at(2)) if is_repeat_stored else (1, at(0)))


def test_one_frame_sent_a_thousand_times_over_a_day_is_one_emergency() -> None:
    desk = book()
    ids = {
        desk.raise_or_refresh(press(86.4 * n), "serial 7").after.emergency_id for n in range(1000)
    }
    assert len(ids) == 1
    assert len(desk.open()) == 1


def test_a_frame_without_a_mark_repeated_within_the_window_is_one_emergency() -> None:
    desk = book()
    ids = {desk.raise_or_refresh(press(86.4 * n), None).after.emergency_id for n in range(1000)}
    assert len(ids) == 1


def test_a_press_after_the_radio_ended_the_first_is_a_second_emergency() -> None:
    desk = book()
    first = desk.raise_or_refresh(press(0), "serial 7").after
    assert desk.end(release(20)) is not None
    second = desk.raise_or_refresh(press(30), "serial 9")
    assert second.verdict == "raised"
    assert second.after.emergency_id != first.emergency_id
    assert len(desk.open()) == 2


def test_the_first_frame_replayed_after_the_end_stays_the_first_emergency() -> None:
    desk = book()
    first = desk.raise_or_refresh(press(0), "serial 7").after
    desk.end(release(20))
    again = desk.raise_or_refresh(press(30), "serial 7")
    assert again.verdict == "refreshed"
    assert again.after.emergency_id == first.emergency_id
    assert again.after.ended_at == at(20)


def test_a_refresh_replayed_after_the_end_raises_nothing() -> None:
    desk = book()
    desk.raise_or_refresh(press(0), "serial 7")
    desk.raise_or_refresh(press(5), "serial 8")
    desk.end(release(20))
    assert desk.raise_or_refresh(press(40), "serial 8").verdict == "refreshed"
    assert len(desk.open()) == 1


def test_a_press_after_a_long_quiet_time_is_a_second_emergency() -> None:
    desk = book()
    desk.raise_or_refresh(press(0), None)
    assert desk.raise_or_refresh(press(WINDOW_S + 1), None).verdict == "raised"


def test_two_kinds_of_one_radio_are_two_emergencies() -> None:
    desk = book()
    desk.raise_or_refresh(press(0), None)
    assert desk.raise_or_refresh(press(1, kind="man_down"), None).verdict == "raised"


def test_two_radios_are_two_emergencies() -> None:
    desk = book()
    desk.raise_or_refresh(press(0), "serial 7")
    other = desk.raise_or_refresh(press(0, radio_id=RadioId("pdt:80020202")), "serial 7")
    assert other.verdict == "raised"


def test_the_end_of_nothing_is_nothing() -> None:
    desk = book()
    assert desk.end(release(0)) is None
    desk.raise_or_refresh(press(1), None)
    assert desk.end(release(2)) is not None
    assert desk.end(release(3)) is None


def test_the_radio_cannot_close_its_own_emergency() -> None:
    desk = book()
    desk.raise_or_refresh(press(0), None)
    desk.end(release(5))
    assert [state.phase for state in desk.open()] == ["open"]


def test_only_a_taken_emergency_is_closed_and_only_once() -> None:
    desk = book()
    own = desk.raise_or_refresh(press(0), None).after.emergency_id
    with pytest.raises(NotAllowedError, match="take the emergency first"):
        close(desk, own, 5)
    take(desk, own, 6)
    close(desk, own, 7)
    with pytest.raises(NotAllowedError, match="already closed by 李"):
        close(desk, own, 8)
    with pytest.raises(NotAllowedError, match="no such emergency"):
        take(desk, EventId("0" * 32), 9)
    assert desk.open() == []


def test_stragglers_of_a_closed_press_raise_nothing_but_a_later_press_does() -> None:
    desk = book()
    own = desk.raise_or_refresh(press(0), None).after.emergency_id
    take(desk, own, 5)
    close(desk, own, 6)
    assert desk.raise_or_refresh(press(8), None).verdict == "refreshed"
    assert desk.get(own) is not None
    assert desk.raise_or_refresh(press(40), None).verdict == "raised"


def test_a_clock_that_was_set_back_swallows_no_press() -> None:
    """An hour back: until the clock has caught up, the closing and the last frame lie ahead."""
    for back_s in (3600.0, WINDOW_S + 1):
        desk = book()
        own = desk.raise_or_refresh(press(0), None).after.emergency_id
        assert desk.raise_or_refresh(press(-back_s), None).verdict == "raised", "an open one"
        desk = book()
        own = desk.raise_or_refresh(press(0), None).after.emergency_id
        take(desk, own, 5)
        close(desk, own, 6)
        assert desk.raise_or_refresh(press(-back_s), None).verdict == "raised", "a closed one"


def test_a_clock_that_was_set_right_by_a_second_splits_no_press() -> None:
    desk = book()
    desk.raise_or_refresh(press(0), None)
    assert desk.raise_or_refresh(press(-1), None).verdict == "refreshed"


def test_a_mark_that_comes_again_days_after_the_closing_is_a_press_of_its_own() -> None:
    desk = book()
    own = desk.raise_or_refresh(press(0), "serial 7").after.emergency_id
    take(desk, own, 5)
    close(desk, own, 6)
    assert desk.raise_or_refresh(press(80_000), "serial 7").verdict == "refreshed"
    again = desk.raise_or_refresh(press(90_000), "serial 7")
    assert again.verdict == "raised"
    assert again.after.emergency_id != own, "the outbox keeps the first one as well"
    assert desk.raise_or_refresh(press(170_000), "serial 7").after.frames == 2
    assert [state.raised_at for state in desk.open()] == [at(90_000)]


def test_the_transmissions_of_one_emergency_call_are_one_emergency() -> None:
    """The open microphone lets go and begins again by itself, eight times in two minutes."""
    desk = book()
    for n in range(8):
        desk.raise_or_refresh(press(15 * n, kind="call"), f"packet {n}")
        (call,) = desk.open()
        assert (call.ended_at, call.frames) == (None, n + 1)
        desk.end(release(15 * n + 10, kind="call"))
    (call,) = desk.open()
    assert call.ended_at == at(115)
    again = desk.raise_or_refresh(press(120, kind="call"), "packet 7")
    assert again.after.ended_at == at(115), "a copy of a transmission that is over begins nothing"


def test_an_emergency_call_after_a_long_quiet_time_or_a_closing_is_a_second_one() -> None:
    desk = book()
    own = desk.raise_or_refresh(press(0, kind="call"), None).after.emergency_id
    desk.end(release(10, kind="call"))
    later = desk.raise_or_refresh(press(10 + WINDOW_S + 1, kind="call"), None)
    assert later.verdict == "raised"
    desk = book()
    own = desk.raise_or_refresh(press(0, kind="call"), None).after.emergency_id
    desk.end(release(10, kind="call"))
    take(desk, own, 12)
    close(desk, own, 13)
    assert desk.raise_or_refresh(press(14, kind="call"), None).verdict == "raised"


def test_what_people_do_with_an_older_emergency_does_not_make_it_the_one_going_on() -> None:
    desk = book()
    old = desk.raise_or_refresh(press(0), "serial 7").after.emergency_id
    desk.end(release(5))
    new = desk.raise_or_refresh(press(10), "serial 9").after.emergency_id
    take(desk, old, 11)
    assert desk.raise_or_refresh(press(12), "serial 7").after.emergency_id == old, "sent again"
    close(desk, old, 13)
    assert desk.raise_or_refresh(press(14), "serial 10").after.emergency_id == new
    over = desk.end(release(20))
    assert over is not None
    assert over.after.emergency_id == new


def heard_at(seconds: float) -> Fix:
    """The place that a frame is sent with, and its time by the radio's clock."""
    return Fix(lat_deg=22.94, lon_deg=113.88, fix_at=at(seconds))


def closed_press() -> tuple[EmergencyBook, EventId]:
    """One that was heard at 0 and at 10, and was closed at 30."""
    desk = book()
    own = desk.raise_or_refresh(press(0, fix=heard_at(0)), "serial 1").after.emergency_id
    desk.raise_or_refresh(press(10, fix=heard_at(10)), "serial 2")
    desk.clear(RADIO, "alarm", at(12))
    take(desk, own, 15)
    close(desk, own, 30)
    return desk, own


@pytest.mark.parametrize("stored_s", [-WINDOW_S, -20, 0, 10])
def test_what_a_store_tells_of_a_closed_press_again_raises_nothing(stored_s: float) -> None:
    desk, own = closed_press()
    late = press(400, fix=heard_at(stored_s))
    assert desk.knows(late, "serial 3", at(stored_s))
    change = desk.raise_or_refresh(late, "serial 3", at(stored_s))
    assert (change.verdict, change.after.emergency_id) == ("refreshed", own)
    assert change.after.frames == 3
    assert change.after.refreshed_at == at(10), "it is no frame of now"
    assert change.after.fix == heard_at(10), "the newer place stands"
    assert desk.open() == []


@pytest.mark.parametrize("stored_s", [-WINDOW_S - 1, 11, 20, 35])
def test_a_stored_press_that_nobody_has_seen_is_raised(stored_s: float) -> None:
    """Long before; after the last frame of it; while a person was closing it; and afterwards."""
    desk, _ = closed_press()
    desk.raise_or_refresh(press(400, fix=heard_at(0)), "serial 3", at(0))
    unseen = press(400, fix=heard_at(stored_s))
    assert not desk.knows(unseen, "serial 4", at(stored_s))
    assert desk.raise_or_refresh(unseen, "serial 4", at(stored_s)).verdict == "raised"


def test_the_clock_of_the_gateway_does_not_make_a_stored_press_an_old_one() -> None:
    """Ours is an hour ahead: only the radio's own clock says what came after what was heard."""
    desk = book()
    own = desk.raise_or_refresh(press(3600, fix=heard_at(0)), None).after.emergency_id
    take(desk, own, 3605)
    close(desk, own, 3610)
    assert desk.raise_or_refresh(press(3700, fix=heard_at(60)), None, at(60)).verdict == "raised"


def test_without_a_measured_place_or_a_first_press_what_is_stored_is_raised() -> None:
    desk = book()
    assert desk.raise_or_refresh(press(0), None, at(-20)).verdict == "raised"
    (state,) = desk.open()
    take(desk, state.emergency_id, 5)
    close(desk, state.emergency_id, 6)
    assert desk.raise_or_refresh(press(60), None, at(-20)).verdict == "raised"


def test_a_raise_that_could_not_be_stored_is_raised_again_by_the_retry() -> None:
    desk = book()
    first = desk.raise_or_refresh(press(0), "serial 7")
    later = desk.raise_or_refresh(press(1), "serial 8")
    desk.undo(first)
    desk.undo(later)  # a refresh of what was never stored changes nothing
    assert desk.open() == []
    again = desk.raise_or_refresh(press(2), "serial 7")
    assert again.verdict == "raised"
    assert again.after.emergency_id == first.after.emergency_id


def test_what_the_outbox_kept_is_known_after_a_restart() -> None:
    before, after = book(), book()
    state = before.raise_or_refresh(press(0), "serial 7").after
    after.load([state])
    assert after.raise_or_refresh(press(60), "serial 7").verdict == "refreshed"
    assert after.raise_or_refresh(press(61), "serial 8").verdict == "refreshed"


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["press", "end"])), max_size=30))
def test_no_sequence_of_frames_closes_anything(steps: list[tuple[float, str]]) -> None:
    desk = book()
    clock, raised = 0.0, 0
    for pause, what in steps:
        clock += pause
        if what == "press":
            raised += desk.raise_or_refresh(press(clock), None).verdict == "raised"
        else:
            desk.end(release(clock))
    assert len(desk.open()) == raised
