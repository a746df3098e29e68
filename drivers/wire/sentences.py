r"""Sentences on a line, the framing of NMEA 0183, taken out of whatever surrounds them.

::

    $GPGLL,4916.45,N,12311.12,W,225444,A,*1D<CR><LF>
    \s:GW-01,c:1750817731*5E\$BDGGA,…*71<CR><LF>

``$`` or ``!``, the body, ``*``, and the XOR of the body in two hex digits. In front there may be a
TAG block (NMEA 4.10, IEC 61162-450) that names the source, with an XOR of its own. Lines come
dirty: receivers and adapters drop bytes, glue sentences together and mix binary protocols in. So a
sentence begins at the last start character before a valid ``*hh``, and the rest of its line is
noise.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from drivers.wire.checksums import xor8

_HEX = b"0123456789ABCDEFabcdef"
_CHECK = {bytes((a, b)): int(chr(a) + chr(b), 16) for a in _HEX for b in _HEX}
_START = re.compile(rb"[$!]")

_CHECKED = re.compile(rb"[$!]([^$!*\\]*)\*([0-9A-Fa-f]{2})")
_TAG = re.compile(rb"\\([^\\]*)\*([0-9A-Fa-f]{2})\\\Z")
_TAG_REMAINS = re.compile(rb"\\[^\\$!]*\*[0-9A-Fa-f]{2}.?\Z", re.DOTALL)
_GROUP = re.compile(rb"(\d+)-\d+-(\w+)\Z")


class Sentence(NamedTuple):
    """One sentence whose check fits: the text between start character and ``*``."""

    body: bytes
    source: str  # "s:" of its TAG block; "" without one
    is_encapsulated: bool = False  # begun with "!", as AIS is: its fields are packed bits


class Flaw(NamedTuple):
    """Bytes of one line that are not a sentence, and why.

    ``checksum``: the check does not fit. ``unfinished``: a sentence that never came to its check.
    ``tag_block``: a sentence whose TAG block is damaged, so that nobody knows whose it is.
    ``noise``: a line without any sentence. ``overrun``: the head of an endless line.
    """

    reason: str
    data: bytes


class SentenceReader:
    """Cuts a stream into lines and takes the sentences out of them; any split gives the same.

    A line is looked at in its last ``max_line`` bytes only. ``needs_checksum`` false lets sentences
    without ``*hh`` pass, as receivers older than NMEA 2.0 send them; a wrong check never passes.
    """

    def __init__(self, *, max_line: int, needs_checksum: bool = True) -> None:
        self._max_line = max_line
        self._needs_checksum = needs_checksum
        self._rest = b""
        self._is_overrun = False
        self._group = (b"", "")  # the sentence group in progress and its source

    def feed(self, data: bytes) -> Sequence[Sentence | Flaw]:
        """Take bytes; give what the lines that ended hold."""
        lines = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop()
        found: list[Sentence | Flaw] = []
        for line in lines:
            if line or self._is_overrun:
                self._read_line(line, found)
        if len(rest) > self._max_line:
            self._is_overrun = True
            rest = rest[-self._max_line :]
        self._rest = rest
        return found

    def finish(self) -> Sequence[Sentence | Flaw]:
        """No line end will come: give what the last line holds."""
        found: list[Sentence | Flaw] = []
        line, self._rest = self._rest, b""
        if line or self._is_overrun:
            self._read_line(line, found)
        return found

    def _read_line(self, line: bytes, found: list[Sentence | Flaw]) -> None:
        if self._is_overrun or len(line) > self._max_line:
            self._is_overrun = False
            line = line[-self._max_line :]
            found.append(Flaw("overrun", line))
        is_clean = line.find(b"*") == len(line) - 3 and line.rfind(b"$") == 0
        if is_clean and xor8(line[1:-3]) == _CHECK.get(line[-2:]):
            found.append(Sentence(line[1:-3], ""))
        else:
            self._read_dirty(line, found)

    def _read_dirty(self, line: bytes, found: list[Sentence | Flaw]) -> None:
        """A line with a TAG block, with noise, with several sentences or without a whole one."""
        end = 0
        for match in _CHECKED.finditer(line):
            before, end = line[end : match.start()], match.end()
            self._note_lost_start(before, found)
            body = match[1]
            if xor8(body) != _CHECK[match[2]]:
                found.append(Flaw("checksum", match[0]))
                continue
            source = self._source(before)
            if source is None:
                found.append(Flaw("tag_block", before + match[0]))
            else:
                found.append(Sentence(body, source, match[0].startswith(b"!")))
        tail = line[end:]
        if not self._needs_checksum and self._take_unchecked(tail, found):
            return
        if not self._note_lost_start(tail, found) and not end and tail.strip():
            found.append(Flaw("noise", tail))

    @staticmethod
    def _note_lost_start(text: bytes, found: list[Sentence | Flaw]) -> bool:
        """Report a sentence that began in ``text`` and never came to its check."""
        start = _START.search(text)
        if start is None:
            return False
        found.append(Flaw("unfinished", text[start.start() :]))
        return True

    def _take_unchecked(self, tail: bytes, found: list[Sentence | Flaw]) -> bool:
        start = tail.rfind(b"$")
        if start < 0 or b"*" in tail[start:]:
            return False
        source = self._source(tail[:start])
        if source is not None:
            found.append(Sentence(tail[start + 1 :].rstrip(), source))
        else:
            found.append(Flaw("tag_block", tail))
        return True

    def _source(self, before: bytes) -> str | None:
        """The source that stands before a sentence: "" for no TAG block, None for a damaged one."""
        if not before.endswith(b"\\"):
            return None if _TAG_REMAINS.search(before) else ""
        tag = _TAG.search(before)
        if tag is None or xor8(tag[1]) != _CHECK[tag[2]]:
            return None
        fields = dict(part.partition(b":")[::2] for part in tag[1].split(b","))
        return self._source_in_group(fields.get(b"s"), _GROUP.match(fields.get(b"g", b"")))

    def _source_in_group(self, given: bytes | None, group: re.Match[bytes] | None) -> str | None:
        """The later lines of a group leave the source out; who missed the first cannot know it."""
        source = None if given is None else given.decode("ascii", "backslashreplace")
        if group is None:
            return source or ""
        number, name = group.groups()
        if source is not None or int(number) == 1:
            self._group = (name, source or "")
        known, source = self._group
        return source if name == known else None


def write_sentence(body: str) -> bytes:
    """``body`` between ``$`` and its check, with the line end."""
    text = body.encode("ascii")
    return b"$%s*%02X\r\n" % (text, xor8(text))


def write_place(lat_deg: float, lon_deg: float) -> str:
    """``ddmm.mmmmm,N,dddmm.mmmmm,E``: a place to five decimals of a minute (2 cm)."""
    return f"{_write_angle(lat_deg, 2, 'NS')},{_write_angle(lon_deg, 3, 'EW')}"


def _write_angle(value_deg: float, digits: int, sides: str) -> str:
    minutes = round(abs(value_deg) * 60, 5)
    side = sides[0] if value_deg >= 0 else sides[1]
    return f"{int(minutes // 60):0{digits}d}{minutes % 60:08.5f},{side}"
