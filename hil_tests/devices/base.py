"""What an emulated device is: a small state machine, sans-IO like a codec, hung on a wire."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from drivers.api import Moment
from gateway.model.events import EmergencyKind


class Device(Protocol):
    """One emulated radio, receiver or terminal."""

    @property
    def name(self) -> str:
        """For people: what it plays and its number."""
        ...

    def move(self, lat_deg: float, lon_deg: float, *, speed_mps: float, course_deg: float) -> None:
        """Stand at a place (WGS-84), moving so; used from the next report on."""
        ...

    def lose_fix(self) -> None:
        """See no satellites until the next ``move``."""
        ...

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Press the button; repeats itself on the wire as the real device does until answered."""
        ...

    def release(self) -> None:
        """End the emergency the way the real device does."""
        ...

    @property
    def is_press_acknowledged(self) -> bool:
        """True when the gateway's network acknowledgement for the last press has come."""
        ...

    def receive(self, data: bytes, now: Moment) -> None:
        """Bytes from the gateway."""
        ...

    def tick(self, now: Moment) -> None:
        """Time passes: due reports, retries, heartbeats. Called about ten times a second."""
        ...

    def outgoing(self) -> Sequence[bytes]:
        """Frames to put on the wire now, drained."""
        ...


@runtime_checkable
class ShowsTexts(Protocol):
    """A device with a display."""

    @property
    def texts(self) -> Sequence[str]:
        """Every text that it has shown, in order."""
        ...
