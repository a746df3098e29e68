"""A serial port that can be pulled out and put back: a pseudo-terminal behind a stable path.

A pty has no modem lines and ignores the baud rate: what depends on them needs the bench.
"""

import asyncio
import contextlib
import os
import random
import tty
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 4096


class PtyPort:
    """The device's end of a serial port whose other end the gateway opens at ``path``.

    ``unplug`` does what pulling an adapter does: reads at the other end fail at once and the path
    is gone. ``plug`` makes a new port and puts the path there in one step.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost_bytes = 0  # written while nobody was there to read them, or while unplugged
        self._device_fd: int | None = None
        self._gateway_fd: int | None = None
        self._take: Callable[[bytes], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_plugged(self) -> bool:
        """True while the path leads to a port."""
        return self._device_fd is not None

    def plug(self) -> None:
        """Put the port in; harmless where it is in already."""
        if self._device_fd is not None:
            return
        self._device_fd, self._gateway_fd = os.openpty()
        # Our copy of the gateway's end keeps the port alive between two openings, as a cable does.
        tty.setraw(self._gateway_fd)
        os.set_blocking(self._device_fd, False)
        beside = self.path.with_name(f".{self.path.name}.new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.ttyname(self._gateway_fd))
        beside.replace(self.path)
        self._watch()

    def unplug(self) -> None:
        """Pull the port out; harmless where it is out already."""
        if self._device_fd is None or self._gateway_fd is None:
            return
        self.path.unlink(missing_ok=True)
        self._unwatch()
        device_fd, gateway_fd = self._device_fd, self._gateway_fd
        self._device_fd = self._gateway_fd = None
        os.close(gateway_fd)
        os.close(device_fd)  # hangs up the gateway's end

    async def replug(self, out_s: float) -> None:
        """Pull the port out and put it back after ``out_s`` seconds."""
        self.unplug()
        await asyncio.sleep(out_s)
        self.plug()

    def listen(self, take: Callable[[bytes], None] | None) -> None:
        """Hand whatever the gateway writes to ``take``, from the running event loop; None stops.

        Goes on over unplugging and plugging.
        """
        self._unwatch()
        self._take = take
        self._loop = asyncio.get_running_loop() if take is not None else None
        self._watch()

    def write(self, data: bytes) -> None:
        """Send to the gateway. As on a cable, what nobody takes is lost; it is counted."""
        taken = 0
        if self._device_fd is not None:
            with contextlib.suppress(BlockingIOError):
                taken = os.write(self._device_fd, data)
        self.lost_bytes += len(data) - taken

    def _watch(self) -> None:
        if self._loop is not None and self._device_fd is not None:
            self._loop.add_reader(self._device_fd, self._read)

    def _unwatch(self) -> None:
        if self._loop is not None and self._device_fd is not None:
            self._loop.remove_reader(self._device_fd)

    def _read(self) -> None:
        if self._device_fd is None or self._take is None:
            return
        with contextlib.suppress(BlockingIOError):
            self._take(os.read(self._device_fd, READ_BYTES))


class LineNoise:
    """Flips bits as a bad cable does: each with probability ``bit_error_rate``, by seed."""

    def __init__(self, bit_error_rate: float, seed: int) -> None:
        self._rate = bit_error_rate
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._next = self._gap()
        self.flipped = 0

    def __call__(self, data: bytes) -> bytes:
        """``data`` after the cable."""
        bits = len(data) * 8
        if self._next >= bits:
            self._next -= bits
            return data
        noisy = bytearray(data)
        while self._next < bits:
            noisy[self._next // 8] ^= 1 << (self._next % 8)
            self.flipped += 1
            self._next += self._gap()
        self._next -= bits
        return bytes(noisy)

    def _gap(self) -> int:
        """Bits until the next error: at least one, on average 1/rate."""
        if self._rate <= 0:
            return 1 << 62
        return 1 + int(self._random.expovariate(self._rate))
