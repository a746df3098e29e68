"""Every verb from the command line to an emulated JT/T 808 terminal and back, all over sockets."""

import contextlib
import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.cli.main import main
from tests.support.databases import read_only
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.ports import free_port

PHONE = "013800138000"
COMMANDS = """
[commands]
enabled = true
allow = ["locate", "track", "text", "check", "emergency_stop"]
"""
UNITS = f"""
[[unit]]
id = "car-1"
name = "巡逻车"
radios = ["jt808:{PHONE}"]
"""
CASES = (
    ("check",),
    ("locate",),
    ("text", "请到东门"),
    ("track", "--every", "2", "--for", "4"),
    ("emergency-stop",),
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("devices")
    (folder / "units.toml").write_text(UNITS, encoding="utf-8")
    port = free_port()
    running = GatewayProcess(folder, settings(port, has_units=True, more=COMMANDS))
    running.start()
    running.wait_for_port(port)
    words = ("emulate", "jt808", "--connect", f"127.0.0.1:{port}", "--number", PHONE)
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *words, "--every", "600"], stdout=subprocess.DEVNULL
    ) as device:
        wait_for(folder, "radio_registered")
        yield running
        device.terminate()
    running.stop()


def wait_for(folder: Path, kind: str, within_s: float = 30.0) -> None:
    """Until an event of this type is in the desk's log."""
    deadline = time.monotonic() + within_s
    while not rows(folder, kind):
        assert time.monotonic() < deadline, f"no {kind}"
        time.sleep(0.1)


def rows(folder: Path, kind: str) -> list[dict[str, object]]:
    with read_only(folder / "var" / "desk.db") as connection:
        found = connection.execute(
            "SELECT payload FROM event WHERE type = ? ORDER BY seq", (kind,)
        ).fetchall()
    return [msgspec.json.decode(payload) for (payload,) in found]


@pytest.mark.slow
@pytest.mark.parametrize("words", CASES, ids=[case[0] for case in CASES])
def test_a_terminal_does_it_and_says_so(gateway: GatewayProcess, words: tuple[str, ...]) -> None:
    verb, *rest = words
    said = io.StringIO()
    before = sys.argv
    sys.argv = ["", "command", verb, "car-1", *rest, "--config", str(gateway.config)]
    try:
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as end:
            main()
    finally:
        sys.argv = before
    lines = said.getvalue().splitlines()
    assert (end.value.code, lines[-1].partition(":")[0]) == (0, "delivered"), said.getvalue()
    command_id = lines[0].rpartition(" ")[2]
    deadline = time.monotonic() + 10
    while not (ends := [each for each in rows(gateway.folder, "command_ended")
                        if each["command_id"] == command_id]):  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [(each["result"], each["radio_id"]) for each in ends] == [
        ("delivered", f"jt808:{PHONE}")
    ]
