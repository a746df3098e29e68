"""What tools/make_secrets.py makes fits the broker's configuration and the gateway's settings."""

import asyncio
import base64
import getpass
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.model import emergency as transitions
from gateway.runtime.backoff import Backoff
from gateway.settings import Loaded, load_settings
from gateway.sinks.mqtt import MqttSink
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port
from tests.support.sink_rows import States, fix, raised, row, running
from tools import make_secrets

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.needs("openssl")


def run_it(folder: Path) -> None:
    script = ROOT / "tools" / "make_secrets.py"
    command: list[str | Path] = [sys.executable, script, "--folder", folder]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_the_folder_is_closed_and_a_further_run_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run_it(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "mqtt_ca.key").stat().st_mode) == 0o400
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "grafana_admin_password").unlink()
    run_it(folder)
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    changed = {name for name, content in after.items() if before[name] != content}
    assert after.keys() == before.keys()
    assert changed == {"grafana_admin_password"}


def test_every_secret_is_another_one_and_long(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        make_secrets.make_passwords(folder)
    seen = [(f / name).read_text().strip() for f in folders for name in make_secrets.PASSWORDS]
    assert len(set(seen)) == len(seen)
    assert min(map(len, seen)) >= 32


def test_every_secret_of_the_compose_file_is_made(tmp_path: Path) -> None:
    run_it(tmp_path)
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    named = {line.partition("./secrets/")[2].rstrip("}") for line in text.splitlines()}
    assert named - {""} <= {file.name for file in tmp_path.iterdir()}


def settings_with(folder: Path, port: int) -> Loaded:
    """The compose file's settings, with this test's broker and folder."""
    text = (ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8")
    text = text.replace('host = "mosquitto"\nport = 8883', f'host = "127.0.0.1"\nport = {port}')
    text = text.replace("/run/secrets/mqtt_ca", f"{folder}/mqtt_ca.crt")
    file = folder / "gateway.toml"
    file.write_text(text.replace("/run/secrets/", f"{folder}/"), encoding="utf-8")
    return load_settings(file)


def broker_with(folder: Path, port: int) -> Path:
    """The shipped configuration, where the compose file would put the secrets."""
    text = (ROOT / "config/mosquitto.conf").read_text(encoding="utf-8")
    for inside, outside in (
        ("/mosquitto/config/passwords", f"{folder}/mqtt_passwords"),
        ("/mosquitto/config/certs/ca.crt", f"{folder}/mqtt_ca.crt"),
        ("/mosquitto/config/certs/server.", f"{folder}/mqtt_server."),
        ("/mosquitto/config/mosquitto.acl", f"{ROOT}/config/mosquitto.acl"),
        ("/mosquitto/data/", f"{folder}/"),
        ("listener 8883\n", f"listener {port} 127.0.0.1\n"),
    ):
        assert inside in text
        text = text.replace(inside, outside)
    file = folder / "mosquitto.conf"
    file.write_text(f"user {getpass.getuser()}\n{text}", encoding="utf-8")
    return file


@pytest.mark.needs("mosquitto")
def test_the_gateway_of_the_compose_file_delivers_to_its_broker(tmp_path: Path) -> None:
    run_it(tmp_path)
    port = free_port()
    loaded = settings_with(tmp_path, port)
    press = raised(1, site=loaded.settings.site.id)
    states = States()
    states.put(transitions.raised(press))

    async def scenario() -> None:
        sink = MqttSink(
            loaded, states=states, clock=SystemClock(), backoff=Backoff(first_s=0.05, most_s=0.2)
        )
        async with running(sink):
            delivery = await sink.deliver([row(1, fix(1, site=loaded.settings.site.id))])
            assert delivery.accepted == [1]
            delivery = await sink.deliver([row(2, press)])
            assert delivery.accepted == [2]
            assert not sink.refused

    with Mosquitto(tmp_path, config=broker_with(tmp_path, port), port=port):
        asyncio.run(scenario())


@pytest.mark.needs("mosquitto_passwd")
def test_the_brokers_own_tool_makes_the_same_hash(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("gateway:open sesame\n")
    subprocess.run(["mosquitto_passwd", "-U", file], check=True, timeout=30)
    kind, rounds, salt, _ = file.read_text().strip().partition(":")[2].lstrip("$").split("$")
    assert kind == "7"
    ours = make_secrets.mosquitto_hash("open sesame", base64.b64decode(salt), int(rounds))
    assert f"gateway:{ours}" == file.read_text().strip()
