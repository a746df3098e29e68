"""What is kept of people off duty: in the series, in the desk's history, and for how long."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.errors import ConfigError
from gateway.eventlog.store import EventLog
from gateway.incidents.book import EmergencyBook
from gateway.model import emergency as transitions
from gateway.model.events import EmergencyTaken, PositionFix
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from gateway.roster.duty import Duty
from gateway.roster.units import Roster, RosterFile, Team, Unit
from gateway.settings import PrivacySettings, load_settings
from gateway.sinks.desk import DeskSink
from gateway.sinks.influx import InfluxSink
from gateway.sinks.privacy import Privacy
from tests.support.influxdb import EACH_VERSION, InfluxServer
from tests.support.sink_rows import closed, fix, loaded, raised, row, unit_view

SHANGHAI = ZoneInfo("Asia/Shanghai")
ON = Instant.parse("2026-03-02T02:00:00Z")  # a Monday, 10:00 in Shanghai
OFF = Instant.parse("2026-03-02T14:00:00Z")  # the same day, 22:00
HOUR = 3600 * NS_PER_S
DAY = 24 * HOUR


def roster(**unit: Any) -> Roster:
    return Roster(
        RosterFile(
            team=(
                Team(id="watch", name="守望", kind="watch", duty=("mon-fri 08:00-18:00",)),
                Team(id="patrol", name="巡逻", kind="police"),
            ),
            unit=(
                Unit(id="u1", name="1", team="watch", radios=("pdt:1",), **unit),
                Unit(id="u3", name="3", team="watch", radios=("pdt:3",)),
                Unit(id="u2", name="2", team="patrol", radios=("pdt:2",)),
            ),
        )
    )


def privacy(off_duty: str, book: EmergencyBook | None = None, **unit: Any) -> Privacy:
    rules = [msgspec.convert({"kind": "watch", "off_duty": off_duty}, PrivacySettings)]
    known = book or EmergencyBook(300)
    return Privacy(rules, roster(**unit), SHANGHAI, known.was_going_on)


def at(moment: Instant, number: int = 1, **fields: Any) -> PositionFix:
    given = {"team": "watch" if number != 2 else "patrol", "altitude_m": 9.0}
    return fix(number, fix_at=moment, received_at=moment, **{**given, **fields})


@pytest.mark.parametrize(
    ("lines", "on", "off"),
    [
        ((), ["2026-03-01T00:00"], []),
        (("mon-fri 08:00-18:00",), ["2026-03-02T08:00"], ["2026-03-02T18:00", "2026-03-01T10:00"]),
        (("daily 22:00-06:00",), ["2026-03-02T23:00", "2026-03-03T05:59"], ["2026-03-02T06:00"]),
        (("sat,sun 08:00-24:00",), ["2026-03-01T23:59"], ["2026-03-02T00:00"]),
        (("fri-mon 10:00-11:00",), ["2026-03-01T10:30"], ["2026-03-03T10:30"]),
        (("fri 22:00-02:00",), ["2026-03-07T01:00"], ["2026-03-06T01:00", "2026-03-08T01:00"]),
    ],
)
def test_duty_hours_are_the_sites_own(
    lines: tuple[str, ...], on: list[str], off: list[str]
) -> None:
    duty = Duty(lines)
    for texts, wanted in ((on, True), (off, False)):
        for text in texts:
            assert duty.is_on(Instant.parse(f"{text}:00+08:00"), SHANGHAI) is wanted, text


@pytest.mark.parametrize(
    "text", ["mon 8-18", "someday 08:00-18:00", "mon 25:00-26:00", "mon 08:00-08:00"]
)
def test_wrong_duty_hours_are_refused_with_an_example(tmp_path: Path, text: str) -> None:
    file = tmp_path / "units.toml"
    file.write_text(f'[[team]]\nid = "a"\nname = "a"\nduty = ["{text}"]\n')
    with pytest.raises(ConfigError, match=r"team 'a': duty: .*mon-fri 07:00-19:00"):
        Roster.load(file)


def test_off_duty_a_position_is_left_out_or_made_coarse() -> None:
    assert privacy("none").kept(at(OFF)) is None
    kept = privacy("coarse").kept(at(OFF, lat_deg=23.02468, lon_deg=113.75123))
    assert isinstance(kept, PositionFix)
    assert (kept.lat_deg, kept.lon_deg, kept.accuracy_m) == (23.02, 113.75, 800.0)
    assert (kept.altitude_m, kept.speed_mps, kept.course_deg) == (None, None, None)


@pytest.mark.parametrize("off_duty", ["none", "coarse"])
def test_on_duty_and_without_a_rule_everything_is_kept(off_duty: str) -> None:
    for event in (at(ON), at(OFF, number=2), raised(1, team="watch", received_at=OFF)):
        assert privacy(off_duty).kept(event) is event
    assert privacy("full").kept(at(OFF)) is not None


def test_hours_go_by_our_clock_where_the_receivers_is_ahead() -> None:
    ahead = msgspec.structs.replace(at(ON), fix_at=Instant(ON + 8 * HOUR))  # a wrong time zone
    assert privacy("none").kept(ahead) is ahead
    ahead = msgspec.structs.replace(at(OFF), fix_at=Instant(OFF + 18 * HOUR))
    assert privacy("none").kept(ahead) is None


def test_a_units_own_hours_come_before_its_teams() -> None:
    night = privacy("none", duty=("daily 20:00-23:00",))
    assert night.kept(at(OFF)) is not None
    assert night.kept(at(ON)) is None


def test_in_an_emergency_the_radio_and_its_team_are_kept_in_full() -> None:
    book = EmergencyBook(300)
    press = raised(1, team="watch", received_at=OFF)
    state = book.raise_or_refresh(press, None).after
    rule = privacy("none", book)
    assert rule.kept(at(Instant(OFF + HOUR))) is not None
    assert rule.kept(at(Instant(OFF + HOUR), number=3)) is not None, "whoever comes to help"
    assert rule.kept(at(Instant(OFF - HOUR))) is None, "what was before is not of it"
    assert rule.kept(at(OFF, trigger="emergency")) is not None
    taken = transitions.taken(state, _taken(state))
    book.load([transitions.closed(taken, closed(taken, received_at=Instant(OFF + 2 * HOUR)))])
    assert rule.kept(at(Instant(OFF + HOUR))) is not None, "also when it is written later"
    assert rule.kept(at(Instant(OFF + 3 * HOUR))) is None


def _taken(state: Any) -> EmergencyTaken:
    return EmergencyTaken(emergency_id=state.emergency_id, by="li", received_at=OFF)


def test_the_present_state_in_the_series_follows_the_same_rule() -> None:
    view = unit_view(1, team="watch", team_kind="watch", speed_mps=1.0)
    assert privacy("none").kept_view(view, ON) is view
    hidden = privacy("none").kept_view(view, OFF)
    assert (hidden.lat_deg, hidden.lon_deg, hidden.speed_mps) == (None, None, None)
    assert hidden.state == view.state
    assert privacy("coarse").kept_view(view, OFF).lat_deg == 23.02
    alarmed = msgspec.structs.replace(view, has_emergency=True)
    assert privacy("none").kept_view(alarmed, OFF) is alarmed


@EACH_VERSION
def test_neither_the_series_nor_the_desks_log_has_what_may_not_be_kept(
    tmp_path: Path, version: type[InfluxServer]
) -> None:
    with version(tmp_path) as database:
        database.create()
        clock = ManualClock(OFF)
        rule = privacy("none")
        town = loaded(tmp_path, influx=database.settings)
        series = InfluxSink(town, clock=clock, figures=lambda _: (), privacy=rule)
        rows = [row(1, at(ON)), row(2, at(OFF)), row(3, at(OFF, number=2))]

        async def story() -> None:
            eventlog = EventLog(tmp_path / "desk.db", clock, history_keep_s=1e9)
            await eventlog.open()
            for sink in (series, DeskSink(eventlog, rule)):
                done = await sink.deliver(rows)
                assert sorted(done.accepted) == [1, 2, 3], "all of them are done with"
            await series.close()
            await eventlog.close()

        asyncio.run(story())
        points = database.query("SELECT unit, lat FROM position")
        assert [(one["unit"], one["time"]) for one in points] == [("u1", ON), ("u2", OFF)]
    with closing(sqlite3.connect(tmp_path / "desk.db")) as log:
        logged = log.execute("SELECT at FROM position ORDER BY at").fetchall()
    assert logged == [(ON,), (OFF,)]


def test_the_desks_log_forgets_a_team_earlier_but_not_its_emergencies(tmp_path: Path) -> None:
    now = Instant(OFF + 10 * DAY)
    clock = ManualClock(now)
    raised_at = Instant(OFF + DAY)
    press = raised(1, team="watch", received_at=raised_at)
    old = [
        row(1, at(OFF)),
        row(2, press),
        row(3, at(Instant(raised_at + HOUR), number=3)),
        row(4, at(OFF, number=2)),
        row(5, at(Instant(now - HOUR))),
    ]

    async def story() -> int:
        eventlog = EventLog(
            tmp_path / "desk.db", clock, history_keep_s=1e9, team_keep_s={"watch": 7 * 86_400.0}
        )
        await eventlog.open()
        await eventlog.apply(old)
        gone = await eventlog.prune()
        await eventlog.close()
        return gone

    assert asyncio.run(story()) == 1
    with closing(sqlite3.connect(tmp_path / "desk.db")) as log:
        kept = log.execute("SELECT at FROM position ORDER BY at").fetchall()
    assert kept == [(OFF,), (raised_at + HOUR,), (now - HOUR,)]


def test_two_rules_for_one_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[site]\nid = "a"\n' + '[[privacy]]\nkind = "watch"\n' * 2)
    with pytest.raises(ConfigError, match="two rules for 'watch'"):
        load_settings(file)


def test_a_radio_that_nobody_registered_has_no_hours() -> None:
    assert roster().is_on_duty(RadioId("pdt:99"), OFF, SHANGHAI)
