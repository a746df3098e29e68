"""Every Flux script that the project writes, read by InfluxData's own parser and type checker.

No InfluxDB 2.x can be had from Debian or a package index, so this is as near as a test gets to one:
names, signatures and types of functions are checked, what a query finds is not.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.sinks.influx_setup import Admin, set_up
from gateway.sinks.influx_setup_v2 import flux_task
from tests.conftest import leave_out
from tests.support.influx_v2_places import TOKEN, InfluxV2Places
from tests.support.sink_rows import loaded
from tools.build_desk import NODE_HOME, ROOT

CHECKER = ROOT / "tests" / "flux" / "check.cjs"
PACKAGE = CHECKER.parent / "node_modules" / "@influxdata" / "flux-lsp-node"
WRITTEN = ROOT / "config" / "compose" / "minutes.flux"
HAS_FLUX = {"config/compose/minutes.flux", "gateway/sinks/influx_setup_v2.py"}


def are_valid(scripts: Sequence[str]) -> list[bool]:
    """What the parser says of each script."""
    node = shutil.which("node") or shutil.which("node", path=str(NODE_HOME / "bin"))
    if node is None or not PACKAGE.is_dir():
        leave_out("flux-lsp-node")
    done = subprocess.run(
        [node, CHECKER],
        input=json.dumps(scripts),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": os.defpath},
    )
    assert done.returncode == 0, done.stderr
    said: list[bool] = json.loads(done.stdout)
    assert len(said) == len(scripts)
    return said


def test_the_thinning_task_is_flux_whatever_the_bucket_is_called() -> None:
    names = ("pdt", "town-2", "榕溪", "a b", 'quo"ted', "back\\slash", "${r}")
    assert dict(zip(names, are_valid([flux_task(name) for name in names]), strict=True)) == (
        dict.fromkeys(names, True)
    )


def test_what_a_server_is_given_is_flux(tmp_path: Path) -> None:
    with InfluxV2Places() as server:
        settings = {"enabled": True, "url": server.url, "org": "police", "database": "pdt"}
        set_up(loaded(tmp_path, influx=settings), Admin(token=TOKEN))
        (task,) = server.kept["tasks"]
    assert are_valid([task["flux"], WRITTEN.read_text(encoding="utf-8")]) == [True, True]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("range(start: -6h)", "range(start: -6h"),
        ("|> filter", "> filter"),
        ("aggregateWindow", "agregateWindow"),
        ("createEmpty: false", 'createEmpty: "no"'),
        ("timeSrc:", "timeSource:"),
        ("r._measurement ==", "r._measurement ="),
        ("every: 1m", "every: 1 minute"),
    ],
)
def test_a_broken_script_is_refused(right: str, wrong: str) -> None:
    script = flux_task("pdt")
    assert right in script
    assert are_valid([script.replace(right, wrong, 1)]) == [False]


def test_no_other_file_has_flux_that_nobody_parses() -> None:
    places = ("gateway", "config", "tools", "dashboards/grafana")
    files = [file for place in places for file in (ROOT / place).rglob("*") if file.is_file()]
    found = {
        str(file.relative_to(ROOT))
        for file in files
        if file.suffix in {".py", ".flux", ".sh", ".json", ".toml", ".yml", ".yaml"}
        and "from(bucket" in file.read_text(encoding="utf-8")
    }
    assert found == HAS_FLUX
