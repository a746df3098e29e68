"""A gateway's outbox in a process of its own, to be killed: prints the id of every stored event.

Arguments: the folder, and the number to count events from. Each line of output is ``ready`` or an
event id, written only after the outbox has settled it.
"""

import asyncio
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.clock import SystemClock
from gateway.errors import StoreError
from gateway.model.emergency import raised
from gateway.outbox.rows import Lane, Write
from gateway.outbox.store import Outbox
from tests.support.outbox import SMALL, fix, press


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def saying(text: str) -> Callable[[StoreError | None], None]:
    """Acknowledges on the standard output."""

    def settle(error: StoreError | None) -> None:
        if error is None:
            say(text)

    return settle


async def run(folder: Path, first: int) -> None:
    """Fixes and emergencies as fast as there is room, for ever."""
    outbox = Outbox(folder / "outbox.db", SMALL, SystemClock())
    outbox.open()
    outbox.register_sink("desk")
    outbox.start(asyncio.get_running_loop())
    say("ready")
    for start in itertools.count(first, 20):
        await outbox.room()
        for number in range(start, start + 20):
            event = fix(number)
            outbox.submit(Write(Lane.TELEMETRY, event, None, saying(event.event_id)))
        alarm = press(start, radio=start)
        outbox.submit(Write(Lane.EMERGENCY, alarm, raised(alarm), saying(alarm.event_id)))
        outbox.advance("desk", Lane.TELEMETRY, outbox.last_seq(Lane.TELEMETRY))
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
