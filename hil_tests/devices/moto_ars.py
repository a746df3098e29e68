"""An emulated MOTOTRBO radio's registration: on, refreshed in time, answering queries, off."""

from collections.abc import Sequence

from drivers.api import Moment
from drivers.moto_ars import QUERY, REFRESH_MIN, Kind, read_message
from drivers.wire import WireError
from hil_tests.devices.parts import HasNoButton, HasNoPlace

REPEAT_S = 5.0  # while a registration is not answered
RENEW_AT = 0.9  # of the time for which it holds
INITIAL, REFRESH = 1, 2
PRESENT = bytes((0, 1, 0x3F))
LEAVING = bytes((0, 1, 0x31))


class MotoArsDevice(HasNoButton, HasNoPlace):
    """A radio with a number. Emergencies and places are not this service's business."""

    no_button = "ARS carries no emergency"

    def __init__(self, number: int = 11) -> None:
        self.number = number
        self.is_registered = False
        self._is_on = True
        self._due = 0.0
        self._out: list[bytes] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"MOTOTRBO radio {self.number}, registration"

    def switch_off(self) -> None:
        """Say that it leaves, and be silent."""
        self._is_on = self.is_registered = False
        self._out.append(LEAVING)

    def receive(self, data: bytes, now: Moment) -> None:
        """The gateway answers, or asks."""
        if not self._is_on:
            return
        if data == QUERY:
            self._out.append(PRESENT)
            return
        try:
            message = read_message(data)
        except WireError:
            return
        if message.kind == Kind.RESPONSE and message.rest:
            self.is_registered = True
            self._due = now.mono + RENEW_AT * message.rest[0] * REFRESH_MIN * 60

    def tick(self, now: Moment) -> None:
        """Register, again while nobody answers, and before the time is over."""
        if not self._is_on or now.mono < self._due:
            return
        self._due = now.mono + REPEAT_S
        event = REFRESH if self.is_registered else INITIAL
        device = str(self.number).encode("ascii")
        body = bytes((0xF0, event << 5, len(device))) + device + bytes(2)
        self._out.append(len(body).to_bytes(2, "big") + body)

    def outgoing(self) -> Sequence[bytes]:
        """Datagrams since the last call."""
        out, self._out = self._out, []
        return out
