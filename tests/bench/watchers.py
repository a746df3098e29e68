"""Who presses the button, and who hears it: terminals, an MQTT subscriber, the desk's stream.

Each runs on a thread of its own in the process that measures, so that all instants are of one clock
and nothing else keeps that process busy. The subscriber is plain paho; the page's stream is read as
a browser's ``EventSource`` reads it.
"""

import json
import os
import random
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.terminals import frame, phone_of

TOPIC = "pdt/v1/town/event/emergency_raised"
HEAR_LIMIT_S = 60.0
FLOOR_ROUNDS = 100
FLOOR_PAUSE_S = 0.02


class Heard:
    """When each radio's emergency was first heard."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._changed = threading.Condition()

    def note(self, radio_id: str) -> None:
        """It is heard now."""
        now = time.monotonic()
        with self._changed:
            self._at.setdefault(radio_id, now)
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Until so many were heard."""
        with self._changed:
            done = self._changed.wait_for(lambda: len(self._at) >= count, HEAR_LIMIT_S)
        assert done, f"heard {len(self._at)} of {count} presses"

    def since(self, pressed: dict[str, float]) -> list[float]:
        """Milliseconds from each press to its being heard, shortest first."""
        return sorted((self._at[radio] - begun) * 1e3 for radio, begun in pressed.items())


class Subscriber(Heard):
    """An MQTT client that hears emergencies at QoS 1."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(TOPIC, 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message

    def _on_message(self, _client: Client, _data: Any, message: Any) -> None:
        self.note(json.loads(message.payload)["radio_id"])

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._subscribed.wait(HEAR_LIMIT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client.reinitialise()  # closes the pair of sockets that woke its thread


class Page(Heard):
    """A signed-in desk page: hears what the event stream says."""

    def __init__(self, url: str, sign_in: str) -> None:
        super().__init__()
        self._url = url
        self._token = sign_in.partition("#sign-in=")[2]
        self._is_live = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._read, name="page", daemon=True)

    def _read(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=None) as client:  # noqa: S113
            body = {"token": self._token, "name": "bench", "password": "a long enough word"}
            signed = client.post("/api/sign-in", json=body, headers={"Origin": self._url})
            assert signed.status_code == httpx.codes.OK, signed.text
            try:
                with client.stream("GET", "/api/stream") as stream:
                    self._follow(stream)
            except httpx.HTTPError:  # the gateway has ended
                return

    def _follow(self, stream: httpx.Response) -> None:
        name = ""
        for line in stream.iter_lines():
            if self._is_over:
                return
            if line.startswith("event: "):
                name = line[7:]
                self._is_live.set()
            elif name == "emergency" and line.startswith("data: "):
                self.note(json.loads(line[6:])["emergency"]["radio_id"])

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_live.wait(HEAR_LIMIT_S), "the event stream said nothing"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._thread.join(5)  # a heartbeat comes every 2 s


def connected(port: int) -> socket.socket:
    """A connection to a gateway that may still be starting."""
    deadline = time.monotonic() + HEAR_LIMIT_S
    while True:
        try:
            wire = socket.create_connection(("127.0.0.1", port), HEAR_LIMIT_S)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return wire


class Buttons:
    """Terminals that are connected and press once each; ``first`` is the number of the first."""

    def __init__(self, port: int, count: int, first: int = 0) -> None:
        self._waiting = {number: connected(port) for number in range(first, first + count)}
        self._pressed: list[socket.socket] = []
        self.at: dict[str, float] = {}  # radio id: when the last byte was handed over

    def press(self) -> None:
        """The next one presses."""
        number, wire = self._waiting.popitem()
        phone = phone_of(number)
        packet = frame(bytes.fromhex(phone), 1, int(time.time()), number, alarm=1)
        self.at[f"jt808:{phone}"] = time.monotonic()
        wire.sendall(packet)
        self._pressed.append(wire)

    def press_all(self, every_s: float) -> None:
        """One after the other, ``every_s`` apart on average and never in step with anything."""
        rng = random.Random(5)
        while self._waiting:
            time.sleep(rng.uniform(0.5, 1.5) * every_s)
            self.press()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for wire in (*self._waiting.values(), *self._pressed):
            wire.close()


class Percentiles(NamedTuple):
    """Of one run, in milliseconds."""

    p50: float
    p99: float


def percentiles(sorted_ms: list[float]) -> Percentiles:
    """The middle one, and the one that 99 of 100 do not exceed."""
    last = len(sorted_ms) - 1
    return Percentiles(sorted_ms[last // 2], sorted_ms[min(last, round(0.99 * last))])


def floor(port: int, folder: Path) -> Percentiles:
    """The least that is possible here: one write with fsync, one bare publish to the subscriber."""
    sender = Client(CallbackAPIVersion.VERSION2)
    sender.connect("127.0.0.1", port)
    sender.loop_start()
    begun: dict[str, float] = {}
    with Subscriber(port) as hears, (folder / "floor").open("ab", buffering=0) as file:
        for number in range(FLOOR_ROUNDS):
            time.sleep(FLOOR_PAUSE_S)
            name = f"floor:{number}"
            begun[name] = time.monotonic()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            sender.publish(TOPIC, json.dumps({"radio_id": name}), 1)
        hears.wait_for(FLOOR_ROUNDS)
    sender.disconnect()
    sender.loop_stop()
    return percentiles(hears.since(begun))
