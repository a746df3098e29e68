"""A bench of real devices: ``bench.toml`` says where they are, a person does what is asked."""

import asyncio
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from gateway.errors import ConfigError
from gateway.model.geo import Point
from gateway.model.identity import RadioId, parse_radio_id
from gateway.settings import convert_table
from hil_tests.numbers import radio_of
from hil_tests.scenario import (
    DeviceDo,
    LoseFix,
    Move,
    Noise,
    Plug,
    Press,
    Release,
    Return,
    Scenario,
    Silence,
    SwitchOff,
    Unplug,
)

FILE = Path(__file__).parent / "bench.toml"
EXAMPLE = Path(__file__).parent / "bench.example.toml"

ALARMS = {
    "alarm": "press the emergency button of {who} now",
    "call": "make an emergency call with {who} now",
    "man_down": "lay {who} on its side now and do not move it",
    "lone_worker": "let the lone-worker timer of {who} run out",
    "vehicle": "trigger the collision alarm of {who} now",
}
REQUESTS: dict[type[DeviceDo], str] = {
    Move: "put {who} where it sees the sky, and leave it there",
    LoseFix: "take {who} to where it sees no satellites",
    Release: "end the emergency at {who} now, by its own keys",
    SwitchOff: "switch {who} off by its knob now",
    Unplug: "pull out the adapter of {who} now",
    Plug: "put the adapter of {who} back in now",
    Silence: "cut {who} off now: battery or antenna out, no polite switching off",
    Return: "put the battery or the antenna of {who} back now",
}


class RealDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a scenario's device is in reality; keys of the ``[[link]]`` table, and its radio id.

    ``label`` is what the person at the bench calls it. ``options`` are laid over the link's own.
    """

    label: str = ""
    radio_id: str = ""
    transport: str = ""  # where it is not the scenario's
    port: str | int | None = None
    baud: int | None = None
    listen: str = ""
    allow: tuple[str, ...] = ()
    remote: str = ""
    host: str = ""
    options: dict[str, Any] = {}


class BenchFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``bench.toml``; ``patience_s`` is how long a person may take for what is asked."""

    patience_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    device: dict[str, RealDevice] = {}


def load_bench(file: Path) -> BenchFile:
    """Read and check a bench file; raises ConfigError naming file, key and what would be right."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    bench: BenchFile = convert_table(document, BenchFile, file)
    for name, device in bench.device.items():
        try:
            if device.radio_id:
                parse_radio_id(device.radio_id)
        except ValueError as error:
            raise ConfigError(f"{file}: device.{name}.radio_id: {error}") from None
    return bench


def obstacle(scenario: Scenario, bench: BenchFile) -> str:
    """Why a scenario cannot be played on this bench, "" where it can."""
    missing = [device.name for device in scenario.device if device.name not in bench.device]
    if missing:
        return f"bench.toml names no {', no '.join(missing)}"
    if any(isinstance(step, Noise) for step in scenario.steps):
        return "no person can make a cable noisy to order"
    return ""


class RealBench:
    """Real devices; ``tell`` reaches the person beside them."""

    def __init__(self, scenario: Scenario, bench: BenchFile, tell: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._devices = bench.device
        self._tell = tell
        self.patience_s = bench.patience_s

    def radio_of(self, name: str) -> RadioId:
        """As the bench file says, or as the scenario's number does."""
        named = self._devices[name].radio_id
        return RadioId(named) or radio_of(self._scenario, self._scenario.device_named(name))

    def stands_at(self, name: str) -> Point | None:
        """Unknown: nobody moves a real radio to a place by the metre."""
        del name
        return None

    def is_acknowledged(self, name: str) -> bool | None:
        """Only the person sees what a real radio shows."""
        del name
        return None

    def texts_of(self, name: str) -> None:
        """As above."""
        del name

    async def links(self) -> list[dict[str, Any]]:
        """The scenario's links with the ports and addresses of the bench file."""
        return [self._place(msgspec.structs.asdict(link)) for link in self._scenario.link]

    async def begin(
        self, group: asyncio.TaskGroup, bound: Callable[[str], tuple[str, int]]
    ) -> None:
        """Ask for everything to be switched on."""
        del group, bound
        names = [self._who(device.name) for device in self._scenario.device]
        self._tell(f"  >>> switch on: {', '.join(names)}")

    async def do(self, step: DeviceDo) -> None:
        """Ask the person to do it."""
        self._tell(f"  >>> {request(step, self._who(step.device))}")

    async def end(self) -> None:
        """Real devices stay as they are."""

    def _who(self, name: str) -> str:
        return self._devices[name].label or name

    def _place(self, table: dict[str, Any]) -> dict[str, Any]:
        carriers = [each.name for each in self._scenario.device if each.link == table["id"]]
        for name in carriers:
            real = msgspec.structs.asdict(self._devices[name])
            table["options"] = {**table["options"], **real.pop("options")}
            del real["label"], real["radio_id"]
            table |= {key: value for key, value in real.items() if value}
        return table


def request(step: DeviceDo, who: str) -> str:
    """What a person is asked to do; raises NotImplementedError for what no person can."""
    if step.say:
        return step.say
    text = ALARMS[step.kind] if isinstance(step, Press) else REQUESTS.get(type(step))
    if text is None:
        raise NotImplementedError(f"nobody can be asked for {type(step).__name__}")
    return text.format(who=who)
