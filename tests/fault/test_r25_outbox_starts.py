"""Starts of the outbox: under kill, with a million rows waiting, beside another gateway (R25)."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.errors import StoreError
from gateway.outbox.rows import Lane
from gateway.settings import OutboxSettings
from tests.support.outbox import fix, open_engine, put

STARTS = 50
MILLION = 1_000_000
PROJECT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]


@contextmanager
def child(folder: Path, number: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that fills the outbox; killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.outbox_child", str(folder), str(number)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def told_before_kill(folder: Path, number: int, chance: random.Random) -> list[str]:
    """Start, kill after a while (or before it was ready), and return the acknowledged ids."""
    with child(folder, number) as process:
        assert process.stdout is not None
        lines: list[str] = []
        if chance.random() < 0.2:
            time.sleep(chance.uniform(0, 0.4))
        else:
            for _ in range(chance.randrange(1, 400)):
                lines.append(process.stdout.readline().strip())
                assert lines[-1], f"ended with {process.poll()}"
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")
        # The last piece may be cut in the middle.
        return [line for line in (*lines, *rest[:-1]) if line not in ("ready", "")]


def test_fifty_starts_under_kill_lose_nothing_and_leave_a_usable_file(tmp_path: Path) -> None:
    chance = random.Random(25)
    promised: set[str] = set()
    for start in range(STARTS):
        promised |= set(told_before_kill(tmp_path, start * 100_000, chance))
    engine = open_engine(tmp_path / "outbox.db", clock=SystemClock())
    assert engine.damage == []
    assert engine.tables.db.rows("PRAGMA integrity_check") == [("ok",)]
    found = [row.event.event_id for lane in Lane for row in engine.tables.last_rows(lane, 10**7)]
    assert len(promised) > 20 * STARTS
    assert promised <= set(found)
    assert len(found) == len(set(found))
    open_ids = {state.emergency_id for state in engine.tables.open_emergencies()}
    stored = {row.event.event_id for row in engine.tables.last_rows(Lane.EMERGENCY, 10**7)}
    assert open_ids == stored, "an event and its state come together or not at all"
    engine.close()


@pytest.mark.quiet
def test_the_first_event_is_accepted_in_time_with_a_million_rows_waiting(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    engine = open_engine(path, clock=SystemClock())
    (row,) = put(engine, fix(1, unit_name="巡逻一组", speed_mps=1.5, course_deg=90.0, satellites=9))
    engine.tables.db.run(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO telemetry_rows SELECT i, ?, 'position_fix', 'pdt:1', 0, ? FROM n",
        (MILLION, row.event.received_at, row.payload),
    )
    engine.close()
    begun = time.monotonic()
    engine = open_engine(path, OutboxSettings(), clock=SystemClock())
    assert len(put(engine, fix(2))) == 1
    assert time.monotonic() - begun <= 3
    assert engine.tables.last_seq_given() == MILLION + 1
    engine.close()


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with child(tmp_path, 0) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        with pytest.raises(StoreError, match=rf"another gateway \(pid {process.pid}\) uses"):
            open_engine(tmp_path / "outbox.db", clock=SystemClock())
    open_engine(tmp_path / "outbox.db", clock=SystemClock()).close()
