"""What the time series learns of the present: states that no event tells."""

from collections.abc import Iterable
from typing import Any

import pytest

from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.events import UNLISTED, EmergencyTaken, Fix
from gateway.model.quantities import Instant
from gateway.model.views import ChannelView, Promise
from gateway.runtime.counters import Counters
from gateway.runtime.health import Health
from gateway.sinks.figures import TRAILS, UNIT_STATES, Figures, Trails
from tests.support.sink_rows import AT, SITE, States, closed, header, link_view, raised, unit_view
from tests.unit.sinks.test_line_protocol import Parsed, parse


def later(seconds: float) -> Instant:
    return Instant(AT + round(seconds * 1e9))


@pytest.fixture
def present() -> States:
    return States()


@pytest.fixture
def figures(present: States) -> Figures:
    return Figures(SITE, present)


def points(lines: Iterable[str], measurement: str, **tags: str) -> list[Parsed]:
    read = [parse(text) for text in lines]
    return [p for p in read if p.measurement == measurement and tags.items() <= p.tags.items()]


def units(*views: Any) -> dict[str, Any]:
    return {view.unit_id or view.radio_id: view for view in views}


def press(number: int, mark: str = "first", seconds: float = 0.0, **fields: Any) -> Emergency:
    return transitions.raised(raised(number, mark, received_at=later(seconds), **fields))


def take(state: Emergency, seconds: float) -> Emergency:
    act = EmergencyTaken(
        **header(1, received_at=later(seconds)), emergency_id=state.emergency_id, by="li"
    )
    return transitions.taken(state, act)


def test_a_unit_is_written_with_its_state_its_ages_and_its_place(
    present: States, figures: Figures
) -> None:
    view = unit_view(
        1, team="patrol", unit_name="一组", fix_received_at=AT, link_id="lan", driver="jt808"
    )
    present.unit_views = units(view)
    (point,) = points(figures.lines(later(30)), "radio_status", unit="u1")
    assert point.tags == {
        "site": SITE, "team": "patrol", "unit": "u1", "radio": "pdt:1", "link": "lan",
        "driver": "jt808",
    }  # fmt: skip
    assert point.at == later(30)
    written = point.fields
    assert (written["state"], written["state_code"], written["name"]) == ("fresh_fix", 0, "一组")
    assert (written["heard_s"], written["fix_s"], written["state_s"]) == (30.0, 30.0, 30.0)
    assert (written["lat"], written["lon"]) == (23.02, 113.75)
    assert written["lat_gcj"] != written["lat"]
    assert written["has_emergency"] is False
    assert "trail" not in written


def test_a_unit_without_news_is_written_once_a_minute(present: States, figures: Figures) -> None:
    present.unit_views = units(unit_view(1, fix_received_at=AT))

    def count(seconds: float) -> int:
        return len(points(figures.lines(later(seconds)), "radio_status", unit="u1"))

    assert [count(s) for s in (0, 10, 20, 59.9)] == [1, 0, 0, 0]
    assert count(60) == 1
    present.unit_views = units(unit_view(1, fix_received_at=later(65)))
    assert count(70) == 1, "a new fix is news"
    present.unit_views = units(unit_view(1, fix_received_at=later(65), state="silent"))
    assert count(80) == 1, "a new state is news"


def test_states_are_counted_for_all_and_for_each_team(present: States, figures: Figures) -> None:
    present.unit_views = units(
        unit_view(1, team="a", team_name="一队"),
        unit_view(2, team="a", state="silent"),
        unit_view(3, team="b", state="off"),
    )
    lines = list(figures.lines(AT))
    (whole,) = points(lines, "gateway")
    assert [whole.fields[f"units_{state}"] for state in UNIT_STATES] == [1, 0, 0, 1, 1]
    teams = {p.tags["team"]: p for p in points(lines, "radio_status") if "unit" not in p.tags}
    assert set(teams) == {"a", "b"}
    assert [teams["a"].fields[f"units_{state}"] for state in UNIT_STATES] == [1, 0, 0, 1, 0]
    assert teams["a"].fields["team_name"] == "一队"


def test_a_gateway_of_many_channels_tells_its_emergencies_all_the_same(
    present: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty are told in full; of two hundred, what they promise is cut and nothing else."""
    promise = Promise(units=2, requests_a_min=24.0, interval_s=5.0, worst_age_s=7.2)
    channels = [
        ChannelView(
            channel=f"channel-{number}",
            budget_a_min=1000.0,
            asked_last_min=24,
            passed_over=1,
            promises=dict.fromkeys(("emergency", "responder", "patrol", "idle"), promise),
        )
        for number in range(1, 201)
    ]
    present.put(press(1))
    for count in (20, 200):
        health = Health(
            is_accepting=True, uptime_s=1, loop_lag_ms=1, memory_mib=1, events=Counters().account(),
            links={}, sinks=[], airtime=channels[:count],
        )  # fmt: skip
        monkeypatch.setattr(present, "health", lambda health=health: health)
        (whole,) = points(Figures(SITE, present).lines(later(40)), "gateway")
        fields = whole.fields
        assert (fields["emergencies_waiting"], fields["emergencies_waiting_s"]) == (1, 40.0)
        assert fields["units_silent"] == fields["links_down"] == 0
        assert fields["is_accepting"] is True
        for number in range(1, 21):
            assert fields[f"airtime_channel_{number}_promises_idle_worst_age_s"] == 7.2


def test_the_oldest_fix_is_that_of_a_unit_that_is_on_air(present: States, figures: Figures) -> None:
    present.unit_views = units(
        unit_view(1, fix_received_at=later(60)),
        unit_view(2, fix_received_at=later(40), state="old_fix"),
        unit_view(3, fix_received_at=AT, state="silent"),
    )
    (whole,) = points(figures.lines(later(100)), "gateway")
    assert whole.fields["fix_oldest_s"] == 60.0


def test_an_emergency_is_written_while_it_is_open_and_says_who_waits(
    present: States, figures: Figures
) -> None:
    place = Fix(lat_deg=23.02, lon_deg=113.75)
    state = press(1, fix=place)
    present.put(state)
    (point,) = points(figures.lines(later(25)), "emergency")
    assert (point.tags["unit"], point.tags["team"]) == ("u1", "patrol")
    assert point.fields["event"] == "open"
    assert (point.fields["open_s"], point.fields["waiting_s"]) == (25.0, 25.0)
    assert (point.fields["phase"], point.fields["open_count"]) == ("open", 1)
    assert point.fields["lat"] == 23.02
    present.put(take(state, 30))
    lines = list(figures.lines(later(40)))
    (point,) = points(lines, "emergency")
    assert (point.fields["open_s"], point.fields["waiting_s"]) == (40.0, 0.0)
    assert (point.fields["phase"], point.fields["by"]) == ("taken", "li")
    (whole,) = points(lines, "gateway")
    assert (whole.fields["emergencies_open"], whole.fields["emergencies_waiting"]) == (1, 0)
    present.put(transitions.closed(take(state, 30), closed(state)))
    lines = list(figures.lines(later(50)))
    assert not points(lines, "emergency")
    assert points(lines, "gateway")[0].fields["emergencies_open"] == 0


def test_of_two_emergencies_of_a_radio_the_one_that_waits_is_shown(
    present: States, figures: Figures
) -> None:
    present.put(take(press(1), 5), press(1, "second", 20, kind="man_down"))
    (point,) = points(figures.lines(later(30)), "emergency")
    assert (point.fields["kind"], point.fields["open_count"]) == ("man_down", 2)
    assert point.fields["waiting_s"] == 10.0


def test_a_link_is_written_with_its_state_and_its_counts(present: States, figures: Figures) -> None:
    view = link_view(
        state="silent", rejected={"bad crc": 3, "length": 1}, dropped={"too_many": 2}, peers=4
    )
    present.link_views = {"lan": view}
    (point,) = points(figures.lines(later(9)), "link")
    assert point.tags == {"site": SITE, "link": "lan", "driver": "jt808"}
    written = point.fields
    assert (written["state"], written["state_code"], written["is_up"]) == ("silent", 2, False)
    assert (written["state_s"], written["peers"]) == (9.0, 4)
    (whole,) = points(figures.lines(later(9)), "gateway")
    assert (whole.fields["links_silent"], whole.fields["links_up"]) == (1, 0)
    assert (written["rejected"], written["rejected_bad_crc"], written["rejected_length"]) == (
        4, 3, 1,
    )  # fmt: skip
    assert (written["dropped"], written["dropped_too_many"]) == (2, 2)


def test_a_unit_in_an_emergency_has_a_trail(present: States, figures: Figures) -> None:
    present.put(press(1))
    present.unit_views = units(unit_view(1, has_emergency=True), unit_view(2))
    lines = list(figures.lines(AT))
    (one,) = points(lines, "radio_status", unit="u1")
    (two,) = points(lines, "radio_status", unit="u2")
    assert one.fields["trail"] == 1
    assert "trail" not in two.fields


def test_a_trail_ends_by_standing_still_and_then_is_heard_of_no_more(
    present: States, figures: Figures
) -> None:
    state = press(1)
    present.put(state)
    present.unit_views = units(unit_view(1, has_emergency=True, lat_deg=23.5))
    list(figures.lines(AT))
    present.put(transitions.closed(take(state, 5), closed(state)))
    present.unit_views = units(unit_view(1, lat_deg=23.9))

    def ends(seconds: float) -> list[Parsed]:
        lines = figures.lines(later(seconds))
        return [p for p in points(lines, "radio_status") if "unit" not in p.tags]

    for seconds in (10, 20, 1200):
        (end,) = ends(seconds)
        assert (end.tags, end.fields["trail"], end.fields["lat"]) == ({"site": SITE}, 1, 23.5)
    assert not ends(1300)
    assert not ends(1310)


def test_trails_stay_with_their_radio_and_are_given_again_as_late_as_can_be() -> None:
    trails = Trails(SITE)
    first = [press(number) for number in range(1, TRAILS + 3)]
    given = trails.of(first)
    assert sorted(given.values()) == list(range(1, TRAILS + 1))
    assert [given.get(f"pdt:{number}") for number in (1, TRAILS, TRAILS + 1)] == [1, TRAILS, None]
    kept = trails.of(first[1:TRAILS])
    assert kept == {f"pdt:{number}": number for number in range(2, TRAILS + 1)}
    assert trails.of(first[2:TRAILS]) == {f"pdt:{n}": n for n in range(3, TRAILS + 1)}
    assert trails.of([*first[2:TRAILS], press(50)])["pdt:50"] == 1, "1 was free before 2"


def test_what_a_stranger_says_in_a_radios_name_hides_nothing_and_has_no_trail(
    present: States, figures: Figures
) -> None:
    forged = press(
        1, "forged", seconds=-60, doubt=UNLISTED, verified=False, unit_id=None, team=None
    )
    present.put(forged, press(1))
    written = points(figures.lines(later(0)), "emergency")
    assert {(p.tags.get("unit"), p.fields["verified"]) for p in written} == {
        ("u1", True),
        (None, False),
    }
    assert len(Trails(SITE).of([forged])) == 0
