"""An emulated Kenwood base radio with its data port set to GPS: it prints what one unit sends.

The unit has a FleetSync number (``100-1001``) or an NXDN one (``U03001``). Its button sends the
status number that the fleet has programmed for an emergency. The base takes polls (``R3``) and
texts (``F``, ``G``): it says ``0`` when the unit has answered, ``1`` when it cannot be reached.
"""

import re
from collections.abc import Sequence

from drivers.api import Moment
from drivers.wire.sentences import write_place, write_sentence
from gateway.model.events import EmergencyKind
from gateway.model.quantities import KNOT_MPS
from hil_tests.devices.parts import HasPlace

STATUS_ON_DUTY = 10
SAYS_AGAIN = 3  # times that a unit sends its emergency status
AGAIN_S = 1.0
NO_PLACE = "0000.0000,N,00000.0000,E"

_TO_UNIT = re.compile(rb"\x02(?:g(R3|F|G)(U\d{5})|(R3|F|G)(\d{7}))([^\x02\x03]*)\x03")


class KenwoodBase(HasPlace):
    """One base radio and the one unit that it hears."""

    def __init__(
        self, number: str = "100-1001", *, every_s: float = 5.0, emergency_status: int = 80
    ) -> None:
        self._fleet, _, self._unit = number.rpartition("-")
        self._every_s = every_s
        self._emergency_status = emergency_status
        self._status = STATUS_ON_DUTY
        self._next_mono: float | None = None
        self._again_mono: float | None = None
        self._left = 0  # emergency statuses still to send
        self._is_asked = False
        self._heard = b""
        self._outgoing: list[bytes] = []
        self.is_reachable = True
        self.texts: list[str] = []  # that the unit has received

    @property
    def name(self) -> str:
        """For people."""
        return f"Kenwood unit {self._fleet}-{self._unit}" if self._fleet else self._unit

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Send the emergency status a few times; other kinds have no number of their own."""
        if kind != "alarm":
            raise NotImplementedError(f"a Kenwood status says nothing of the kind {kind!r}")
        self._status = self._emergency_status
        self._left, self._again_mono = SAYS_AGAIN, None

    def release(self) -> None:
        """Send another status."""
        self._status = STATUS_ON_DUTY
        self._left, self._again_mono = 1, None

    @property
    def is_press_acknowledged(self) -> bool:
        """Never: the data port has no way to acknowledge."""
        return False

    def receive(self, data: bytes, now: Moment) -> None:
        """Packets for the unit."""
        del now
        self._heard = (self._heard + data)[-512:]
        for packet in _TO_UNIT.finditer(self._heard):
            verb, text = packet[1] or packet[3], packet[5]
            is_ours = (packet[2] or packet[4]).decode() == (self._fleet + self._unit)
            if not is_ours or not self.is_reachable:
                self._outgoing.append(b"\x021\x03")
                continue
            self._outgoing.append(b"\x020\x03")
            if verb == b"R3":
                self._is_asked = True
            else:
                self.texts.append(text.decode("ascii", "replace"))
        self._heard = self._heard[self._heard.rfind(b"\x03") + 1 :]

    def tick(self, now: Moment) -> None:
        """Print what is due."""
        if self._next_mono is None or now.mono >= self._next_mono or self._is_asked:
            self._next_mono = now.mono + self._every_s
            self._is_asked = False
            self._outgoing.append(self._sentence(now))
        if self._left and (self._again_mono is None or now.mono >= self._again_mono):
            self._left -= 1
            self._again_mono = now.mono + AGAIN_S
            self._outgoing.append(self._sentence(now))

    def outgoing(self) -> Sequence[bytes]:
        """What was printed since the last call."""
        out, self._outgoing = self._outgoing, []
        return out

    def _sentence(self, now: Moment) -> bytes:
        at = now.at.datetime()
        is_valid = self._place is not None
        place = write_place(*self._place) if self._place is not None else NO_PLACE
        unit = f"{self._fleet},{self._unit}" if self._fleet else self._unit
        return write_sentence(
            f"{'PKLDS' if self._fleet else 'PKNDS'},{at:%H%M%S},{'A' if is_valid else 'V'},{place},"
            f"{self._speed_mps / KNOT_MPS:05.1f},{self._course_deg % 360:05.1f},{at:%d%m%y},"
            f"0.00,E00,{unit},{self._status},00,"
        )
