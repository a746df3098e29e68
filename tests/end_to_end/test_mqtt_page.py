"""docs/mqtt.md: its commands and its program do what it says, against the shipped broker.

Only the names of the reader's own things are exchanged: host, port, site, secret, emergency.
"""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.model import emergency as transitions
from gateway.model.events import EmergencyClosed, EmergencyTaken
from gateway.model.requests import Request
from gateway.runtime.backoff import Backoff
from gateway.sinks import mqtt_reasons
from gateway.sinks.mqtt import MqttSink
from tests.conftest import find_tool
from tests.support.documents import ROOT, blocks, command_lines, pages
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port
from tests.support.shipped_broker import shipped
from tests.support.sink_rows import States, eventually, fix, loaded, raised, row, running

PAGE = ROOT / "docs" / "mqtt.md"
SITE = "rongxi"
pytestmark = pytest.mark.needs(
    "mosquitto", "mosquitto_passwd", "mosquitto_sub", "mosquitto_rr", "openssl"
)


class World:
    """The shipped broker, with a sink that has one open emergency."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = shipped(folder, self.port, "gateway", "desk")
        (folder / "password").write_text("gateway\n")
        (folder / "desk.password").write_text("desk\n")
        self.make_account()
        self.states = States()
        self.press = raised(1, site=SITE)
        self.states.put(transitions.raised(self.press))
        self.sink: MqttSink | None = None

    def make_account(self) -> None:
        """The files that the page has a reader make, in a home of their own."""
        place = self.folder / "home" / ".config"
        place.mkdir(parents=True)
        (account,) = [body for language, body in blocks(PAGE) if language == "conf"]
        (place / "mosquitto_sub").write_text(account.replace("secret", "desk"))
        lines = [line for line in command_lines(PAGE) if "~/.config/" in line and " " in line]
        assert len(lines) == 2
        for line in lines:
            subprocess.run(["sh", "-c", line], check=True, cwd=self.folder, env=self.environment)
        assert (place / "mosquitto_sub").stat().st_mode & 0o777 == 0o600

    @property
    def environment(self) -> dict[str, str]:
        """What a reader's shell gives to its programs."""
        return {"HOME": str(self.folder / "home"), "PATH": os.environ["PATH"]}

    def put(self, text: str) -> str:
        """The page's text with this world's names."""
        for name, value in (
            ("broker.example", "127.0.0.1"),
            ("8883", str(self.port)),
            ("ca.crt", str(self.folder / "config" / "certs" / "ca.crt")),
            ("f545335c0c42fcf32eea9747038a0c12", self.press.event_id),
        ):
            text = text.replace(name, value)
        return text

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MqttSink]:
        settings = {
            "port": self.port,
            "user": "gateway",
            "password_file": "password",
            "ca_file": "config/certs/ca.crt",
            "base_topic": f"pdt/v1/{SITE}",
            "requests": ["emergency/take"],
        }
        with Mosquitto(self.folder, config=self.config, port=self.port):
            sink = MqttSink(
                loaded(self.folder, mqtt=settings),
                states=self.states,
                clock=SystemClock(),
                backoff=Backoff(most_s=0.2),
                answers=self,
            )
            async with running(sink):
                self.sink = sink
                yield sink

    def refuse(self, verb: str, request: Request, by: str, why: str) -> None:
        raise AssertionError(f"{verb} is refused: {why}")

    async def answer(self, verb: str, request: Request, by: str) -> dict[str, object]:
        """Take the emergency, as the gateway does."""
        assert verb == "emergency/take"
        assert request.emergency_id is not None
        state = self.states.emergencies[request.emergency_id]
        event = EmergencyTaken(emergency_id=request.emergency_id, by=by)
        self.states.put(transitions.taken(state, event))
        assert self.sink is not None
        self.sink.changed("emergency", request.emergency_id)
        return {"emergency_id": request.emergency_id, "taken_by": by}


@contextmanager
def process(words: list[str], world: World) -> Iterator[Callable[[], str]]:
    """A program that runs until the block ends; gives what it has printed so far."""
    printed = world.folder / "printed"
    with printed.open("wb") as file:
        started = subprocess.Popen(
            words, stdout=file, stderr=file, cwd=world.folder, env=world.environment
        )
    try:
        yield lambda: printed.read_text(encoding="utf-8")
    finally:
        started.terminate()
        started.wait(10)


def commands(program: str) -> list[list[str]]:
    return [shlex.split(line) for line in command_lines(PAGE) if line.startswith(f"{program} ")]


@pytest.mark.parametrize("number", [0, 1])
def test_the_shown_subscriptions_show_the_open_emergency(tmp_path: Path, number: int) -> None:
    world = World(tmp_path)
    shown = [words for words in commands("mosquitto_sub") if "--remove-retained" not in words]
    assert len(shown) == 2
    program, *rest = (world.put(word) for word in shown[number])

    async def story() -> None:
        async with world.open():
            with process([str(find_tool(program)), *rest], world) as printed:
                await eventually(lambda: world.press.event_id in printed(), "the emergency")

    asyncio.run(story())


def test_the_shown_program_follows_an_emergency_to_its_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    (source,) = [body for language, body in blocks(PAGE) if language == "python"]
    (tmp_path / "reader.py").write_text(world.put(source), encoding="utf-8")

    async def story() -> None:
        async with world.open() as sink:
            with process([sys.executable, "reader.py"], world) as printed:
                await eventually(lambda: "open 巡逻1组 alarm" in printed(), "the alarm")
                state = world.states.emergencies[world.press.event_id]
                ended = EmergencyClosed(emergency_id=state.emergency_id, by="李明", verdict="true")
                world.states.put(transitions.closed(state, ended))
                sink.changed("emergency", state.emergency_id)
                await eventually(lambda: "closed pdt/v1/rongxi/unit/u1" in printed(), "its end")
                assert "Traceback" not in printed()
                await sink.deliver([row(1, fix(1))])

    asyncio.run(story())


def test_the_shown_request_is_answered(tmp_path: Path) -> None:
    world = World(tmp_path)
    ((program, *rest),) = commands("mosquitto_rr")
    rest = [world.put(word) for word in rest]

    async def story() -> None:
        async with world.open():
            done = await asyncio.to_thread(
                subprocess.run,
                [str(find_tool(program)), *rest],
                check=False,
                capture_output=True,
                timeout=20,
                env=world.environment,
            )
            assert done.returncode == 0, done.stderr
            answer = json.loads(done.stdout)
            assert answer["status"] == "ok"
            assert answer["transaction"] == "1"
            assert answer["data"]["taken_by"] == "李明 via mqtt"

    asyncio.run(story())


def test_no_secret_stands_on_a_command_line() -> None:
    """Not on this page, and on no other."""
    wrong = [
        line
        for page in pages()
        for line in command_lines(page)
        if re.search(r"mosquitto_\w+ .*(-P|--pw) |--password[ =]\S", line)
    ]
    assert not wrong


def test_every_reason_of_the_page_is_one_that_the_gateway_gives() -> None:
    table = PAGE.read_text(encoding="utf-8").split("| It says | Do |")[1].split("\n\n")[0]
    said = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    sources = "".join(
        (ROOT / "gateway/sinks" / name).read_text(encoding="utf-8")
        for name in ("mqtt_reasons.py", "mqtt_client.py")
    )
    assert len(said) > 8
    assert not [reason for reason in said if reason not in sources]
    assert mqtt_reasons.TLS_HINTS


def test_every_verb_and_outcome_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    source = (ROOT / "gateway/sinks/mqtt_requests.py").read_text(encoding="utf-8")
    outcomes = set(re.findall(r'_RefusedError\(\s*"(\w+)"', source))
    outcomes |= set(re.findall(r'_count\("(\w+)"', source)) - {"done"}
    assert len(outcomes) > 10
    assert not [word for word in outcomes if f"`{word}`" not in text]
    fields = set(Request.__struct_fields__) - {"transaction", "radio_id"}
    assert not [name for name in fields if f"`{name}`" not in text]
