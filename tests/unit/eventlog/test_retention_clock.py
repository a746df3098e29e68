"""A wrong clock deletes no history, and a long absence is not kept for ever."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.eventlog.store import EventLog
from gateway.model.quantities import Instant
from gateway.retention_clock import DOUBT_S, RetentionClock
from tests.support.desk_rows import T0, at, fix, rows, text

DAY_S = 86_400.0
KEEP_S = 30 * DAY_S
Body = Callable[[EventLog], Awaitable[None]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "desk.db"


def run_of(file: Path, clock: ManualClock, body: Body) -> None:
    """The gateway starts, does something, and stops."""

    async def main() -> None:
        log = EventLog(file, clock, history_keep_s=KEEP_S)
        await log.open()
        try:
            await body(log)
        finally:
            await log.close()

    asyncio.run(main())


def positions(file: Path) -> int:
    connection = sqlite3.connect(file)
    (count,) = connection.execute("SELECT count(*) FROM position").fetchone()
    connection.close()
    return int(count)


async def an_hour_of_fixes(log: EventLog) -> None:
    await log.apply(rows(*(fix(second) for second in range(0, 3600, 12))))


@pytest.mark.parametrize("step_d", [31.0, 400.0])
def test_a_clock_that_is_ahead_for_a_moment_deletes_nothing(file: Path, step_d: float) -> None:
    clock = ManualClock(at(3600))

    async def body(log: EventLog) -> None:
        await an_hour_of_fixes(log)
        await log.prune()
        clock.step_wall(step_d * DAY_S)
        await log.apply(rows(fix(3600 + step_d * DAY_S), first=1000))  # stamped by the wrong clock
        for _ in range(6):
            assert await log.prune() == 0
            await clock.advance(600)
        clock.step_wall(-step_d * DAY_S)
        assert await log.prune() == 0

    run_of(file, clock, body)
    assert positions(file) == 301


def test_a_start_while_the_clock_is_ahead_deletes_nothing(file: Path) -> None:
    run_of(file, ManualClock(at(3600)), an_hour_of_fixes)
    wrong = ManualClock(at(400 * DAY_S))

    async def body(log: EventLog) -> None:
        assert await log.prune() == 0
        await log.apply(rows(fix(400 * DAY_S), text(400 * DAY_S, "x"), first=1000))
        await wrong.advance(3600)

    for _ in range(3):  # whoever sees a wrong time starts the machine again
        run_of(file, wrong, body)
    assert positions(file) == 301


def test_after_months_switched_off_what_is_old_goes_after_a_week_of_running(file: Path) -> None:
    run_of(file, ManualClock(at(3600)), an_hour_of_fixes)
    clock = ManualClock(at(90 * DAY_S))

    async def day(log: EventLog) -> None:
        for _ in range(24):
            await log.prune()
            await clock.advance(3600)

    for _ in range(6):  # started anew each morning
        run_of(file, clock, day)
    assert positions(file) == 300
    for _ in range(2):
        run_of(file, clock, day)
    assert positions(file) == 0


def test_retention_keeps_its_time_while_the_clock_is_right(file: Path) -> None:
    clock = ManualClock(at(3600))

    async def body(log: EventLog) -> None:
        await an_hour_of_fixes(log)
        for hour in range(int(KEEP_S / 3600) + 1):
            gone = await log.prune()
            assert (gone > 0) == (hour == KEEP_S / 3600), hour
            await clock.advance(3600)

    run_of(file, clock, body)
    assert positions(file) == 0


def test_a_clock_set_back_is_never_run_ahead_of() -> None:
    clock = ManualClock(T0)
    retention = RetentionClock("desk.db", clock, T0)
    clock.step_wall(-100 * DAY_S)
    assert retention.now() == clock.now()
    asyncio.run(clock.advance(DOUBT_S))
    assert retention.now() == clock.now()
    clock.step_wall(50 * DAY_S)
    assert retention.now() == Instant(clock.now() - round(50 * DAY_S * 1e9)), "believed meanwhile"


def test_a_small_step_is_believed_at_once() -> None:
    clock = ManualClock(T0)
    retention = RetentionClock("desk.db", clock, T0)
    clock.step_wall(0.9 * DAY_S)
    assert retention.now() == clock.now()
