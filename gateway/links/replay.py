"""A recording, or a file of raw bytes, played as a link."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from gateway.clock import Clock
from gateway.errors import LinkError
from gateway.links.base import LinkHost, PeerHandler
from gateway.links.recording import Damaged, Entry, read_entries, read_header
from gateway.reasons import reason

RAW_CHUNK_BYTES = 512
BITS_PER_BYTE = 10  # on a serial line: start bit, 8 bits, stop bit
END = "end of the recording"


class ReplayPeer:
    """Somebody who spoke when the recording was made. What is said to them is heard by nobody."""

    def __init__(self, name: str, stage: "_Stage") -> None:
        self._name = name
        self._stage = stage
        self.why: str | None = None  # set once we have hung up

    @property
    def name(self) -> str:
        """As in the recording."""
        return self._name

    def write(self, frames: Sequence[bytes]) -> None:
        """Throw the frames away: a recording cannot answer."""

    def close(self, why: str) -> None:
        """Hear no more of this peer until the recording opens it again."""
        self._stage.hang_up(self, why)


class ReplayLink:
    """Plays a file once, then stays open and silent until cancelled.

    Args:
        file: a recording, or raw bytes as received.
        speed: 1 for the original timing, 2 for twice as fast, 0 for as fast as the gateway can.
        baud: pace of a raw file, which knows no times: that of a serial line of so many bits/s.
        clock: paces the play.
    """

    def __init__(self, file: Path, *, speed: float, baud: int, clock: Clock) -> None:
        self._file = file
        self._speed = speed
        self._bytes_per_s = baud / BITS_PER_BYTE
        self._clock = clock
        self.finished = asyncio.Event()  # everything was played

    @property
    def place(self) -> str:
        """``replay file``."""
        return f"replay {self._file}"

    async def run(self, host: LinkHost) -> NoReturn:
        """Play, then wait for the end; raises LinkError where the file cannot be read."""
        try:
            file = self._file.open("rb")
        except OSError as error:
            raise LinkError(f"{self.place}: {reason(error)}") from error
        stage = _Stage(host)
        with file:
            try:
                is_recording = read_header(file) is not None
                host.opened()
                if is_recording:
                    await self._play(file, stage, host)
                else:
                    await self._play_raw(file, stage)
            except OSError as error:
                raise LinkError(f"{self.place}: {reason(error)}") from error
            finally:
                stage.clear(END)
        self.finished.set()
        await asyncio.get_running_loop().create_future()  # until cancelled
        raise LinkError(f"{self.place}: stopped")

    async def _play(self, file: BinaryIO, stage: "_Stage", host: LinkHost) -> None:
        began_mono = self._clock.monotonic()
        for entry in read_entries(file):
            if isinstance(entry, Damaged):
                host.dropped("damaged_line")
                continue
            await self._wait_until(began_mono, entry.t)
            await stage.perform(entry)

    async def _play_raw(self, file: BinaryIO, stage: "_Stage") -> None:
        began_mono = self._clock.monotonic()
        name = self._file.name
        sent = 0
        while data := file.read(RAW_CHUNK_BYTES):
            sent += len(data)
            await self._wait_until(began_mono, sent / self._bytes_per_s)
            await stage.perform(Entry(t=0.0, peer=name, dir="rx", hex=data.hex()))

    async def _wait_until(self, began_mono: float, second: float) -> None:
        """Wait for a second of the recording's own time; always lets others have their turn."""
        pause_s = 0.0
        if self._speed > 0:
            pause_s = began_mono + second / self._speed - self._clock.monotonic()
        if pause_s > 0:
            await self._clock.sleep(pause_s)
        else:
            await asyncio.sleep(0)


class _Stage:
    """The peers of a recording and their handlers."""

    def __init__(self, host: LinkHost) -> None:
        self._host = host
        self._here: dict[str, tuple[ReplayPeer, PeerHandler]] = {}
        self._hung_up: set[str] = set()

    async def perform(self, entry: Entry) -> None:
        """Do what one entry says; what we sent ourselves is passed over."""
        if entry.dir == "open":
            self._leave(entry.peer, "opened again")
            self._hung_up.discard(entry.peer)
            self._enter(entry.peer)
        elif entry.dir == "lost":
            self._leave(entry.peer, entry.why or END)
        elif entry.dir == "rx":
            await self._say(entry.peer, entry.data)

    async def _say(self, name: str, data: bytes) -> None:
        if name in self._hung_up:
            self._host.dropped("hung_up")
            return
        handler = self._here[name][1] if name in self._here else self._enter(name)
        if handler is not None:
            handler.received(data)
            await handler.room()

    def _enter(self, name: str) -> PeerHandler | None:
        peer = ReplayPeer(name, self)
        handler = self._host.peer(peer)
        if handler is None:
            return None
        self._here[name] = (peer, handler)
        if peer.why is not None:  # it was hung up on while it was being introduced
            self._leave(name, peer.why)
            return None
        return handler

    def _leave(self, name: str, why: str) -> None:
        entry = self._here.pop(name, None)
        if entry is not None:
            peer, handler = entry
            peer.why = peer.why or why
            handler.lost(peer.why)

    def hang_up(self, peer: ReplayPeer, why: str) -> None:
        """The gateway wants no more of ``peer``; its handler is told in the loop's next turn."""
        if peer.why is None:
            peer.why = why
            self._hung_up.add(peer.name)
            asyncio.get_running_loop().call_soon(self._leave, peer.name, why)

    def clear(self, why: str) -> None:
        """Everybody leaves."""
        for name in tuple(self._here):
            self._leave(name, why)
