"""The dashboards as data: current, complete, laid out well, asking for what is written."""

import itertools
import json
import re
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units as known_units

from gateway.model.quantities import Instant
from gateway.settings import SiteSettings
from gateway.sinks import figures, influx_steps
from tests.support.grafana import (
    DASHBOARDS,
    FOLDER,
    GROUP,
    ROOT,
    Asked,
    choices,
    filled,
    queries,
    rule_queries,
    variables,
)
from tools import write_dashboards
from tools.dashboards import maps
from tools.dashboards import queries as asked_queries
from tools.dashboards.queries import SOURCE_UID

EVERY = list(queries())
each_dashboard = pytest.mark.parametrize("uid", DASHBOARDS)
each_query = pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.name)
NAMES = {"command-post", "emergencies", "radios", "links", "unit-history"}
KEPT_BY_GRAFANA = {"id"}


def test_the_files_are_what_the_builder_makes() -> None:
    stale = [
        name
        for name, text in write_dashboards.built().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, "run: python -m tools.write_dashboards"
    there = {str(path.relative_to(FOLDER)) for path in (FOLDER / "dashboards").rglob("*.json")}
    assert there <= write_dashboards.built().keys()


def test_each_dashboard_is_there_in_both_languages_under_a_stable_uid() -> None:
    assert set(DASHBOARDS) == {f"pdt-{n}" for n in NAMES} | {f"pdt-{n}-en" for n in NAMES}
    for uid, dashboard in DASHBOARDS.items():
        assert dashboard["uid"] == uid
        folder = "en" if uid.endswith("-en") else "zh"
        assert (FOLDER / "dashboards" / folder / f"{uid}.json").exists()


def texts(uid: str) -> list[str]:
    dashboard = DASHBOARDS[uid]
    said = [dashboard["title"], dashboard["description"]]
    for panel in dashboard["panels"]:
        said += [panel["title"], panel["description"]]
    return said


def test_chinese_is_chinese_and_english_is_english() -> None:
    for uid in DASHBOARDS:
        for text in texts(uid):
            assert text.strip(), uid
            has_chinese = re.search(r"[\u4e00-\u9fff]", text) is not None
            assert has_chinese is not uid.endswith("-en"), text


def test_both_languages_ask_and_show_the_same() -> None:
    for uid in DASHBOARDS:
        if uid.endswith("-en"):
            continue
        pairs = zip(DASHBOARDS[uid]["panels"], DASHBOARDS[f"{uid}-en"]["panels"], strict=True)
        for chinese, english in pairs:
            assert chinese["type"] == english["type"]
            assert chinese["gridPos"] == english["gridPos"]
            assert len(chinese["targets"]) == len(english["targets"])


@each_dashboard
def test_panels_neither_overlap_nor_leave_the_grid_nor_leave_a_hole(uid: str) -> None:
    boxes = [panel["gridPos"] for panel in DASHBOARDS[uid]["panels"]]
    cells: set[tuple[int, int]] = set()
    for box in boxes:
        assert box["w"] > 0
        assert box["h"] >= 4
        assert 0 <= box["x"] <= box["x"] + box["w"] <= 24
        mine = set(
            itertools.product(
                range(box["x"], box["x"] + box["w"]), range(box["y"], box["y"] + box["h"])
            )
        )
        assert not mine & cells, box
        cells |= mine
    assert len(cells) == 24 * max(box["y"] + box["h"] for box in boxes), "a hole"
    assert len({panel["id"] for panel in DASHBOARDS[uid]["panels"]}) == len(boxes)


@each_dashboard
def test_the_sdks_types_read_it_back_as_it_is(uid: str) -> None:
    """What the SDK does not know would be lost on the way through its types."""
    there = {k: v for k, v in DASHBOARDS[uid].items() if k != "panels"}
    read = models.Dashboard.from_json(json.loads(json.dumps(there)))
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == there
    for panel in DASHBOARDS[uid]["panels"]:
        bare = {k: v for k, v in panel.items() if k != "targets"}
        read_panel = models.Panel.from_json(json.loads(json.dumps(bare)))
        assert json.loads(json.dumps(read_panel, cls=JSONEncoder)) == bare


@each_dashboard
def test_every_panel_asks_our_source_and_no_other(uid: str) -> None:
    for panel in DASHBOARDS[uid]["panels"]:
        assert panel["datasource"] == {"type": "influxdb", "uid": SOURCE_UID}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == SOURCE_UID
            assert target["rawQuery"] is True
    for variable in variables(DASHBOARDS[uid]).values():
        assert variable["type"] in {"query", "custom"}
        if variable["type"] == "query":
            assert variable["datasource"]["uid"] == SOURCE_UID


@each_dashboard
def test_times_are_those_of_the_site_wherever_the_browser_is(uid: str) -> None:
    assert DASHBOARDS[uid]["timezone"] == SiteSettings(id="town").zone
    for panel in DASHBOARDS[uid]["panels"]:
        for step in panel.get("transformations", []):
            if step["id"] == "formatTime":
                assert step["options"]["useTimezone"] is True, "that of the dashboard"


@each_dashboard
def test_it_cannot_be_changed_by_accident_and_says_how_often_it_asks(uid: str) -> None:
    dashboard = DASHBOARDS[uid]
    assert dashboard["editable"] is False
    assert dashboard.get("refresh") in {"", None, "10s", "1m"}


def units_of(panel: dict[str, Any]) -> list[str]:
    config = panel["fieldConfig"]
    found = [config["defaults"].get("unit")]
    for override in config["overrides"]:
        found += [p["value"] for p in override["properties"] if p["id"] == "unit"]
    return [unit for unit in found if unit]


@each_dashboard
def test_units_are_grafanas_and_thresholds_rise(uid: str) -> None:
    known = {
        value
        for name, value in vars(known_units).items()
        if isinstance(value, str) and not name.startswith("_")
    }
    for panel in DASHBOARDS[uid]["panels"]:
        for unit in units_of(panel):
            assert unit in known, (panel["title"], unit)
        config = panel["fieldConfig"]
        steps = [config["defaults"].get("thresholds", {}).get("steps", [])]
        for override in config["overrides"]:
            steps += [
                p["value"]["steps"] for p in override["properties"] if p["id"] == "thresholds"
            ]
        for marks in filter(None, steps):
            values = [mark.get("value") for mark in marks]
            assert values[0] is None
            assert values[1:] == sorted(set(values[1:]))


# What is asked is what is written.


def written() -> dict[str, set[str]]:
    """Measurements and fields of docs/messages.md, which other tests hold against the code."""
    page = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", cells)) for name, cells in rows}


TAGS = {"site", "team", "unit", "radio", "link", "driver"}
OF_THE_GATEWAY = {
    "uptime_s", "loop_lag_ms", "memory_mib", "is_accepting", "events_received", "events_stored",
    "events_refreshed", "events_difference", *(f"units_{s}" for s in figures.UNIT_STATES),
    *(f"links_{s}" for s in figures.LINK_CODES),
}  # fmt: skip


def is_written(text: str) -> None:
    """Every field that is asked for is one that is written; a new name in a subquery is one too."""
    places = set(re.findall(r'FROM "(\w+)"\."', text))
    (measurement,) = set(re.findall(r'FROM (?:"\w+"\.)?"(\w+)"', text))
    renamed = {new for old, new in re.findall(r'"(\w+)"\)? AS "([^"]+)"', text) if old != new}
    names = set(re.findall(r'"([^"]+)"', re.sub(r'AS "[^"]+"', "", text))) - {measurement} - places
    fields = written()[measurement] | (OF_THE_GATEWAY if measurement == "gateway" else set())
    unknown = names - fields - TAGS - renamed
    assert not unknown, f"{unknown} is not written to {measurement}"


def test_a_field_that_nobody_writes_is_seen() -> None:
    with pytest.raises(AssertionError, match="heard_at"):
        is_written('SELECT last("heard_at") AS "heard_at" FROM "radio_status"')


@each_query
def test_a_query_names_what_is_written(asked: Asked) -> None:
    is_written(filled(asked, Instant(0), {}))


@pytest.mark.parametrize("uid", ["pdt-emergencies", "pdt-unit-history"])
def test_what_is_kept_for_years_can_be_chosen(uid: str) -> None:
    assert asked_queries.MINUTES == influx_steps.MINUTES
    assert asked_queries.ALARMS == influx_steps.ALARMS
    _usual, kept = choices(uid, "data").values()
    for asked in (each for each in EVERY if each.dashboard == uid):
        assert "FROM ${data:raw} " in asked.target["query"], "one choice for all of a board"
        is_written(filled(asked, Instant(0), {"data": kept}))


@pytest.mark.parametrize(("uid", "text"), list(rule_queries()))
def test_a_rule_names_what_is_written(uid: str, text: str) -> None:
    is_written(text)


@each_query
def test_a_variable_of_a_query_exists_and_keeps_its_value(asked: Asked) -> None:
    text = asked.target["query"]
    used = set(re.findall(r"\$\{?([a-z]\w*)", text)) - {"timeFilter"}
    assert used <= variables(DASHBOARDS[asked.dashboard]).keys()
    for name in used - {"datum", "data"}:
        assert f"=~ /^${name}$/" in text, "compared as a whole"


@each_query
def test_a_query_is_bounded_in_time(asked: Asked) -> None:
    assert "$timeFilter" in asked.target["query"] or "time > now()" in asked.target["query"]


# The map.


def every_map() -> list[dict[str, Any]]:
    return [p for d in DASHBOARDS.values() for p in d["panels"] if p["type"] == "geomap"]


def test_nothing_is_fetched_from_outside() -> None:
    for path in (FOLDER / "dashboards").rglob("*.json"):
        assert "://" not in path.read_text(encoding="utf-8"), path.name
    assert every_map()
    for panel in every_map():
        base = panel["options"]["basemap"]
        assert base["type"] == "xyz", "the default one is a service in the internet"
        assert base["config"]["url"].startswith("data:image/png;base64,"), "and so is an empty one"
        town = panel["options"]["layers"][0]
        assert (town["type"], town["config"]["src"]) == ("geojson", maps.TOWN_FILE)


def test_a_refresh_leaves_the_view_alone() -> None:
    for panel in every_map():
        view = panel["options"]["view"]
        assert view["id"] == "coords"
        assert (view["lat"], view["lon"]) == (22.941, 113.882)
        assert not view.get("shared")
        assert not view.get("allLayers")


def test_each_layer_draws_one_query_and_each_way_has_a_layer_of_its_own() -> None:
    for panel in every_map():
        layers = panel["options"]["layers"][1:]
        refs = [layer["filterData"]["options"] for layer in layers]
        assert set(refs) == {target["refId"] for target in panel["targets"]}
        ways = [layer for layer in layers if layer["type"] == "route"]
        assert len({layer["filterData"]["options"] for layer in ways}) == len(ways)
        for layer in layers:
            assert layer["location"] == {"latitude": "lat", "longitude": "lon", "mode": "coords"}
        for target in panel["targets"]:
            assert target["resultFormat"] == "table", "a layer draws the first frame alone"
            assert "${datum:raw}" in target["query"]


def test_there_is_a_trail_for_each_number_that_the_gateway_gives() -> None:
    assert asked_queries.TRAILS == figures.TRAILS
    (panel,) = [p for p in DASHBOARDS["pdt-command-post"]["panels"] if p["type"] == "geomap"]
    numbers = [re.search(r'"trail" = (\d+)', t["query"]) for t in panel["targets"]]
    assert [int(m[1]) for m in numbers if m] == list(range(1, figures.TRAILS + 1))


def test_states_are_shown_in_the_order_of_their_codes() -> None:
    assert asked_queries.STATES == figures.UNIT_STATES
    assert list(figures.LINK_CODES.values()) == [0, 1, 2, 3]


def test_coordinates_of_chinese_maps_can_be_chosen() -> None:
    for uid, dashboard in DASHBOARDS.items():
        maps_here = [p for p in dashboard["panels"] if p["type"] == "geomap"]
        if not maps_here:
            continue
        datum = variables(dashboard)["datum"]
        chosen = {option["text"]: option["value"] for option in datum["options"]}
        assert chosen == {
            "WGS-84": '"lat" AS "lat", "lon" AS "lon"',
            "GCJ-02": '"lat_gcj" AS "lat", "lon_gcj" AS "lon"',
        }, uid
        assert datum["current"]["value"] == chosen["WGS-84"]


# What Grafana puts together.


def grouped() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (panel, step["options"]["fields"])
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        for step in panel.get("transformations", [])
        if step["id"] == "groupBy"
    ]


def test_rows_are_grouped_by_what_the_query_gives_and_shown_under_the_names_it_makes() -> None:
    """Grafana calls a calculated field "name (calculation)"; a field it does not find it skips."""
    assert grouped()
    for panel, fields in grouped():
        (target,) = panel["targets"]
        chosen = target["query"].partition(" FROM ")[0]
        given = {"Time", *re.findall(r'AS "([^"]+)"', chosen), *re.findall(r'"(\w+)"', chosen)}
        assert fields.keys() <= given, panel["title"]
        made = {
            f"{name} ({calculation})"
            for name, step in fields.items()
            for calculation in step["aggregations"]
        }
        made |= {name for name, step in fields.items() if step["operation"] == "groupby"}
        for step in panel["transformations"]:
            if step["id"] == "filterFieldsByName":
                assert set(step["options"]["include"]["names"]) <= made, panel["title"]


# Readable from five metres.


def test_the_top_row_of_the_wall_is_big() -> None:
    top = [p for p in DASHBOARDS["pdt-command-post"]["panels"] if p["gridPos"]["y"] == 0]
    assert len(top) == 5
    for panel in top:
        assert panel["type"] == "stat"
        assert panel["options"]["colorMode"] == "background"
        assert panel["options"]["text"]["valueSize"] >= 40


def test_the_wall_fits_a_screen_of_1080_lines_without_scrolling() -> None:
    """A row of the grid is 30 pixels and 8 between; the row of variables takes some 60."""
    panels = DASHBOARDS["pdt-command-post"]["panels"]
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    assert rows * 38 + 60 <= 1080


def test_no_number_is_green_when_there_is_none() -> None:
    """A gateway that is dead must not look like a quiet night."""
    for uid in DASHBOARDS:
        for panel in DASHBOARDS[uid]["panels"]:
            if panel["type"] == "stat":
                base = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]
                assert base["color"] in {"#7b8087", "red"}, panel["title"]


def test_alerts_lead_to_a_dashboard_that_exists() -> None:
    for rule in GROUP["rules"]:
        assert rule["annotations"]["__dashboardUid__"] in DASHBOARDS
