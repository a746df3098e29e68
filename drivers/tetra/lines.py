r"""What a TETRA radio prints on its serial line, cut into pieces.

::

    +CTSDSR: 12,4470001,0,4479999,0,84<CR><LF>
    0A055734C9581889088020<CR><LF>

A word behind ``+`` with its fields, and for a short message a second line with its bits in hex. The
header tells how many bits there are; some radios pad the digits to whole octets, others do not. A
word may stand behind noise on its line. There is no ``DRIVER`` here.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from drivers.api import Reject
from drivers.wire import WireError
from gateway.model.identity import RadioId, radio_id
from gateway.model.quantities import NS_PER_S, Instant

MAX_LINE = 1024  # bytes; the longest message has 512 digits
MESSAGE = "+CTSDSR"
MOST_ADDRESS = 0xFFFFFF  # 24 bits
ADDRESS_DIGITS = 8  # of a full number: the last ones; country and network stand before them
CLEAR = "0"
STATUS, SDS_TYPE_4 = 13, 12
DAY_NS = 86_400 * NS_PER_S

_WORD = re.compile(rb"\+(?:CTSDSR|CTICN|CTXG|CTCR|CDTXC|GPSPOS):")
_HEX = re.compile(rb"[0-9A-Fa-f]+\Z")
_PRINTABLE = re.compile(rb"[\t -~]*\Z")
_OWN_POSITION = re.compile(
    r"(\d\d):(\d\d):(\d\d), ?([NS]): ?(\d\d)_(\d\d\.\d+), ?([EW]): ?(\d{3})_(\d\d\.\d+), ?(\d+)\Z"
)


class Line(NamedTuple):
    """One thing that the radio said: its word, what stands behind it, and the digits below."""

    word: str  # with its "+"; the whole line where it has none
    body: str = ""
    digits: str = ""


class Lines:
    """Cuts a stream into what the radio says; any split gives the same."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_overrun = False
        self._header: str | None = None  # of a message whose digits come next

    def feed(self, data: bytes) -> Sequence[Line | Reject]:
        """Take bytes; give what the lines that ended say."""
        lines = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop()
        found: list[Line | Reject] = []
        for line in lines:
            self._take(line, found)
        if len(rest) > MAX_LINE:
            self._is_overrun = True
            rest = rest[-MAX_LINE:]
        self._rest = rest
        return found

    def finish(self) -> Sequence[Line | Reject]:
        """No line end will come: give what is complete."""
        found: list[Line | Reject] = []
        line, self._rest = self._rest, b""
        self._take(line, found)
        if self._header is not None:
            found.append(self._unfinished())
        return found

    def _take(self, line: bytes, found: list[Line | Reject]) -> None:
        line = line.strip(b" \t")
        if self._is_overrun or len(line) > MAX_LINE:
            self._is_overrun = False
            line = line[-MAX_LINE:]
            found.append(Reject("overrun", f"a line longer than {MAX_LINE} bytes", line))
        words = list(_WORD.finditer(line))
        if self._header is not None and line:
            if _HEX.match(line):
                found.append(Line(MESSAGE, self._header, line.decode("ascii").upper()))
                self._header = None
                return
            found.append(self._unfinished())
        if words:
            self._take_word(line, words[-1], found)
        elif not _PRINTABLE.match(line):
            found.append(Reject("noise", repr(line[:60]), line))
        elif line:
            found.append(Line(line.decode("ascii")))

    def _take_word(self, line: bytes, word: re.Match[bytes], found: list[Line | Reject]) -> None:
        body = line[word.end() :].decode("ascii", "replace").strip()
        name = word[0][:-1].decode("ascii")
        if name == MESSAGE:
            self._header = body
        else:
            found.append(Line(name, body))

    def _unfinished(self) -> Reject:
        header, self._header = self._header, None
        return Reject("unfinished", f"{MESSAGE}: {header}: its digits did not come")


class Header(NamedTuple):
    """Who sent a short message to whom, and how long it is."""

    service: int
    sender: RadioId | None
    to: RadioId | None
    bits: int
    is_encrypted: bool


def read_header(body: str) -> Header:
    """The fields behind ``+CTSDSR:``; raises WireError.

    Seven, or six without the encryption flag; four and three leave the sender out.
    """
    fields = [field.strip() for field in body.split(",")]
    if len(fields) in {6, 7}:
        sender, to, bits = fields[1], fields[3], fields[5]
    elif len(fields) in {3, 4}:
        sender, to, bits = "", fields[1], fields[-1]
    else:
        raise WireError(f"{MESSAGE}: {len(fields)} fields, needs 3, 4, 6 or 7")
    if not (fields[0].isdecimal() and bits.isdecimal()):
        raise WireError(f"{MESSAGE}: service {fields[0]!r}, length {bits!r} are no numbers")
    is_encrypted = len(fields) == 7 and fields[6] not in {"", CLEAR}  # noqa: PLR2004 - all fields
    return Header(int(fields[0]), identity(sender), identity(to), int(bits), is_encrypted)


def identity(text: str) -> RadioId | None:
    """``tetra:4470001`` of a short or a full number; None for what is no TETRA number."""
    number = int(text[-ADDRESS_DIGITS:]) if text.isascii() and text.isdecimal() else 0
    return radio_id("tetra", number) if 0 < number <= MOST_ADDRESS else None


def check_length(digits: str, bits: int) -> None:
    """As many digits as the bits need, padded to octets or not; raises WireError."""
    least = -(-bits // 4)
    if not least <= len(digits) <= 2 * -(-bits // 8):
        raise WireError(f"{len(digits)} digits for {bits} bits")


def octets(digits: str, bits: int) -> bytes:
    """The whole octets of a message."""
    return bytes.fromhex(digits[: bits // 8 * 2])


def read_own_position(body: str, at: Instant) -> tuple[float, float, Instant, int]:
    """Latitude, longitude, moment and satellites of ``+GPSPOS``; raises WireError."""
    found = _OWN_POSITION.match(body)
    if found is None:
        raise WireError(f"+GPSPOS: {body[:60]!r}")
    hour, minute, second = (int(found[group]) for group in (1, 2, 3))
    lat_deg = (int(found[5]) + float(found[6]) / 60) * (-1 if found[4] == "S" else 1)
    lon_deg = (int(found[8]) + float(found[9]) / 60) * (-1 if found[7] == "W" else 1)
    time_ns = (hour * 3600 + minute * 60 + second) * NS_PER_S
    days = round((at - time_ns) / DAY_NS)  # the day on which this time is nearest to ``at``
    return lat_deg, lon_deg, Instant(days * DAY_NS + time_ns), int(found[10])
