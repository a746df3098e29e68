"""Record a link to a file, and play a file through a driver: the technician's magnetic tape."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drivers.api import Codec, Driver, Moment, Output
from gateway.catalog import Catalog
from gateway.check import check
from gateway.clock import SystemClock
from gateway.decode import facts
from gateway.errors import ConfigError, LinkError
from gateway.links.base import Peer
from gateway.links.factory import make_link
from gateway.links.recording import Recorder, RecordingHost
from gateway.links.replay import ReplayLink
from gateway.model.quantities import Instant

Tell = Callable[[str], None]


class Played(NamedTuple):
    """How many bytes a replay has played, and how many facts it has shown."""

    size: int
    facts: int


class _Talker:
    """Keeps a conversation going so that there is something to record; stores and accepts nothing.

    A radio whose reports nobody accepts repeats them: the recording shows that, as it happened.
    """

    def __init__(self, codec: Codec, peer: Peer, host: "_Host") -> None:
        self._codec = codec
        self._peer = peer
        self._host = host
        self._show = host.show
        self._clock = SystemClock()
        self._write()

    def received(self, data: bytes) -> None:
        """Bytes from the link."""
        self._host.received_bytes += len(data)
        self._show(self._codec.receive(data, self._now()))
        self._write()

    def lost(self, why: str) -> None:
        """The peer is gone."""
        del why
        self._show(self._codec.flush(self._now()))

    async def room(self) -> None:
        """There is always room."""

    def _write(self) -> None:
        if frames := self._codec.outgoing():
            self._peer.write(frames)

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.now())


class _Host:
    """Runs one link by itself."""

    def __init__(
        self,
        new_codec: Callable[[str], Codec],
        show: Callable[[Sequence[Output]], None],
        tell: Tell,
    ) -> None:
        self._new_codec = new_codec
        self.show = show
        self._tell = tell
        self.received_bytes = 0

    def opened(self) -> None:
        """The link is open."""
        self._tell("open; Ctrl-C ends it")

    def peer(self, peer: Peer) -> _Talker:
        """A peer is there."""
        self._tell(f"peer {peer.name}")
        return _Talker(self._new_codec(peer.name), peer, self)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Something was thrown away."""
        self._tell(f"dropped: {reason}" + (f" ({count})" if count > 1 else ""))

    def stranger(self, name: str, data: bytes) -> None:
        """A datagram of somebody who may not speak here."""
        del data
        self._tell(f"dropped: {name} is not allowed")


def record(config: Path, link_id: str, file: Path, seconds: float, tell: Tell) -> int:
    """Record a link of the settings; returns how many bytes came. ConfigError, LinkError."""
    catalog = Catalog.scan()
    loaded, _, _ = check(config, catalog)
    settings = next((each for each in loaded.settings.link if each.id == link_id), None)
    if settings is None:
        known = ", ".join(each.id for each in loaded.settings.link) or "none"
        raise ConfigError(f"{config}: there is no link {link_id!r}; the links are: {known}")
    driver = catalog.get(settings.driver)
    clock = SystemClock()
    link = make_link(settings, driver, loaded.folder, clock)
    try:
        recorder = Recorder.create(file, clock, link=link_id, driver=driver.name)
    except FileExistsError:
        raise ConfigError(
            f"{file}: is there already and stays as it is; name another file"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror})") from None
    host = _Host(
        lambda peer: catalog.codec(driver.name, settings.options, link_id, peer),
        lambda _outputs: None,
        tell,
    )

    async def listen() -> None:
        async with asyncio.timeout(seconds or None):
            await link.run(RecordingHost(recorder, host))

    try:
        asyncio.run(listen())
    except (TimeoutError, KeyboardInterrupt):
        tell("ended")
    finally:
        recorder.close()
    return host.received_bytes


def replay(
    driver: Driver[Any],
    options: dict[str, Any],
    file: Path,
    speed: float,
    show: Callable[[bytes], None],
) -> Played:
    """Play a file through a driver; ``show`` gets one JSON fact at a time.

    Raises LinkError where the file cannot be read, or holds no byte.
    """
    clock = SystemClock()
    link = ReplayLink(file, speed=speed, baud=driver.serial_baud, clock=clock)

    shown = 0

    def print_facts(outputs: Sequence[Output]) -> None:
        nonlocal shown
        for fact in facts(driver.name, outputs, Instant(clock.now())):
            show(fact)
            shown += 1

    host = _Host(
        lambda peer: driver.new_codec(options, file.stem[:32], peer), print_facts, lambda _: None
    )

    async def listen() -> None:
        playing = asyncio.ensure_future(link.run(host))
        finished = asyncio.ensure_future(link.finished.wait())
        await asyncio.wait((playing, finished), return_when=asyncio.FIRST_COMPLETED)
        playing.cancel()
        finished.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing  # raises what ended it

    try:
        asyncio.run(listen())
    except KeyboardInterrupt:
        return Played(host.received_bytes, shown)
    if not host.received_bytes:
        raise LinkError(
            f"{link.place}: not one byte of a link is in it; name what `pdt-gateway record` wrote "
            "(docs/recording.md), or raw bytes as a radio sent them"
        )
    return Played(host.received_bytes, shown)
