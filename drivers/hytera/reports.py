"""What a Hytera HDAP message is to the gateway: events, signs of life, and the answer it wants.

The same for HRNP and HSTRP; the driver that carries the messages adds receipts and sends the
answers. An emergency is read from whatever says that there is one. Where the peer does not say who,
or says it in a layout that is not public, the alarm is raised all the same and marked as doubtful.
There is no ``DRIVER`` here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from drivers.api import Heard, Moment, Output, Reject, Report
from drivers.hytera.gps import Gps40, GpsFix
from drivers.hytera.hdap import (
    DDS_OPCODES,
    ID_MASK,
    RESULT_OK,
    DdsState,
    LpEmergencyReport,
    LpResult,
    Message,
    RcpIdentityReply,
    RcpReceiveStatus,
    RcpRepeaterStatus,
    RcpStatusChange,
    RcpTransmitStatus,
    RrsAddress,
    RrsAnswer,
    RrsState,
    Service,
    read_body,
)
from drivers.hytera.tmp import (
    OPTION_BIT,
    TEXT_GROUP,
    TEXT_GROUP_ACK,
    TEXT_PRIVATE,
    TEXT_PRIVATE_ACK,
    TextMessage,
    read_text,
)
from drivers.wire import WireError
from gateway.model.events import (
    EmergencyEnded,
    EmergencyKind,
    EmergencyRaised,
    Fix,
    PositionFix,
    RadioDeregistered,
    RadioRegistered,
    TextReceived,
    Trigger,
)
from gateway.model.identity import RadioId, radio_id
from gateway.model.numbering import Numbering
from gateway.model.quantities import Instant

EMERGENCY_CALL_TYPES: dict[int, EmergencyKind] = {3: "call", 5: "alarm", 0x0C: "alarm"}
PRIVATE_CALL_TYPES = frozenset({0, 6})  # their target is a radio, not a talkgroup

# B844 process: what it says about an emergency that the call type names.
VOICE, HANG, CALL_END, EXIT_EMERGENCY, SILENT_EMERGENCY = 1, 2, 3, 0x0A, 0x11
BEGINS = frozenset({VOICE, 0x0B, 0x0D, SILENT_EMERGENCY})  # 0B SFR start, 0D duplex start
CALL_ENDS = frozenset({CALL_END, 0x0C, 0x0E})

# B845 status: repeating or talking; holding the channel afterwards; over.
REPEATING = frozenset({0, 2, 6, 0x0B})
HOLDING = frozenset({1, 3, 7, 9, 0x0A, 0x0C, 0x0E, 0x0F})
CHANNEL_FREE = frozenset({4, 5})  # channel hang, sleep: whatever was on air is over
OVER = CHANNEL_FREE | {8, 0x0D}

STATUS_KINDS: dict[int, EmergencyKind] = {9: "alarm", 0x0E: "man_down", 0x17: "lone_worker"}
STATE_ONLINE = 0
ID_OF_RADIO = 0  # RCP 8452: the number, not the IP address
ADDRESS_BYTES = 4
EMERGENCY_REPORT, VARIABLE_REPORT = 0xB003, 0xB004

AFTER_END_S = 60.0  # hang time so soon after an end belongs to the ended emergency
ENDS_KEPT = 256

NOBODY = "the message names no radio"
NOT_PUBLIC = "the layout of LP B004 is not public; the radio was read where B003 has it"
NO_SUCH_STATE = "an emergency call in a state that is not documented"


class Mark(NamedTuple):
    """By what a frame is known again: the peer's own name for it, and when it was first heard."""

    sent: str
    first_at: Instant

    @property
    def text(self) -> str:
        """For ``Report.same_as``; the peer's numbers come round again, so the moment is a part."""
        return f"{self.sent} {self.first_at.text()}"


class Reading(NamedTuple):
    """What became of one message; ``answers`` go out when every report of the frame is on disk."""

    outputs: tuple[Output, ...] = ()
    answers: tuple[Message, ...] = ()


class Caller(NamedTuple):
    """Who calls for help, and the doubt about it."""

    radio: RadioId
    doubt: str | None = None

    def doubted(self, doubt: str) -> "Caller":
        """The same caller with a doubt, where there is none yet."""
        return self if self.doubt else Caller(self.radio, doubt)


Reader = Callable[[Any, Moment, Mark], Reading]


class HdapReader:
    """Reads the messages of one peer; keeps what one message must know of the last ones."""

    def __init__(
        self,
        *,
        link_id: str,
        numbering: Numbering,
        own_radio_id: RadioId | None,
        registration_validity_s: int,
    ) -> None:
        self._numbering = numbering
        self._unnamed = radio_id("receiver", link_id)
        self._own = own_radio_id
        self._is_own_fixed = own_radio_id is not None
        self._validity_s = registration_validity_s
        self._ends: dict[tuple[RadioId, EmergencyKind], float] = {}
        self._repeater_caller: RadioId | None = None
        self._readers: dict[tuple[int, int], Reader] = {
            (Service.RRS, 0x0001): self._deregistered,
            (Service.RRS, 0x0003): self._registered,
            (Service.RRS, 0x0082): self._state,
            (Service.LP, 0xA002): partial(self._position, "request"),
            (Service.LP, 0xA003): partial(self._position, "request"),
            (Service.LP, 0xB001): self._emergency_stop,
            (Service.LP, 0xB002): self._emergency_stop,
            (Service.LP, 0xC002): self._answered,
            (Service.LP, 0xC003): partial(self._position, "time"),
            (Service.LP, 0xC005): self._answered,
            (Service.LP, 0xD002): self._answered,
            (Service.LP, 0xD003): partial(self._position, "unknown"),
            (Service.LP, 0xD004): partial(self._position, "unknown"),
            (Service.LP, 0xD012): self._answered,
            (Service.LP, 0xE002): self._answered,
            (Service.RCP, 0x8452): self._identity,
            (Service.RCP, 0xB0C8): self._status_change,
            (Service.RCP, 0xB843): self._transmit_status,
            (Service.RCP, 0xB844): self._receive_status,
            (Service.RCP, 0xB845): self._repeater_status,
            (Service.TP, 0xA081): self._telemetry,
            (Service.TP, 0xA082): self._telemetry,
            (Service.TP, 0xB081): self._telemetry,
            **{(Service.DDS, opcode): self._delivery for opcode in DDS_OPCODES},
        }

    @property
    def own_radio(self) -> RadioId:
        """The connected radio itself, or ``receiver:<link>`` while its number is not known."""
        return self._own or self._unnamed

    @property
    def own_number(self) -> int | None:
        """The connected radio's number on the air, where it is known and a radio's."""
        try:
            return None if self._own is None else self._numbering.address(self._own)
        except ValueError:
            return None

    def read(self, message: Message, now: Moment, mark: Mark) -> Reading:
        """What ``message`` is; a Reject among the outputs means that it could not be read."""
        if message.service == Service.LP and message.opcode in {EMERGENCY_REPORT, VARIABLE_REPORT}:
            return self._emergency_report(message, now, mark)
        reader = self._readers.get((message.service, message.opcode))
        try:
            if message.service == Service.TMP:
                reading = self._text(read_text(message), mark)
            elif reader is None:
                return Reading()
            else:
                reading = reader(read_body(message), now, mark)
        except WireError as error:
            return Reading((Reject("layout", f"{message}: {error}", message.payload),))
        if not (message.is_reliable and reading.answers):
            return reading
        answers = [
            Message(each.service, each.opcode, each.payload, is_reliable=True)
            for each in reading.answers
        ]
        return Reading(reading.outputs, tuple(answers))

    # --- registration -----------------------------------------------------------------------------

    def _registered(self, body: RrsAddress, _now: Moment, mark: Mark) -> Reading:
        event = RadioRegistered(radio_id=self._radio(body.address))
        answer = RrsAnswer(address=body.address, result=RESULT_OK, validity_s=self._validity_s)
        return Reading(
            (Report(event, same_as=mark.text),), (Message(Service.RRS, 0x0080, answer.pack()),)
        )

    def _deregistered(self, body: RrsAddress, _now: Moment, mark: Mark) -> Reading:
        event = RadioDeregistered(radio_id=self._radio(body.address))
        return Reading((Report(event, same_as=mark.text),))

    def _state(self, body: RrsState, _now: Moment, mark: Mark) -> Reading:
        radio = self._radio(body.address)
        if body.state == STATE_ONLINE:
            return Reading((Heard(radio),))
        event = RadioDeregistered(radio_id=radio, detail="answered a status check as offline")
        return Reading((Report(event, same_as=mark.text),))

    # --- location ---------------------------------------------------------------------------------

    def _position(self, trigger: Trigger, body: Any, now: Moment, mark: Mark) -> Reading:
        radio = self._radio(body.address)
        if getattr(body, "result", RESULT_OK) != RESULT_OK:
            failed = PositionFix(radio_id=radio, fix_valid=False, trigger=trigger)
            return Reading((Report(failed, same_as=mark.text),))
        gps = Gps40.unpack(body.gps).fix(now.at)
        return Reading((Report(_position_fix(radio, gps, trigger), same_as=mark.text),))

    def _emergency_report(self, message: Message, now: Moment, mark: Mark) -> Reading:
        """LP B003, and B004 as far as it can be guessed; an unreadable place stops no alarm."""
        caller = self._caller(int.from_bytes(message.payload[:ADDRESS_BYTES], "big"))
        raw_code, gps = f"LP {message.opcode:04X}", GpsFix(is_valid=False)
        if message.opcode == VARIABLE_REPORT:
            caller = caller.doubted(NOT_PUBLIC)
        elif len(message.payload) > ADDRESS_BYTES:
            raw_code += f" type {message.payload[ADDRESS_BYTES]:02X}"
            gps = _gps_of(message.payload, now.at)
        fix = _position_fix(caller.radio, gps, "emergency")
        raised = _raised(caller, "alarm", raw_code, fix=fix.place())
        same_as = mark.text if gps.fix_at is None else f"{gps.fix_at.text()} {mark.sent}"
        return Reading((Report(raised, same_as=same_as), Report(fix, same_as=mark.text)))

    def _emergency_stop(self, body: Any, now: Moment, mark: Mark) -> Reading:
        radio = self._radio(body.address)
        if not isinstance(body, LpResult):
            return self._ended(radio, "alarm", "LP B001", now, mark)
        if body.result != RESULT_OK:
            return Reading((Heard(radio),))
        return self._ended(radio, "alarm", "LP B002", now, mark)

    def _answered(self, body: Any, _now: Moment, _mark: Mark) -> Reading:
        return Reading((Heard(self._radio(body.address)),))

    # --- calls ------------------------------------------------------------------------------------

    def _receive_status(self, body: RcpReceiveStatus, now: Moment, mark: Mark) -> Reading:
        kind = EMERGENCY_CALL_TYPES.get(body.call_type)
        raw_code = f"B844 process {body.process:02X} call {body.call_type:02X}"
        if body.process == EXIT_EMERGENCY:
            return self._ended(
                self._caller(body.sender).radio, kind or "alarm", raw_code, now, mark
            )
        if body.process == SILENT_EMERGENCY:
            kind = kind or "call"
        if kind is None:
            return self._heard(body.sender)
        caller = self._caller(body.sender)
        if body.process in CALL_ENDS:
            if kind == "call":
                return self._ended(caller.radio, kind, raw_code, now, mark)
            return self._heard(body.sender)  # the alarm goes on when its open microphone ends
        if body.process == HANG:
            if self._is_just_ended(caller.radio, kind, now):
                return self._heard(body.sender)
        elif body.process not in BEGINS:
            caller = caller.doubted(NO_SUCH_STATE)
        return self._call(body, caller, kind, raw_code, mark)

    def _repeater_status(self, body: RcpRepeaterStatus, now: Moment, mark: Mark) -> Reading:
        kind = EMERGENCY_CALL_TYPES.get(body.call_type)
        raw_code = f"B845 status {body.status:02X} call {body.call_type:02X}"
        if kind is None:
            return self._other_repeater_status(body, raw_code, now, mark)
        caller = self._caller(body.sender)
        if body.status in OVER:
            if kind == "call":
                self._repeater_caller = None
                return self._ended(caller.radio, kind, raw_code, now, mark)
            return self._heard(body.sender)
        if body.status in HOLDING:
            if self._is_just_ended(caller.radio, kind, now):
                return self._heard(body.sender)
        elif body.status not in REPEATING:
            caller = caller.doubted(NO_SUCH_STATE)
        if kind == "call":
            self._repeater_caller = caller.radio
        return self._call(body, caller, kind, raw_code, mark)

    def _other_repeater_status(
        self, body: RcpRepeaterStatus, raw_code: str, now: Moment, mark: Mark
    ) -> Reading:
        """A free channel ends the emergency call that was on it, even where it names nobody."""
        if self._repeater_caller is None or body.status not in CHANNEL_FREE:
            return self._heard(body.sender)
        caller, self._repeater_caller = self._repeater_caller, None
        return self._ended(caller, "call", raw_code, now, mark)

    def _transmit_status(self, _body: RcpTransmitStatus, _now: Moment, _mark: Mark) -> Reading:
        return self._heard_own()

    def _status_change(self, body: RcpStatusChange, now: Moment, mark: Mark) -> Reading:
        kind = STATUS_KINDS.get(body.target)
        if kind is None:
            return self._heard_own()
        raw_code = f"B0C8 target {body.target:02X} value {body.value:04X}"
        if body.value == 0:
            return self._ended(self.own_radio, kind, raw_code, now, mark)
        event = _raised(Caller(self.own_radio), kind, raw_code)
        return Reading((Report(event, same_as=mark.text),))

    def _identity(self, body: RcpIdentityReply, _now: Moment, _mark: Mark) -> Reading:
        if body.result != RESULT_OK or body.which != ID_OF_RADIO or not body.number:
            return Reading()
        if not self._is_own_fixed:
            self._own = self._numbering.name(body.number)
        return self._heard_own()

    # --- text -------------------------------------------------------------------------------------

    def _text(self, text: TextMessage, mark: Mark) -> Reading:
        if text.kind == TEXT_PRIVATE_ACK:  # addressed like the message: the receiver speaks
            return self._heard(text.destination) if text.body[:1] == b"\0" else Reading()
        if text.kind not in {TEXT_PRIVATE, TEXT_GROUP} or text.source is None:
            return Reading()
        is_group = text.kind == TEXT_GROUP
        to = self._name(text.destination, is_group=is_group)
        event = TextReceived(radio_id=self._radio(text.source), body=text.text, to=to)
        answer = TextMessage(
            kind=TEXT_GROUP_ACK if is_group else TEXT_PRIVATE_ACK,
            flags=text.flags & ~OPTION_BIT,
            request_id=text.request_id,
            destination=text.destination,
            source=None if is_group else text.source,
            body=bytes((RESULT_OK,)),
        )
        return Reading((Report(event, same_as=mark.text),), (answer.message(),))

    # --- telemetry, deliveries --------------------------------------------------------------------

    def _telemetry(self, body: Any, _now: Moment, _mark: Mark) -> Reading:
        return self._heard(body.source)

    def _delivery(self, body: DdsState, _now: Moment, _mark: Mark) -> Reading:
        return self._heard(body.address) if body.result == RESULT_OK else Reading()

    # --- pieces -----------------------------------------------------------------------------------

    def _radio(self, address: int) -> RadioId:
        if not address & ID_MASK:
            raise WireError(NOBODY)
        return self._name(address)

    def _name(self, address: int, *, is_group: bool = False) -> RadioId:
        return self._numbering.name(address & ID_MASK, is_group=is_group)

    def _caller(self, address: int) -> Caller:
        if not address & ID_MASK:
            return Caller(self._unnamed, NOBODY)
        return Caller(self._name(address))

    def _heard(self, address: int) -> Reading:
        if not address & ID_MASK:
            return Reading()
        return Reading((Heard(self._name(address)),))

    def _heard_own(self) -> Reading:
        return Reading() if self._own is None else Reading((Heard(self._own),))

    def _call(
        self,
        body: RcpReceiveStatus | RcpRepeaterStatus,
        caller: Caller,
        kind: EmergencyKind,
        raw_code: str,
        mark: Mark,
    ) -> Reading:
        self._ends.pop((caller.radio, kind), None)
        group = None
        if body.target & ID_MASK and body.call_type not in PRIVATE_CALL_TYPES:
            group = self._name(body.target, is_group=True)
        event = _raised(caller, kind, raw_code, group=group)
        return Reading((Report(event, same_as=mark.text),))

    def _ended(
        self, radio: RadioId, kind: EmergencyKind, raw_code: str, now: Moment, mark: Mark
    ) -> Reading:
        self._ends.pop((radio, kind), None)
        self._ends[(radio, kind)] = now.mono
        if len(self._ends) > ENDS_KEPT:
            del self._ends[next(iter(self._ends))]
        event = EmergencyEnded(radio_id=radio, kind=kind, raw_code=raw_code)
        return Reading((Report(event, same_as=mark.text),))

    def _is_just_ended(self, radio: RadioId, kind: EmergencyKind, now: Moment) -> bool:
        ended = self._ends.get((radio, kind))
        return ended is not None and now.mono - ended <= AFTER_END_S


def _raised(
    caller: Caller,
    kind: EmergencyKind,
    raw_code: str,
    *,
    group: RadioId | None = None,
    fix: Fix | None = None,
) -> EmergencyRaised:
    return EmergencyRaised(
        radio_id=caller.radio,
        kind=kind,
        raw_code=raw_code,
        talkgroup_id=group,
        fix=fix,
        is_drill=False,
        verified=caller.doubt is None,
        doubt=caller.doubt,
    )


def _position_fix(radio: RadioId, gps: GpsFix, trigger: Trigger) -> PositionFix:
    return PositionFix(
        radio_id=radio,
        fix_valid=gps.is_valid,
        lat_deg=gps.lat_deg,
        lon_deg=gps.lon_deg,
        fix_at=gps.fix_at,
        speed_mps=gps.speed_mps,
        course_deg=gps.course_deg,
        trigger=trigger,
    )


def _gps_of(payload: bytes, near: Instant) -> GpsFix:
    """The record of an emergency report; one that cannot be read says nothing about the place."""
    try:
        return Gps40.unpack(LpEmergencyReport.unpack(payload).gps).fix(near)
    except WireError:
        return GpsFix(is_valid=False)
