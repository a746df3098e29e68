"""Our side of an HRNP conversation: connect, subscribe, keep alive, send again what is unanswered.

Three states: idle (nobody wants a connection), connecting (CONNECT goes out, with growing pauses,
until ACCEPT comes), connected. A REJECT, a CLOSE and DATA that the radio does not acknowledge lead
back to connecting. There is no ``DRIVER`` here.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from drivers.api import Moment, Output, Reject
from drivers.hytera.hdap import Message, RcpIdentityQuery, RcpTextBroadcast, Service, pack_switches
from drivers.hytera.hrnp_frames import Frame, Opcode

HOST_ADDRESS = 0x20
RADIO_ADDRESS = 0x10
FIRST_VERSION = 4
NUMBERS = 0x10000

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # between CONNECTs; each pause is twice the last one
RESEND_S = 2.0  # DATA that is not acknowledged goes out again
MOST_SENDS = 5  # then the radio has forgotten us
KEEPALIVE_S = 10.0  # after so long without a packet the radio is asked for its number
SUBSCRIBE_AGAIN_S = 300.0  # a radio that restarted unnoticed forgets what we want to hear

CALL_BROADCASTS = pack_switches(((0, 1), (1, 1)))  # B843 and B844 on
STATUS_CHANGES = pack_switches(((0x09, 1), (0x0E, 1), (0x17, 1)))  # emergency, man down, alone
TEXTS = 1  # bit 0 of 1847
QUERY = Message(Service.RCP, 0x0452, RcpIdentityQuery(which=0).pack())
SUBSCRIPTIONS = (
    Message(Service.RCP, 0x10C9, CALL_BROADCASTS),
    Message(Service.RCP, 0x10C7, STATUS_CHANGES),
    Message(Service.RCP, 0x1847, RcpTextBroadcast(mask=TEXTS).pack()),
)
SUBSCRIPTION_REPLIES = {0x80C9: "calls", 0x80C7: "status changes", 0x8847: "texts"}


class Phase(Enum):
    """Where the conversation stands; the module's docstring draws it."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"


class Sent(NamedTuple):
    """DATA that waits for its acknowledgement."""

    frame: bytes
    sends: int
    due: float


class HostSide:
    """Speaks for the host application; what it wants to send is drained with ``outgoing``."""

    def __init__(self, *, wants_connection: bool) -> None:
        self.phase = Phase.CONNECTING if wants_connection else Phase.IDLE
        self._address = HOST_ADDRESS
        self._radio_address = RADIO_ADDRESS
        self._version = FIRST_VERSION
        self._number = 0
        self._pause_s = FIRST_PAUSE_S
        self._is_timed = False  # until the first moment is known, a deadline is due at once
        self._connect_due = 0.0
        self._keepalive_due = 0.0
        self._subscribe_due = 0.0
        self._unanswered: dict[int, Sent] = {}
        self._out: list[bytes] = []
        if wants_connection:
            self._send_connect()

    def outgoing(self) -> list[bytes]:
        """Packets to write now, drained."""
        out, self._out = self._out, []
        return out

    def moment(self, now: Moment) -> None:
        """The first moment sets the clocks going."""
        if not self._is_timed:
            self._is_timed = True
            self._connect_due = now.mono + self._pause_s

    def heard(self, frame: Frame, now: Moment) -> None:
        """Any packet shows that the radio is there; its version is the one to speak."""
        self._version = frame.version
        self._keepalive_due = now.mono + KEEPALIVE_S

    def accepted(self, frame: Frame, now: Moment) -> None:
        """ACCEPT: take over the addresses, ask who the radio is and subscribe."""
        if self.phase is not Phase.CONNECTING:
            return
        self.phase = Phase.CONNECTED
        self._address, self._radio_address = frame.destination, frame.source
        self._number = 0
        self._pause_s = FIRST_PAUSE_S
        self._unanswered.clear()
        self.send(QUERY, now)
        self._subscribe(now)

    def refused(self, now: Moment) -> Reject:
        """REJECT: CONNECT again after the pause that is running, or one that begins now."""
        if self.phase is Phase.CONNECTED:
            self._reconnect(now)
        return Reject("refused", "HRNP: the radio answered REJECT")

    def closed(self, now: Moment) -> None:
        """CLOSE: the radio hangs up; connect again after the pause."""
        if self.phase is Phase.CONNECTED:
            self._reconnect(now)

    def acknowledged(self, number: int) -> None:
        """DATA_ACK for one of ours."""
        self._unanswered.pop(number, None)

    def replied(self, message: Message) -> Sequence[Reject]:
        """A reply to a subscription of ours that was not granted is worth knowing."""
        what = SUBSCRIPTION_REPLIES.get(message.opcode)
        if what is None or message.service != Service.RCP or self.phase is not Phase.CONNECTED:
            return ()
        result = message.payload[:1].hex()
        if result == "00":
            return ()
        detail = f"{message}: the radio will not report {what} (result {result})"
        return (Reject("refused", detail),)

    def next_number(self) -> int:
        """The number of our next DATA."""
        self._number = (self._number + 1) % NUMBERS
        return self._number

    @property
    def is_connected(self) -> bool:
        """True while DATA of ours is taken."""
        return self.phase is Phase.CONNECTED

    def next_deadline(self) -> float | None:
        """When ``expire`` must run."""
        if self.phase is Phase.IDLE:
            return None
        if self.phase is Phase.CONNECTING:
            return self._connect_due
        resends = [sent.due for sent in self._unanswered.values()]
        return min(self._keepalive_due, self._subscribe_due, *resends)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Connect, send again, ask or subscribe again: whatever is due."""
        if not self._is_timed:
            self.moment(now)
            return []
        if self.phase is Phase.CONNECTING and self._connect_due <= now.mono:
            self._send_connect()
            self._wait_longer(now)
        if self.phase is Phase.CONNECTED:
            return self._expire_connected(now)
        return []

    def _expire_connected(self, now: Moment) -> Sequence[Output]:
        for number, sent in list(self._unanswered.items()):
            if sent.due > now.mono:
                continue
            if sent.sends >= MOST_SENDS:
                self._pause_s = FIRST_PAUSE_S
                self._reconnect(now)
                detail = f"HRNP: DATA {number} was not acknowledged in {MOST_SENDS} tries"
                return [Reject("unanswered", f"{detail}; connecting again")]
            self._unanswered[number] = Sent(sent.frame, sent.sends + 1, now.mono + RESEND_S)
            self._out.append(sent.frame)
        if self._subscribe_due <= now.mono:
            self._subscribe(now)
        if self._keepalive_due <= now.mono:
            self._keepalive_due = now.mono + KEEPALIVE_S
            if not self._unanswered:
                self.send(QUERY, now)
        return []

    def _send_connect(self) -> None:
        self._out.append(
            Frame(Opcode.CONNECT, self._address, self._radio_address, 0, b"", self._version).pack()
        )

    def _wait_longer(self, now: Moment) -> None:
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._connect_due = now.mono + self._pause_s

    def _reconnect(self, now: Moment) -> None:
        self.phase = Phase.CONNECTING
        self._unanswered.clear()
        self._address, self._radio_address = HOST_ADDRESS, RADIO_ADDRESS
        self._connect_due = now.mono + self._pause_s

    def _subscribe(self, now: Moment) -> None:
        for message in SUBSCRIPTIONS:
            self.send(message, now)
        self._subscribe_due = now.mono + SUBSCRIBE_AGAIN_S

    def send(self, message: Message, now: Moment) -> None:
        """Send DATA, and again until it is acknowledged."""
        number = self.next_number()
        frame = Frame(
            Opcode.DATA, self._address, self._radio_address, number, message.pack(), self._version
        ).pack()
        self._unanswered[number] = Sent(frame, 1, now.mono + RESEND_S)
        self._out.append(frame)
