"""docker-compose.yml and Dockerfile do not open the world (threat T19), read as the files they are.

No container engine is needed: what the files say is checked, not what an engine makes of it.
"""

import ipaddress
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import __version__
from gateway.addresses import AllowList
from gateway.catalog import Catalog
from gateway.check import check
from gateway.settings import InfluxSettings
from gateway.sinks.influx_steps import ALARMS, MINUTES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
DESK: dict[str, str] = COMPOSE["networks"]["desk"]["ipam"]["config"][0]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

VERSION = re.compile(r"\d+\.\d+(\.\d+)?(-[a-z]+)*\Z")
SECRETIVE = re.compile(r"PASSWORD|TOKEN|SECRET|KEY|CREDENTIAL")
STABLE_DEVICE = re.compile(r"/dev/(serial/by-id|serial/by-path|pdt)/[^:*]+:/dev/[a-z0-9/-]+\Z")
SERVICE_KEYS = {
    "build", "image", "user", "read_only", "tmpfs", "mem_limit", "stop_grace_period", "networks",
    "ports", "volumes", "secrets", "environment", "healthcheck", "group_add", "devices",
    "restart", "init", "cap_drop", "security_opt", "pids_limit", "logging",
    "pull_policy", "entrypoint", "depends_on",
}  # fmt: skip


def with_serial_example() -> dict[str, Any]:
    """The gateway with the commented example of a serial port switched on."""
    lines = TEXT[TEXT.index("\n#services:") :].splitlines()
    example = yaml.safe_load("\n".join(line.removeprefix("#") for line in lines))
    return {**COMPOSE["services"]["gateway"], **example["services"]["gateway"]}


SERVICES = {**COMPOSE["services"], "gateway with a serial port": with_serial_example()}
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())


def test_the_services_are_there() -> None:
    assert set(COMPOSE["services"]) == {"gateway", "mosquitto", "influxdb", "forget", "grafana"}


@each_service
def test_no_key_is_misspelt_or_grants_a_right(service: dict[str, Any]) -> None:
    """Anything else (privileged, cap_add, network_mode, pid, ipc, devices of a class) is new."""
    assert set(service) <= SERVICE_KEYS


@each_service
def test_ports_are_published_on_loopback_alone(service: dict[str, Any]) -> None:
    for port in service.get("ports", ()):
        assert isinstance(port, str), "the long form hides the address"
        address, outside, inside = port.rsplit(":", 2)
        assert ipaddress.ip_address(address).is_loopback, port
        assert outside.isdigit()
        assert inside.isdigit()


@each_service
def test_an_image_has_a_named_version(service: dict[str, Any]) -> None:
    name, _, tag = service["image"].rpartition(":")
    assert name
    assert VERSION.fullmatch(tag), service["image"]


def test_our_own_image_is_named_after_the_version_that_is_built() -> None:
    named = {service["image"] for service in SERVICES.values()}
    ours = {image for image in named if image.startswith("pdt-gateway:")}
    assert ours == {f"pdt-gateway:{__version__}"}
    assert f"docker build -t pdt-gateway:{__version__} ." in DOCKERFILE


@each_service
def test_a_service_runs_without_rights_and_within_bounds(service: dict[str, Any]) -> None:
    assert int(service["user"].partition(":")[0]) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 512


@each_service
def test_secrets_are_files_and_nothing_else(service: dict[str, Any]) -> None:
    for key, value in service.get("environment", {}).items():
        if SECRETIVE.search(key):
            assert key.endswith("_FILE"), key
            assert value.removeprefix("/run/secrets/") in service["secrets"], key
    for secret in service.get("secrets", ()):
        source = secret if isinstance(secret, str) else secret["source"]
        assert source in COMPOSE["secrets"]


def test_secrets_stand_outside_of_the_repository_and_of_the_image() -> None:
    for secret in COMPOSE["secrets"].values():
        assert set(secret) == {"file"}
        assert secret["file"].startswith("./secrets/")
    assert "/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*", "what is not named stays outside"
    assert not [rule for rule in rules if rule.startswith("!secrets")]


@each_service
def test_mounts_are_named_volumes_or_files_of_ours_read_only(service: dict[str, Any]) -> None:
    for mount in service.get("volumes", ()):
        source, target, *mode = mount.split(":")
        if not source.startswith("."):
            assert source in COMPOSE["volumes"]
            continue
        assert (ROOT / source).exists(), f"{source}: an engine would make a folder of it"
        assert mode == ["ro"], target


@each_service
def test_devices_are_named_by_what_they_are(service: dict[str, Any]) -> None:
    for device in service.get("devices", ()):
        assert STABLE_DEVICE.fullmatch(device), device


def test_the_serial_example_has_a_device_to_check() -> None:
    assert with_serial_example()["devices"]


def test_the_time_series_is_reached_from_inside_alone() -> None:
    assert COMPOSE["networks"]["store"]["internal"] is True
    assert COMPOSE["services"]["influxdb"]["networks"] == ["store"]
    assert "ports" not in COMPOSE["services"]["influxdb"]


def test_grafana_asks_for_a_login_and_calls_nobody() -> None:
    said = COMPOSE["services"]["grafana"]["environment"]
    assert said["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert said["GF_USERS_ALLOW_SIGN_UP"] == "false"
    for key in ("REPORTING_ENABLED", "CHECK_FOR_UPDATES", "CHECK_FOR_PLUGIN_UPDATES"):
        assert said[f"GF_ANALYTICS_{key}"] == "false"


def test_grafanas_source_is_a_service_and_its_user_may_only_read() -> None:
    folder = ROOT / "dashboards/grafana/provisioning/datasources"
    (file,) = folder.glob("*.yaml")
    (source,) = yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]
    said = COMPOSE["services"]["influxdb"]["environment"]
    assert source["url"] == "http://influxdb:8086"
    assert source["jsonData"]["dbName"] == said["DOCKER_INFLUXDB_INIT_BUCKET"]
    (secret,) = re.findall(
        r"\$__file\{/run/secrets/(\w+)\}\Z", source["secureJsonData"]["password"]
    )
    assert secret in COMPOSE["services"]["grafana"]["secrets"]
    users = (ROOT / "config/compose/influxdb-users.sh").read_text(encoding="utf-8")
    assert f"user {source['user']} {secret} --read-bucket\n" in users
    assert "user gateway influx_gateway_password --write-bucket\n" in users


def test_an_alarm_waits_for_no_other_service() -> None:
    assert "depends_on" not in COMPOSE["services"]["gateway"]


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_is_looked_at_and_told_from_one_that_hangs(name: str) -> None:
    """The image's own check counts where the file has none."""
    looked_at = COMPOSE["services"][name].get("healthcheck")
    if looked_at is None:
        assert COMPOSE["services"][name]["build"] == "."
        last = DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]
        assert "HEALTHCHECK --interval=10s --timeout=5s" in last
        return
    assert looked_at["test"][0] in {"CMD", "CMD-SHELL"}
    for bound in ("interval", "timeout"):
        assert 0 < int(looked_at[bound].removesuffix("s")) <= 60
    assert "start_period" in looked_at
    assert "secrets" not in str(looked_at["test"]), "arguments are seen by everybody"


def test_who_cannot_work_before_another_waits_until_that_one_is_healthy() -> None:
    waits = {name: service.get("depends_on") for name, service in COMPOSE["services"].items()}
    assert waits["forget"] == {"influxdb": {"condition": "service_healthy"}}
    for wanted in filter(None, waits.values()):
        for name, how in wanted.items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in COMPOSE["services"][name]


def test_the_administrators_token_is_for_the_series_and_for_forgetting_alone() -> None:
    holders = {
        name
        for name, service in COMPOSE["services"].items()
        if "influx_admin_token" in service.get("secrets", ())
    }
    assert holders == {"influxdb", "forget"}
    forget = COMPOSE["services"]["forget"]
    assert forget["networks"] == ["store"]
    assert "ports" not in forget
    gateway = COMPOSE["services"]["gateway"]
    assert forget["image"] == gateway["image"]
    assert set(gateway["secrets"]) < set(forget["secrets"]), "the settings name them"
    configs = {mount for mount in gateway["volumes"] if mount.startswith(".")}
    assert configs < set(forget["volumes"])


def test_the_settings_in_the_container_are_accepted(tmp_path: Path) -> None:
    text = (ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8")
    used = set(re.findall(r'"/run/secrets/([a-z_]+)"', text))
    assert used == set(COMPOSE["services"]["gateway"]["secrets"])
    for name in used:
        (tmp_path / name).write_text("x")
    file = tmp_path / "gateway.toml"
    file.write_text(text.replace("/run/secrets", str(tmp_path)), encoding="utf-8")
    for beside in ("units.toml", "town.geojson"):
        (tmp_path / beside).write_bytes((ROOT / "config" / beside).read_bytes())
    loaded, _, findings = check(file, Catalog.scan())
    assert not findings
    for link in loaded.settings.link:
        assert link.allow == (DESK["subnet"],)  # type: ignore[union-attr] # a TCP server has it
    assert loaded.settings.mqtt.client_id == loaded.settings.mqtt.user, "the broker insists"


def test_a_terminal_at_the_published_address_is_heard_once_its_network_is_added() -> None:
    """Docker's DNAT keeps the sender's address; the page and the settings must go together."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    published = re.findall(r"^      - ([\d.]+):10808:10808$", page, re.MULTILINE)
    text = (ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8")
    added = re.sub(r'^  # (?=")', "  ", text, flags=re.MULTILINE)
    ((_, shown),) = re.findall(r"(allow) = (\[[^]]*\])\n```", page)
    for networks in (
        tomllib.loads(added)["link"][0]["allow"],
        json.loads(shown.replace(",\n]", "]")),
    ):
        assert networks[0] == DESK["subnet"]
        for address in published:
            assert AllowList(networks[1:]).allows(address)
    assert published
    assert published[0] not in text


def test_a_proxy_and_a_prometheus_on_the_machine_are_known_by_their_address() -> None:
    """Both come from the network's gateway: by the userland proxy, or masqueraded."""
    text = (ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8")
    desk = tomllib.loads(text)["desk"]
    assert desk["trusted_proxies"] == [f"{DESK['gateway']}/32"]
    assert AllowList(desk["metrics_allow"]).allows(DESK["gateway"])
    assert AllowList(desk["metrics_allow"]).allows("127.0.0.1"), "for a look from inside"
    assert not AllowList(desk["metrics_allow"]).allows("192.168.10.2")


def test_the_image_is_built_from_named_versions_and_checked_hashes() -> None:
    stages = re.findall(r"^FROM (\S+?):(\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 3
    for name, tag in stages:
        assert VERSION.match(tag), f"{name}:{tag}"
    installs = re.findall(r"pip install (.*?)(?:\\\n|\n)", DOCKERFILE)
    assert "--no-deps --require-hashes -r requirements.lock" in installs
    assert all("--no-deps" in install for install in installs)
    assert "RUN npm ci" in DOCKERFILE
    assert not re.search(r"^ADD |curl|wget", DOCKERFILE, re.MULTILINE)


def test_the_image_runs_as_a_user_without_rights_and_says_how_it_does() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]
    assert last.index("\nUSER 10001:10001\n") < last.index("\nENTRYPOINT")
    assert "HEALTHCHECK" in last
    assert "/healthz" in last
    assert COMPOSE["services"]["gateway"]["user"] == "10001:10001"


def test_the_dockerfile_copies_only_what_the_ignore_file_lets_through() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    copied = set()
    for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        copied |= {source.rstrip("/") for source in words.split()[:-1]}
    for source in copied:
        assert (ROOT / source).exists(), source
        parents = [source, *map(str, Path(source).parents)]
        assert let_through & set(parents), source


def test_the_database_has_the_places_that_the_settings_and_the_command_name() -> None:
    users = (ROOT / "config/compose/influxdb-users.sh").read_text(encoding="utf-8")
    made = dict(re.findall(r"^place (\w+) (\d+)d$", users, re.MULTILINE))
    defaults = InfluxSettings()
    assert {name: int(days) * 86_400 for name, days in made.items()} == {
        MINUTES: defaults.keep_minutes_s,
        ALARMS: defaults.keep_alarms_s,
    }
    said = COMPOSE["services"]["influxdb"]["environment"]
    assert said["DOCKER_INFLUXDB_INIT_RETENTION"] == "4w"
    assert defaults.keep_fixes_s == 4 * 7 * 86_400
    settings = tomllib.loads((ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8"))
    assert settings["influx"]["alarms_to"] in made
    checked = subprocess.run(
        ["bash", "-n", ROOT / "config/compose/influxdb-users.sh"], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_the_script_gives_each_user_one_right_in_each_place(tmp_path: Path) -> None:
    """Carried out with a stand-in for the database's own tool, which notes what it was told."""
    tool = tmp_path / "influx"
    tool.write_text(
        '#!/bin/bash\nprintf "%s " "$@" >> calls\necho >> calls\n'
        'case "$1 $2" in "bucket list") printf "id-of-%s\\tx\\n" "${6#*/}";; esac\n'
    )
    tool.chmod(0o755)
    script = (ROOT / "config/compose/influxdb-users.sh").read_text(encoding="utf-8")
    for name in ("influx_gateway_password", "influx_grafana_password"):
        (tmp_path / name).write_text("x")
    here = tmp_path / "users.sh"
    here.write_text(script.replace("/run/secrets", str(tmp_path)))
    given = {"ORG": "pdt", "BUCKET": "pdt", "BUCKET_ID": "first"}
    subprocess.run(
        ["bash", here], cwd=tmp_path, check=True, capture_output=True,
        env={f"DOCKER_INFLUXDB_INIT_{key}": value for key, value in given.items()}
        | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    calls = (tmp_path / "calls").read_text().splitlines()
    gateway, grafana = (call for call in calls if call.startswith("v1 auth create"))
    assert re.findall(r"--(\w+)-bucket (\S+)", gateway) == [
        ("write", "first"), ("write", "id-of-minutes"), ("write", "id-of-alarms"),
    ]  # fmt: skip
    assert re.findall(r"--(\w+)-bucket (\S+)", grafana) == [
        ("read", "first"), ("read", "id-of-minutes"), ("read", "id-of-alarms"),
    ]  # fmt: skip
    assert sum(call.startswith("v1 dbrp create") for call in calls) == 3
