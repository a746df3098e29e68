"""The desk's own log: one row an event id, folded emergencies, tracks, retention."""

import asyncio
import itertools
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.errors import ConfigError, SinkError
from gateway.eventlog.schema import MIGRATIONS
from gateway.eventlog.store import EventLog, EventLogError
from gateway.model.emergency import raised as begin
from gateway.model.events import AnyEvent, event_from_json
from gateway.model.quantities import Instant
from gateway.sinks.desk import DeskSink
from tests.support.desk_rows import T0, at, closed, ended, fix, raised, rows, taken, text

HOUR_S = 3600.0
Body = Callable[[EventLog, ManualClock], Awaitable[None]]


def with_log(file: Path, body: Body, *, history_keep_s: float = 30 * 86_400.0) -> None:
    async def main() -> None:
        clock = ManualClock(T0)
        log = EventLog(file, clock, history_keep_s=history_keep_s)
        await log.open()
        try:
            await body(log, clock)
        finally:
            await log.close()

    asyncio.run(main())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "desk.db"


def dump(file: Path) -> list[str]:
    """Everything in the file as text, for comparing."""
    with sqlite3.connect(file) as connection:
        lines = list(connection.iterdump())
    connection.close()
    return [line for line in lines if "sqlite_sequence" not in line]


EVERYTHING: tuple[AnyEvent, ...] = (
    fix(0),
    fix(5, lat_deg=None),
    raised(6),
    text(7, "到达北门"),
    taken(8),
    taken(8, by="王芳"),
    ended(9),
    closed(10),
    raised(20, press="2"),
    fix(20, radio="jt808:013800138000", unit=None),
)


def test_the_same_rows_twice_change_nothing(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        assert await log.apply(rows(*EVERYTHING)) == len(EVERYTHING)
        before = dump(file)
        assert await log.apply(rows(*EVERYTHING)) == 0
        assert await log.apply(rows(*reversed(EVERYTHING))) == 0
        assert dump(file) == before

    with_log(file, body)


def test_an_emergency_is_folded_from_its_events(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.apply(rows(*EVERYTHING))
        lists = await log.emergencies(10)
        assert [each.emergency_id for each in lists.open] == ["raised-2"]
        (done,) = lists.closed
        assert done.phase == "closed"
        assert done.taken_by == "王芳"
        assert done.ended_at == at(9)
        assert done.verdict == "true"
        assert done.note == "已处置"

    with_log(file, body)


def test_a_closed_emergency_is_not_opened_by_an_older_state(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.apply(rows(raised(0), taken(1), closed(2)))
        await log.put_emergencies([begin(raised(0))])
        known = await log.emergency(raised(0).event_id)
        assert known is not None
        assert known.phase == "closed"

    with_log(file, body)


def test_a_state_put_by_the_runtime_survives_its_raising_row(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        later = msgspec.structs.replace(begin(raised(0)), frames=7, refreshed_at=at(6))
        await log.put_emergencies([later])
        await log.apply(rows(raised(0), taken(9)))
        known = await log.emergency(later.emergency_id)
        assert known is not None
        assert (known.frames, known.phase) == (7, "taken")

    with_log(file, body)


def test_last_fixes_give_the_newest_valid_one_of_each_radio(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.apply(
            rows(
                fix(10, lat_deg=22.1),
                fix(30, lat_deg=22.3),
                fix(20, lat_deg=22.2),  # came late
                fix(40, lat_deg=None),
                fix(50, lat_deg=22.5, unit="other-unit"),  # the radio was handed on
                fix(15, radio="dmr:1002", lat_deg=23.0, unit=None),
            )
        )
        found = {each.radio_id: each for each in await log.last_fixes()}
        assert set(found) == {"pdt:80020200", "dmr:1002"}
        newest = found[fix(0).radio_id]
        assert (newest.lat_deg, newest.unit_id, newest.fix_at) == (22.5, "other-unit", at(50))
        assert found[fix(0, radio="dmr:1002").radio_id].unit_id is None

    with_log(file, body)


def test_a_fix_from_a_clock_ahead_is_placed_when_it_came(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        ahead = fix(8 * HOUR_S, received_s=10, lat_deg=22.1)
        await log.apply(rows(ahead, fix(20, lat_deg=22.2)))
        (newest,) = await log.last_fixes()
        assert newest.lat_deg == 22.2
        track = await log.track("mobile-1-a", at(0), at(60), 10)
        assert [point.at for point in track.points] == [at(10), at(20)]
        assert track.points[0].fix.fix_at == at(8 * HOUR_S)

    with_log(file, body)


def test_a_track_follows_the_unit_or_the_radio(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.apply(
            rows(
                fix(10),
                fix(20, unit="other-unit"),
                fix(30, radio="dmr:1002"),
                fix(40, unit=None),
                fix(70),
            )
        )
        of_unit = await log.track("mobile-1-a", at(0), at(60), 10)
        assert [point.at for point in of_unit.points] == [at(10), at(30)]
        of_radio = await log.track("pdt:80020200", at(0), at(60), 10)
        assert [point.at for point in of_radio.points] == [at(10), at(20), at(40)]
        assert not (await log.track("mobile-1-a", at(0), at(60), 10, team="village-3")).points

    with_log(file, body)


def test_a_long_track_is_thinned_evenly_and_keeps_both_ends(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.apply(rows(*(fix(5 * n) for n in range(1000))))
        whole = await log.track("mobile-1-a", at(0), at(5000), 1000)
        assert len(whole.points) == 1000
        assert not whole.is_thinned
        thin = await log.track("mobile-1-a", at(0), at(4995), 50)
        times = [point.at for point in thin.points]
        assert thin.is_thinned
        assert 45 <= len(times) <= 50
        assert (times[0], times[-1]) == (at(0), at(4995))
        gaps = [(b - a) / 1e9 for a, b in itertools.pairwise(times)]
        assert max(gaps) <= 110
        assert times == sorted(times)

    with_log(file, body)


def test_events_are_read_newest_first_or_from_a_place_onwards(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.apply(
            rows(text(1, "一"), raised(2), text(3, "三"), text(4, "四", team="village-3"))
        )
        newest = await log.events(limit=2)
        assert [each.seq for each in newest] == [4, 3]
        later = await log.events(after_seq=1, types=["text"])
        assert [each.seq for each in later] == [3, 4]
        assert event_from_json(bytes(later[0].event)) == text(3, "三")
        own = await log.events(team="mobile-1", since=at(2))
        assert [each.seq for each in own] == [3, 2]

    with_log(file, body)


def test_retention_never_touches_an_open_emergency_nor_the_audit_log(file: Path) -> None:
    async def body(log: EventLog, clock: ManualClock) -> None:
        await log.apply(
            rows(fix(0), text(0, "旧"), raised(0), raised(1, press="2"), taken(2, press="2"))
        )
        await log.apply(rows(closed(3, press="2"), first=10))
        await clock.advance(5 * 366 * 86_400)
        await log.apply(rows(fix(5 * 366 * 86_400 - 60), first=20))
        gone = await log.prune()
        assert gone == 3  # a fix, a text, the closed emergency (its events go with it)
        lists = await log.emergencies(10)
        assert [each.emergency_id for each in lists.open] == ["raised-1"]
        assert not lists.closed
        assert [each.seq for each in await log.events()] == [2]  # what raised the open one
        assert len(await log.last_fixes()) == 1
        assert await log.prune() == 0

    with_log(file, body, history_keep_s=86_400.0)


def test_a_closed_emergency_outlives_positions(file: Path) -> None:
    async def body(log: EventLog, clock: ManualClock) -> None:
        await log.apply(rows(fix(0), raised(0), taken(1), closed(2)))
        await clock.advance(90 * 86_400)
        await log.prune()
        assert len((await log.emergencies(10)).closed) == 1
        assert not await log.last_fixes()

    with_log(file, body, history_keep_s=86_400.0)


def test_what_was_confirmed_is_there_after_opening_again(file: Path) -> None:
    async def fill(log: EventLog, _clock: ManualClock) -> None:
        delivery = await DeskSink(log).deliver(rows(*EVERYTHING))
        assert list(delivery.accepted) == list(range(1, len(EVERYTHING) + 1))

    async def look(log: EventLog, _clock: ManualClock) -> None:
        assert len((await log.emergencies(10)).open) == 1
        assert await log.apply(rows(*EVERYTHING)) == 0

    with_log(file, fill)
    with_log(file, look)
    assert file.stat().st_mode & 0o077 == 0


def test_the_file_is_written_with_full_synchronisation(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        assert log._connection is not None
        assert log._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    with_log(file, body)


def test_a_batch_that_fails_leaves_nothing_and_is_a_sink_error(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        assert log._connection is not None
        log._connection.execute(
            f"PRAGMA max_page_count = {len(file.read_bytes()) // 4096}"  # as if the disk were full
        )
        with pytest.raises(SinkError, match=r"desk\.db: .*full"):
            await DeskSink(log).deliver(rows(text(1, "一" * 50_000), raised(2)))
        assert not await log.events()
        log._connection.execute("PRAGMA max_page_count = 100000")
        assert await log.apply(rows(text(1, "一"), raised(2))) == 2

    with_log(file, body)


def test_a_row_that_never_fits_is_set_aside_and_holds_up_no_other(file: Path) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        broken = msgspec.structs.replace(fix(2), satellites=2**70)
        delivery = await DeskSink(log).deliver(rows(fix(1), broken, fix(3)))
        assert list(delivery.accepted) == [1, 3]
        assert list(delivery.rejected) == [2]
        assert "too large" in delivery.rejected[2]
        assert len((await log.track("mobile-1-a", at(0), at(9), 9)).points) == 2

    with_log(file, body)


@pytest.mark.parametrize(
    "fix_at",
    [
        Instant.parse("9998-01-01T00:00:00Z"),
        Instant.parse("1600-01-01T00:00:00Z"),
        Instant(-1),
    ],
)
def test_a_time_outside_of_all_calendars_is_stored_as_when_it_came(
    file: Path, fix_at: Instant
) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.apply(rows(msgspec.structs.replace(fix(5), fix_at=fix_at)))
        (point,) = (await log.track("mobile-1-a", at(0), at(9), 9)).points
        assert point.at == at(5)
        assert point.fix.fix_at is None

    with_log(file, body)


def test_a_file_of_a_newer_version_is_refused(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = file.read_bytes()

    async def nothing(_log: EventLog, _clock: ManualClock) -> None:
        raise AssertionError("must not open")

    with pytest.raises(ConfigError, match="newer version"):
        with_log(file, nothing)
    assert file.read_bytes() == before


def test_a_closed_log_says_so(file: Path) -> None:
    async def main() -> None:
        log = EventLog(file, ManualClock(), history_keep_s=1)
        await log.open()
        await log.close()
        await log.close()
        with pytest.raises(Exception, match="not running"):
            await log.last_fixes()

    asyncio.run(main())


def test_closing_finishes_what_is_waiting(file: Path) -> None:
    async def main() -> None:
        log = EventLog(file, ManualClock(), history_keep_s=1)
        await log.open()
        async with asyncio.TaskGroup() as group:
            writing = [
                group.create_task(log.apply(rows(text(n, str(n)))), name=f"write {n}")
                for n in range(50)
            ]
            await asyncio.sleep(0)
            await log.close()
        assert sum(task.result() for task in writing) == 50

    asyncio.run(main())


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "desk.db").mkdir()

    async def nothing(_log: EventLog, _clock: ManualClock) -> None:
        raise AssertionError("must not open")

    with pytest.raises(EventLogError, match="directory"):
        with_log(tmp_path / "desk.db", nothing)
