"""Our side of an HSTRP conversation: connect, beat, notice silence, send again what is unanswered.

Three states: waiting (for the repeater to speak), connecting (connect packets go out, with growing
pauses, until it speaks), present. A close, a rejected connect and a silence of ``LOST_AFTER_S``
lead back to the state it began in. There is no ``DRIVER`` here.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from drivers.api import Moment, Reject
from drivers.hytera.hdap import Message
from drivers.hytera.hstrp_frames import Kind, Packet

NUMBERS = 0x10000
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # between connects; each pause is twice the last one
HEARTBEAT_S = 5.0  # as the captured dispatcher beats; the repeater beats every 6 s
ANSWER_AGAIN_S = 1.0  # so long no second heartbeat: a peer that answers answers makes no storm
LOST_AFTER_S = 18.0  # three heartbeats of the repeater
RESEND_S = 2.0  # messages of ours that are not acknowledged go out again
MOST_SENDS = 3  # then they are given up, as one implementation does
UNANSWERED_KEPT = 256  # messages of ours that wait; beyond that the oldest goes out no more
CONNECT = Packet(Kind.CONNECT | Kind.ACK, 0).pack()
HEARTBEAT = Packet(Kind.HEARTBEAT, 0).pack()


class Phase(Enum):
    """Where the conversation stands; the module's docstring draws it."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    PRESENT = "present"


class Sent(NamedTuple):
    """A message of ours that waits for its acknowledgement."""

    packet: bytes
    sends: int
    due: float


class PcSide:
    """Speaks for the dispatcher's computer; what it wants to send is drained with ``outgoing``."""

    def __init__(self, *, wants_connection: bool) -> None:
        self._begin = Phase.CONNECTING if wants_connection else Phase.WAITING
        self.phase = self._begin
        self._number = 0
        self._pause_s = FIRST_PAUSE_S
        self._mono: float | None = None  # the last moment that is known
        self._connect_due = 0.0
        self._beat_at = float("-inf")
        self._heard_at = 0.0
        self._unanswered: dict[int, Sent] = {}
        self._out: list[bytes] = []
        if wants_connection:
            self._out.append(CONNECT)

    def outgoing(self) -> list[bytes]:
        """Packets to write now, drained."""
        out, self._out = self._out, []
        return out

    def moment(self, now: Moment) -> None:
        """The first moment sets the clocks going."""
        if self._mono is None:
            self._connect_due = now.mono + self._pause_s
        self._mono = now.mono

    def heard(self, now: Moment) -> None:
        """The repeater is there; the first time it gets a heartbeat at once."""
        self._heard_at = now.mono
        if self.phase is not Phase.PRESENT:
            self.phase = Phase.PRESENT
            self._pause_s = FIRST_PAUSE_S
            self._beat(now)

    def beaten(self, now: Moment) -> None:
        """A heartbeat is answered by one."""
        if now.mono - self._beat_at >= ANSWER_AGAIN_S:
            self._beat(now)

    def connected(self) -> None:
        """The repeater begins anew; our numbers go on, since it takes no old one twice."""
        self._unanswered.clear()

    def parted(self, now: Moment) -> None:
        """The repeater closed, or rejected our connect."""
        if self.phase is Phase.PRESENT:
            self._connect_due = now.mono + self._pause_s
        self.phase = self._begin
        self._unanswered.clear()

    def acknowledged(self, number: int) -> bool:
        """An acknowledgement, or a rejection, of a message of ours; False where there is none."""
        return self._unanswered.pop(number, None) is not None

    def send(self, message: Message) -> None:
        """Send a message to the repeater, and again until it is acknowledged."""
        self._number = (self._number + 1) % NUMBERS
        packet = Packet(Kind(0), self._number, b"", message.pack()).pack()
        due = (self._mono or 0.0) + RESEND_S
        self._unanswered[self._number] = Sent(packet, 1, due)
        if len(self._unanswered) > UNANSWERED_KEPT:
            del self._unanswered[next(iter(self._unanswered))]
        self._out.append(packet)

    @property
    def is_present(self) -> bool:
        """True while the repeater is there."""
        return self.phase is Phase.PRESENT

    def next_deadline(self) -> float | None:
        """When ``expire`` must run."""
        if self.phase is Phase.WAITING:
            return None
        if self.phase is Phase.CONNECTING:
            return self._connect_due
        resends = [sent.due for sent in self._unanswered.values()]
        return min(self._beat_at + HEARTBEAT_S, self._heard_at + LOST_AFTER_S, *resends)

    def expire(self, now: Moment) -> Sequence[Reject]:
        """Connect, beat, send again, notice that nobody is there: whatever is due."""
        is_first = self._mono is None
        self.moment(now)
        if is_first:
            return ()
        if self.phase is Phase.CONNECTING and self._connect_due <= now.mono:
            self._out.append(CONNECT)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._connect_due = now.mono + self._pause_s
        if self.phase is Phase.PRESENT:
            return self._expire_present(now)
        return ()

    def _expire_present(self, now: Moment) -> Sequence[Reject]:
        if now.mono >= self._heard_at + LOST_AFTER_S:
            self.parted(now)
            return (Reject("silent", f"HSTRP: nothing heard for {LOST_AFTER_S:.0f} s"),)
        if now.mono >= self._beat_at + HEARTBEAT_S:
            self._beat(now)
        given_up: list[Reject] = []
        for number, sent in list(self._unanswered.items()):
            if sent.due > now.mono:
                continue
            if sent.sends >= MOST_SENDS:
                del self._unanswered[number]
                detail = f"HSTRP: message {number} was not acknowledged in {MOST_SENDS} tries"
                given_up.append(Reject("unanswered", detail))
                continue
            self._unanswered[number] = Sent(sent.packet, sent.sends + 1, now.mono + RESEND_S)
            self._out.append(sent.packet)
        return given_up

    def _beat(self, now: Moment) -> None:
        self._beat_at = now.mono
        self._out.append(HEARTBEAT)
