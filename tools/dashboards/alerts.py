"""The alert rules: what somebody must be told of even when nobody looks at a screen.

Grafana fills environment variables into provisioning files wherever a ``$`` stands, so none stands
here: times are said in InfluxQL, and templates use ``.Labels``.
"""

from typing import NamedTuple

from tools.dashboards.queries import KNOWN, SOURCE, SOURCE_UID, points_of_sites

FOLDER_TITLE, FOLDER_UID = "PDT 指挥", "pdt"
GROUP = "pdt"
EVERY = "10s"
WINDOW_S = 600


class Alert(NamedTuple):
    """One rule: ``query`` gives a number, and it fires above or below ``limit``."""

    uid: str
    title: str
    says: str
    do: str
    query: str
    limit: float
    when: str  # gt or lt
    lasting: str
    severity: str
    dashboard: str
    no_data: str = "OK"


ALERTS = (
    Alert(
        "pdt-not-taken",
        "紧急报警无人接警 Emergency not taken",
        "{{ .Labels.unit }} {{ .Labels.radio }} 已报警，30 秒内无人接警。"
        " An emergency has waited for more than 30 s.",
        "到席位页面接警。 Take it on the desk page.",
        # The last word of each counts, however old: a gateway that dies has taken none, and what it
        # wrote last may be less than 30. So the alert counts the seconds and not the figure.
        f'SELECT last("waiting_s") FROM "emergency" WHERE {KNOWN}'
        ' GROUP BY "site", "team", "unit", "radio"',
        0,
        "gt",
        "30s",
        "critical",
        "pdt-command-post",
        "KeepLast",
    ),
    Alert(
        "pdt-gateway-silent",
        "网关无数据 Gateway silent",
        "{{ .Labels.site }} 网关一分钟没有写入数据：看不到新的报警。"
        " The gateway has written nothing for a minute: new emergencies are not seen here.",
        "看网关是否在运行，时序库是否可达。 Is the gateway running, is the time series reachable?",
        points_of_sites("time > now() - 1m"),
        1,
        "lt",
        "0s",
        "critical",
        "pdt-links",
        "Alerting",
    ),
    Alert(
        "pdt-not-accepting",
        "网关停止接收 Gateway not accepting",
        "{{ .Labels.site }}：发件箱写不进，电台得不到确认。"
        " The outbox cannot write: no radio gets a receipt.",
        "看磁盘空间和磁盘错误。 Look at disk space and disk errors.",
        'SELECT count("is_accepting") FROM "gateway" WHERE time > now() - 45s'
        ' AND "is_accepting" = false GROUP BY "site"',
        0,
        "gt",
        "0s",
        "critical",
        "pdt-links",
    ),
    Alert(
        "pdt-link-down",
        "链路断开或静默 Link down or silent",
        "链路 {{ .Labels.link }} 断开或静默超过一分钟。"
        " Link {{ .Labels.link }} has been down or silent for more than a minute.",
        "看链路页面的原因一栏，再查插头、电源、网络。"
        " See why on the links dashboard, then plug, power, network.",
        'SELECT last("state_code") FROM "link" WHERE time > now() - 45s GROUP BY "site", "link"',
        1,
        "gt",
        "1m",
        "warning",
        "pdt-links",
    ),
    Alert(
        "pdt-sink-behind",
        "写入滞后 Sink behind",
        "{{ .Labels.site }}：最旧一条五分钟仍未交付。"
        " The oldest row has waited for more than five minutes.",
        "看哪一路滞后：消息代理、时序库或席位日志。"
        " See which one: broker, time series or desk log.",
        'SELECT last("sinks_oldest_age_s") FROM "gateway" WHERE time > now() - 45s GROUP BY "site"',
        300,
        "gt",
        "1m",
        "warning",
        "pdt-links",
    ),
)


def rule_file() -> dict[str, object]:
    """The provisioning file of all rules."""
    group = {
        "orgId": 1,
        "name": GROUP,
        "folder": FOLDER_TITLE,
        "interval": EVERY,
        "rules": [rule(each) for each in ALERTS],
    }
    return {"apiVersion": 1, "groups": [group]}


def rule(alert: Alert) -> dict[str, object]:
    """One rule: A asks, B takes the last value, C compares."""
    return {
        "uid": alert.uid,
        "title": alert.title,
        "condition": "C",
        "for": alert.lasting,
        "noDataState": alert.no_data,
        "execErrState": "Error",
        "isPaused": False,
        "labels": {"severity": alert.severity, "product": "pdt"},
        "annotations": {
            "summary": alert.says,
            "description": alert.do,
            "__dashboardUid__": alert.dashboard,
            "__panelId__": "1",
        },
        "data": [
            _data("A", SOURCE_UID, WINDOW_S, _query(alert.query)),
            _data("B", "__expr__", 0, _expression("B", "reduce", "A", reducer="last")),
            _data(
                "C", "__expr__", 0, _expression("C", "threshold", "B", conditions=[_limit(alert)])
            ),
        ],
    }


def _data(ref_id: str, uid: str, window_s: int, model: dict[str, object]) -> dict[str, object]:
    return {
        "refId": ref_id,
        "datasourceUid": uid,
        "queryType": "",
        "relativeTimeRange": {"from": window_s, "to": 0},
        "model": model,
    }


def _query(text: str) -> dict[str, object]:
    return {
        "refId": "A",
        "datasource": SOURCE.to_json(),
        "query": text,
        "rawQuery": True,
        "resultFormat": "time_series",
        "intervalMs": 1000,
        "maxDataPoints": 43200,
    }


def _expression(ref_id: str, kind: str, of: str, **more: object) -> dict[str, object]:
    source = {"type": "__expr__", "uid": "__expr__"}
    return {"refId": ref_id, "datasource": source, "type": kind, "expression": of, **more}


def _limit(alert: Alert) -> dict[str, object]:
    return {
        "evaluator": {"type": alert.when, "params": [alert.limit]},
        "operator": {"type": "and"},
        "query": {"params": ["B"]},
        "reducer": {"type": "last", "params": []},
        "type": "query",
    }
