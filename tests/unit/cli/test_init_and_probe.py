"""``pdt-gateway init`` and ``check --probe``: from a bare machine to a first answer."""

import asyncio
import errno
import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drivers.api import Driver, Transport
from gateway.catalog import Catalog
from gateway.check import check
from gateway.errors import ConfigError
from gateway.first_settings import Wanted, write_first_settings
from gateway.handing_over import create
from gateway.settings import LOOPBACK, load_settings
from hil_tests.rig.pty import PtyPort
from tests.support.gateway_process import GatewayProcess
from tests.support.influxdb import InfluxDb
from tests.support.ledger import Ledger, Radio, wait_until_delivered
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port

RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230326,003.1,W*63\r\n"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def probed(config: Path, seconds: float = 1.0) -> tuple[int, dict[str, dict[str, Any]]]:
    done = run("check", "-c", config, "--probe", "--seconds", str(seconds), "--json")
    assert done.stdout, done.stderr
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {each["where"]: each for each in findings}


def test_what_init_writes_is_accepted_and_never_overwritten(tmp_path: Path) -> None:
    words: list[str | Path] = [
        "init", tmp_path / "etc", "--site-id", "rongxi", "--site-name", '榕溪"镇',
        "--link", "jt808=127.0.0.1:10808", "--link", "jt808=127.0.0.1:10809",
        "--link", "nmea0183=/dev/serial/by-id/usb-gnss", "--link", "hytera_hrnp=192.168.10.1:3005",
        "--mqtt", "127.0.0.1:1883", "--influx", "http://127.0.0.1:8086", "--influx-api", "1",
    ]  # fmt: skip
    done = run(*words)
    assert done.returncode == 0, done.stderr
    config = tmp_path / "etc" / "gateway.toml"
    assert run("check", "-c", config).returncode == 0
    text = config.read_text(encoding="utf-8")
    assert text.count("\n[[link]]") == 4
    assert "jt808-2" in text
    assert 'host = "127.0.0.1"' in text
    again = run(*words)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert config.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--site-id"),
        (("--site-id", "a b"), "'a b'"),
        (("--site-id", "a", "--link", "jt808"), "driver=place"),
        (("--site-id", "a", "--link", "jt999=127.0.0.1:1"), "jt999"),
        (("--site-id", "a", "--mqtt", "host"), "--mqtt"),
        (("--site-id", "a", "--zone", "Nowhere"), "nothing was written: site.zone: 'Nowhere'"),
        (("--site-id", "a", "--influx", "nonsense"), "--influx: 'nonsense'"),
        (("--site-id", "a", "--influx", "influx.local:8086"), "--influx: 'influx.local:8086'"),
        (("--site-id", "a", "--link", "gpsd_json=/dev/x"), "does not run on 'serial'"),
    ],
)
def test_a_wrong_wish_writes_nothing(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = run("init", tmp_path / "etc", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "etc").exists()


NEAR, FAR, PATH = "127.0.0.1:5001", "10.20.0.7:5001", "/dev/serial/by-id/usb-x"
EVERYWHERE = (NEAR, FAR, "0.0.0.0:5001", "[::]:5001", "[fd00::7]:5001", PATH)
CASES = [
    pytest.param(driver, place, id=f"{driver.name}={place}")
    for driver in Catalog.scan()
    for place in EVERYWHERE
    if place != PATH or Transport.SERIAL in driver.transports
]


@pytest.mark.parametrize(("driver", "place"), CASES)
def test_every_driver_is_written_as_check_wants_it(
    tmp_path: Path, driver: Driver[Any], place: str
) -> None:
    catalog = Catalog.scan()
    wanted = Wanted(site_id="a", links=[(driver.name, place), (driver.name, place)])
    config, _ = write_first_settings(tmp_path, wanted, [], catalog)
    loaded, _, findings = check(config, catalog)
    text = config.read_text(encoding="utf-8")
    first, second = loaded.settings.link
    assert (first.driver, first.id) == (driver.name, f"{driver.name.replace('_', '-')}-1")
    assert msgspec.structs.replace(second, id=first.id) == first
    assert not any(first.options.values()), "options stand there as comments, with their defaults"
    assert catalog.codec(driver.name, first.options, "a")
    assert "192.168." not in text, "no address of an example"
    assert "0138" not in text, "no number of an example"
    is_deaf = any("this machine alone" in finding.text for finding in findings)
    assert is_deaf == ("NOBODY ELSE IS HEARD" in text)


NOT_SERIAL = [each for each in Catalog.scan() if Transport.SERIAL not in each.transports]


@pytest.mark.parametrize("driver", NOT_SERIAL, ids=lambda driver: str(driver.name))
def test_a_place_that_a_driver_cannot_have_writes_nothing(
    tmp_path: Path, driver: Driver[Any]
) -> None:
    wanted = Wanted(site_id="a", links=[(driver.name, PATH)])
    with pytest.raises(ConfigError, match=r"nothing was written: .* does not run on 'serial'"):
        write_first_settings(tmp_path, wanted, [], Catalog.scan())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("link", "keys"),
    [
        ("jt808=192.168.7.2:1", {"listen": "192.168.7.2:1", "allow": ("192.168.7.0/24",)}),
        ("jt808=0.0.0.0:1", {"allow": LOOPBACK}),
        ("jt808=8.8.8.8:1", {"allow": LOOPBACK}),
        ("jt808=127.0.0.1:1", {"allow": LOOPBACK}),
        ("moto_ars=0.0.0.0:4005", {"allow": ("12.0.0.0/8",)}),
        ("hytera_hrnp=10.0.0.5:3005", {"listen": "0.0.0.0:3005", "remote": "10.0.0.5:3005"}),
        ("hytera_hrnp=127.0.0.1:3005", {"listen": "127.0.0.1:0", "remote": "127.0.0.1:3005"}),
        ("gpsd_json=10.0.0.5:2947", {"host": "10.0.0.5", "port": 2947}),
        ("tetra_pei=10.0.0.5:4001", {"host": "10.0.0.5", "port": 4001}),
        ("tetra_pei=/dev/x", {"port": "/dev/x", "baud": 38400}),
    ],
)
def test_addresses_and_who_is_heard_come_from_the_place(
    tmp_path: Path, link: str, keys: dict[str, Any]
) -> None:
    driver, _, place = link.partition("=")
    wanted = Wanted(site_id="a", links=[(driver, place)])
    config, _ = write_first_settings(tmp_path, wanted, [], Catalog.scan())
    (written,) = load_settings(config).settings.link
    assert {key: getattr(written, key) for key in keys} == keys


def test_each_key_is_explained_and_each_option_is_one_sign_away(tmp_path: Path) -> None:
    catalog = Catalog.scan()
    links = [(driver.name, FAR) for driver in catalog]
    wanted = Wanted(site_id="a", links=links, mqtt="b:1883", influx="http://b:8086")
    config, _ = write_first_settings(tmp_path, wanted, [], catalog)
    lines = config.read_text(encoding="utf-8").splitlines()
    keys = [n for n, line in enumerate(lines) if re.match(r'#?("[^"]*"|[a-z_0-9]+) = ', line)]
    bare = [
        lines[n]
        for n in keys
        if not re.search(r"  # \S", lines[n])
        and not lines[n - 1].startswith("# ")
        and not lines[n].startswith('#"')  # names in a table that is explained as a whole
    ]
    assert len(keys) > 80
    assert not bare
    assert max(map(len, lines)) <= 100

    in_options = False
    for n, line in enumerate(lines):
        in_options = line.startswith("[link.options]") if line.startswith("[") else in_options
        if in_options:
            lines[n] = re.sub(r"^#([a-z_0-9]+ = )", r"\1", line)
    config.write_text("\n".join(lines), encoding="utf-8")
    for link in check(config, catalog)[0].settings.link:
        known = catalog.get(link.driver).options
        assert link.options.keys() == {f.name for f in msgspec.structs.fields(known)}
        assert msgspec.convert(link.options, known) == known(), "a comment shows the default"


def test_in_a_terminal_it_asks_until_an_answer_is_right(tmp_path: Path) -> None:
    terminal, other = pty.openpty()
    answers = [
        "a b", "rongxi", "榕溪镇", "jt999=1.2.3.4:5", "jt808=127.0.0.1:10808", "gpsd_json", "",
        "broker", "127.0.0.1:1883", "nonsense", "http://127.0.0.1:8086",
    ]  # fmt: skip
    try:
        os.write(terminal, "".join(f"{answer}\n" for answer in answers).encode())
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "init", tmp_path / "etc"],
            capture_output=True, text=True, check=False, timeout=60, stdin=other,
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(other)
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    for wrong in ("'a b'", "jt999", "'gpsd_json' is not driver=place", "'broker'", "'nonsense'"):
        assert wrong in told
    settings = load_settings(tmp_path / "etc" / "gateway.toml").settings
    assert (settings.site.id, settings.site.name) == ("rongxi", "榕溪镇")
    assert [link.driver for link in settings.link] == ["jt808"]
    assert (settings.mqtt.host, settings.influx.url) == ("127.0.0.1", "http://127.0.0.1:8086")


def test_an_alarm_of_any_terminal_is_taken_with_the_first_settings(tmp_path: Path) -> None:
    """No number of an example stands between a terminal and its alarm."""
    port = free_port()
    wanted = Wanted(site_id="town", links=[("jt808", f"127.0.0.1:{port}")], desk="127.0.0.1:0")
    config, _ = write_first_settings(tmp_path, wanted, [], Catalog.scan())
    gateway = GatewayProcess(tmp_path, config.read_text(encoding="utf-8"))
    ledger = Ledger()

    async def press() -> None:
        await Radio("013912345678", port, ledger).run(1)
        await wait_until_delivered(ledger, tmp_path / "var" / "desk.db", 20)

    gateway.start()
    try:
        gateway.wait_for_port(port)
        asyncio.run(press())
        gateway.stop()
    finally:
        gateway.kill()
    assert len(ledger.obligations) == 1
    assert ledger.judge(tmp_path / "var" / "desk.db") == []


def test_a_probe_greets_who_is_silent_until_spoken_to(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        wanted = Wanted(site_id="a", links=[("gpsd_json", place)])
        config, _ = write_first_settings(tmp_path, wanted, [], Catalog.scan())
        server.settimeout(30)
        heard: list[bytes] = []

        def serve() -> None:
            wire, _ = server.accept()
            with wire:
                heard.append(wire.recv(1024))

        serving = threading.Thread(target=serve)
        serving.start()
        code, found = probed(config)
        serving.join()
    assert heard[0].startswith(b"?WATCH")
    assert code == 0, found


def test_what_cannot_be_written_whole_is_not_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, mode: int) -> int:
        if file.name == "units.toml":
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(file, mode)

    monkeypatch.setattr("gateway.first_settings.create", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        write_first_settings(tmp_path, Wanted(site_id="a"), [], Catalog.scan())
    assert not list(tmp_path.iterdir())


@pytest.mark.needs("mosquitto", "influxd")
def test_a_probe_says_what_each_port_answers(tmp_path: Path) -> None:
    (tmp_path / "influx").mkdir()
    port = PtyPort(tmp_path / "tty-gnss")
    port.plug()
    with Mosquitto(tmp_path) as broker, InfluxDb(tmp_path / "influx") as database:
        config = tmp_path / "etc" / "gateway.toml"
        done = run(
            "init", config.parent, "--site-id", "town",
            "--link", f"nmea0183={tmp_path}/tty-gnss", "--link", f"jt808=127.0.0.1:{free_port()}",
            "--mqtt", f"127.0.0.1:{broker.port}",
            "--influx", database.url, "--influx-api", "1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        code, found = probed(config)
        assert code == 1
        assert "database not found" in found["influx"]["text"]
        assert found["influx"]["is_wrong"]

        assert run("influx", "setup", "-c", config).returncode == 0
        is_over = threading.Event()

        def talk() -> None:
            while not is_over.wait(0.1):
                port.write(RMC)

        talking = threading.Thread(target=talk)
        talking.start()
        try:
            code, found = probed(config, 2.0)
        finally:
            is_over.set()
            talking.join()
        assert code == 0, found
        assert "takes what is written to 'pdt'" in found["influx"]["text"]
        assert "lets us in, speaks MQTT 5" in found["mqtt"]["text"]
        heard = found["link 'nmea0183-1'"]["text"]
        assert " messages understood, 0 refused" in heard
        assert " 0 messages understood" not in heard
        assert "nothing was heard" in found["link 'jt808-1'"]["text"]
        assert "commit to disk" in found["site.data_dir"]["text"]
        assert "clock" in found
        assert not database.query("SHOW MEASUREMENTS"), "a probe writes nothing"
    port.unplug()


def test_a_running_gateway_is_left_alone(tmp_path: Path) -> None:
    port = free_port()
    gateway = GatewayProcess(
        tmp_path,
        '[site]\nid = "town"\ndata_dir = "var"\n[desk]\nenabled = false\n[[link]]\nid = "a"\n'
        f'driver = "jt808"\ntransport = "tcp_server"\nlisten = "127.0.0.1:{port}"\n',
    )
    gateway.start()
    try:
        gateway.wait_for_port(port)
        code, found = probed(gateway.config)
        assert code == 0
        assert f"pid {gateway.pid}" in found["gateway"]["text"]
        assert "link 'a'" not in found
    finally:
        gateway.kill()


def test_ports_that_do_not_answer_are_wrong(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[site]\nid = "town"\n[mqtt]\nenabled = true\nport = 9\n[[link]]\nid = "a"\n'
        'driver = "nmea0183"\ntransport = "serial"\nport = "/dev/nowhere"\n'
    )
    code, found = probed(config)
    assert code == 1
    assert found["link 'a'"]["is_wrong"]
    assert "ENOENT" in found["link 'a'"]["text"]
    assert found["mqtt"]["is_wrong"]
