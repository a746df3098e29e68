"""config/prometheus-rules.yml: Prometheus accepts it, and it names only what the gateway has."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.model.quantities import Instant
from gateway.model.views import LinkView
from gateway.runtime.counters import Counters
from gateway.runtime.health import Health, Metrics, SinkHealth
from tests.conftest import find_tool

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "config" / "prometheus-rules.yml"
RULES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"][0]["rules"]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def exposition() -> str:
    """What ``/metrics`` says when something of each kind has happened."""
    counters = Counters()
    counters.events_dropped.update(("outbox_full", "not_stored"))
    counters.frames_rejected["a", "checksum"] += 1
    counters.codec_failures["jt808"] += 1
    sinks = [SinkHealth(name=name, state="up") for name in ("desk", "influx")]
    health = Health(
        is_accepting=True, uptime_s=1, loop_lag_ms=1, memory_mib=1, events=counters.account(),
        links={}, sinks=sinks,
    )  # fmt: skip
    link = LinkView(link_id="a", driver="d", place="p", state="up", since=Instant(1))
    return Metrics(counters, lambda: health, lambda: [link]).text().decode()


def samples() -> dict[str, list[str]]:
    """Names and label sets."""
    found: dict[str, list[str]] = {}
    for name, labels in re.findall(r"^(\w+)(\{[^}]*\})? ", exposition(), re.MULTILINE):
        found.setdefault(name, []).append(labels)
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    found = samples()
    names = set(re.findall(r"\bpdt_\w+", rule["expr"]))
    assert names <= set(found), names - set(found)
    assert names or rule["alert"] == "GatewayAway"
    for name, label, value in re.findall(r'(pdt_\w+)\{(\w+)=~?"([^"]*)"', rule["expr"]):
        for one in value.split("|"):
            assert any(f'{label}="{one}"' in labels for labels in found[name]), (name, one)
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert any(f'{label}="' in labels for name in names for labels in found[name]), label


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
        [tool, "check", "metrics"], input=exposition(), capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.needs("promtool")
def test_an_alarm_fires_when_it_should(tmp_path: Path) -> None:
    """Prometheus evaluates them over invented series."""
    tool = find_tool("promtool")
    assert tool is not None
    test = tmp_path / "test.yml"
    test.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(FILE)],
                "evaluation_interval": "5s",
                "tests": [
                    {
                        "interval": "5s",
                        "input_series": [
                            {"series": "pdt_gateway_accepting", "values": "1x11 0x20"},
                            {"series": 'pdt_link_state{link="a",state="down"}', "values": "0x40"},
                        ],
                        "alert_rule_test": [
                            {
                                "alertname": "GatewayNotAccepting",
                                "eval_time": "50s",
                                "exp_alerts": [],
                            },
                            {
                                "alertname": "GatewayNotAccepting",
                                "eval_time": "75s",
                                "exp_alerts": [
                                    {
                                        "exp_labels": {"severity": "critical"},
                                        "exp_annotations": next(
                                            rule["annotations"]
                                            for rule in RULES
                                            if rule["alert"] == "GatewayNotAccepting"
                                        ),
                                    }
                                ],
                            },
                            {"alertname": "LinkDown", "eval_time": "100s", "exp_alerts": []},
                        ],
                    }
                ],
            },
            allow_unicode=True,
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [tool, "test", "rules", test], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
