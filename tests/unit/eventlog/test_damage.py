"""A damaged desk.db: the desk comes back with what can be read, and the old file is kept."""

import asyncio
import random
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.eventlog.audit import AuditEntry
from gateway.eventlog.store import EventLog, EventLogError
from gateway.eventlog.worker import Worker, WorkerBusyError
from tests.support.desk_rows import fix, raised, rows, text

PAGE = 4096


async def _fill(file: Path) -> None:
    log = EventLog(file, ManualClock(), history_keep_s=1e9)
    await log.open()
    account = await log.create_account("李明", ["dispatcher", "admin"], None, "argon2-hash")
    await log.begin_session(account, "cookie", 1e6)
    await log.apply(rows(raised(0), *(text(n, "巡逻" * 50) for n in range(300))))
    await log.apply(rows(*(fix(n) for n in range(2000)), first=1000))
    for n in range(50):
        await log.audit(AuditEntry(who="李明", action="emergency_take", subject=str(n)))
    await log.close()


def _wreck(file: Path, how: int, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    if how == 0:
        data = bytearray(data[: chance.randrange(len(data))])
    elif how == 1:
        data[:] = bytes(len(data))
    elif how == 2:
        start = chance.randrange(len(data))
        data[start : start + PAGE] = chance.randbytes(min(PAGE, len(data) - start))
    else:
        for _ in range(chance.randrange(1, 40)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def test_a_damaged_file_never_stops_the_desk_and_is_never_deleted(tmp_path: Path) -> None:
    original = tmp_path / "original.db"

    async def opens_and_works(file: Path) -> bool:
        log = EventLog(file, ManualClock(), history_keep_s=1e9)
        await log.open()
        try:
            for _ in range(2):  # the first may meet damage, the second finds a fresh file
                try:
                    await log.apply(rows(raised(5, press="new"), fix(9999), first=9000))
                    await log.last_fixes()
                    await log.events()
                    await log.audit(AuditEntry(who="x", action="y"))
                    await log.accounts()
                    break
                except EventLogError:
                    continue
            assert await log.emergency(raised(5, press="new").event_id) is not None
            return log.moved_aside is not None
        finally:
            await log.close()

    async def main() -> None:
        await _fill(original)
        found = 0
        for seed in range(24):
            folder = tmp_path / str(seed)
            folder.mkdir()
            file = folder / "desk.db"
            file.write_bytes(original.read_bytes())
            _wreck(file, seed % 4, random.Random(seed))
            wrecked = file.read_bytes()
            if await opens_and_works(file):
                found += 1
                kept = [each.read_bytes() for each in folder.glob("desk.db.damaged-*")]
                assert any(each[:PAGE] == wrecked[:PAGE] for each in kept)
        assert found >= 10

    asyncio.run(main())


def test_people_and_open_emergencies_come_over_from_a_broken_file(tmp_path: Path) -> None:
    file = tmp_path / "desk.db"

    async def main() -> None:
        await _fill(file)
        data = bytearray(file.read_bytes())
        # The positions are the bulk, at the end: break pages there until the check finds it.
        for start in range(len(data) - 12 * PAGE, len(data), PAGE):
            data[start : start + PAGE] = b"\xff" * PAGE
        file.write_bytes(data)
        log = EventLog(file, ManualClock(), history_keep_s=1e9)
        await log.open()
        assert log.moved_aside is not None
        assert log.moved_aside.read_bytes()[-PAGE:] == b"\xff" * PAGE
        assert [each.name for each in await log.accounts()] == ["李明"]
        assert await log.session("cookie") is not None
        assert [each.emergency_id for each in (await log.emergencies(1)).open] == ["raised-1"]
        assert await log.first_broken_audit_row() is None
        await log.close()

    asyncio.run(main())


def test_a_full_backlog_refuses_instead_of_growing() -> None:
    async def main() -> None:
        worker = Worker("test", backlog=2)
        worker.start()
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()

        def block() -> None:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()

        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(block), name="first")
            await asyncio.sleep(0.01)  # until the thread has taken it
            group.create_task(worker.run(lambda: None), name="second")
            group.create_task(worker.run(lambda: None), name="third")
            await asyncio.sleep(0)
            with pytest.raises(WorkerBusyError, match="too much"):
                await worker.run(lambda: None)
            gate.set()
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 / 0)
        await worker.stop()

    asyncio.run(main())


def test_a_schema_that_is_no_text_any_more_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "desk.db"

    async def main() -> None:
        await _fill(file)
        file.write_bytes(
            file.read_bytes().replace(b"CREATE TABLE holder", b"CREATE TABL\xd8 holder")
        )
        log = EventLog(file, ManualClock(), history_keep_s=1e9)
        await log.open()
        await log.audit(AuditEntry(who="x", action="y"))
        assert log.moved_aside is not None
        await log.close()

    asyncio.run(main())
