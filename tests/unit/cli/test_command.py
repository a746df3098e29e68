"""``pdt-gateway command`` and the socket behind it, with a gateway that runs and a base radio."""

import contextlib
import io
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import control
from gateway.cli.main import main
from gateway.control import Question
from gateway.errors import GatewayError
from gateway.model.identity import RadioId
from gateway.model.requests import Request
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port

SETTINGS = """
[site]
id = "town"
data_dir = "var"
units_file = "units.toml"
[desk]
enabled = false
[commands]
{commands}
[[link]]
id = "base"
driver = "nmea0183"
transport = "tcp_server"
listen = "127.0.0.1:{port}"
"""
UNITS = """
[[unit]]
id = "patrol-1"
name = "巡逻一组"
radios = ["kenwood:100-1001"]
[[unit]]
id = "away-1"
name = "远处"
radios = ["kenwood:100-1002"]
"""
ON = 'enabled = true\nallow = ["locate", "text"]\nexpire_s = 1\nanswer_s = 1'
PLACED = b"$PKLSH,4954.1474,N,11923.6044,W,122434,A,100,1001,*3F\r\n"


class Base:
    """A Kenwood base radio: says where its unit is, and answers polls while it likes."""

    def __init__(self, port: int) -> None:
        self.polls = 0
        self.answers = True
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.settimeout(None)
        self._socket.sendall(PLACED)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._socket:
            while data := self._read():
                if b"R31001001" in data:
                    self.polls += 1
                    if self.answers:
                        self._socket.sendall(b"\x020\x03" + PLACED)

    def _read(self) -> bytes:
        try:
            return self._socket.recv(4096)
        except OSError:
            return b""

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


class World:
    """A gateway and a base radio."""

    def __init__(self, folder: Path, commands: str) -> None:
        self.port = free_port()
        (folder / "units.toml").write_text(UNITS, encoding="utf-8")
        self.gateway = GatewayProcess(folder, SETTINGS.format(port=self.port, commands=commands))
        self.gateway.start()
        self.gateway.wait_for_port(self.port)
        self.var = folder / "var"
        self.base = Base(self.port)
        time.sleep(0.3)  # its word is on disk

    def run(self, *words: str) -> tuple[int, str]:
        """The command line: exit code, and what was printed."""
        said = io.StringIO()
        before, sys.argv = sys.argv, ["", *words, "--config", str(self.gateway.config)]
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                main()
        except SystemExit as end:
            return int(end.code or 0), said.getvalue()
        finally:
            sys.argv = before
        return 0, said.getvalue()

    def close(self) -> None:
        self.base.close()
        self.gateway.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("commands"), ON)
    yield made
    made.close()


@pytest.mark.slow
def test_a_unit_is_located_and_the_steps_are_told(world: World) -> None:
    code, said = world.run("command", "locate", "patrol-1")
    assert code == 0, said
    assert said.splitlines()[0].startswith("locate kenwood:100-1001: command ")
    assert said.splitlines()[-1] == "delivered"
    assert world.base.polls == 1
    code, said = world.run("command", "locate", "kenwood:100-1001", "--json")
    assert (code, json.loads(said)["state"]) == (0, "delivered")


@pytest.mark.slow
def test_what_ends_badly_has_exit_code_1_and_says_why(world: World) -> None:
    code, said = world.run("command", "text", "patrol-1", "谁")
    assert (code, said.splitlines()[-1]) == (1, "refused: a text is 1 to 100 ASCII characters")
    code, said = world.run("command", "locate", "away-1")
    assert (code, said.splitlines()[-1]) == (1, "expired: the radio was not heard")
    code, said = world.run("command", "check", "patrol-1")
    assert code == 1
    assert "'check' is not in commands.allow" in said
    code, said = world.run("command", "locate", "nobody")
    assert code == 1
    assert "is no unit with a radio" in said
    world.base.answers = False
    code, said = world.run("command", "locate", "patrol-1")
    world.base.answers = True
    assert (code, said.splitlines()[-1]) == (1, "timed_out: no answer within 1 s")


@pytest.mark.slow
def test_the_list_shows_them(world: World) -> None:
    world.run("command", "locate", "patrol-1", "--no-wait")
    code, said = world.run("commands", "--json")
    assert code == 0
    (*_, last) = json.loads(said)
    assert last["verb"] == "locate"
    assert last["by"].endswith(" via command line")


def test_the_socket_is_for_its_own_user_alone(world: World) -> None:
    assert (world.var / control.NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", [b"\n", b"{}x\n", b'{"verb":"stun"}\n', b"x" * 20_000])
def test_what_is_no_question_is_said_and_the_door_stays_open(world: World, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(world.var / control.NAME))
        client.sendall(line)
        answer = client.makefile("rb").readline()
    assert b'"error"' in answer
    (reply,) = control.ask(world.var, Question(list=True), 10)
    assert reply.commands is not None


def test_too_many_who_wait_are_sent_away(world: World) -> None:
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(control.MOST_CLIENTS)]
    try:
        for client in waiting:
            client.connect(str(world.var / control.NAME))
        time.sleep(0.3)
        with pytest.raises(GatewayError, match=r"closed the door|no gateway"):
            list(control.ask(world.var, Question(list=True), 10))
    finally:
        for client in waiting:
            client.close()
    time.sleep(0.3)
    (reply,) = control.ask(world.var, Question(list=True), 10)
    assert reply.commands is not None


@pytest.mark.slow
def test_without_a_gateway_or_with_writing_off(tmp_path: Path) -> None:
    world = World(tmp_path, "")
    code, said = world.run("command", "locate", "patrol-1")
    assert code == 1
    assert "set commands.enabled" in said
    world.close()
    assert not (world.var / control.NAME).exists()
    code, said = world.run("command", "locate", "patrol-1")
    assert code == 3
    assert "no gateway runs" in said


def test_a_data_directory_with_a_long_path_has_a_door_too(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    door = control.Control(folder, None, None)._bind()  # type: ignore[arg-type] # nothing is asked
    door.listen()
    door.settimeout(10)

    def serve() -> None:
        peer, _ = door.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(b'{"commands":[]}\n')

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        question = Question(verb="locate", request=Request(radio_id=RadioId("pdt:1")))
        assert [reply.commands for reply in control.ask(folder, question, 10)] == [[]]
    finally:
        serving.join()
        door.close()
    assert [each.name for each in folder.iterdir()] == [control.NAME]
