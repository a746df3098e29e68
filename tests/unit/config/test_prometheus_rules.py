"""config/prometheus-rules.yml: Prometheus accepts it, and it names only what the gateway has."""

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from gateway.model.quantities import Instant
from gateway.model.views import LinkView
from gateway.runtime.counters import DROP_REASONS, Counters
from gateway.runtime.health import Health, Metrics, Resources, SinkHealth
from tests.conftest import find_tool

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "config" / "prometheus-rules.yml"
RULES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"][0]["rules"]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def exposition(counters: Counters) -> str:
    """What ``/metrics`` says of a gateway with one link, and a broker that shows a certificate."""
    sinks = [SinkHealth(name=name, state="up") for name in ("desk", "influx")]
    health = Health(
        is_accepting=True, uptime_s=1, loop_lag_ms=1, memory_mib=1, events=counters.account(),
        links={}, sinks=sinks,
    )  # fmt: skip
    link = LinkView(link_id="a", driver="jt808", place="p", state="up", since=Instant(1))
    found = Resources(certificates_s={"broker": 1.0})
    return Metrics(counters, lambda: health, lambda: [link], lambda: found).text().decode()


def after_a_refused_frame() -> str:
    """The one count that an alarm names and that is not there from the start."""
    counters = Counters()
    counters.frames_rejected["a", "checksum"] += 1
    return exposition(counters)


def samples(text: str) -> dict[str, list[str]]:
    """Names and label sets."""
    found: dict[str, list[str]] = {}
    for name, labels in re.findall(r"^(\w+)(\{[^}]*\})? ", text, re.MULTILINE):
        found.setdefault(name, []).append(labels)
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    found = samples(after_a_refused_frame())
    names = set(re.findall(r"\bpdt_\w+", rule["expr"]))
    assert names <= set(found), names - set(found)
    assert names or rule["alert"] == "GatewayAway"
    for name, label, value in re.findall(r'(pdt_\w+)\{(\w+)=~?"([^"]*)"', rule["expr"]):
        for one in value.split("|"):
            assert any(f'{label}="{one}"' in labels for labels in found[name]), (name, one)
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert any(f'{label}="' in labels for name in names for labels in found[name]), label


def test_what_an_alarm_waits_for_to_grow_is_there_before_it_does() -> None:
    """Prometheus sees no growth in a series that is born with its first count."""
    found = samples(exposition(Counters()))
    waited_for = {name for rule in RULES for name in re.findall(r"increase\((\w+)", rule["expr"])}
    assert len(waited_for) == 5
    assert waited_for <= found.keys()
    assert found["pdt_codec_failures_total"] == ['{driver="jt808"}']
    assert set(found["pdt_pipeline_events_dropped_total"]) == {
        f'{{reason="{reason}"}}' for reason in DROP_REASONS
    }
    assert set(found["pdt_sink_rejected_rows_total"]) == {'{sink="desk"}', '{sink="influx"}'}


def test_every_alarm_is_explained_and_no_other() -> None:
    section = PAGE.split("\n## Alarms of Prometheus\n", 1)[1].split("\n## ", 1)[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert explained == {rule["alert"] for rule in RULES}


@pytest.mark.needs("promtool")
def test_prometheus_accepts_the_rules_and_the_metrics() -> None:
    tool = find_tool("promtool")
    assert tool is not None
    checked = subprocess.run(
        [tool, "check", "rules", FILE], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout
    linted = subprocess.run(
        [tool, "check", "metrics"],
        input=after_a_refused_frame(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


# Prometheus evaluates them over invented series, one point every 15 s: `_xn` are n without one,
# `axn` is a and n times more of it.


class Case(NamedTuple):
    """Series, and what a person is told at ``fires_at``; nobody is told of it at ``quiet_at``."""

    alert: str
    series: dict[str, str]
    quiet_at: str
    fires_at: str
    labels: dict[str, str]
    says: str


UP = 'up{job="pdt-gateway"}'
JOB = {"job": "pdt-gateway"}
OLD = {"pdt_gateway_uptime_seconds": "90000+15x400"}  # has run for a day
YOUNG = {"pdt_gateway_uptime_seconds": "_x20 9+15x400"}  # starts after five minutes
BORN = "_x20 1x400"
GROWS = "0x20 1x400"
DROPPED = 'pdt_pipeline_events_dropped_total{reason="not_stored"}'
REFUSED = 'pdt_sink_rejected_rows_total{sink="influx"}'
FAILED = 'pdt_codec_failures_total{driver="jt808"}'
AWAY_SAYS = "网关无响应 The gateway does not answer"
SET_ASIDE_SAYS = "influx 拒收数据 refuses rows for good: pdt-gateway outbox"
FAILED_SAYS = "驱动故障 Driver jt808 broke on a frame: report it"
DROPPED_SAYS = "数据未保存 Events were not stored (not_stored): the disk"
COMMITS_SAYS = "写盘失败 Commits fail: the disk is full or broken"
THINNED_SAYS = "发件箱已满 Positions were given up for room: a sink was away too long"
CASES = (
    Case("GatewayAway", {UP: "1x20 0x20"}, "5m15s", "6m", JOB, AWAY_SAYS),
    Case("GatewayAway", {}, "15s", "1m", JOB, AWAY_SAYS),
    Case(
        "GatewayNotAccepting", {"pdt_gateway_accepting": "1x20 0x20"}, "5m", "5m30s", {},
        "网关不再接收新数据 No radio is acknowledged: people must use voice",
    ),
    Case(
        "GatewayRestarts",
        {"pdt_gateway_uptime_seconds": "_x20 9 24 9 24 9 24 39 9 24x20"}, "6m", "7m30s", {},
        "网关反复重启 The gateway has started 3 times in 15 minutes",
    ),
    Case(
        "EmergencyNotDelivered",
        {'pdt_outbox_oldest_age_seconds{sink="desk"}': "0x20 0+15x20"}, "6m", "7m",
        {"sink": "desk"}, "席位记录滞后 The desk's log is 1m 45s behind",
    ),
    Case(
        "SinkDown", {'pdt_sink_up{sink="mqtt"}': "1x20 0x40"}, "7m", "7m30s", {"sink": "mqtt"},
        "mqtt 无法送达 cannot be delivered to",
    ),
    Case(
        "SinkBehind", {'pdt_outbox_oldest_age_seconds{sink="influx"}': "0+15x120"}, "20m", "20m30s",
        {"sink": "influx"}, "influx 滞后 is 20m 30s behind",
    ),
    Case(
        "RowsSetAside", {REFUSED: BORN, **YOUNG}, "4m45s", "5m", {"sink": "influx"},
        SET_ASIDE_SAYS,
    ),
    Case(
        "RowsSetAside", {REFUSED: GROWS, **OLD}, "5m", "5m30s", {"sink": "influx"},
        SET_ASIDE_SAYS,
    ),
    Case(
        "LinkDown", {'pdt_link_state{link="a",state="down"}': "_x20 1x40"}, "5m15s", "5m30s",
        {"link": "a", "state": "down"}, "链路断开 Link a is down",
    ),
    Case(
        "LinkSilent", {'pdt_link_state{link="a",state="silent"}': "0x20 1x40"}, "7m", "7m30s",
        {"link": "a", "state": "silent"}, "链路无数据 Link a says nothing",
    ),
    Case(
        "FramesRefused",
        {
            'pdt_codec_frames_rejected_total{link="a",reason="checksum"}': "_x20 1+15x80",
            'pdt_codec_frames_rejected_total{link="a",reason="length"}': "_x20 1+15x80",
        },
        "17m", "18m", {"link": "a"}, "a 报文异常 refuses 2 frames a second",
    ),
    Case("DriverFailed", {FAILED: BORN, **YOUNG}, "4m45s", "5m", {"driver": "jt808"}, FAILED_SAYS),
    Case("DriverFailed", {FAILED: GROWS, **OLD}, "5m", "5m30s", {"driver": "jt808"}, FAILED_SAYS),
    Case(
        "EventsDropped", {DROPPED: BORN, **YOUNG}, "4m45s", "5m", {"reason": "not_stored"},
        DROPPED_SAYS,
    ),
    Case(
        "EventsDropped", {DROPPED: GROWS, **OLD}, "5m", "5m30s", {"reason": "not_stored"},
        DROPPED_SAYS,
    ),
    Case(
        "CommitsFail", {"pdt_outbox_commits_failed_total": BORN, **YOUNG}, "4m45s", "5m", {},
        COMMITS_SAYS,
    ),
    Case(
        "CommitsFail", {"pdt_outbox_commits_failed_total": GROWS, **OLD}, "5m", "5m30s", {},
        COMMITS_SAYS,
    ),
    Case(
        "PositionsThinned", {"pdt_outbox_thinned_total": BORN, **YOUNG}, "4m45s", "5m", {},
        THINNED_SAYS,
    ),
    Case(
        "PositionsThinned", {"pdt_outbox_thinned_total": GROWS, **OLD}, "5m", "5m30s", {},
        THINNED_SAYS,
    ),
    Case(
        "LoopLate", {"pdt_gateway_loop_lag_seconds": "0.01x20 0.5x40"}, "7m", "7m30s", {},
        "网关迟滞 The event loop is 500ms late: the machine is busy",
    ),
    Case(
        "MemoryHigh", {"pdt_gateway_memory_bytes": "1e8x20 3e8x40"}, "10m", "10m30s", {},
        "内存偏高 The gateway uses 286.1MiB",
    ),
    Case(
        "CertificateEnds",
        {'pdt_certificate_expires_seconds{certificate="broker"}': "2592600-15x400"},
        "69m", "72m", {"certificate": "broker"},
        "证书将到期 The certificate broker ends in 29d 22h 58m 0s",
    ),
    Case(
        "FilesLeak", {"pdt_gateway_open_files": "30+1x400"}, "50m", "70m", {},
        "描述符增长 The gateway opens 5.76k more files a day",
    ),
)  # fmt: skip


def written(case: Case) -> dict[str, Any]:
    """A case as promtool reads it."""
    (rule,) = (rule for rule in RULES if rule["alert"] == case.alert)
    alarm = {
        "exp_labels": {**rule["labels"], **case.labels},
        "exp_annotations": {"summary": case.says},
    }
    return {
        "interval": "15s",
        "input_series": [{"series": k, "values": v} for k, v in case.series.items()],
        "alert_rule_test": [
            {"alertname": case.alert, "eval_time": at, "exp_alerts": alarms}
            for at, alarms in ((case.quiet_at, list[Any]()), (case.fires_at, [alarm]))
        ],
    }


def evaluated(folder: Path, tests: list[dict[str, Any]]) -> None:
    """Let promtool run them; fails with what it says."""
    tool = find_tool("promtool")
    assert tool is not None
    file = folder / "test.yml"
    content = {"rule_files": [str(FILE)], "evaluation_interval": "15s", "tests": tests}
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    done = subprocess.run(
        [tool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("promtool")
def test_every_alarm_fires_when_it_should_and_says_what_it_means(tmp_path: Path) -> None:
    assert {case.alert for case in CASES} == {rule["alert"] for rule in RULES}
    evaluated(tmp_path, [written(case) for case in CASES])


@pytest.mark.needs("promtool")
def test_what_was_refused_yesterday_is_no_alarm_of_today(tmp_path: Path) -> None:
    """Nor is it when rows are aside no more, or when a Prometheus that was away comes back."""
    aside = 'pdt_sink_set_aside_rows{sink="influx"}'
    quiet: list[dict[str, str]] = [
        {REFUSED: "10x100", aside: "10x40 3x60", **OLD},
        {FAILED: "3x20 _x60 3x100", DROPPED: "3x20 _x60 3x100", **OLD},
    ]
    minutes = (1, 4, 11, 12, 21, 24)
    evaluated(
        tmp_path,
        [
            {
                "interval": "15s",
                "input_series": [{"series": k, "values": v} for k, v in series.items()],
                "alert_rule_test": [
                    {"alertname": name, "eval_time": f"{minute}m", "exp_alerts": []}
                    for name in ("RowsSetAside", "DriverFailed", "EventsDropped")
                    for minute in minutes
                ],
            }
            for series in quiet
        ],
    )
