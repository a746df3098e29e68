"""Pushing to a Grafana over HTTP: with the real grafana-client, against a stand-in.

The client is installed beside the environment (see tools/setup.py), so each command runs in a
process of its own that can see it.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import grafana
from gateway.errors import ConfigError
from tests.support.grafana import DASHBOARDS, ROOT
from tests.support.grafana_stand_in import TOKEN, GrafanaStandIn

CLIENT = ROOT / ".tools" / "grafana-client"
PASSWORD = "correct horse battery staple"  # noqa: S105 - of a stand-in
pytestmark = [pytest.mark.slow]
needs_client = pytest.mark.skipif(
    not CLIENT.exists(), reason="grafana-client is missing: make setup"
)


@pytest.fixture
def server() -> Iterator[GrafanaStandIn]:
    with GrafanaStandIn() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    (tmp_path / "alerts").write_text("http://alerts.local/hook\n")
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "grafana", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{CLIENT}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    for secret in (TOKEN, PASSWORD):
        assert secret not in done.stdout + done.stderr
    return done


def push(folder: Path, server: GrafanaStandIn, *more: str) -> dict[str, str]:
    """What became of each thing."""
    done = run(folder, "push", "--url", server.url, "--token-file", "token", "--json", *FULL, *more)
    assert done.returncode == 0, done.stderr
    return {step["what"]: step["state"] for step in json.loads(done.stdout)}


FULL = (
    "--influx-url", "http://influxdb:8086", "--influx-user", "grafana",
    "--influx-password-file", "password", "--alert-url-file", "alerts",
)  # fmt: skip


@needs_client
def test_everything_is_there_after_the_first_push_and_nothing_changes_after(
    server: GrafanaStandIn, files: Path
) -> None:
    first = push(files, server)
    assert set(first.values()) == {"created"}
    assert set(server.folders) == {"pdt", "pdt-en"}
    assert set(server.dashboards) == set(DASHBOARDS)
    for uid, kept in server.dashboards.items():
        assert {**DASHBOARDS[uid], "id": 7, "version": 1} == kept["dashboard"]
        assert kept["meta"]["folderUid"] == ("pdt-en" if uid.endswith("-en") else "pdt")
    source = server.sources["pdt-influxql"]
    assert (source["url"], source["jsonData"]["dbName"]) == ("http://influxdb:8086", "pdt")
    assert server.secrets["pdt-influxql"] == {"password": PASSWORD}
    assert server.contacts["pdt-webhook"]["settings"]["url"] == "http://alerts.local/hook"
    (group,) = server.groups.values()
    assert group["interval"] == 10
    assert {rule["notification_settings"]["receiver"] for rule in group["rules"]} == {"pdt"}
    before = json.dumps([server.folders, server.dashboards, server.contacts, group])
    assert set(push(files, server).values()) == {"same"}
    after = json.dumps([server.folders, server.dashboards, server.contacts, group])
    assert after == before
    assert server.policies == {"receiver": "the site's own"}


@needs_client
def test_a_dry_run_changes_nothing_and_says_what_it_would(
    server: GrafanaStandIn, files: Path
) -> None:
    said = push(files, server, "--dry-run")
    assert set(said.values()) == {"created"}
    assert not server.writes


@needs_client
def test_what_differs_is_put_right(server: GrafanaStandIn, files: Path) -> None:
    push(files, server)
    server.dashboards["pdt-links"]["dashboard"]["title"] = "somebody's"
    server.contacts["pdt-webhook"]["settings"]["url"] = "http://elsewhere.local"
    (group,) = server.groups.values()
    group["rules"][0]["for"] = "1h"
    changed = {what for what, state in push(files, server).items() if state == "updated"}
    assert changed == {"dashboard pdt-links", "contact point pdt", "alert rules pdt"}
    assert server.dashboards["pdt-links"]["dashboard"]["title"] == DASHBOARDS["pdt-links"]["title"]


@needs_client
def test_what_comes_from_files_on_the_server_is_left_alone(
    server: GrafanaStandIn, files: Path
) -> None:
    push(files, server)
    server.sources["pdt-influxql"]["readOnly"] = True
    server.dashboards["pdt-radios"]["meta"]["provisioned"] = True
    server.dashboards["pdt-radios"]["dashboard"]["title"] = "by file"
    said = push(files, server)
    assert (said["data source pdt-influxql"], said["dashboard pdt-radios"]) == ("kept", "kept")


@needs_client
def test_a_sites_own_map_is_put_in(server: GrafanaStandIn, files: Path) -> None:
    tiles = "http://maps.local/{z}/{x}/{y}.png"
    push(files, server, "--centre", "23.02,113.75", "--zoom", "13", "--tiles", tiles)
    (panel,) = [
        p for p in server.dashboards["pdt-command-post"]["dashboard"]["panels"]
        if p["type"] == "geomap"
    ]  # fmt: skip
    view = panel["options"]["view"]
    assert (view["id"], view["lat"], view["lon"], view["zoom"]) == ("coords", 23.02, 113.75, 13)
    assert panel["options"]["basemap"]["config"]["url"] == tiles


@needs_client
def test_a_sites_own_time_zone_is_put_in(server: GrafanaStandIn, files: Path) -> None:
    push(files, server)
    push(files, server, "--zone", "Asia/Urumqi")
    zones = {kept["dashboard"]["timezone"] for kept in server.dashboards.values()}
    assert zones == {"Asia/Urumqi"}


def test_dashboards_are_written_for_a_time_zone_and_for_none_that_is_not_one(
    tmp_path: Path,
) -> None:
    assert run(tmp_path, "write", "out", "--zone", "Asia/Urumqi").returncode == 0
    written = list((tmp_path / "out").rglob("*.json"))
    assert len(written) == len(DASHBOARDS)
    assert {json.loads(path.read_text())["timezone"] for path in written} == {"Asia/Urumqi"}
    wrong = run(tmp_path, "write", "out", "--zone", "Shanghai")
    assert wrong.returncode == 2
    assert "Asia/Shanghai" in wrong.stderr


@needs_client
def test_a_source_that_is_there_is_kept_and_one_that_is_not_is_asked_for(
    server: GrafanaStandIn, files: Path
) -> None:
    words = ("push", "--url", server.url, "--token-file", "token")
    done = run(files, *words)
    assert done.returncode == 2
    assert "--influx-url" in done.stderr
    push(files, server)
    done = run(files, *words)
    assert done.returncode == 0
    assert "kept     data source pdt-influxql" in done.stdout


# What goes wrong is said: what, where, what now.


def fails(folder: Path, url: str, *more: str) -> str:
    done = run(folder, "push", "--url", url, "--token-file", "token", *FULL, *more)
    assert done.returncode == 3, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@needs_client
def test_a_token_that_is_not_accepted(server: GrafanaStandIn, files: Path) -> None:
    (files / "token").write_text("wrong")
    said = fails(files, server.url)
    assert "401" in said
    assert "new service account token" in said
    assert "wrong" not in said


@needs_client
@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/folders", "folder PDT"),
        ("/datasources", "data source pdt-influxql"),
        ("/dashboards", "dashboard pdt-"),
        ("/v1/provisioning/contact-points", "contact point pdt"),
        ("/v1/provisioning/folder", "alert rules pdt"),
    ],
)
def test_a_right_that_is_missing(server: GrafanaStandIn, files: Path, path: str, what: str) -> None:
    server.forbidden = path
    said = fails(files, server.url)
    assert what in said
    assert "403" in said
    assert "service account" in said


@needs_client
def test_an_address_where_grafana_is_not(server: GrafanaStandIn, files: Path) -> None:
    said = fails(files, server.url.removesuffix("/grafana"))
    assert "404" in said
    assert "with its path" in said


@needs_client
def test_an_address_where_nobody_answers(files: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = fails(files, f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "no answer" in said


@needs_client
def test_the_token_is_not_sent_on_to_another_address(server: GrafanaStandIn, files: Path) -> None:
    with GrafanaStandIn() as other:
        server.moved_to = f"{other.url}/api/health"
        fails(files, server.url)
        assert not other.calls


def test_without_the_client_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "niquests", None)
    with pytest.raises(ConfigError, match=r"pdt-gateway\[grafana\]"):
        grafana.connect("http://127.0.0.1:3000", "t")


@pytest.mark.parametrize(
    ("url", "why"),
    [("grafana:3000", "not an address"), ("http://admin:secret@grafana", "no name or password")],
)
def test_a_wrong_address_is_refused_without_repeating_a_password(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as told:
        grafana.connect(url, "t")
    assert "secret" not in str(told.value)


# Files.


def test_written_for_mounting_they_have_the_sites_map(tmp_path: Path) -> None:
    site = grafana.Site(lat_deg=23.0, lon_deg=113.7, zoom=12, town="public/maps/ours.geojson")
    written = grafana.write(site, tmp_path)
    assert {path.stem for path in written} == set(DASHBOARDS)
    text = (tmp_path / "zh" / "pdt-unit-history.json").read_text(encoding="utf-8")
    options = next(p for p in json.loads(text)["panels"] if p["type"] == "geomap")["options"]
    assert (options["view"]["lat"], options["view"]["zoom"]) == (23.0, 12)
    assert options["layers"][0]["config"]["src"] == "public/maps/ours.geojson"


def test_written_without_a_map_of_ones_own_they_are_the_files(tmp_path: Path) -> None:
    for path in grafana.write(grafana.Site(), tmp_path):
        kept = ROOT / "dashboards/grafana/dashboards" / path.relative_to(tmp_path)
        assert path.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("centre", ["23.02", "north,south", "113.75,230"])
def test_a_centre_that_is_no_place_is_refused(tmp_path: Path, centre: str) -> None:
    done = run(tmp_path, "write", "out", "--centre", centre)
    assert done.returncode == 2
    assert "--centre" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_wheel_carries_the_files(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=50)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path / "installed")], check=True
    )
    installed = tmp_path / "installed" / "gateway" / "grafana_files"
    assert {path.stem for path in (installed / "dashboards").rglob("*.json")} == set(DASHBOARDS)
    assert (installed / "provisioning" / "alerting" / "rules.json").is_file()


def test_rules_are_in_the_shape_of_the_http_api() -> None:
    group: dict[str, Any] = grafana.rule_group(told=False)
    assert group["interval"] == 10
    for rule in group["rules"]:
        assert rule["folderUID"] == group["folderUid"]
        assert rule["ruleGroup"] == group["title"]
        assert "notification_settings" not in rule
