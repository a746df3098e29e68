"""paho-mqtt on the event loop: asyncio moves the bytes, paho speaks the protocol.

paho drives a plain socket: it connects and shakes hands for TLS while everything waits, reads a
PUBACK in three system calls and sends every packet with one. Here asyncio owns the connection and
shows it to paho as a socket that never blocks, so that connecting can be cancelled, TLS has no
bytes that a ``select`` would not see, and a burst of packets leaves in one write
(docs/adr/0003-paho-on-the-event-loop.md has the figures).

The two packets that come with every fix are read and written here: PUBLISH, and the PUBACK that
answers it. paho makes a lock, a property list and two reason codes for each.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties

from gateway.sinks import mqtt_reasons

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import SocketLike


PUBLISH, PUBACK = 0x30, b"\x40"
RETAIN = 0x01
NO_PROPERTIES = b"\0"


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

    @property
    def is_puback_next(self) -> bool:
        """True where the next packet is a PUBACK that has come, or may still come, whole."""
        return self._received[self._read : self._read + 1] == PUBACK and not self._is_gone

    def take_puback(self) -> tuple[int, int] | None:
        """Packet id and reason code of the next packet, a PUBACK; None while it is not whole.

        A success may leave the reason out, and the properties behind it are not needed.
        """
        data, begin = self._received, self._read + 1
        size = shift = 0
        for place in range(begin, min(len(data), begin + 4)):
            size |= (data[place] & 0x7F) << shift
            shift += 7
            if data[place] < 0x80:  # noqa: PLR2004 - the last byte of the length
                body = data[place + 1 : place + 1 + size]
                if len(body) < size:
                    return None
                self._read = place + 1 + size
                return int.from_bytes(body[:2], "big"), int.from_bytes(body[2:3], "big")
        return None

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
        self.acknowledged: Callable[[int, int], None] = lambda _id, _reason: None
        self.after_read: Callable[[], None] = lambda: None  # everything that had come was read
        self._event_loop = asyncio.get_running_loop()
        self.on_socket_register_write = self._want_write
        wire.readable = self._readable

    def _create_socket(self) -> "SocketLike":
        """Use our connection, open none. One of three reaches into paho."""
        return self._wire

    def _want_write(self, *_: object) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._event_loop.call_soon(self._write)

    def _write(self) -> None:
        self._is_flush_due = False
        self.loop_write()
        self._wire.flush()

    def send_publish(
        self,
        topic: str,
        payload: bytes,
        *,
        packet_id: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        """Send a PUBLISH: QoS 1 with a ``packet_id`` of ``next_id``, QoS 0 with none.

        Raises ConnectionError where the connection is gone.
        """
        if self.want_write():
            self.loop_write()  # what paho has to say came first
        name = topic.encode()
        head = len(name).to_bytes(2, "big") + name
        if packet_id:
            head += packet_id.to_bytes(2, "big")
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            head += NO_PROPERTIES if properties is None else properties.pack()
        kind = PUBLISH | (0x02 if packet_id else 0) | (RETAIN if retain else 0)
        size = _variable_length(len(head) + len(payload))
        self._wire.send(b"".join((bytes((kind,)), size, head, payload)))
        self._want_write()

    def next_id(self) -> int:
        """A packet id, from the count that paho uses for its own."""
        return self._mid_generate()

    def _readable(self) -> None:
        """Read every packet that has arrived, or the end."""
        while True:
            if self._in_packet["command"] == 0 and self._wire.is_puback_next:
                found = self._wire.take_puback()  # paho is between two packets
                if found is None:
                    break
                self.acknowledged(*found)
            elif self.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
            if not self._wire.has_unread:
                break
        self.after_read()


def _variable_length(size: int) -> bytes:
    """MQTT's variable byte integer."""
    digits = bytearray()
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    digits.append(size)
    return bytes(digits)
