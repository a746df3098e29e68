"""Reads records straight out of SQLite's pages, trusting nothing that a damaged file says.

Used where SQLite itself gives up: the header, the schema or an inner page may be gone and every
other page still hold whole rows. Formats: https://www.sqlite.org/fileformat2.html, sections 1.5
(pages), 1.6 (overflow), 2.1 (records) and 4.1 (write-ahead log).
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096  # what our files are made with
WAL_HEADER = 32
FRAME_HEADER = 24
LEAF = 0x0D  # a leaf of a table; inner pages and indexes hold nothing that the leaves lack
FILE_HEADER = 100  # on the first page, before the page's own header
MOST_PAYLOAD = 1 << 20  # a longer record is damage
MOST_LOCAL = PAGE - 35  # payload kept on the leaf itself, the rest overflows
LEAST_LOCAL = (PAGE - 12) * 32 // 255 - 23

FIRST_BYTES_KIND = 12  # from here on even kinds are blobs and odd ones texts, the length in them

_CONSTANTS = {0: None, 8: 0, 9: 1}
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Field = int | bytes | None
Record = tuple[int, list[Field]]  # rowid, columns; text comes as bytes


class DamageError(Exception):
    """These bytes are no record."""


class Pages:
    """All pages of a database file and of its write-ahead log, wherever they can be found.

    With ``only_log`` the pages of the file itself are left out.
    """

    def __init__(self, path: Path, *, only_log: bool = False) -> None:
        self._file = b"" if only_log else _map(path)
        self._wal = _map(path.with_name(path.name + "-wal"))
        self._frames = self._find_frames()

    def close(self) -> None:
        """Let go of both files."""
        for mapped in (self._file, self._wal):
            if isinstance(mapped, mmap.mmap):
                mapped.close()

    def leaves(self) -> Iterator[bytes]:
        """Every page that looks like a table's leaf: the log's first, then the file's end first.

        The same row may come more than once, also an older state of it.
        """
        for _, start in reversed(self._frames):
            if self._wal[start] == LEAF:
                yield bytes(self._wal[start : start + PAGE])
        for start in range(len(self._file) // PAGE * PAGE - PAGE, -1, -PAGE):
            at = FILE_HEADER if start == 0 else start
            if self._file[at] == LEAF:
                # The first page's pointers count from the page's start, header included.
                yield bytes(self._file[start : start + PAGE])

    def records(self, page: bytes) -> Iterator[Record]:
        """The records of a leaf that can be read; the others are skipped."""
        for start in cells(page):
            try:
                yield self._record(page, start)
            except (DamageError, IndexError, struct.error):
                continue

    def _record(self, page: bytes, start: int) -> Record:
        length, start = varint(page, start)
        rowid, start = varint(page, start)
        if length > MOST_PAYLOAD:
            raise DamageError
        if length <= MOST_LOCAL:
            payload = page[start : start + length]
        else:
            kept = LEAST_LOCAL + (length - LEAST_LOCAL) % (PAGE - 4)
            kept = kept if kept <= MOST_LOCAL else LEAST_LOCAL
            (following,) = struct.unpack_from(">I", page, start + kept)
            payload = page[start : start + kept] + self._overflow(following, length - kept)
        if len(payload) != length:
            raise DamageError
        return rowid, fields(payload)

    def _overflow(self, number: int, length: int) -> bytes:
        found = b""
        while len(found) < length:
            page = self._page(number)
            (number,) = struct.unpack_from(">I", page)
            found += page[4 : 4 + length - len(found)]
        return found

    def _page(self, number: int) -> bytes:
        for own, start in reversed(self._frames):
            if own == number:
                return bytes(self._wal[start : start + PAGE])
        start = (number - 1) * PAGE
        page = bytes(self._file[start : start + PAGE]) if number > 0 else b""
        if len(page) != PAGE:
            raise DamageError
        return page

    def _find_frames(self) -> list[tuple[int, int]]:
        """Page number and place of every frame of the log's current round, oldest first.

        The header's salt marks the round. Where no frame bears it the header is damaged, and the
        frames of older rounds are not told apart; rows in them are only older.
        """
        salt = bytes(self._wal[16:24])
        last = len(self._wal) - FRAME_HEADER - PAGE
        starts = range(WAL_HEADER, last + 1, FRAME_HEADER + PAGE)
        current = [start for start in starts if self._wal[start + 8 : start + 16] == salt]
        return [
            (struct.unpack_from(">I", self._wal, start)[0], start + FRAME_HEADER)
            for start in current or starts
        ]


def cells(page: bytes) -> list[int]:
    """Where the cells of a leaf begin, as its pointers say; pointers off the page are left out."""
    head = FILE_HEADER if page[0] != LEAF else 0
    (count,) = struct.unpack_from(">H", page, head + 3)
    first = head + 8
    if first + 2 * count > PAGE:
        count = (PAGE - first) // 2
    pointers = struct.unpack_from(f">{count}H", page, first)
    return [pointer for pointer in pointers if first < pointer < PAGE]


def varint(data: bytes, start: int) -> tuple[int, int]:
    """SQLite's variable-length integer: the value, and where it ends. Raises IndexError."""
    value = 0
    for place in range(start, start + 8):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, place + 1
    value = value << 8 | data[start + 8]
    return value - (1 << 64) if value >> 63 else value, start + 9


def fields(payload: bytes) -> list[Field]:
    """The columns of a record; raises DamageError or IndexError."""
    header, place = varint(payload, 0)
    body = header
    found: list[Field] = []
    if header > len(payload):
        raise DamageError
    while place < header:
        kind, place = varint(payload, place)
        value, body = _field(payload, kind, body)
        found.append(value)
    if body != len(payload):
        raise DamageError
    return found


def _field(payload: bytes, kind: int, start: int) -> tuple[Field, int]:
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], start
    if kind in _INTEGER_BYTES:
        end = start + _INTEGER_BYTES[kind]
        return int.from_bytes(payload[start:end], "big", signed=True), end
    if kind < FIRST_BYTES_KIND:
        raise DamageError  # a float, which no table of ours has, or a reserved kind
    end = start + (kind - FIRST_BYTES_KIND) // 2
    return payload[start:end], end


def _map(path: Path) -> mmap.mmap | bytes:
    """The file's bytes without reading them; empty where there is no such file."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # ValueError: the file is empty
        return b""
