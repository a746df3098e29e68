"""docs/operations.md names every log event, metric and reason that the code has, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.model.quantities import Instant
from gateway.model.views import LinkView
from gateway.reasons import _WORDS
from gateway.runtime.counters import Counters
from gateway.runtime.health import Health, Metrics, SinkHealth

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+\Z")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> set[str]:
    """What stands in backticks in the first column of the tables of ``text``."""
    rows = re.findall(r"^\| ([^|]*`[^|]+) \|", text, re.MULTILINE)
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def calls() -> Iterator[ast.Call]:
    for folder in ("gateway", "drivers"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and node.args:
                    yield node


def is_log_call(call: ast.Call) -> bool:
    """``log.info(…)``, and ``level(…)`` where a method of the log was chosen before."""
    if isinstance(call.func, ast.Name):
        return call.func.id == "level"
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "log"
    )


def texts(node: ast.AST) -> set[str]:
    return {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_every_log_event_is_listed_and_no_other() -> None:
    logged = [call for call in calls() if is_log_call(call)]
    events = {name for call in logged for name in texts(call.args[0]) if EVENT.match(name)}
    assert len(logged) > 30
    assert len(events) > 25
    assert all(any(EVENT.match(name) for name in texts(call.args[0])) for call in logged)
    assert first_cells(section("Log")) == events


def test_every_metric_is_listed_and_no_other() -> None:
    counters = Counters()
    account = counters.account()
    health = Health(
        is_accepting=True, uptime_s=1, loop_lag_ms=1, memory_mib=1, events=account, links={},
        sinks=[SinkHealth(name="mqtt", state="up")],
    )  # fmt: skip
    link = LinkView(link_id="a", driver="d", place="p", state="up", since=Instant(1))
    text = Metrics(counters, lambda: health, lambda: [link]).text().decode()
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert len(types) > 10
    listed = first_cells(section("Metrics"))
    assert {name for name in listed if name.startswith("pdt_")} == set(types)


def test_every_reason_of_a_link_to_drop_is_listed_and_no_other() -> None:
    dropped = [
        name
        for call in calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr == "dropped"
        for name in texts(call.args[0])
    ]
    refusals = {"not_allowed", "too_many_peers", "vanished"}  # what a TCP listener says at its door
    source = (ROOT / "gateway/links/tcp.py").read_text(encoding="utf-8")
    assert all(f'"{reason}"' in source for reason in refusals)
    table = section("Refused frames").split("Dropped before any driver", 1)[1]
    assert first_cells(table) == set(dropped) | refusals


def test_reasons_of_a_lost_link_are_in_the_words_of_the_log() -> None:
    table = section("What the states mean").split("| `why` |", 1)[1].split("\n### ", 1)[0]
    said = re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)[1:]
    words = set(_WORDS.values())
    for cell in said:
        for reason in cell.split(", "):
            assert reason.partition(" (")[0] in words, reason


def test_every_state_of_units_links_and_sinks_is_explained() -> None:
    table = first_cells(section("What the states mean"))
    for state in ("connecting", "up", "silent", "down", "behind"):
        assert state in table
    for state in ("fresh_fix", "old_fix", "no_fix", "silent", "off"):
        assert state in table


def test_sizes_are_those_that_were_measured() -> None:
    figures = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    rows = r"^\| (?:one position in|most memory of) ([^|]+?)(?: meanwhile)? \| (\w+) \| ([\d.,]+)"
    measured = {
        (name, unit): float(value.replace(",", ""))
        for name, unit, value in re.findall(rows, figures, re.MULTILINE)
    }
    sizes = PAGE.split("### Sizes", 1)[1].split("\n## ", 1)[0]
    said = {
        (name.replace("`", ""), unit): float(value)
        for name, value, unit in re.findall(
            r"^\| ([^|]+) \| (\d+) (bytes|MiB)", sizes, re.MULTILINE
        )
    }
    for place, found in {
        ("outbox.db", "bytes"): ("outbox", "bytes"),
        ("desk.db", "bytes"): ("desk log", "bytes"),
        ("InfluxDB", "bytes"): ("InfluxDB 2.7", "bytes"),
        ("InfluxDB 1.6", "MiB"): ("InfluxDB 1.6", "MiB"),
        ("InfluxDB 2.7", "MiB"): ("InfluxDB 2.7", "MiB"),
    }.items():
        assert said[place] == pytest.approx(measured[found], rel=0.15), place


def test_every_port_that_is_published_or_preset_is_listed() -> None:
    table = first_cells_of_ports()
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    shipped = (ROOT / "config" / "gateway.toml").read_text(encoding="utf-8")
    broker = (ROOT / "config" / "mosquitto.conf").read_text(encoding="utf-8")
    ports = set(re.findall(r"- 127\.0\.0\.1:(\d+):", compose))
    ports |= set(re.findall(r"^listener (\d+)", broker, re.MULTILINE))
    ports |= set(re.findall(r'^#?(?:listen|remote|url) = "[^"]*:(\d+)"', shipped, re.MULTILINE))
    assert len(ports) > 8
    assert ports - {"0"} <= table


def first_cells_of_ports() -> set[str]:
    """The numbers in the first column of the table of ports."""
    table = PAGE.split("### Ports", 1)[1].split("\n### ", 1)[0]
    cells = re.findall(r"^\| ([\d, ]+)/", table, re.MULTILINE)
    return {number for cell in cells for number in cell.split(", ")}
