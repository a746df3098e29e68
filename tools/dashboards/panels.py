"""Panels as these dashboards use them: big numbers, tables, lines, bars; and the frame around.

Colours say the same everywhere: green is well, yellow wants a look, red wants somebody now, grey is
not known. A number that stands for a state is mapped to its word, so that colour is never alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import (
    barchart,
    stat,
    timeseries,
)
from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as builders,
)
from grafana_foundation_sdk.builders import (
    table as tables,
)
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    GridPos,
    Threshold,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

from tools.dashboards.queries import SOURCE, InfluxQuery, tag_values, targets

Say = Callable[[str, str], str]  # Chinese, English: the one of this dashboard
Link = tuple[str, str]  # title, address
GREEN, YELLOW, ORANGE, RED, GREY, BLUE = "green", "yellow", "orange", "red", "#7b8087", "blue"
ZONE = "Asia/Shanghai"  # of the site; ``pdt-gateway grafana --zone`` puts another in
AGE = "dthms"  # 00:01:30, where "s" would round to two minutes


class Box(NamedTuple):
    """Where a panel is on the grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int

    @property
    def grid(self) -> GridPos:
        """For the SDK."""
        return GridPos(x=self.x, y=self.y, w=self.w, h=self.h)


def steps(*pairs: tuple[float, str], below: str = GREY) -> Any:
    """Thresholds: from this value on, this colour; ``below`` is also for no value at all."""
    marks = [Threshold(value=None, color=below)]
    marks += [Threshold(value=value, color=color) for value, color in pairs]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(marks)


def step_values(*pairs: tuple[float | None, str]) -> dict[str, Any]:
    """The same for the override of one column."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in pairs],
    }


def words(by_value: Mapping[str, tuple[str, str]]) -> list[ValueMapping]:
    """Show a value as a word in a colour."""
    options = {
        value: ValueMappingResult(text=text, color=color, index=place)
        for place, (value, (text, color)) in enumerate(by_value.items())
    }
    return [ValueMap(options=options)]


def any_from(least: float, text: str, color: str) -> list[ValueMapping]:
    """Show every value from ``least`` on as one word."""
    result = ValueMappingResult(text=text, color=color, index=0)
    options = dashboard.DashboardRangeMapOptions(from_val=least, to=1e12, result=result)
    return [dashboard.RangeMap(options=options)]


def unit_states(t: Say) -> dict[str, tuple[str, str]]:
    """The five states of a unit by their code, in the desk page's words."""
    return {
        "0": (t("定位新", "fresh fix"), GREEN),
        "1": (t("定位旧", "old fix"), YELLOW),
        "2": (t("无定位", "no fix"), ORANGE),
        "3": (t("失联", "silent"), RED),
        "4": (t("关机", "off"), GREY),
    }


def link_states(t: Say) -> dict[str, tuple[str, str]]:
    """The four states of a link by their code."""
    return {
        "0": (t("正常", "up"), GREEN),
        "1": (t("连接中", "connecting"), YELLOW),
        "2": (t("静默", "silent"), ORANGE),
        "3": (t("断开", "down"), RED),
    }


def kinds(t: Say) -> dict[str, tuple[str, str]]:
    """What was pressed."""
    return {
        "alarm": (t("紧急报警", "alarm"), RED),
        "call": (t("紧急呼叫", "call"), RED),
        "man_down": (t("倒地", "man down"), RED),
        "lone_worker": (t("单人作业", "lone worker"), ORANGE),
        "vehicle": (t("车辆报警", "vehicle"), ORANGE),
    }


def yes_no(t: Say) -> dict[str, tuple[str, str]]:
    """A truth value."""
    return {"true": (t("是", "yes"), BLUE), "false": (t("否", "no"), GREY)}


def placed(panel: Any, title: str, about: str, box: Box, *queries: InfluxQuery) -> Any:
    """What every panel says first: what it shows, where it is, what it asks."""
    return (
        panel.title(title)
        .description(about)
        .grid_pos(box.grid)
        .datasource(SOURCE)
        .targets(targets(*queries))
    )


def big(
    title: str,
    about: str,
    box: Box,
    query: InfluxQuery,
    thresholds: Any,
    *,
    unit: str = "short",
    empty: str = "–",
    size: int | None = 64,
    mappings: list[ValueMapping] | None = None,
) -> Any:
    """Numbers to be read across a room, coloured as a whole; without ``size`` as big as fits."""
    text = common_builders.VizTextDisplayOptions()
    if size is not None:
        text = text.value_size(size).title_size(28)
    reduce_options = common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("")
    return (
        placed(stat.Panel(), title, about, box, query)
        .unit(unit)
        .decimals(0)
        .no_value(empty)
        .thresholds(thresholds)
        .mappings(mappings or [])
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.AUTO)
        .text(text)
        .reduce_options(reduce_options)
        .orientation(common.VizOrientation.VERTICAL)
    )


def rows(
    title: str,
    about: str,
    box: Box,
    queries: Sequence[InfluxQuery],
    columns: Mapping[str, str],
    *,
    sort: tuple[str, bool] | None = None,
    empty: str = "",
    steps_before: Sequence[DataTransformerConfig] = (),
) -> Any:
    """A table with these columns, in this order, under these names; all others are left out."""
    panel = (
        placed(tables.Panel(), title, about, box, *queries)
        .no_value(empty)
        .cell_height(common.TableCellHeight.MD)
        .transformations([*steps_before, *only(columns)])
    )
    if sort is not None:
        order = common_builders.TableSortByFieldState().display_name(columns[sort[0]]).desc(sort[1])
        panel = panel.sort_by([order])
    return panel


def only(columns: Mapping[str, str]) -> list[DataTransformerConfig]:
    """Keep these columns, order and name them."""
    return [
        DataTransformerConfig(
            id_val="filterFieldsByName", options={"include": {"names": list(columns)}}
        ),
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {},
                "indexByName": {name: place for place, name in enumerate(columns)},
                "renameByName": dict(columns),
            },
        ),
    ]


def column(
    panel: Any,
    name: str,
    *,
    unit: str = "",
    thresholds: dict[str, Any] | None = None,
    mappings: Mapping[str, tuple[str, str]] | None = None,
    links: Sequence[Link] = (),
) -> Any:
    """How one column of a table looks."""
    properties = []
    if unit:
        properties += [DynamicConfigValue("unit", unit), DynamicConfigValue("decimals", 0)]
    if mappings is not None:
        properties.append(DynamicConfigValue("mappings", words(mappings)))
    if thresholds is not None:
        properties += [
            DynamicConfigValue("thresholds", thresholds),
            DynamicConfigValue("color", {"mode": "thresholds"}),
        ]
    if panel.build().type_val == "table" and (thresholds is not None or mappings is not None):
        cell = {"type": "color-background", "mode": "basic"}
        properties.append(DynamicConfigValue("custom.cellOptions", cell))
    if links:
        addresses = [{"title": title, "url": url} for title, url in links]
        properties.append(DynamicConfigValue("links", addresses))
    return panel.override_by_name(name, properties)


def paint(panel: Any, name: str, color: str) -> Any:
    """One value always in the same colour."""
    fixed = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})
    return panel.override_by_name(name, [fixed])


def each_row(fields: str, most: int) -> Any:
    """Every row is a value of its own, not a series to be reduced."""
    return common_builders.ReduceDataOptions().values(True).limit(most).calcs([]).fields(fields)


def lines(
    title: str,
    about: str,
    box: Box,
    queries: Sequence[InfluxQuery],
    *,
    unit: str = "short",
    interval: str = "10s",
    thresholds: Any = None,
    floor: float | None = 0,
) -> Any:
    """Values over time."""
    panel = (
        placed(timeseries.Panel(), title, about, box, *queries)
        .unit(unit)
        .interval(interval)
        .line_width(2)
        .fill_opacity(12)
        .insert_nulls(False)
        .span_nulls(90_000)
        .show_points(common.VisibilityMode.AUTO)
        .legend(
            common_builders.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
    )
    if floor is not None:
        panel = panel.min(floor)
    if thresholds is not None:
        style = common_builders.GraphThresholdsStyleConfig()
        panel = panel.thresholds(thresholds).thresholds_style(
            style.mode(common.GraphThresholdsStyleMode.LINE)
        )
    return panel


def bars(
    title: str,
    about: str,
    box: Box,
    queries: Sequence[InfluxQuery],
    x_field: str,
    *,
    transformations: Sequence[DataTransformerConfig] = (),
    unit: str = "short",
    stacked: bool = False,
    upright: bool = True,
) -> Any:
    """One bar, or one stack, for each value of ``x_field``."""
    turn = common.VizOrientation.VERTICAL if upright else common.VizOrientation.HORIZONTAL
    return (
        placed(barchart.Panel(), title, about, box, *queries)
        .transformations(list(transformations))
        .unit(unit)
        .decimals(0)
        .x_field(x_field)
        .orientation(turn)
        .stacking(common.StackingMode.NORMAL if stacked else common.StackingMode.NONE)
        .show_value(common.VisibilityMode.AUTO)
        .legend(
            common_builders.VizLegendOptions()
            .show_legend(stacked)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
    )


def group_by(field: str, calculated: Mapping[str, str]) -> DataTransformerConfig:
    """Rows with the same value of a field become one, for what is no tag.

    ``calculated`` are other fields with what is made of each: "mean" makes "take_s (mean)".
    """
    options: dict[str, object] = {field: {"operation": "groupby", "aggregations": []}}
    for name, calculation in calculated.items():
        options[name] = {"operation": "aggregate", "aggregations": [calculation]}
    return DataTransformerConfig(id_val="groupBy", options={"fields": options})


def name_nothing(panel: Any, name: str, text: str) -> Any:
    """What the cells of a column say that have no value."""
    result = ValueMappingResult(text=text, color=GREY, index=0)
    options = dashboard.DashboardSpecialValueMapOptions(
        match=dashboard.SpecialValueMatch.NULL, result=result
    )
    nothing: list[ValueMapping] = [dashboard.SpecialValueMap(options=options)]
    return panel.override_by_name(name, [DynamicConfigValue("mappings", nothing)])


class Frame:
    """A dashboard with the variables and links that all of them share."""

    def __init__(
        self, t: Say, uid: str, title: str, about: str, *, since: str, refresh: str
    ) -> None:
        self.t = t
        self.uid = uid + t("", "-en")
        self._built = (
            builders.Dashboard(title)
            .uid(self.uid)
            .description(about)
            .tags(["pdt", t("中文", "english")])
            .timezone(ZONE)
            .readonly()
            .time(since, "now")
            .refresh(refresh)
            .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
            .timepicker(builders.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m"]))
            .links(
                [
                    builders.DashboardLink("PDT")
                    .type(dashboard.DashboardLinkType.DASHBOARDS)
                    .tags(["pdt", t("中文", "english")])
                    .as_dropdown(False)
                    .keep_time(False)
                    .include_vars(False)
                ]
            )
        )
        self._number = 0
        self.choice("site", t("站点", "site"))

    def choice(self, tag: str, label: str, query: str = "", *, all_of_them: bool = True) -> None:
        """A variable with the values of a tag: all there are, or those that ``query`` gives."""
        variable = (
            builders.QueryVariable(tag)
            .label(label)
            .datasource(SOURCE)
            .query(query or tag_values(tag))
            .refresh(dashboard.VariableRefresh.ON_DASHBOARD_LOAD)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
            .multi(False)
            .include_all(all_of_them)
        )
        if all_of_them:
            everything = dashboard.VariableOption(text="All", value="$__all", selected=True)
            variable = variable.all_value(".*").current(everything)
        self._built = self._built.with_variable(variable)

    def datum(self) -> None:
        """Which coordinates a map draws: the receiver's, or those of Chinese web maps."""
        self._either(
            "datum",
            self.t("坐标", "datum"),
            ("WGS-84", '"lat" AS "lat", "lon" AS "lon"'),
            ("GCJ-02", '"lat_gcj" AS "lat", "lon_gcj" AS "lon"'),
        )

    def data(self, usual: tuple[str, str], kept: tuple[str, str]) -> None:
        """Which place of the series is asked, as (name, measurement): of weeks, or of years."""
        self._either("data", self.t("数据", "data"), usual, kept)

    def _either(self, name: str, label: str, *choices: tuple[str, str]) -> None:
        """A variable with some texts for queries; the first is chosen."""
        options = [
            dashboard.VariableOption(text=text, value=value, selected=place == 0)
            for place, (text, value) in enumerate(choices)
        ]
        listed = ", ".join(
            f"{text} : {value.replace(',', chr(92) + ',')}" for text, value in choices
        )
        self._built = self._built.with_variable(
            builders.CustomVariable(name)
            .label(label)
            .values(listed)
            .options(options)
            .current(options[0])
            .allow_custom_value(False)
            .multi(False)
            .include_all(False)
        )

    def add(self, *panels: Any) -> None:
        """Panels at the places that they name."""
        for panel in panels:
            self._number += 1
            self._built = self._built.with_panel(panel.id(self._number))

    def build(self) -> dashboard.Dashboard:
        """The dashboard."""
        return self._built.build()
