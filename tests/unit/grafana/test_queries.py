"""Every query of every panel and alert, asked of a real InfluxDB that the emulated town has filled.

It is asked as Grafana's InfluxQL source asks: variables and the time range filled in, by POST to
``/query``. Each must answer with rows.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from gateway.clock import SystemClock
from gateway.demo.scene import PRESSES, UNPLUGGED
from gateway.demo.town import SITES
from gateway.model.quantities import Instant
from tests.support.grafana import (
    DASHBOARDS,
    Asked,
    at_moment,
    choices,
    chosen_in,
    filled,
    offered,
    queries,
    rule_queries,
    variables,
)
from tests.support.influxdb import VERSIONS, InfluxServer
from tests.support.town_series import ALSO_PRESS, FALLS_SILENT, town_series
from tools.dashboards.queries import TRAILS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EVERY = list(queries())
UNIT = PRESSES


class Town(NamedTuple):
    """The filled database, and when the story ended."""

    database: InfluxServer
    at: Instant

    def query(self, text: str) -> list[dict[str, Any]]:
        return self.database.query(at_moment(text, self.at))


@pytest.fixture(scope="module", params=VERSIONS)
def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    with town_series(tmp_path_factory.mktemp("town"), request.param) as database:
        # A gateway that does not accept is not a part of the story: one point of another site.
        database.write("gateway,site=elsewhere is_accepting=false,uptime_s=1")
        yield Town(database, SystemClock().now())


def ask(town: Town, asked: Asked, **chosen: str) -> list[dict[str, Any]]:
    return town.query(filled(asked, town.at, {"unit": UNIT, **chosen}))


def carries_something(rows: list[dict[str, Any]]) -> bool:
    return any(
        value is not None
        for row in rows
        for name, value in row.items()
        if name not in {"time", "unit", "team", "radio", "link", "driver", "site"}
    )


@pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.name)
def test_a_panels_query_answers_with_rows(town: Town, asked: Asked) -> None:
    assert carries_something(ask(town, asked)), asked.target["query"]


@pytest.mark.parametrize(("uid", "text"), list(rule_queries()))
def test_an_alerts_query_answers_with_rows(town: Town, uid: str, text: str) -> None:
    assert carries_something(town.query(text))


def test_the_alert_of_an_emergency_names_who_waits(town: Town) -> None:
    (text,) = (text for uid, text in rule_queries() if uid == "pdt-not-taken")
    waiting = {row["unit"]: row["last"] for row in town.query(text)}
    assert {unit for unit, seconds in waiting.items() if seconds} == {PRESSES, *ALSO_PRESS}
    taken = {unit: seconds for unit, seconds in waiting.items() if not seconds}
    assert set(taken) <= {"village-shangyong-4", "area-market-3"}


def test_the_alert_of_links_is_about_those_that_are_down_or_silent(town: Town) -> None:
    (text,) = (text for uid, text in rule_queries() if uid == "pdt-link-down")
    assert {row["link"] for row in town.query(text) if row["last"] > 1} == {UNPLUGGED, FALLS_SILENT}


def of(uid: str, panel: str, ref_id: str = "A") -> Asked:
    (found,) = [e for e in EVERY if (e.dashboard, e.panel, e.ref_id) == (uid, panel, ref_id)]
    return found


def test_the_wall_shows_who_is_in_need_and_not_who_was(town: Town) -> None:
    rows = ask(town, of("pdt-command-post", "报警明细"))
    assert {row["unit"] for row in rows} == {PRESSES, *ALSO_PRESS}
    assert {row["phase"] for row in rows} == {"open"}
    (count,) = ask(town, of("pdt-command-post", "未接警"))
    assert count["n"] == 1 + len(ALSO_PRESS)


def test_the_map_has_every_unit_once_with_the_newest_place(town: Town) -> None:
    rows = ask(town, of("pdt-command-post", "地图"))
    names = [row["unit"] or row["radio"] for row in rows]
    assert len(set(names)) == len(names)
    assert len([row for row in rows if row["lat"] is not None]) >= 55
    assert {row["state_code"] for row in rows} >= {0, 2, 3}


def test_each_trail_is_the_way_of_one_unit(town: Town) -> None:
    for number in range(1, TRAILS + 1):
        units = town.query(
            f'SELECT "unit", "lat" FROM "radio_status" WHERE "trail" = {number}'  # noqa: S608
            " AND time > now() - 5s"
        )
        assert len({row["unit"] for row in units}) == 1


def test_a_team_can_be_chosen(town: Town) -> None:
    rows = ask(town, of("pdt-command-post", "地图"), team="plaza-stationed")
    assert {row["team"] for row in rows} == {"plaza-stationed"}


def test_the_places_of_chinese_maps_are_others_nearby(town: Town) -> None:
    asked = of("pdt-unit-history", "轨迹")
    gcj = choices(asked.dashboard, "datum")["GCJ-02"]
    plain, shifted = ask(town, asked)[0], ask(town, asked, datum=gcj)[0]
    assert plain["time"] == shifted["time"]
    for axis in ("lat", "lon"):
        assert 0.001 < abs(plain[axis] - shifted[axis]) < 0.01


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_variable_offers_what_there_is(town: Town, uid: str) -> None:
    for variable in variables(DASHBOARDS[uid]).values():
        if variable["type"] == "query":
            text = chosen_in(uid, variable["query"], {})
            assert offered(town.query, variable["name"], text), variable["name"]


def test_a_place_is_a_key_site_and_every_event_of_an_emergency_says_it(town: Town) -> None:
    rows = ask(town, of("pdt-emergencies", "各重点部位用时"))
    places: dict[str, set[str | None]] = {}
    for row in rows:
        places.setdefault(row["emergency_id"], set()).add(row["place"])
    assert all(len(named) == 1 for named in places.values())
    named = set.union(*places.values())
    assert named <= {None, *(site.name for site in SITES)}
    assert "榕溪商业广场" in named, "where the guards of the plaza stand"
    assert len([row for row in rows if row["take_s"] is not None]) == 2
    assert len([row for row in rows if row["close_s"] is not None]) == 2


def test_durations_and_shares_are_right(town: Town) -> None:
    (share,) = ask(town, of("pdt-emergencies", "误报率"))
    assert share["share"] == 0.5, "one true, one false"
    (close,) = ask(town, of("pdt-emergencies", "结案用时（中位）"))
    assert 0.25 < close["s"] < 5


def test_refused_frames_are_told_by_link_and_reason(town: Town) -> None:
    rows = ask(town, of("pdt-links", "拒绝与丢弃（按原因）"))
    (counted,) = {r["last_rejected_checksum"] for r in rows} - {None}
    assert counted == 1
    assert {row["link"] for row in rows} == {"terminals-udp"}
