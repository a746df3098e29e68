"""HRNP and HSTRP packets told field by field, down to the service's payload; no ``DRIVER`` here.

What cannot be read is a row with its problem, and what lies behind it is shown as it stands;
nothing is raised.
"""

from collections.abc import Generator, Iterator, Sequence

from drivers.hytera.gps import GPS_BYTES, Gps40
from drivers.hytera.hdap import (
    END,
    HEADER_BYTES,
    ID_MASK,
    RELIABLE,
    SERVICE_NAMES,
    TRAILER_BYTES,
    Message,
    Service,
    body_kind,
    byte_order,
    unpack_switches,
)
from drivers.hytera.hrnp_frames import CHECK_AT, Frame, HrnpHeader, Opcode
from drivers.hytera.hrnp_frames import HEADER_BYTES as HRNP_BYTES
from drivers.hytera.hrnp_frames import START as HRNP_START
from drivers.hytera.hstrp_frames import (
    CHANNEL,
    CONTROL,
    DEVICE,
    MAGIC,
    MORE_OPTIONS,
    OPTION_HEAD,
    UNKNOWN,
    VERSION,
    HstrpHeader,
    Kind,
)
from drivers.hytera.hstrp_frames import HEADER_BYTES as HSTRP_BYTES
from drivers.hytera.names import OK, VALUES, message_name
from drivers.hytera.orders import TMP_RESULTS
from drivers.hytera.tmp import NO_SOURCE, OPTION_BIT
from drivers.wire import Field, WireError, explain_layout, hdap8, ones_complement16
from drivers.wire.explain import place

ADDRESSES = frozenset({"address", "source", "destination"})
TEXT_KINDS = frozenset({0xA1, 0xB1})
RESULT_KINDS = frozenset({0xA2, 0xAF, 0xB2, 0xBF})
SHOWN = 128  # a packet is told to so many messages; a bound, no radio sends more than a few


def explain_hrnp(data: bytes) -> Sequence[Field]:
    """An HRNP packet."""
    rows = list(explain_layout(HrnpHeader, data))
    if len(data) < HRNP_BYTES:
        return rows
    header = HrnpHeader.unpack(data)
    rows[0] = _told(rows[0], "" if header.start == HRNP_START else f"not {HRNP_START:02X}")
    known = header.opcode in Opcode._value2member_map_
    name = Opcode(header.opcode).name.lower().replace("_", " ") if known else "unknown"
    rows[3] = rows[3]._replace(value=f"{header.opcode:02X} {name}")
    is_whole = header.length == len(data)
    rows[7] = _told(rows[7], "" if is_whole else f"the frame has {len(data)} bytes")
    check = ones_complement16(data[:CHECK_AT] + b"\0\0" + data[HRNP_BYTES:])
    is_right = check == header.checksum
    rows[8] = _told(rows[8], "" if is_right else f"should be {check:04X}")
    payload = Frame.unpack(data).payload
    return [*rows, *explain_messages(payload, HRNP_BYTES)]


def explain_hstrp(data: bytes) -> Sequence[Field]:
    """An HSTRP packet."""
    rows = list(explain_layout(HstrpHeader, data))
    if len(data) < HSTRP_BYTES:
        return rows
    header = HstrpHeader.unpack(data)
    rows[0] = _told(rows[0], "" if header.magic == MAGIC else f"not {MAGIC:04X}")
    rows[1] = _told(rows[1], "" if header.version == VERSION else f"not {VERSION:02X}")
    names = [] if header.kind & CONTROL else ["data"]
    names += [kind.name.lower() for kind in Kind if kind.name and header.kind & kind]
    unknown = "bits that no table has" if header.kind & UNKNOWN else ""
    rows[2] = _told(rows[2]._replace(value=f"{header.kind:02X} {' + '.join(names)}"), unknown)
    end = HSTRP_BYTES
    if header.kind & Kind.OPTIONS:
        for row, end in _options(data):  # noqa: B007 - the last end is where the payload begins
            rows.append(row)
    return [*rows, *explain_messages(data[end:], end)]


def explain_messages(data: bytes, base: int) -> Iterator[Field]:
    """The HDAP messages of a packet's payload, which begins at byte ``base`` of the packet."""
    at = 0
    for _ in range(SHOWN):
        if at >= len(data) or not any(data[at:]):
            break
        size = yield from _message(data[at:], base + at)
        if not size:
            return
        at += size
    if data[at:]:
        yield Field(place(base + at, len(data) - at), data[at:].hex(), "HDAP.padding")


def _options(data: bytes) -> Iterator[tuple[Field, int]]:
    names, at, is_more = {DEVICE: "device", CHANNEL: "channel"}, HSTRP_BYTES, True
    while is_more and at < len(data):
        command = data[at] & ~MORE_OPTIONS
        is_more = bool(data[at] & MORE_OPTIONS)
        size = OPTION_HEAD + (data[at + 1] if at + 1 < len(data) else 0)
        found = data[at : at + size]
        value = str(int.from_bytes(found[OPTION_HEAD:], "big")) if found[OPTION_HEAD:] else ""
        problem = "" if len(found) == size else f"{len(found)} of {size} bytes are there"
        if is_more and not problem and at + size == len(data):
            problem = "another option should follow"
        name = f"HstrpOption.{names.get(command, f'command {command}')}"
        at = min(at + size, len(data))
        yield Field(place(at - len(found), len(found)), found.hex(), name, value, problem), at


def _message(data: bytes, base: int) -> Generator[Field, None, int]:
    """One message; returns its size, or 0 where what follows cannot be found."""
    if len(data) < HEADER_BYTES + TRAILER_BYTES:
        problem = f"{len(data)} bytes are no message"
        yield Field(place(base, len(data)), data.hex(), "HDAP", "", problem)
        return 0
    service = data[0] & ~RELIABLE
    order = byte_order(service)
    opcode, length = (int.from_bytes(data[at : at + 2], order) for at in (1, 3))
    end = HEADER_BYTES + length
    message = Message(service, opcode, data[HEADER_BYTES:end])
    reliable = ", reliable" if data[0] & RELIABLE else ""
    name = SERVICE_NAMES.get(service, "unknown service")
    yield Field(place(base, 1), data[:1].hex(), "HDAP.service", f"{name}{reliable}")
    told = f"{opcode:04X} {message_name(message)}"
    yield Field(place(base + 1, 2), data[1:3].hex(), "HDAP.opcode", told)
    is_there = end + TRAILER_BYTES <= len(data)
    problem = "" if is_there else f"{len(data) - HEADER_BYTES} bytes are there"
    yield Field(place(base + 3, 2), data[3:5].hex(), "HDAP.length", str(length), problem)
    yield from _body(message, base + HEADER_BYTES)
    if not is_there:
        return 0
    check = hdap8(data[1:end])
    problem = "" if data[end] == check else f"should be {check:02X}"
    yield Field(place(base + end, 1), data[end : end + 1].hex(), "HDAP.check", "", problem)
    problem = "" if data[end + 1] == END else f"should be {END:02X}"
    yield Field(place(base + end + 1, 1), data[end + 1 : end + 2].hex(), "HDAP.end", "", problem)
    return end + TRAILER_BYTES


def _body(message: Message, base: int) -> Iterator[Field]:
    payload, at = message.payload, 0
    if message.service == Service.TMP:
        yield from _text(message, base)
        return
    if message.service == Service.RCP and message.opcode in {0x10C7, 0x10C9}:
        yield _switches(payload, base)
        return
    kind = body_kind(message)
    if kind is not None:
        for row in explain_layout(kind, payload, 0, base):
            size = len(row.raw) // 2
            if row.name.endswith(".gps") and size == GPS_BYTES:
                yield from map(_readable, explain_layout(Gps40, payload, at, base))
            else:
                yield _readable(row)
            at += size
    if payload[at:]:
        rest = "HDAP.payload" if kind is None else "HDAP.rest"
        yield Field(place(base + at, len(payload) - at), payload[at:].hex(), rest)


def _switches(payload: bytes, base: int) -> Field:
    try:
        told = ", ".join(
            f"{target:02X} {'on' if on else 'off'}" for target, on in unpack_switches(payload)
        )
        problem = ""
    except WireError as error:
        told, problem = "", str(error)
    return Field(place(base, len(payload)), payload.hex(), "RcpSwitches", told, problem)


def _text(message: Message, base: int) -> Iterator[Field]:
    """TMP by hand: what is there depends on the opcode's two bytes."""
    flags, kind = divmod(message.opcode, 0x100)
    data, at, option = message.payload, 0, 0
    names = ["request_id", "destination"] + ([] if kind in NO_SOURCE else ["source"])
    if flags & OPTION_BIT:
        option = int.from_bytes(data[:2], "big")
        yield Field(place(base, 2), data[:2].hex(), "Tmp.option_length", str(option))
        at = 2
    for name in names:
        word = data[at : at + 4]
        problem = "" if len(word) == 4 else f"{len(word)} of 4 bytes are there"  # noqa: PLR2004
        value = str(int.from_bytes(word, "big"))
        yield _readable(Field(place(base + at, 4), word.hex(), f"Tmp.{name}", value, problem))
        if problem:
            return
        at += 4
    if option > len(data) - at:
        problem = f"{len(data) - at} of {option} bytes are there"
        yield Field(place(base + at, len(data) - at), data[at:].hex(), "Tmp.option", "", problem)
        return
    body, tail = data[at : len(data) - option], data[len(data) - option :]
    if kind in TEXT_KINDS:
        told = body.decode("utf-16-le", "replace")
        yield Field(place(base + at, len(body)), body.hex(), "Tmp.text", told)
    elif kind in RESULT_KINDS and body:
        told = f"{body[0]} {(OK | TMP_RESULTS).get(body[0], 'unknown')}"
        yield Field(place(base + at, len(body)), body.hex(), "Tmp.result", told)
    elif body:
        yield Field(place(base + at, len(body)), body.hex(), "Tmp.data")
    if tail:
        yield Field(place(base + at + len(body), len(tail)), tail.hex(), "Tmp.option")


def _readable(row: Field) -> Field:
    """Names for coded values, addresses as people write them, text as text."""
    if row.problem:
        return row
    field = row.name.rpartition(".")[2]
    if field in ADDRESSES and len(row.raw) == 8:  # noqa: PLR2004 - an address has four bytes
        data = bytes.fromhex(row.raw)
        number = int.from_bytes(data, "big") & ID_MASK
        return row._replace(value=f"{'.'.join(map(str, data))}, radio {number}")
    if not row.value:
        data = bytes.fromhex(row.raw)
        is_text = data.isascii() and data.decode("ascii", "replace").isprintable()
        return row._replace(value=data.decode()) if data and is_text else row
    if field == "opcode":
        return row._replace(value=f"{int(row.value):04X}")
    names = VALUES.get(row.name)
    if names is None:
        return row
    return row._replace(value=f"{row.value} {names.get(int(row.value), 'unknown')}")


def _told(row: Field, problem: str) -> Field:
    return row._replace(problem=problem)
