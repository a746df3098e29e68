"""The dashboards and alert rules as files, and what Grafana makes of their queries.

No Grafana runs in the tests: its servers come neither from Debian nor from a package index. What it
fills into an InfluxQL query is written down here from its documentation.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.model.quantities import Instant

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards" / "grafana"
FILES = sorted((FOLDER / "dashboards").rglob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES
}
RULES: dict[str, Any] = json.loads(
    (FOLDER / "provisioning/alerting/rules.json").read_text(encoding="utf-8")
)
(GROUP,) = RULES["groups"]


class Asked(NamedTuple):
    """One query of one panel."""

    dashboard: str
    panel: str
    ref_id: str
    target: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.dashboard} · {self.panel} · {self.ref_id}"


def queries() -> Iterator[Asked]:
    """Every query of every panel of every dashboard."""
    for uid, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield Asked(uid, panel["title"], target["refId"], target)


def rule_queries() -> Iterator[tuple[str, str]]:
    """Every query of every alert rule, by the rule's uid."""
    for rule in GROUP["rules"]:
        for part in rule["data"]:
            if part["datasourceUid"] != "__expr__":
                yield rule["uid"], part["model"]["query"]


def variables(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The variables by name."""
    return {each["name"]: each for each in dashboard["templating"]["list"]}


def at_moment(text: str, at: Instant) -> str:
    """The query as of a moment, so that an answer does not depend on how fast a test gets there."""
    return text.replace("now()", f"'{at.text()}'")


def filled(asked: Asked, at: Instant, chosen: dict[str, str]) -> str:
    """The query as it leaves Grafana: variables, the time range of an hour, an interval of 2 s."""
    values: dict[str, str] = {
        name: variable.get("allValue") or variable.get("current", {}).get("value", "")
        for name, variable in variables(DASHBOARDS[asked.dashboard]).items()
    } | chosen
    until_ms = at // 1_000_000 + 1000
    text: str = asked.target["query"]
    text = text.replace("$timeFilter", f"time >= {until_ms - 3_600_000}ms and time <= {until_ms}ms")
    text = text.replace("$__interval", "2s")

    def value(match: re.Match[str]) -> str:
        return values[match["name"]]

    text = re.sub(r"\$\{?(?P<name>[a-z_]+)(:raw)?\}?", value, text)
    return at_moment(text, at)
