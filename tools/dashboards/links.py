"""Does the gateway hear, and does it hand on? Links, refused frames, sinks, the process itself."""

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import statetimeline
from grafana_foundation_sdk.models import common, dashboard

from tools.dashboards.panels import (
    AGE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Box,
    Frame,
    Say,
    any_from,
    big,
    column,
    each_row,
    lines,
    link_states,
    placed,
    rows,
    step_values,
    steps,
    words,
)
from tools.dashboards.queries import (
    NOW,
    SITE,
    InfluxQuery,
    figure_now,
    not_accepting_now,
    per,
    series,
    site_figure_now,
    table,
    tag_values,
)

LINK = '"link" =~ /^$link$/'
OF_SITE, OF_LINK = '"site"', '"site", "link"'  # two sites may name a link alike
NAME_OF_LINK = "$tag_site $tag_link"


def build(t: Say) -> Frame:
    """The dashboard."""
    frame = Frame(
        t,
        "pdt-links",
        t("链路与网关", "Links and gateway"),
        t("收得到吗？交得出吗？", "does it hear, and does it hand on?"),
        since="now-3h",
        refresh="10s",
    )
    frame.choice("link", t("链路", "link"), tag_values("link", "link"))
    frame.add(*_numbers(t), _list(t), _timeline(t), *_flow(t), *_sinks(t), *_process(t))
    return frame


def _numbers(t: Say) -> list[object]:
    states = link_states(t)
    marks = {"0": steps((0, GREEN)), "2": steps((0, GREEN), (1, ORANGE))}
    counts = [
        big(
            f"{t('链路', 'links ')}{states[code][0]}",
            t("此刻处于该状态的链路数", "links in this state now"),
            Box(3 * place, 0, 3, 4),
            figure_now(field),
            marks.get(code, steps((0, GREEN), (1, RED))),
        )
        for place, (code, field) in enumerate(
            (("0", "links_up"), ("2", "links_silent"), ("3", "links_down"))
        )
    ]
    return [
        *counts,
        big(
            t("接收事件", "accepting"),
            t(
                "“停收”时电台得不到确认：磁盘已满或写不进",
                "when not, no radio gets a receipt: disk",
            ),
            Box(9, 0, 3, 4),
            not_accepting_now(),
            steps((0, GREEN), (1, RED)),
            empty=t("无数据", "silent"),
            mappings=[
                *words({"0": (t("接收", "yes"), GREEN)}),
                *any_from(1, t("停收", "no"), RED),
            ],
            size=48,
        ),
        big(
            t("最旧未交付", "outbox age"),
            t("发件箱中最旧一条等了多久", "how long the oldest row of the outbox has waited"),
            Box(12, 0, 4, 4),
            figure_now("sinks_oldest_age_s", of="max"),
            steps((0, GREEN), (30, YELLOW), (300, RED)),
            unit=AGE,
        ),
        each_site(
            t("账目差", "balance"),
            t(
                "收到 − 已存 − 重复 − 丢弃 − 在途；不为 0 即有未计之数，请报告",
                "received less stored, refreshed, dropped, waiting; if not 0, please report it",
            ),
            Box(16, 0, 4, 4),
            "events_difference",
            steps((0, GREEN), (1, RED), below=RED),
        ),
        each_site(
            t("已运行", "uptime"),
            t("自启动以来", "since the start"),
            Box(20, 0, 4, 4),
            "uptime_s",
            steps((0, GREEN)),
            unit="dtdurations",
            empty=t("无数据", "silent"),
            size=36,
        ),
    ]


def each_site(title: str, about: str, box: Box, field: str, thresholds: Any, **more: Any) -> Any:
    """A figure that is of no use put together: a tile with a value for each site."""
    return (
        big(title, about, box, site_figure_now(field), thresholds, **more)
        .display_name("${__data.fields.site}")
        .reduce_options(each_row("/^n$/", 6))
    )


def _list(t: Say) -> object:
    columns = {
        "link": t("链路", "link"),
        "site": t("站点", "site"),
        "driver": t("驱动", "driver"),
        "state_code": t("状态", "state"),
        "state_s": t("持续", "for"),
        "quiet_s": t("上次收到", "last byte"),
        "peers": t("对端", "peers"),
        "rejected": t("拒绝帧", "refused frames"),
        "dropped": t("丢弃", "dropped"),
        "why": t("原因", "why"),
    }
    listed = rows(
        t("链路", "links"),
        t("自启动以来的计数；原因是给技术员看的", "counts since the start; the reason is for you"),
        Box(0, 4, 14, 10),
        [
            table(
                'SELECT last("state_code") AS "state_code", "state_s", "quiet_s", "peers",'
                f' "rejected", "dropped", "why" FROM "link" WHERE {NOW} AND {SITE}'
                ' GROUP BY "site", "link", "driver"'
            )
        ],
        columns,
        sort=("state_code", True),
    )
    listed = column(listed, columns["state_code"], mappings=link_states(t))
    listed = column(listed, columns["state_s"], unit=AGE)
    quiet = step_values((None, "transparent"), (60, YELLOW), (600, RED))
    return column(listed, columns["quiet_s"], unit=AGE, thresholds=quiet)


def _timeline(t: Say) -> object:
    asked = series(per("last", "state_code", "link", LINK, OF_LINK), NAME_OF_LINK)
    return (
        placed(
            statetimeline.Panel(),
            t("链路状态历史", "state of links over time"),
            t("每条链路一行", "a row for each link"),
            Box(14, 4, 10, 10),
            asked,
        )
        .interval("30s")  # a link is written every ten seconds
        .mappings(words(link_states(t)))
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(steps((0, GREEN), (1, YELLOW), (2, ORANGE), (3, RED)))
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.85)
        .merge_values(True)
    )


def _rate(field: str, measurement: str, every: str, *, by: str = "", where: str = "") -> str:
    more = f" AND {where}" if where else ""
    groups = f", {by}" if by else ""
    return (
        f'SELECT non_negative_derivative(last({field}), {every}) FROM "{measurement}"'
        f" WHERE $timeFilter AND {SITE}{more} GROUP BY time($__interval){groups}"
    )


def _flow(t: Say) -> list[object]:
    return [
        lines(
            t("字节每秒", "bytes per second"),
            t("每条链路收到的字节", "what each link received"),
            Box(0, 14, 8, 8),
            [series(_rate('"bytes_received"', "link", "1s", by=OF_LINK, where=LINK), NAME_OF_LINK)],
            unit="Bps",
        ),
        lines(
            t("事件每分钟", "events per minute"),
            t("收到、存下、重复", "received, stored, refreshed"),
            Box(8, 14, 8, 8),
            [
                series(_rate(f'"events_{name}"', "gateway", "1m", by=OF_SITE), f"$tag_site {shown}")
                for name, shown in (
                    ("received", t("收到", "received")),
                    ("stored", t("存下", "stored")),
                    ("refreshed", t("重复", "refreshed")),
                )
            ],
        ),
        lines(
            t("拒绝与丢弃（按原因）", "refused and dropped, by reason"),
            t(
                "自启动以来的累计；持续上升说明线路噪声、型号不符或有人捣乱",
                "counted since the start; a steady rise means noise, a wrong model or mischief",
            ),
            Box(16, 14, 8, 8),
            [
                series(
                    f'SELECT last(/^(rejected|dropped)_/) FROM "link" WHERE $timeFilter AND'
                    f" {SITE} AND {LINK} GROUP BY time($__interval), {OF_LINK} fill(null)",
                    f"{NAME_OF_LINK} $col",
                )
            ],
        ),
    ]


def _sinks(t: Say) -> list[object]:
    def of(field: str) -> InfluxQuery:
        return series(
            f'SELECT last(/^sinks_(desk|mqtt|influx|nmea)_{field}$/) FROM "gateway"'
            f" WHERE $timeFilter AND {SITE} GROUP BY time($__interval), {OF_SITE} fill(null)",
            "$tag_site $col",
        )

    return [
        lines(
            t("各路滞后", "sink lag"),
            t("最旧未确认的一条有多旧", "the age of the oldest row that a sink has not confirmed"),
            Box(0, 22, 12, 7),
            [of("oldest_age_s")],
            unit="s",
            thresholds=steps((0, "transparent"), (300, RED)),
        ),
        lines(
            t("各路未确认行数", "rows not confirmed"),
            t("等着交付的行数", "how many rows wait for a sink"),
            Box(12, 22, 12, 7),
            [of("behind_rows")],
        ),
    ]


def _process(t: Say) -> list[object]:
    return [
        lines(
            t("事件循环延迟", "loop lag"),
            t(
                "半分钟内最坏的一次；超过 250 毫秒请报告",
                "the worst of half a minute; over 250 ms: report",
            ),
            Box(0, 29, 12, 7),
            [series(per("max", "loop_lag_ms", "gateway", by=OF_SITE), "$tag_site")],
            unit="ms",
            thresholds=steps((0, "transparent"), (250, RED)),
        ),
        lines(
            t("内存", "memory"),
            t("网关进程占用", "resident memory of the gateway"),
            Box(12, 29, 12, 7),
            [series(per("last", "memory_mib", "gateway", by=OF_SITE), "$tag_site")],
            unit="mbytes",
        ),
    ]
