"""The technician's morning list: every radio, the worst first."""

from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

from tools.dashboards.panels import (
    AGE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Box,
    Frame,
    Say,
    big,
    column,
    lines,
    rows,
    step_values,
    steps,
    unit_states,
)
from tools.dashboards.queries import (
    RECENT,
    SITE,
    UNIT,
    figure_now,
    per,
    per_minute,
    series,
    table,
    tag_values,
)

RADIO = '"radio" =~ /^$radio$/'
NOW_BY_RADIO = f"""\
SELECT last("state_code") AS "state_code", "name", "heard_s", "fix_s", "battery_pct", "rssi_dbm"
 FROM "radio_status" WHERE {RECENT} AND {SITE} AND {UNIT} GROUP BY "radio\""""
HERE = f"$timeFilter AND {SITE} AND {UNIT}"
FIXES = f"""\
SELECT count("fix_valid") AS "fixes" FROM "position"
 WHERE {HERE} AND "fix_valid" = true GROUP BY "radio\""""
REPORTS = f'SELECT count("fix_valid") AS "reports" FROM "position" WHERE {HERE} GROUP BY "radio"'


def build(t: Say) -> Frame:
    """The dashboard."""
    frame = Frame(
        t,
        "pdt-radios",
        t("电台状况", "Radios"),
        t("每天早上先看这里：失联、无定位、低电量、弱信号", "the morning list: what does not work"),
        since="now-12h",
        refresh="1m",
    )
    frame.choice("team", t("队伍", "team"))
    frame.choice("radio", t("电台（曲线）", "radio (graphs)"), tag_values("radio", "radio_status"))
    frame.add(*_numbers(t), _list(t), *_graphs(t))
    return frame


def _numbers(t: Say) -> list[object]:
    shown = [
        ("units_silent", t("失联", "silent"), RED),
        ("units_no_fix", t("无定位", "no fix"), ORANGE),
        ("units_old_fix", t("定位旧", "old fix"), YELLOW),
        ("units_off", t("关机", "off"), GREY),
        ("units_fresh_fix", t("定位新", "fresh fix"), GREEN),
    ]
    panels: list[object] = [
        big(
            title,
            t("此刻处于该状态的电台数", "radios in this state now"),
            Box(4 * place, 0, 4, 4),
            figure_now(field, title),
            steps((0, GREEN), (1, color)) if color != GREEN else steps((0, GREEN)),
        )
        for place, (field, title, color) in enumerate(shown)
    ]
    low = big(
        t("低电量", "low battery"),
        t("最近 5 分钟电量低于 20% 的电台", "radios under 20 % within 5 minutes"),
        Box(20, 0, 4, 4),
        table(
            'SELECT count("b") AS "n" FROM (SELECT last("battery_pct") AS "b" FROM "radio_status"'
            f' WHERE {RECENT} AND {SITE} GROUP BY "radio") WHERE "b" < 20'
        ),
        steps((0, GREEN), (1, ORANGE)),
    )
    return [*panels, low]


def _list(t: Say) -> object:
    columns = {
        "name": t("单元", "unit"),
        "radio": t("电台", "radio"),
        "state_code": t("状态", "state"),
        "heard_s": t("上次收到", "last heard"),
        "fix_s": t("距上次定位", "without a fix for"),
        "fix_share": t("定位率", "fix rate"),
        "fixes": t("定位数", "fixes"),
        "battery_pct": t("电量", "battery"),
        "rssi_dbm": t("信号", "signal"),
    }
    joined = DataTransformerConfig(
        id_val="joinByField", options={"byField": "radio", "mode": "outer"}
    )
    share = DataTransformerConfig(
        id_val="calculateField",
        options={
            "mode": "binary",
            "alias": "fix_share",
            "binary": {"left": "fixes", "operator": "/", "right": "reports"},
            "replaceFields": False,
        },
    )
    listed = rows(
        t("电台清单（最差在上）", "radios, worst first"),
        t(
            "定位率：所选时间内有效定位占全部报告的比例。点击电台号看它的曲线。",
            "Fix rate: valid fixes among all reports of the chosen time. A click on a radio"
            " shows its graphs.",
        ),
        Box(0, 4, 24, 16),
        [table(NOW_BY_RADIO), table(FIXES), table(REPORTS)],
        columns,
        sort=("heard_s", True),
        steps_before=[joined, share],
    )
    listed = column(listed, columns["state_code"], mappings=unit_states(t))
    age = step_values((None, "transparent"), (60, YELLOW), (600, RED))
    listed = column(listed, columns["heard_s"], unit=AGE, thresholds=age)
    listed = column(listed, columns["fix_s"], unit=AGE, thresholds=age)
    good = step_values((None, RED), (0.4, ORANGE), (0.8, GREEN))
    listed = column(listed, columns["fix_share"], unit="percentunit", thresholds=good)
    battery = step_values((None, RED), (20, YELLOW), (40, GREEN))
    listed = column(listed, columns["battery_pct"], unit="percent", thresholds=battery)
    signal = step_values((None, RED), (-105, YELLOW), (-95, GREEN))
    listed = column(listed, columns["rssi_dbm"], unit="dBm", thresholds=signal)
    address = f"/d/{'pdt-radios' + t('', '-en')}?var-radio=${{__value.raw}}"
    return column(listed, columns["radio"], links=[(t("曲线", "graphs"), address)])


def _graphs(t: Say) -> list[object]:
    by = '"radio"'
    return [
        lines(
            t("电量", "battery"),
            t("所选电台", "the chosen radios"),
            Box(0, 20, 8, 8),
            [series(per("last", "battery_pct", "radio_status", RADIO, by), "$tag_radio")],
            unit="percent",
            interval="1m",
        ),
        lines(
            t("信号", "signal"),
            t("所选电台；越接近 0 越强", "the chosen radios; nearer to 0 is stronger"),
            Box(8, 20, 8, 8),
            [series(per("last", "rssi_dbm", "radio_status", RADIO, by), "$tag_radio")],
            unit="dBm",
            interval="1m",
            floor=None,
        ),
        lines(
            t("每分钟定位数", "fixes per minute"),
            t(
                "所选电台的有效定位，不含正在计的这一分钟",
                "valid fixes of the chosen radios, without the minute that is running",
            ),
            Box(16, 20, 8, 8),
            [
                series(per_minute(f"{SITE} AND {RADIO}", by), "$tag_radio"),
            ],
            interval="1m",
        ),
    ]
