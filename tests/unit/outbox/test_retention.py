"""What leaves the outbox, when, and what never does."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.model import emergency as transitions
from gateway.model.events import EmergencyClosed, TextReceived
from gateway.model.identity import EventId
from gateway.outbox import retention
from gateway.outbox.database import connect
from gateway.outbox.engine import Engine
from gateway.outbox.rows import Lane, Write
from gateway.outbox.tables import SetAside, Tables
from gateway.settings import OutboxSettings
from tests.support.emergencies import at
from tests.support.outbox import (
    SMALL,
    event_id,
    fix,
    ids,
    no_answer,
    open_engine,
    press,
    put,
    put_emergency,
)

DAY = 86_400.0
KEEP = OutboxSettings(reserve_bytes=65536, keep_s=7 * DAY)
TIGHT = OutboxSettings(reserve_bytes=65536, max_bytes=200_000)

EngineOf = Callable[[OutboxSettings], Engine]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(at(0))


@pytest.fixture
def engine_of(tmp_path: Path, clock: ManualClock) -> Iterator[EngineOf]:
    with ExitStack() as stack:

        def opened(settings: OutboxSettings) -> Engine:
            engine = open_engine(tmp_path / "outbox.db", settings, clock=clock)
            stack.callback(engine.close)
            return engine

        yield opened


def later(clock: ManualClock, seconds: float) -> None:
    """Time goes by."""
    asyncio.run(clock.advance(seconds))


def sweep(engine: Engine, sinks: tuple[str, ...] = ("desk", "influx")) -> None:
    for _ in range(1000):
        if not engine.sweep(sinks):
            return
    raise AssertionError("retention never ends")


def cursors(engine: Engine, **by_sink: int) -> None:
    engine.save({(sink, lane): seq for sink, seq in by_sink.items() for lane in Lane}, ())


def kept(engine: Engine, lane: Lane = Lane.TELEMETRY) -> list[EventId]:
    return ids(engine.tables.last_rows(lane, 1_000_000))


def test_a_row_leaves_when_every_durable_sink_has_it_and_its_time_is_over(
    engine_of: EngineOf, clock: ManualClock
) -> None:
    engine = engine_of(KEEP)
    old = put(engine, fix(1), fix(2), fix(3))
    later(clock, 8 * DAY)
    put(engine, fix(4))
    cursors(engine, desk=old[2].seq, influx=old[1].seq)
    sweep(engine)
    assert kept(engine) == [event_id(3), event_id(4)]
    assert engine.counts.expired == 2
    cursors(engine, desk=old[2].seq + 1, influx=old[2].seq + 1)
    sweep(engine)
    assert kept(engine) == [event_id(4)], "delivered, but too young"


def test_a_clock_that_is_ahead_takes_nothing_out(engine_of: EngineOf, clock: ManualClock) -> None:
    engine = engine_of(KEEP)
    (row,) = put(engine, fix(1))
    cursors(engine, desk=row.seq, influx=row.seq)
    clock.step_wall(8 * DAY)
    sweep(engine)
    assert kept(engine) == [event_id(1)]
    engine.close()
    again = engine_of(KEEP)
    sweep(again)
    assert kept(again) == [event_id(1)], "the machine is started again"
    later(clock, 7 * DAY)
    sweep(again)
    assert kept(again) == [], "so it was off for a week"


def test_a_sink_that_is_not_durable_holds_nothing_back(
    engine_of: EngineOf, clock: ManualClock
) -> None:
    engine = engine_of(KEEP)
    (row,) = put(engine, fix(1))
    later(clock, 8 * DAY)
    cursors(engine, desk=row.seq, mirror=0)
    sweep(engine, ("desk",))
    assert kept(engine) == []


def test_delivered_emergency_rows_leave_and_open_states_stay(
    engine_of: EngineOf, clock: ManualClock
) -> None:
    engine = engine_of(KEEP)
    put_emergency(engine, press(1))
    later(clock, 400 * DAY)
    cursors(engine, desk=engine.last_seq, influx=engine.last_seq)
    sweep(engine)
    assert kept(engine, Lane.EMERGENCY) == []
    assert engine.tables.open_emergencies() == [transitions.raised(press(1))]


def test_a_closed_emergency_is_known_for_a_long_time_and_then_forgotten(
    engine_of: EngineOf, clock: ManualClock
) -> None:
    engine = engine_of(KEEP)
    put_emergency(engine, press(1))
    closing = EmergencyClosed(
        event_id=event_id(2),
        received_at=at(2),
        emergency_id=press(1).event_id,
        by="li",
        verdict="true",
    )
    state = transitions.closed(transitions.raised(press(1)), closing)
    engine.commit(Lane.EMERGENCY, [Write(Lane.EMERGENCY, closing, state, no_answer)])
    later(clock, 80 * DAY)
    sweep(engine)
    assert engine.tables.recent_emergencies(at(0)) == [state]
    later(clock, 11 * DAY)
    sweep(engine)
    assert engine.tables.recent_emergencies(at(0)) == []


def test_beyond_the_budget_delivered_rows_leave_first_whatever_their_age(
    engine_of: EngineOf,
) -> None:
    engine = engine_of(TIGHT)
    for start in range(0, 1500, 500):
        put(engine, *(fix(number, radio=number) for number in range(start, start + 500)))
    assert engine.tables.used_bytes() > TIGHT.max_bytes
    cursors(engine, desk=1400, influx=1300)
    sweep(engine)
    assert engine.tables.used_bytes() <= TIGHT.max_bytes
    assert engine.counts.thinned == 0
    assert set(kept(engine)) >= {event_id(number) for number in range(1300, 1500)}


def test_undelivered_telemetry_is_thinned_to_the_latest_fix_of_each_radio(
    engine_of: EngineOf,
) -> None:
    engine = engine_of(TIGHT)
    text = TextReceived(event_id=event_id(0, "text"), radio_id=fix(0).radio_id, body="hello")
    put(engine, text, fix(0, radio=50), fix(1, radio=50, fix_valid=False))
    for start in range(0, 1500, 500):
        put(engine, *(fix(number, radio=number % 10) for number in range(start, start + 500)))
    put_emergency(engine, press(1))
    cursors(engine, desk=0, influx=0)
    sweep(engine)
    assert kept(engine) == [
        text.event_id,
        event_id(0),  # the last place of a radio that has had no fix since
        event_id(1),
        *(event_id(number) for number in range(1490, 1500)),
    ]
    assert engine.counts.thinned == 1490
    assert engine.counts.expired == 0
    assert kept(engine, Lane.EMERGENCY) == [press(1).event_id]


def test_where_thinning_wins_nothing_the_oldest_telemetry_leaves_and_no_emergency(
    engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETE_ROWS", 100)
    engine = engine_of(TIGHT)
    for number in range(20):
        put_emergency(engine, press(number, radio=number))
    for start in range(0, 1500, 500):
        put(engine, *(fix(number, radio=number) for number in range(start, start + 500)))
    cursors(engine, desk=0, influx=0)
    sweep(engine)
    assert engine.tables.used_bytes() <= TIGHT.max_bytes
    left = kept(engine)
    assert left == [event_id(number) for number in range(1500 - len(left), 1500)]
    assert engine.counts.thinned == 1500 - len(left) > 0
    assert len(kept(engine, Lane.EMERGENCY)) == 20


def test_a_piece_of_retention_is_bounded(
    engine_of: EngineOf, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETE_ROWS", 10)
    engine = engine_of(KEEP)
    put(engine, *(fix(number) for number in range(35)))
    later(clock, 8 * DAY)
    cursors(engine, desk=35, influx=35)
    assert engine.sweep(("desk", "influx"))
    assert len(kept(engine)) == 25


def test_rows_stamped_by_a_clock_that_was_ahead_still_leave_for_room(
    engine_of: EngineOf, clock: ManualClock
) -> None:
    clock.step_wall(20_000 * DAY)
    engine = engine_of(TIGHT)
    for start in range(0, 1500, 500):
        put(engine, *(fix(number, radio=number) for number in range(start, start + 500)))
    clock.step_wall(-20_000 * DAY)
    cursors(engine, desk=1500, influx=1500)
    sweep(engine)
    assert engine.tables.used_bytes() <= TIGHT.max_bytes


def test_rows_set_aside_are_kept_up_to_a_bound(
    engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.outbox import engine as module  # noqa: PLC0415 - patched below

    monkeypatch.setattr(module, "SET_ASIDE_KEPT", 5)
    monkeypatch.setattr(module, "SET_ASIDE_WAITING", 20)
    engine = engine_of(SMALL)
    refused = [SetAside("influx", Lane.TELEMETRY, each, "no", b"{}", at(0)) for each in range(30)]
    engine.save({}, refused)
    assert [row.seq for row in engine.tables.set_aside_rows("influx", 100)] == [19, 18, 17, 16, 15]
    assert engine.set_aside_lost == 10
    assert engine.set_aside_counts == {"influx": 5}, "as many as are kept"
    assert engine.counts.rejected == {"influx": 30}


def test_rows_that_were_taken_after_all_are_set_aside_no_more(
    tmp_path: Path, engine_of: EngineOf
) -> None:
    """``pdt-gateway outbox --offer-again`` takes them out of the file of a gateway that runs."""
    engine = engine_of(SMALL)
    refused = [SetAside("influx", Lane.TELEMETRY, each, "no", b"{}", at(0)) for each in range(10)]
    engine.save({}, refused)
    assert engine.set_aside_counts == {"influx": 10}
    from_outside = Tables(connect(tmp_path / "outbox.db"))
    numbers = [number for number, _, _ in from_outside.numbered_set_aside("influx")]
    from_outside.drop_set_aside(numbers[:7])
    sweep(engine)
    assert engine.set_aside_counts == {"influx": 3}
    from_outside.drop_set_aside(numbers)
    from_outside.db.close()
    sweep(engine)
    assert engine.set_aside_counts == {}
    assert engine.counts.rejected == {"influx": 10}
