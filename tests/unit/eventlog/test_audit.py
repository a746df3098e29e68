"""The audit log is append-only, and a changed row shows."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.eventlog.audit import FIRST_HASH, AuditEntry
from gateway.eventlog.store import EventLog


async def _write(log: EventLog, count: int, clock: ManualClock) -> None:
    for number in range(count):
        await log.audit(AuditEntry(who="李明", action="emergency_take", subject=f"e{number}"))
        await clock.advance(1)


def _filled(file: Path, count: int = 10) -> None:
    async def main() -> None:
        clock = ManualClock()
        log = EventLog(file, clock, history_keep_s=1)
        await log.open()
        await _write(log, count, clock)
        await log.close()

    asyncio.run(main())


def _first_broken(file: Path) -> int | None:
    async def main() -> int | None:
        log = EventLog(file, ManualClock(), history_keep_s=1)
        await log.open()
        try:
            return await log.first_broken_audit_row()
        finally:
            await log.close()

    return asyncio.run(main())


@contextmanager
def _tampering(file: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who may write the file can drop the triggers; the chain is what they cannot mend."""
    connection = sqlite3.connect(file)
    connection.execute("DROP TRIGGER audit_no_update")
    connection.execute("DROP TRIGGER audit_no_delete")
    yield connection
    connection.commit()
    connection.close()


def test_rows_form_a_chain_from_the_first_to_the_head(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        log = EventLog(tmp_path / "desk.db", clock, history_keep_s=1)
        await log.open()
        await _write(log, 3, clock)
        third, second, first = await log.audit_rows(None, 10)
        assert first.previous_hash == FIRST_HASH
        assert second.previous_hash == first.hash
        assert (await log.audit_head()).hash == third.hash
        assert [third.seq, second.seq, first.seq] == [3, 2, 1]
        assert [row.seq for row in await log.audit_rows(3, 1)] == [2]
        assert third.at > first.at
        assert third.monotonic_s == first.monotonic_s + 2
        assert await log.first_broken_audit_row() is None
        await log.close()

    asyncio.run(main())


def test_the_table_refuses_changes(tmp_path: Path) -> None:
    _filled(tmp_path / "desk.db")
    connection = sqlite3.connect(tmp_path / "desk.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE audit SET who = 'x'")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM audit")
    connection.close()


@pytest.mark.parametrize(
    "column", ["at", "monotonic_s", "who", "action", "subject", "result", "detail", "address"]
)
def test_a_changed_column_shows_at_its_row(tmp_path: Path, column: str) -> None:
    file = tmp_path / "desk.db"
    _filled(file)
    with _tampering(file) as connection:
        value = 7 if column in {"at", "monotonic_s"} else "refused"
        connection.execute(f"UPDATE audit SET {column} = ? WHERE seq = 4", (value,))  # noqa: S608 - a test's own columns
    assert _first_broken(file) == 4


def test_a_removed_row_and_a_rewritten_hash_show(tmp_path: Path) -> None:
    file = tmp_path / "desk.db"
    _filled(file)
    with _tampering(file) as connection:
        connection.execute("DELETE FROM audit WHERE seq = 6")
    assert _first_broken(file) == 6
    with _tampering_again(file) as connection:
        connection.execute("UPDATE audit SET hash = ? WHERE seq = 2", ("f" * 64,))
    assert _first_broken(file) == 2


@contextmanager
def _tampering_again(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file)
    yield connection
    connection.commit()
    connection.close()
