"""Two sites write into one database, and "All" of them is chosen, as it is at first.

What one of them tells last must not stand for both, and a site that falls silent must be missed
while the other one goes on writing.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.model import emergency as transitions
from gateway.model.emergency import Emergency
from gateway.model.quantities import NS_PER_S, Instant
from gateway.runtime.counters import Counters
from gateway.runtime.health import Health, SinkHealth
from gateway.sinks.figures import Figures
from tests.support.grafana import Asked, at_moment, filled, queries, rule_queries
from tests.support.influxdb import VERSIONS, InfluxServer
from tests.support.sink_rows import States, link_view, raised, unit_view

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

EVERY = list(queries())
RULES = dict(rule_queries())


class Series(NamedTuple):
    """The database, asked as of one moment."""

    database: InfluxServer
    at: Instant

    def ago(self, seconds: float) -> Instant:
        return Instant(self.at - round(seconds * NS_PER_S))

    def writes(self, site: "Site", *seconds_ago: float) -> None:
        for seconds in seconds_ago:
            lines = Figures(site.name, site).lines(self.ago(seconds))
            self.database.write("\n".join(lines))

    def panel(self, uid: str, title: str) -> list[dict[str, Any]]:
        return self.database.query(filled(of(uid, title), self.at, {}))

    def shown(self, uid: str, title: str) -> object:
        """The number of a tile; None where it is grey."""
        found = self.panel(uid, title)
        assert len(found) <= 1
        return found[0]["n"] if found else None

    def alert(self, uid: str) -> list[dict[str, Any]]:
        return self.database.query(at_moment(RULES[uid], self.at))


class Site(States):
    """The present of one gateway."""

    def __init__(self, name: str, **health: Any) -> None:
        super().__init__()
        self.name = name
        given: dict[str, Any] = {
            "is_accepting": True, "uptime_s": 100.0, "loop_lag_ms": 1.0, "memory_mib": 70.0,
            "events": Counters().account(), "links": {}, "sinks": [],
        }  # fmt: skip
        self._health = Health(**{**given, **health})

    def health(self) -> Any:
        return self._health


def of(uid: str, title: str) -> Asked:
    (found,) = [e for e in EVERY if (e.dashboard, e.panel, e.ref_id) == (uid, title, "A")]
    return found


def press(site: str, at: Instant, number: int = 1) -> Emergency:
    return transitions.raised(raised(number, site, site=site, received_at=at))


@pytest.fixture(params=VERSIONS)
def series(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Series]:
    with request.param(tmp_path_factory.mktemp("influxdb") / "series") as database:
        database.create()
        yield Series(database, SystemClock().now())


def late(seconds: float) -> Sequence[SinkHealth]:
    return [SinkHealth(name="mqtt", state="behind", oldest_age_s=seconds)]


def test_what_one_site_says_last_does_not_stand_for_both(series: Series) -> None:
    quiet, other = Site("a"), Site("b", is_accepting=False, uptime_s=7.0, sinks=late(400.0))
    other.put(press("b", series.ago(50)), press("b", series.ago(40), 2))
    other.unit_views = {"u1": unit_view(1, state="silent")}
    quiet.unit_views = {"u1": unit_view(1, state="silent"), "u2": unit_view(2, state="off")}
    quiet.link_views = {"lan": link_view("lan", state="up")}
    other.link_views = {"lan": link_view("lan", state="down")}
    series.writes(other, 8)
    series.writes(quiet, 3)
    wall = {
        title: series.shown("pdt-command-post", title)
        for title in ("未接警", "最久等待", "未结案", "网关", "断开或静默的链路", "写入滞后")
    }
    assert wall == {
        "未接警": 2, "最久等待": 42.0, "未结案": 2, "网关": 1, "断开或静默的链路": 1,
        "写入滞后": 400.0,
    }  # fmt: skip
    (states,) = series.panel("pdt-command-post", "单元状态")
    assert (states["失联"], states["关机"]) == (2, 1)
    assert sorted(row["site"] for row in series.panel("pdt-command-post", "地图")) == [
        "a",
        "a",
        "b",
    ]
    assert {row["site"] for row in series.panel("pdt-command-post", "报警明细")} == {"b"}
    assert series.shown("pdt-links", "接收事件") == 1, "one does not accept"
    assert series.shown("pdt-links", "最旧未交付") == 400.0
    uptimes = {row["site"]: row["n"] for row in series.panel("pdt-links", "已运行")}
    assert uptimes == {"a": 100.0, "b": 7.0}
    links = {row["site"]: row["state_code"] for row in series.panel("pdt-links", "链路")}
    assert links == {"a": 0, "b": 3}


def test_teams_of_one_name_are_counted_together(series: Series) -> None:
    sites = Site("a"), Site("b")
    for site in sites:
        site.unit_views = {"u1": unit_view(1, team="patrol", state="silent")}
        series.writes(site, 3)
    (team,) = series.panel("pdt-command-post", "各队状态")
    assert (team["team"], team["失联"]) == ("patrol", 2)


def test_a_site_that_falls_silent_is_missed_while_the_other_one_writes(series: Series) -> None:
    series.writes(Site("a"), *range(0, 60, 10))
    series.writes(Site("b"), 2 * 86_400, 65)
    written = {row["site"]: row["n"] for row in series.alert("pdt-gateway-silent")}
    assert written == {"a": 6, "b": 0}
    assert series.shown("pdt-command-post", "网关") == 0
    series.writes(Site("b"), 5)
    written = {row["site"]: row["n"] for row in series.alert("pdt-gateway-silent")}
    assert written == {"a": 6, "b": 1}
    assert series.shown("pdt-command-post", "网关") == 1


def test_a_press_that_nobody_took_stays_when_its_gateway_dies(series: Series) -> None:
    """Its last word was twelve seconds after the press; half an hour ago, and it waits."""
    alive, dead = Site("a"), Site("b")
    dead.put(press("b", series.ago(1800 + 12)))
    series.writes(dead, 1800)
    series.writes(alive, 5)
    assert series.shown("pdt-command-post", "未接警") == 1
    assert series.shown("pdt-command-post", "未结案") == 1
    waiting = {row["site"]: row["last"] for row in series.alert("pdt-not-taken")}
    assert waiting == {"b": 12.0}
    assert {row["n"] for row in series.panel("pdt-links", "已运行")} == {100.0}, (
        "others are not kept"
    )


def test_what_somebody_took_or_closed_waits_no_more(series: Series) -> None:
    site = Site("a")
    state = press("a", series.ago(120))
    site.put(state)
    series.writes(site, 90, 80)
    site.put(msgspec.structs.replace(state, phase="taken", taken_by="li"))
    series.writes(site, 5)
    assert series.shown("pdt-command-post", "未接警") == 0
    assert series.shown("pdt-command-post", "未结案") == 1
    assert [row["last"] for row in series.alert("pdt-not-taken")] == [0.0]


def test_no_gateway_at_all_is_grey_and_no_zero(series: Series) -> None:
    series.writes(Site("a"), 300)
    for title in ("未接警", "未结案", "断开或静默的链路", "写入滞后"):
        assert series.shown("pdt-command-post", title) is None, title
    assert series.shown("pdt-links", "接收事件") is None
    assert series.shown("pdt-command-post", "网关") == 0, "red"
