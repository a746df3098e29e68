"""MQTT 5 where the broker speaks it, 3.1.1 where it does not, and a clear line either way."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.broker import EmbeddedBroker
from gateway.clock import SystemClock
from gateway.runtime.backoff import Backoff
from gateway.sinks.mqtt import MqttSink
from tests.support.fake_broker import FakeBroker, serving
from tests.support.mosquitto import Mosquitto
from tests.support.sink_rows import States, eventually, fix, loaded, row, running

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PROTOCOL_LEVEL = 8  # where a CONNECT of fewer than 128 bytes says 4 (3.1.1) or 5


def make_sink(folder: Path, port: int, **mqtt: Any) -> MqttSink:
    return MqttSink(
        loaded(folder, mqtt={"port": port, **mqtt}),
        states=States(),
        clock=SystemClock(),
        backoff=Backoff(first_s=0.02, most_s=0.1),
    )


async def works(sink: MqttSink) -> list[dict[str, Any]]:
    """Deliver something over two connections; gives what was logged."""
    with structlog.testing.capture_logs() as logs:
        async with running(sink):
            assert (await sink.deliver([row(1, fix(1))])).accepted == [1]
            sink._client.abort("cut by the test")
            await eventually(lambda: sink.connects == 2, "the second connection")
    return [dict(each) for each in logs]


async def down(sink: MqttSink) -> str:
    task = asyncio.ensure_future(sink.run())
    await eventually(lambda: sink.why_down not in {None, "not started yet"}, "a refusal")
    why = str(sink.why_down)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return why


@pytest.mark.needs("mosquitto")
def test_mqtt_5_is_spoken_where_the_broker_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            logs = await works(make_sink(tmp_path, broker.port))
        assert {each["protocol"] for each in logs if each["event"] == "mqtt_up"} == {"5"}
        assert not [each for each in logs if each["event"] == "mqtt_fallback"]

    asyncio.run(scenario())


def test_a_broker_of_3_1_1_is_spoken_to_in_its_own_version_and_that_is_said_once(
    tmp_path: Path,
) -> None:
    """NATS, a real broker that refuses MQTT 5."""

    async def scenario() -> None:
        nats = EmbeddedBroker(tmp_path / "broker", "127.0.0.1", 0)
        task = asyncio.ensure_future(nats.run())
        await nats.wait_ready()
        _, port = nats.endpoint
        logs = await works(make_sink(tmp_path, port))
        assert {each["protocol"] for each in logs if each["event"] == "mqtt_up"} == {"3.1.1"}
        (fallback,) = [each for each in logs if each["event"] == "mqtt_fallback"]
        assert fallback["log_level"] == "warning"
        assert "5" in fallback["why"]
        refused = await down(make_sink(tmp_path, port, protocol="5"))
        assert 'set mqtt.protocol to "auto" or "3.1.1"' in refused
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def only_3_1_1(broker: FakeBroker) -> Serve:
    """A broker that hangs up on MQTT 5 without a word, as old ones do."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(PROTOCOL_LEVEL + 1)
        if first[PROTOCOL_LEVEL] == 5:
            return
        again = asyncio.StreamReader()
        again.feed_data(first)

        async def feed() -> None:
            while data := await reader.read(4096):
                again.feed_data(data)
            again.feed_eof()

        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed())
            await broker._serve(again, writer)
            feeding.cancel()

    return serve


def test_a_broker_that_hangs_up_on_mqtt_5_gets_3_1_1(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(only_3_1_1(FakeBroker())) as port:
            logs = await works(make_sink(tmp_path, port))
        assert {each["protocol"] for each in logs if each["event"] == "mqtt_up"} == {"3.1.1"}

    asyncio.run(scenario())


@pytest.mark.needs("mosquitto", "mosquitto_passwd")
def test_a_refused_password_is_no_reason_for_another_version(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path, "allow_anonymous false") as broker:
            why = await down(make_sink(tmp_path, broker.port, user="gateway"))
        assert "check mqtt.user ('gateway')" in why

    asyncio.run(scenario())
