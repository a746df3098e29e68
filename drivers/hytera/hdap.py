"""Hytera HDAP messages: what rides inside HRNP and HSTRP, as the tables print it.

Everything is big-endian but radio control (RCP), which is little-endian throughout. This module
turns bytes into structs and back and means nothing by it; ``drivers.hytera.reports`` says what a
message is to the gateway. There is no ``DRIVER`` here.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Annotated, Literal, NamedTuple

from drivers.hytera.gps import GPS_BYTES
from drivers.wire import S16, U8, U16, U32, Layout, WireError, hdap8, layout, raw

END = 0x03
RELIABLE = 0x80  # bit 7 of the service byte
HEADER_BYTES = 5
TRAILER_BYTES = 2  # check and end
ID_MASK = 0xFFFFFF  # radio id: the low 24 bits of an address in IPv4 form
RESULT_OK = 0


class Service(IntEnum):
    """Low seven bits of the first byte."""

    RCP = 0x02
    LP = 0x08
    TMP = 0x09
    RRS = 0x11
    TP = 0x12
    DTP = 0x13
    DDS = 0x14


SERVICE_NAMES: dict[int, str] = {service: service.name for service in Service}


class HdapError(WireError):
    """Bytes are not an HDAP message; ``reason`` is the short word under which that is counted."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Message(NamedTuple):
    """One HDAP message; ``opcode`` is the number that the tables print, whatever its byte order."""

    service: int
    opcode: int
    payload: bytes
    is_reliable: bool = False

    def pack(self) -> bytes:
        """The bytes on the wire."""
        order = byte_order(self.service)
        opcode, length = self.opcode.to_bytes(2, order), len(self.payload).to_bytes(2, order)
        checked = opcode + length + self.payload
        first = self.service | (RELIABLE if self.is_reliable else 0)
        return bytes((first,)) + checked + bytes((hdap8(checked), END))

    def __str__(self) -> str:
        name = SERVICE_NAMES.get(self.service) or f"service {self.service:02X}"
        return f"{name} {self.opcode:04X}"


def byte_order(service: int) -> Literal["little", "big"]:
    """RCP is little-endian, every other service big-endian."""
    return "little" if service == Service.RCP else "big"


def read_messages(data: bytes) -> Iterator[Message]:
    """The messages of a packet's payload, one after the other; zeros behind the last are padding.

    Raises HdapError for what is no message: ``length`` where it does not fit, ``trailer`` where the
    end byte is missing, ``checksum`` where the check fails.
    """
    at = 0
    while at < len(data) and (data[at] or any(data[at:])):
        message, at = _read_message(data, at)
        yield message


def _read_message(data: bytes, at: int) -> tuple[Message, int]:
    if len(data) - at < HEADER_BYTES + TRAILER_BYTES:
        raise HdapError("length", f"HDAP: {len(data) - at} bytes are no message")
    service = data[at] & ~RELIABLE
    order = byte_order(service)
    opcode = int.from_bytes(data[at + 1 : at + 3], order)
    length = int.from_bytes(data[at + 3 : at + 5], order)
    end = at + HEADER_BYTES + length
    if end + TRAILER_BYTES > len(data):
        raise HdapError("length", f"HDAP: {length} bytes of payload, {len(data) - at} are there")
    if data[end + 1] != END:
        raise HdapError("trailer", f"HDAP: ends in {data[end + 1]:02X}, not {END:02X}")
    if data[end] != hdap8(data[at + 1 : end]):
        raise HdapError("checksum", f"HDAP: check {data[end]:02X} does not fit")
    payload = bytes(data[at + HEADER_BYTES : end])
    return Message(service, opcode, payload, bool(data[at] & RELIABLE)), end + TRAILER_BYTES


# --- RRS, registration ----------------------------------------------------------------------------


@layout(">")
class RrsAddress(Layout):
    """RRS 0003 registration, 0001 going offline, 0002 status check request."""

    address: Annotated[int, U32]


@layout(">")
class RrsAnswer(Layout):
    """RRS 0080 registration answer: result 0 ok, 1 fail, 2 password."""

    address: Annotated[int, U32]
    result: Annotated[int, U8]
    validity_s: Annotated[int, U32]  # seconds, 1 to 65534


@layout(">")
class RrsState(Layout):
    """RRS 0082 status check answer: state 0 online, 1 offline."""

    address: Annotated[int, U32]
    state: Annotated[int, U8]


# --- LP, location ---------------------------------------------------------------------------------


@layout(">")
class LpHead(Layout):
    """What all but the emergency report begin with."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]


@layout(">")
class LpRequest(LpHead):
    """LP A001 immediate request, B001 emergency stop request, C004 stop request."""


@layout(">")
class LpResult(LpHead):
    """LP B002, C002, C005, E002 answers: 0 ok, 6 position method failure, 69h format error."""

    result: Annotated[int, U16]


@layout(">")
class LpImmediateAnswer(LpHead):
    """LP A002 immediate answer."""

    result: Annotated[int, U16]
    gps: Annotated[bytes, raw(GPS_BYTES)]


@layout(">")
class LpAnswerWithRssi(LpImmediateAnswer):
    """LP A003 immediate answer and D004 condition report, with signal strength in a raw scale."""

    rssi: Annotated[int, S16]  # -240 to 0; the unit is not documented


@layout(">")
class LpEmergencyReport(Layout):
    """LP B003 emergency report; what the values of ``emergency_type`` mean is not public."""

    address: Annotated[int, U32]
    emergency_type: Annotated[int, U8]
    gps: Annotated[bytes, raw(GPS_BYTES)]


@layout(">")
class LpTriggeredRequest(LpHead):
    """LP C001 periodic request: start and stop YYYYMMDDhhmmss or all ``0``, interval DDhhmmss."""

    start: Annotated[bytes, raw(14)]
    stop: Annotated[bytes, raw(14)]
    interval: Annotated[bytes, raw(8)]


@layout(">")
class LpTriggeredReport(LpHead):
    """LP C003 periodic report."""

    remaining: Annotated[bytes, raw(8)]
    gps: Annotated[bytes, raw(GPS_BYTES)]


@layout(">")
class LpConditionRequest(LpHead):
    """LP D001 condition request: trigger 0 cancel, 1 distance, 2 time, 3 both, 4 either."""

    trigger: Annotated[int, U8]
    distance_m: Annotated[int, U32]
    start: Annotated[bytes, raw(14)]
    stop: Annotated[bytes, raw(14)]
    interval: Annotated[bytes, raw(8)]
    max_interval: Annotated[bytes, raw(8)]


@layout(">")
class LpConditionAnswer(LpHead):
    """LP D002 condition answer."""

    trigger: Annotated[int, U8]
    result: Annotated[int, U16]


@layout(">")
class LpConditionReport(LpHead):
    """LP D003 condition report."""

    gps: Annotated[bytes, raw(GPS_BYTES)]


@layout(">")
class LpQuickCancel(LpHead):
    """LP D011 quick GPS request with command 0 (cancel), and the head of one with 1 (start)."""

    command: Annotated[int, U8]


@layout(">")
class LpQuickStart(LpHead):
    """LP D011 quick GPS request with command 1 (start)."""

    command: Annotated[int, U8]
    start: Annotated[bytes, raw(14)]
    stop: Annotated[bytes, raw(14)]
    interval: Annotated[bytes, raw(8)]
    step_ms: Annotated[int, U16]
    channel_use_pct: Annotated[int, U8]
    order: Annotated[int, U16]


@layout(">")
class LpQuickAnswer(LpHead):
    """LP D012 quick GPS answer."""

    command: Annotated[int, U8]
    result: Annotated[int, U16]


@layout(">")
class LpRssiSetting(LpHead):
    """LP E001 configuration of signal strength in reports."""

    setting: Annotated[int, U16]


# --- RCP, radio control and call events (little-endian) -------------------------------------------


@layout("<")
class RcpResult(Layout):
    """RCP replies that say only how it went: 80C7, 80C9, 8841, 8842, 8847; 0 is ok."""

    result: Annotated[int, U8]


@layout("<")
class RcpCallRequest(Layout):
    """RCP 0841 call request."""

    call_type: Annotated[int, U8]
    target: Annotated[int, U32]


@layout("<")
class RcpTransmitStatus(Layout):
    """RCP B843, what the connected radio itself sends: process 1 talks, 2 hang time, 3 end."""

    process: Annotated[int, U16]
    source: Annotated[int, U16]
    call_type: Annotated[int, U16]
    target: Annotated[int, U32]


@layout("<")
class RcpReceiveStatus(Layout):
    """RCP B844, what the connected radio hears: 1 voice, 2 hang time, 3 end, 0Ah exit emergency."""

    process: Annotated[int, U16]
    call_type: Annotated[int, U16]
    sender: Annotated[int, U32]
    target: Annotated[int, U32]


@layout("<")
class RcpRepeaterStatus(Layout):
    """RCP B845, what a repeater does, and for whom."""

    mode: Annotated[int, U16]
    status: Annotated[int, U16]
    service: Annotated[int, U16]
    call_type: Annotated[int, U16]
    target: Annotated[int, U32]
    sender: Annotated[int, U32]


@layout("<")
class RcpStatusChange(Layout):
    """RCP B0C8: a value of the connected radio changed; target 9 is emergency, 0Eh man down."""

    target: Annotated[int, U8]
    value: Annotated[int, U16]


@layout("<")
class RcpIdentityQuery(Layout):
    """RCP 0452: which 0 asks for the connected radio's number, 1 for its IP address."""

    which: Annotated[int, U8]


@layout("<")
class RcpIdentityReply(Layout):
    """RCP 8452: the number is little-endian in ``value``, the IP address in network order."""

    result: Annotated[int, U8]
    which: Annotated[int, U8]
    value: Annotated[bytes, raw(4)]

    @property
    def number(self) -> int:
        """The radio's number, where ``which`` is 0."""
        return int.from_bytes(self.value, "little") & ID_MASK


@layout("<")
class RcpTextBroadcast(Layout):
    """RCP 1847: which broadcasts are wanted: bit 0 text, 1 short data, 2 CSBK."""

    mask: Annotated[int, U32]
    reserved: Annotated[int, U32] = 0


@layout("<")
class RcpTarget(Layout):
    """RCP 0833 radio check, 0835 call alert; 0834, 0849, 084A are told by name and never sent."""

    target: Annotated[int, U32]


@layout("<")
class RcpButton(Layout):
    """RCP 0041 button operation: function 03 is PTT, action 1 press, 0 release."""

    function: Annotated[int, U8]
    action: Annotated[int, U8]


@layout("<")
class RcpButtonReply(Layout):
    """RCP 8041 reply to it."""

    result: Annotated[int, U32]
    function: Annotated[int, U32]
    action: Annotated[int, U32]


@layout("<")
class RcpChannel(Layout):
    """RCP 00C4 zone and channel: operation 0 set, 1 get."""

    operation: Annotated[int, U8]
    zone: Annotated[int, U16]
    channel: Annotated[int, U16]


@layout("<")
class RcpChannelReply(Layout):
    """RCP 80C4 reply to it."""

    result: Annotated[int, U32]
    operation: Annotated[int, U32]
    zone: Annotated[int, U16]
    channel: Annotated[int, U16]


def pack_switches(switches: Iterable[tuple[int, int]]) -> bytes:
    """RCP 10C7 and 10C9: a count, then target and 1 (on) or 0 (off) for each."""
    pairs = [bytes(pair) for pair in switches]
    return bytes((len(pairs),)) + b"".join(pairs)


def unpack_switches(payload: bytes) -> list[tuple[int, int]]:
    """RCP 10C7 and 10C9; raises WireError where the count and the bytes disagree."""
    if not payload or len(payload) < 1 + 2 * payload[0]:
        raise WireError(f"RCP switches: {len(payload)} bytes do not hold what they count")
    return [(payload[i], payload[i + 1]) for i in range(1, 1 + 2 * payload[0], 2)]


# --- TP, telemetry, and DDS, delivery states (one source each) ------------------------------------


@layout(">")
class TpHead(Layout):
    """What all begin with: is_pc 0 radio, 1 application; inputs and outputs are bits of vio."""

    source: Annotated[int, U32]
    destination: Annotated[int, U32]
    is_pc: Annotated[int, U8]
    call_type: Annotated[int, U8]
    vio: Annotated[int, U8]


@layout(">")
class TpStatusRequest(TpHead):
    """TP A001 status request."""


@layout(">")
class TpStatus(TpHead):
    """TP A081 status report, and the head of A082, which adds a length and text in UTF-16LE."""

    result: Annotated[int, U8]


@layout(">")
class TpControl(TpHead):
    """TP B001 remote control: operation 0 and 1 level, 2 toggle, 3 pulse; never sent by us."""

    operation: Annotated[int, U8]


@layout(">")
class TpControlAnswer(TpHead):
    """TP B081 remote control answer."""

    operation: Annotated[int, U8]
    result: Annotated[int, U8]


@layout(">")
class DdsState(Layout):
    """DDS 00ss, what became of a message of service ss: result 0 is ok."""

    address: Annotated[int, U32]
    opcode: Annotated[int, U16]  # of that message
    result: Annotated[int, U8]


BODIES: dict[tuple[int, int], type[Layout]] = {
    (Service.RRS, 0x0001): RrsAddress,
    (Service.RRS, 0x0002): RrsAddress,
    (Service.RRS, 0x0003): RrsAddress,
    (Service.RRS, 0x0080): RrsAnswer,
    (Service.RRS, 0x0082): RrsState,
    (Service.LP, 0xA001): LpRequest,
    (Service.LP, 0xA002): LpImmediateAnswer,
    (Service.LP, 0xA003): LpAnswerWithRssi,
    (Service.LP, 0xB001): LpRequest,
    (Service.LP, 0xB002): LpResult,
    (Service.LP, 0xB003): LpEmergencyReport,
    (Service.LP, 0xC001): LpTriggeredRequest,
    (Service.LP, 0xC002): LpResult,
    (Service.LP, 0xC003): LpTriggeredReport,
    (Service.LP, 0xC004): LpRequest,
    (Service.LP, 0xC005): LpResult,
    (Service.LP, 0xD001): LpConditionRequest,
    (Service.LP, 0xD002): LpConditionAnswer,
    (Service.LP, 0xD003): LpConditionReport,
    (Service.LP, 0xD004): LpAnswerWithRssi,
    (Service.LP, 0xD012): LpQuickAnswer,
    (Service.LP, 0xE001): LpRssiSetting,
    (Service.LP, 0xE002): LpResult,
    (Service.RCP, 0x0041): RcpButton,
    (Service.RCP, 0x00C4): RcpChannel,
    (Service.RCP, 0x0452): RcpIdentityQuery,
    (Service.RCP, 0x0833): RcpTarget,
    (Service.RCP, 0x0834): RcpTarget,
    (Service.RCP, 0x0835): RcpTarget,
    (Service.RCP, 0x0841): RcpCallRequest,
    (Service.RCP, 0x0849): RcpTarget,
    (Service.RCP, 0x084A): RcpTarget,
    (Service.RCP, 0x1847): RcpTextBroadcast,
    (Service.RCP, 0x8041): RcpButtonReply,
    (Service.RCP, 0x80C4): RcpChannelReply,
    (Service.RCP, 0x80C7): RcpResult,
    (Service.RCP, 0x80C9): RcpResult,
    (Service.RCP, 0x8452): RcpIdentityReply,
    (Service.RCP, 0x8841): RcpResult,
    (Service.RCP, 0x8842): RcpResult,
    (Service.RCP, 0x8847): RcpResult,
    (Service.RCP, 0xB0C8): RcpStatusChange,
    (Service.RCP, 0xB843): RcpTransmitStatus,
    (Service.RCP, 0xB844): RcpReceiveStatus,
    (Service.RCP, 0xB845): RcpRepeaterStatus,
    (Service.TP, 0xA001): TpStatusRequest,
    (Service.TP, 0xA081): TpStatus,
    (Service.TP, 0xA082): TpStatus,
    (Service.TP, 0xB001): TpControl,
    (Service.TP, 0xB081): TpControlAnswer,
}
DDS_OPCODES = frozenset(int(service) for service in Service)  # the service that it is about
QUICK_GPS = 0xD011  # LP; what follows its command byte depends on it


def read_body(message: Message) -> Layout | None:
    """The struct of a message, or None for one that has none here; WireError where it is short.

    Bytes behind the struct are left alone: one dispatcher puts an extra byte behind A001.
    """
    kind = body_kind(message)
    return None if kind is None else kind.unpack(message.payload)


def body_kind(message: Message) -> type[Layout] | None:
    """The struct by which ``message`` is read, or None."""
    if message.service == Service.DDS:
        return DdsState if message.opcode in DDS_OPCODES else None
    if message.service == Service.LP and message.opcode == QUICK_GPS:
        is_start = message.payload[LpQuickCancel.size - 1 : LpQuickCancel.size] == b"\x01"
        return LpQuickStart if is_start else LpQuickCancel
    return BODIES.get((message.service, message.opcode))
