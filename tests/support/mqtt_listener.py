"""An independent MQTT client that hears everything: plain paho on a thread of its own."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TIMEOUT_S = 10.0


class Heard(NamedTuple):
    """One message as it came."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    correlation: bytes | None = None


class Listener:
    """Subscribes to ``filters`` and keeps what comes, in order."""

    def __init__(
        self,
        port: int,
        *filters: str,
        user: str = "",
        password: str = "",
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311,
        ca_file: Path | None = None,
    ) -> None:
        self._port = port
        self._filters = filters or ("#",)
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.reconnect_delay_set(1, 1)
        if user:
            self._client.username_pw_set(user, password)
        if ca_file is not None:
            self._client.tls_set(str(ca_file))
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._subscribed = threading.Event()
        self._changed = threading.Condition()
        self.messages: list[Heard] = []

    def _on_connect(self, client: Client, *_: Any) -> None:
        client.subscribe([(name, 1) for name in self._filters])

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed.set()

    def _on_message(self, _client: Client, _data: Any, message: Any) -> None:
        with self._changed:
            self.messages.append(
                Heard(
                    message.topic,
                    message.payload,
                    message.qos,
                    bool(message.retain),
                    getattr(message.properties, "CorrelationData", None),
                )
            )
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[list[Heard]], bool], what: str = "messages") -> None:
        """Until the messages heard so far fulfil ``condition``; blocks, fails after 10 s."""
        deadline = time.monotonic() + TIMEOUT_S
        with self._changed:
            while not condition(self.messages):
                left = deadline - time.monotonic()
                assert left > 0, f"waited for {what}; heard {self.topics()[-40:]}"
                self._changed.wait(left)

    def topics(self) -> list[str]:
        """The topics heard, in order."""
        return [message.topic for message in self.messages]

    def on(self, topic: str) -> list[Heard]:
        """What was heard on one topic."""
        return [message for message in self.messages if message.topic == topic]

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> Any:
        """Publish with QoS 1 and wait for the broker's answer; the last two are MQTT 5's."""
        properties = None
        if response_topic is not None or correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)
            if response_topic is not None:
                properties.ResponseTopic = response_topic
            if correlation is not None:
                properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, 1, retain, properties)
        info.wait_for_publish(TIMEOUT_S)
        return info

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._subscribed.wait(TIMEOUT_S), "the broker did not answer the subscription"
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


def retained(port: int, *filters: str) -> dict[str, bytes]:
    """What the broker holds now: a fresh client is shown it before a marker of its own."""
    with Listener(port, *filters, "marker/#") as listener:
        listener.publish("marker/end", b"x")
        listener.wait_for(lambda heard: any(one.topic == "marker/end" for one in heard))
        return {one.topic: one.payload for one in listener.messages if one.retain}
