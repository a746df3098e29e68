"""A small MQTT client for the gateway: connect, publish a batch, know what was acknowledged.

One batch counts its own PUBACKs; no message gets a task or a future of its own. The window of
unacknowledged publishes is shared by two kinds of callers: ordinary ones leave a part of it free,
urgent ones may use all of it, so an emergency never waits for telemetry's acknowledgements.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.clock import Clock
from gateway.errors import ConfigError, SinkError
from gateway.model.quantities import NS_PER_S, Instant
from gateway.sinks import mqtt_reasons
from gateway.sinks.mqtt_wire import LoopClient, LoopSocket

CONNECT_TIMEOUT_S = 5.0  # TCP, TLS and CONNACK together
ACK_TIMEOUT_S = 10.0  # a broker that acknowledges nothing for so long is gone
TICK_S = 1.0  # how often keep-alive and ACK_TIMEOUT_S are looked at
SESSION_EXPIRY_S = 300  # how long an MQTT 5 broker keeps our session, and requests for us in it
MAX_PACKET_BYTES = 65_536  # a larger publish is refused here: a 3.1.1 broker would hang up on it
PACKET_OVERHEAD_BYTES = 16  # fixed header, packet id, lengths and an empty property list
URGENT_SHARE = 4  # one part in four of the window is kept for urgent publishes,
URGENT_MOST = 32  # and never more than this
UNACKNOWLEDGED_TURN = 50  # publishes after which other tasks get a turn
REFUSED = 0x80  # reason codes from here on are failures
QUOTA_EXCEEDED = 0x97  # the one failure that passes by itself


Version = Literal["5", "3.1.1"]


class Message(NamedTuple):
    """One publish; ``correlation`` is what an MQTT 5 requester gave to know its answer by."""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    correlation: bytes | None = None


class Incoming(NamedTuple):
    """One publish of somebody else. ``is_repeated``: the broker sent it once already."""

    topic: str
    payload: bytes
    is_retained: bool = False
    is_repeated: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Inbox:
    """What is subscribed to. ``take`` only notes what comes; None takes a subscription back.

    With MQTT 5 the broker keeps what comes while we are away, for as long as our session and the
    sender's message expiry last. A broker of 3.1.1 would keep it without end, so there it keeps
    nothing. ``deaf`` is told why the broker does not let us subscribe.
    """

    topics: str
    take: Callable[[Incoming], None] | None
    deaf: Callable[[str], None]


class NotSpokenError(SinkError):
    """The broker does not speak the MQTT version that was asked for, or hung up without a word."""


class PublishLostError(SinkError):
    """The connection went before everything was acknowledged; ``acknowledged`` holds indexes."""

    def __init__(self, why: str, acknowledged: frozenset[int]) -> None:
        super().__init__(why)
        self.acknowledged = acknowledged


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """How to reach the broker. ``password`` and ``tls`` are asked for at every connect.

    ``inflight`` counts unacknowledged publishes; a broker of MQTT 5 may allow fewer. ``protocol``
    "auto" is 5, and 3.1.1 where the broker does not speak that. Without ``inbox`` nothing is taken
    from the broker: what waits there for this client id goes on waiting.
    """

    host: str
    port: int
    client_id: str
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    user: str = ""
    password: Callable[[], str] = str
    tls: Callable[[], ssl.SSLContext | None] = lambda: None
    keepalive_s: int = 15
    inflight: int = 200
    will: Message | None = None
    inbox: Inbox | None = None

    @property
    def place(self) -> str:
        """For people."""
        return f"mqtt broker {self.host}:{self.port}"


class _Batch:
    """Counts the acknowledgements of one call."""

    __slots__ = ("acknowledged", "done", "left", "refused", "retry")

    def __init__(self, size: int) -> None:
        self.left = size
        self.acknowledged: set[int] = set()
        self.refused: dict[int, str] = {}
        self.retry: str | None = None
        self.done = asyncio.Event()

    def settle(self, index: int) -> None:
        self.acknowledged.add(index)
        self._count()

    def refuse(self, index: int, why: str) -> None:
        self.refused[index] = why
        self._count()

    def put_off(self, why: str) -> None:
        self.retry = why
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


class _Connection:
    """One connection's life: from the TCP connect to the reason of its end."""

    def __init__(self, options: MqttOptions, clock: Clock, on_lost: Callable[[], None]) -> None:
        self._options = options
        self._clock = clock
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._wire = LoopSocket()
        self._client = self._new_client()
        self._pending: dict[int, tuple[_Batch, int]] = {}  # packet id: whose, which
        self._batches: set[_Batch] = set()
        self._acks = 0
        self._acks_seen = 0
        self._acks_seen_mono = clock.monotonic()
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._window = options.inflight
        self._max_packet = MAX_PACKET_BYTES
        self._ordinary_room = asyncio.Event()
        self._urgent_room = asyncio.Event()
        self._ticker: asyncio.TimerHandle | None = None
        self.why_lost: str | None = None
        self.certificate_end: Instant | None = None
        self._is_unspoken = False
        self._has_kept_session = False
        self._is_tls = False
        self._ended = asyncio.Event()

    async def open(self) -> None:
        """Connect and wait for CONNACK; raises SinkError."""
        options = self._options
        tls = None
        try:
            tls = options.tls()
            self._is_tls = tls is not None
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                transport, _ = await self._loop.create_connection(
                    lambda: self._wire, options.host, options.port, ssl=tls
                )
                self.certificate_end = _end_of(transport)
                self._client.connect(
                    options.host, options.port, options.keepalive_s, **_start(options)
                )
                await self._accepted
        except TimeoutError:
            self.abort("no answer")
            raise SinkError(f"{options.place}: no answer in {CONNECT_TIMEOUT_S:g} s") from None
        except OSError as error:
            self.abort("connect failed")
            why = mqtt_reasons.of_error(error, is_tls=tls is not None)
            raise SinkError(f"{options.place}: {why}") from None
        except BaseException:
            self.abort("given up")
            raise
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        self._subscribe()

    def _subscribe(self) -> None:
        inbox = self._options.inbox
        if inbox is None:
            return
        if inbox.take is None:
            if self._has_kept_session:
                self._client.unsubscribe(inbox.topics)
        elif self._options.protocol == "5":
            never = SubscribeOptions.RETAIN_DO_NOT_SEND
            wish = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=never)
            self._client.subscribe(inbox.topics, options=wish)
        else:
            self._client.subscribe(inbox.topics, qos=0)

    async def publish(self, messages: Sequence[Message], *, is_urgent: bool) -> dict[int, str]:
        """See ``MqttClient.publish_batch``."""
        if self.why_lost is not None:
            raise SinkError(self._lost_text())
        if not messages:
            return {}
        batch = _Batch(len(messages))
        self._batches.add(batch)
        try:
            await self._send_all(batch, messages, is_urgent=is_urgent)
            await batch.done.wait()
        finally:
            self._batches.discard(batch)
        if batch.left:
            raise PublishLostError(self._lost_text(), frozenset(batch.acknowledged))
        if batch.retry is not None:
            raise PublishLostError(batch.retry, frozenset(batch.acknowledged))
        return batch.refused

    async def _send_all(
        self, batch: _Batch, messages: Sequence[Message], *, is_urgent: bool
    ) -> None:
        room = self._urgent_room if is_urgent else self._ordinary_room
        limit = self._limit(is_urgent=is_urgent)
        for index, message in enumerate(messages):
            while len(self._pending) >= limit and self.why_lost is None:
                room.clear()
                await room.wait()
            if index % UNACKNOWLEDGED_TURN == UNACKNOWLEDGED_TURN - 1:
                await asyncio.sleep(0)
                await self._wire.writable.wait()
            if self.why_lost is not None:
                return  # _lose has set batch.done
            self._send(batch, index, message)

    def _send(self, batch: _Batch, index: int, message: Message) -> None:
        size = len(message.topic) + len(message.payload) + PACKET_OVERHEAD_BYTES
        if size > self._max_packet:
            batch.refuse(index, f"{size} bytes are more than the broker takes ({self._max_packet})")
            return
        properties = None
        if message.correlation is not None and self._options.protocol == "5":
            properties = Properties(PacketTypes.PUBLISH)
            properties.CorrelationData = message.correlation
        packet_id = self._client.next_id() if message.qos else 0
        while packet_id in self._pending:  # 65,535 publishes later, and still not acknowledged
            packet_id = self._client.next_id()
        try:
            self._client.send_publish(
                message.topic,
                message.payload,
                packet_id=packet_id,
                retain=message.retain,
                properties=properties,
            )
        except ConnectionError as error:
            self._lose(f"publish failed: {error}")
            return
        if packet_id:
            self._pending[packet_id] = (batch, index)
        else:
            batch.settle(index)

    async def close(self) -> None:
        """Say DISCONNECT, so that the broker drops the will, and wait for the end a moment."""
        if self.why_lost is None:
            self._client.disconnect()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._ended.wait()
            except TimeoutError:
                pass
        self.abort("closed")

    def abort(self, why: str) -> None:
        """End the connection at once."""
        self._lose(why)

    def _lose(self, why: str) -> None:
        """Everything that waits for this connection hears of its end; harmless when ended."""
        if self.why_lost is not None:
            return
        self.why_lost = why
        if self._ticker is not None:
            self._ticker.cancel()
        self._wire.readable = lambda: None
        self._wire.abort()
        self._pending.clear()
        for batch in self._batches:
            batch.done.set()
        self._ordinary_room.set()
        self._urgent_room.set()
        if not self._accepted.done():
            kind = NotSpokenError if self._is_unspoken else SinkError
            self._accepted.set_exception(kind(self._lost_text()))
            self._accepted.exception()  # open() may have been cancelled: nobody else will look
        self._ended.set()
        self._on_lost()

    def _lost_text(self) -> str:
        return f"{self._options.place}: {self.why_lost}"

    def _limit(self, *, is_urgent: bool) -> int:
        if is_urgent:
            return self._window
        return self._window - min(URGENT_MOST, self._window // URGENT_SHARE)

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        self._client.loop_misc()  # keep-alive; calls on_disconnect when the broker is silent
        now_mono = self._clock.monotonic()
        if not self._pending or self._acks != self._acks_seen:
            self._acks_seen, self._acks_seen_mono = self._acks, now_mono
        elif now_mono - self._acks_seen_mono > ACK_TIMEOUT_S:
            self._lose(f"no acknowledgement for {ACK_TIMEOUT_S:g} s")

    # paho: the client, and what it calls. Nothing here may call paho back.

    def _new_client(self) -> LoopClient:
        options = self._options
        is_5 = options.protocol == "5"
        client = LoopClient(
            self._wire,
            callback_api_version=CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if is_5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            manual_ack=options.inbox is None,
        )
        if options.user:
            client.username_pw_set(options.user, options.password() or None)
        if options.will is not None:
            will = options.will
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.acknowledged = self._acknowledged
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.after_read = self._after_read
        return client

    def _on_connect(
        self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            options = self._options
            why = mqtt_reasons.of_refusal(reason, options.user, options.protocol)
            if not self._accepted.done():
                is_unspoken = reason.value == mqtt_reasons.BAD_PROTOCOL
                kind = NotSpokenError if is_unspoken else SinkError
                self._accepted.set_exception(kind(f"{options.place}: refused: {why}"))
            return
        self._has_kept_session = flags.session_present
        self._window = min(self._window, getattr(properties, "ReceiveMaximum", self._window))
        self._max_packet = min(
            self._max_packet, getattr(properties, "MaximumPacketSize", self._max_packet)
        )
        if not self._accepted.done():
            self._accepted.set_result(None)

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            why = f"the broker ended it: {reason}"
        else:
            why = self._wire.why_gone or str(reason)
        if not self._accepted.done() and not self._wire.is_tls_error:
            self._is_unspoken = True
            hint = mqtt_reasons.of_hanging_up(is_tls=self._is_tls)
            why = f"hung up before it let us in ({why}); {hint}"
        # paho holds a lock while it calls this, and closing the socket would ask for it again
        self._loop.call_soon(self._lose, why)

    def _acknowledged(self, packet_id: int, code: int) -> None:
        entry = self._pending.pop(packet_id, None)
        if entry is None:
            return  # not ours: a broker that acknowledges twice
        self._acks += 1
        batch, index = entry
        if code < REFUSED:
            batch.settle(index)
        elif code == QUOTA_EXCEEDED:
            batch.put_off(f"{self._options.place}: {_reason_text(code)}")
        else:
            batch.refuse(index, f"refused by the broker: {_reason_text(code)}")

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        inbox = self._options.inbox
        if inbox is None or inbox.take is None:
            return
        properties = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:  # no broker that keeps to the standard passes this on
            return
        inbox.take(
            Incoming(
                topic,
                bytes(message.payload),
                is_retained=message.retain,
                is_repeated=message.dup,
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            )
        )

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        inbox = self._options.inbox
        if inbox is not None and any(reason.is_failure for reason in reasons):
            inbox.deaf(str(reasons[0]))

    def _after_read(self) -> None:
        """Acknowledgements were read: let those go on who wait for room in the window."""
        waiting = len(self._pending)
        if waiting < self._window:
            self._urgent_room.set()
        if waiting <= self._limit(is_urgent=False) // 2:  # wake seldom, for many publishes at once
            self._ordinary_room.set()


class MqttClient:
    """The connection to one broker; connect again after it was lost.

    ``on_lost`` is called once for every connection that ends, also for one that never began.
    """

    def __init__(
        self,
        options: MqttOptions,
        clock: Clock,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._on_lost = on_lost
        self._connection: _Connection | None = None
        self.spoken: Version | None = None  # on the last connection that was made
        self.why_fallback: str | None = None  # why that is not MQTT 5, where it might have been

    @property
    def is_connected(self) -> bool:
        """True between a successful ``connect`` and the loss of the connection."""
        return self._connection is not None and self._connection.why_lost is None

    @property
    def certificate_end(self) -> Instant | None:
        """When the broker's certificate ends, as it was shown on the last connection."""
        return self._connection.certificate_end if self._connection is not None else None

    @property
    def why_lost(self) -> str:
        """Why there is no connection; "" while there is one."""
        if self._connection is None:
            return "not connected"
        return self._connection.why_lost or ""

    async def connect(self) -> None:
        """Connect once; raises SinkError that says why it did not work. The session is kept."""
        if self.is_connected:
            raise RuntimeError("connected already")
        self._connection = None
        wanted = self._options.protocol
        self.why_fallback = None
        try:
            await self._open("5" if wanted == "auto" else wanted)
        except NotSpokenError as error:
            if wanted != "auto":
                raise
            await self._open("3.1.1")
            self.why_fallback = str(error)

    async def _open(self, version: Version) -> None:
        options = replace(self._options, protocol=version)
        try:
            connection = _Connection(options, self._clock, self._on_lost)
        except ConfigError as error:  # a secret file that was there at the start is gone
            raise SinkError(str(error)) from None
        await connection.open()
        self._connection = connection
        self.spoken = version

    async def publish_batch(
        self, messages: Sequence[Message], *, is_urgent: bool = False
    ) -> dict[int, str]:
        """Publish in order and wait for every acknowledgement.

        Returns the refused ones, index: reason; a broker of 3.1.1 cannot refuse. Raises
        PublishLostError, a SinkError, when the connection goes first. A QoS 0 message counts as
        acknowledged when it was handed to the connection.
        """
        if self._connection is None:
            raise SinkError(f"{self._options.place}: not connected")
        return await self._connection.publish(messages, is_urgent=is_urgent)

    async def publish(self, message: Message, *, is_urgent: bool = False) -> None:
        """Publish one; raises SinkError when it is refused, too."""
        refused = await self.publish_batch([message], is_urgent=is_urgent)
        if refused:
            raise SinkError(f"{message.topic}: {refused[0]}")

    async def disconnect(self) -> None:
        """End the connection politely: the broker does not publish the will."""
        if self._connection is not None:
            await self._connection.close()

    def abort(self, why: str) -> None:
        """End the connection at once, as if the line had been cut."""
        if self._connection is not None:
            self._connection.abort(why)


def _end_of(transport: asyncio.BaseTransport) -> Instant | None:
    """When the certificate of the other side ends; None where it showed none."""
    shown = transport.get_extra_info("peercert") or {}
    if "notAfter" not in shown:
        return None
    return Instant(ssl.cert_time_to_seconds(shown["notAfter"]) * NS_PER_S)


def _reason_text(code: int) -> str:
    """What MQTT 5 calls a failure; a number that it does not know stays a number."""
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except (KeyError, ValueError):
        return f"reason {code:#x}"


def _start(options: MqttOptions) -> dict[str, Any]:
    """How MQTT 5 keeps a session over reconnects; 3.1.1 says it in the client's constructor."""
    if options.protocol != "5":
        return {}
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    if options.inbox is None:
        properties.ReceiveMaximum = 1  # what is sent and not taken comes marked as a repetition
    return {"clean_start": False, "properties": properties}
