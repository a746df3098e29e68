"""How the gateway does: facts for ``/healthz``, ``/metrics``, the broker and the page."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.clock import Clock
from gateway.model.views import ChannelView, LinkView
from gateway.runtime.counters import DROP_REASONS, Account, Counters

PROBE_S = 0.25
LINK_STATES = ("connecting", "up", "silent", "down")


class SinkHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sink: ``state`` is up, behind or down, ``behind_rows`` what it has not confirmed yet."""

    name: str
    state: str
    why: str | None = None
    behind_rows: int = 0
    oldest_age_s: float = 0.0
    set_aside: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of ``gateway/health``: no secrets, no positions.

    ``requests`` are those over the broker, counted by outcome; ``airtime`` is what each channel
    promises.
    """

    is_accepting: bool
    why: str | None = None
    uptime_s: float
    loop_lag_ms: float
    memory_mib: float
    events: Account
    links: dict[str, str]
    sinks: list[SinkHealth]
    requests: dict[str, int] = {}
    airtime: list[ChannelView] = []


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway uses and holds, for ``/metrics`` alone."""

    outbox_bytes: int = 0
    rows_thinned: int = 0
    rows_rejected: dict[str, int] = {}  # by sink
    last_commit_s: float = 0.0
    failed_commits: int = 0
    open_emergencies: int = 0
    certificates_s: dict[str, float] = {}  # until each ends


class LoopLag:
    """Measures how late the event loop comes back: the worst of the last half minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worst: list[float] = [0.0] * 120
        self._turn = 0

    @property
    def worst_ms(self) -> float:
        """Milliseconds."""
        return round(max(self._worst) * 1000, 1)

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            due = self._clock.monotonic() + PROBE_S
            await self._clock.sleep(PROBE_S)
            self._turn = (self._turn + 1) % len(self._worst)
            self._worst[self._turn] = max(0.0, self._clock.monotonic() - due)


def memory_mib() -> float:
    """Resident memory of this process, MiB; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - read each second
            return round(int(file.read().split()[1]) * 4096 / 2**20, 1)
    except (OSError, ValueError, IndexError):
        return 0.0


def open_files() -> int:
    """Descriptors of this process; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, not paths
    except OSError:
        return 0


def live_tasks() -> int:
    """Tasks of the running event loop; 0 outside of one."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


class Metrics(Collector):
    """Turns the plain counters into Prometheus text when somebody asks.

    What an alarm counts is there with 0 from the start, for each driver, reason and sink there is:
    a series that is born with its first count has not grown, as far as Prometheus can tell.
    """

    def __init__(
        self,
        counters: Counters,
        health: Callable[[], Health],
        links: Callable[[], Iterable[LinkView]],
        resources: Callable[[], Resources] = Resources,
    ) -> None:
        self._counters = counters
        self._health = health
        self._links = links
        self._resources = resources
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The exposition text, without positions."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        counters, health, links = self._counters, self._health(), list(self._links())
        drivers = dict.fromkeys((view.driver for view in links), 0)
        yield _count("pdt_link_received_bytes", "Bytes", ["link"], _single(counters.bytes_received))
        yield _count(
            "pdt_codec_frames_rejected",
            "Frames that were not taken",
            ["link", "reason"],
            counters.frames_rejected.items(),
        )
        yield _count(
            "pdt_link_dropped",
            "Connections and bytes dropped before a session",
            ["link", "reason"],
            counters.link_dropped.items(),
        )
        yield _count(
            "pdt_codec_failures",
            "Bugs in drivers",
            ["driver"],
            _single({**drivers, **counters.codec_failures}),
        )
        yield _count(
            "pdt_commands_ended",
            "Commands to radios by their end",
            ["verb", "result"],
            counters.commands_ended.items(),
        )
        yield _count(
            "pdt_commands_not_taken",
            "Commands refused before they were queued",
            ["reason"],
            _single(counters.commands_not_taken),
        )
        yield _count(
            "pdt_commands_off_record",
            "Of those, too many to be events",
            [],
            [((), counters.refusals_off_record)],
        )
        for name, value in (
            ("received", counters.events_received),
            ("stored", counters.events_stored),
            ("refreshed", counters.events_refreshed),
        ):
            yield _count(f"pdt_pipeline_events_{name}", f"Events {name}", [], [((), value)])
        yield _count(
            "pdt_pipeline_events_dropped",
            "Events dropped",
            ["reason"],
            [((reason,), counters.events_dropped[reason]) for reason in DROP_REASONS],
        )
        yield _count(
            "pdt_airtime_polls", "Positions asked for by schedule", [], [((), counters.polls)]
        )
        yield _count(
            "pdt_mqtt_requests", "Requests over the broker", ["outcome"], _single(counters.requests)
        )
        up = GaugeMetricFamily(
            "pdt_link_state", "1 for the present state", labels=["link", "state"]
        )
        for view in links:
            for state in LINK_STATES:
                up.add_metric([view.link_id, state], float(view.state == state))
        yield up
        resources = self._resources()
        rejected = {sink.name: resources.rows_rejected.get(sink.name, 0) for sink in health.sinks}
        yield _count("pdt_sink_rejected_rows", "Rows refused for good", ["sink"], _single(rejected))
        yield from self._gauges(health)
        yield from _airtime(health.airtime)
        yield from self._resource_figures(resources)

    @staticmethod
    def _gauges(health: Health) -> Iterator[Metric]:
        behind = GaugeMetricFamily("pdt_sink_behind_rows", "Rows not confirmed", labels=["sink"])
        age = GaugeMetricFamily(
            "pdt_outbox_oldest_age_seconds", "Age of the oldest of them", labels=["sink"]
        )
        up = GaugeMetricFamily("pdt_sink_up", "1 unless the sink cannot deliver", labels=["sink"])
        aside = GaugeMetricFamily(
            "pdt_sink_set_aside_rows", "Those of them that are kept", labels=["sink"]
        )
        for sink in health.sinks:
            up.add_metric([sink.name], float(sink.state != "down"))
            aside.add_metric([sink.name], sink.set_aside)
            behind.add_metric([sink.name], sink.behind_rows)
            age.add_metric([sink.name], sink.oldest_age_s)
        yield from (up, behind, age, aside)
        for name, text, value in (
            ("pdt_gateway_accepting", "1 while events are accepted", float(health.is_accepting)),
            ("pdt_gateway_loop_lag_seconds", "Worst lag", health.loop_lag_ms / 1000),
            ("pdt_gateway_memory_bytes", "Resident memory", health.memory_mib * 2**20),
            ("pdt_gateway_uptime_seconds", "Since start", health.uptime_s),
        ):
            yield GaugeMetricFamily(name, text, value=value)

    @staticmethod
    def _resource_figures(found: Resources) -> Iterator[Metric]:
        expires = GaugeMetricFamily(
            "pdt_certificate_expires_seconds", "Until it ends", labels=["certificate"]
        )
        for name, left_s in found.certificates_s.items():
            expires.add_metric([name], left_s)
        yield expires
        yield _count(
            "pdt_outbox_thinned", "Undelivered rows thinned", [], [((), found.rows_thinned)]
        )
        yield _count("pdt_outbox_commits_failed", "Commits", [], [((), found.failed_commits)])
        for name, text, value in (
            ("pdt_outbox_used_bytes", "Live pages of the file", found.outbox_bytes),
            ("pdt_outbox_commit_seconds", "How long the last commit took", found.last_commit_s),
            ("pdt_emergencies_open", "Not closed by a person", found.open_emergencies),
            ("pdt_gateway_open_files", "Descriptors", open_files()),
            ("pdt_gateway_tasks", "Tasks on the event loop", live_tasks()),
        ):
            yield GaugeMetricFamily(name, text, value=value)


def _airtime(channels: Iterable[ChannelView]) -> Iterator[Metric]:
    asked = GaugeMetricFamily(
        "pdt_airtime_requests_per_minute", "Requests in the last minute", labels=["channel"]
    )
    budget = GaugeMetricFamily(
        "pdt_airtime_budget_per_minute", "Most requests a minute", labels=["channel"]
    )
    worst = GaugeMetricFamily(
        "pdt_airtime_worst_age_seconds", "Promised worst age of a fix", labels=["channel", "class"]
    )
    for view in channels:
        asked.add_metric([view.channel], view.asked_last_min)
        budget.add_metric([view.channel], view.budget_a_min)
        for kind, promise in view.promises.items():
            worst.add_metric([view.channel, kind], promise.worst_age_s)
    yield asked
    yield budget
    yield worst


def _single(counts: dict[str, int]) -> Iterable[tuple[tuple[str], int]]:
    return [((key,), value) for key, value in counts.items()]


def _count(
    name: str, text: str, labels: list[str], values: Iterable[tuple[tuple[str, ...], int]]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(list(key), value)
    return family


async def keep_time(clock: Clock, every_s: float, do: Callable[[], None]) -> None:
    """Call ``do`` every so many seconds until cancelled."""
    while True:
        await clock.sleep(every_s)
        do()
        await asyncio.sleep(0)
