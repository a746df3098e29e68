"""Hytera TMP: texts and their acknowledgements, inside HDAP, big-endian; no ``DRIVER`` here.

What bit 7 of the first opcode byte says is told in two ways (no acknowledgement wanted, or one
wanted); in the published exchanges one came with the bit and without it.
"""

from typing import NamedTuple

from drivers.hytera.hdap import Message, Service
from drivers.wire import WireError

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
