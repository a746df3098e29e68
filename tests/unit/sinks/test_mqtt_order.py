"""What goes out in which order, and what an acknowledgement is worth: against a scripted broker."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.errors import SinkError
from gateway.model import emergency as transitions
from gateway.outbox.rows import Lane
from gateway.runtime.backoff import Backoff
from gateway.sinks import mqtt_client
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.mqtt_client import Message, MqttClient, MqttOptions, PublishLostError
from tests.support.fake_broker import FakeBroker, serving
from tests.support.sink_rows import (
    BASE,
    States,
    eventually,
    fix,
    link_view,
    loaded,
    raised,
    row,
    running,
    unit_view,
)


def make_sink(folder: Path, port: int, states: States, **settings: Any) -> MqttSink:
    return MqttSink(
        loaded(folder, mqtt={"port": port, **settings}),
        states=states,
        clock=SystemClock(),
        backoff=Backoff(first_s=0.02, most_s=0.1),
    )


def messages(count: int) -> list[Message]:
    return [Message(f"t/{number}", b"x") for number in range(count)]


async def connected(broker: FakeBroker, **options: Any) -> MqttClient:
    client = MqttClient(
        MqttOptions(host="127.0.0.1", port=broker.port, client_id="test", **options), SystemClock()
    )
    await client.connect()
    return client


def test_after_a_reconnect_emergencies_come_first_then_states_then_the_backlog(
    tmp_path: Path,
) -> None:
    states = States()
    states.put(transitions.raised(raised(1)), transitions.raised(raised(2)))
    states.unit_views = {"u3": unit_view(3)}
    states.link_views = {"lan": link_view()}
    expected = [
        "gateway/state",
        "unit/u1/emergency",
        "unit/u2/emergency",
        "gateway/info",
        "link/lan/state",
        "gateway/health",
        "unit/u3/status",
        "unit/u4/fix",
    ]

    async def deliver_when_open(sink: MqttSink) -> None:
        while True:
            try:
                await sink.deliver([row(1, fix(4))])
            except SinkError:
                await asyncio.sleep(0)
            else:
                return

    async def scenario() -> None:
        async with (
            FakeBroker().serving() as broker,
            running(make_sink(tmp_path, broker.port, states)) as sink,
        ):
            for _ in range(2):
                broker.topics.clear()
                sink._client.abort("cut by the test")
                await deliver_when_open(sink)
                heard = [topic.removeprefix(f"{BASE}/") for topic in broker.topics]
                assert heard == expected

    asyncio.run(scenario())


def test_an_emergency_overtakes_telemetry_that_nobody_acknowledges(tmp_path: Path) -> None:
    def acknowledge(topic: str, _count: int) -> bool:
        return not topic.endswith("/fix")

    press = raised(1)
    states = States()
    states.put(transitions.raised(press))

    async def scenario() -> None:
        async with (
            FakeBroker(acknowledge).serving() as broker,
            running(make_sink(tmp_path, broker.port, states, inflight=20)) as sink,
        ):
            backlog = asyncio.ensure_future(
                sink.deliver([row(seq, fix(seq, seq)) for seq in range(100)])
            )
            await eventually(lambda: broker.unacknowledged == 15, "telemetry's window to fill")
            async with asyncio.timeout(2):
                delivery = await sink.deliver([row(200, press)])
            assert delivery.accepted == [200]
            assert not backlog.done()
            assert broker.unacknowledged == 15, "telemetry never takes all of the window"
            sink._client.abort("cut by the test")
            with pytest.raises(SinkError):
                await backlog

    asyncio.run(scenario())


def test_each_lane_that_opens_is_told_so_that_no_pause_has_to_end(tmp_path: Path) -> None:
    opened: list[set[Lane]] = []

    async def scenario() -> None:
        async with FakeBroker().serving() as broker:
            sink = make_sink(tmp_path, broker.port, States())
            sink.on_open = lambda: opened.append(set(sink._open))
            async with running(sink):
                pass

    asyncio.run(scenario())
    assert opened == [{Lane.EMERGENCY}, {Lane.EMERGENCY, Lane.TELEMETRY}]


def test_rows_acknowledged_before_the_cut_are_accepted_and_the_others_come_again(
    tmp_path: Path,
) -> None:
    fixes = 0

    def acknowledge(topic: str, _count: int) -> bool | None:
        nonlocal fixes
        fixes += topic.endswith("/fix")
        return True if fixes <= 30 else None

    async def scenario() -> None:
        async with (
            FakeBroker(acknowledge).serving() as broker,
            running(make_sink(tmp_path, broker.port, States())) as sink,
        ):
            delivery = await sink.deliver([row(seq, fix(seq, seq)) for seq in range(50)])
        assert list(delivery.accepted) == list(range(len(delivery.accepted)))
        assert 0 < len(delivery.accepted) <= 30
        assert not delivery.rejected

    asyncio.run(scenario())


def test_a_broker_that_acknowledges_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_client, "ACK_TIMEOUT_S", 0.2)
    monkeypatch.setattr(mqtt_client, "TICK_S", 0.05)

    async def scenario() -> None:
        async with FakeBroker(lambda _topic, count: count <= 10).serving() as broker:
            client = await connected(broker)
            with pytest.raises(PublishLostError, match="no acknowledgement") as lost:
                await client.publish_batch(messages(40))
            assert lost.value.acknowledged == frozenset(range(10))
            assert not client.is_connected
            with pytest.raises(SinkError):
                await client.publish_batch(messages(1))

    asyncio.run(scenario())


def test_a_slow_broker_that_still_acknowledges_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_client, "ACK_TIMEOUT_S", 0.2)
    monkeypatch.setattr(mqtt_client, "TICK_S", 0.05)

    async def scenario() -> None:
        async with FakeBroker(lambda _topic, count: count % 2 == 0).serving() as broker:
            client = await connected(broker, inflight=2)
            sending = asyncio.ensure_future(client.publish_batch(messages(20)))
            for _ in range(40):
                await asyncio.sleep(0.02)
                broker.release()
            assert await sending == {}
            await client.disconnect()

    asyncio.run(scenario())


@pytest.mark.parametrize(("inflight", "receive_maximum"), [(200, 5), (3, 65_535), (1, 10), (8, 1)])
def test_the_smaller_of_both_windows_is_kept(inflight: int, receive_maximum: int) -> None:
    async def scenario() -> None:
        async with FakeBroker(receive_maximum=receive_maximum).serving() as broker:
            client = await connected(broker, inflight=inflight)
            ordinary = client.publish_batch(messages(30))
            urgent = client.publish_batch(messages(30), is_urgent=True)
            assert not any(await asyncio.gather(ordinary, urgent)), "nothing is refused"
            assert broker.most_unacknowledged == min(inflight, receive_maximum)
            await client.disconnect()

    asyncio.run(scenario())


def test_a_frame_that_is_not_mqtt_ends_the_connection_and_nothing_else() -> None:
    async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xf3\xff\xff\xff\xff\xff\xff")
        await reader.read()

    async def scenario() -> None:
        async with serving(talk_nonsense) as port:
            client = MqttClient(MqttOptions("127.0.0.1", port, "test"), SystemClock())
            await client.connect()
            await eventually(lambda: not client.is_connected, "the end of the connection")
            assert client.why_lost

    asyncio.run(scenario())


def test_connecting_to_nobody_says_who_is_not_there() -> None:
    async def scenario() -> None:
        async with FakeBroker().serving() as broker:
            port = broker.port
        client = MqttClient(MqttOptions("127.0.0.1", port, "test"), SystemClock())
        with pytest.raises(SinkError, match=f"127.0.0.1:{port}: .*refused"):
            await client.connect()

    asyncio.run(scenario())


def test_a_broker_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_client, "CONNECT_TIMEOUT_S", 0.2)

    async def stay_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scenario() -> None:
        async with serving(stay_silent) as port:
            client = MqttClient(MqttOptions("127.0.0.1", port, "test"), SystemClock())
            with pytest.raises(SinkError, match=r"no answer in 0\.2 s"):
                await client.connect()

    asyncio.run(scenario())
