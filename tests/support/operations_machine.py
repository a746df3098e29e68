"""A machine of its own, on which docs/operations.md is carried out from its first line to its last.

``unshare --mount --net --pid --fork --mount-proc --kill-child python -m
tests.support.operations_machine`` is root on it. Its folders lie over those of the real machine,
its loopback has every port free, and all of it is gone with the process. Each command runs as it
is written, in the page's order, by a shell: only waiting times are cut. What lies between them, a
person's editing and the servers of a site, is in ``BEFORE``.

There is no systemd here. ``Services`` does what it does with a unit as it is installed: its user,
its groups, its credentials, its command.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from gateway.settings import load_settings
from gateway.sinks.influx_setup import Admin, set_up
from tests.support.documents import FENCED, ROOT, text_of
from tests.support.influxdb import TOKEN, InfluxDb, InfluxDb2, InfluxServer
from tests.support.mosquitto import Mosquitto

PAGE = ROOT / "docs" / "operations.md"
SCRATCH = Path("/mnt")
OVERLAID = ("/etc", "/opt", "/root", "/srv", "/tmp", "/usr/local", "/var")  # noqa: S108 - our own
PROGRAM, CONFIG, DATA = (
    Path("/opt/pdt-gateway"),
    Path("/etc/pdt-gateway"),
    Path("/var/lib/pdt-gateway"),
)
UNITS = Path("/etc/systemd/system")
ONE_RUN_USER = 64_100  # of a unit with DynamicUser
LIMIT_S = 60.0
RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230326,003.1,W*63\r\n"
AUTOGEN = "ALTER RETENTION POLICY autogen ON pdt"
FRAME = (
    "7e0200402201000000000138001380000008000000010000000201cd77ed07299100"
    "000c0024005725062410153030011f310109737e\n"
)
TEAM = '[[team]]\nid = "w"\nname = "w"\nkind = "watch"\nduty = ["daily 08:00-20:00"]\n'
MORE = """
[[link]]
id = "gnss-1"
driver = "nmea0183"
transport = "replay"
file = "gnss.rec"
speed = 0

[[privacy]]
kind = "watch"
keep_s = 604800
"""
COMMAND = re.compile(
    r"(pdt-gateway|runuser|make|install|systemctl|systemd-analyze|journalctl|docker|promtool|ss|du)"
    r" \S"
)
SHORTER = (
    ("--seconds 60", "--seconds 1"),
    ("--seconds 5", "--seconds 1"),
    ("--press-after 10", "--press-after 0.2 --seconds 1"),
)


def commands() -> Iterator[str]:
    """The page's commands in its order: lines of its blocks, and code in a line that is one."""
    for found in re.finditer(rf"{FENCED.pattern}|`([^`\n]+)`", text_of(PAGE), FENCED.flags):
        _, language, body, inline = found.groups()
        if body is not None and language == "":
            lines = (re.split(r"\s{2,}#", line)[0].strip() for line in body.splitlines())
            yield from (line for line in lines if re.match(r"[a-z][\w.-]* \S", line))
        elif inline is not None and COMMAND.match(inline) and is_whole(inline):
            yield inline


def is_whole(inline: str) -> bool:
    """Whether code in a line is a command, and not the name of one."""
    words = shlex.split(inline)
    return words[0] != "pdt-gateway" or "--config" in words or words[1] == "number"


class Services:
    """What systemd does with our units."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self.log = SCRATCH / "journal"

    def obey(self, words: list[str]) -> None:
        """``systemctl …``."""
        match words:
            case ["daemon-reload"] | ["enable", "--now", "pdt-gateway-forget.timer"]:
                assert (UNITS / "pdt-gateway-forget.timer").is_file() or words[0] != "enable"
            case ["start", "pdt-gateway-forget"]:
                process = self._start("pdt-gateway-forget")
                assert process.wait(LIMIT_S) == 0, self.log.read_text()
            case ["status", "pdt-gateway"]:
                assert self._running is not None
            case ["enable", "--now", "pdt-gateway"] | ["start", "pdt-gateway"]:
                self.start()
            case ["stop", "pdt-gateway"]:
                self.stop()
            case ["restart", "pdt-gateway"]:
                self.stop()
                self.start()
            case _:
                raise AssertionError(f"systemctl {shlex.join(words)}: nobody knows it here")

    def start(self) -> None:
        """The gateway, until its page answers."""
        if self._running is not None:
            return
        self._running = self._start("pdt-gateway")
        deadline = time.monotonic() + LIMIT_S
        while True:
            assert self._running.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get("http://127.0.0.1:8080/healthz", trust_env=False).is_success:
                    return
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM; it has to end well."""
        if self._running is not None:
            self._running.terminate()
            assert self._running.wait(LIMIT_S) == 0, self.log.read_text()
            self._running = None

    def kill(self) -> None:
        """Whatever has become of it."""
        if self._running is not None:
            self._running.kill()
            self._running.wait(LIMIT_S)

    def _start(self, unit: str) -> subprocess.Popen[bytes]:
        text = (UNITS / f"{unit}.service").read_text()
        found = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
        user = found.get("User", ONE_RUN_USER)
        environment = {"PATH": "/usr/bin:/bin"}
        if credential := found.get("LoadCredential"):
            name, _, file = credential.partition(":")
            place = SCRATCH / "credentials"
            place.mkdir()
            (place / name).write_bytes(Path(file).read_bytes())
            os.chown(place / name, int(user), 0)
            environment["CREDENTIALS_DIRECTORY"] = str(place)
            place.chmod(0o755)
        words = [
            re.sub(r"\$\{(\w+)\}", lambda name: environment[name[1]], word)
            for word in shlex.split(found["ExecStart"])
        ]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment,
                user=user, group=found.get("Group", ONE_RUN_USER), umask=int(found["UMask"], 8),
                extra_groups=found.get("SupplementaryGroups", "").split(),
            )  # fmt: skip


class Machine:
    """The machine, and the site around it."""

    def __init__(self, series: InfluxDb, series2: InfluxDb2) -> None:
        self.services = Services()
        self._series, self._series2 = series, series2
        self._folder = Path("/root")
        self._settings = ""  # without the series

    def carry_out(self, line: str) -> None:
        """One command of the page."""
        for mark, prepare in BEFORE.items():
            if mark in line:
                prepare(self)
        if is_restore(line):
            self.empty()
        words = shlex.split(line)
        if words[0] == "cd":
            self._folder = Path(words[1])
            return
        if words[0] == "systemctl":
            self.services.obey(words[1:])
            return
        for long, short in SHORTER:
            line = line.replace(long, short)
        done = subprocess.run(
            ["sh", "-c", f"umask 077; {line}"], cwd=self._folder, capture_output=True, text=True,
            check=False, timeout=LIMIT_S, stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
        print(f"$ {line}\n{done.stdout}{done.stderr}", flush=True)
        assert done.returncode == 0, f"{line}: {done.returncode}"
        assert "Traceback" not in done.stderr
        if is_restore(line):
            self.check_restored()

    def edit(self) -> None:
        """What the page leaves to the person before the first check: links, units, series."""
        if self._settings:
            return
        (CONFIG / "units.toml").write_text(TEAM)
        self._put("gnss.rec", RMC * 50)
        self._put("influx_token", TOKEN.encode())
        self._settings = (CONFIG / "gateway.toml").read_text() + MORE
        self.use_first()

    def use_first(self) -> None:
        """The site has an InfluxDB 1.x, which keeps positions for 28 days."""
        self._use(self._series)
        self._series.query(f"{AUTOGEN} DURATION 28d")

    def mend(self) -> None:
        """It refused the receiver's positions of March as too old; now it takes them."""
        self.use_first()
        self._series.query(f"{AUTOGEN} DURATION INF")

    def use_second(self) -> None:
        """The site has an InfluxDB 2.x, and its places: the page sets them up further down."""
        self._use(self._series2, 'token_file = "influx_token"\n')
        set_up(load_settings(CONFIG / "gateway.toml"), Admin(token=TOKEN))

    def _use(self, series: InfluxServer, secret: str = "") -> None:
        table = {key: value for key, value in series.settings.items() if key != "token_file"}
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        text = f"{self._settings}\n[influx]\n{lines}{secret}"
        (CONFIG / "gateway.toml").write_text(text)  # an editor leaves owner and mode as they are

    def _put(self, name: str, content: bytes) -> None:
        """As the page says of files that come later: root's, and the service may read them."""
        (CONFIG / name).write_bytes(content)
        (CONFIG / name).chmod(0o640)
        shutil.chown(CONFIG / name, "root", "pdt-gateway")

    def empty(self) -> None:
        """Another machine, installed anew: the folders of the page and nothing in them."""
        self.services.stop()
        for folder in (CONFIG, DATA):
            for there in folder.iterdir():
                shutil.rmtree(there) if there.is_dir() else there.unlink()

    def check_restored(self) -> None:
        """The service works with what came back, once the secrets are beside it."""
        self._put("gnss.rec", RMC * 50)
        self._put("influx_token", TOKEN.encode())
        self.services.start()
        self.services.stop()


def is_restore(line: str) -> bool:
    """The one that brings everything back."""
    return " restore " in line and line.endswith(".tar")


BEFORE: dict[str, Callable[[Machine], None]] = {
    " check --config": Machine.edit,
    "--password-file root.pw": Machine.use_first,
    "--token-file admin.token": Machine.use_second,
    "--offer-again": Machine.mend,
    " record ": lambda machine: machine.services.stop(),
    " emulate ": lambda machine: machine.services.start(),
}


def lay_over(lower: Path, place: Path) -> None:
    """``lower`` at ``place``; what is written there stays on this machine."""
    name = str(place).strip("/").replace("/", "-")
    upper, work = SCRATCH / f"{name}-upper", SCRATCH / f"{name}-work"
    upper.mkdir()
    work.mkdir()
    upper.chmod(lower.stat().st_mode & 0o7777)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, place], check=True)


def main() -> None:
    """Make the machine, then carry out the commands of the standard input, one a line."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", SCRATCH], check=True)
    for place in map(Path, OVERLAID):
        lay_over(place, place)
    for folder in (PROGRAM, UNITS, Path("/etc/udev/rules.d")):  # systemd and udev bring theirs
        folder.mkdir(parents=True, exist_ok=True)
    lay_over(ROOT, PROGRAM)
    for folder in (PROGRAM, Path("/root")):
        (folder / "frames.txt").write_text(FRAME)
        (folder / "root.pw").write_text("a")
        (folder / "mqtt_password").write_text("a")
        (folder / "admin.token").write_text(TOKEN)
    site = SCRATCH / "site"
    site.mkdir()
    with (
        Mosquitto(site, port=1883),
        InfluxDb(site / "1x") as series,
        InfluxDb2(site / "2x") as series2,
    ):
        series.create()
        machine = Machine(series, series2)
        try:
            for line in sys.stdin.read().splitlines():
                machine.carry_out(line)
        finally:
            machine.services.kill()


if __name__ == "__main__":
    main()
