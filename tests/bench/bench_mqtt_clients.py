"""QoS 1 publishes a second to a real Mosquitto, by MQTT client: what the sink is built on, and why.

``python -m tests.bench.bench_mqtt_clients [MESSAGES]`` starts a broker on loopback and prints, for
each way of publishing the same retained fixes, the median of three runs with its smallest and
largest, and the processor time of this process for one message. The broker takes its share of the
machine in every row.

gmqtt is measured where it can be imported. It is no dependency, since its wheel brings a package
named ``tests`` that hides ours; for a measurement put it beside the environment, without that:

    .venv/bin/python -m pip install --no-deps --target build/gmqtt gmqtt && rm -r build/gmqtt/tests
    PYTHONPATH=build/gmqtt .venv/bin/python -m tests.bench.bench_mqtt_clients
"""

import asyncio
import logging
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiomqtt
import structlog
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.clock import SystemClock
from gateway.model.events import to_json
from gateway.outbox.rows import Row
from gateway.runtime.backoff import Backoff
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.mqtt_client import Message, MqttClient, MqttOptions
from tests.support.mosquitto import Mosquitto
from tests.support.sink_rows import BASE, States, fix, loaded, row, running

try:
    import gmqtt
    from gmqtt.storage import PersistentStorage
except ImportError:
    gmqtt, PersistentStorage = None, object  # see the module's docstring

RUNS = 3
WINDOW = 200
THREAD_WINDOW = 50  # paho's thread is fastest with a small one
BATCH = 500
UNITS = 500


class Run(NamedTuple):
    """One measured run."""

    per_second: float
    cpu_us: float


Way = Callable[[int, list[Row], str], Awaitable[Run]]


class Meter:
    """Wall and processor time of a block."""

    def __enter__(self) -> Self:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._wall = time.perf_counter() - self._wall
        self._cpu = time.process_time() - self._cpu

    def of(self, count: int) -> Run:
        """The run that published ``count`` messages."""
        return Run(count / self._wall, self._cpu / count * 1e6)


def topic_of(one: Row) -> str:
    """Where a fix goes."""
    return f"{BASE}/unit/{one.event.unit_id}/fix"


def paho_client(name: str, protocol: str) -> Client:
    """The plain client of paho-mqtt."""
    is_5 = protocol == "5"
    return Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        clean_session=None if is_5 else True,
        protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
    )


async def with_aiomqtt(port: int, rows: list[Row], protocol: str) -> Run:
    """As aiomqtt's documentation has it: a coroutine for each message, a window of tasks."""
    version = aiomqtt.ProtocolVersion.V5 if protocol == "5" else aiomqtt.ProtocolVersion.V311
    async with aiomqtt.Client(
        "127.0.0.1",
        port,
        protocol=version,
        max_inflight_messages=WINDOW,
        max_concurrent_outgoing_calls=WINDOW + 5,
    ) as client:
        room = asyncio.Semaphore(WINDOW)

        async def publish(one: Row) -> None:
            try:
                await client.publish(topic_of(one), one.payload, qos=1, retain=True)
            finally:
                room.release()

        with Meter() as meter:
            async with asyncio.TaskGroup() as group:
                for one in rows:
                    await room.acquire()
                    group.create_task(publish(one))
    return meter.of(len(rows))


async def with_paho_thread(port: int, rows: list[Row], protocol: str) -> Run:
    """With paho's own thread (``loop_start``) and a small window."""
    client = paho_client("thread", protocol)
    client.max_inflight_messages_set(THREAD_WINDOW)
    connected = threading.Event()
    room = threading.Semaphore(THREAD_WINDOW)
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: room.release()

    def work() -> Run:
        client.connect("127.0.0.1", port)
        client.loop_start()
        connected.wait(5)
        with Meter() as meter:
            for one in rows:
                room.acquire()
                client.publish(topic_of(one), one.payload, 1, retain=True)
            for _ in range(THREAD_WINDOW):
                room.acquire()
        client.disconnect()
        client.loop_stop()
        return meter.of(len(rows))

    return await asyncio.to_thread(work)


async def with_paho_socket(port: int, rows: list[Row], protocol: str) -> Run:
    """With paho's socket watched by the event loop: add_reader, add_writer, one counter."""
    loop = asyncio.get_running_loop()
    client = paho_client("socket", protocol)
    client.max_inflight_messages_set(0)
    connected, room = asyncio.Event(), asyncio.Event()
    acknowledged = 0

    def opened(_client: Client, _data: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.add_reader(sock, client.loop_read)

    def published(*_: object) -> None:
        nonlocal acknowledged
        acknowledged += 1
        room.set()

    def closed(_client: Client, _data: Any, sock: Any) -> None:
        loop.remove_reader(sock)

    def written(_client: Client, _data: Any, sock: Any) -> None:
        loop.remove_writer(sock)

    client.on_socket_open = opened
    client.on_socket_close = closed
    client.on_socket_register_write = lambda _c, _d, sock: loop.add_writer(sock, client.loop_write)
    client.on_socket_unregister_write = written
    client.on_connect = lambda *_: connected.set()
    client.on_publish = published
    client.connect("127.0.0.1", port)
    await connected.wait()
    with Meter() as meter:
        for sent, one in enumerate(rows):
            while sent - acknowledged >= WINDOW:
                room.clear()
                await room.wait()
            client.publish(topic_of(one), one.payload, 1, retain=True)
        while acknowledged < len(rows):
            room.clear()
            await room.wait()
    client.disconnect()
    await asyncio.sleep(0.05)
    return meter.of(len(rows))


class Unacknowledged(PersistentStorage):  # type: ignore[misc] # gmqtt has no types
    """Where gmqtt keeps what is not acknowledged: the one place where it tells of a PUBACK."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.room = asyncio.Event()

    def push_message(self, mid: int, raw_package: bytes) -> None:
        """A publish was sent."""
        super().push_message(mid, raw_package)
        self.waiting += 1

    def remove_message_by_mid(self, mid: int) -> None:
        """It was acknowledged, or refused: gmqtt does not read which."""
        super().remove_message_by_mid(mid)
        self.waiting -= 1
        self.room.set()


async def with_gmqtt(port: int, rows: list[Row], protocol: str) -> Run:
    """gmqtt, with a window of our own around its storage."""
    storage = Unacknowledged()
    client = gmqtt.Client("gmqtt", persistent_storage=storage)
    version = gmqtt.constants.MQTTv50 if protocol == "5" else gmqtt.constants.MQTTv311
    await client.connect("127.0.0.1", port, version=version)

    async def until_below(most: int) -> None:
        while storage.waiting >= most:
            storage.room.clear()
            await storage.room.wait()

    with Meter() as meter:
        for one in rows:
            await until_below(WINDOW)
            client.publish(topic_of(one), one.payload, qos=1, retain=True)
        await until_below(1)
    await client.disconnect()
    return meter.of(len(rows))


class Bare(asyncio.Protocol):
    """As little MQTT 3.1.1 as publishes: what any client could reach at best."""

    CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04bare"

    def __init__(self) -> None:
        self.acknowledged = -1  # the CONNACK is four bytes, too
        self._bytes = 0
        self.news = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Every answer is four bytes long."""
        self._bytes += len(data)
        self.acknowledged = self._bytes // 4 - 1
        self.news.set()

    async def until(self, count: int) -> None:
        """Wait for so many acknowledgements."""
        while self.acknowledged < count:
            self.news.clear()
            await self.news.wait()


def publish_packet(one: Row, number: int) -> bytes:
    """QoS 1, retained; the packet id goes round below 65,536."""
    topic = topic_of(one).encode()
    body = len(topic).to_bytes(2, "big") + topic + (number % 65_535 + 1).to_bytes(2, "big")
    body += one.payload
    return b"\x33" + bytes([len(body) % 128 | 128, len(body) // 128]) + body


async def with_bare_protocol(port: int, rows: list[Row], _protocol: str) -> Run:
    """A protocol of our own that knows five packets; what it leaves out is most of MQTT."""
    loop = asyncio.get_running_loop()
    transport, bare = await loop.create_connection(Bare, "127.0.0.1", port)
    transport.write(bare.CONNECT)
    await bare.until(0)
    with Meter() as meter:
        for first in range(0, len(rows), WINDOW // 2):
            await bare.until(first - WINDOW // 2)
            part = enumerate(rows[first : first + WINDOW // 2], first)
            transport.write(b"".join(publish_packet(one, number) for number, one in part))
        await bare.until(len(rows))
    transport.close()
    return meter.of(len(rows))


async def with_our_client(port: int, rows: list[Row], protocol: str) -> Run:
    """``MqttClient``: paho over asyncio's connection, one batch after another."""
    options = MqttOptions(
        host="127.0.0.1",
        port=port,
        client_id="ours",
        protocol="5" if protocol == "5" else "3.1.1",
        inflight=WINDOW,
    )
    client = MqttClient(options, SystemClock())
    await client.connect()
    messages = [Message(topic_of(one), one.payload, 1, retain=True) for one in rows]
    with Meter() as meter:
        for first in range(0, len(messages), BATCH):
            await client.publish_batch(messages[first : first + BATCH])
    await client.disconnect()
    return meter.of(len(rows))


async def with_our_sink(port: int, rows: list[Row], protocol: str) -> Run:
    """``MqttSink.deliver``: the same, from outbox rows."""
    with tempfile.TemporaryDirectory() as folder:
        sink = MqttSink(
            loaded(Path(folder), mqtt={"port": port, "protocol": protocol, "inflight": WINDOW}),
            states=States(),
            clock=SystemClock(),
            backoff=Backoff(),
        )
        async with running(sink):
            with Meter() as meter:
                for first in range(0, len(rows), BATCH):
                    delivery = await sink.deliver(rows[first : first + BATCH])
                    assert not delivery.rejected
    return meter.of(len(rows))


WAYS: dict[str, Way] = {
    "aiomqtt, a task for each message": with_aiomqtt,
    "paho, its own thread, window 50": with_paho_thread,
    "paho, its socket on the event loop": with_paho_socket,
    **({"gmqtt": with_gmqtt} if gmqtt is not None else {}),
    "a bare protocol, 3.1.1 only": with_bare_protocol,
    "MqttClient.publish_batch": with_our_client,
    "MqttSink.deliver, 500 rows a batch": with_our_sink,
}


def spread(values: list[float]) -> str:
    """Median (smallest to largest)."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main(count: int) -> None:
    """Measure every way and print the table."""
    logging.getLogger("mqtt").setLevel(logging.ERROR)  # aiomqtt warns of each waiting publish
    logging.getLogger("gmqtt").setLevel(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    rows = [row(seq, fix(seq % UNITS, seq)) for seq in range(count)]
    size = len(to_json(rows[0].event))
    print(f"{count} retained QoS 1 fixes of {size} bytes to {UNITS} topics, window {WINDOW}")
    print()
    print("| Way | MQTT | messages/s | processor us a message |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        found: dict[tuple[str, str], list[Run]] = {}
        for _ in range(RUNS):  # the ways take turns, so that a busy moment is shared
            for protocol in ("5", "3.1.1"):
                for name, way in WAYS.items():
                    run = asyncio.run(measured(way, broker.port, rows, protocol))
                    found.setdefault((name, protocol), []).append(run)
        for (name, protocol), runs in sorted(found.items(), key=lambda item: item[0][1] != "5"):
            rate = spread([run.per_second for run in runs])
            print(f"| {name} | {protocol} | {rate} | {spread([run.cpu_us for run in runs])} |")


async def measured(way: Way, port: int, rows: list[Row], protocol: str) -> Run:
    """One run of one way."""
    return await way(port, rows, protocol)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
