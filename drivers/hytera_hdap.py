"""Hytera HDAP messages: what rides inside HRNP and HSTRP, as the tables print it.

Everything is big-endian but radio control (RCP), which is little-endian throughout. This module
turns bytes into structs and back and means nothing by it; ``drivers.hytera_events`` says what a
message is to the gateway. There is no ``DRIVER`` here.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Annotated, Literal, NamedTuple

from drivers.hytera_gps import GPS_BYTES
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
class LpRequest(Layout):
    """LP A001 immediate request, B001 emergency stop request, C004 stop request."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]


@layout(">")
class LpResult(Layout):
    """LP B002, C002, C005 answers: result 0 ok, 6 position method failure, 69h format error."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    result: Annotated[int, U16]


@layout(">")
class LpImmediateAnswer(Layout):
    """LP A002 immediate answer."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    result: Annotated[int, U16]
    gps: Annotated[bytes, raw(GPS_BYTES)]


@layout(">")
class LpAnswerWithRssi(Layout):
    """LP A003 immediate answer and D004 condition report, with signal strength in a raw scale."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    result: Annotated[int, U16]
    gps: Annotated[bytes, raw(GPS_BYTES)]
    rssi: Annotated[int, S16]  # -240 to 0; the unit is not documented


@layout(">")
class LpEmergencyReport(Layout):
    """LP B003 emergency report; what the values of ``emergency_type`` mean is not public."""

    address: Annotated[int, U32]
    emergency_type: Annotated[int, U8]
    gps: Annotated[bytes, raw(GPS_BYTES)]


@layout(">")
class LpTriggeredRequest(Layout):
    """LP C001 periodic request: start and stop YYYYMMDDhhmmss or all ``0``, interval DDhhmmss."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    start: Annotated[bytes, raw(14)]
    stop: Annotated[bytes, raw(14)]
    interval: Annotated[bytes, raw(8)]


@layout(">")
class LpTriggeredReport(Layout):
    """LP C003 periodic report."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    remaining: Annotated[bytes, raw(8)]
    gps: Annotated[bytes, raw(GPS_BYTES)]


@layout(">")
class LpConditionRequest(Layout):
    """LP D001 condition request: trigger 0 cancel, 1 distance, 2 time, 3 both, 4 either."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    trigger: Annotated[int, U8]
    distance_m: Annotated[int, U32]
    start: Annotated[bytes, raw(14)]
    stop: Annotated[bytes, raw(14)]
    interval: Annotated[bytes, raw(8)]
    max_interval: Annotated[bytes, raw(8)]


@layout(">")
class LpConditionAnswer(Layout):
    """LP D002 condition answer."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    trigger: Annotated[int, U8]
    result: Annotated[int, U16]


@layout(">")
class LpConditionReport(Layout):
    """LP D003 condition report."""

    request_id: Annotated[int, U32]
    address: Annotated[int, U32]
    gps: Annotated[bytes, raw(GPS_BYTES)]


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


def pack_switches(switches: Iterable[tuple[int, int]]) -> bytes:
    """RCP 10C7 and 10C9: a count, then target and 1 (on) or 0 (off) for each."""
    pairs = [bytes(pair) for pair in switches]
    return bytes((len(pairs),)) + b"".join(pairs)


def unpack_switches(payload: bytes) -> list[tuple[int, int]]:
    """RCP 10C7 and 10C9; raises WireError where the count and the bytes disagree."""
    if not payload or len(payload) < 1 + 2 * payload[0]:
        raise WireError(f"RCP switches: {len(payload)} bytes do not hold what they count")
    return [(payload[i], payload[i + 1]) for i in range(1, 1 + 2 * payload[0], 2)]


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
    (Service.RCP, 0x0452): RcpIdentityQuery,
    (Service.RCP, 0x0841): RcpCallRequest,
    (Service.RCP, 0x1847): RcpTextBroadcast,
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
}


def read_body(message: Message) -> Layout | None:
    """The struct of a message, or None for one that has none here; WireError where it is short.

    Bytes behind the struct are left alone: one dispatcher puts an extra byte behind A001.
    """
    kind = BODIES.get((message.service, message.opcode))
    return None if kind is None else kind.unpack(message.payload)


# --- TMP, text ------------------------------------------------------------------------------------

TEXT_PRIVATE, TEXT_PRIVATE_ACK = 0xA1, 0xA2
TEXT_GROUP, TEXT_GROUP_ACK = 0xB1, 0xB2
DATA_GROUP_ACK = 0xBF
OPTION_BIT = 0x40  # of the opcode's first byte: an option field is there
NO_SOURCE = frozenset({TEXT_GROUP_ACK, DATA_GROUP_ACK})  # these carry no source address


class TextMessage(NamedTuple):
    """A TMP message: ``kind`` is the opcode's second byte, ``flags`` its first.

    ``body`` is text in UTF-16LE (A1, B1), a result in one byte (acknowledgements) or raw data.
    """

    kind: int
    flags: int
    request_id: int
    destination: int
    source: int | None
    body: bytes
    option: bytes = b""

    @property
    def text(self) -> str:
        """The readable text; what is no UTF-16 becomes U+FFFD, zeros at the end are padding."""
        return self.body.decode("utf-16-le", errors="replace").rstrip("\0")

    def message(self, *, is_reliable: bool = False) -> Message:
        """As an HDAP message; the option bit follows from ``option``."""
        flags = self.flags | OPTION_BIT if self.option else self.flags & ~OPTION_BIT
        parts = [self.request_id.to_bytes(4, "big"), self.destination.to_bytes(4, "big")]
        if self.source is not None:
            parts.append(self.source.to_bytes(4, "big"))
        parts.append(self.body)
        if self.option:
            parts = [len(self.option).to_bytes(2, "big"), *parts, self.option]
        return Message(Service.TMP, flags << 8 | self.kind, b"".join(parts), is_reliable)


def read_text(message: Message) -> TextMessage:
    """The fields of a TMP message; raises WireError where they do not fit."""
    flags, kind = divmod(message.opcode, 0x100)
    payload, option = message.payload, b""
    if flags & OPTION_BIT:
        size = int.from_bytes(payload[:2], "big")
        payload = payload[2:]
        if size > len(payload):
            raise WireError(f"TMP option: {size} bytes, {len(payload)} are there")
        payload, option = payload[: len(payload) - size], payload[len(payload) - size :]
    head = 8 if kind in NO_SOURCE else 12
    if len(payload) < head:
        raise WireError(f"TMP: {len(payload)} bytes, needs {head}")
    words = [int.from_bytes(payload[i : i + 4], "big") for i in range(0, head, 4)]
    source = None if kind in NO_SOURCE else words[2]
    return TextMessage(kind, flags, words[0], words[1], source, payload[head:], option)
