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
from tests.conftest import find_tool
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port
from tests.support.sink_rows import States, fix, raised, row, running
from tools import make_secrets

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.needs("openssl")


def run_it(folder: Path, *words: str, code: int = 0) -> str:
    """What it said."""
    script = ROOT / "tools" / "make_secrets.py"
    command: list[str | Path] = [sys.executable, script, "--folder", folder, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def changed(folder: Path, before: dict[str, bytes]) -> set[str]:
    after = contents(folder)
    return {name for name in after if after[name] != before.get(name)}


def good_for(folder: Path, name: str, purpose: str = "sslserver", of: str = "mqtt_server") -> bool:
    """Whether openssl takes the certificate for this name and purpose, from this authority."""
    kind = "-verify_ip" if name.replace(".", "").isdigit() else "-verify_hostname"
    words: list[str | Path] = ["verify", "-CAfile", folder / "mqtt_ca.crt", "-purpose", purpose]
    named = [kind, name] if name else []
    done = subprocess.run(
        ["openssl", *words, *named, folder / f"{of}.crt"], capture_output=True, check=False
    )
    return done.returncode == 0


def test_the_folder_is_closed_and_a_further_run_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run_it(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "mqtt_ca.key").stat().st_mode) == 0o400
    before = contents(folder)
    assert "everything was there" in run_it(folder)
    assert not changed(folder, before)
    (folder / "grafana_admin_password").unlink()
    told = run_it(folder)
    assert contents(folder).keys() == before.keys()
    assert changed(folder, before) == {"grafana_admin_password"}
    assert "grafana_admin_password: its database still has the old one" in told
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for title in ("Passwords", "Certificates"):
        assert f"\n### {title}\n" in page, "the tool sends people there"


def test_a_brokers_password_made_anew_is_the_one_that_the_broker_asks_for(tmp_path: Path) -> None:
    run_it(tmp_path)
    passwords = tmp_path / "mqtt_passwords"
    app = f"app:{make_secrets.mosquitto_hash('secret', b'123456789012')}"
    passwords.chmod(0o644)
    passwords.write_text(f"{passwords.read_text()}{app}\n")
    before = contents(tmp_path)
    run_it(tmp_path)
    assert not changed(tmp_path, before), "a user of somebody else's is no fault"
    (tmp_path / "mqtt_gateway_password").unlink()
    told = run_it(tmp_path)
    assert changed(tmp_path, before) == {"mqtt_gateway_password", "mqtt_passwords"}
    assert "docker compose restart mosquitto gateway" in told
    old, new = before["mqtt_passwords"].decode().splitlines(), passwords.read_text().splitlines()
    assert [line.split(":")[0] for line in new] == [*make_secrets.MQTT_USERS, "app"]
    assert new[1:] == old[1:], "the others' stay"
    deliver_to_the_broker(tmp_path)


def test_a_further_name_is_added_and_those_of_before_stay(tmp_path: Path) -> None:
    run_it(tmp_path)
    before = contents(tmp_path)
    assert good_for(tmp_path, "mosquitto")
    assert not good_for(tmp_path, "broker.town.local")
    told = run_it(tmp_path, "--name", "Broker.town.local", "--name", "192.168.10.2")
    assert "mqtt_server.crt (a further name)" in told
    assert changed(tmp_path, before) == {"mqtt_server.crt", "mqtt_server.key"}, "one authority"
    before = contents(tmp_path)
    run_it(tmp_path, "--name", "broker.town.local")
    run_it(tmp_path)
    assert not changed(tmp_path, before)
    run_it(tmp_path, "--name", "fd00:0::1")
    for name in ("mosquitto", "127.0.0.1", "broker.town.local", "192.168.10.2"):
        assert good_for(tmp_path, name), name
    before = contents(tmp_path)
    run_it(tmp_path, "--name", "FD00::1")
    assert not changed(tmp_path, before)
    deliver_to_the_broker(tmp_path)


def test_a_certificate_is_made_anew_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_it(tmp_path, "--name", "broker.town.local", "--client", "app")
    authority = (tmp_path / "mqtt_ca.crt").read_bytes()
    for name in ("mqtt_server.crt", "mqtt_client_app.crt"):
        (tmp_path / name).unlink()
    monkeypatch.setattr(make_secrets, "CERTIFICATE_DAYS", make_secrets.RENEW_DAYS - 1)
    make_secrets.make_certificates(tmp_path, ["broker.town.local"], ["app"])
    monkeypatch.undo()
    before = contents(tmp_path)
    told = run_it(tmp_path)
    assert "mqtt_server.crt (its end was near)" in told
    assert "mqtt_client_app.crt (its end was near)" in told
    assert "hand what is new to the clients" in told
    assert changed(tmp_path, before) == {
        f"{stem}.{kind}" for stem in ("mqtt_server", "mqtt_client_app") for kind in ("crt", "key")
    }
    assert good_for(tmp_path, "broker.town.local")
    assert (tmp_path / "mqtt_ca.crt").read_bytes() == authority
    assert not [file for file in tmp_path.iterdir() if file.is_dir()], "nothing lies about"


def test_an_authority_that_ends_before_what_it_signs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_secrets, "CERTIFICATE_DAYS", 200)  # the authority: four times that
    make_secrets.make_certificates(tmp_path, [])
    told = run_it(tmp_path)
    assert "mqtt_ca.crt: ends before a new certificate would" in told


@pytest.mark.parametrize("lost", ["mqtt_server.key", "mqtt_server.crt", "mqtt_ca.crt"])
def test_what_does_not_fit_together_any_more_is_made_anew(tmp_path: Path, lost: str) -> None:
    run_it(tmp_path, "--client", "app")
    (tmp_path / lost).unlink()
    run_it(tmp_path)
    assert good_for(tmp_path, "mosquitto")
    assert good_for(tmp_path, "", "sslclient", "mqtt_client_app")
    deliver_to_the_broker(tmp_path)


def test_a_key_of_another_certificate_is_seen(tmp_path: Path) -> None:
    run_it(tmp_path, "--client", "app")
    (tmp_path / "mqtt_client_app.key").replace(tmp_path / "mqtt_server.key")
    assert "mqtt_server.crt (of another key)" in run_it(tmp_path)


def test_without_the_authoritys_key_nothing_is_broken_and_it_says_what_to_do(
    tmp_path: Path,
) -> None:
    run_it(tmp_path)
    (tmp_path / "mqtt_ca.key").unlink()
    before = contents(tmp_path)
    run_it(tmp_path)  # it may be kept elsewhere, where nothing has to be signed
    told = run_it(tmp_path, "--name", "broker.town.local", code=1)
    assert "bring mqtt_ca.key back" in told
    assert not changed(tmp_path, before)


def test_a_client_gets_a_certificate_that_is_good_for_nothing_else(tmp_path: Path) -> None:
    run_it(tmp_path, "--client", "app-plaza")
    stem = "mqtt_client_app-plaza"
    assert good_for(tmp_path, "", "sslclient", stem)
    assert not good_for(tmp_path, "", "sslserver", stem)
    assert not good_for(tmp_path, "", "sslclient", "mqtt_server")
    shown = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / f"{stem}.crt", "-noout", "-subject"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown.strip().endswith("CN = app-plaza"), "its name is its user's"
    for wrong in ("../x", "a/CN=gateway", ""):
        assert "use letters" in run_it(tmp_path, "--client", wrong, code=1)


@pytest.mark.needs("make")
def test_make_passes_names_and_clients_on() -> None:
    asked = [
        "make",
        "--no-print-directory",
        "-n",
        "secrets",
        "NAMES=broker.town.local 192.168.10.2",
        "CLIENTS=app",
    ]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.split()[1:] == [
        "tools/make_secrets.py", "--name", "broker.town.local", "--name", "192.168.10.2",
        "--client", "app",
    ]  # fmt: skip


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
    deliver_to_the_broker(tmp_path)


def deliver_to_the_broker(tmp_path: Path) -> None:
    """With the secrets of this folder, over TLS; left out where there is no broker."""
    if find_tool("mosquitto") is None:
        return
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
