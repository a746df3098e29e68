"""Fixes a second from JT/T 808 bytes on TCP to stored and acknowledged by a real broker.

Terminals report as fast as they are answered, each with a few reports unanswered; an 8001 comes
back when the report is on disk. Counted is what Mosquitto has acknowledged at QoS 1, over a window
after a warm-up, by the gateway's own stamps. The ceiling is the same client publishing the same
payloads to the same broker, and nothing else.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateway.clock import SystemClock
from gateway.model.events import event_from_json
from gateway.sinks.mqtt_client import Message, MqttClient, MqttOptions
from tests.bench.children import Child
from tests.bench.figures import Figure, Say
from tests.bench.site import write_settings
from tests.support.databases import read_only
from tests.support.influxdb import InfluxServer
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port

TITLE = "Throughput"
ABOUT = """\
Terminals on 50 TCP connections report as fast as they are answered. A fix counts when it is
committed to the outbox, answered with an 8001, and acknowledged by Mosquitto at QoS 1. The ceiling
is the same client publishing the same messages to the same broker, without a gateway around it. The
goal of half of it was set when the client took 50 µs a message; it takes a fifth of that now."""

CONNECTIONS, WINDOW = 50, 4  # reports of a connection that are not answered yet
INFLIGHT = 200  # the setting's default
BATCH = 500  # rows that the dispatcher offers at once
SAMPLES = 20_000  # stored payloads that the ceiling publishes again and again
GOAL, RATIO_GOAL = 5_000.0, 0.5


class Measured(NamedTuple):
    """One run at steady state; rates a second, processor time in µs for each event."""

    rate: float
    stored: float
    cpu_us: float
    threads_us: dict[str, float]
    peak_mib: float
    lag_ms: float
    behind: dict[str, int]
    commits: float


def measure(
    folder: Path,
    *,
    broker: Mosquitto | None = None,
    influx: InfluxServer | None = None,
    without: str = "",
    seconds: float,
) -> Measured:
    """One gateway, one crowd of terminals that report as fast as they are answered, one window."""
    port = free_port()
    settings = write_settings(
        folder,
        listen=port,
        broker=broker.port if broker else None,
        influx=influx,
    )
    log = folder / "log"
    with (
        Child("gateway_child", str(settings), "--without", without, log=log) as gateway,
        Child(
            "terminals",
            *("--port", str(port), "--window", str(WINDOW), "--connections", str(CONNECTIONS)),
            log=log,
        ),
    ):
        time.sleep(seconds / 4)
        before = gateway.ask("report")
        time.sleep(seconds)
        after = gateway.ask("report")
        assert not after["dropped"], after
        assert not after["set_aside"], after
        assert not after["difference"], after
        return _measured(before, after)


def _measured(before: dict[str, Any], after: dict[str, Any]) -> Measured:
    took_s = after["mono"] - before["mono"]
    delivered = {
        name: count - before["delivered"][name] for name, count in after["delivered"].items()
    }
    events = min(delivered.values())
    used = {
        name: after["threads_s"][name] - before["threads_s"].get(name, 0.0)
        for name in after["threads_s"]
    }
    return Measured(
        rate=events / took_s,
        stored=(after["stored"] - before["stored"]) / took_s,
        cpu_us=(after["cpu_s"] - before["cpu_s"]) / events * 1e6,
        threads_us={name: spent / events * 1e6 for name, spent in used.items()},
        peak_mib=after["peak_mib"],
        lag_ms=after["lag_ms"],
        behind=after["behind"],
        commits=(after["commits"] - before["commits"]) / took_s,
    )


def stored_messages(folder: Path) -> list[Message]:
    """What that gateway has published, from its outbox."""
    with read_only(folder / "var" / "outbox.db") as connection:
        found = connection.execute(
            "SELECT payload FROM telemetry_rows ORDER BY seq DESC LIMIT ?", (SAMPLES,)
        ).fetchall()
    payloads = [bytes(text) if isinstance(text, bytes) else text.encode() for (text,) in found]
    return [
        Message(f"pdt/v1/town/unit/{event_from_json(payload).unit_id}/fix", payload, 1, retain=True)
        for payload in payloads
        if payload.startswith(b'{"type":"position_fix"')
    ]


class Ceiling(NamedTuple):
    """The bare client: messages a second, processor time in µs for each."""

    rate: float
    cpu_us: float


def ceiling(port: int, messages: Sequence[Message], seconds: float) -> Ceiling:
    """Publish the same messages with the same client and window, and nothing else."""

    async def publish() -> Ceiling:
        options = MqttOptions("127.0.0.1", port, client_id="ceiling", inflight=INFLIGHT)
        client = MqttClient(options, SystemClock())
        await client.connect()
        done = 0
        begun, begun_cpu = time.monotonic(), time.process_time()
        while time.monotonic() - begun < seconds:
            for first in range(0, len(messages), BATCH):
                batch = messages[first : first + BATCH]
                await client.publish_batch(batch)
                done += len(batch)
        took_s, cpu_s = time.monotonic() - begun, time.process_time() - begun_cpu
        await client.disconnect()
        return Ceiling(done / took_s, cpu_s / done * 1e6)

    return asyncio.run(publish())


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """The figures; the ways take turns, so that a busy moment of the machine is shared."""
    seconds = 6.0 if quick else 12.0
    ways = {
        "all sinks": Figure(
            name="JT/T 808 fixes, stored and acknowledged by Mosquitto at QoS 1, desk history on",
            unit="fixes/s",
            ceiling_is="the same messages from the same client alone",
            goal=GOAL,
            ratio_goal=RATIO_GOAL,
        ),
        "without desk": Figure(
            name="the same without the desk history",
            unit="fixes/s",
            ceiling_is="as above",
        ),
    }
    costs = {
        "all sinks": Figure(
            name="processor time of the gateway for one fix, desk history on",
            unit="µs",
            ceiling_is="the client alone, for one message",
            better="lower",
        ),
        "without desk": Figure(
            name="the same without the desk history",
            unit="µs",
            ceiling_is="as above",
            better="lower",
        ),
    }
    for turn in range(runs):
        for way, without in (("all sinks", ""), ("without desk", "desk")):
            with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
                folder = Path(name)
                found = measure(folder, broker=broker, without=without, seconds=seconds)
                messages = stored_messages(folder)
                top = ceiling(broker.port, messages, seconds / 4)
            ways[way].add(found.rate, top.rate)
            costs[way].add(found.cpu_us, top.cpu_us)
            say(
                f"run {turn + 1}, {way}: {found.rate:,.0f} fixes/s ({found.stored:,.0f} stored), "
                f"{found.cpu_us:.0f} µs each ({_by_thread(found)}); "
                f"client alone {top.rate:,.0f}/s, {top.cpu_us:.0f} µs; "
                f"{found.commits:.0f} commits/s, behind {found.behind}, "
                f"lag {found.lag_ms:.0f} ms, peak {found.peak_mib:.0f} MiB"
            )
    return [*ways.values(), *costs.values()]


def _by_thread(found: Measured) -> str:
    return ", ".join(f"{name} {spent:.0f}" for name, spent in found.threads_us.items() if spent > 1)
