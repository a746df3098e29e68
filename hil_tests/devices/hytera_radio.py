"""What every emulated Hytera radio has, whatever carries its messages: a number, a place, a button.

It answers what a dispatcher asks for: where it is (A001), to report periodically (C001, C004),
whether it is there (0002), a text (TMP A1), the end of its alarm (B001).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from drivers.api import Moment
from drivers.hytera.gps import Gps40, GpsFix
from drivers.hytera.hdap import (
    ID_MASK,
    LpImmediateAnswer,
    LpRequest,
    LpResult,
    LpTriggeredReport,
    LpTriggeredRequest,
    Message,
    RrsAnswer,
    RrsState,
    Service,
    read_body,
)
from drivers.hytera.tmp import TEXT_PRIVATE, TEXT_PRIVATE_ACK, TextMessage, read_text
from drivers.wire import Layout
from gateway.model.events import EmergencyKind

RADIO_NETWORK = 0x0A000000  # 10.x.y.z
DISPATCHER = RADIO_NETWORK + 1  # to whom texts go
TEXT_FLAGS = 0x80
REGISTER_AGAIN_S = 5.0  # while a registration is not answered
RENEW_AT = 0.9  # of a registration's validity
POSITION_FAILURE = 6
ONLINE = 0


class Track(NamedTuple):
    """Periodic reports that were asked for."""

    request_id: int
    every_s: float
    due: float


class HyteraRadio:
    """A radio on the air; see the module's docstring."""

    def __init__(self, address: int) -> None:
        self.address = address & ID_MASK
        self.is_registered = False
        self.is_on = True
        self.texts: list[str] = []  # received
        self._fix = GpsFix(is_valid=False)
        self._kind: EmergencyKind | None = None  # of the last press
        self._is_pressed = False
        self._is_released = False
        self._register_due = 0.0
        self._track: Track | None = None
        self._answers: dict[tuple[int, int], Callable[[Any, Moment], Message | None]] = {
            (Service.RRS, 0x0002): self._is_there,
            (Service.RRS, 0x0080): self._registered,
            (Service.LP, 0xA001): self._located,
            (Service.LP, 0xB001): self._emergency_stopped,
            (Service.LP, 0xC001): self._track_begun,
            (Service.LP, 0xC004): self._track_stopped,
        }

    @property
    def ip(self) -> int:
        """The number in IPv4 form."""
        return RADIO_NETWORK | self.address

    def move(self, lat_deg: float, lon_deg: float, *, speed_mps: float, course_deg: float) -> None:
        """Stand at a place (WGS-84), moving so."""
        self._fix = GpsFix(
            is_valid=True,
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            speed_mps=speed_mps,
            course_deg=course_deg,
        )

    def lose_fix(self) -> None:
        """See no satellites until the next ``move``."""
        self._fix = GpsFix(is_valid=False)

    def release(self) -> None:
        """Leave the emergency by the radio's own button."""
        self._is_released = self._kind is not None

    def is_addressed(self, message: Message) -> bool:
        """True where a message of the dispatcher is for this radio."""
        if message.service == Service.TMP:
            return read_text(message).destination & ID_MASK == self.address
        return getattr(read_body(message), "address", 0) & ID_MASK == self.address

    def serve(self, message: Message, now: Moment) -> Sequence[Message]:
        """Answers to a message that is for this radio; a radio that is off says nothing."""
        if not self.is_on:
            return ()
        if message.service == Service.TMP:
            answer = self._read(read_text(message))
        else:
            serve = self._answers.get((message.service, message.opcode))
            answer = serve(read_body(message), now) if serve is not None else None
        return () if answer is None else (answer,)

    def tracked(self, now: Moment) -> Sequence[Message]:
        """The report that a dispatcher has asked for, when it is due."""
        if self._track is None or now.mono < self._track.due:
            return ()
        self._track = self._track._replace(due=now.mono + self._track.every_s)
        body = LpTriggeredReport(self._track.request_id, self.ip, b"0" * 8, self._gps(now))
        return (_lp(0xC003, body),)

    def _begin(self, kind: EmergencyKind) -> None:
        self._kind = kind
        self._is_pressed = True
        self._is_released = False

    def _gps(self, now: Moment) -> bytes:
        if not self._fix.is_valid:
            return Gps40.of(self._fix).pack()
        return Gps40.of(self._fix._replace(fix_at=now.at)).pack()

    # --- answers ----------------------------------------------------------------------------------

    def _is_there(self, _body: Any, _now: Moment) -> Message:
        return Message(Service.RRS, 0x0082, RrsState(address=self.ip, state=ONLINE).pack())

    def _registered(self, answer: RrsAnswer, now: Moment) -> None:
        self.is_registered = answer.result == 0
        if self.is_registered:
            self._register_due = now.mono + RENEW_AT * answer.validity_s

    def _located(self, request: LpRequest, now: Moment) -> Message:
        result = 0 if self._fix.is_valid else POSITION_FAILURE
        answer = LpImmediateAnswer(request.request_id, self.ip, result, self._gps(now))
        return _lp(0xA002, answer)

    def _track_begun(self, request: LpTriggeredRequest, now: Moment) -> Message:
        days, hours, minutes, seconds = (int(request.interval[at : at + 2]) for at in (0, 2, 4, 6))
        every_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        self._track = Track(request.request_id, every_s, now.mono + every_s)
        return self._done(0xC002, request.request_id)

    def _track_stopped(self, request: LpRequest, _now: Moment) -> Message:
        if self._track is not None and self._track.request_id == request.request_id:
            self._track = None
        return self._done(0xC005, request.request_id)

    def _emergency_stopped(self, request: LpRequest, _now: Moment) -> Message:
        self._is_pressed = self._is_released = False
        return self._done(0xB002, request.request_id)

    def _done(self, opcode: int, request_id: int) -> Message:
        return _lp(opcode, LpResult(request_id=request_id, address=self.ip, result=0))

    def _read(self, text: TextMessage) -> Message | None:
        if text.kind != TEXT_PRIVATE:
            return None
        self.texts.append(text.text)
        return text._replace(kind=TEXT_PRIVATE_ACK, body=b"\0").message()


def text_to_dispatcher(radio: HyteraRadio, body: str) -> Message:
    """A text that a radio sends."""
    text = body.encode("utf-16-le")
    return TextMessage(TEXT_PRIVATE, TEXT_FLAGS, 1, DISPATCHER, radio.ip, text).message()


def _lp(opcode: int, body: Layout) -> Message:
    return Message(Service.LP, opcode, body.pack())
