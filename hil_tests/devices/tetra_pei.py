"""An emulated TETRA radio at the dispatcher's, which hears one other radio on the air.

It hands over what the gateway asked for with AT+CTSP and nothing else, answers each command, and
forgets everything when it restarts. The radio on the air sends its place by LIP, its emergency as
status 0000 and as a place with the reason "emergency", and reports the texts that it gets.
"""

from collections.abc import Sequence

from drivers.api import Moment
from drivers.tetra.lip import (
    REASON_EMERGENCY,
    REASON_POSITION_LOST,
    REASON_POWER_OFF,
    pack_short,
)
from drivers.tetra.sds import REPORT, TRANSFER, read_text, read_transport
from gateway.model.events import EmergencyKind
from gateway.model.quantities import KMH_MPS
from hil_tests.devices.parts import HasPlace

DISPATCHER = 4479999
REASON_INTERVAL = 129
ERROR_UNDER_20_M, ERROR_UNKNOWN = 1, 7
DIRECTION_STEP_DEG = 22.5
STATUS, LIP, TEXT = "20", "10", "130"  # services
SHORT_REPORT_BITS = 84
END_OF_MESSAGE = b"\x1a"


class TetraPeiDevice(HasPlace):
    """The two radios; ``every_s`` is the time between two places."""

    def __init__(self, number: int = 4470001, *, every_s: float = 10.0) -> None:
        self.number = number
        self.services: set[str] = set()  # asked for since the last restart
        self.texts: list[str] = []  # that came to the radio on the air
        self.reported: set[int] = set()  # references of its own texts that have arrived
        self._every_s = every_s
        self._due: float | None = None
        self._is_on = True
        self._pressed: EmergencyKind | None = None
        self._is_in_call = False
        self._reference = 0
        self._rest = b""
        self._out: list[bytes] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"TETRA radio that hears {self.number}"

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Press the button: a status and a place, or a call of the highest priority."""
        if kind not in {"alarm", "call"}:
            raise NotImplementedError(f"a TETRA radio has no emergency of kind {kind!r}")
        self._pressed = kind

    def release(self) -> None:
        """End the call; there is no message that ends an alarm."""
        if self._is_in_call:
            self._is_in_call = False
            self._say("+CTCR: 1,1")

    @property
    def is_press_acknowledged(self) -> bool:
        """Never: neither a status nor a place is answered."""
        return False

    def write(self, body: str) -> int:
        """Send a text that asks for a report; returns its reference."""
        self._reference = (self._reference + 1) & 0xFF
        octets = bytes((0x82, 0x04, self._reference, 1)) + body.encode("latin-1")
        self._hand_over(TEXT, 12, octets.hex().upper(), len(octets) * 8)
        return self._reference

    def switch_off(self) -> None:
        """Say that it leaves, and be silent."""
        self._send_place(REASON_POWER_OFF)
        self._is_on = False

    def restart(self) -> None:
        """The radio on the line loses power for a moment, and forgets what was asked for."""
        self.services.clear()
        self._rest = b""

    # --- the wire ---------------------------------------------------------------------------------

    def receive(self, data: bytes, now: Moment) -> None:
        """Commands of the gateway: lines, and after AT+CMGS digits that end with Ctrl-Z."""
        del now
        self._rest += data
        while True:
            line, end, rest = self._rest.partition(b"\n")
            if line.startswith(b"AT+CMGS="):
                digits, end, rest = rest.partition(END_OF_MESSAGE)
                if not end:
                    return
                self._say("+CMGS: 0", "OK")
                self._take_message(bytes.fromhex(digits.decode()))
            elif not end:
                return
            else:
                self._command(line.strip().decode())
            self._rest = rest

    def tick(self, now: Moment) -> None:
        """Send the place that is due, and the emergency."""
        if not self._is_on:
            return
        if self._pressed == "alarm" and {STATUS, LIP} <= self.services:
            self._pressed = None
            self._hand_over(STATUS, 13, "0000", 16)
            self._send_place(REASON_EMERGENCY)
        elif self._pressed == "call":
            self._pressed, self._is_in_call = None, True
            self._say(f"+CTICN: 1,0,0,0,{self.number},1,1,0,1,1,0,{DISPATCHER},15")
        if self._due is None or now.mono >= self._due:
            self._due = now.mono + self._every_s
            self._send_place(REASON_INTERVAL)

    def outgoing(self) -> Sequence[bytes]:
        """Lines since the last call."""
        out, self._out = self._out, []
        return out

    def _command(self, line: str) -> None:
        if line.startswith("AT+CTSP="):
            self.services.add(line.rpartition(",")[2])
        if line:
            self._say("OK" if line.startswith("AT") else "ERROR")

    def _take_message(self, message: bytes) -> None:
        """A message for the radio on the air."""
        header = read_transport(message)
        if header.kind == TRANSFER:
            self.texts.append(read_text(header.content))
            if header.wants_report:
                self._hand_over(TEXT, 12, header.report().hex().upper(), 32)
        elif header.kind == REPORT:
            self.reported.add(header.reference)

    def _send_place(self, reason: int) -> None:
        lat_deg, lon_deg = self._place or (0.0, 0.0)
        has_place = self._place is not None
        if not has_place and reason == REASON_INTERVAL:
            reason = REASON_POSITION_LOST
        digits = pack_short(
            lat_deg,
            lon_deg,
            error=ERROR_UNDER_20_M if has_place else ERROR_UNKNOWN,
            speed_kmh=self._speed_mps / KMH_MPS if has_place else None,
            direction=round(self._course_deg / DIRECTION_STEP_DEG) % 16 if has_place else 15,
            reason=reason,
        )
        self._hand_over(LIP, 12, digits, SHORT_REPORT_BITS)

    def _hand_over(self, service: str, kind: int, digits: str, bits: int) -> None:
        if service in self.services:
            self._say(f"+CTSDSR: {kind},{self.number},0,{DISPATCHER},0,{bits}", digits)

    def _say(self, *lines: str) -> None:
        self._out.append("".join(f"\r\n{line}" for line in lines).encode() + b"\r\n")
