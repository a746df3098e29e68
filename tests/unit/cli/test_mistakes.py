"""Mistakes at the command line: one clear line, the right exit code, never a traceback."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

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
    (("restore", "--config", "none.toml", "none.tar"), 3, "none.tar: No such file"),
    (("grafana", "write", "/proc/x"), 3, "/proc/x: "),
    (("influx", "setup", "--config", "none.toml"), 2, "none.toml: cannot be read"),
    (("grafana", "push", "--url", "http://127.0.0.1:9", "--token-file", "none"), 2, "none: cannot"),
]


@pytest.mark.parametrize(("words", "code", "told"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=tmp_path,
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "Traceback" not in done.stderr
    assert told in done.stderr
    assert done.returncode == code, done.stderr


def test_a_page_whose_port_is_taken_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = tmp_path / "gateway.toml"
        settings.write_text(f'[site]\nid = "town"\n[desk]\nlisten = "{place}"\n')
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "run", "--config", str(settings)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert "Traceback" not in done.stderr
    assert f"desk.listen: cannot listen on {place}" in done.stderr
    assert done.returncode == 3, "2 would tell the service manager not to try again"
