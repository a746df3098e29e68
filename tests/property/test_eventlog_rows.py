"""Whatever comes, in whatever batches, once or often: the desk's log ends up the same."""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import ManualClock
from gateway.eventlog.store import EventLog
from gateway.model.events import AnyEvent
from tests.support.desk_rows import closed, ended, fix, raised, rows, taken, text

PRESSES = st.sampled_from(["1", "2"])
SECONDS = st.integers(0, 40)
EVENTS: st.SearchStrategy[AnyEvent] = st.one_of(
    st.builds(
        fix,
        SECONDS,
        radio=st.sampled_from(["pdt:80020200", "dmr:7"]),
        unit=st.sampled_from(["mobile-1-a", None]),
        lat_deg=st.sampled_from([22.0, 22.5, None]),
    ),
    st.builds(raised, SECONDS, press=PRESSES),
    st.builds(taken, SECONDS, press=PRESSES, by=st.sampled_from(["李明", "王芳"])),
    st.builds(ended, SECONDS, press=PRESSES),
    st.builds(closed, SECONDS, press=PRESSES),
    st.builds(text, SECONDS, st.sampled_from(["甲", "乙"])),
)


def _content(file: Path) -> list[str]:
    connection = sqlite3.connect(file)
    tables = ("holder", "position", "event", "emergency")
    found = [
        repr(row)
        for table in tables
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3")  # noqa: S608 - our own tables
    ]
    connection.close()
    return found


async def _apply(file: Path, batches: list[list[AnyEvent]]) -> None:
    log = EventLog(file, ManualClock(), history_keep_s=1e9)
    await log.open()
    for batch in batches:
        await log.apply(rows(*batch))
    await log.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(EVENTS, max_size=14), st.integers(1, 5), st.integers(0, 14))
def test_batches_and_repeats_change_nothing(
    events: list[AnyEvent], size: int, again_from: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        once, often = Path(folder) / "once.db", Path(folder) / "often.db"
        pieces = [events[start : start + size] for start in range(0, len(events), size)]

        async def main() -> None:
            await _apply(once, [events])
            # The outbox offers again what was not confirmed, and after a kill what was.
            await _apply(often, [*pieces, events[again_from:], events])

        asyncio.run(main())
        assert _content(once) == _content(often)
