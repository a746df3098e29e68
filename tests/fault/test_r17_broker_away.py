"""R17: the broker was away for an hour; now it is back, and an hour's fixes are waiting.

The hour is made in the time that committing it takes: fixes of 500 units and twelve alarms, while
nobody listens on the broker's port. Then a real Mosquitto starts. The backlog has to drain at 5,000
a second or more, new alarms raised meanwhile overtake it (99 of 100 within a second, seen by an
independent client), and nothing is missing at the end. ``--backlog 360000`` is the whole hour.

A machine that is busy with other things does not reach the rate with anything: then the drain is
held to a share of what the bare client publishes from memory at the same moment.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.incidents.book import EmergencyBook
from gateway.model import emergency as transitions
from gateway.model.events import EmergencyRaised, to_json
from gateway.outbox.dispatcher import Dispatcher
from gateway.outbox.rows import Lane, Write
from gateway.outbox.store import Outbox
from gateway.runtime.backoff import Backoff
from gateway.settings import OutboxSettings
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.mqtt_client import Message, MqttClient, MqttOptions
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Heard, Listener, retained
from tests.support.sink_rows import BASE, States, eventually, fix, loaded, raised

UNITS = 500
BASELINE = 20_000  # publishes of the bare client
SHARE = 0.4  # the rest is for reading back from disk, and for the alarms
ALARMS_AWAY = 12
RATE_A_S = 5_000
ALARM_EVERY_S = 0.05
ALARM_LIMIT_S = 1.0
PUT_AT_ONCE = 1_000


class Stage:
    """An outbox, its dispatcher and the MQTT sink, as the gateway puts them together."""

    def __init__(self, folder: Path, port: int) -> None:
        clock = SystemClock()
        self.states = States()
        self.book = EmergencyBook(300.0)
        self.outbox = Outbox(folder / "outbox.db", OutboxSettings(), clock)
        self.sink = MqttSink(
            loaded(folder, mqtt={"port": port}),
            states=self.states,
            clock=clock,
            backoff=Backoff(most_s=1.0),
        )
        self._clock = clock
        self._numbers = iter(range(10_000, 20_000))
        self.stored = 0
        self.pressed: dict[str, float] = {}  # event id: when

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self.outbox.open)
        self.outbox.register_sink(self.sink.name)
        dispatcher = Dispatcher(
            self.outbox, [self.sink], self._clock, new_pauses=lambda: Backoff(most_s=1.0)
        )
        self.dispatcher = dispatcher
        self.sink.on_open = lambda: dispatcher.retry(self.sink.name)
        self.outbox.start(asyncio.get_running_loop())
        tasks = [asyncio.ensure_future(each.run()) for each in (self.sink, dispatcher)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await self.outbox.close()

    async def put_fixes(self, first: int, count: int) -> None:
        for number in range(first, first + count, PUT_AT_ONCE):
            await self.outbox.room()
            for seq in range(number, number + PUT_AT_ONCE):
                write = Write(Lane.TELEMETRY, fix(seq % UNITS, seq), None, self._count)
                assert self.outbox.submit(write)
            await asyncio.sleep(0)

    async def press(self) -> None:
        """An alarm of a radio of its own; returns when it is on disk."""
        number = next(self._numbers)
        state = transitions.raised(raised(number))
        event: EmergencyRaised = raised(number)
        done = asyncio.get_running_loop().create_future()
        self.states.put(state)
        self.pressed[event.event_id] = time.monotonic()
        write = Write(Lane.EMERGENCY, event, state, done.set_result)
        assert self.outbox.submit(write)
        assert await done is None

    def _count(self, error: Exception | None) -> None:
        assert error is None
        self.stored += 1

    @property
    def delivered(self) -> int:
        """Fixes that the broker has confirmed."""
        (state,) = self.dispatcher.states()
        return state.delivered["telemetry"]


class Watch(Listener):
    """Remembers when each alarm came."""

    def __init__(self, port: int) -> None:
        super().__init__(port, f"{BASE}/event/emergency_raised")
        self.came: dict[str, float] = {}

    def _on_message(self, _client: object, _data: object, message: Heard) -> None:
        event_id = msgspec.json.decode(message.payload)["event_id"]
        self.came.setdefault(event_id, time.monotonic())


@pytest.mark.fault
@pytest.mark.quiet
@pytest.mark.needs("mosquitto")
@pytest.mark.timeout(600)
def test_an_hours_backlog_drains_and_new_alarms_overtake_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fixes: int = request.config.getoption("--backlog")
    broker = Mosquitto(tmp_path)

    async def story() -> None:
        stage = Stage(tmp_path, broker.port)
        async with stage.running():
            part = fixes // ALARMS_AWAY
            for first in range(0, fixes, part):
                await stage.put_fixes(first, part)
                await stage.press()
            await eventually(lambda: stage.stored == fixes, "the hour to be on disk", 60)
            assert stage.delivered == 0
            away = set(stage.pressed)
            stage.pressed.clear()
            with broker, Watch(broker.port) as watch:
                started = time.monotonic()
                while stage.delivered < fixes:
                    await asyncio.sleep(ALARM_EVERY_S)
                    if stage.sink.connects:
                        await stage.press()
                drained_s = time.monotonic() - started
                await eventually(
                    lambda: watch.came.keys() == away | stage.pressed.keys(), "every alarm"
                )
                kept = await asyncio.to_thread(retained, broker.port, f"{BASE}/unit/+/fix")
                bare = await baseline(broker.port)
            first_s = max(watch.came[own_id] for own_id in away) - started
            judge(stage, watch, first_s, drained_s=drained_s, bare=bare)
            newest = {f"{BASE}/unit/u{seq % UNITS}/fix": seq for seq in range(fixes)}
            assert len(kept) == UNITS
            for topic, seq in newest.items():
                assert (
                    msgspec.json.decode(kept[topic])["event_id"] == fix(seq % UNITS, seq).event_id
                )

    asyncio.run(story())


async def baseline(port: int) -> float:
    """What the bare client publishes a second, from memory, on this machine at this moment."""
    options = MqttOptions(host="127.0.0.1", port=port, client_id="baseline")
    client = MqttClient(options, SystemClock())
    await client.connect()
    messages = [
        Message(f"baseline/{n % UNITS}", to_json(fix(n % UNITS, n))) for n in range(BASELINE)
    ]
    started = time.monotonic()
    for first in range(0, BASELINE, 500):
        await client.publish_batch(messages[first : first + 500])
    rate = BASELINE / (time.monotonic() - started)
    await client.disconnect()
    return rate


def judge(stage: Stage, watch: Watch, first_s: float, *, drained_s: float, bare: float) -> None:
    """The figures, and what they have to be."""
    late = sorted(watch.came[own_id] - at for own_id, at in stage.pressed.items())
    p99 = late[min(len(late) - 1, round(len(late) * 0.99))]
    rate = stage.stored / drained_s
    print(
        f"{stage.stored} fixes drained in {drained_s:.1f} s: {rate:.0f} a second, the bare client "
        f"{bare:.0f}; {len(late)} new alarms: median {late[len(late) // 2]:.3f} s, p99 {p99:.3f} s,"
        f" worst {late[-1]:.3f} s; those of the outage {first_s:.2f} s after the broker's start"
    )
    assert rate >= min(RATE_A_S, SHARE * bare)
    assert len(late) > 10
    assert p99 <= ALARM_LIMIT_S
    assert not stage.sink.refused
