"""An outbox on a disk of two megabytes that fills up; run inside a mount namespace of its own.

Prints one JSON object with what happened, times in seconds.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from gateway.errors import StoreFullError
from gateway.outbox.rows import Lane
from gateway.outbox.store import Outbox
from gateway.settings import OutboxSettings
from tests.support.outbox import Answers, everything, fix, ids, press

SETTINGS = OutboxSettings(reserve_bytes=256 * 1024)
PATIENCE_S = 20.0


class Story:
    """Emergencies and fixes go in while a filler takes and gives back the space."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers = Answers()
        self.outbox = Outbox(folder / "outbox.db", SETTINGS, SystemClock())
        self.states: list[tuple[float, str]] = []
        self.presses = 0
        self.fixes = 0
        self.begun = time.monotonic()

    async def press(self) -> bool:
        """True where the next emergency was stored."""
        self.presses += 1
        name = f"press {self.presses}"
        self.outbox.submit(self.answers.raising(press(self.presses, self.presses % 50), name))
        await self.answers.wait(len(self.answers.told) + 1)
        return self.answers.error(name) is None

    async def fix(self, count: int = 1) -> bool:
        """True where all of the next fixes were stored."""
        names = [f"fix {self.fixes + each}" for each in range(count)]
        for each, name in enumerate(names):
            number = self.fixes + each
            self.outbox.submit(self.answers.event(fix(number, number % 50), name))
        self.fixes += count
        await self.answers.wait(len(self.answers.told) + count)
        return all(self.answers.error(name) is None for name in names)

    async def until(self, condition: Callable[[], bool]) -> float:
        """Seconds until the condition held."""
        begun = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.02)
        return time.monotonic() - begun

    def fill(self) -> None:
        """Somebody else takes every byte that is left."""
        with (self.folder / "filler").open("ab", buffering=0) as file:
            for size in (65536, 4096, 512):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    async def run(self, rounds: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        self.outbox.open()
        self.outbox.register_sink("desk")
        self.outbox.on_state(
            lambda state, _why: self.states.append((time.monotonic() - self.begun, state))
        )
        self.outbox.start(loop)
        report: dict[str, Any] = {"rounds": []}
        for _ in range(rounds):
            report["rounds"].append(await self.round())
        report["waiting"] = self.outbox.stats().waiting
        await self.outbox.close()
        stats = self.outbox.stats()
        on_disk = {lane: set(ids(everything(self.folder / "outbox.db", lane))) for lane in Lane}
        promised = {
            press(number, number % 50).event_id
            for number in range(1, self.presses + 1)
            if self.answers.error(f"press {number}") is None
        }
        report |= {
            "states": [state for _, state in self.states],
            "presses_lost": len(promised - on_disk[Lane.EMERGENCY]),
            "presses_stored": len(promised),
            "presses_unpromised": len(on_disk[Lane.EMERGENCY] - promised),
            "thinned": stats.thinned,
            "damage": list(stats.damage),
            "account": stats.stored["telemetry"]
            + stats.failed.get("telemetry", 0)
            + stats.refused["telemetry"]
            - self.fixes,
        }
        return report

    async def round(self) -> dict[str, Any]:
        """The disk fills, the reserve goes, nothing is left, space comes back."""
        report: dict[str, Any] = {"before": [await self.fix(300), await self.press()]}
        self.fill()
        while await self.fix(50):
            pass
        report["refused_as_full"] = isinstance(self.answers.told[-1][1], StoreFullError)
        report["state_when_full"] = self.outbox.state
        report["reserve_is_gone"] = not (self.folder / "outbox.db.reserve").exists()
        report["presses_on_reserve"] = sum([await self.press() for _ in range(40)])
        self.fill()
        tries = 0
        begun = time.monotonic()
        while await self.press():
            tries += 1
            self.fill()
        report["presses_until_nothing_was_left"] = tries
        report["said_not_accepting_after_s"] = await self.until(
            lambda: bool(self.states) and self.states[-1][1] == "not_accepting"
        )
        report["filling_took_s"] = time.monotonic() - begun
        report["refused_in_s"] = await self.refusal_time()
        (self.folder / "filler").unlink()
        report["normal_after_s"] = await self.until(lambda: self.outbox.state == "accepting")
        report["after"] = [await self.press(), await self.fix(10)]
        report["reserve_bytes"] = (self.folder / "outbox.db.reserve").stat().st_size
        return report

    async def refusal_time(self) -> float:
        """How long a radio's event waits for its refusal."""
        begun = time.monotonic()
        await self.press()
        return time.monotonic() - begun


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(folder)], check=True
    )
    try:
        print(json.dumps(asyncio.run(Story(folder).run(rounds))))
    finally:
        os.chdir("/")
        subprocess.run(["umount", str(folder)], check=True)


if __name__ == "__main__":
    main()
