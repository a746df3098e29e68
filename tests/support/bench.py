"""A codec and an emulated device that hear each other in virtual time: no wire, no session.

``tests/support/devices.py`` has the same with a session, a pipeline and a disk between them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from drivers.api import Codec, Command, Moment, Outcome, Output, Report, Verb
from gateway.model.events import Event
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from hil_tests.devices.base import Device

BEGIN = Instant.parse("2026-05-01T08:00:00Z")
DeviceT = TypeVar("DeviceT", bound=Device)
Loses = Callable[[bytes], bool]


def nothing(_frame: bytes) -> bool:
    """Nothing is lost."""
    return False


def everything(_frame: bytes) -> bool:
    """All is lost."""
    return True


class Bench(Generic[DeviceT]):
    """``loses_up`` says what is lost on its way to the codec, ``loses_down`` what to the device.

    Reports are accepted at once, but while ``is_disk_full``.
    """

    def __init__(self, codec: Codec, device: DeviceT, *, step_s: float = 0.1) -> None:
        self.codec: Any = codec
        self.device = device
        self.loses_up: Loses = nothing
        self.loses_down: Loses = nothing
        self.is_disk_full = False
        self.outputs: list[Output] = []
        self.up: list[bytes] = []  # what the device has sent
        self.down: list[bytes] = []  # what the codec has sent
        self._step_s = step_s
        self._steps = 0

    @property
    def now(self) -> Moment:
        """Counted in steps, or a tenth of a second would add up to something else."""
        seconds = self._steps * self._step_s
        return Moment(seconds, Instant(BEGIN + round(seconds * NS_PER_S)))

    def loses(self, loses: Loses) -> None:
        """On both ways."""
        self.loses_up = self.loses_down = loses

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / self._step_s)):
            self._steps += 1
            deadline = self.codec.next_deadline()
            if deadline is not None and deadline <= self.now.mono:
                self.take(self.codec.expire(self.now))
            self.device.tick(self.now)
            self._write()
            for frame in self.device.outgoing():
                self.up.append(frame)
                if not self.loses_up(frame):
                    self.take(self.codec.receive(frame, self.now))
            self._write()

    def ask(
        self, verb: Verb, radio: RadioId, order: int = 1, within_s: float = 30.0, **rest: Any
    ) -> None:
        """Give the codec a command."""
        command = Command(order, radio, verb, self.now.mono + within_s, **rest)
        self.take(self.codec.send(command, self.now))

    def take(self, outputs: Iterable[Output]) -> None:
        """What a session would do with them."""
        for output in outputs:
            self.outputs.append(output)
            if isinstance(output, Report) and output.receipt is not None and not self.is_disk_full:
                self.codec.accept(output.receipt)

    @property
    def reports(self) -> list[Report]:
        return [output for output in self.outputs if isinstance(output, Report)]

    @property
    def outcomes(self) -> list[Outcome]:
        return [output for output in self.outputs if isinstance(output, Outcome)]

    def events(self, kind: type[Event]) -> list[Any]:
        """Those of one kind; ``Any``, for a test says what is in them."""
        return [report.event for report in self.reports if isinstance(report.event, kind)]

    def forget(self) -> None:
        """What was heard so far."""
        self.outputs.clear()
        self.up.clear()
        self.down.clear()

    def _write(self) -> None:
        for frame in self.codec.outgoing():
            self.down.append(frame)
            if not self.loses_down(frame):
                self.device.receive(frame, self.now)
