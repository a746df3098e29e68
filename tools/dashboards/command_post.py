"""The wall of the command post: who needs help, where everybody is, whether to believe it."""

from grafana_foundation_sdk.models import common

from tools.dashboards.maps import PALETTE, alarm_style, points, town_map, unit_style, way
from tools.dashboards.panels import (
    AGE,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Box,
    Frame,
    Say,
    any_from,
    bars,
    big,
    column,
    each_row,
    kinds,
    lines,
    only,
    paint,
    rows,
    step_values,
    steps,
    unit_states,
    words,
    yes_no,
)
from tools.dashboards.queries import (
    NOW,
    OPEN_NOW,
    SITE,
    STATES,
    TRAILS,
    UNITS_NOW,
    emergency_figure_now,
    figure_now,
    figures_now,
    per_minute,
    points_of_sites,
    series,
    table,
    trail,
)

WAIT_S = 30  # an alarm that waits longer is late


def build(t: Say) -> Frame:
    """The dashboard."""
    frame = Frame(
        t,
        "pdt-command-post",
        t("指挥席：当前态势", "Command post: now"),
        t(
            "五米外可读。处置请在席位页面进行，此处只显示。",
            "To be read from five metres. Emergencies are handled on the desk page, not here.",
        ),
        since="now-1h",
        refresh="10s",
    )
    frame.choice("team", t("队伍", "team"))
    frame.datum()
    frame.add(*_numbers(t), _map(t), *_emergencies(t), _teams(t), *_health(t))
    return frame


def _numbers(t: Say) -> list[object]:
    return [
        big(
            t("未接警", "not taken"),
            t("已报警、无人接警的紧急情况", "emergencies that nobody has taken"),
            Box(0, 0, 4, 5),
            emergency_figure_now("emergencies_waiting"),
            steps((0, GREEN), (1, RED)),
            size=90,
        ),
        big(
            t("最久等待", "longest wait"),
            t("未接警中等待最久的", "the oldest of those not taken"),
            Box(4, 0, 4, 5),
            emergency_figure_now("emergencies_waiting_s", "max"),
            steps((0, GREEN), (1, ORANGE), (WAIT_S, RED)),
            unit=AGE,
            size=64,
        ),
        big(
            t("未结案", "open"),
            t("已接警和未接警，尚未结案", "taken or not, not closed yet"),
            Box(8, 0, 3, 5),
            emergency_figure_now("emergencies_open"),
            steps((0, GREEN), (1, ORANGE)),
            size=90,
        ),
        _states(t),
        big(
            t("网关", "gateway"),
            t(
                "最近 30 秒内网关是否写入过数据；红色时，本页其余内容是旧的。"
                "多个站点时，一个没有数据即为红色",
                "whether the gateway wrote within 30 s; when red, what else this page shows of it"
                " is old. Of several sites one is enough",
            ),
            Box(21, 0, 3, 5),
            table(f'SELECT min("n") AS "n" FROM ({points_of_sites("time > now() - 30s", SITE)})'),
            steps((1, GREEN), below=RED),
            empty=t("无数据", "silent"),
            size=40,
            mappings=[
                *words({"0": (t("无数据", "silent"), RED)}),
                *any_from(1, t("正常", "alive"), GREEN),
            ],
        ),
    ]


def _states(t: Say) -> object:
    texts = [text for text, _ in unit_states(t).values()]
    colors = (GREEN, YELLOW, ORANGE, RED, GREY)
    shown = list(zip(STATES, texts, strict=True))
    panel = big(
        t("单元状态", "units by state"),
        t("每个单元此刻属于五种状态之一", "each unit is in one of five states"),
        Box(11, 0, 10, 5),
        figures_now((f"units_{state}", text) for state, text in shown),
        steps((0, BLUE)),
        size=64,
    )
    for (_, text), color in zip(shown, colors, strict=True):
        panel = paint(panel, text, color)
    return panel


def _map(t: Say) -> object:
    ways = [chr(ord("C") + number) for number in range(TRAILS)]
    panel = town_map(
        t("地图", "map"),
        t(
            "圆点为各单元最新位置，颜色为状态；红圈为未结案报警的地点；"
            "彩线为报警单元最近 15 分钟的轨迹"
            f"（同时最多 {TRAILS} 条）。视图由操作员决定，刷新不会改变。",
            "Dots: the newest place of each unit, coloured by state. Red rings: places of open"
            f" emergencies. Lines: the last 15 minutes of units in one, {TRAILS} at most."
            " The view is yours: a refresh does not move it.",
        ),
        Box(0, 5, 16, 15),
        [table(UNITS_NOW), table(OPEN_NOW), *(table(trail(n + 1)) for n in range(TRAILS))],
        [
            *(
                way(ref_id, f"{t('轨迹', 'trail')} {ref_id}", color)
                for ref_id, color in zip(ways, PALETTE, strict=True)
            ),
            points("B", t("报警地点", "emergencies"), alarm_style()),
            points("A", t("单元", "units"), unit_style()),
        ],
    )
    codes = step_values((None, GREEN), (1, YELLOW), (2, ORANGE), (3, RED), (4, GREY))
    return column(panel, "state_code", thresholds=codes, mappings=unit_states(t))


def _emergencies(t: Say) -> list[object]:
    tiles = (
        big(
            t("未结案报警", "open emergencies"),
            t("单元与报警后经过的时间", "the unit, and how long ago"),
            Box(16, 5, 8, 5),
            table(OPEN_NOW),
            steps((0, ORANGE), (WAIT_S, RED)),
            unit=AGE,
            empty=t("无", "none"),
            size=None,
        )
        .orientation(common.VizOrientation.AUTO)
        .display_name("${__data.fields.name}")
        .transformations(only({"name": "name", "open_s": "open_s"}))
        .reduce_options(each_row("/^open_s$/", 6))
    )
    columns = {
        "name": t("单元", "unit"),
        "kind": t("类型", "kind"),
        "place": t("重点部位", "key site"),
        "phase": t("阶段", "phase"),
        "by": t("接警人", "taken by"),
        "open_s": t("已过", "age"),
        "is_drill": t("演练", "drill"),
        "open_count": t("次数", "how many"),
    }
    listed = rows(
        t("报警明细", "emergencies in detail"),
        t("每台电台一行，未接警的优先", "one line a radio, not taken first"),
        Box(16, 10, 8, 5),
        [table(OPEN_NOW)],
        columns,
        sort=("open_s", True),
        empty=t("无", "none"),
    )
    listed = column(listed, columns["kind"], mappings=kinds(t))
    listed = column(listed, columns["is_drill"], mappings=yes_no(t))
    phases = {"open": (t("未接警", "not taken"), RED), "taken": (t("处置中", "taken"), ORANGE)}
    listed = column(listed, columns["phase"], mappings=phases)
    return [tiles, column(listed, columns["open_s"], unit=AGE)]


def _teams(t: Say) -> object:
    texts = [text for text, _ in unit_states(t).values()]
    shown = list(zip(STATES, texts, strict=True))
    newest = ", ".join(f'last("units_{state}") AS "units_{state}"' for state in STATES)
    chosen = ", ".join(f'sum("units_{state}") AS "{text}"' for state, text in shown)
    panel = bars(
        t("各队状态", "teams"),
        t("每队各状态的单元数", "how many of each team are in which state"),
        Box(16, 15, 8, 5),
        [
            table(
                f'SELECT {chosen} FROM (SELECT {newest} FROM "radio_status" WHERE {NOW} AND {SITE}'
                ' GROUP BY "site", "team") GROUP BY "team"'
            )
        ],
        "team",
        stacked=True,
        upright=False,
    )
    for (_, text), color in zip(shown, (GREEN, YELLOW, ORANGE, RED, GREY), strict=True):
        panel = paint(panel, text, color)
    return panel


def _health(t: Say) -> list[object]:
    return [
        lines(
            t("每分钟定位数", "fixes per minute"),
            t(
                "有效定位，不含正在计的这一分钟；突然下降说明信道或网关有问题",
                "valid ones, without the minute that is running; a sudden fall means trouble on the"
                " channel or in the gateway",
            ),
            Box(0, 20, 12, 5),
            [series(per_minute(SITE), t("定位", "fixes"))],
            interval="1m",
        ),
        big(
            t("最旧定位", "oldest fix"),
            t("在网单元中最旧的定位", "the oldest among units on air"),
            Box(12, 20, 4, 5),
            figure_now("fix_oldest_s", of="max"),
            steps((0, GREEN), (60, YELLOW), (300, RED)),
            unit=AGE,
        ),
        big(
            t("断开或静默的链路", "links down or silent"),
            t("详见链路页面", "see the links dashboard"),
            Box(16, 20, 4, 5),
            table(
                'SELECT sum("links_down") + sum("links_silent") AS "n" FROM (SELECT'
                ' last("links_down") AS "links_down", last("links_silent") AS "links_silent"'
                f' FROM "gateway" WHERE {NOW} AND {SITE} GROUP BY "site")'
            ),
            steps((0, GREEN), (1, RED)),
        ),
        big(
            t("写入滞后", "sinks behind"),
            t(
                "最慢的一路（消息代理、时序库、席位日志）落后多少",
                "how far the slowest of broker, time series and desk log is behind",
            ),
            Box(20, 20, 4, 5),
            figure_now("sinks_oldest_age_s", of="max"),
            steps((0, GREEN), (30, YELLOW), (300, RED)),
            unit=AGE,
        ),
    ]
