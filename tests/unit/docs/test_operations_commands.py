"""Every command of docs/operations.md is run, on a folder that stands for the machine.

Our own commands run as they are written, with the page's paths led into the folder and against real
servers where one is at hand. Commands of the system that install, start or pull things are not run
here: each is named below with where else it is held.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.sinks.influx_setup import Admin, set_up
from tests.support.documents import ROOT, blocks
from tests.support.gateway_process import GatewayProcess
from tests.support.influxdb import ORG, TOKEN, InfluxDb, InfluxDb2
from tests.support.ports import free_port
from tests.support.sink_rows import loaded

PAGE = ROOT / "docs" / "operations.md"
ELSEWHERE = {  # first words: why it is not run here
    "cd": "a folder",
    "make setup": "it made this environment",
    "make secrets": "tests/security/test_make_secrets.py",
    "useradd": "changes the machine",
    "install": "changes the machine; what it copies is looked for below",
    "systemctl": "tests/security/test_service_files.py: systemd-analyze reads the unit",
    "journalctl": "needs the journal of the machine",
    "docker": "no engine; tests/security/test_compose.py reads the files",
    "udevadm": "needs a port; tests/security/test_service_files.py reads the rules",
    "ls": "shows what is plugged in",
}
SERIES_V1, SERIES_V2 = "--password-file root.pw", "--token-file admin.token"
RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230326,003.1,W*63\r\n"
FRAME = (
    "7e0200402201000000000138001380000008000000010000000201cd77ed07299100"
    "000c0024005725062410153030011f310109737e\n"
)


def commands() -> list[str]:
    """The lines of the page's command blocks, comments away."""
    found: list[str] = []
    for language, body in blocks(PAGE):
        if language in {"", "sh"}:
            lines = (line.partition("  #")[0].strip() for line in body.splitlines())
            found += [line for line in lines if re.match(r"[a-z/][\w./-]* ?", line)]
    return [line for line in found if "http://127" not in line]  # what the gateway prints


def ours(line: str) -> list[str] | None:
    """The words after the program's name; None for another program's command."""
    words = shlex.split(line)
    if words[:2] == ["sudo", "-u"]:
        words = words[3:]
    return words[1:] if words and Path(words[0]).name == "pdt-gateway" else None


OURS = [line for line in commands() if ours(line) is not None]


class Machine:
    """A folder with what the page speaks of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.radio, self.page = free_port(), free_port()
        for name in ("etc", "data", "backup", "here"):
            (folder / name).mkdir()
        (folder / "here" / "frames.txt").write_text(FRAME)
        (folder / "here" / "root.pw").write_text("a")
        (folder / "here" / "admin.token").write_text(TOKEN)

    def settings(self, influx: str, more: str = "") -> None:
        (self.folder / "etc" / "gateway.toml").write_text(
            f'[site]\nid = "town"\ndata_dir = "{self.folder}/data"\nunits_file = "units.toml"\n'
            f'[desk]\nlisten = "127.0.0.1:{self.page}"\n'
            f'[[link]]\nid = "terminals"\ndriver = "jt808"\ntransport = "tcp_server"\n'
            f'listen = "127.0.0.1:{self.radio}"\n'
            '[[link]]\nid = "gnss-1"\ndriver = "nmea0183"\ntransport = "replay"\n'
            f'file = "{self.folder}/here/gnss.rec"\n'
            f'[influx]\nenabled = true\nurl = "{influx}"\n{more}'
        )
        (self.folder / "etc" / "units.toml").write_text(
            '[[team]]\nid = "w"\nname = "w"\nkind = "watch"\n'
        )

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        words = ours(line)
        assert words is not None
        if words[0] == "emulate":
            words += ["--seconds", "1"]
        text = "\0".join(words)
        for there, here in (
            ("/tmp/", "here/"),  # noqa: S108 - as the page says; first, since ours may lie there
            ("/etc/pdt-gateway", "etc"),
            ("/var/lib/pdt-gateway", "data"),
            ("/srv/backup", "backup"),
        ):
            text = text.replace(there, f"{self.folder}/{here}")
        text = text.replace("127.0.0.1:10808", f"127.0.0.1:{self.radio}").replace("\x0060", "\x001")
        return subprocess.run(
            [sys.executable, "-m", "gateway", *text.split("\0")],
            cwd=self.folder / "here", capture_output=True, text=True, check=False, timeout=60,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Machine:
    """A machine on which the gateway has run once, and stands still."""
    machine = Machine(tmp_path)
    recording = tmp_path / "here" / "gnss.rec"
    recording.write_bytes(RMC * 50)
    machine.settings("http://127.0.0.1:9")
    gateway = GatewayProcess(tmp_path, (tmp_path / "etc" / "gateway.toml").read_text())
    gateway.config.write_text(gateway.config.read_text().replace('"units.toml"', '""'))
    gateway.start()
    try:
        gateway.wait_for_port(machine.page)
        gateway.stop()
    finally:
        gateway.kill()
    return machine


def test_every_other_command_is_held_elsewhere() -> None:
    others = [line for line in commands() if ours(line) is None]
    unknown = [line for line in others if not any(line.startswith(known) for known in ELSEWHERE)]
    assert not unknown
    for line in others:
        if line.startswith("install ") and not line.startswith("install -d"):
            for word in shlex.split(line):
                if word.startswith("config/"):
                    assert (ROOT / word).is_file(), word


@pytest.mark.needs("influxd", "influxd2")
@pytest.mark.timeout(300)
def test_every_command_of_ours_runs(machine: Machine) -> None:
    run = 0
    with InfluxDb(machine.folder) as database, InfluxDb2(machine.folder / "2x") as database2:
        database.query("CREATE DATABASE pdt WITH DURATION 28d", db="")
        set_up(loaded(machine.folder, influx=database2.settings), Admin(token=TOKEN))
        for line in OURS:
            if SERIES_V2 in line:
                machine.settings(
                    database2.url, f'org = "{ORG}"\n[[privacy]]\nkind = "watch"\nkeep_s = 60\n'
                )
            else:
                machine.settings(database.url, 'api = "1"\n')
            if " init " in line:
                (machine.folder / "etc" / "gateway.toml").unlink()
                (machine.folder / "etc" / "units.toml").unlink()
            if (
                " restore " in line
                and "--" not in line.partition(" restore ")[2].partition("--config")[2]
            ):
                for file in (machine.folder / "data").glob("*.db*"):
                    file.unlink()
            done = machine.run(line)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            assert "Traceback" not in done.stderr
            run += 1
    assert run > 12
