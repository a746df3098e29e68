"""``check --probe``: what each port answers, once, for a person who has just wired it.

Nothing is stored and no report is acknowledged: a radio that reports while its link is looked at
sends again. Where a protocol has us speak first, or answer a greeting, that is done as in service,
since such a radio says nothing to who says nothing: see ``speaks_first`` of the driver. Where a
gateway runs on the same folder, its links and its broker's session are left alone.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from drivers.api import Codec, Heard, Moment, Reject, Report
from gateway.catalog import Catalog
from gateway.certificates import end_text
from gateway.check import Finding
from gateway.clock import SystemClock
from gateway.errors import ConfigError, GatewayError, LinkError, StoreError
from gateway.links.base import Peer
from gateway.links.factory import make_link
from gateway.model.quantities import Instant
from gateway.outbox.instance_lock import InstanceLock
from gateway.settings import AnyLinkSettings, Loaded
from gateway.sinks.influx import open_writer
from gateway.sinks.mqtt_client import Inbox, Message, MqttClient
from gateway.sinks.mqtt_options import options_from
from gateway.sinks.topics import Topics

SYNCS = 20
SLOW_SYNC_S = 0.1  # an emergency waits for one
SPARE_BYTES = 64 * 1024 * 1024
MANY_DAYS_BYTES = 1024 * 1024 * 1024
NOT_BEFORE = Instant.parse("2024-01-01T00:00:00Z")
UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
MIB = 1024 * 1024
CLOCK = SystemClock()


async def probe(loaded: Loaded, catalog: Catalog, seconds: float) -> list[Finding]:
    """Look at everything that the settings name, links for ``seconds`` each, all at once."""
    data_dir = loaded.path(loaded.settings.site.data_dir)
    found = [*_disk(loaded, data_dir), _clock()]
    running = _running_gateway(data_dir)
    if running:
        found.append(Finding("gateway", f"{running}: its links and its broker were left alone"))
    else:
        links = loaded.settings.link
        found += await asyncio.gather(*(_link(loaded, catalog, one, seconds) for one in links))
        if loaded.settings.mqtt.enabled and not loaded.settings.broker.embedded:
            found += await _broker(loaded)
    if loaded.settings.influx.enabled:
        found.append(await _series(loaded))
    return found


def _running_gateway(data_dir: Path) -> str:
    """Who uses the folder, "" where nobody does."""
    if not (data_dir / "outbox.db.lock").exists():
        return ""
    lock = InstanceLock(data_dir / "outbox.db.lock", data_dir / "outbox.db")
    try:
        lock.acquire()
    except (StoreError, ConfigError) as error:
        return str(error).partition(";")[0]
    lock.release()
    return ""


def _disk(loaded: Loaded, data_dir: Path) -> list[Finding]:
    where = "site.data_dir"
    place = data_dir
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return [Finding(where, f"{place}: may not be written by this user", is_wrong=True)]
    free = shutil.disk_usage(place).free
    least = loaded.settings.outbox.reserve_bytes + SPARE_BYTES
    text = f"{place}: {free // MIB} MiB free"
    found = [Finding(where, text, is_wrong=free < least)]
    if least <= free < MANY_DAYS_BYTES:
        found = [Finding(where, f"{text}; that is little for a month of history")]
    times_s = _sync_times(place)
    worst_s = max(times_s)
    said = (
        f"a commit to disk takes {statistics.median(times_s) * 1e3:.1f} ms, at worst "
        f"{worst_s * 1e3:.1f}"
    )
    found.append(Finding(where, said, is_wrong=statistics.median(times_s) > SLOW_SYNC_S))
    return found


def _sync_times(place: Path) -> list[float]:
    """How long writing a page and its fsync take, seconds."""
    times_s = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(SYNCS):
            began = CLOCK.monotonic()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times_s.append(CLOCK.monotonic() - began)
    return times_s


def _clock() -> Finding:
    now = CLOCK.now()
    if now < NOT_BEFORE:
        return Finding("clock", f"it is {now.text()}: the clock was never set", is_wrong=True)
    state = _is_synchronised()
    told = {
        True: "kept by NTP or a receiver",
        False: "NOT synchronised: set up chrony or systemd-timesyncd",
        None: "whether it is kept by NTP cannot be seen from here",
    }
    return Finding("clock", f"{now.text()}, {told[state]}")


def _is_synchronised() -> bool | None:
    """What the kernel knows; None where it does not tell."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, modes 0: only read
    try:
        library = ctypes.CDLL(None, use_errno=True)
        result = int(library.adjtimex(buffer))
    except (OSError, AttributeError):
        return None
    if result < 0:
        return None
    status = int.from_bytes(buffer.raw[40:44], "little")
    return not status & UNSYNCHRONISED


class _Ear:
    """One peer: counts what its codec makes of the bytes, and accepts nothing."""

    def __init__(self, codec: Codec, peer: Peer, counts: Counter[str]) -> None:
        self._codec = codec
        self._peer = peer
        self._counts = counts
        self._write()

    def received(self, data: bytes) -> None:
        """Bytes from the link."""
        self._counts["bytes"] += len(data)
        now = Moment(CLOCK.monotonic(), CLOCK.now())
        for output in self._codec.receive(data, now):
            if isinstance(output, Report | Heard):
                self._counts["understood"] += 1
            elif isinstance(output, Reject):
                self._counts["refused"] += 1
        self._write()

    def lost(self, why: str) -> None:
        """The peer is gone."""
        self._counts["lost"] += 1
        del why

    async def room(self) -> None:
        """There is always room."""

    def _write(self) -> None:
        if frames := self._codec.outgoing():
            self._peer.write(frames)


class _Host:
    """Runs one link by itself."""

    def __init__(self, catalog: Catalog, link: AnyLinkSettings) -> None:
        self._catalog = catalog
        self._link = link
        self.is_open = False
        self.counts: Counter[str] = Counter()

    def opened(self) -> None:
        """The link is open."""
        self.is_open = True

    def peer(self, peer: Peer) -> _Ear:
        """A peer is there."""
        self.counts["peers"] += 1
        link = self._link
        return _Ear(self._catalog.codec(link.driver, link.options, link.id), peer, self.counts)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Something was thrown away."""
        self.counts[f"dropped: {reason}"] += count

    def stranger(self, name: str, data: bytes) -> None:
        """A datagram of somebody who may not speak here."""
        del name, data
        self.dropped("not_allowed")


async def _link(loaded: Loaded, catalog: Catalog, link: AnyLinkSettings, seconds: float) -> Finding:
    where = f"link {link.id!r}"
    host = _Host(catalog, link)
    wire = make_link(link, catalog.get(link.driver), loaded.folder, CLOCK)
    why = ""
    try:
        async with asyncio.timeout(seconds):
            await wire.run(host)
    except TimeoutError:
        pass
    except LinkError as error:
        why = str(error)
    if not host.is_open:
        return Finding(where, f"{wire.place}: {why or 'did not open in time'}", is_wrong=True)
    counts = host.counts
    if not counts["bytes"]:
        return Finding(where, f"{wire.place}: opens; nothing was heard in {seconds:g} s")
    text = (
        f"{wire.place}: {counts['bytes']} bytes, {counts['understood']} messages understood, "
        f"{counts['refused']} refused"
    )
    return Finding(where, text, is_wrong=not counts["understood"])


async def _broker(loaded: Loaded) -> list[Finding]:
    """Sign in as the gateway does, since a broker may make the client id out of the user's name.

    So this is the gateway's session, with the requests that wait in it: none of them is taken.
    """
    settings = loaded.settings
    topics = Topics(settings.mqtt.base_topic or f"pdt/v1/{settings.site.id}")
    will = Message(topics.gateway_state, b"")  # a polite end, so that nobody hears it
    deaf = Inbox("", None, lambda _why: None)
    client = MqttClient(replace(options_from(loaded, will, deaf, None), inbox=None), CLOCK)
    where, place = "mqtt", f"{settings.mqtt.host}:{settings.mqtt.port}"
    try:
        await client.connect()
    except GatewayError as error:
        return [Finding(where, str(error), is_wrong=True)]
    spoken, end = client.spoken, client.certificate_end
    with contextlib.suppress(GatewayError):
        await client.disconnect()
    found = [Finding(where, f"{place}: lets us in, speaks MQTT {spoken}")]
    if end is not None and (text := end_text(end, CLOCK.now())):
        found.append(Finding(where, f"{place}: {text}"))
    return found


async def _series(loaded: Loaded) -> Finding:
    """A line that is only a comment: credentials and place are looked at, nothing is written."""
    settings = loaded.settings.influx
    writer = open_writer(loaded)
    try:
        for place in ("", settings.alarms_to) if settings.alarms_to else ("",):
            await writer.write(b"# probe\n", place)
    except GatewayError as error:
        return Finding("influx", str(error), is_wrong=True)
    finally:
        await writer.close()
    return Finding("influx", f"{settings.url}: takes what is written to {settings.database!r}")


def is_wrong(findings: Sequence[Finding]) -> bool:
    """Whether a person has to do something."""
    return any(finding.is_wrong for finding in findings)
