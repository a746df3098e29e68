"""An emulated MOTOTRBO radio's texts: it announces itself, repeats, and acknowledges."""

from collections.abc import Sequence

from drivers.api import Moment
from drivers.moto_tms import (
    ACKNOWLEDGE,
    BLANK_SUBJECT,
    MORE,
    NUMBERS,
    RESERVED,
    UCS2,
    acknowledgement,
    pack,
    read_message,
)
from drivers.wire import WireError
from hil_tests.devices.parts import HasNoButton, HasNoPlace

REPEAT_S = 5.0
SENDS = 4
AVAILABLE = bytes.fromhex("0003d00001")


class MotoTmsDevice(HasNoButton, HasNoPlace):
    """A radio with a number."""

    no_button = "TMS carries no emergency"

    def __init__(self, number: int = 11) -> None:
        self.number = number
        self.texts: list[str] = []  # that came
        self.acknowledged: set[int] = set()  # numbers of its own texts that are on disk
        self.is_known = False  # its announcement was acknowledged
        self._next = 0
        self._waiting: dict[int, tuple[bytes, int, float]] = {}  # frame, sends left, due
        self._announce_due = 0.0
        self._out: list[bytes] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"MOTOTRBO radio {self.number}, texts"

    def write(self, body: str) -> int:
        """Send a text; returns its number."""
        number, self._next = self._next, (self._next + 1) % NUMBERS
        content = (BLANK_SUBJECT + body).encode("utf-16-le")
        frame = pack(MORE | ACKNOWLEDGE | RESERVED, number, UCS2, content)
        self._waiting[number] = (frame, SENDS, 0.0)
        return number

    def receive(self, data: bytes, now: Moment) -> None:
        """A text of the gateway, or what it acknowledges."""
        del now
        try:
            message = read_message(data)
        except WireError:
            return
        if message.is_text:
            body = message.content.decode("utf-16-le").removeprefix(BLANK_SUBJECT)
            self.texts.append(body)
            self._out.append(acknowledgement(message))
        elif message.is_ack and message.number is None:
            self.is_known = True
        elif message.is_ack and self._waiting.pop(message.number or 0, None) is not None:
            self.acknowledged.add(message.number or 0)

    def tick(self, now: Moment) -> None:
        """Announce itself, and send what is not acknowledged."""
        if not self.is_known and now.mono >= self._announce_due:
            self._announce_due = now.mono + REPEAT_S
            self._out.append(AVAILABLE)
        for number, (frame, left, due) in list(self._waiting.items()):
            if left and now.mono >= due:
                self._waiting[number] = (frame, left - 1, now.mono + REPEAT_S)
                self._out.append(frame)

    def outgoing(self) -> Sequence[bytes]:
        """Datagrams since the last call."""
        out, self._out = self._out, []
        return out
