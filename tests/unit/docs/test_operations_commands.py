"""The commands of docs/operations.md work as they are written, with the page's own set-up alone.

They are carried out in the page's order by root on a machine of its own: see
``tests/support/operations_machine.py``. What a machine without systemd, Docker and radios cannot do
is named below: with the test that does it, or with the reason why none does.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.operations_machine import commands
from tests.support.other_users import why_not

UNSHARE = (
    "unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child",
    sys.executable, "-m", "tests.support.operations_machine",
)  # fmt: skip
OVERLAY = (
    "mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work; "
    "mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc"
)
ELSEWHERE = {  # first words: the test that carries it out
    "make secrets": "tests/security/test_make_secrets.py::"
    "test_every_secret_of_the_compose_file_is_made",
    "systemd-analyze": "tests/security/test_service_files.py::"
    "test_systemd_knows_every_directive_and_rates_the_unit_well",
    "promtool": "tests/unit/config/test_prometheus_rules.py::"
    "test_prometheus_accepts_the_rules_and_the_metrics",
}
NOT_RUN = {  # first words: why no test does
    "make setup": "it made the environment in which this runs, from a package registry",
    "make demo": "make setup, and then pdt-gateway demo, which tests/unit/cli/test_demo.py runs",
    "make soak": "a day; somebody runs it before a release",
    "docker": "needs an engine and images; tests/security/test_compose.py reads the files",
    "journalctl": "needs the journal of systemd",
    "systemctl edit": "opens an editor",
    "udevadm": "needs a radio that is plugged in",
    "ls": "shows what is plugged in",
    "du": "looks at every file of the machine",
}
WANTED = 25  # commands at least; the page has more


def first_words(line: str, known: dict[str, str]) -> str | None:
    """The entry of ``known`` that a line begins with."""
    return next((words for words in known if f"{line} ".startswith(f"{words} ")), None)


RUN = [line for line in commands() if not first_words(line, {**ELSEWHERE, **NOT_RUN})]


def can_be_run() -> str:
    """Why there can be no machine of its own here; "" where there can."""
    if os.geteuid() != 0:
        return "needs root: it makes users, mounts folders and gives files away"
    if subprocess.run([*UNSHARE[:-3], "sh", "-ec", OVERLAY], check=False).returncode:
        return "needs namespaces and overlays, which this machine does not let root have"
    return why_not(64_001, 64_001)


@pytest.mark.needs("influxd", "influxd2", "mosquitto", "ip", "ss", "unshare", "runuser", "useradd")
@pytest.mark.timeout(300)
def test_every_command_works_as_it_is_written_and_in_its_order() -> None:
    if why := can_be_run():
        pytest.skip(why)
    assert len(RUN) > WANTED
    done = subprocess.run(
        UNSHARE, input="\n".join(RUN), cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("words", ELSEWHERE)
def test_what_is_carried_out_elsewhere_is_a_test_that_is_there(words: str) -> None:
    file, _, name = ELSEWHERE[words].partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert Path(file).name.startswith("test_")


@pytest.mark.parametrize("words", [*ELSEWHERE, *NOT_RUN])
def test_no_exception_is_left_over(words: str) -> None:
    assert any(first_words(line, {words: ""}) for line in commands())
