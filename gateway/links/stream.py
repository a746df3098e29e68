"""One peer on a stream: a serial port or a TCP connection, with bounds both ways.

The transport's callbacks only fill a small buffer; one coroutine a peer hands it on, so that a
gateway that is behind stops reading, and a busy peer takes turns with the others.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import cast

from gateway.links.base import LinkHost, PeerHandler
from gateway.reasons import reason

READ_BYTES = 16 * 1024  # a peer's bytes that wait here; then reading pauses
TURN_BYTES = 1024  # handed on before the others have their turn: some 10 frames, a millisecond
WRITE_BYTES = 256 * 1024  # unsent bytes; a peer that lets more pile up does not read
LINGER_S = 2.0  # what is unsent when we hang up may take so long
RELEASE_S = 5.0  # a driver of the system that takes longer to close is left behind


class StreamPeer(asyncio.BufferedProtocol, asyncio.Protocol):
    """The far end of a stream. ``buffer`` may be shared by all peers of one event loop.

    A socket's transport fills the buffer, a serial port's hands out bytes: this understands both.
    """

    def __init__(self, name: str, host: LinkHost, buffer: memoryview) -> None:
        self._name = name
        self._host = host
        self._buffer = buffer
        self._pending = bytearray()
        self._transport: asyncio.Transport | None = None
        self._wake = asyncio.Event()
        self._released = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._is_hung_up = False
        self._why: str | None = None

    @property
    def name(self) -> str:
        """A device path or ``address:port``."""
        return self._name

    def rename(self, name: str) -> None:
        """Give the name that is known only once the connection stands."""
        self._name = name

    # What the gateway does to the peer.

    def write(self, frames: Sequence[bytes]) -> None:
        """Send frames in order; hangs up when more than ``WRITE_BYTES`` stay unsent."""
        if self._transport is None or self._is_hung_up or self._transport.is_closing():
            return
        self._transport.write(b"".join(frames))
        unsent = self._transport.get_write_buffer_size()
        if unsent > WRITE_BYTES:
            self._host.dropped("slow_reader")
            self.abort(f"does not read ({unsent} bytes unsent)")

    def close(self, why: str) -> None:
        """Hang up; what was written before is still sent, for ``LINGER_S`` at most.

        Until the peer hangs up too, what it sends is read and forgotten: a socket closed over
        unread bytes is reset, and a reset may overtake our last words.
        """
        if self._hang_up(why) and self._transport is not None:
            self._forget_pending()
            self._resume()
            self._transport.write_eof()
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._end)

    def abort(self, why: str) -> None:
        """Hang up at once; unsent bytes are given up."""
        if self._hang_up(why):
            self._end()

    def _end(self) -> None:
        if self._transport is not None and not self._released.is_set():
            self._transport.abort()

    def _hang_up(self, why: str) -> bool:
        if self._is_hung_up or self._released.is_set():
            return False
        self._is_hung_up = True
        self._why = self._why or why
        self._wake.set()
        return True

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is open."""
        self._transport = cast("asyncio.Transport", transport)  # a stream's is always duplex
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport puts what it reads; emptied before anybody else can fill it."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """A TCP transport has filled the buffer."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """A serial transport has read."""
        if self._is_hung_up:
            self._host.dropped("hung_up")
            return
        self._pending += data
        self._wake.set()
        if len(self._pending) >= READ_BYTES and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The far end has nothing more to say; the transport closes itself."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is closed and its descriptor released."""
        self._why = self._why or ("closed by the peer" if error is None else reason(error))
        if self._linger is not None:
            self._linger.cancel()
        self._released.set()
        self._wake.set()

    # The peer's life.

    async def meet(self) -> str:
        """Ask the host for a handler and feed it until the peer is gone; returns why.

        The handler's ``lost`` is called once and everything is released, also on cancellation.
        """
        try:
            handler = self._host.peer(self)
            if handler is None:
                return "not wanted"
            try:
                await self._feed(handler)
            finally:
                self._settle(handler)
        except BaseException:
            self._end()  # no lingering
            raise
        finally:
            await self.release()
        return self._why or "stopped"

    def _settle(self, handler: PeerHandler) -> None:
        self._forget_pending()
        self._why = self._why or "stopped"
        handler.lost(self._why)

    def _forget_pending(self) -> None:
        if self._pending:
            self._host.dropped("hung_up")
            self._pending.clear()

    async def _feed(self, handler: PeerHandler) -> None:
        while not self._is_hung_up:
            if self._pending:
                await handler.room()
                data = bytes(self._pending[:TURN_BYTES])
                del self._pending[:TURN_BYTES]
                if data:  # nothing is left where the peer was hung up on meanwhile
                    handler.received(data)
                self._resume()
                if self._pending:
                    await asyncio.sleep(0)
            elif self._released.is_set():
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _resume(self) -> None:
        if self._is_paused and self._transport is not None and len(self._pending) < READ_BYTES:
            self._is_paused = False
            self._transport.resume_reading()

    async def release(self) -> None:
        """Close what is still open and wait until its descriptor is given back."""
        if self._transport is None:
            return
        self.abort("stopped")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await self._released.wait()
