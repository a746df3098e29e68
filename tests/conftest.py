"""What every test may rely on: the marker ``needs``, nothing left open, a word on what is left out.

``@pytest.mark.needs("mosquitto")`` names programs that a test starts. Where one is missing the test
is skipped with a reason, and the end of the run says what to install. With ``PDT_NO_SKIPS=1`` (set
in continuous integration) a missing program is a failure instead; but not one that is built from
source, where the compilers or the sources are not to be had.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.descriptors import left_open, open_descriptors
from tools import build_influxdb2

# Servers live here, and PATH often ends before.
EXTRA_PLACES = ("/usr/sbin", "/usr/local/sbin", str(build_influxdb2.HOME))
PACKAGES = {  # where the Debian package has another name than the program
    "gpsdecode": "gpsd-clients",
    "gpsfake": "gpsd-clients",
    "gpspipe": "gpsd-clients",
    "influx": "influxdb-client",
    "influxd": "influxdb",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "nft": "nftables",
    "promtool": "prometheus",
    "tc": "iproute2",
    "ip": "iproute2",
}
BUILT = ("influxd2", "influx2")
HINTS = dict.fromkeys(BUILT, "make servers, on a machine with Go, Rust's cargo and gcc")
REASON = "needs {tool}, which is not installed"
REASON_PATTERN = re.compile(r"needs (\S+), which is not installed")
OPEN_BEFORE = pytest.StashKey[dict[Path, set[str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--minutes`` and ``--influxdb``: how long the soak lasts, and with which series."""
    parser.addoption("--minutes", type=float, default=2.0, help="length of the soak (R23)")
    parser.addoption("--influxdb", choices=("1", "2"), default="1", help="the soak's series (R23)")
    parser.addoption("--backlog", type=int, default=360_000, help="fixes that wait (R17)")


@pytest.fixture(name="minutes")
def _minutes(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--minutes"))


@pytest.fixture(name="influxdb")
def _influxdb(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--influxdb"))


def find_tool(tool: str) -> str | None:
    """The program's path, looked for on PATH and where servers are put."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *EXTRA_PLACES))
    return shutil.which(tool, path=places)


def leave_out(tool: str) -> NoReturn:
    """Skip, or fail, the test that runs: what it needs is missing."""
    reason = REASON.format(tool=tool)
    is_wanted = os.environ.get("PDT_NO_SKIPS") == "1"
    if is_wanted and not (tool in BUILT and build_influxdb2.what_is_missing()):
        pytest.fail(f"{reason} (PDT_NO_SKIPS=1 makes this a failure)", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, a test whose programs are missing."""
    item.session.stash.setdefault(OPEN_BEFORE, {}).setdefault(item.path, open_descriptors())
    for mark in item.iter_markers("needs"):
        for tool in mark.args:
            if find_tool(tool) is None:
                leave_out(tool)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A file of tests closes what it opened: see tests/support/descriptors.py."""
    yield
    if nextitem is None or nextitem.path != item.path:
        left = left_open(item.session.stash[OPEN_BEFORE][item.path])
        if left:
            pytest.fail(f"{item.path.name} leaves open: {left}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which programs were missed, by how many tests, and how to get them."""
    missed: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        found = REASON_PATTERN.search(str(report.longrepr))
        if found:
            missed[found[1]] += 1
    if not missed:
        return
    terminalreporter.section("left out")
    for tool, count in sorted(missed.items()):
        tests = "1 test" if count == 1 else f"{count} tests"
        hint = HINTS.get(tool, f"apt-get install {PACKAGES.get(tool, tool)}")
        terminalreporter.write_line(f"skipped because {tool} is not installed: {tests}; {hint}")
