"""What a link is, and what it talks to."""

from collections.abc import Sequence
from typing import NoReturn, Protocol, runtime_checkable


class Peer(Protocol):
    """The far end of one conversation: a port, a connection, a datagram's source."""

    @property
    def name(self) -> str:
        """For people: a device path, or ``address:port``."""
        ...

    def write(self, frames: Sequence[bytes]) -> None:
        """Send frames in order (a datagram each on UDP); never waits.

        A peer that does not read is closed when its buffer passes the link's bound.
        """
        ...

    def close(self, why: str) -> None:
        """Hang up; the handler's ``lost`` is called with ``why``. Harmless when already gone."""
        ...


class PeerHandler(Protocol):
    """What a link feeds for each peer; the session implements it."""

    def received(self, data: bytes) -> None:
        """Bytes have come: any split of a stream, or one whole datagram. Never raises."""
        ...

    def lost(self, why: str) -> None:
        """No more bytes will come from this peer. Called once."""
        ...

    async def room(self) -> None:
        """Wait while the gateway is behind; a stream link awaits this before it reads on."""
        ...


class LinkHost(Protocol):
    """Who runs a link; the supervisor implements it."""

    def opened(self) -> None:
        """The port is open, the socket bound or connected."""
        ...

    def peer(self, peer: Peer) -> PeerHandler | None:
        """A peer is there: get its handler, or None when it is not wanted (over a limit)."""
        ...

    def dropped(self, reason: str, count: int = 1) -> None:
        """Bytes or a connection were thrown away before a session saw them: count it."""
        ...

    def stranger(self, name: str, data: bytes) -> None:
        """A datagram from ``name``, which is not allowed to speak here: count it, answer nothing.

        It gets no peer. That it may hold an alarm is the host's business.
        """
        ...


@runtime_checkable
class Calls(Protocol):
    """A link that can speak to somebody who has not spoken to it."""

    def call(self, host: str, port: int) -> None:
        """Have a peer at this address, announced like any other; none where it is not allowed."""
        ...


class Link(Protocol):
    """One way in."""

    @property
    def place(self) -> str:
        """Where it is, for people: ``/dev/serial/by-id/…``, ``udp 127.0.0.1:30003``."""
        ...

    async def run(self, host: LinkHost) -> NoReturn:
        """Open, serve until it breaks, release everything, raise ``LinkError``: which and why.

        The supervisor calls it again after a pause; one call makes one attempt. Cancellation closes
        everything too. Every peer that was announced has its ``lost`` called before this returns.
        """
        ...
