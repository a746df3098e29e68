"""A JT/T 808 frame told field by field, both directions; no ``DRIVER`` here.

Places are counted in the frame without its escapes, the opening delimiter being byte 0. What cannot
be read is a row with its problem; nothing is raised.
"""

from collections.abc import Callable, Iterator, Sequence

from drivers.jtt808.frames import (
    ENCRYPTION_BITS,
    ESCAPE,
    FLAG,
    LENGTH_BITS,
    SPLIT_BIT,
    VERSION_BIT,
    Header2013,
    Header2019,
    Part,
    unescape,
)
from drivers.jtt808.messages import (
    FROM_PLATFORM,
    ITEM_NESTED_EB,
    TEXT_ALOUD,
    TEXT_DISPLAY,
    Ack,
    AckResult,
    BatchHead,
    ConfirmAlarm,
    Message,
    ParametersHead,
    PositionBody,
    RegisterAnswer,
    RegisterResult,
    Track,
    VendorTime,
    nested_items,
    parameters,
    read_register,
    text,
)
from drivers.wire import Field, Layout, explain_layout, xor8
from drivers.wire.explain import place

HEADER_AT = 1  # behind the delimiter
MOST_ROWS = 500  # a bound; a batch of a whole frame has fewer
U16, U32 = 2, 4

ALARMS = {
    0: "emergency (SOS key)",
    1: "overspeed",
    2: "fatigue",
    3: "danger warning",
    4: "GNSS fault",
    5: "antenna open",
    6: "antenna short",
    7: "main power low",
    8: "main power off",
    9: "display fault",
    10: "TTS fault",
    11: "camera fault",
    12: "card reader fault",
    13: "overspeed warning",
    14: "fatigue warning",
    15: "traffic violation",
    16: "tyre",
    17: "blind spot",
    18: "day driving time",
    19: "parking",
    20: "area",
    21: "route",
    22: "route time",
    23: "off route",
    24: "VSS fault",
    25: "fuel",
    26: "stolen",
    27: "illegal ignition",
    28: "illegal movement",
    29: "collision",
    30: "rollover",
    31: "illegal door",
}
STATUSES = {
    0: "ACC on",
    1: "position fixed",
    2: "south",
    3: "west",
    4: "out of service",
    5: "coordinates encrypted",
    10: "fuel cut",
    11: "power cut",
    12: "door locked",
    18: "GPS",
    19: "BeiDou",
    20: "GLONASS",
    21: "Galileo",
}
ITEMS: dict[int, tuple[str, int]] = {  # name, size; 0 where the size is the maker's affair
    0x01: ("mileage, 0.1 km", 4),
    0x02: ("fuel, 0.1 L", 2),
    0x03: ("speed of the recorder, 0.1 km/h", 2),
    0x04: ("id of an alarm to be confirmed", 2),
    0x05: ("tyre pressure", 30),
    0x06: ("temperature", 2),
    0x11: ("overspeed position", 0),
    0x12: ("area or route", 0),
    0x13: ("route time", 0),
    0x25: ("vehicle signals", 4),
    0x2A: ("IO", 2),
    0x2B: ("analog", 4),
    0x30: ("radio signal", 1),
    0x31: ("satellites", 1),
    0x56: ("vendor: battery, tenths", 0),
    0xD4: ("vendor: battery, percent", 0),
    0xE4: ("vendor: charging, battery percent", 0),
    0xE7: ("vendor: alarms, bits 1 to 4 the SOS key", 0),
    0xEB: ("vendor: nested items", 0),
}
PARAMETERS = {
    0x0001: "heartbeat, s",
    0x0013: "server",
    0x0018: "TCP port",
    0x0020: "report strategy",
    0x0028: "report in an emergency, s",
    0x0029: "report, s",
}

Body = Callable[[bytes, int, "int | None"], Iterator[Field]]


def explain(data: bytes) -> Sequence[Field]:
    """The fields of the first frame of ``data``."""
    return [row for row, _ in zip(_explain(data), range(MOST_ROWS), strict=False)]


def _explain(data: bytes) -> Iterator[Field]:
    begin = data.find(FLAG)
    if begin < 0:
        yield Field("-", data.hex(), "frame", "", "no delimiter 7E")
        return
    if begin:
        yield Field("-", data[:begin].hex(), "before the frame", "passed over")
    content, delimiter, _ = data[begin + 1 :].lstrip(FLAG).partition(FLAG)
    plain = unescape(content)
    yield Field("0", FLAG.hex(), "delimiter")
    if ESCAPE in content:
        undone = len(content) - len(plain)
        bare = content.count(ESCAPE) - undone
        told = f"{undone} undone; places are those without them"
        yield Field("-", "", "escapes", told + (f", {bare} bare 7D" if bare else ""))
    yield from _frame(plain)
    problem = "" if delimiter else "the frame is not ended"
    yield Field(str(HEADER_AT + len(plain)), delimiter.hex(), "delimiter", "", problem)


def _frame(plain: bytes) -> Iterator[Field]:
    """Header, body and check byte."""
    is_2019 = len(plain) > U16 and bool(plain[2] & VERSION_BIT >> 8)
    head: type[Layout] = Header2019 if is_2019 else Header2013
    rows = list(explain_layout(head, plain, 0, HEADER_AT))
    if len(plain) < head.size + 1:
        yield from rows
        problem = f"{len(plain)} bytes; header and check byte are {head.size + 1}"
        yield Field(place(HEADER_AT, len(plain)), "", "frame", "", problem)
        return
    message, attributes = (int.from_bytes(plain[at : at + U16], "big") for at in (0, U16))
    start = head.size + (Part.size if attributes & SPLIT_BIT else 0)
    for row in rows:
        if row.name.endswith(".message"):
            yield row._replace(value=f"{message:04X} {_name(message)}")
        elif row.name.endswith(".attributes"):
            yield row._replace(value="")
            yield from _attributes(attributes, len(plain) - start - 1)
        elif row.name.endswith(".phone"):
            yield row._replace(value=_subscriber(row.raw))
        else:
            yield row
    if attributes & SPLIT_BIT:
        yield from explain_layout(Part, plain[:-1], head.size, HEADER_AT)
    body = plain[start:-1]
    if attributes & (ENCRYPTION_BITS | SPLIT_BIT):
        yield _rest(
            body, HEADER_AT + start, "encrypted" if attributes & ENCRYPTION_BITS else "part"
        )
    else:
        yield from _body(message, body, HEADER_AT + start, plain[4] if is_2019 else None)
    check = xor8(plain[:-1])
    problem = "" if check == plain[-1] else f"should be {check:02X}"
    at = str(HEADER_AT + len(plain) - 1)
    yield Field(at, plain[-1:].hex(), "check byte", "" if problem else "fits", problem)


def _subscriber(digits: str) -> str:
    """A number as people write it; some terminals put a binary IMEI without its last digit there.

    The last digit of an IMEI is such that all digits, every second one doubled, add up to tens.
    """
    if digits.isdecimal():
        return digits.lstrip("0") or "0"
    imei = f"{int(digits, 16):014d}"
    doubled = (str(int(digit) * 2) if at % 2 else digit for at, digit in enumerate(imei))
    total = sum(int(digit) for digit in "".join(doubled))
    return f"IMEI {imei}{-total % 10}"


def _attributes(attributes: int, have: int) -> Iterator[Field]:
    length = attributes & LENGTH_BITS
    problem = "" if length == have else f"the body has {have} bytes"
    yield Field("bit 0-9", "", "  body length", str(length), problem)
    kind = (attributes & ENCRYPTION_BITS) >> 10
    yield Field("bit 10-12", "", "  encryption", {0: "none", 1: "RSA"}.get(kind, str(kind)))
    yield Field("bit 13", "", "  split", "yes" if attributes & SPLIT_BIT else "no")
    yield Field("bit 14", "", "  version", "2019" if attributes & VERSION_BIT else "2011, 2013")


def _name(message: int) -> str:
    if message in Message._value2member_map_:
        return Message(message).name.lower().replace("_", " ")
    side = "of the platform" if message >= FROM_PLATFORM else "of the terminal"
    return f"{side}, not handled here"


# --- bodies ---------------------------------------------------------------------------------------


def _body(message: int, body: bytes, base: int, version: int | None) -> Iterator[Field]:
    if message in BODIES:
        yield from BODIES[message](body, base, version)
    elif body:
        yield _rest(body, base, "body")


def _rest(data: bytes, base: int, name: str, problem: str = "") -> Field:
    return Field(place(base, len(data)), data.hex(), name, "", problem)


def _text(data: bytes, base: int, name: str) -> Field:
    value = text(data)
    problem = "not GBK" if "\ufffd" in value else ""
    return Field(place(base, len(data)), data.hex(), name, value, problem)


def _ack(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    for row in explain_layout(Ack, body, 0, base):
        if row.name == "Ack.message" and not row.problem:
            yield row._replace(value=f"{int(row.value):04X} {_name(int(row.value))}")
        elif row.name == "Ack.result" and not row.problem:
            yield _named(row, AckResult)
        else:
            yield row


def _named(row: Field, names: type[AckResult] | type[RegisterResult]) -> Field:
    value = int(row.value)
    if value not in names._value2member_map_:
        return row._replace(problem="unknown value")
    return row._replace(value=f"{value} {names(value).name.lower().replace('_', ' ')}")


def _register(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    read = read_register(body, version)
    if read is None:
        yield _rest(body, base, "body", f"{len(body)} bytes are no registration")
        return
    kind = type(read[0])
    for row in explain_layout(kind, body, 0, base):
        is_text = row.name.endswith((".maker", ".model", ".terminal"))
        yield row._replace(value=text(bytes.fromhex(row.raw))) if is_text else row
    yield _text(body[kind.size :], base + kind.size, "plate")


def _register_answer(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    for row in explain_layout(RegisterAnswer, body, 0, base):
        is_result = row.name.endswith(".result") and not row.problem
        yield _named(row, RegisterResult) if is_result else row
    if body[RegisterAnswer.size :]:
        yield _text(body[RegisterAnswer.size :], base + RegisterAnswer.size, "code")


def _auth(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    if version is None or not body or 1 + body[0] > len(body):
        yield _text(body, base, "code")
        return
    end = 1 + body[0]
    yield Field(str(base), body[:1].hex(), "length of the code", str(body[0]))
    yield _text(body[1:end], base + 1, "code")
    yield _text(body[end : end + 15], base + end, "IMEI")
    yield _text(body[end + 15 :], base + end + 15, "software")


def _position(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    for row in explain_layout(PositionBody, body, 0, base):
        name = row.name.removeprefix("PositionBody.")
        if row.problem:
            yield row
        elif name == "time":
            yield row._replace(value=_local(row.raw))
        else:
            yield row._replace(value=SHOWN[name](row.value))
    yield from _items(body, base)


SHOWN: dict[str, Callable[[str], str]] = {
    "alarm": lambda value: _bits(int(value), ALARMS),
    "status": lambda value: _bits(int(value), STATUSES),
    "latitude": lambda value: f"{int(value) / 1e6:.6f} deg",
    "longitude": lambda value: f"{int(value) / 1e6:.6f} deg",
    "altitude": lambda value: f"{value} m",
    "speed": lambda value: f"{int(value) / 10:.1f} km/h",
    "course": lambda value: f"{value} deg",
}


def _local(bcd: str) -> str:
    pairs = [bcd[at : at + 2] for at in range(0, len(bcd), 2)]
    return f"20{'-'.join(pairs[:3])} {':'.join(pairs[3:])}"


def _bits(word: int, names: dict[int, str]) -> str:
    found = [names.get(bit, f"bit {bit}") for bit in range(32) if word >> bit & 1]
    return ", ".join(found) or "none"


def _items(body: bytes, base: int) -> Iterator[Field]:
    at = PositionBody.size
    while at < len(body):
        if at + 2 > len(body):
            yield _rest(body[at:], base + at, "item", "an item is an id and a length at least")
            return
        kind, size = body[at], body[at + 1]
        stop = at + 2 + size
        yield _item(kind, size, body[at:stop])._replace(place=place(base + at, len(body[at:stop])))
        if kind == ITEM_NESTED_EB:
            for inner, found in nested_items(body[at + 2 : stop]):
                yield Field("", found.hex(), f"  item EB.{inner:04X}")
        if stop > len(body):
            return
        at = stop


def _item(kind: int, size: int, raw: bytes) -> Field:
    name, usual = ITEMS.get(kind, ("unknown", 0))
    value = raw[2:]
    problem = ""
    if len(value) < size:
        problem = f"{len(value)} of {size} bytes are there; reading stops here"
    elif usual and usual != size:
        problem = f"usually {usual} bytes; passed over"
    shown = str(int.from_bytes(value, "big")) if usual in {1, U16, U32} and not problem else ""
    return Field("", raw.hex(), f"item {kind:02X} {name}", shown, problem)


def _answered_position(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    yield _number(body[:U16], base, "serial of the query", U16)
    yield from _position(body[U16:], base + U16, version)


def _batch(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    yield from explain_layout(BatchHead, body, 0, base)
    at = BatchHead.size
    while at < len(body):
        size = int.from_bytes(body[at : at + U16], "big")
        row = _number(body[at : at + U16], base + at, "length of a position", U16)
        at += U16
        whole = body[at : at + size]
        if len(whole) < size and not row.problem:
            row = row._replace(problem=f"{len(whole)} bytes are left")
        yield row
        yield from _position(whole, base + at, version)
        at += size


def _number(data: bytes, base: int, name: str, size: int) -> Field:
    problem = "" if len(data) == size else f"{len(data)} of {size} bytes are there"
    value = "" if problem else str(int.from_bytes(data, "big"))
    return Field(place(base, size), data.hex(), name, value, problem)


def _parameters(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    yield from explain_layout(ParametersHead, body, 0, base)
    yield from _parameter_list(body, base, ParametersHead.size)


def _set_parameters(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    yield _number(body[:1], base, "count", 1)
    yield from _parameter_list(body, base, 1)


def _parameter_list(body: bytes, base: int, at: int) -> Iterator[Field]:
    end = at
    for kind, value, start in parameters(body, at):
        title = f"parameter {kind:04X} {PARAMETERS.get(kind, '')}".rstrip()
        is_number = len(value) in {1, U16, U32} and kind != 0x0013  # noqa: PLR2004 - a name
        shown = str(int.from_bytes(value, "big")) if is_number else text(value)
        end = start + len(value)
        yield Field(place(base + start, len(value)), value.hex(), title, shown)
    if end < len(body):
        yield _rest(body[end:], base + end, "parameter", "overruns the body; reading stops here")


def _track(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    yield from explain_layout(Track, body, 0, base)


def _confirm(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    for row in explain_layout(ConfirmAlarm, body, 0, base):
        is_kinds = row.name.endswith(".kinds") and not row.problem
        yield row._replace(value=_bits(int(row.value), ALARMS)) if is_kinds else row


def _downward_text(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    if not body:
        yield _number(body, base, "flag", 1)
        return
    flag = body[0]
    told = [name for bit, name in ((TEXT_DISPLAY, "display"), (TEXT_ALOUD, "aloud")) if flag & bit]
    if version is None:
        told += ["emergency"] if flag & 1 else []
        start = 1
    else:
        told.append({1: "service", 2: "emergency", 3: "notice"}.get(flag & 3, "reserved"))
        start = 2
    yield Field(str(base), body[:1].hex(), "flag", ", ".join(told))
    if version is not None:
        kind = {b"\1": "notice", b"\2": "service"}.get(body[1:2], "")
        problem = "" if kind else "unknown value"
        yield Field(str(base + 1), body[1:2].hex(), "type", kind, problem)
    yield _text(body[start:], base + start, "text")


def _time(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    problem = "" if len(body) == 6 else f"{len(body)} of 6 bytes are there"  # noqa: PLR2004 - BCD
    yield Field(place(base, 6), body.hex(), "time, UTC", _local(body.hex()), problem)


def _vendor_time(body: bytes, base: int, version: int | None) -> Iterator[Field]:
    del version
    yield from explain_layout(VendorTime, body, 0, base)


BODIES: dict[int, Body] = {
    Message.TERMINAL_ACK: _ack,
    Message.PLATFORM_ACK: _ack,
    Message.REGISTER: _register,
    Message.REGISTER_ANSWER: _register_answer,
    Message.AUTHENTICATE: _auth,
    Message.PARAMETERS: _parameters,
    Message.SET_PARAMETERS: _set_parameters,
    Message.POSITION: _position,
    Message.POSITION_ANSWER: _answered_position,
    Message.POSITION_BATCH: _batch,
    Message.TRACK: _track,
    Message.CONFIRM_ALARM: _confirm,
    Message.TEXT: _downward_text,
    Message.TIME: _time,
    Message.TIME_VENDOR: _vendor_time,
}
