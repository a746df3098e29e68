"""Recordings: the raw bytes of a link with direction, time and peer, one JSON object a line.

The format is described in ``docs/recording.md``. A recording is written with ``Recorder``, usually
by a ``RecordingHost`` put between a link and its host, and played by ``gateway.links.replay``.
"""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, Self

import msgspec

from gateway.clock import Clock
from gateway.links.base import LinkHost, Peer, PeerHandler

LONGEST_LINE = 512 * 1024  # bytes; the largest piece a link hands on needs a quarter of it
MOST_BYTES = 256 * 1024 * 1024  # a recorder stops here unless told otherwise

Direction = Literal["open", "rx", "tx", "lost"]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what was recorded, when."""

    format: Literal["pdt-recording"]
    version: Literal[1]
    link: str = ""
    driver: str = ""
    started_at: str = ""  # RFC 3339, UTC


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Any other line. ``t`` is seconds since the recording began; ``rx`` came from the peer."""

    t: Annotated[float, msgspec.Meta(ge=0)]
    peer: str
    dir: Direction
    hex: str = ""
    why: str = ""

    @property
    def data(self) -> bytes:
        """The bytes; raises ValueError where ``hex`` is not hexadecimal."""
        return bytes.fromhex(self.hex)


class Damaged(msgspec.Struct, frozen=True):
    """A line that cannot be read; the lines after it still can."""

    line: int  # counted from 1


_entry_decoder = msgspec.json.Decoder(Entry)
_header_decoder = msgspec.json.Decoder(Header)


def read_header(file: BinaryIO) -> Header | None:
    """Read the first line; None, with the file back at its start, where it is no recording."""
    try:
        return _header_decoder.decode(file.readline(LONGEST_LINE))
    except (msgspec.DecodeError, UnicodeDecodeError):
        file.seek(0)
        return None


def read_entries(file: BinaryIO) -> Iterator[Entry | Damaged]:
    """The lines after the header, in order; a line at a time is in memory."""
    number = 1
    while line := file.readline(LONGEST_LINE):
        number += 1
        if not line.endswith(b"\n") and len(line) == LONGEST_LINE:
            _skip_line(file)
            yield Damaged(number)
            continue
        if not line.strip():
            continue
        try:
            entry = _entry_decoder.decode(line)
            bytes.fromhex(entry.hex)
        except (ValueError, msgspec.DecodeError):
            yield Damaged(number)
        else:
            yield entry


def _skip_line(file: BinaryIO) -> None:
    while line := file.readline(LONGEST_LINE):
        if line.endswith(b"\n"):
            return


class Recorder:
    """Writes a recording. Trouble with the file ends the recording, never the link.

    Each entry is handed to the system at once, so that a recording survives the end of the process.
    """

    def __init__(
        self, file: io.FileIO, clock: Clock, *, link: str, driver: str, most_bytes: int = MOST_BYTES
    ) -> None:
        self._file = file
        self._clock = clock
        self._began_mono = clock.monotonic()
        self._room_bytes = most_bytes
        self._stopped: str | None = None
        header = Header(
            format="pdt-recording",
            version=1,
            link=link,
            driver=driver,
            started_at=clock.now().text(),
        )
        self._put(msgspec.json.encode(header) + b"\n")

    @classmethod
    def create(
        cls, path: Path, clock: Clock, *, link: str, driver: str, most_bytes: int = MOST_BYTES
    ) -> Self:
        """Begin a new file that only its owner may read; raises OSError, also where it exists."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = io.FileIO(descriptor, "wb")
        return cls(file, clock, link=link, driver=driver, most_bytes=most_bytes)

    @property
    def stopped(self) -> str | None:
        """Why nothing is recorded any more; None while it is."""
        return self._stopped

    def note(self, direction: Direction, peer: str, data: bytes = b"", why: str = "") -> None:
        """Add one entry at this moment."""
        if self._stopped is not None:
            return
        seconds = round(self._clock.monotonic() - self._began_mono, 6)
        entry = Entry(t=max(seconds, 0.0), peer=peer, dir=direction, hex=data.hex(), why=why)
        self._put(msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        """End the recording."""
        self._stop("closed")

    def _put(self, line: bytes) -> None:
        if len(line) > self._room_bytes:
            self._stop("the file has reached its largest size")
            return
        try:
            written = self._file.write(line)
        except OSError as error:
            self._stop(f"the file cannot be written ({error.strerror})")
            return
        self._room_bytes -= len(line)
        if written != len(line):
            self._stop("no space is left for the file")

    def _stop(self, why: str) -> None:
        if self._stopped is None:
            self._stopped = why
            self._file.close()


class RecordingHost:
    """A link's host that records what passes, and hands it on to ``inner``.

    Without ``inner`` it is the host: every peer is welcome, nothing is answered.
    """

    def __init__(self, recorder: Recorder, inner: LinkHost | None = None) -> None:
        self._recorder = recorder
        self._inner = inner

    def opened(self) -> None:
        """The link is open."""
        if self._inner is not None:
            self._inner.opened()

    def peer(self, peer: Peer) -> PeerHandler | None:
        """A peer is there."""
        self._recorder.note("open", peer.name)
        if self._inner is None:
            return _RecordingHandler(self._recorder, peer.name, None)
        handler = self._inner.peer(_RecordedPeer(self._recorder, peer))
        if handler is None:
            self._recorder.note("lost", peer.name, why="not wanted")
            return None
        return _RecordingHandler(self._recorder, peer.name, handler)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Something was thrown away before anybody saw it."""
        if self._inner is not None:
            self._inner.dropped(reason, count)

    def stranger(self, name: str, data: bytes) -> None:
        """A datagram of somebody who may not speak here; it is not recorded."""
        if self._inner is not None:
            self._inner.stranger(name, data)


class _RecordedPeer:
    """A peer whose outgoing frames are recorded."""

    def __init__(self, recorder: Recorder, peer: Peer) -> None:
        self._recorder = recorder
        self._peer = peer

    @property
    def name(self) -> str:
        """The peer's own name."""
        return self._peer.name

    def write(self, frames: Sequence[bytes]) -> None:
        """Record and send."""
        for frame in frames:
            self._recorder.note("tx", self._peer.name, frame)
        self._peer.write(frames)

    def close(self, why: str) -> None:
        """Hang up."""
        self._peer.close(why)


class _RecordingHandler:
    """Records what a peer sends."""

    def __init__(self, recorder: Recorder, name: str, inner: PeerHandler | None) -> None:
        self._recorder = recorder
        self._name = name
        self._inner = inner

    def received(self, data: bytes) -> None:
        """Record and hand on."""
        self._recorder.note("rx", self._name, data)
        if self._inner is not None:
            self._inner.received(data)

    def lost(self, why: str) -> None:
        """Record and hand on."""
        self._recorder.note("lost", self._name, why=why)
        if self._inner is not None:
            self._inner.lost(why)

    async def room(self) -> None:
        """Wait while the gateway is behind."""
        if self._inner is not None:
            await self._inner.room()
