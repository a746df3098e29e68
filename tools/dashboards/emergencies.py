"""What became of emergencies: how fast they were taken and closed, by team, hour and place."""

from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

from tools.dashboards.maps import alarm_style, heat, points, town_map
from tools.dashboards.panels import (
    AGE,
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Box,
    Frame,
    Say,
    bars,
    big,
    column,
    group_by,
    kinds,
    lines,
    name_nothing,
    rows,
    step_values,
    steps,
    yes_no,
)
from tools.dashboards.queries import ALARMS, DATA, DATUM, SITE, UNIT, InfluxQuery, series, table

LATE_TAKE_S, LATE_CLOSE_S = 30, 1800
HERE = f"$timeFilter AND {SITE} AND {UNIT}"
ACTED = "(\"event\" = 'taken' OR \"event\" = 'closed')"
RAISED = f"\"event\" = 'raised' AND {HERE}"


def build(t: Say) -> Frame:
    """The dashboard."""
    frame = Frame(
        t,
        "pdt-emergencies",
        t("紧急报警统计", "Emergencies"),
        t("接警与处置的快慢，误报率；用于讲评和考核", "how fast, how many false; for review"),
        since="now-7d",
        refresh="1m",
    )
    frame.choice("team", t("队伍", "team"))
    frame.data(
        (t("近期", "recent"), '"emergency"'),
        (t("长期保存", "kept for years"), f'"{ALARMS}"."emergency"'),
    )
    frame.datum()
    frame.add(*_numbers(t), _over_time(t), *_by(t), _by_place(t), _places(t), _list(t))
    return frame


def _numbers(t: Say) -> list[object]:
    def number(what: str, shown: str) -> InfluxQuery:
        return table(f'SELECT {what} AS "{shown}" FROM {DATA} WHERE {HERE}')

    raised = table(f'SELECT count("event_id") AS "n" FROM {DATA} WHERE {RAISED}')
    take_steps = steps((0, GREEN), (15, YELLOW), (LATE_TAKE_S, RED))
    return [
        big(
            t("报警数", "raised"),
            t("所选时间内，含演练", "in the chosen time, drills too"),
            Box(0, 0, 4, 4),
            raised,
            steps((0, BLUE)),
        ),
        big(
            t("接警用时（中位）", "time to take, median"),
            t("从按下到有人接警", "from the press until somebody took it"),
            Box(4, 0, 5, 4),
            number('median("take_s")', "s"),
            take_steps,
            unit=AGE,
        ),
        big(
            t("接警用时（最长）", "time to take, worst"),
            t("最慢的一次", "the slowest one"),
            Box(9, 0, 5, 4),
            number('max("take_s")', "s"),
            take_steps,
            unit=AGE,
        ),
        big(
            t("结案用时（中位）", "time to close, median"),
            t("从按下到结案", "from the press until it was closed"),
            Box(14, 0, 5, 4),
            number('median("close_s")', "s"),
            steps((0, GREEN), (900, YELLOW), (LATE_CLOSE_S, RED)),
            unit=AGE,
        ),
        big(
            t("误报率", "false alarms"),
            t(
                "误报在非演练结案中的比例",
                "the share of false ones among those closed, without drills",
            ),
            Box(19, 0, 5, 4),
            number('mean("false_alarm")', "share"),
            steps((0, GREEN), (0.3, YELLOW), (0.6, ORANGE)),
            unit="percentunit",
        ),
    ]


def _over_time(t: Say) -> object:
    def of(field: str, shown: str) -> InfluxQuery:
        return series(f'SELECT "{field}" FROM {DATA} WHERE {HERE}', shown)

    return lines(
        t("每次的接警与结案用时", "time to take and to close, each"),
        t(
            "每个点是一次报警；红线为接警限时",
            "each point is one emergency; the red line is the limit to take one",
        ),
        Box(0, 4, 12, 8),
        [of("take_s", t("接警", "take")), of("close_s", t("结案", "close"))],
        unit="s",
        thresholds=steps((0, "transparent"), (LATE_TAKE_S, RED)),
    )


def _by(t: Say) -> list[object]:
    take, close = t("接警（秒）", "take, s"), t("结案（秒）", "close, s")
    by_team = table(
        f'SELECT mean("take_s") AS "{take}", mean("close_s") AS "{close}" FROM {DATA}'
        f' WHERE {HERE} GROUP BY "team"'
    )
    hour = DataTransformerConfig(
        id_val="formatTime",
        options={"timeField": "Time", "outputFormat": "HH", "useTimezone": True},
    )
    order = DataTransformerConfig(
        id_val="sortBy", options={"fields": {}, "sort": [{"field": "Time", "desc": False}]}
    )
    took = table(
        f'SELECT "take_s" AS "{take}", "close_s" AS "{close}" FROM {DATA} WHERE {ACTED} AND {HERE}'
    )
    raised = table(f'SELECT "event_id" FROM {DATA} WHERE {RAISED}')
    false_by_team = table(
        f'SELECT mean("false_alarm") AS "share", count("false_alarm") AS "n" FROM {DATA}'
        f' WHERE {HERE} GROUP BY "team"'
    )
    columns = {
        "team": t("队伍", "team"),
        "share": t("误报率", "false share"),
        "n": t("结案数", "closed"),
    }
    shares = rows(
        t("各队误报率", "false alarms by team"),
        t("不含演练", "without drills"),
        Box(16, 12, 8, 7),
        [false_by_team],
        columns,
        sort=("share", True),
    )
    marks = step_values((None, GREEN), (0.3, YELLOW), (0.6, ORANGE))
    return [
        bars(
            t("各队平均用时", "mean times by team"),
            t("平均接警与结案用时", "mean time to take and to close"),
            Box(12, 4, 12, 8),
            [by_team],
            "team",
            unit="s",
            transformations=[_without_time()],
        ),
        bars(
            t("一天中的时段", "by hour of the day"),
            t("每小时的报警数（站点时区）", "how many in each hour, in the site's zone"),
            Box(0, 12, 8, 7),
            [raised],
            "Time",
            transformations=[hour, group_by("Time", {"event_id": "count"}), order],
        ),
        bars(
            t("各时段平均用时", "mean times by hour"),
            t(
                "按接警、结案的时刻归入时段（站点时区）",
                "by the hour in which it was taken or closed, in the site's zone",
            ),
            Box(8, 12, 8, 7),
            [took],
            "Time",
            unit="s",
            transformations=[hour, group_by("Time", {take: "mean", close: "mean"}), order],
        ),
        column(shares, columns["share"], unit="percentunit", thresholds=marks),
    ]


def _without_time() -> DataTransformerConfig:
    """The time of an aggregate is the beginning of the range and says nothing."""
    return DataTransformerConfig(
        id_val="organize",
        options={"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}},
    )


def _by_place(t: Say) -> object:
    """InfluxQL groups by tags, and a place is a field: Grafana puts the rows together."""
    found = table(
        f'SELECT "place", "emergency_id", "take_s", "close_s", "false_alarm" FROM {DATA}'
        f" WHERE \"event\" != 'open' AND {HERE}"
    )
    made = {
        "emergency_id": "distinctCount",
        "take_s": "mean",
        "close_s": "mean",
        "false_alarm": "mean",
    }
    columns = {
        "place": t("重点部位", "key site"),
        "emergency_id (distinctCount)": t("报警数", "emergencies"),
        "take_s (mean)": t("接警（平均）", "to take, mean"),
        "close_s (mean)": t("结案（平均）", "to close, mean"),
        "false_alarm (mean)": t("误报率", "false share"),
    }
    panel = rows(
        t("各重点部位用时", "times by place"),
        t(
            "报警地点所在的重点部位；不在任何部位范围内或没有位置的归为“其他”",
            "the key site in whose ring the alarm began; 'elsewhere' is outside all of them, or"
            " without a position",
        ),
        Box(0, 19, 10, 7),
        [found],
        columns,
        sort=("emergency_id (distinctCount)", True),
        steps_before=[group_by("place", made)],
    )
    panel = name_nothing(panel, columns["place"], t("其他", "elsewhere"))
    late = step_values((None, "transparent"), (LATE_TAKE_S, RED))
    panel = column(panel, columns["take_s (mean)"], unit=AGE, thresholds=late)
    panel = column(panel, columns["close_s (mean)"], unit=AGE)
    return column(panel, columns["false_alarm (mean)"], unit="percentunit")


def _places(t: Say) -> object:
    where = table(f'SELECT {DATUM}, "kind", "unit" AS "name" FROM {DATA} WHERE {RAISED}')
    return town_map(
        t("报警地点", "places"),
        t("报警时的位置（或最后已知位置）", "the place sent with the alarm, or the last known one"),
        Box(0, 26, 10, 12),
        [where],
        [heat("A", t("热区", "heat")), points("A", t("报警", "emergencies"), alarm_style())],
    )


def _list(t: Say) -> object:
    columns = {
        "Time": t("时间", "time"),
        "unit": t("单元", "unit"),
        "team": t("队伍", "team"),
        "event": t("事件", "event"),
        "kind": t("类型", "kind"),
        "place": t("重点部位", "key site"),
        "by": t("人员", "by"),
        "take_s": t("接警用时", "to take"),
        "close_s": t("结案用时", "to close"),
        "verdict": t("结论", "verdict"),
        "is_drill": t("演练", "drill"),
        "emergency_id": t("编号", "id"),
    }
    fields = ", ".join(f'"{name}"' for name in columns if name != "Time")
    listed = rows(
        t("事件列表", "list"),
        t("报警、解除、接警、结案，最新在上", "raised, ended, taken, closed; newest first"),
        Box(10, 19, 14, 19),
        [
            table(
                f"SELECT {fields} FROM {DATA} WHERE \"event\" != 'open' AND {HERE}"
                " ORDER BY time DESC LIMIT 500"
            )
        ],
        columns,
        empty="",
    )
    events = {
        "raised": (t("报警", "raised"), RED),
        "ended": (t("电台解除", "ended by radio"), YELLOW),
        "taken": (t("接警", "taken"), ORANGE),
        "closed": (t("结案", "closed"), GREEN),
    }
    verdicts = {
        "true": (t("真警", "true"), RED),
        "false": (t("误报", "false"), YELLOW),
        "drill": (t("演练", "drill"), BLUE),
    }
    listed = column(listed, columns["event"], mappings=events)
    listed = column(listed, columns["kind"], mappings=kinds(t))
    listed = column(listed, columns["verdict"], mappings=verdicts)
    listed = column(listed, columns["is_drill"], mappings=yes_no(t))
    late = step_values((None, "transparent"), (LATE_TAKE_S, RED))
    listed = column(listed, columns["take_s"], unit=AGE, thresholds=late)
    return column(listed, columns["close_s"], unit=AGE)
