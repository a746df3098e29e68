"""Scenario files: who is on the bench, what happens, and what must be seen of it.

``scenarios/*.toml`` are written for people; docs/bench.md lists every word. A line of ``steps``
begins with ``do`` (something happens) or with ``see`` (something must be seen). The time that a
``see`` may take counts from the last ``do``.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from gateway.errors import ConfigError
from gateway.model.events import CommandResult, CommandVerb, EmergencyKind, LinkState, Verdict
from gateway.model.views import UnitState
from gateway.roster.units import Slug
from gateway.settings import CommandSettings, convert_table

FOLDER = Path(__file__).parent / "scenarios"

Seconds = Annotated[float, msgspec.Meta(ge=0, le=60)]
Metres = Annotated[float, msgspec.Meta(gt=0)]
Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]
DeviceKind = Literal["receiver", "terminal", "station", "unit", "repeater", "tetra", "kenwood"]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a scenario; a word that is not listed here is refused."""


class LinkTable(Table, frozen=True, kw_only=True):
    """A link of the gateway; the bench adds port or address."""

    id: Slug
    driver: str
    transport: Literal["serial", "tcp_client", "tcp_server", "udp"]
    silent_after_s: Seconds = 30.0
    options: dict[str, Any] = {}


class DeviceTable(Table, frozen=True, kw_only=True):
    """A radio, a terminal or a receiver.

    It is on ``link``, or (a unit on the air) heard by the control station ``behind``. ``number`` is
    its 8-digit PDT number, its phone number, its 24-bit address, its ISSI or its FleetSync number;
    that of a ``repeater`` or a ``kenwood`` base is the number of the radio on its air. ``unit``
    registers it to a unit of that id; without one the gateway does not know it. It reports every
    ``every_s`` seconds.
    """

    name: Slug
    kind: DeviceKind
    link: str = ""
    behind: str = ""
    number: str = ""
    unit: str = ""
    every_s: Seconds = 0.5


# What happens.


class Do(Table, frozen=True, kw_only=True, tag_field="step"):
    """Something happens, ``after_s`` after the step before it.

    ``say`` replaces the words by which a person at the bench is asked to do it.
    """

    after_s: Seconds = 0.0
    say: str = ""


class DeviceDo(Do, frozen=True, kw_only=True):
    """It happens to a device."""

    device: str


class Move(DeviceDo, frozen=True, kw_only=True, tag="do move"):
    """Stands at a place from now on (WGS-84 degrees), moving at ``speed_mps``."""

    lat_deg: Latitude
    lon_deg: Longitude
    speed_mps: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    course_deg: Annotated[float, msgspec.Meta(ge=0, lt=360)] = 0.0


class LoseFix(DeviceDo, frozen=True, kw_only=True, tag="do lose_fix"):
    """Sees no satellites any more."""


class Press(DeviceDo, frozen=True, kw_only=True, tag="do press"):
    """Presses the button, or falls."""

    kind: EmergencyKind = "alarm"


class Release(DeviceDo, frozen=True, kw_only=True, tag="do release"):
    """Ends the emergency at the radio."""


class SwitchOff(DeviceDo, frozen=True, kw_only=True, tag="do switch_off"):
    """Is switched off by its knob, and says so."""


class Unplug(DeviceDo, frozen=True, kw_only=True, tag="do unplug"):
    """Its serial adapter is pulled out."""


class Plug(DeviceDo, frozen=True, kw_only=True, tag="do plug"):
    """Its serial adapter is put back."""


class Silence(DeviceDo, frozen=True, kw_only=True, tag="do silence"):
    """Is cut off: out of coverage, or its cable is broken. It goes on by itself."""


class Return(DeviceDo, frozen=True, kw_only=True, tag="do return"):
    """Is heard again."""


class Noise(DeviceDo, frozen=True, kw_only=True, tag="do noise"):
    """Its cable flips bits from now on, each with ``bit_error_rate``; 0 is a good cable."""

    bit_error_rate: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    seed: int = 1


class Take(DeviceDo, frozen=True, kw_only=True, tag="do take"):
    """A dispatcher takes the open emergency of a device."""

    by: str


class Close(DeviceDo, frozen=True, kw_only=True, tag="do close"):
    """A dispatcher closes it."""

    by: str
    verdict: Verdict


class Ask(DeviceDo, frozen=True, kw_only=True, tag="do ask"):
    """A dispatcher asks something of a radio; the scenario's ``[commands]`` must allow it."""

    verb: CommandVerb
    by: str = "bench"
    body: str = ""
    every_s: int = 0
    for_s: int = 0


class RestartGateway(Do, frozen=True, kw_only=True, tag="do restart_gateway"):
    """The gateway is stopped and started again."""


class Wait(Do, frozen=True, kw_only=True, tag="do wait"):
    """Nothing happens for ``after_s`` seconds."""


AnyDo = (
    Move
    | LoseFix
    | Press
    | Release
    | SwitchOff
    | Unplug
    | Plug
    | Silence
    | Return
    | Noise
    | Take
    | Close
    | Ask
    | RestartGateway
    | Wait
)

# What must be seen.


class See(Table, frozen=True, kw_only=True, tag_field="step"):
    """Something must be seen within ``within_s`` after the last thing that was done."""

    within_s: Seconds = 2.0


class SeeEvent(See, frozen=True, kw_only=True, tag="see event"):
    """An event of ``type`` since the last ``do``, of a device, with these fields.

    ``has`` and ``lacks`` name fields that must be there, or must not, whatever they say (``fix`` or
    ``fix.age_s``). ``near_m`` asks that its place lies so near to where the device stands.
    """

    type: str
    device: str
    fields: dict[str, Any] = {}
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    near_m: Metres | None = None


class SeeLink(See, frozen=True, kw_only=True, tag="see link"):
    """A link is in a state."""

    link: str
    state: LinkState


class SeeEmergency(See, frozen=True, kw_only=True, tag="see emergency"):
    """The latest emergency of a device is ``open``, ``taken`` or ``closed``, as people left it.

    ``ended`` tells whether the radio itself has said that it is over.
    """

    device: str
    phase: Literal["open", "taken", "closed"]
    ended: bool | None = None
    kind: EmergencyKind | None = None


class SeeAcknowledged(See, frozen=True, kw_only=True, tag="see acknowledged"):
    """The radio knows that its press was heard."""

    device: str


class SeeUnit(See, frozen=True, kw_only=True, tag="see unit"):
    """What the desk shows of a device."""

    device: str
    state: UnitState


class SeeCount(See, frozen=True, kw_only=True, tag="see count"):
    """So many events of ``type`` of a device, with these fields, since the scenario began.

    ``exactly`` is looked at when ``within_s`` is over, ``at_least`` as soon as it is so.
    """

    type: str
    device: str
    fields: dict[str, Any] = {}
    exactly: int | None = None
    at_least: int | None = None


class SeeRejected(See, frozen=True, kw_only=True, tag="see rejected"):
    """A link has refused at least so many frames, for whatever reason."""

    link: str
    at_least: int = 1


class SeeOutcome(See, frozen=True, kw_only=True, tag="see outcome"):
    """A command to a device has ended so since the last ``do``."""

    device: str
    verb: CommandVerb
    result: CommandResult


class SeeShown(See, frozen=True, kw_only=True, tag="see shown"):
    """The radio shows a text."""

    device: str
    body: str


AnySee = (
    SeeEvent
    | SeeLink
    | SeeEmergency
    | SeeAcknowledged
    | SeeUnit
    | SeeCount
    | SeeRejected
    | SeeOutcome
    | SeeShown
)
AnyStep = AnyDo | AnySee

SERIAL_STEPS = (Plug, Unplug, Noise)  # need a serial port of the device's own
WIRE_STEPS = (*SERIAL_STEPS, Silence, Return)  # need a wire of the device's own


class BoardTable(Table, frozen=True, kw_only=True):
    """Shorter ages than in service, so that a scenario can wait for them (seconds)."""

    fresh_s: Seconds = 60.0
    silent_s: Seconds = 60.0


class Scenario(Table, frozen=True, kw_only=True):
    """A whole file; ``name`` is the file's, ``commands`` is as in the gateway's settings."""

    name: str
    title: str
    title_zh: str
    about: str
    link: tuple[LinkTable, ...]
    device: tuple[DeviceTable, ...]
    steps: tuple[AnyStep, ...]
    board: BoardTable = BoardTable()
    commands: CommandSettings = CommandSettings()

    def device_named(self, name: str) -> DeviceTable:
        """One device."""
        return next(device for device in self.device if device.name == name)

    def link_of(self, device: DeviceTable) -> LinkTable:
        """The link that a device comes in by."""
        carrier = self.device_named(device.behind) if device.behind else device
        return next(link for link in self.link if link.id == carrier.link)


def scenario_files() -> list[Path]:
    """Every scenario that is there."""
    return sorted(FOLDER.glob("*.toml"))


def load_scenario(file: Path) -> Scenario:
    """Read and check a scenario; raises ConfigError naming file, key and what would be right."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    document["name"] = file.stem
    document["steps"] = [_tagged(step) for step in document.get("steps", [])]
    scenario: Scenario = convert_table(document, Scenario, file)
    for complaint in _complaints(scenario):
        raise ConfigError(f"{file}: {complaint}")
    return scenario


def _tagged(step: dict[str, Any]) -> dict[str, Any]:
    """``{ do = "press", … }`` as the structs have it: one key that names verb and thing."""
    given = [(key, step[key]) for key in ("do", "see") if key in step]
    if len(given) != 1:
        return {**step, "step": "a line with neither or both of do and see"}
    (key, what) = given[0]
    rest = {name: value for name, value in step.items() if name != key}
    return {**rest, "step": f"{key} {what}"}


def _complaints(scenario: Scenario) -> Iterator[str]:
    """What types alone cannot say."""
    links = {link.id for link in scenario.link}
    devices = {device.name: device for device in scenario.device}
    for device in scenario.device:
        if (device.kind == "unit") != bool(device.behind):
            yield f"device {device.name!r}: a unit, and nothing else, is behind a station"
        elif device.behind and device.behind not in devices:
            yield f"device {device.name!r}: there is no station {device.behind!r}"
        elif not device.behind and device.link not in links:
            yield f"device {device.name!r}: there is no link {device.link!r}"
    for number, step in enumerate(scenario.steps, start=1):
        for complaint in _complaints_about_step(step, scenario, links):
            yield f"step {number}: {complaint}"


def _complaints_about_step(step: AnyStep, scenario: Scenario, links: set[str]) -> Iterator[str]:
    if isinstance(step, SeeLink | SeeRejected) and step.link not in links:
        yield f"there is no link {step.link!r}"
    if isinstance(step, SeeCount) and (step.exactly is None) == (step.at_least is None):
        yield "say one of exactly and at_least"
    if isinstance(step, Ask) and not _is_allowed(step, scenario.commands):
        yield f"[commands] must be enabled and allow {step.verb!r}"
    name = getattr(step, "device", None)
    if name is not None and name not in {device.name for device in scenario.device}:
        yield f"there is no device {name!r}"
    elif isinstance(step, WIRE_STEPS):
        yield from _complaints_about_wire(step, scenario)


def _is_allowed(step: Ask, commands: CommandSettings) -> bool:
    return commands.enabled and step.verb in commands.allow


def _complaints_about_wire(step: DeviceDo, scenario: Scenario) -> Iterator[str]:
    device = scenario.device_named(step.device)
    if device.behind:
        yield f"{device.name!r} has no wire of its own; use its station"
    elif isinstance(step, SERIAL_STEPS) and scenario.link_of(device).transport != "serial":
        yield f"{device.name!r} is not on a serial port"
