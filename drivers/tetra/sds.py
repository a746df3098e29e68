"""TETRA short messages that carry text: what stands in them, and the ones that we send.

The first octet is the protocol identifier. From 80 on a transport header (SDS-TL) follows: kind of
message, flags, reference; a transfer may ask for a report that it has come. There is no ``DRIVER``
here.
"""

from typing import NamedTuple

from drivers.wire import WireError

SIMPLE_TEXTS = frozenset({0x02, 0x09})  # without the transport header: text, immediate text
TEXTS = frozenset({0x82, 0x89})  # the same with it
LIP = 0x0A
HAS_TRANSPORT_HEADER = 0x80

TRANSFER, REPORT, ACKNOWLEDGE = 0, 1, 2
STORED = 0x01  # of a transfer: validity and forward address follow the reference
ACK_WANTED = 0x08  # of a report
RECEIVED_WANTED = (1, 3)  # what a transfer may ask for: 1 received, 2 read, 3 both
RECEIVED = 0x00  # delivery status: the far end has it
STATUS_CLASS = 0xE0  # its bits: 00 done, 20 not yet, 40 failed for good
DONE, FAILED = 0x00, 0x40
NO_SHORT_REPORT = 0x02  # of a transfer: the report shall have a header, too
FORWARD_BYTES = {0: 1, 1: 3, 2: 6, 7: 0}  # forward address: short number, SSI, TSI, none
TIMESTAMP, TIMESTAMP_BYTES = 0x80, 3  # flag of the coding octet, and what it adds
LATIN_1, UTF_16 = 1, 26
MOST_BITS = 2047  # of a message
TEXT_HEAD_BYTES = 4  # identifier, flags, reference, coding

CODINGS = {
    LATIN_1: "iso8859-1", 2: "iso8859-2", 3: "iso8859-3", 4: "iso8859-4", 5: "iso8859-5",
    6: "iso8859-6", 7: "iso8859-7", 8: "iso8859-8", 9: "iso8859-9", 10: "iso8859-10",
    11: "iso8859-13", 12: "iso8859-14", 13: "iso8859-15", 14: "cp437", 15: "cp737", 16: "cp850",
    17: "cp852", 18: "cp855", 19: "cp857", 20: "cp860", 21: "cp861", 22: "cp863", 23: "cp865",
    24: "cp866", 25: "cp869", UTF_16: "utf-16-be",
}  # fmt: skip


class TransportHeader(NamedTuple):
    """The header of SDS-TL. ``flags`` is the low nibble of the second octet."""

    identifier: int
    kind: int
    flags: int
    status: int  # of a report or an acknowledgement; 0 in a transfer
    reference: int
    content: bytes  # of a transfer

    @property
    def wants_report(self) -> bool:
        """A transfer that asks whether it has come."""
        return self.kind == TRANSFER and self.flags >> 2 in RECEIVED_WANTED

    @property
    def wants_ack(self) -> bool:
        """A report that asks whether it has come."""
        return self.kind == REPORT and bool(self.flags & ACK_WANTED)

    def report(self) -> bytes:
        """Tells the sender of this transfer that it is here."""
        return bytes((self.identifier, REPORT << 4, RECEIVED, self.reference))

    def acknowledgement(self) -> bytes:
        """Tells the sender of this report that it is here."""
        return bytes((self.identifier, ACKNOWLEDGE << 4, self.status, self.reference))


def read_transport(data: bytes) -> TransportHeader:
    """The header of ``data``; raises WireError where it is cut."""
    if len(data) < 3:  # noqa: PLR2004 - the shortest header
        raise WireError(f"SDS-TL: {len(data)} octets, needs 3")
    kind, flags = data[1] >> 4, data[1] & 0x0F
    if kind in {REPORT, ACKNOWLEDGE}:
        if len(data) < 4:  # noqa: PLR2004 - identifier, kind, status, reference
            raise WireError(f"SDS-TL: a report of {len(data)} octets, needs 4")
        return TransportHeader(data[0], kind, flags, data[2], data[3], b"")
    begin = 3
    if kind == TRANSFER and flags & STORED:
        if len(data) == begin:
            raise WireError("SDS-TL: validity is missing")
        address = data[begin] & 0x07
        if address not in FORWARD_BYTES:
            raise WireError(f"SDS-TL: forward address of kind {address}")
        begin += 1 + FORWARD_BYTES[address]
    return TransportHeader(data[0], kind, flags, 0, data[2], data[begin:])


def read_text(content: bytes) -> str:
    """The text behind its coding octet; raises WireError for a coding that is not known."""
    if not content:
        raise WireError("text: the coding octet is missing")
    coding = CODINGS.get(content[0] & ~TIMESTAMP)
    if coding is None:
        raise WireError(f"text: coding {content[0] & ~TIMESTAMP}")
    begin = 1 + (TIMESTAMP_BYTES if content[0] & TIMESTAMP else 0)
    if len(content) < begin:
        raise WireError("text: the time stamp is cut")
    return content[begin:].decode(coding, "replace")


def pack_text(body: str, reference: int) -> bytes | None:
    """A text that asks for a report; None where it is longer than a message can be."""
    try:
        coding, octets = LATIN_1, body.encode("latin-1")
    except UnicodeEncodeError:
        coding, octets = UTF_16, body.encode("utf-16-be", "replace")
    if (TEXT_HEAD_BYTES + len(octets)) * 8 > MOST_BITS:
        return None
    flags = RECEIVED_WANTED[0] << 2 | NO_SHORT_REPORT
    return bytes((0x82, TRANSFER << 4 | flags, reference, coding)) + octets
