"""What is kept for months and years, asked for by the dashboards where it was put.

The places are made by ``influx setup``, the thinning is carried out by the server.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from gateway.clock import SystemClock
from gateway.model import emergency as transitions
from gateway.model.events import AnyEvent, EmergencyTaken, Fix
from gateway.model.quantities import NS_PER_S, Instant
from gateway.sinks import influx_setup_v1
from gateway.sinks.influx import InfluxSink
from gateway.sinks.influx_setup import Admin, set_up
from tests.support import thinning
from tests.support.grafana import (
    DASHBOARDS,
    Asked,
    choices,
    chosen_in,
    filled,
    offered,
    queries,
    variables,
)
from tests.support.influxdb import TOKEN, VERSIONS, InfluxDb, InfluxDb2, InfluxServer
from tests.support.sink_rows import closed, header, loaded, raised, row

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

DAY_NS = 86_400 * NS_PER_S
BOARDS = {uid: [each for each in queries() if each.dashboard == uid] for uid in DASHBOARDS}
ALARMS, HISTORY = "pdt-emergencies", "pdt-unit-history"
NOT_THINNED = {"上报延迟"}  # a minute has no delay


class Kept(NamedTuple):
    """A server with one alarm of a hundred days ago, and two minutes of positions."""

    database: InfluxServer
    at: Instant

    def ask(self, asked: Asked, name: str, **chosen: str) -> list[dict[str, Any]]:
        """The answer for a year, from the place that is chosen by its name."""
        place = choices(asked.dashboard, "data")[name]
        values = {"data": place, **chosen}
        return self.database.query(filled(asked, self.at, values, hours=365 * 24))


def alarm(at: Instant) -> list[AnyEvent]:
    """Raised, taken after 20 s, closed after 600."""
    fix = Fix(lat_deg=23.02, lon_deg=113.75, fix_at=at)
    press = raised(1, received_at=at, fix=fix, place="广场")
    state = transitions.raised(press)
    taken_at, closed_at = Instant(at + 20 * NS_PER_S), Instant(at + 600 * NS_PER_S)
    act = header(1, received_at=taken_at) | {"raised_at": at, "kind": "alarm", "place": "广场"}
    return [
        press,
        EmergencyTaken(**act, emergency_id=state.emergency_id, by="李明"),
        closed(state, received_at=closed_at, raised_at=at, place="广场", verdict="false"),
    ]


@pytest.fixture(scope="module", params=VERSIONS)
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("kept")
    is_v1 = request.param is InfluxDb
    at = SystemClock().now()
    minute = at // NS_PER_S // 60 * 60 - 300
    server = InfluxDb(folder / "db", thinning=True) if is_v1 else InfluxDb2(folder / "db")
    with pytest.MonkeyPatch.context() as patch, server as database:
        patch.setattr(influx_setup_v1, "THIN_EVERY", "1s")
        town = loaded(folder, influx={**database.settings, "alarms_to": database.place("alarms")})
        set_up(town, Admin(token=TOKEN))
        story = [*alarm(Instant(at - 100 * DAY_NS)), *thinning.story(minute)]

        async def write() -> None:
            sink = InfluxSink(town, clock=SystemClock(), figures=lambda _: ())
            done = await sink.deliver([row(seq, each) for seq, each in enumerate(story)])
            assert len(done.accepted) == len(story), done
            await sink.close()

        asyncio.run(write())
        gone = f"position,site=town,team=patrol,unit=gone lat=23.0 {at - 100 * DAY_NS}"
        database.write(gone, rp="minutes")
        if isinstance(database, InfluxDb):
            thinning.wait_for_query(database)
        else:
            thinning.run_task(database)
        yield Kept(database, at)


def of(uid: str, panel: str) -> Asked:
    (found,) = [each for each in BOARDS[uid] if (each.panel, each.ref_id) == (panel, "A")]
    return found


@pytest.mark.parametrize("asked", BOARDS[ALARMS], ids=lambda each: f"{each.panel} {each.ref_id}")
def test_every_panel_of_emergencies_knows_an_alarm_of_a_hundred_days_ago(
    kept: Kept, asked: Asked
) -> None:
    assert kept.ask(asked, "长期保存")
    assert not kept.ask(asked, "近期"), "it is in the long-lived place alone"


def test_an_alarm_of_a_hundred_days_ago_is_told_in_full(kept: Kept) -> None:
    assert [row["event"] for row in kept.ask(of(ALARMS, "事件列表"), "长期保存")] == [
        "closed", "taken", "raised",
    ]  # fmt: skip
    (share,) = kept.ask(of(ALARMS, "误报率"), "长期保存")
    assert share["share"] == 1.0


@pytest.mark.parametrize("asked", BOARDS[HISTORY], ids=lambda each: f"{each.panel} {each.ref_id}")
def test_every_panel_of_a_units_history_knows_its_minutes(kept: Kept, asked: Asked) -> None:
    rows = kept.ask(asked, "每分钟一点", unit="u1")
    assert bool(rows) is (asked.panel not in NOT_THINNED)


def test_the_track_is_the_last_place_of_each_minute_or_every_place(kept: Kept) -> None:
    track = of(HISTORY, "轨迹")

    def places(name: str) -> list[int]:
        return [round((row["lat"] - 23.02) * 1e5) for row in kept.ask(track, name, unit="u1")]

    assert places("每分钟一点") == [55, 61]
    assert places("全部定位") == [1, 20, 55, 61], "and none of a report without a fix"


def test_a_unit_that_went_months_ago_can_be_chosen(kept: Kept) -> None:
    variable = variables(DASHBOARDS[HISTORY])["unit"]["query"]
    place = choices(HISTORY, "data")["每分钟一点"]
    text = chosen_in(HISTORY, variable, {"data": place})
    assert offered(kept.database.query, "unit", text) == {"u1", "u2", "gone"}
    assert kept.ask(of(HISTORY, "定位数"), "每分钟一点", unit="gone")
