"""The dashboards and alert rules as files, and what Grafana makes of their queries.

No Grafana runs in the tests: its servers come neither from Debian nor from a package index. What it
fills into an InfluxQL query is written down here from its documentation.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
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


def choices(dashboard: str, variable: str) -> dict[str, str]:
    """What a variable with fixed values offers, by name."""
    options = variables(DASHBOARDS[dashboard])[variable]["options"]
    return {option["text"]: option["value"] for option in options}


def offered(query: Callable[[str], list[dict[str, Any]]], variable: str, text: str) -> set[str]:
    """What a variable offers whose query is ``text``: the second column, as Grafana reads it."""
    rows = query(text)
    return {row["value"] if "value" in row else row[variable] for row in rows}


def chosen_in(dashboard: str, text: str, chosen: Mapping[str, str]) -> str:
    """The text with a value for each variable: the given one, else what is chosen at first."""
    values: dict[str, str] = {
        name: variable.get("allValue") or variable.get("current", {}).get("value", "")
        for name, variable in variables(DASHBOARDS[dashboard]).items()
    }
    values |= chosen
    return re.sub(r"\$\{?([a-z_]+)(:raw)?\}?", lambda match: values[match[1]], text)


def filled(
    asked: Asked, at: Instant, chosen: Mapping[str, str], *, hours: float = 1.0, until_s: float = 61
) -> str:
    """The query as it leaves Grafana: variables, the time range, some thousand intervals of it.

    The range is of some ``hours``, until ``until_s`` seconds after the moment.
    """
    until_ms = at // 1_000_000 + round(until_s * 1000)
    from_ms = until_ms - round(hours * 3_600_000)
    text: str = asked.target["query"]
    text = text.replace("$timeFilter", f"time >= {from_ms}ms and time <= {until_ms}ms")
    text = text.replace("$__interval", f"{max(2, round(hours * 2))}s").replace(
        "${__to}", str(until_ms)
    )
    return at_moment(chosen_in(asked.dashboard, text, chosen), at)
