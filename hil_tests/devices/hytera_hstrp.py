"""An emulated Hytera repeater: it announces itself over UDP, and relays what its unit does.

Until its connect is answered it sends nothing else; after that a heartbeat every 6 s, the unit's
registration until that is answered, and its positions. A press goes out as the repeater's status
(B845) with an LP emergency report. What is not acknowledged goes out again with the same number; a
message that is part of a press is never given up.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.api import Moment
from drivers.hytera.hdap import (
    LpEmergencyReport,
    LpTriggeredReport,
    Message,
    RcpRepeaterStatus,
    RcpTarget,
    RrsAddress,
    Service,
    read_messages,
)
from drivers.hytera.hstrp_frames import CHANNEL, DEVICE, HstrpError, Kind, Packet, pack_options
from drivers.wire import Layout
from gateway.model.events import EmergencyKind
from hil_tests.devices.hytera_radio import REGISTER_AGAIN_S, HyteraRadio, text_to_dispatcher

CONNECT_AGAIN_S = 3.0
HEARTBEAT_S = 6.0
LOST_AFTER_S = 30.0  # then the computer is gone, and is connected to again
RESEND_S = 2.0
SENDS = 5
NUMBERS_KEPT = 64  # of packets that were served
WAITING_KEPT = 1000  # messages on the way; beyond that the oldest that is no press goes
CALL_TYPES: dict[EmergencyKind, int] = {"alarm": 0x0C, "call": 3}
REPEATING, CHANNEL_HANG = 0, 4
VOICE_SERVICE = 1
PRIVATE = 0  # call type
RADIO_CHECK = 0x0833


@dataclass(slots=True)
class _Waiting:
    """A message that is not acknowledged yet."""

    packet: bytes
    is_press: bool
    due: float
    sends: int = 1


class HstrpRepeater(HyteraRadio):
    """The repeater and one unit on its air; see the module's docstring.

    ``unit`` is the unit's 24-bit number, ``every_s`` the time between two positions.
    """

    def __init__(
        self,
        unit: int,
        *,
        talkgroup: int = 1,
        device: int = 100_001,
        slot: int = 1,
        every_s: float = 10.0,
    ) -> None:
        super().__init__(unit)
        self.is_connected = False
        self._talkgroup = talkgroup
        self._device = device
        self._options = pack_options((DEVICE, device.to_bytes(4, "big")), (CHANNEL, bytes((slot,))))
        self._every_s = every_s
        self._is_press_sent = False
        self._number = 0
        self._heard: deque[int] = deque(maxlen=NUMBERS_KEPT)
        self._connect_due = self._beat_due = self._report_due = 0.0
        self._heard_at = 0.0
        self._is_leaving = False
        self._texts_waiting: list[str] = []
        self._waiting: dict[int, _Waiting] = {}
        self._out: list[bytes] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"Hytera unit {self.address} on repeater {self._device}"

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Press the unit's button; NotImplementedError for a kind that a repeater cannot tell."""
        if kind not in CALL_TYPES:
            raise NotImplementedError(f"a Hytera repeater tells no {kind!r}")
        self._begin(kind)
        self._is_press_sent = False

    def write(self, body: str) -> None:
        """Send a text to the dispatcher."""
        self._texts_waiting.append(body)

    def switch_off(self) -> None:
        """The unit says that it leaves, and is silent; the repeater goes on."""
        self._is_leaving = True

    def switch_on(self) -> None:
        """The unit comes back, and registers."""
        self.is_on = True
        self._register_due = self._report_due = 0.0

    @property
    def is_press_acknowledged(self) -> bool:
        """True when every packet of the last press was acknowledged."""
        is_open = any(waiting.is_press for waiting in self._waiting.values())
        return self._is_press_sent and not is_open

    def restart(self) -> None:
        """Lose power for a moment: the connection and the numbers are forgotten."""
        self.is_connected = False
        self._heard.clear()
        self._number = 0
        self._connect_due = 0.0

    # --- the wire ---------------------------------------------------------------------------------

    def receive(self, data: bytes, now: Moment) -> None:
        """One datagram of the computer."""
        try:
            packet = Packet.unpack(data)
        except HstrpError:
            return
        self._heard_at = now.mono
        if packet.is_data:
            self._out.append(packet.acknowledgement().pack())
            if packet.number not in self._heard:  # else: our acknowledgement was lost
                self._heard.append(packet.number)
                for message in read_messages(packet.payload):
                    self._serve(message, now)
        elif packet.kind & Kind.CONNECT:
            self._heard.clear()
            self._connected(now)
            if not packet.options:  # the computer opened the conversation
                self._send_control(Kind.HEARTBEAT)
        elif packet.kind & Kind.ACK:
            self._waiting.pop(packet.number, None)

    def tick(self, now: Moment) -> None:
        """Connect, beat, register, report, press, send again: whatever is due."""
        if self.is_connected and now.mono > self._heard_at + LOST_AFTER_S:
            self.is_connected = False
        if not self.is_connected:
            if now.mono >= self._connect_due:
                self._connect_due = now.mono + CONNECT_AGAIN_S
                self._out.append(Packet(Kind.CONNECT, 0, self._options).pack())
            return
        if now.mono >= self._beat_due:
            self._beat_due = now.mono + HEARTBEAT_S
            self._send_control(Kind.HEARTBEAT)
        self._act(now)
        self._send_again(now)

    def outgoing(self) -> Sequence[bytes]:
        """Datagrams since the last call."""
        out, self._out = self._out, []
        return out

    def _connected(self, now: Moment) -> None:
        if self.is_connected:
            return
        self.is_connected = True
        waiting, self._waiting = self._waiting, {}
        for old in waiting.values():  # an alarm outlives a restart
            if old.is_press:
                self._send_payload(Packet.unpack(old.packet).payload, now, is_press=True)

    def _serve(self, message: Message, now: Moment) -> None:
        """What the computer asks of the unit goes out on the air, and its answer comes back."""
        if (message.service, message.opcode) == (Service.RCP, RADIO_CHECK):
            if self.is_on and RcpTarget.unpack(message.payload).target == self.address:
                self._send_status(REPEATING, PRIVATE, now)
        elif self.is_addressed(message):
            for answer in self.serve(message, now):
                self._send_payload(answer.pack(), now, is_press=False)

    def _act(self, now: Moment) -> None:
        if self._is_pressed and self._kind is not None:
            self._is_pressed = False
            self._is_press_sent = True
            self._send_status(REPEATING, CALL_TYPES[self._kind], now, is_press=True)
            report = LpEmergencyReport(address=self.ip, emergency_type=0, gps=self._gps(now))
            if self._kind == "alarm":
                self._send(Service.LP, 0xB003, report, now, is_press=True)
        if self._is_released and self._kind is not None:
            self._is_released = False
            self._send_status(CHANNEL_HANG, CALL_TYPES[self._kind], now)
        if self._is_leaving:
            self._is_leaving = self.is_on = self.is_registered = False
            self._send(Service.RRS, 0x0001, RrsAddress(address=self.ip), now)
        if self.is_on:
            self._report(now)

    def _report(self, now: Moment) -> None:
        if now.mono >= self._register_due:
            self._register_due = now.mono + REGISTER_AGAIN_S
            self._send(Service.RRS, 0x0003, RrsAddress(address=self.ip), now)
        if now.mono >= self._report_due:
            self._report_due = now.mono + self._every_s
            position = LpTriggeredReport(1, self.ip, remaining=b"0" * 8, gps=self._gps(now))
            self._send(Service.LP, 0xC003, position, now)
        texts, self._texts_waiting = self._texts_waiting, []
        for message in (*self.tracked(now), *(text_to_dispatcher(self, each) for each in texts)):
            self._send_payload(message.pack(), now, is_press=False)

    def _send_status(
        self, status: int, call_type: int, now: Moment, *, is_press: bool = False
    ) -> None:
        body = RcpRepeaterStatus(
            mode=1,
            status=status,
            service=VOICE_SERVICE,
            call_type=call_type,
            target=self._talkgroup,
            sender=self.address,
        )
        self._send(Service.RCP, 0xB845, body, now, is_press=is_press)

    def _send(
        self, service: Service, opcode: int, body: Layout, now: Moment, *, is_press: bool = False
    ) -> None:
        self._send_payload(Message(service, opcode, body.pack()).pack(), now, is_press=is_press)

    def _send_payload(self, payload: bytes, now: Moment, *, is_press: bool) -> None:
        self._number = (self._number + 1) & 0xFFFF
        packet = Packet(0, self._number, self._options, payload).pack()
        self._waiting[self._number] = _Waiting(packet, is_press, now.mono + RESEND_S)
        self._out.append(packet)
        if len(self._waiting) > WAITING_KEPT:
            usual = [number for number, old in self._waiting.items() if not old.is_press]
            self._waiting.pop(usual[0] if usual else next(iter(self._waiting)))

    def _send_again(self, now: Moment) -> None:
        for number, waiting in list(self._waiting.items()):
            if waiting.due > now.mono:
                continue
            if waiting.sends >= SENDS and not waiting.is_press:
                del self._waiting[number]
                continue
            waiting.sends += 1
            waiting.due = now.mono + RESEND_S
            self._out.append(waiting.packet)

    def _send_control(self, kind: Kind) -> None:
        self._out.append(Packet(kind, 0).pack())
