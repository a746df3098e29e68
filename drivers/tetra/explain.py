"""A line of a TETRA radio told field by field, with the bits of its message. No ``DRIVER`` here."""

import contextlib
from collections.abc import Iterator, Sequence

from drivers.api import Reject
from drivers.tetra.lines import (
    MESSAGE,
    SDS_TYPE_4,
    STATUS,
    Header,
    Lines,
    check_length,
    octets,
    read_header,
)
from drivers.tetra.lip import REASONS, Bits, read_location
from drivers.tetra.sds import LIP, TEXTS, TRANSFER, read_text, read_transport
from drivers.wire import Field, WireError

FIELDS = {
    7: ("service", "calling", "calling type", "called", "called type", "bits", "encryption"),
    4: ("service", "called", "called type", "bits"),
    3: ("service", "called", "bits"),
    "+CTICN": (
        "call", "status", "service", "calling type", "calling", "hook", "simplex", "encryption",
        "communication", "slots", "called type", "called", "priority",
    ),
    "+CTXG": ("call", "grant", "permission", "encryption", "talker type", "talker"),
}  # fmt: skip


def explain(data: bytes) -> Sequence[Field]:
    """The fields of every line in ``data``."""
    lines = Lines()
    rows: list[Field] = []
    for line in [*lines.feed(data), *lines.finish()]:
        if isinstance(line, Reject):
            rows.append(Field("-", "", "line", "", f"{line.reason}: {line.detail}"))
            continue
        rows.append(Field("0", line.word, "word"))
        rows += _fields(line.word, line.body)
        if line.word == MESSAGE:
            try:
                rows += _message(read_header(line.body), line.digits)
            except WireError as error:
                rows.append(Field("-", line.digits, "message", "", str(error)))
    return rows


def _fields(word: str, body: str) -> Iterator[Field]:
    values = [value.strip() for value in body.split(",")] if body else []
    key: str | int = word
    if word == MESSAGE:
        key = 7 if len(values) == 6 else len(values)  # noqa: PLR2004 - without the last one
    names = FIELDS.get(key, ())
    for number, value in enumerate(values, start=1):
        name = names[number - 1] if number <= len(names) else "field"
        yield Field(str(number), value, name)


def _message(header: Header, digits: str) -> Iterator[Field]:
    check_length(digits, header.bits)
    if header.service == STATUS:
        yield Field("bit 0-15", digits, "status", "emergency" if int(digits, 16) == 0 else "")
    elif header.service == SDS_TYPE_4 and header.bits >= 8:  # noqa: PLR2004 - an octet
        data = octets(digits, header.bits)
        if data[0] == LIP:
            yield from _location(header, digits)
        else:
            yield from _text(data)


def _location(header: Header, digits: str) -> Iterator[Field]:
    bits = Bits(int(digits, 16) >> (len(digits) * 4 - header.bits), header.bits)
    bits.take(8, "protocol identifier")
    with contextlib.suppress(WireError):  # the last row says where it broke
        read_location(bits)
    for row in bits.fields:
        meaning = REASONS.get(int(row.value)) if row.name == "reason" and row.value else None
        yield row._replace(value=f"{row.value} {meaning}") if meaning else row


def _text(data: bytes) -> Iterator[Field]:
    yield Field("octet 0", data[:1].hex(), "protocol identifier")
    content, begin = data[1:], 1
    if data[0] in TEXTS:
        header = read_transport(data)
        yield Field("octet 1", data[1:2].hex(), "kind and flags", f"{header.kind} {header.flags:X}")
        if header.kind != TRANSFER:
            yield Field("octet 2", data[2:3].hex(), "delivery status", str(header.status))
            yield Field("octet 3", data[3:4].hex(), "reference", str(header.reference))
            return
        yield Field("octet 2", data[2:3].hex(), "reference", str(header.reference))
        content, begin = header.content, len(data) - len(header.content)
    yield Field(f"octet {begin}", content[:1].hex(), "coding")
    yield Field(f"octet {begin + 1}", content[1:].hex(), "text", read_text(content))
