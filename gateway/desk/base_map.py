"""The base map: one file of the site's, whole or by ranges."""

import asyncio
import re
from pathlib import Path
from typing import NamedTuple

MAX_PIECE = 16 * 1024 * 1024  # bytes in one answer to a range
MAX_WHOLE = 64 * 1024 * 1024  # bytes of a file that is sent whole
MEDIA_TYPES = {"geojson": "application/geo+json", "pmtiles": "application/vnd.pmtiles"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


class Piece(NamedTuple):
    """Bytes ``start`` to before ``start + len(body)`` of a file of ``size`` bytes."""

    body: bytes
    start: int
    size: int


class UnsatisfiableError(ValueError):
    """The range lies outside of a file of ``size`` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes")
        self.size = size


async def read_piece(file: Path, wanted: str | None) -> Piece:
    """The whole file, or the one range of a ``Range`` header; an odd header means the whole file.

    Raises OSError where the file cannot be read, UnsatisfiableError for a range outside of it and
    for a file too big to be sent whole.
    """
    return await asyncio.to_thread(_read, file, wanted)


def _read(file: Path, wanted: str | None) -> Piece:
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        bounds = _bounds(wanted, size)
        if bounds is None and size > MAX_WHOLE:
            raise UnsatisfiableError(size)
        start, end = bounds or (0, size)
        opened.seek(start)
        return Piece(opened.read(end - start), start, size)


def _bounds(wanted: str | None, size: int) -> tuple[int, int] | None:
    found = _RANGE.match(wanted or "")
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:  # the last so many bytes
        start, end = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        end = min(size, int(found[2]) + 1) if found[2] else size
    if start >= end:
        raise UnsatisfiableError(size)
    return start, min(end, start + MAX_PIECE)
