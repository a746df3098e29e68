"""Nobody is answered before the commit has returned, and nobody is answered if it fails (R2)."""

import asyncio
import threading
from pathlib import Path

from gateway.errors import StoreError, StoreFullError
from gateway.model import emergency as transitions
from gateway.outbox.database import CODE_IO, SqlError
from gateway.outbox.rows import Lane
from gateway.settings import OutboxSettings
from tests.support.outbox import (
    PATIENCE_S,
    Answers,
    Faults,
    disk_failing,
    event_id,
    everything,
    fix,
    ids,
    press,
    running,
    writes,
)


def test_nothing_is_settled_while_the_commit_has_not_returned(tmp_path: Path) -> None:
    async def story() -> None:
        faults, answers = Faults(), Answers()
        begun, go_on = threading.Event(), threading.Event()

        def block(sql: str) -> SqlError | None:
            if sql.startswith("INSERT"):
                begun.set()
                assert go_on.wait(PATIENCE_S)
            return None

        async with running(tmp_path / "outbox.db", connect=faults.connect) as outbox:
            seen: list[int] = []
            outbox.on_committed(lambda rows: seen.append(len(rows)))
            faults.rule = block
            outbox.submit(answers.raising(press(1), "press"))
            outbox.submit(answers.event(fix(2), "fix"))
            outbox.submit(answers.ticket(Lane.EMERGENCY, "repeat"))
            assert await asyncio.to_thread(begun.wait, PATIENCE_S)
            for _ in range(50):
                await asyncio.sleep(0)
            assert (answers.told, seen) == ([], [])
            assert outbox.stats().commit_running_s > 0
            faults.heal()
            go_on.set()
            await answers.wait(3)
            assert sorted(answers.stored) == ["fix", "press", "repeat"]

    asyncio.run(story())


def test_a_commit_that_fails_settles_each_of_its_writes_with_the_error(tmp_path: Path) -> None:
    async def story() -> None:
        faults, answers = Faults(), Answers()
        async with running(tmp_path / "outbox.db", connect=faults.connect) as outbox:
            seen: list[int] = []
            outbox.on_committed(lambda rows: seen.append(len(rows)))
            faults.rule = disk_failing
            outbox.submit(answers.raising(press(1), "press"))
            outbox.submit(answers.event(fix(2), "fix"))
            outbox.submit(answers.ticket(Lane.TELEMETRY, "repeat of the fix"))
            await answers.wait(3)
            assert answers.stored == []
            assert seen == []
            assert all(isinstance(error, StoreError) for _, error in answers.told)
            assert not any(isinstance(error, StoreFullError) for _, error in answers.told)
            assert outbox.stats().failed_commits >= 2
            assert "disk I/O error" in outbox.stats().last_error

            faults.heal()
            outbox.submit(answers.event(fix(3), "later"))
            await answers.wait(4)
            assert answers.stored == ["later"]

    asyncio.run(story())
    assert ids(everything(tmp_path / "outbox.db", Lane.TELEMETRY)) == [event_id(3)]
    assert everything(tmp_path / "outbox.db", Lane.EMERGENCY) == []


def test_a_failed_commit_leaves_neither_the_event_nor_the_state(tmp_path: Path) -> None:
    async def story() -> None:
        faults, answers = Faults(), Answers()
        async with running(tmp_path / "outbox.db", connect=faults.connect) as outbox:
            faults.rule = lambda sql: SqlError(CODE_IO, "lost") if sql == "COMMIT" else None
            outbox.submit(answers.raising(press(1), "press"))
            await answers.wait(1)
            assert answers.failed == ["press"]
            assert outbox.open_emergencies() == []
            faults.heal()
            outbox.submit(answers.raising(press(1), "again"))
            await answers.wait(2)
            assert answers.stored == ["again"]
            assert outbox.open_emergencies() == [transitions.raised(press(1))]

    asyncio.run(story())


def test_a_repeat_is_not_answered_when_what_it_repeats_has_failed(tmp_path: Path) -> None:
    """The repeat was submitted before its sender could learn of the failure."""

    async def story() -> None:
        faults, answers = Faults(), Answers()
        begun, go_on = threading.Event(), threading.Event()

        def fail_once(sql: str) -> SqlError | None:
            if sql != "COMMIT" or begun.is_set():
                return None
            begun.set()
            assert go_on.wait(PATIENCE_S)
            return SqlError(CODE_IO, "disk I/O error")

        async with running(tmp_path / "outbox.db", connect=faults.connect) as outbox:
            faults.rule = fail_once
            outbox.submit(answers.raising(press(1), "press"))
            assert await asyncio.to_thread(begun.wait, PATIENCE_S)
            # Committed by itself, after the press and without anything to write.
            outbox.submit(answers.ticket(Lane.EMERGENCY, "repeat"))
            go_on.set()
            await answers.wait(2)
            assert answers.failed == ["press", "repeat"]

            outbox.submit(answers.ticket(Lane.EMERGENCY, "repeat of something older"))
            await answers.wait(3)
            assert answers.stored == ["repeat of something older"]

    asyncio.run(story())


def test_a_repeat_is_answered_although_the_disk_takes_nothing_more(tmp_path: Path) -> None:
    async def story() -> None:
        faults, answers = Faults(), Answers()
        async with running(tmp_path / "outbox.db", connect=faults.connect) as outbox:
            outbox.submit(answers.raising(press(1), "press"))
            await answers.wait(1)
            faults.rule = disk_failing
            outbox.submit(answers.ticket(Lane.EMERGENCY, "repeat"))
            await answers.wait(2)
            assert answers.stored == ["press", "repeat"]

    asyncio.run(story())


def test_a_bug_on_the_thread_fails_the_group_and_not_the_thread(tmp_path: Path) -> None:
    async def story() -> None:
        faults, answers = Faults(), Answers()

        def bug(sql: str) -> SqlError | None:
            if writes(sql):
                raise ZeroDivisionError
            return None

        async with running(tmp_path / "outbox.db", connect=faults.connect) as outbox:
            faults.rule = bug
            outbox.submit(answers.event(fix(1), "first"))
            await answers.wait(1)
            faults.heal()
            outbox.submit(answers.event(fix(2), "second"))
            await answers.wait(2)
            assert (answers.failed, answers.stored) == (["first"], ["second"])
            assert isinstance(answers.error("first"), StoreError)

    asyncio.run(story())


def test_what_went_in_is_what_was_stored_and_what_failed(tmp_path: Path) -> None:
    """Received = stored + dropped by reason, to the unit (R20)."""

    async def story() -> None:
        faults, answers = Faults(), Answers()
        settings = OutboxSettings(reserve_bytes=65536, commit_every_s=0.001, queue_rows=50)
        calls = 0

        def every_third(sql: str) -> SqlError | None:
            nonlocal calls
            calls += writes(sql)
            return SqlError(CODE_IO, "disk I/O error") if writes(sql) and calls % 3 == 0 else None

        async with running(tmp_path / "outbox.db", settings, connect=faults.connect) as outbox:
            faults.rule = every_third
            submitted = 0
            for number in range(600):
                submitted += outbox.submit(answers.event(fix(number)))
                if number % 20 == 0:
                    submitted += outbox.submit(answers.raising(press(number)))
                if number % 7 == 0:
                    await asyncio.sleep(0.001)
            await answers.wait(submitted)
            stats = outbox.stats()
            stored, failed = sum(stats.stored.values()), sum(stats.failed.values())
            assert 0 < failed < submitted
            assert stored == len(answers.stored)
            assert failed == len(answers.failed)
            assert stored + failed + sum(stats.refused.values()) == 600 + 30
            faults.heal()
        on_disk = {row for lane in Lane for row in ids(everything(tmp_path / "outbox.db", lane))}
        assert on_disk == set(answers.stored)

    asyncio.run(story())
