"""A serial port by its stable path: opened exclusively, 8N1, opened again when it comes back.

pyserial opens and configures the port, pyserial-asyncio-fast hangs it on the event loop. The calls
that move bytes are ours, because pyserial's own are not fit for an event loop; ``Port`` says why.
"""

import asyncio
import contextlib
import errno
import grp
import os
import stat
import termios
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

import serial
import serial_asyncio_fast

from gateway.clock import Clock
from gateway.errors import LinkError
from gateway.links.base import LinkHost
from gateway.links.stream import StreamPeer
from gateway.reasons import errno_of, reason

LOOK_S = 0.4  # how often the path is looked at; two misses in a row mean that the port is gone
CHUNK_BYTES = 4096  # a tty hands out at most so much at once


class Port(serial.Serial):
    """pyserial's port with reads and writes that never wait.

    The library's ``read`` goes through ``select``, which fails for descriptors from 1024 on (a
    town's TCP peers use them up); its ``write`` turns in a loop, holding the event loop, while the
    far end takes nothing. ``flush`` would hold a thread for as long, and ``close`` up to 30 s.
    """

    broken: OSError | None = None  # a write failed; reported here, since reads may not notice

    def read(self, size: int = 1, /) -> bytes:
        """What is there, up to ``CHUNK_BYTES``; b"" where nothing is. Raises when hung up."""
        try:
            data = os.read(self.fileno(), max(size, CHUNK_BYTES))
        except BlockingIOError:
            return b""
        except OSError as error:
            raise serial.SerialException(error.errno, error.strerror) from error
        if not data:  # a tty without its device is readable for ever and gives nothing
            raise serial.SerialException(errno.EIO, "hung up")
        return data

    def write(self, b: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override] # narrower: what the transport passes
        """Send what fits; raises BlockingIOError where nothing does."""
        try:
            return os.write(self.fileno(), b)
        except BlockingIOError:
            raise
        except OSError as error:
            self.broken = self.broken or error
            return len(b)  # nobody will ever get them

    def flush(self) -> None:
        """Do not wait: a dead adapter would hold the thread."""

    def close(self) -> None:
        """Close without waiting for unsent bytes."""
        if self.is_open:
            with contextlib.suppress(OSError, termios.error):  # it may be gone already
                termios.tcflush(self.fileno(), termios.TCOFLUSH)
        super().close()


class SerialPeer(StreamPeer):
    """Whatever is at the other end of the cable."""

    def close(self, why: str) -> None:
        """Hang up at once: closing a port waits for nobody."""
        self.abort(why)

    def _end(self) -> None:
        # This transport, unlike a socket's, must not be ended twice.
        if self._transport is not None and not self._transport.is_closing():
            super()._end()


class SerialLink:
    """One serial port with one peer.

    Args:
        port: device path; a link below ``/dev/serial/by-id`` survives renumbering.
        baud: bits per second.
        clock: paces the look at the path.
    """

    def __init__(self, port: str, baud: int, clock: Clock) -> None:
        self._port = port
        self._baud = baud
        self._clock = clock

    @property
    def place(self) -> str:
        """``serial /dev/…``."""
        return f"serial {self._port}"

    async def run(self, host: LinkHost) -> NoReturn:
        """Open the port and feed its one peer until it breaks; raises LinkError saying why."""
        port = await self._open()
        peer = SerialPeer(self._port, host, memoryview(b""))
        loop = asyncio.get_running_loop()
        transport, _ = await serial_asyncio_fast.connection_for_serial(loop, lambda: peer, port)
        peer.connection_made(transport)  # told again in the loop's next turn, too late for us
        try:
            device = os.fstat(port.fileno()).st_rdev
            host.opened()
            async with asyncio.TaskGroup() as group:
                look = group.create_task(self._look(peer, port, device), name=f"look {self._port}")
                why = await peer.meet()
                look.cancel()
        finally:
            await peer.release()
        raise LinkError(f"{self.place}: {why}")

    async def _look(self, peer: SerialPeer, port: Port, device: int) -> None:
        """Notice what reads do not tell: a failed write, a path that now means another device."""
        misses = 0
        while True:
            await self._clock.sleep(LOOK_S)
            if port.broken is not None:
                peer.abort(reason(port.broken))
            misses = 0 if _device_of(self._port) == device else misses + 1
            if misses > 1:
                peer.abort("gone (its path is no longer there)")

    async def _open(self) -> Port:
        # Opening may wait for the device; a thread of its own, gone afterwards, waits for it.
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"open {self._port}")
        opening = thread.submit(partial(_open_port, self._port, self._baud))
        thread.shutdown(wait=False)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        except (OSError, ValueError) as error:
            raise LinkError(f"{self.place}: {explain_open(self._port, error)}") from error


def _open_port(path: str, baud: int) -> Port:
    return Port(path, baud, timeout=0, write_timeout=0, exclusive=True)


def _close_unwanted(opening: Future[Port]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _device_of(path: str) -> int | None:
    try:
        return os.stat(path).st_rdev  # noqa: PTH116 - one system call, forty times a minute a port
    except OSError:
        return None


def explain_open(path: str, error: BaseException) -> str:
    """Why ``path`` could not be opened, and what a technician does about it."""
    what = reason(error)
    number = errno_of(error)
    if number in (errno.EACCES, errno.EPERM):
        return f"{what}; {_group_advice(path)}"
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"{what}; 'fuser -v {path}' names it"
    return what


def _group_advice(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError:
        return "a folder on its path is closed to the service's user"
    if not status.st_mode & stat.S_IRGRP or not status.st_mode & stat.S_IWGRP:
        return 'its group may not read and write it; a udev rule with MODE="0660" helps'
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return f"add the service's user to the group {group!r} and start the service again"
