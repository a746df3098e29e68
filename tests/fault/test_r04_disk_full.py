"""The disk fills up: emergencies use the reserve, then nothing is promised, then all is well (R4).

Needs a file system of its own: a tmpfs of two megabytes in a mount namespace, which takes root.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROUNDS = 3
CHILD = "tests.support.full_disk_child"
PROJECT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]


def can_mount() -> bool:
    """True where this process may make a mount namespace."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    return tried.returncode == 0


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not can_mount():
        pytest.skip("needs root and unshare -m, for a small disk of its own")
    folder = tmp_path_factory.mktemp("small-disk")
    child = subprocess.run(
        ["unshare", "-m", sys.executable, "-m", CHILD, str(folder), str(ROUNDS)],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    answer: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return answer


def test_a_full_disk_costs_the_reserve_and_telemetry_but_no_emergency(
    report: dict[str, Any],
) -> None:
    for each in report["rounds"]:
        assert each["before"] == [True, True]
        assert each["refused_as_full"]
        assert each["state_when_full"] == "reserve_used"
        assert each["reserve_is_gone"]
        assert each["presses_on_reserve"] == 40


def test_when_nothing_is_left_it_says_so_and_refuses_at_once(report: dict[str, Any]) -> None:
    for each in report["rounds"]:
        assert each["said_not_accepting_after_s"] <= 2
        assert each["refused_in_s"] <= 0.5


def test_five_seconds_after_space_returns_all_is_normal(report: dict[str, Any]) -> None:
    for each in report["rounds"]:
        assert each["normal_after_s"] <= 5
        assert each["after"] == [True, True]
        assert each["reserve_bytes"] == 256 * 1024
    assert report["states"][-1] == "accepting"


def test_what_was_promised_is_on_disk_and_the_file_is_whole(report: dict[str, Any]) -> None:
    assert report["presses_lost"] == 0
    assert report["presses_unpromised"] == 0
    assert report["presses_stored"] >= 40 * ROUNDS
    assert report["damage"] == []


def test_every_fix_is_stored_or_counted(report: dict[str, Any]) -> None:
    assert report["account"] == 0
    assert report["waiting"] == {"emergency": 0, "telemetry": 0}
