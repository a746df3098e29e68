"""One unit over a stretch of time: where it went, how fast, how well it was heard."""

from tools.dashboards.maps import points, town_map, way
from tools.dashboards.panels import (
    BLUE,
    GREEN,
    Box,
    Frame,
    Say,
    big,
    column,
    lines,
    rows,
    steps,
    yes_no,
)
from tools.dashboards.queries import DATA, DATUM, MINUTES, SITE, InfluxQuery, series, table

# SHOW TAG VALUES would look into the usual place alone on 2.x.
UNITS = f'SELECT "unit", "lat" FROM (SELECT last("lat") AS "lat" FROM {DATA} GROUP BY "unit")'
UNIT = '"unit" =~ /^$unit$/'
HERE = f"$timeFilter AND {SITE} AND {UNIT}"


def build(t: Say) -> Frame:
    """The dashboard."""
    frame = Frame(
        t,
        "pdt-unit-history",
        t("单元轨迹", "Unit history"),
        t(
            "查看轨迹属个人信息处理，请有据而查",
            "a person's track is personal data: look with a reason",
        ),
        since="now-1h",
        refresh="",
    )
    frame.data(
        (t("全部定位", "every position"), '"position"'),
        (t("每分钟一点", "one a minute"), f'"{MINUTES}"."position"'),
    )
    frame.choice("unit", t("单元", "unit"), UNITS, all_of_them=False)
    frame.datum()
    frame.add(_map(t), *_numbers(t), *_graphs(t), _list(t))
    return frame


def _map(t: Say) -> object:
    """Only a valid report has a place, and a minute the last of them: no more is asked for."""
    track = table(f'SELECT {DATUM}, "speed_mps", "course_deg" FROM {DATA} WHERE {HERE}')
    newest = table(
        f'SELECT {DATUM}, "unit" AS "name" FROM {DATA} WHERE {HERE} ORDER BY time DESC LIMIT 1'
    )
    here = {
        "color": {"fixed": GREEN},
        "size": {"fixed": 12, "min": 6, "max": 20},
        "text": {"mode": "field", "field": "name", "fixed": ""},
    }
    return town_map(
        t("轨迹", "track"),
        t("线为所选时间内的轨迹，绿点为最后位置", "the line is the track, the green dot its end"),
        Box(0, 0, 14, 16),
        [track, newest],
        [way("A", t("轨迹", "track"), BLUE), points("B", t("最后位置", "last place"), here)],
    )


def _numbers(t: Say) -> list[object]:
    def number(what: str) -> InfluxQuery:
        return table(f'SELECT {what} AS "n" FROM {DATA} WHERE {HERE}')

    return [
        big(
            t("定位数", "fixes"),
            t("有效定位；每分钟一点时为有定位的分钟数", "valid ones; or minutes with one"),
            Box(14, 0, 5, 4),
            number('count("lat")'),
            steps((0, BLUE)),
            size=40,
        ),
        big(
            t("最高速度", "top speed"),
            t("所选时间内", "in the chosen time"),
            Box(19, 0, 5, 4),
            number('max("speed_mps")'),
            steps((0, BLUE)),
            unit="velocityms",
            size=40,
        ),
    ]


def _graphs(t: Say) -> list[object]:
    def of(field: str, shown: str) -> InfluxQuery:
        return series(
            f'SELECT mean("{field}") FROM {DATA} WHERE {HERE}'
            " GROUP BY time($__interval) fill(null)",
            shown,
        )

    return [
        lines(
            t("速度", "speed"),
            t("接收机给出的速度", "as the receiver gives it"),
            Box(14, 4, 10, 6),
            [of("speed_mps", t("速度", "speed"))],
            unit="velocityms",
            interval="1s",
        ),
        lines(
            t("上报延迟", "delay"),
            t(
                "从定位到网关收到；每分钟一点时没有",
                "from the fix until the gateway had it; not of one a minute",
            ),
            Box(14, 10, 10, 6),
            [of("delay_s", t("延迟", "delay"))],
            unit="s",
            interval="1s",
        ),
    ]


def _list(t: Say) -> object:
    columns = {
        "Time": t("定位时间", "time of the fix"),
        "fix_valid": t("有效", "valid"),
        "lat": t("纬度 WGS-84", "latitude WGS-84"),
        "lon": t("经度 WGS-84", "longitude WGS-84"),
        "lat_gcj": t("纬度 GCJ-02", "latitude GCJ-02"),
        "lon_gcj": t("经度 GCJ-02", "longitude GCJ-02"),
        "speed_mps": t("速度", "speed"),
        "course_deg": t("航向", "course"),
        "satellites": t("卫星", "satellites"),
        "trigger": t("触发", "trigger"),
        "radio": t("电台", "radio"),
        "link": t("链路", "link"),
    }
    fields = ", ".join(f'"{name}"' for name in columns if name != "Time")
    listed = rows(
        t("定位列表", "fixes"),
        t("最新在上，最多 1000 条", "newest first, 1000 at most"),
        Box(0, 16, 24, 10),
        [table(f"SELECT {fields} FROM {DATA} WHERE {HERE} ORDER BY time DESC LIMIT 1000")],
        columns,
    )
    listed = column(listed, columns["fix_valid"], mappings=yes_no(t))
    listed = column(listed, columns["speed_mps"], unit="velocityms")
    return column(listed, columns["course_deg"], unit="degree")
