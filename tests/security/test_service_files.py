"""The services run without rights: what the unit files of config/ and the udev rules must say."""

import re
import shutil
import subprocess
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import REASON, find_tool

CONFIG = Path(__file__).resolve().parents[2] / "config"
UNIT = CONFIG / "pdt-gateway.service"
FORGET, TIMER = CONFIG / "pdt-gateway-forget.service", CONFIG / "pdt-gateway-forget.timer"
RULES = CONFIG / "99-pdt-serial.rules"

# directive: the values it must have, all of them and no other (threat T5)
HARDENED = {
    "NoNewPrivileges": ["yes"],
    "ProtectSystem": ["strict"],
    "ProtectHome": ["yes"],
    "PrivateTmp": ["yes"],
    "DevicePolicy": ["closed"],
    "DeviceAllow": ["char-ttyUSB rw", "char-ttyACM rw", "char-ttyS rw"],
    "CapabilityBoundingSet": [""],
    "AmbientCapabilities": [""],
    "User": ["pdt-gateway"],
    "Group": ["pdt-gateway"],
    "StateDirectory": ["pdt-gateway"],
    "StateDirectoryMode": ["0700"],
    "UMask": ["0077"],
    "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
    "RestrictNamespaces": ["yes"],
    "RestrictSUIDSGID": ["yes"],
    "LockPersonality": ["yes"],
    "MemoryDenyWriteExecute": ["yes"],
    "SystemCallArchitectures": ["native"],
    "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    "ProtectKernelModules": ["yes"],
    "ProtectKernelTunables": ["yes"],
    "ProtectControlGroups": ["yes"],
    "LimitCORE": ["0"],
}


# The gateway's user, its group and its folder, and what only a process with ports needs.
ITS_OWN = {
    "User", "Group", "StateDirectory", "StateDirectoryMode", "DeviceAllow",
}  # fmt: skip


def directives(unit: Path = UNIT) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key].append(value)
    return found


@pytest.mark.parametrize("name", HARDENED)
def test_the_unit_takes_this_right_away(name: str) -> None:
    assert directives()[name] == HARDENED[name]


@pytest.mark.parametrize("name", sorted(set(HARDENED) - ITS_OWN))
def test_the_daily_unit_takes_this_right_away_too(name: str) -> None:
    assert directives(FORGET)[name] == HARDENED[name]


def test_the_administrators_credential_is_for_the_daily_unit_alone() -> None:
    """Not for the gateway's user: what may only write must not come by what may delete."""
    found = directives(FORGET)
    (credential,) = found["LoadCredential"]
    name, file = credential.split(":")
    assert Path(file).parent == Path("/etc/pdt-gateway")
    (command,) = found["ExecStart"]
    assert command.endswith(f" --token-file ${{CREDENTIALS_DIRECTORY}}/{name}")
    assert found["DynamicUser"] == ["yes"]
    assert found["PrivateDevices"] == ["yes"]
    assert "User" not in found
    assert found["SupplementaryGroups"] == directives(UNIT)["Group"], "to read the settings"
    assert "LoadCredential" not in directives(UNIT)


def test_the_daily_unit_tries_again_but_not_with_wrong_settings() -> None:
    found = directives(FORGET)
    assert found["Type"] == ["oneshot"]
    assert found["Restart"] == ["on-failure"]
    assert found["RestartPreventExitStatus"] == ["2"]
    assert int(found["MemoryMax"][0].removesuffix("M")) <= 512
    assert "Install" not in FORGET.read_text(encoding="utf-8"), "the timer starts it"


def test_the_timer_starts_it_once_a_day() -> None:
    assert FORGET.stem == TIMER.stem
    found = directives(TIMER)
    assert found["WantedBy"] == ["timers.target"]
    assert found["Persistent"] == ["yes"]
    tool = find_tool("systemd-analyze")
    if tool is None:
        pytest.skip(REASON.format(tool="systemd-analyze"))
    (when,) = found["OnCalendar"]
    told = subprocess.run(
        [tool, "calendar", "--iterations=2", when],
        capture_output=True, text=True, timeout=60, check=True, env={"TZ": "UTC"},
    ).stdout  # fmt: skip
    first, second = (
        datetime.fromisoformat(at) for at in re.findall(r": \w+ ([\d-]+ [\d:]+)", told)
    )
    assert second - first == timedelta(days=1)


def test_memory_tasks_and_files_are_bounded() -> None:
    found = directives()
    (memory,) = found["MemoryMax"]
    assert re.fullmatch(r"\d+M", memory)
    assert int(memory[:-1]) <= 512
    assert int(found["TasksMax"][0]) <= 256
    assert int(found["LimitNOFILE"][0]) >= 2 * 2_000  # two listeners full of peers


def test_it_starts_again_for_ever_but_not_with_wrong_settings() -> None:
    found = directives()
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["RestartPreventExitStatus"] == ["2"]


def test_a_gateway_that_hangs_is_started_again_within_half_a_minute() -> None:
    found = directives()
    assert found["Type"] == ["notify"]
    patience_s, pause_s = int(found["WatchdogSec"][0]), int(found["RestartSec"][0])
    assert patience_s + pause_s <= 30


@pytest.mark.parametrize("unit", [UNIT, FORGET], ids=lambda unit: unit.name)
def test_systemd_knows_every_directive_and_rates_the_unit_well(tmp_path: Path, unit: Path) -> None:
    tool = find_tool("systemd-analyze")
    if tool is None:
        pytest.skip(REASON.format(tool="systemd-analyze"))
    here = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8")
    program = shutil.which("true")
    here.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={program}", text), encoding="utf-8")
    timer = tmp_path / TIMER.name
    timer.write_bytes(TIMER.read_bytes())
    checked = [here, timer] if unit == FORGET else [here]
    verified = subprocess.run(
        [tool, "verify", *checked], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in verified.stderr.splitlines() if UNIT.stem in line]
    assert not said
    rated = subprocess.run(
        [tool, "security", "--offline=true", "--threshold=20", here],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout[-400:]


RULE = re.compile(r'([A-Z_]+(\{\w+\})?(==|!=|\+=|:=|=)"[^"]*"(, |$))+')


def test_every_udev_rule_is_one_line_of_matches_and_assignments() -> None:
    lines = RULES.read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("# ") and line != "#"]
    assert len(rules) > 5
    for rule in rules:
        assert RULE.fullmatch(rule.removeprefix("#")), rule


def test_a_port_is_named_by_what_the_adapter_is_and_given_to_one_group() -> None:
    text = RULES.read_text(encoding="utf-8")
    named = [line for line in text.splitlines() if 'SYMLINK+="pdt/' in line]
    assert named
    for rule in named:
        assert "ATTRS{idVendor}==" in rule
        assert "ATTRS{idProduct}==" in rule
        assert rule.endswith('TAG+="pdt"')
    assert 'GROUP="dialout", MODE="0660"' in text
    assert "0666" not in text
