"""Parts of docker-compose.yml carried out as they stand there, against real servers.

Only what an engine would do is put in by hand: where a file is mounted, what a name leads to.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.clock import SystemClock
from gateway.model.quantities import NS_PER_S, Instant
from gateway.settings import load_settings
from gateway.sinks.influx import InfluxSink
from gateway.sinks.influx_setup import Admin, set_up
from tests.support.certificates import Authority
from tests.support.influxdb import TOKEN, InfluxDb2
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port
from tests.support.shipped_broker import shipped
from tests.support.sink_rows import fix, row

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
CHECK_S = 30
MARK = "/tmp/forgotten"  # noqa: S108 - in the container, where nobody else is


def check_of(service: str, *put_in: tuple[str, str]) -> int:
    """The exit code of a service's health check."""
    kind, command = COMPOSE["services"][service]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    for inside, outside in put_in:
        assert inside in command
        command = command.replace(inside, outside)
    command = command.replace("$$", "$")
    return subprocess.run(["sh", "-c", command], check=False, timeout=CHECK_S).returncode


def wait_until(happened: Any, what: str, within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0.05)


# ---- the broker


@pytest.fixture(name="broker")
def _broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder, port = tmp_path / "broker", free_port()
    folder.mkdir()
    with Mosquitto(folder, config=shipped(folder, port, "gateway"), port=port) as broker:
        yield broker


def broker_check(folder: Path, port: int) -> int:
    ours = ("localhost", "127.0.0.1"), ("8883", str(port)), ("/mosquitto/", f"{folder}/broker/")
    return check_of("mosquitto", *ours)


@pytest.mark.needs("mosquitto", "mosquitto_sub", "mosquitto_passwd")
def test_the_broker_is_healthy_while_it_answers_over_tls(tmp_path: Path, broker: Mosquitto) -> None:
    assert broker_check(tmp_path, broker.port) == 0
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        assert broker_check(tmp_path, broker.port) != 0, "it hangs, and its port still opens"
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    assert broker_check(tmp_path, broker.port) == 0
    broker.kill()
    assert broker_check(tmp_path, broker.port) != 0


# ---- what may not be kept for so long


@pytest.fixture(name="series")
def _series(tmp_path: Path) -> Iterator[InfluxDb2]:
    with InfluxDb2(tmp_path / "influxdb") as series:
        yield series


def container(folder: Path, url: str) -> str:
    """The files of the service, and its script with the paths of this test."""
    settings = (ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8")
    settings = settings.replace("http://influxdb:8086", url)
    settings = settings.replace("/run/secrets", str(folder))
    (folder / "gateway.toml").write_text(
        settings + '\n[[privacy]]\nkind = "watch"\nkeep_s = 604800\n', encoding="utf-8"
    )
    (folder / "units.toml").write_text('[[team]]\nid = "watch"\nname = "w"\nkind = "watch"\n')
    (folder / "town.geojson").write_bytes((ROOT / "config/town.geojson").read_bytes())
    for name in COMPOSE["services"]["forget"]["secrets"]:
        (folder / name).write_text(TOKEN)
    shell, script = COMPOSE["services"]["forget"]["entrypoint"]
    assert shell == "sh"
    text = (ROOT / "config/compose" / Path(script).name).read_text(encoding="utf-8")
    for inside, outside in (
        (MARK, folder / "forgotten"),
        ("/etc/pdt-gateway", folder),
        ("/run/secrets", folder),
    ):
        assert inside in text
        text = text.replace(inside, str(outside))
    assert "sleep 600\n" in text
    return text.replace("sleep 600\n", "sleep 0.2\n")


@pytest.mark.needs("influxd2")
def test_positions_are_forgotten_daily_and_a_failure_is_seen_and_tried_again(
    tmp_path: Path, series: InfluxDb2
) -> None:
    script = container(tmp_path, series.url)
    town = load_settings(tmp_path / "gateway.toml")
    set_up(town, Admin(token=TOKEN))
    days_ago = {day: Instant(SystemClock().now() - day * 86_400 * NS_PER_S) for day in (1, 9)}

    async def write() -> None:
        sink = InfluxSink(
            load_settings(with_token(tmp_path, series)), clock=SystemClock(), figures=lambda _: ()
        )
        events = [fix(day, fix_at=at, received_at=at, team="watch") for day, at in days_ago.items()]
        await sink.deliver([row(number, event) for number, event in enumerate(events, 1)])
        await sink.close()

    asyncio.run(write())

    def days() -> int:
        return len(series.query('SELECT "lat" FROM "position"'))

    assert days() == 2
    token, done = tmp_path / "influx_admin_token", tmp_path / "forgotten"
    token.write_text("not the token")
    health = (MARK, str(done))
    log = tmp_path / "log"
    bin_folder = Path(sys.executable).parent
    with log.open("wb") as out:
        running = subprocess.Popen(
            ["sh", "-c", script], stdout=out, stderr=out, cwd=tmp_path, start_new_session=True,
            env={"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        )  # fmt: skip
    try:
        wait_until(lambda: log.read_text().count("401") > 1, "tried again")
        assert check_of("forget", health) != 0
        assert days() == 2
        token.write_text(TOKEN)
        wait_until(done.exists, "deleted")
        assert days() == 1
        assert check_of("forget", health) == 0
        os.utime(done, (time.time() - 26 * 3600,) * 2)
        assert check_of("forget", health) != 0, "the daily one did not come"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert TOKEN not in log.read_text()


def with_token(folder: Path, series: InfluxDb2) -> Path:
    """Settings that may write: the users of the container are another test's."""
    file = folder / "writer.toml"
    file.write_text(f'[site]\nid = "town"\n[influx]\n{series.settings_text}')
    return file


# ---- who comes from where: Docker's addresses


BRIDGE, RADIO, OFFICE = "172.31.80.1", "192.168.10.7", "192.168.20.7"


def box(folder: Path, settings: str, *questions: list[Any]) -> list[Any]:
    """The answers of a gateway with these settings, in a network of its own."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("needs root and unshare --net, for addresses of its own")
    authority = Authority(folder / "authority")
    text = settings.replace("/run/secrets/mqtt_ca", str(authority.file))
    text = text.replace("/run/secrets", str(folder)).replace("/var/lib/pdt-gateway", str(folder))
    (folder / "gateway.toml").write_text(text, encoding="utf-8")
    for name in ("units.toml", "town.geojson"):
        (folder / name).write_bytes((ROOT / "config" / name).read_bytes())
    for name in COMPOSE["services"]["gateway"]["secrets"]:
        (folder / name).write_text("secret")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.support.compose_box",
         folder / "gateway.toml"],
        cwd=ROOT, input=json.dumps(questions), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.mark.needs("ip", "unshare", "openssl")
def test_terminals_are_heard_and_the_page_is_guarded_by_where_they_really_come_from(
    tmp_path: Path,
) -> None:
    """As the containers see it: who is on the machine by the bridge, others as they are."""
    shipped = (ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8")
    (tmp_path / "shipped").mkdir()
    assert box(
        tmp_path / "shipped", shipped,
        ["terminal", BRIDGE],
        ["terminal", RADIO],
        ["page", "127.0.0.1", "/healthz", {}],
        ["page", BRIDGE, "/metrics", {}],
        ["page", BRIDGE, "/metrics", {"X-Forwarded-For": OFFICE}],
        ["page", OFFICE, "/metrics", {}],
        ["page", OFFICE, "/metrics", {"X-Forwarded-For": BRIDGE}],
        ["page", OFFICE, "/healthz", {}],
    ) == [True, False, 200, 200, 401, 401, 401, 200]  # fmt: skip

    opened = re.sub(r'^  # (?="192)', "  ", shipped, flags=re.MULTILINE)
    assert opened != shipped
    opened = opened.replace('metrics_allow = ["127', f'metrics_allow = ["{OFFICE}/32", "127')
    (tmp_path / "opened").mkdir()
    assert box(
        tmp_path / "opened", opened,
        ["terminal", RADIO],
        ["terminal", OFFICE],
        ["page", OFFICE, "/metrics", {}],
        ["page", BRIDGE, "/metrics", {"X-Forwarded-For": OFFICE}],
    ) == [True, False, 200, 200]  # fmt: skip
