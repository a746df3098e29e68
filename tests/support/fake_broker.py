"""A broker that answers as a test says: which publishes it acknowledges, and when it hangs up.

It knows CONNECT, QoS 1 PUBLISH, PINGREQ and nothing else; what a real broker does is tested with
real ones.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

CONNACK_5_RECEIVE_MAXIMUM = 0x21


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """A TCP server on loopback whose connections end with the block; gives its port."""
    peers: set[asyncio.Task[None]] = set()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peers.add(task)
        try:
            await serve(reader, writer)
        finally:
            peers.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    try:
        async with server:
            yield server.sockets[0].getsockname()[1]
    finally:
        waiting = list(peers)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)  # aborted connections close on the loop's next turn


class FakeBroker:
    """``acknowledge(topic, count)`` decides for each publish; None hangs up."""

    def __init__(
        self,
        acknowledge: Callable[[str, int], bool | None] = lambda _topic, _count: True,
        receive_maximum: int | None = None,
    ) -> None:
        self._acknowledge = acknowledge
        self._receive_maximum = receive_maximum
        self.topics: list[str] = []
        self.unacknowledged = 0
        self.most_unacknowledged = 0
        self.port = 0
        self._held: list[tuple[asyncio.StreamWriter, int, bool]] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeBroker"]:
        """Listen for the length of the block."""
        async with serving(self._serve) as self.port:
            yield self

    def release(self) -> None:
        """Acknowledge what was withheld."""
        for writer, mid, is_5 in self._held:
            _puback(writer, mid, is_5=is_5)
            self.unacknowledged -= 1
        self._held.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_5 = False
        try:
            while True:
                kind, body = await _packet(reader)
                if kind >> 4 == 1:  # CONNECT
                    is_5 = body[6] == 5
                    writer.write(self._connack(is_5=is_5))
                elif kind >> 4 == 3:  # PUBLISH
                    if not self._take(kind, body, writer, is_5=is_5):
                        return
                elif kind >> 4 == 12:  # PINGREQ
                    writer.write(b"\xd0\x00")
                else:
                    return
        except asyncio.IncompleteReadError:
            return

    def _take(self, kind: int, body: bytes, writer: asyncio.StreamWriter, *, is_5: bool) -> bool:
        length = int.from_bytes(body[:2], "big")
        topic = body[2 : 2 + length].decode()
        self.topics.append(topic)
        if not kind & 0x02:
            return True
        mid = int.from_bytes(body[2 + length : 4 + length], "big")
        self.unacknowledged += 1
        self.most_unacknowledged = max(self.most_unacknowledged, self.unacknowledged)
        answer = self._acknowledge(topic, len(self.topics))
        if answer is None:
            return False
        if answer and self._receive_maximum is None:
            self.unacknowledged -= 1
            _puback(writer, mid, is_5=is_5)
        else:
            self._held.append((writer, mid, is_5))
            if answer:  # late, so that a window can be seen to fill
                asyncio.get_running_loop().call_later(0.005, self.release)
        return True

    def _connack(self, *, is_5: bool) -> bytes:
        if not is_5:
            return b"\x20\x02\x00\x00"
        properties = b""
        if self._receive_maximum is not None:
            maximum = self._receive_maximum.to_bytes(2, "big")
            properties = bytes([CONNACK_5_RECEIVE_MAXIMUM]) + maximum
        body = b"\x00\x00" + bytes([len(properties)]) + properties
        return b"\x20" + bytes([len(body)]) + body


def _puback(writer: asyncio.StreamWriter, mid: int, *, is_5: bool) -> None:
    reason = b"\x00\x00" if is_5 else b""
    writer.write(b"\x40" + bytes([2 + len(reason)]) + mid.to_bytes(2, "big") + reason)


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return kind, await reader.readexactly(length)
