"""An emulated Hytera control station: one radio on a data line, and the units that it hears.

The station waits for CONNECT. Once connected it relays what its units do: registration by RRS
until that is answered, periodic positions by LP, alarms as a heard call (B844, when subscribed)
with an LP emergency report. What is not acknowledged goes out again with the same number; an alarm
that was never acknowledged is sent anew.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drivers.api import Moment
from drivers.hytera.hdap import (
    LpAnswerWithRssi,
    LpConditionReport,
    LpEmergencyReport,
    LpTriggeredReport,
    Message,
    RcpIdentityReply,
    RcpReceiveStatus,
    RcpResult,
    RcpStatusChange,
    RcpTarget,
    RrsAddress,
    Service,
    read_messages,
    unpack_switches,
)
from drivers.hytera.hrnp_frames import Frame, FrameScanner, Opcode
from drivers.wire import Layout
from gateway.model.events import EmergencyKind
from hil_tests.devices.hytera_radio import REGISTER_AGAIN_S, HyteraRadio, text_to_dispatcher

STATION_ADDRESS, HOST_ADDRESS = 0x10, 0x20  # on the data line
RESEND_S = 2.0
SENDS = 5
WINDOW = 8  # packets on the line that wait for their acknowledgement
NUMBERS_KEPT = 64  # of packets that were served
USUAL_KEPT = 1000  # positions and registrations that wait; the oldest go
RSSI = -90
CALLS_HEARD = 1  # target of 10C9: B844
RADIO_CHECK = 0x0833
PRIVATE = 0  # call type
CALL_TYPES: dict[EmergencyKind, int] = {"alarm": 5, "man_down": 5, "lone_worker": 5, "call": 3}
OWN_STATUS: dict[EmergencyKind, int] = {"alarm": 9, "man_down": 0x0E, "lone_worker": 0x17}
VOICE, HANG, CALL_END, EXIT_EMERGENCY = 1, 2, 3, 0x0A

ReportForm = Literal["C003", "D003", "D004"]


class Press:
    """One press of a button; acknowledged when every packet of it is."""

    def __init__(self, kind: EmergencyKind) -> None:
        self.kind = kind
        self.is_sent = False
        self.unacknowledged = 0

    @property
    def is_acknowledged(self) -> bool:
        """True when the host has it on disk."""
        return self.is_sent and self.unacknowledged == 0


@dataclass(slots=True)
class _Waiting:
    """A message for the host; ``press`` where it is part of one."""

    message: Message
    press: Press | None
    frame: bytes = b""
    sends: int = 0
    due: float = 0.0


class _Radio(HyteraRadio):
    """A radio whose presses are acknowledged packet by packet."""

    def __init__(self, address: int) -> None:
        super().__init__(address)
        self._press: Press | None = None

    @property
    def is_press_acknowledged(self) -> bool:
        """True when every packet of the last press was acknowledged."""
        return self._press is not None and self._press.is_acknowledged

    def _begin(self, kind: EmergencyKind) -> None:
        super()._begin(kind)
        self._press = Press(kind)


class HrnpUnit(_Radio):
    """A unit on the air that the station hears; made by ``HrnpStation.add_unit``.

    It is a device of its own for scenarios; bytes and time go through the station.
    """

    def __init__(self, station: "HrnpStation", address: int, talkgroup: int) -> None:
        super().__init__(address)
        self._station = station
        self._talkgroup = talkgroup
        self._report_due: float | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"Hytera unit {self.address} behind {self._station.name}"

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Press the button; man down and lone worker reach a station as plain alarms.

        Raises NotImplementedError for a kind that no Hytera message knows.
        """
        if kind not in CALL_TYPES:
            raise NotImplementedError(f"a Hytera unit has no alarm of kind {kind!r}")
        self._begin(kind)

    def write(self, body: str) -> None:
        """Send a text to the dispatcher."""
        self._station.queue(text_to_dispatcher(self, body))

    def switch_off(self) -> None:
        """Say that it leaves, and be silent."""
        self.is_on = self.is_registered = False
        self._send(Service.RRS, 0x0001, RrsAddress(address=self.ip))

    def switch_on(self) -> None:
        """Come back, and register."""
        self.is_on = True
        self._register_due = 0.0

    def receive(self, data: bytes, now: Moment) -> None:
        """Bytes from the gateway, for the station."""
        self._station.receive(data, now)

    def tick(self, now: Moment) -> None:
        """Time passes for the station and all its units."""
        self._station.tick(now)

    def outgoing(self) -> Sequence[bytes]:
        """The station's packets."""
        return self._station.outgoing()

    def act(self, now: Moment, every_s: float, form: ReportForm) -> None:
        """Register, report, press: whatever is due. Called by the station while it is connected."""
        if self._is_pressed and self._press is not None:
            self._send_press(self._press, now)
        if self._is_released and self._press is not None:
            self._is_released = False
            processes = (HANG, CALL_END) if self._press.kind == "call" else (EXIT_EMERGENCY,)
            for process in processes:
                self._send_heard(process, self._press.kind)
        if not self.is_on:
            return
        if now.mono >= self._register_due:
            self._register_due = now.mono + REGISTER_AGAIN_S
            self._send(Service.RRS, 0x0003, RrsAddress(address=self.ip))
        if self._report_due is None or now.mono >= self._report_due:
            self._report_due = now.mono + every_s
            self._send_report(now, form)
        for report in self.tracked(now):
            self._station.queue(report)

    def checked(self) -> None:
        """Answer a radio check on the air, which the station hears."""
        if self.is_on and self._station.reports_calls:
            answer = RcpReceiveStatus(VOICE, PRIVATE, self.address, self._station.address)
            self._station.queue(Message(Service.RCP, 0xB844, answer.pack()))

    def _send_press(self, press: Press, now: Moment) -> None:
        """A call needs the subscription; an alarm has its own message and goes out anyway."""
        if press.kind == "call" and not self._station.reports_calls:
            return
        self._is_pressed = False
        press.is_sent = True
        if self._station.reports_calls:
            self._send_heard(VOICE, press.kind, press)
        if press.kind != "call":
            report = LpEmergencyReport(address=self.ip, emergency_type=0, gps=self._gps(now))
            self._send(Service.LP, 0xB003, report, press)

    def _send_heard(self, process: int, kind: EmergencyKind, press: Press | None = None) -> None:
        status = RcpReceiveStatus(
            process=process,
            call_type=CALL_TYPES[kind],
            sender=self.address,
            target=self._talkgroup,
        )
        self._send(Service.RCP, 0xB844, status, press, is_urgent=True)

    def _send_report(self, now: Moment, form: ReportForm) -> None:
        gps = self._gps(now)
        reports: dict[ReportForm, Layout] = {
            "C003": LpTriggeredReport(1, self.ip, remaining=b"0" * 8, gps=gps),
            "D003": LpConditionReport(request_id=1, address=self.ip, gps=gps),
            "D004": LpAnswerWithRssi(1, self.ip, result=0, gps=gps, rssi=RSSI),
        }
        self._send(Service.LP, int(form, 16), reports[form])

    def _send(
        self,
        service: Service,
        opcode: int,
        body: Layout,
        press: Press | None = None,
        *,
        is_urgent: bool = False,
    ) -> None:
        self._station.queue(Message(service, opcode, body.pack()), press, is_urgent=is_urgent)


class HrnpStation(_Radio):
    """The radio on the data line; see the module's docstring.

    ``every_s`` is the time between two positions of a unit, ``form`` the message that carries them.
    """

    def __init__(
        self,
        address: int = 1001,
        *,
        every_s: float = 10.0,
        form: ReportForm = "C003",
        version: int = 4,
    ) -> None:
        super().__init__(address)
        self.is_connected = False
        self._every_s = every_s
        self._form = form
        self._version = version
        self._units: dict[int, HrnpUnit] = {}
        self._switched_on: set[tuple[int, int]] = set()  # opcode, target
        self._number = 0
        self._heard: deque[int] = deque(maxlen=NUMBERS_KEPT)
        self._urgent: deque[_Waiting] = deque()
        self._usual: deque[_Waiting] = deque(maxlen=USUAL_KEPT)
        self._on_line: dict[int, _Waiting] = {}
        self._scanner = FrameScanner()
        self._out: list[bytes] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"Hytera control station {self.address}"

    @property
    def units(self) -> tuple[HrnpUnit, ...]:
        """The units that it hears."""
        return tuple(self._units.values())

    @property
    def reports_calls(self) -> bool:
        """True when the host has asked for the calls that it hears."""
        return (0x10C9, CALLS_HEARD) in self._switched_on

    def add_unit(self, address: int, *, talkgroup: int = 1) -> HrnpUnit:
        """A unit with a 24-bit ``address``, whose alarms go to ``talkgroup``."""
        unit = HrnpUnit(self, address, talkgroup)
        self._units[unit.address] = unit
        return unit

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Press the station's own button, which is a status change (B0C8)."""
        if kind not in OWN_STATUS:
            raise NotImplementedError(f"a Hytera station reports no {kind!r} of its own")
        self._begin(kind)

    def restart(self) -> None:
        """Lose power for a moment: connection, subscriptions and numbers are forgotten."""
        self._disconnect()
        self._switched_on.clear()

    def queue(
        self, message: Message, press: Press | None = None, *, is_urgent: bool = False
    ) -> None:
        """Send ``message`` to the host when its turn comes."""
        waiting = _Waiting(message, press)
        if press is not None:
            press.unacknowledged += 1
        (self._urgent if press is not None or is_urgent else self._usual).append(waiting)

    # --- the wire ---------------------------------------------------------------------------------

    def receive(self, data: bytes, now: Moment) -> None:
        """Packets of the host."""
        for frame in self._scanner.feed(data):
            if not isinstance(frame, Frame):
                continue
            if frame.opcode == Opcode.CONNECT:
                self._connect(frame)
            elif frame.opcode == Opcode.CLOSE:
                self._out.append(frame.answer(Opcode.CLOSE_ACK).pack())
                self._disconnect()
            elif frame.opcode == Opcode.DATA_ACK:
                self._acknowledged(frame.number)
            elif frame.opcode == Opcode.DATA and self.is_connected:
                self._out.append(frame.answer(Opcode.DATA_ACK).pack())
                if frame.number not in self._heard:  # else: our acknowledgement was lost
                    self._heard.append(frame.number)
                    for message in read_messages(frame.payload):
                        self._serve(message, now)

    def tick(self, now: Moment) -> None:
        """Let every unit act, send what waits, send again what is not acknowledged."""
        if not self.is_connected:
            return
        self._act_on_button()
        for unit in self._units.values():
            unit.act(now, self._every_s, self._form)
        self._send_again(now)
        while len(self._on_line) < WINDOW and (self._urgent or self._usual):
            self._send((self._urgent or self._usual).popleft(), now)

    def outgoing(self) -> Sequence[bytes]:
        """Packets since the last call."""
        out, self._out = self._out, []
        return out

    def _connect(self, frame: Frame) -> None:
        self._disconnect()
        self.is_connected = True
        self._version = min(self._version, frame.version)
        accept = Frame(Opcode.ACCEPT, STATION_ADDRESS, frame.source, 0, b"", self._version)
        self._out.append(accept.pack())

    def _disconnect(self) -> None:
        self.is_connected = False
        self._number = 0
        self._heard.clear()
        again = [waiting for waiting in self._on_line.values() if waiting.press is not None]
        self._urgent.extendleft(reversed(again))
        self._on_line.clear()

    def _acknowledged(self, number: int) -> None:
        waiting = self._on_line.pop(number, None)
        if waiting is not None and waiting.press is not None:
            waiting.press.unacknowledged -= 1

    def _serve(self, message: Message, now: Moment) -> None:
        """Answer what the host asks for."""
        key = (message.service, message.opcode)
        if key == (Service.RCP, 0x1847):
            self.queue(Message(Service.RCP, 0x8847, RcpResult(result=0).pack()))
        elif key in {(Service.RCP, 0x10C9), (Service.RCP, 0x10C7)}:
            for target, on in unpack_switches(message.payload):
                switch = (message.opcode, target)
                (self._switched_on.add if on else self._switched_on.discard)(switch)
            reply = 0x8000 | message.opcode & 0x0FFF
            self.queue(Message(Service.RCP, reply, RcpResult(result=0).pack()))
        elif key == (Service.RCP, 0x0452):
            own = RcpIdentityReply(result=0, which=0, value=self.address.to_bytes(4, "little"))
            self.queue(Message(Service.RCP, 0x8452, own.pack()))
        else:
            self._serve_unit(message, now)

    def _serve_unit(self, message: Message, now: Moment) -> None:
        """What the host asks of a unit goes out on the air, and its answer comes back."""
        if (message.service, message.opcode) == (Service.RCP, RADIO_CHECK):
            checked = self._units.get(RcpTarget.unpack(message.payload).target)
            if checked is not None:
                checked.checked()
            return
        for unit in self._units.values():
            if unit.is_addressed(message):
                for answer in unit.serve(message, now):
                    self.queue(answer)

    def _act_on_button(self) -> None:
        if self._press is None:
            return
        target = OWN_STATUS[self._press.kind]
        if (0x10C7, target) not in self._switched_on:
            return
        if self._is_pressed:
            self._is_pressed = False
            self._press.is_sent = True
            self._send_status(target, 1, self._press)
        if self._is_released:
            self._is_released = False
            self._send_status(target, 0)

    def _send_status(self, target: int, value: int, press: Press | None = None) -> None:
        change = RcpStatusChange(target=target, value=value)
        self.queue(Message(Service.RCP, 0xB0C8, change.pack()), press, is_urgent=True)

    def _send_again(self, now: Moment) -> None:
        for number, waiting in list(self._on_line.items()):
            if waiting.due > now.mono:
                continue
            if waiting.sends < SENDS:
                waiting.sends += 1
                waiting.due = now.mono + RESEND_S
                self._out.append(waiting.frame)
                continue
            del self._on_line[number]
            if waiting.press is not None:  # an alarm is never given up
                self._urgent.append(_Waiting(waiting.message, waiting.press))

    def _send(self, waiting: _Waiting, now: Moment) -> None:
        self._number = (self._number + 1) & 0xFFFF
        frame = Frame(
            Opcode.DATA,
            STATION_ADDRESS,
            HOST_ADDRESS,
            self._number,
            waiting.message.pack(),
            self._version,
        )
        waiting.frame = frame.pack()
        waiting.sends, waiting.due = 1, now.mono + RESEND_S
        self._on_line[self._number] = waiting
        self._out.append(waiting.frame)
