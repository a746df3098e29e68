"""``pdt-gateway init`` and ``check --probe``: from a bare machine to a first answer."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hil_tests.rig.pty import PtyPort
from tests.support.gateway_process import GatewayProcess
from tests.support.influxdb import InfluxDb
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
    ],
)
def test_a_wrong_wish_writes_nothing(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = run("init", tmp_path / "etc", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "etc" / "gateway.toml").exists()


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
