"""Mistakes at the command line: one clear line, the right exit code, never a traceback."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.ports import free_port

MISTAKES = [
    (("run", "--config", "none.toml"), 2, "none.toml: cannot be read"),
    (("run",), 2, "Missing option '--config'"),
    (("check", "--config", "/"), 2, "is a directory"),
    (("decode", "jt808", "none.hex"), 2, "'none.hex': No such file"),
    (("decode", "jt808", "--at", "yesterday"), 2, "'yesterday' is no instant"),
    (("replay", "jt808", "none.rec"), 3, "none.rec: not there"),
    (("replay", "jt808", "none.rec", "--speed", "-1"), 2, "--speed"),
    (("record", "--config", "none.toml", "a", "b"), 2, "none.toml: cannot be read"),
    (("emulate", "nope"), 2, "one of nmea0183"),
    (("emulate", "jt808"), 2, "say where: --pty"),
    (("emulate", "jt808", "--number", "abc", "--connect", "127.0.0.1:9"), 2, "in digits"),
    (("emulate", "moto_ars", "--number", "x", "--udp", "127.0.0.1:9"), 2, "--number 'x'"),
    (("emulate", "kenwood", "--number", "x", "--udp", "127.0.0.1:9"), 2, "--number 'x'"),
    (("emulate", "hytera_hrnp", "--number", "123", "--udp", "127.0.0.1:9"), 2, "--number '123'"),
    (("emulate", "nmea0183", "--pty", "/proc/x"), 3, "--pty /proc/x: no serial port"),
    (("demo", "--port", "99999"), 2, "--port"),
    (("demo", "--seconds", "-1"), 2, "--seconds"),
    (("airtime", "--budget", "0"), 2, "at least 1"),
    (("sign-in-link", "--config", "none.toml"), 2, "none.toml: cannot be read"),
    (("sign-in-link", "--config", "none.toml", "--role", "king"), 2, "'king'"),
    (("commands", "--config", "none.toml"), 2, "none.toml: cannot be read"),
    (("outbox", "--config", "none.toml"), 2, "none.toml: cannot be read"),
    (("backup", "--config", "none.toml", "b.tar"), 2, "none.toml: cannot be read"),
    (("restore", "--config", "none.toml", "none.tar"), 3, "not there; name a file that"),
    (("grafana", "write", "/proc/x"), 2, "/proc/x: no dashboards can be written there"),
    (("init", "/proc/x", "--site-id", "a"), 2, "/proc/x: no settings can be written there"),
    (("emulate", "jt808", "--udp", "no.invalid:9"), 3, "--udp no.invalid:9: name not known"),
    (("influx", "setup", "--config", "none.toml"), 2, "none.toml: cannot be read"),
    (("grafana", "push", "--url", "http://127.0.0.1:9", "--token-file", "none"), 2, "none: cannot"),
    (
        (
            "grafana",
            "push",
            "--url",
            "http://g:9",
            "--token-file",
            "none",
            "--influx-url",
            "db:8086",
        ),
        2,
        "--influx-url: 'db:8086' is not 'http://host:port'",
    ),
]


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=cwd,
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(("words", "code", "told"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    done = run(*words, cwd=tmp_path)
    assert told in done.stderr
    assert done.returncode == code, done.stderr


HEADER = b'{"format":"pdt-recording","version":1,"link":"gps-1","driver":"nmea0183"}\n'
COMING = b'{"t":0.0,"peer":"gps","dir":"open"}\n'


@pytest.mark.parametrize("content", [b"", HEADER, HEADER + COMING])
def test_a_recording_without_a_byte_is_no_quiet_success(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tape.rec").write_bytes(content)
    done = run("replay", "nmea0183", "tape.rec", cwd=tmp_path)
    assert "tape.rec: not one byte of a link is in it" in done.stderr
    assert "docs/recording.md" in done.stderr
    assert done.returncode == 3


@pytest.mark.parametrize("command", ["replay", "decode"])
def test_bytes_of_which_nothing_is_reported_are_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "tape").write_bytes(b"\r\n")
    done = run(command, "nmea0183", "tape", cwd=tmp_path)
    assert done.stdout == ""
    assert done.stderr.startswith("pdt-gateway: tape: ")
    assert "nmea0183 reports" in done.stderr
    assert done.returncode == 0


def test_a_file_that_is_there_is_no_place_for_a_recording(tmp_path: Path) -> None:
    settings = tmp_path / "gateway.toml"
    settings.write_text(
        '[site]\nid = "town"\n[[link]]\nid = "t"\ndriver = "jt808"\n'
        'transport = "tcp_server"\nlisten = "127.0.0.1:0"\n'
    )
    done = run("record", "--config", str(settings), "t", str(settings))
    assert "is there already and stays as it is" in done.stderr
    assert done.returncode == 2
    assert settings.read_text().startswith("[site]")


SERVERS = {"1": 'api = "1"', "2": 'api = "2"\norg = "o"\ntoken_file = "token"'}


@pytest.mark.parametrize("verb", ["setup", "forget"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_series_that_is_not_there_is_told_with_what_to_look_at(
    tmp_path: Path, server: str, verb: str
) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    url = f"http://127.0.0.1:{free_port()}"
    settings = tmp_path / "gateway.toml"
    settings.write_text(
        f'[site]\nid = "town"\n[influx]\nenabled = true\nurl = "{url}"\n{SERVERS[server]}\n'
    )
    done = run("influx", verb, "--config", str(settings))
    assert f"influxdb {url}: refused (ECONNREFUSED); is InfluxDB running there" in done.stderr
    assert "influx.url" in done.stderr
    assert "Errno" not in done.stderr
    assert done.returncode == 3


def test_an_emulated_device_says_that_nobody_takes_its_call(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    done = run("emulate", "jt808", "--connect", place, "--seconds", "1.5", cwd=tmp_path)
    assert done.stdout.count("no connection: refused (ECONNREFUSED)") == 1
    assert done.returncode == 0


def test_an_emulated_device_whose_port_is_taken_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("emulate", "jt808", "--listen", place)
    assert f"tcp at {place}: address in use by another program" in done.stderr
    assert done.returncode == 3


def test_a_server_that_is_no_influxdb_is_not_set_up(tmp_path: Path) -> None:
    settings = tmp_path / "gateway.toml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=answer_as_somebody_else, args=[other], daemon=True).start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        settings.write_text(f'[site]\nid = "town"\n[influx]\nurl = "{url}"\napi = "1"\n')
        done = run("influx", "setup", "--config", str(settings))
    assert f"influxdb {url}: does not say that it is InfluxDB" in done.stderr
    assert "look at influx.url" in done.stderr
    assert done.returncode == 2


def answer_as_somebody_else(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def test_a_page_whose_port_is_taken_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = tmp_path / "gateway.toml"
        settings.write_text(f'[site]\nid = "town"\n[desk]\nlisten = "{place}"\n')
        done = run("run", "--config", str(settings))
    assert f"desk.listen: cannot listen on {place}" in done.stderr
    assert done.returncode == 3, "2 would tell the service manager not to try again"
