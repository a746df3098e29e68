"""A link's host for tests: it keeps what it is told, and can make a link wait."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

from gateway.errors import LinkError
from gateway.links.base import Link, LinkHost, Peer


class Ear:
    """A peer's handler that keeps what it hears."""

    def __init__(self, host: "TinyHost", peer: Peer) -> None:
        self.peer = peer
        self.data = bytearray()
        self.pieces: list[bytes] = []
        self.losses: list[str] = []
        self._host = host

    def received(self, data: bytes) -> None:
        assert not self.losses, "bytes after the peer was lost"
        self.data += data
        self.pieces.append(data)
        self._host.heard(self)

    def lost(self, why: str) -> None:
        self.losses.append(why)
        self._host.changed.set()

    async def room(self) -> None:
        await self._host.room.wait()


class TinyHost:
    """Welcomes up to ``most`` peers."""

    def __init__(
        self, most: int = 1_000_000, *, answer: Callable[[Peer], None] | None = None
    ) -> None:
        self.openings = 0
        self.ears: list[Ear] = []
        self.drops: Counter[str] = Counter()
        self.strangers: list[tuple[str, bytes]] = []
        self.changed = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.on_data: Callable[[Ear], None] | None = None
        self._most = most
        self._answer = answer

    def opened(self) -> None:
        self.openings += 1
        self.changed.set()

    def peer(self, peer: Peer) -> Ear | None:
        if len(self.ears) >= self._most:
            return None
        ear = Ear(self, peer)
        self.ears.append(ear)
        if self._answer is not None:
            self._answer(peer)
        self.changed.set()
        return ear

    def dropped(self, reason: str, count: int = 1) -> None:
        self.drops[reason] += count
        self.changed.set()

    def stranger(self, name: str, data: bytes) -> None:
        self.strangers.append((name, data))
        self.dropped("not_allowed")

    def heard(self, ear: Ear) -> None:
        self.changed.set()
        if self.on_data is not None:
            self.on_data(ear)

    async def until(self, condition: Callable[[], object], within_s: float = 5.0) -> None:
        """Wait until something told to this host makes ``condition`` true."""
        async with asyncio.timeout(within_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def present(self) -> list[Ear]:
        return [ear for ear in self.ears if not ear.losses]

    def assert_every_peer_was_lost_once(self) -> None:
        assert [len(ear.losses) for ear in self.ears] == [1] * len(self.ears)


async def attempt(link: Link, host: LinkHost) -> str:
    """Run ``link`` once; what its LinkError said."""
    try:
        await link.run(host)
    except LinkError as error:
        return str(error)


@contextlib.asynccontextmanager
async def running(link: Link, host: TinyHost) -> AsyncIterator["asyncio.Task[str]"]:
    """``link`` opened and running; the task gives the words of its LinkError, if it breaks."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(attempt(link, host))
        task.add_done_callback(lambda _: host.changed.set())
        try:
            await host.until(lambda: host.openings or task.done())
            yield task
        finally:
            task.cancel()
    host.assert_every_peer_was_lost_once()


async def eventually(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Look again and again, for things that tell nobody when they change."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def shout(frames: Sequence[bytes]) -> Callable[[Peer], None]:
    """For ``TinyHost(answer=…)``: say this to every peer on meeting it."""
    return lambda peer: peer.write(frames)
