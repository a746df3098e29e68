"""How committed rows come to the sinks, whatever the sinks do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from gateway.clock import ManualClock
from gateway.errors import SinkError, StoreError
from gateway.outbox import dispatcher as module
from gateway.outbox.database import connect
from gateway.outbox.dispatcher import Dispatcher, SinkState
from gateway.outbox.rows import Delivery, Lane, Row
from gateway.outbox.store import Outbox
from gateway.runtime.backoff import Backoff
from tests.support.emergencies import at
from tests.support.outbox import PATIENCE_S, SMALL, Answers, event_id, fix, press, running


class Shelf:
    """A sink that keeps what it gets; ``trouble`` may raise, or refuse rows, before it does."""

    def __init__(self, name: str = "desk") -> None:
        self.name = name
        self.taken: list[str] = []
        self.batches: list[int] = []
        self.tries = 0
        self.trouble: Callable[[Sequence[Row]], Delivery | None] = lambda _rows: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.news = asyncio.Event()

    async def deliver(self, rows: Sequence[Row]) -> Delivery:
        self.tries += 1
        self.news.set()
        if rows[0].lane is Lane.TELEMETRY:
            await self.gate.wait()
        delivery = self.trouble(rows) or Delivery(accepted=[row.seq for row in rows])
        done = set(delivery.accepted)
        self.taken += [row.event.event_id for row in rows if row.seq in done]
        self.batches.append(len(rows))
        self.news.set()
        return delivery

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def has(self, *events: str) -> None:
        await self.until(lambda: set(events) <= set(self.taken))


def down(_rows: Sequence[Row]) -> Delivery | None:
    raise SinkError("nobody answers")


class Rig:
    """An outbox, sinks, and a dispatcher that runs."""

    def __init__(self, outbox: Outbox, dispatcher: Dispatcher, clock: ManualClock) -> None:
        self.outbox = outbox
        self.dispatcher = dispatcher
        self.clock = clock
        self.answers = Answers()

    async def store(self, *numbers: int) -> list[str]:
        for number in numbers:
            assert self.outbox.submit(self.answers.event(fix(number)))
        await self.answers.wait(len(self.answers.told) + len(numbers))
        return [event_id(number) for number in numbers]

    async def raise_emergency(self, number: int) -> str:
        self.outbox.submit(self.answers.raising(press(number)))
        await self.answers.wait(len(self.answers.told) + 1)
        return press(number).event_id

    def state(self, sink: str = "desk") -> SinkState:
        return next(state for state in self.dispatcher.states() if state.name == sink)


@asynccontextmanager
async def rig(folder: Path, *sinks: Shelf, is_fed: bool = True, **more: Any) -> AsyncIterator[Rig]:
    clock = ManualClock(at(0))
    names = [sink.name for sink in sinks]
    async with running(folder / "outbox.db", SMALL, clock=clock, sinks=names) as outbox:
        dispatcher = Dispatcher(outbox, sinks, clock, new_pauses=Backoff, **more)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(dispatcher.run()) if is_fed else None
            yield Rig(outbox, dispatcher, clock)
            if task is not None:
                task.cancel()


def test_each_sink_gets_every_row_once_and_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        desk, mqtt = Shelf("desk"), Shelf("mqtt")
        async with rig(tmp_path, desk, mqtt) as it:
            stored = await it.store(*range(30))
            async with asyncio.timeout(PATIENCE_S):
                await it.dispatcher.caught_up()
            assert desk.taken == mqtt.taken == stored
            assert it.state().condition == "up"
            assert it.state().lag == {"emergency": 0, "telemetry": 0}
            assert it.state().delivered == {"emergency": 0, "telemetry": 30}

    asyncio.run(story())


def test_a_sink_goes_on_after_a_restart_where_it_was(tmp_path: Path) -> None:
    async def story() -> None:
        desk, mqtt = Shelf("desk"), Shelf("mqtt")
        mqtt.trouble = down
        async with rig(tmp_path, desk, mqtt) as it:
            first = await it.store(*range(5))
            await desk.has(*first)
        desk, mqtt = Shelf("desk"), Shelf("mqtt")
        async with rig(tmp_path, desk, mqtt) as it:
            second = await it.store(*range(5, 8))
            await mqtt.has(*first, *second)
            await desk.has(*second)
        assert mqtt.taken == first + second
        assert desk.taken == second

    asyncio.run(story())


def test_a_sink_that_fails_is_offered_the_same_rows_until_it_takes_them(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        desk.trouble = down
        async with rig(tmp_path, desk) as it:
            with structlog.testing.capture_logs() as logs:
                stored = await it.store(1, 2)
                await desk.until(lambda: desk.tries > 0)
                for _ in range(40):
                    await it.clock.advance(30)
                assert 5 < desk.tries < 200
                assert (it.state().condition, it.state().why) == ("down", "nobody answers")
                assert it.state().lag["telemetry"] == 2
                desk.trouble = lambda _rows: None
                await it.clock.advance(31)
                await desk.has(*stored)
                assert it.state().condition == "up"
        assert desk.taken == stored
        told = [entry["event"] for entry in logs if entry["event"].startswith("sink_")]
        assert told == ["sink_down", "sink_up"], "once on each change, however many tries"

    asyncio.run(story())


def test_an_emergency_does_not_wait_for_telemetry_that_is_stuck(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        desk.gate.clear()
        async with rig(tmp_path, desk) as it:
            await it.store(1)
            await desk.until(lambda: desk.tries == 1)
            alarm = await it.raise_emergency(2)
            await desk.has(alarm)
            assert desk.taken == [alarm]
            desk.gate.set()

    asyncio.run(story())


def test_a_sink_that_fails_holds_no_other_sink_up(tmp_path: Path) -> None:
    async def story() -> None:
        desk, influx = Shelf("desk"), Shelf("influx")
        influx.trouble = down
        async with rig(tmp_path, desk, influx) as it:
            stored = await it.store(*range(10))
            await desk.has(*stored)
            await influx.until(lambda: influx.tries > 0)
            assert it.state("influx").condition == "down"
            assert it.state("desk").condition == "up"

    asyncio.run(story())


def test_rows_that_a_sink_will_never_take_are_set_aside_with_the_reason(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        bad = event_id(2)

        def refuse(rows: Sequence[Row]) -> Delivery:
            rejected: Mapping[int, str] = {
                row.seq: "field type conflict" for row in rows if row.event.event_id == bad
            }
            return Delivery([row.seq for row in rows if row.seq not in rejected], rejected)

        desk.trouble = refuse
        async with rig(tmp_path, desk) as it:
            await it.store(1, 2, 3)
            await desk.has(event_id(1), event_id(3))
            async with asyncio.timeout(PATIENCE_S):
                await it.dispatcher.caught_up()
            assert it.state().condition == "up"
        async with running(tmp_path / "outbox.db", sinks=["desk"]) as outbox:
            (aside,) = await outbox.set_aside_rows("desk", 10)
            assert aside.reason == "field type conflict"
            assert bad.encode() in aside.payload
            assert outbox.cursor("desk", Lane.TELEMETRY) == outbox.last_seq(Lane.TELEMETRY)
        assert desk.taken == [event_id(1), event_id(3)]

    asyncio.run(story())


def test_rows_in_neither_list_come_again_and_hold_the_cursor(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        is_partial = True

        def all_but_the_second(rows: Sequence[Row]) -> Delivery:
            if is_partial:
                return Delivery([row.seq for row in rows if row.event.event_id != event_id(2)])
            return Delivery([row.seq for row in rows])

        desk.trouble = all_but_the_second
        async with rig(tmp_path, desk, is_fed=False) as it:
            stored = await it.store(1, 2, 3)
        async with rig(tmp_path, desk) as it:
            await desk.until(lambda: desk.tries > 1)
            assert it.outbox.cursor("desk", Lane.TELEMETRY) == 1
            assert it.state().condition == "down"
            assert it.state().why == "took none of 1 rows"
            is_partial = False
            await it.clock.advance(31)
            await desk.has(*stored)
            async with asyncio.timeout(PATIENCE_S):
                await it.dispatcher.caught_up()
        assert sorted(desk.taken) == sorted(stored), "what was taken does not come again"

    asyncio.run(story())


def test_a_bug_in_a_sink_is_counted_and_the_rows_come_again(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()

        def bug(_rows: Sequence[Row]) -> Delivery | None:
            raise KeyError("lat")

        desk.trouble = bug
        async with rig(tmp_path, desk) as it:
            with structlog.testing.capture_logs() as logs:
                stored = await it.store(1)
                await desk.until(lambda: desk.tries > 0)
                await it.clock.advance(60)
                assert it.state().errors == desk.tries > 1
                desk.trouble = lambda _rows: None
                await it.clock.advance(31)
                await desk.has(*stored)
            assert [entry["event"] for entry in logs].count("sink_error") == 1
            assert "KeyError" in next(e["why"] for e in logs if e["event"] == "sink_down")

    asyncio.run(story())


def test_a_sink_that_lags_reads_from_disk_and_comes_back_to_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAIL_ROWS", {Lane.EMERGENCY: 5, Lane.TELEMETRY: 5})

    async def story() -> None:
        desk, slow = Shelf("desk"), Shelf("slow")
        slow.gate.clear()
        async with rig(tmp_path, desk, slow, batch_rows=7) as it:
            stored = await it.store(1)
            await slow.until(lambda: slow.tries == 1)
            for start in range(2, 42, 4):
                stored += await it.store(*range(start, start + 4))
                await desk.has(*stored)
            assert len(it.dispatcher._tails[Lane.TELEMETRY]) <= 5
            slow.gate.set()
            await slow.until(lambda: slow.tries > 2)
            await slow.has(*stored)
            later = await it.store(100)
            await slow.has(*later)
            assert slow.taken == desk.taken == stored + later
            assert max(slow.batches) == 7
            assert it.state("slow").condition == "up"

    asyncio.run(story())


def test_rows_thinned_away_do_not_stop_a_sink_that_lags(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        async with rig(tmp_path, desk, is_fed=False) as it:
            await it.store(*range(20))
        db = connect(tmp_path / "outbox.db")
        db.run("DELETE FROM telemetry_rows WHERE seq > 3")
        db.close()
        async with rig(tmp_path, desk) as it:
            await desk.has(event_id(2))
            later = await it.store(50)
            await desk.has(*later)
        assert desk.taken == [event_id(0), event_id(1), event_id(2), *later]

    asyncio.run(story())


def test_a_row_that_cannot_be_read_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        async with rig(tmp_path, desk, is_fed=False) as it:
            await it.store(*range(4))
        db = connect(tmp_path / "outbox.db")
        db.run("UPDATE telemetry_rows SET payload = ? WHERE seq = 2", (b'{"type": "no\nsuch"}',))
        db.run("UPDATE telemetry_rows SET payload = ? WHERE seq = 4", (b"\xff\x00",))
        db.close()
        async with rig(tmp_path, desk) as it:
            await desk.has(event_id(0), event_id(2))
            async with asyncio.timeout(PATIENCE_S):
                await it.dispatcher.caught_up()
        async with running(tmp_path / "outbox.db") as outbox:
            aside = await outbox.set_aside_rows("desk", 10)
            assert [(row.seq, row.reason) for row in aside] == [
                (4, "unreadable row"),
                (2, "unreadable row"),
            ]
        assert desk.taken == [event_id(0), event_id(2)]

    asyncio.run(story())


def test_a_disk_that_cannot_be_read_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        desk = Shelf()
        async with rig(tmp_path, desk, is_fed=False) as it:
            stored = await it.store(*range(4))

        async def fail(*_: Any) -> Any:
            raise StoreError("disk I/O error")

        async with rig(tmp_path, desk) as it:
            with monkeypatch.context() as patch:
                patch.setattr(it.outbox, "read_after", fail)
                await it.clock.advance(60)
                assert it.state().why == "disk I/O error"
            await it.clock.advance(31)
            await desk.has(*stored)

    asyncio.run(story())


def test_a_sink_seen_to_take_rows_again_is_not_kept_waiting_in_the_other_lane(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        desk = Shelf()
        desk.trouble = down
        async with rig(tmp_path, desk) as it:
            await it.store(1)
            for _ in range(20):
                await it.clock.advance(30)
            desk.trouble = lambda _rows: None
            alarm = await it.raise_emergency(2)
            await desk.has(alarm)
            await it.clock.advance(module.LOOK_EVERY_S)
            await desk.has(event_id(1))

    asyncio.run(story())


def test_a_sink_that_reconnected_can_ask_for_its_rows(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        desk.trouble = down
        async with rig(tmp_path, desk) as it:
            await it.store(1)
            for _ in range(20):
                await it.clock.advance(30)
            desk.trouble = lambda _rows: None
            it.dispatcher.retry("desk")
            await it.clock.advance(module.LOOK_EVERY_S)
            await desk.has(event_id(1))

    asyncio.run(story())


def test_the_lag_of_a_sink_that_is_far_behind_is_the_measured_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAIL_ROWS", {Lane.EMERGENCY: 2, Lane.TELEMETRY: 5})

    async def story() -> None:
        desk = Shelf()
        desk.trouble = down
        async with rig(tmp_path, desk) as it:
            await it.store(*range(40))
            for number in range(100, 104):
                await it.raise_emergency(number)
            async with asyncio.timeout(PATIENCE_S):
                while it.state().lag != {"emergency": 4, "telemetry": 40}:
                    await asyncio.sleep(0.02)

    asyncio.run(story())


def test_a_sink_behind_rows_that_are_all_gone_catches_up(tmp_path: Path) -> None:
    async def story() -> None:
        desk = Shelf()
        async with rig(tmp_path, desk, is_fed=False) as it:
            await it.store(*range(5))
        async with rig(tmp_path, desk, is_fed=False) as it:
            db = connect(tmp_path / "outbox.db")
            db.run("DELETE FROM telemetry_rows")
            db.close()
            async with asyncio.TaskGroup() as group:
                task = group.create_task(it.dispatcher.run())
                async with asyncio.timeout(PATIENCE_S):
                    await it.dispatcher.caught_up()
                task.cancel()
            assert it.outbox.cursor("desk", Lane.TELEMETRY) == 5
        assert desk.taken == []

    asyncio.run(story())


def test_a_dispatcher_without_sinks_has_nothing_to_do(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig(tmp_path) as it:
            await it.store(1)
            assert it.dispatcher.states() == []
            await it.dispatcher.caught_up()

    asyncio.run(story())


class Gatherer(Shelf):
    """A sink that likes full batches."""

    batch_rows = 3
    gather_s = 1.0


def test_a_sink_that_gathers_gets_telemetry_by_age_or_size_and_alarms_at_once(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        influx = Gatherer("influx")
        async with rig(tmp_path, influx) as it:
            early = await it.store(1)
            alarm = await it.raise_emergency(9)
            await influx.has(alarm)
            assert influx.taken == [alarm], "the position waits for others, the alarm does not"
            early += await it.store(2)
            await it.clock.advance(1.1)
            await influx.has(*early)
            assert influx.batches == [1, 2], "by age"
            late = await it.store(3, 4, 5, 6, 7, 8)
            await it.clock.advance(1.1)
            await influx.has(*late)
            assert influx.batches[2:] == [3, 3], "by size"

    asyncio.run(story())
