"""An emulated JT/T 808 terminal: a public-network handheld with an SOS key and a display.

It registers, authenticates, beats, reports its place, repeats what is not answered with the same
serial number, keeps the SOS bit set until the platform answers a report that has it, and sends what
it kept while nobody answered as one or more batches. Asked for its place or its parameters it gives
them; it lets itself be tracked, shows texts, and takes an alarm as confirmed.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto

from drivers.api import Moment, Reject
from drivers.jtt808.frames import Deframer, Frame, decode, encode
from drivers.jtt808.messages import (
    ALARM_COLLISION,
    ALARM_EMERGENCY,
    BATCH_STORED,
    FROM_PLATFORM,
    ITEM_MILEAGE,
    ITEM_SATELLITES,
    PARAMETER_EMERGENCY_INTERVAL,
    PARAMETER_HEARTBEAT,
    PARAMETER_INTERVAL,
    STATUS_FIXED,
    STATUS_SOUTH,
    STATUS_WEST,
    TEXT_ENCODING,
    Ack,
    AckResult,
    BatchHead,
    ConfirmAlarm,
    Message,
    ParametersHead,
    PositionBody,
    Register2013,
    Register2019,
    RegisterAnswer,
    RegisterResult,
    Track,
    parameters,
    text,
)
from drivers.wire import WireError
from gateway.model.events import EmergencyKind
from gateway.model.quantities import KMH_MPS
from hil_tests.devices.parts import HasPlace

UTC_OFFSET = timedelta(hours=8)
RESENDS = 3  # after the first sending
POINTS_KEPT = 500
POINTS_A_BATCH = 10
SATELLITES_SEEN = 9
STATUS_BEIDOU = 1 << 19
IMEI = b"000000000000000"
SOFTWARE = b"emulated".ljust(20, b"\0")
BITS: dict[EmergencyKind, int] = {"alarm": ALARM_EMERGENCY, "vehicle": ALARM_COLLISION}
RESULT_OK = {AckResult.OK, AckResult.ALARM_HANDLED}


class Phase(Enum):
    """How far the terminal has come with the platform."""

    REGISTERING = auto()
    AUTHENTICATING = auto()
    ONLINE = auto()
    OFF = auto()


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message that waits for its answer; ``points`` are the places it carries."""

    frame: Frame
    points: tuple[bytes, ...]
    sendings: int
    due: float


class Jt808Device(HasPlace):
    """One terminal.

    ``phone`` is padded with zeros to 12 digits, to 20 where ``is_2019`` chooses the newer header.
    An unanswered message is sent again after ``answer_timeout_s``, twice and three times that;
    after that the terminal counts as out of coverage, keeps its places, and logs on again.
    ``every_s`` is the time between two reports, ``heartbeat_s`` between two signs of life. Messages
    of ``refuses`` are answered as not supported.
    """

    def __init__(
        self,
        phone: str = "13800138000",
        *,
        is_2019: bool = False,
        every_s: float = 10.0,
        heartbeat_s: float = 60.0,
        answer_timeout_s: float = 5.0,
        refuses: Collection[Message] = (),
    ) -> None:
        self.phone = phone.zfill(20 if is_2019 else 12)
        self._version = 1 if is_2019 else None
        self._every_s = every_s
        self._heartbeat_s = heartbeat_s
        self._answer_timeout_s = answer_timeout_s
        self._refuses = frozenset(refuses)
        self._texts: list[str] = []
        self._tracked_every_s = 0.0
        self._tracked_until = 0.0
        self._phase = Phase.REGISTERING
        self._code: bytes | None = None
        self._serial = 0
        self._alarm = 0
        self._is_report_due = False
        self._is_acknowledged = False
        self._report_due: float | None = None  # None until the first log-on
        self._log_on_due = 0.0
        self._heartbeat_due = 0.0
        self._waiting: dict[int, _Sent] = {}
        self._kept: deque[bytes] = deque(maxlen=POINTS_KEPT)
        self._deframer = Deframer()
        self._out: list[bytes] = []

    # --- what a scenario does with it -------------------------------------------------------------

    @property
    def name(self) -> str:
        """For people."""
        return f"JT/T 808 terminal {self.phone} ({'2019' if self._version else '2013'})"

    @property
    def phase(self) -> Phase:
        """How far it has come with the platform."""
        return self._phase

    @property
    def points_kept(self) -> int:
        """Places that wait for coverage."""
        return len(self._kept)

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Set the bit of ``kind``, ``alarm`` or ``vehicle``, and report at once.

        Raises NotImplementedError for a kind that the alarm word has no bit for.
        """
        if kind not in BITS:
            raise NotImplementedError(f"a JT/T 808 terminal has no alarm bit for {kind!r}")
        self._alarm |= BITS[kind]
        self._is_acknowledged = False
        self._is_report_due = True

    def release(self) -> None:
        """A collision is over; the SOS bit is cleared by the platform's answer alone."""
        self._alarm &= ~ALARM_COLLISION
        self._is_report_due = True

    @property
    def is_press_acknowledged(self) -> bool:
        """True when a report that had the bit was answered."""
        return self._is_acknowledged

    @property
    def texts(self) -> Sequence[str]:
        """What its display has shown."""
        return tuple(self._texts)

    def log_out(self) -> None:
        """Say that it leaves, and be silent until the next connection."""
        self._send(Message.LOGOUT)
        self._waiting.clear()
        self._phase = Phase.OFF

    # --- the wire ---------------------------------------------------------------------------------

    def connected(self, now: Moment) -> None:
        """A new connection: what was not answered is kept, and the terminal logs on."""
        self._deframer = Deframer()
        self._lose_coverage(now)

    def receive(self, data: bytes, now: Moment) -> None:
        """Answers of the platform."""
        for content in self._deframer.feed(data):
            frame = content if isinstance(content, Reject) else decode(content)
            if isinstance(frame, Reject) or frame.phone != self.phone:
                continue
            if frame.message == Message.PLATFORM_ACK:
                self._answered(Ack.unpack(frame.body), now)
            elif frame.message == Message.REGISTER_ANSWER:
                self._registered(RegisterAnswer.unpack(frame.body), frame.body, now)
            elif frame.message >= FROM_PLATFORM:
                self._asked(frame, now)

    def tick(self, now: Moment) -> None:
        """Resend, log on, report, beat: whatever is due."""
        if self._phase is Phase.OFF:
            return
        self._resend(now)
        if self._phase is not Phase.ONLINE and now.mono >= self._log_on_due:
            self._log_on(now)
        if self._report_due is None and self._phase is Phase.ONLINE:
            self._report_due = now.mono
        if self._report_due is not None and (self._is_report_due or now.mono >= self._report_due):
            self._is_report_due = False
            self._report_due = max(self._report_due + self._interval_s(now), now.mono)
            self._report(now)
        if self._phase is Phase.ONLINE and now.mono >= self._heartbeat_due:
            self._heartbeat_due = now.mono + self._heartbeat_s
            self._send(Message.HEARTBEAT)

    def outgoing(self) -> Sequence[bytes]:
        """Frames since the last call."""
        out, self._out = self._out, []
        return out

    # --- what the platform asks -------------------------------------------------------------------

    def _asked(self, frame: Frame, now: Moment) -> None:
        """Do it and say so; what is not known, or not wanted, is not supported."""
        result: AckResult | None = AckResult.UNSUPPORTED
        if frame.message not in self._refuses:
            try:
                result = self._do(frame, now)
            except WireError:
                result = AckResult.WRONG
        if result is not None:
            self._send(Message.TERMINAL_ACK, Ack(frame.serial, frame.message, result).pack())

    def _do(self, frame: Frame, now: Moment) -> AckResult | None:
        """The result for the general answer, or None where another answer was given."""
        serial = frame.serial.to_bytes(2, "big")
        match frame.message:
            case Message.ASK_POSITION:
                self._send(Message.POSITION_ANSWER, serial + self._point(now))
                return None
            case Message.ASK_PARAMETERS:
                self._send(Message.PARAMETERS, self._parameters(frame.serial))
                return None
            case Message.TRACK:
                asked = Track.unpack(frame.body)
                self._tracked_every_s = float(asked.interval)
                self._tracked_until = now.mono + asked.duration if asked.interval else 0.0
                self._report_due = now.mono
            case Message.CONFIRM_ALARM:
                self._alarm &= ~ConfirmAlarm.unpack(frame.body).kinds
                self._is_report_due = True
            case Message.TEXT:
                self._texts.append(text(frame.body[1 if self._version is None else 2 :]))
            case Message.SET_PARAMETERS:
                self._set(frame.body)
            case _:
                return AckResult.UNSUPPORTED
        return AckResult.OK

    def _interval_s(self, now: Moment) -> float:
        return self._tracked_every_s if now.mono < self._tracked_until else self._every_s

    def _parameters(self, serial: int) -> bytes:
        """Its intervals, in whole seconds."""
        values = {
            PARAMETER_HEARTBEAT: self._heartbeat_s,
            PARAMETER_EMERGENCY_INTERVAL: self._every_s,
            PARAMETER_INTERVAL: self._every_s,
        }
        found = b"".join(
            kind.to_bytes(4, "big") + b"\4" + round(value).to_bytes(4, "big")
            for kind, value in values.items()
        )
        return ParametersHead(serial, len(values)).pack() + found

    def _set(self, body: bytes) -> None:
        """8103: heartbeat and report interval are settable, others are passed over."""
        for kind, value, _ in parameters(body, 1):
            if kind == PARAMETER_HEARTBEAT:
                self._heartbeat_s = float(int.from_bytes(value, "big"))
            elif kind == PARAMETER_INTERVAL:
                self._every_s = float(int.from_bytes(value, "big"))

    # --- dialogue ---------------------------------------------------------------------------------

    def _log_on(self, now: Moment) -> None:
        """Register, or authenticate with the code that is known."""
        self._log_on_due = now.mono + self._answer_timeout_s
        if self._code is None:
            self._phase = Phase.REGISTERING
            self._send(Message.REGISTER, self._registration())
            return
        self._phase = Phase.AUTHENTICATING
        if self._version is None:
            self._send(Message.AUTHENTICATE, self._code)
        else:
            self._send(
                Message.AUTHENTICATE, bytes((len(self._code),)) + self._code + IMEI + SOFTWARE
            )

    def _registration(self) -> bytes:
        plate = "测A00000".encode(TEXT_ENCODING)
        if self._version is None:
            return Register2013(44, 1900, b"EMU", b"HANDHELD", b"0000001", 1).pack() + plate
        return Register2019(44, 1900, b"EMU", b"HANDHELD", b"0000001", 1).pack() + plate

    def _registered(self, answer: RegisterAnswer, body: bytes, now: Moment) -> None:
        if answer.result == RegisterResult.OK and self._phase is Phase.REGISTERING:
            self._code = body[RegisterAnswer.size :]
            self._log_on(now)

    def _answered(self, ack: Ack, now: Moment) -> None:
        """8001: an answered report is forgotten, and clears the SOS bit that it had."""
        is_ok = ack.result in RESULT_OK
        if ack.message == Message.AUTHENTICATE and self._phase is Phase.AUTHENTICATING:
            if is_ok:
                self._phase = Phase.ONLINE
                self._heartbeat_due = now.mono + self._heartbeat_s
                if self._alarm:
                    self._report(now)  # before what happened earlier
                self._send_kept(now)
            else:
                self._code = None  # forgotten by the platform: register anew
            return
        sent = self._waiting.get(ack.serial)
        if sent is None or sent.frame.message != ack.message or not is_ok:
            return
        del self._waiting[ack.serial]
        if sent.frame.message == Message.POSITION:
            carried = PositionBody.unpack(sent.frame.body).alarm & self._alarm
            if carried:
                self._is_acknowledged = True
                self._is_report_due |= carried & ALARM_EMERGENCY != 0  # tells that it is cleared
                self._alarm &= ~ALARM_EMERGENCY

    def _resend(self, now: Moment) -> None:
        for serial, sent in list(self._waiting.items()):
            if now.mono < sent.due:
                continue
            if sent.sendings > RESENDS:
                self._lose_coverage(now)
                return
            sendings = sent.sendings + 1
            due = now.mono + sendings * self._answer_timeout_s
            self._waiting[serial] = replace(sent, sendings=sendings, due=due)
            self._out.append(encode(sent.frame))

    def _lose_coverage(self, now: Moment) -> None:
        """Keep what was not answered, oldest first, and log on again."""
        for sent in self._waiting.values():
            self._kept.extend(sent.points)
        self._waiting.clear()
        self._phase = Phase.REGISTERING if self._code is None else Phase.AUTHENTICATING
        self._log_on_due = now.mono

    # --- places -----------------------------------------------------------------------------------

    def _report(self, now: Moment) -> None:
        point = self._point(now)
        if self._phase is Phase.ONLINE:
            self._send_awaiting(Message.POSITION, point, (point,), now)
        else:
            self._kept.append(point)

    def _send_kept(self, now: Moment) -> None:
        while self._kept:
            count = min(POINTS_A_BATCH, len(self._kept))
            points = tuple(self._kept.popleft() for _ in range(count))
            items = b"".join(len(point).to_bytes(2, "big") + point for point in points)
            body = BatchHead(count, BATCH_STORED).pack() + items
            self._send_awaiting(Message.POSITION_BATCH, body, points, now)

    def _point(self, now: Moment) -> bytes:
        local = now.at.datetime() + UTC_OFFSET
        lat_deg, lon_deg = self._place or (0.0, 0.0)
        status = 0
        if self._place is not None:
            status |= STATUS_FIXED | STATUS_BEIDOU
            status |= (STATUS_SOUTH if lat_deg < 0 else 0) | (STATUS_WEST if lon_deg < 0 else 0)
        fixed = PositionBody(
            self._alarm,
            status,
            round(abs(lat_deg) * 1e6),
            round(abs(lon_deg) * 1e6),
            0,
            round(self._speed_mps / KMH_MPS * 10) if self._place else 0,
            round(self._course_deg) % 360 if self._place else 0,
            bytes.fromhex(f"{local:%y%m%d%H%M%S}"),
        )
        satellites = SATELLITES_SEEN if self._place else 0
        mileage = bytes((ITEM_MILEAGE, 4, 0, 0, 0, 0))
        return fixed.pack() + mileage + bytes((ITEM_SATELLITES, 1, satellites))

    # --- frames -----------------------------------------------------------------------------------

    def _send(self, message: Message, body: bytes = b"") -> Frame:
        frame = Frame(message, self.phone, self._serial, body, self._version)
        self._serial = (self._serial + 1) & 0xFFFF
        self._out.append(encode(frame))
        return frame

    def _send_awaiting(
        self, message: Message, body: bytes, points: tuple[bytes, ...], now: Moment
    ) -> None:
        frame = self._send(message, body)
        due = now.mono + self._answer_timeout_s
        self._waiting[frame.serial] = _Sent(frame, points, 1, due)
