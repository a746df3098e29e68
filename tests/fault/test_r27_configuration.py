"""R27: two hundred mutated configurations: no traceback, and each message names file and key.

The example settings with every key switched on are mutated by a seed: a value of another type, out
of range, empty, very long; a key misspelt, doubled, missing; a table of another kind; bytes that
are no text. There is no reload: settings are read once, at the start, so a bad file can take
nothing away from a running gateway; that it does not start with one is shown here too.
"""

import random
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gateway.catalog import Catalog
from gateway.check import check
from gateway.errors import ConfigError
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port

CONFIG = Path(__file__).resolve().parents[2] / "config"
SWITCHED_OFF = re.compile(r'^#(?=[a-z_]+ = |"[^"]+" = |\[)', re.MULTILINE)
LINE = re.compile(r"^([a-z_]+) = (.*?)(\s+#.*)?$")
MUTATIONS = 200
WRONG: tuple[str, ...] = (
    "-1", "0", "99999999999999999999", "1.5", '""', '"x"', "true", "[]", "{}", "[[1]]",
    "2026-01-01", '"' + "9" * 5000 + '"', '"../../../etc/shadow"', '"\\u0000"', "nan", "inf",
    '"0.0.0.0:99999"', '"东"', "'#+'", "[1, 2",
)  # fmt: skip

pytestmark = pytest.mark.fault


def everything() -> str:
    return SWITCHED_OFF.sub("", (CONFIG / "gateway.toml").read_text(encoding="utf-8"))


def mutated(text: str, chance: random.Random) -> tuple[bytes, str]:
    """A spoiled file, and the key that was spoiled ("" where it is not one)."""
    lines = text.splitlines()
    places = [number for number, line in enumerate(lines) if LINE.match(line)]
    at = chance.choice(places)
    found = LINE.match(lines[at])
    assert found is not None
    key = found[1]
    kind = chance.randrange(8)
    if kind < 4:
        lines[at] = f"{key} = {chance.choice(WRONG)}"
    elif kind == 4:
        lines[at] = f"{key[:-1]}{chance.choice('xyz_')} = {found[2]}"
    elif kind == 5:
        lines.insert(at, lines[at])
    elif kind == 6:
        del lines[at]
    else:
        raw = bytearray("\n".join(lines).encode())
        for _ in range(chance.randrange(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        return bytes(raw), ""
    return "\n".join(lines).encode(), key


def outcome(file: Path, catalog: Catalog) -> str:
    """The message, or nothing where it was accepted; any error but a ConfigError is a failure."""
    try:
        check(file, catalog)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.timeout(120)
def test_no_mutation_ends_in_a_traceback_and_each_message_names_file_and_key(
    tmp_path: Path,
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    catalog = Catalog.scan()
    for beside in ("units.toml", "town.geojson"):
        (tmp_path / beside).write_bytes((CONFIG / beside).read_bytes())
    file = tmp_path / "gateway.toml"
    text = everything()
    refused = accepted = 0
    for number in range(MUTATIONS):
        raw, key = mutated(text, chance)
        file.write_bytes(raw)
        message = outcome(file, catalog)
        if not message:
            accepted += 1
            continue
        refused += 1
        # the settings file, or the file that a changed path now leads to
        names_a_file = message.startswith((str(tmp_path), "/etc/shadow: "))
        assert names_a_file, f"{number}: {message}"
        assert "Traceback" not in message
        assert len(message) < 12_000
        if key and _is_toml(raw):
            where = message.partition(": ")[2]
            assert re.search(r"[a-z_]", where), message
    print(f"{refused} refused with file and key, {accepted} were still valid")
    assert refused > MUTATIONS / 3


def _is_toml(raw: bytes) -> bool:
    try:
        tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
    return True


@pytest.mark.parametrize("name", ["units.toml", "mqtt_ca.crt", "mqtt_password"])
@pytest.mark.parametrize("how", ["missing", "a folder", "noise"])
def test_a_file_that_the_settings_name_and_cannot_be_read_stops_the_start(
    tmp_path: Path, name: str, how: str
) -> None:
    """Access control never fails open: a missing password is not no password."""
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[site]\nid = "town"\nunits_file = "units.toml"\n[desk]\nenabled = false\n'
        '[mqtt]\nenabled = true\nuser = "gateway"\npassword_file = "mqtt_password"\n'
        'ca_file = "mqtt_ca.crt"\n'
    )
    for each in ("units.toml", "mqtt_ca.crt", "mqtt_password"):
        file = tmp_path / each
        if each != name:
            file.write_text("")
        elif how == "a folder":
            file.mkdir()
        elif how == "noise":
            file.write_bytes(b"\xff\x00\xfe[[[")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", config],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert name in done.stderr or "ca_file" in done.stderr


def test_a_running_gateway_keeps_its_settings_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    port = free_port()
    gateway = GatewayProcess(
        tmp_path,
        '[site]\nid = "town"\ndata_dir = "var"\n[desk]\nenabled = false\n[[link]]\nid = "a"\n'
        f'driver = "jt808"\ntransport = "tcp_server"\nlisten = "127.0.0.1:{port}"\n',
    )
    gateway.start()
    try:
        gateway.wait_for_port(port)
        gateway.config.write_text("[[[")
        gateway.wait_for_port(port)
        gateway.stop()
    finally:
        gateway.kill()
