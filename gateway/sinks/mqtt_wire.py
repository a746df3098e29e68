"""paho-mqtt on the event loop: asyncio moves the bytes, paho speaks the protocol.

paho drives a plain socket: it connects and shakes hands for TLS while everything waits, reads a
PUBACK in three system calls and sends every packet with one. Here asyncio owns the connection and
shows it to paho as a socket that never blocks, so that connecting can be cancelled, TLS has no
bytes that a ``select`` would not see, and a burst of packets leaves in one write
(docs/adr/0003-paho-on-the-event-loop.md has the figures).
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

from gateway.sinks import mqtt_reasons

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import SocketLike


class LoopSocket(asyncio.Protocol):
    """An asyncio connection in the clothes of a non-blocking socket.

    asyncio sets TCP_NODELAY on every TCP connection, so a small publish does not wait for the
    acknowledgement of the one before.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._read = 0
        self._to_send: list[bytes] = []
        self._is_gone = False
        self.why_gone = ""
        self.is_tls_error = False
        self.readable: Callable[[], None] = lambda: None
        self.writable = asyncio.Event()
        self.writable.set()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open, TLS included."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows for mypy
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep the bytes until paho has read them, and let it read now."""
        self._received = self._received[self._read :] + data
        self._read = 0
        self.readable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let paho read the end of the stream."""
        self._is_gone = True
        self.why_gone = "the broker closed the connection"
        if exc is not None:
            self.why_gone = mqtt_reasons.of_error(exc)
            self.is_tls_error = isinstance(exc, ssl.SSLError)
        self.writable.set()
        self.readable()

    def pause_writing(self) -> None:
        """The broker reads slower than we write."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.writable.set()

    # What paho calls.

    def recv(self, buffer_size: int) -> bytes:
        """Up to ``buffer_size`` bytes; b"" at the end; BlockingIOError while there are none."""
        chunk = self._received[self._read : self._read + buffer_size]
        if chunk:
            self._read += len(chunk)
            return chunk
        if self._is_gone:
            return b""
        raise BlockingIOError

    def send(self, buffer: bytes | bytearray) -> int:
        """Keep a packet for the next ``flush``."""
        if self._is_gone:
            raise ConnectionResetError(self.why_gone)
        self._to_send.append(bytes(buffer))
        return len(buffer)

    def close(self) -> None:
        """Send what is waiting, then close."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def fileno(self) -> int:
        """The descriptor, or -1 when there is none."""
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        return sock.fileno() if sock is not None else -1

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the name and form of a socket
        """Nothing to do: this never blocks."""

    # What the client calls.

    @property
    def has_unread(self) -> bool:
        """True while paho has not read everything."""
        return self._read < len(self._received)

    def flush(self) -> None:
        """Hand everything that paho has sent to the connection, in one write."""
        if self._to_send and self._transport is not None:
            self._transport.write(b"".join(self._to_send))
        self._to_send.clear()

    def abort(self) -> None:
        """Close without sending what is waiting."""
        if self._transport is not None:
            self._transport.abort()


class LoopClient(Client):
    """paho's client over a connection that asyncio has opened; one object for one connection.

    A client that reconnects would send again what the outbox offers again anyway, and would put an
    old retained state over a new one; so each connection gets a fresh client.
    """

    def __init__(self, wire: LoopSocket, **options: Any) -> None:
        super().__init__(reconnect_on_failure=False, **options)
        self._wire = wire
        self._is_flush_due = False
        self.after_read: Callable[[], None] = lambda: None  # everything that had come was read
        self._event_loop = asyncio.get_running_loop()
        # paho walks over everything unacknowledged at each PUBACK; MqttClient has a window instead
        self.max_inflight_messages_set(0)
        self.on_socket_register_write = self._want_write
        wire.readable = self._readable

    def _create_socket(self) -> "SocketLike":
        """The one place where this reaches into paho: use our connection, open none."""
        return self._wire

    def _want_write(self, *_: object) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._event_loop.call_soon(self._write)

    def _write(self) -> None:
        self._is_flush_due = False
        self.loop_write()
        self._wire.flush()

    def _readable(self) -> None:
        """Read every packet that has arrived, or the end."""
        result = self.loop_read()
        while result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._wire.has_unread:
            result = self.loop_read()
        self.after_read()
