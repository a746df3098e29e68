"""The event stream as an answer: sends what the hub says, notices who has gone or reads no more."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from litestar.types import Receive, Scope, Send

STUCK_S = 15.0  # one write may take this long before the viewer counts as gone


class StreamAnswer:
    """An ASGI answer that lasts until the page goes, the hub ends it, or nobody reads."""

    def __init__(self, messages: AsyncGenerator[bytes, None]) -> None:
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until somebody ends it."""
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"x-accel-buffering", b"no"),  # a proxy must not collect it
                ],
            }
        )
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(scope, send), name="desk stream")
            leaving = group.create_task(_until_gone(receive), name="desk stream end")
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
            leaving.cancel()

    async def _send(self, scope: Scope, send: Send) -> None:
        try:
            async with aclosing(self._messages):
                async for message in self._messages:
                    async with asyncio.timeout(STUCK_S):
                        await send(
                            {"type": "http.response.body", "body": message, "more_body": True}
                        )
            async with asyncio.timeout(STUCK_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            # Closing waits for the peer to read what is buffered, and it does not read.
            abort = scope["state"].get("abort")
            if abort is not None:
                abort()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
