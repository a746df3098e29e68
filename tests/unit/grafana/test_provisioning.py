"""The provisioning files: keys that Grafana's documentation lists, and names that fit together.

Grafana ignores a key that it does not know, and refuses to start over a value that it cannot use;
so every key is held against the documented list, which stands here.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.grafana import DASHBOARDS, FOLDER, GROUP, ROOT, RULES, rule_queries
from tools.dashboards import alerts

FILES = sorted((FOLDER / "provisioning").rglob("*.*"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
GRAFANA = COMPOSE["services"]["grafana"]

# As documented for Grafana 12: "Provision Grafana" and "Use configuration files to provision".
KEYS = {
    "datasources": {
        "": {"apiVersion", "datasources", "deleteDatasources", "prune"},
        "datasources": {
            "name", "type", "access", "orgId", "uid", "url", "user", "database", "basicAuth",
            "basicAuthUser", "withCredentials", "isDefault", "jsonData", "secureJsonData",
            "version", "editable",
        },
        "datasources.jsonData": {
            "version", "dbName", "httpMode", "timeInterval", "maxSeries", "organization",
            "defaultBucket", "insecureGrpc", "tlsAuth", "tlsAuthWithCACert", "tlsSkipVerify",
            "httpHeaderName1",
        },
        "datasources.secureJsonData": {"password", "token", "httpHeaderValue1", "tlsCACert"},
    },
    "dashboards": {
        "": {"apiVersion", "providers"},
        "providers": {
            "name", "orgId", "folder", "folderUid", "type", "disableDeletion",
            "updateIntervalSeconds", "allowUiUpdates", "options",
        },
        "providers.options": {"path", "foldersFromFilesStructure"},
    },
    "alerting": {
        "": {"apiVersion", "groups", "contactPoints", "policies"},
        "groups": {"orgId", "name", "folder", "interval", "rules"},
        "groups.rules": {
            "uid", "title", "condition", "data", "dashboardUid", "panelId", "noDataState",
            "execErrState", "for", "annotations", "labels", "isPaused", "notification_settings",
        },
        "groups.rules.data": {
            "refId", "queryType", "relativeTimeRange", "datasourceUid", "model",
        },
        "groups.rules.data.relativeTimeRange": {"from", "to"},
        "contactPoints": {"orgId", "name", "receivers"},
        "contactPoints.receivers": {"uid", "type", "settings", "disableResolveMessage"},
        "contactPoints.receivers.settings": {
            "url", "httpMethod", "username", "password", "authorization_scheme",
            "authorization_credentials", "maxAlerts", "title", "message",
        },
        "policies": {
            "orgId", "receiver", "group_by", "matchers", "object_matchers", "mute_time_intervals",
            "group_wait", "group_interval", "repeat_interval", "routes", "continue",
        },
        "policies.routes": {
            "receiver", "group_by", "matchers", "object_matchers", "mute_time_intervals",
            "group_wait", "group_interval", "repeat_interval", "routes", "continue",
        },
    },
}  # fmt: skip
FREE = {"groups.rules.annotations", "groups.rules.labels", "groups.rules.data.model"}


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def unknown_keys(kind: str, value: Any, at: str = "") -> set[str]:
    if isinstance(value, list):
        return set().union(*(unknown_keys(kind, each, at) for each in value))
    if not isinstance(value, dict) or at in FREE:
        return set()
    wrong = {f"{at}.{key}" for key in value if key not in KEYS[kind].get(at, set())}
    for key, inner in value.items():
        wrong |= unknown_keys(kind, inner, f"{at}.{key}".lstrip("."))
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_key_is_a_documented_one(path: Path) -> None:
    content = read(path)
    assert content["apiVersion"] == 1
    assert not unknown_keys(path.parent.name, content)


def test_a_misspelt_key_would_be_seen() -> None:
    wrong = {"apiVersion": 1, "providers": [{"name": "x", "option": {}}]}
    assert unknown_keys("dashboards", wrong) == {"providers.option"}


def test_providers_read_what_compose_mounts_and_let_nobody_save() -> None:
    mounts = dict(mount.split(":")[:2][::-1] for mount in GRAFANA["volumes"])
    place = mounts["/etc/grafana/dashboards"]
    providers = read(FOLDER / "provisioning/dashboards/pdt.yaml")["providers"]
    assert {each["folderUid"] for each in providers} == {"pdt", "pdt-en"}
    for each in providers:
        assert each["allowUiUpdates"] is False
        inside = each["options"]["path"].removeprefix("/etc/grafana/dashboards")
        assert list(Path(f"{ROOT / place}{inside}").glob("*.json"))
    assert mounts["/etc/grafana/provisioning"] == "./dashboards/grafana/provisioning"


def test_the_town_is_served_where_the_maps_look_for_it() -> None:
    mounts = dict(mount.split(":")[:2][::-1] for mount in GRAFANA["volumes"])
    (panel,) = [p for p in DASHBOARDS["pdt-command-post"]["panels"] if p["type"] == "geomap"]
    source = panel["options"]["layers"][0]["config"]["src"]
    assert mounts[f"/usr/share/grafana/{source}"] == "./config/town.geojson"


def test_rules_have_a_folder_of_the_dashboards_and_a_receiver_that_exists() -> None:
    providers = read(FOLDER / "provisioning/dashboards/pdt.yaml")["providers"]
    assert GROUP["folder"] in {each["folder"] for each in providers}
    (point,) = read(FOLDER / "provisioning/alerting/contact.yaml")["contactPoints"]
    (policy,) = read(FOLDER / "provisioning/alerting/policy.yaml")["policies"]
    receivers = {policy["receiver"], *(route["receiver"] for route in policy["routes"])}
    assert receivers == {point["name"]}
    (route,) = policy["routes"]
    assert route["object_matchers"] == [["severity", "=", "critical"]]
    assert route["repeat_interval"] == "5m"


def test_where_alerts_go_comes_from_the_environment_and_is_never_empty() -> None:
    """An empty address would keep Grafana from starting."""
    (point,) = read(FOLDER / "provisioning/alerting/contact.yaml")["contactPoints"]
    address = point["receivers"][0]["settings"]["url"]
    assert address == "$PDT_ALERT_URL"
    given = GRAFANA["environment"]["PDT_ALERT_URL"]
    default = re.fullmatch(r"\$\{PDT_ALERT_URL:-(http://127\.0\.0\.1:9/.+)\}", given)
    assert default, "somewhere that nobody listens, until it is set"


def test_nothing_else_is_taken_from_the_environment() -> None:
    """Grafana fills a ``$`` wherever it stands in these files, in queries and templates too."""
    for path in (FOLDER / "provisioning/alerting").iterdir():
        text = path.read_text(encoding="utf-8").replace("$PDT_ALERT_URL", "")
        assert "$" not in text, path.name


def test_no_secret_stands_in_a_file() -> None:
    for path in FILES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"^\s*(password|token|authorization_credentials)\s*:", line):
                assert "$__file{/run/secrets/" in line


# What a rule means.


def test_each_rule_asks_reduces_and_compares() -> None:
    assert RULES["apiVersion"] == 1
    assert len({rule["uid"] for rule in GROUP["rules"]}) == len(GROUP["rules"]) == 5
    for rule in GROUP["rules"]:
        ask, reduce, compare = rule["data"]
        assert [part["refId"] for part in rule["data"]] == ["A", "B", rule["condition"]]
        assert ask["datasourceUid"] == "pdt-influxql"
        assert (reduce["model"]["type"], reduce["model"]["expression"]) == ("reduce", "A")
        assert (compare["model"]["type"], compare["model"]["expression"]) == ("threshold", "B")
        assert re.fullmatch(r"\d+[sm]", rule["for"])
        assert rule["noDataState"] in {"OK", "Alerting", "NoData", "KeepLast"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(re.findall(r"\.Labels\.(\w+)", rule["annotations"]["summary"])) <= {
            "site", "unit", "radio", "link",
        }  # fmt: skip


def test_a_template_names_only_what_its_query_groups_by() -> None:
    asked = dict(rule_queries())
    for rule in GROUP["rules"]:
        _, _, by = asked[rule["uid"]].partition("GROUP BY")
        for label in re.findall(r"\.Labels\.(\w+)", rule["annotations"]["summary"]):
            assert f'"{label}"' in by, rule["uid"]


def test_silence_is_an_alarm_for_the_gateway_alone() -> None:
    """The other queries have no rows when all is well; a press stays until somebody takes it."""
    without = {rule["uid"]: rule["noDataState"] for rule in GROUP["rules"]}
    assert without.pop("pdt-gateway-silent") == "Alerting"
    assert without.pop("pdt-not-taken") == "KeepLast"
    assert set(without.values()) == {"OK"}


def test_who_is_told_of_what() -> None:
    limits = {each.uid: (each.when, each.limit, each.severity) for each in alerts.ALERTS}
    lasting = {each.uid: each.lasting for each in alerts.ALERTS}
    assert lasting["pdt-not-taken"] == "30s"
    assert {lasting["pdt-gateway-silent"], lasting["pdt-not-accepting"]} == {"0s"}
    assert limits == {
        "pdt-not-taken": ("gt", 0, "critical"),
        "pdt-gateway-silent": ("lt", 1, "critical"),
        "pdt-not-accepting": ("gt", 0, "critical"),
        "pdt-link-down": ("gt", 1, "warning"),
        "pdt-sink-behind": ("gt", 300, "warning"),
    }
