"""Tells every open page what has changed, and waits for none of them.

Changes are gathered once for all viewers: emergencies go out immediately, units and links at most
twice a second, each message encoded once. A viewer's queue is bounded in bytes; who falls behind is
cut off and comes back to a fresh snapshot.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

import msgspec
import structlog

from gateway.clock import Clock
from gateway.desk.payloads import SeenLink, State
from gateway.desk.ports import Change, Changes, Feed, LiveView
from gateway.errors import GatewayError
from gateway.eventlog.accounts import Role
from gateway.eventlog.store import EventLog
from gateway.model.events import to_json
from gateway.model.identity import EventId
from gateway.model.views import ChannelView, LinkView

log = structlog.get_logger("gateway.desk")

FLUSH_S = 0.5  # units and links are told at most this often
HEARTBEAT_S = 2.0
MAX_QUEUED = 1024 * 1024  # bytes waiting for one viewer
UNITS_A_MESSAGE = 200  # about 80 KiB
UNITS_A_FLUSH = 1000
MAX_VIEWERS = 100
MAX_VIEWERS_A_SESSION = 8

LinkSight = Literal["none", "state", "whole"]


def link_sight(roles: Iterable[Role]) -> LinkSight:
    """How much of a link these roles may see."""
    if {"technician", "admin"} & set(roles):
        return "whole"
    return "state" if "dispatcher" in roles else "none"


def seen_links(links: Sequence[LinkView], sight: LinkSight) -> list[SeenLink] | msgspec.UnsetType:
    """The links as far as they may be seen; UNSET for nothing."""
    if sight == "whole":
        return [SeenLink(**msgspec.structs.asdict(link)) for link in links]
    if sight == "none":
        return msgspec.UNSET
    return [
        SeenLink(link_id=link.link_id, driver=link.driver, state=link.state, since=link.since)
        for link in links
    ]


class Viewer:
    """One open stream: what waits to be sent to it."""

    def __init__(self, session_hash: str, sight: LinkSight) -> None:
        self.session_hash = session_hash
        self.sight = sight
        self.end: str | None = None  # why it ends, once it does
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._wake = asyncio.Event()

    def offer(self, message: bytes) -> bool:
        """Queue a message; False where the viewer is too slow, and is cut off."""
        if self.end is not None:
            return True
        if self._queued + len(message) > MAX_QUEUED:
            self._queue.clear()
            self._queued = 0
            self.finish("slow")
            return False
        self._queue.append(message)
        self._queued += len(message)
        self._wake.set()
        return True

    def finish(self, why: str) -> None:
        """End the stream after what is queued."""
        if self.end is None:
            self.end = why
        self._wake.set()

    async def next(self) -> bytes | None:
        """The next message; None at the end."""
        while not self._queue:
            if self.end is not None:
                return None
            self._wake.clear()
            await self._wake.wait()
        message = self._queue.popleft()
        self._queued -= len(message)
        return message


class Hub:
    """All viewers; see the module's docstring."""

    def __init__(
        self,
        *,
        live: LiveView,
        feed: Feed,
        clock: Clock,
        eventlog: EventLog,
        state: Callable[[LinkSight], State],
        audit_ok: Callable[[], bool],
    ) -> None:
        self._live = live
        self._feed = feed
        self._clock = clock
        self._eventlog = eventlog
        self._state = state
        self._audit_ok = audit_ok
        self._viewers: set[Viewer] = set()
        self._unit_keys: dict[str, None] = {}
        self._link_ids: dict[str, None] = {}
        self._told_gateway: tuple[bool, str | None, bool] | None = None
        self._told_airtime: list[ChannelView] = []
        self._due_mono = 0.0
        self.viewers_cut_off = 0

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._viewers)

    async def run(self) -> None:
        """Pass changes on until cancelled."""
        with self._feed.subscribe() as changes:
            while True:
                try:
                    await self._step(changes)
                except Exception:  # a mistake in what is shown must not stop what is received
                    log.exception("desk_hub_failed")
                    await self._clock.sleep(FLUSH_S)

    async def beat(self) -> None:
        """Heartbeats, and the end of streams whose session has ended; until cancelled."""
        while True:
            await self._clock.sleep(HEARTBEAT_S)
            self._tell(_message("heartbeat", {"now": self._clock.now()}))
            self._tell_airtime()
            await self._end_dead_sessions()

    async def stream(self, session_hash: str, sight: LinkSight) -> AsyncGenerator[bytes, None]:
        """Everything one page is told, from the snapshot to the end."""
        viewer = Viewer(session_hash, sight)
        self._viewers.add(viewer)
        try:
            for message in self._snapshot(sight):
                yield message
            while (queued := await viewer.next()) is not None:
                yield queued
            yield _message("bye", {"why": viewer.end or "stopping"})
        finally:
            self._viewers.discard(viewer)

    def has_room(self, session_hash: str) -> bool:
        """True where one more stream of this session is within the limits."""
        mine = sum(viewer.session_hash == session_hash for viewer in self._viewers)
        return len(self._viewers) < MAX_VIEWERS and mine < MAX_VIEWERS_A_SESSION

    def end_session(self, session_hash: str) -> None:
        """Signed out: its streams end."""
        for viewer in self._viewers:
            if viewer.session_hash == session_hash:
                viewer.finish("signed_out")

    def finish(self) -> None:
        """The desk stops: every stream says so and ends."""
        for viewer in self._viewers:
            viewer.finish("stopping")

    async def _step(self, changes: Changes) -> None:
        wait_s = max(0.0, self._due_mono - self._clock.monotonic())
        if await changes.wait_urgent(min(wait_s, FLUSH_S)):
            self._take(changes.drain_urgent())
        if self._clock.monotonic() >= self._due_mono:
            self._due_mono = self._clock.monotonic() + FLUSH_S
            self._take(changes.drain())
            self._flush()

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.kind == "emergency":
                emergency = self._live.emergency(EventId(change.key))
                if emergency is not None:
                    self._tell(_message("emergency", {"emergency": emergency}))
            elif change.kind == "command":
                command = self._live.command(EventId(change.key))
                if command is not None:
                    message = _message("command", {"command": command})
                    self._tell(message, "state")
                    self._tell(message, "whole")
            elif change.kind == "unit":
                self._unit_keys[change.key] = None
            elif change.kind == "link":
                self._link_ids[change.key] = None

    def _flush(self) -> None:
        self._flush_gateway()
        self._flush_units()
        if self._link_ids:
            ids, self._link_ids = self._link_ids, {}
            links = [link for link in self._live.links() if link.link_id in ids]
            for sight in ("state", "whole"):
                shown = seen_links(links, sight)
                self._tell(_message("links", {"links": shown}), sight)

    def _flush_gateway(self) -> None:
        """Whether events are accepted is asked, not waited for: it must not depend on the feed."""
        gateway = self._live.gateway()
        audit_ok = self._audit_ok()
        now_told = (gateway.is_accepting, gateway.why, audit_ok)
        if self._told_gateway is not None and now_told != self._told_gateway:
            self._tell(_message("gateway", {"gateway": gateway, "audit_ok": audit_ok}))
        self._told_gateway = now_told

    def _tell_airtime(self) -> None:
        """What is promised moves with every alarm and every turn; a heartbeat is often enough."""
        gateway = self._live.gateway()
        if gateway.airtime != self._told_airtime:
            self._told_airtime = gateway.airtime
            self._tell(_message("gateway", {"gateway": gateway, "audit_ok": self._audit_ok()}))

    def _flush_units(self) -> None:
        """Oldest changes first, and not more at once than a viewer's queue can hold."""
        keys = list(islice(self._unit_keys, UNITS_A_FLUSH))
        for key in keys:
            del self._unit_keys[key]
        if not self._viewers:
            return
        views = [view for key in keys if (view := self._live.unit(key)) is not None]
        for start in range(0, len(views), UNITS_A_MESSAGE):
            self._tell(_message("units", {"units": views[start : start + UNITS_A_MESSAGE]}))

    def _tell(self, message: bytes, sight: LinkSight | None = None) -> None:
        for viewer in self._viewers:
            if (sight is None or viewer.sight == sight) and not viewer.offer(message):
                self.viewers_cut_off += 1
                log.info("desk_viewer_cut_off", why="did not read", viewers=len(self._viewers))

    def _snapshot(self, sight: LinkSight) -> Iterator[bytes]:
        """The state in pieces, encoded as they are read: a big town never waits in memory."""
        state = self._state(sight)
        units = state.units
        first = msgspec.structs.replace(
            state, units=units[:UNITS_A_MESSAGE], units_total=len(units)
        )
        yield _message("snapshot", first)
        for start in range(UNITS_A_MESSAGE, len(units), UNITS_A_MESSAGE):
            yield _message("units", {"units": units[start : start + UNITS_A_MESSAGE]})

    async def _end_dead_sessions(self) -> None:
        hashes = {viewer.session_hash for viewer in self._viewers}
        if not hashes:
            return
        try:
            ended = await self._eventlog.ended_sessions(hashes)
        except GatewayError:  # the log is busy or broken: nobody loses the alarms for that
            return
        for session_hash in ended:
            self.end_session(session_hash)


def _message(name: str, data: object) -> bytes:
    """One message of the stream; JSON holds no raw line end, so that one line carries it."""
    return b"event: " + name.encode() + b"\ndata: " + to_json(data) + b"\n\n"
