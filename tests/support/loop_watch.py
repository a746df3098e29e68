"""How an event loop does while others load it: lag by a probe, and the longest call.

Walkers and a probe without any load run in processes of their own, so that neither the generator's
work nor the machine's other tenants are taken for the gateway's.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from tests.support.ledger import Ledger
from tests.support.soak import Walker

PROBE_S = 0.005
CALL_S = 0.050  # no call on the loop may take longer (R22)


async def probe(lags_s: list[float]) -> None:
    """Note how late each short sleep returned, until cancelled."""
    while True:
        due = time.monotonic() + PROBE_S
        await asyncio.sleep(PROBE_S)
        lags_s.append(max(0.0, time.monotonic() - due))


@contextmanager
def longest_calls(over_s: float) -> Iterator[list[tuple[float, str]]]:
    """Every callback of any loop that used the processor for longer than ``over_s``.

    Time of the thread and not of the wall: a call that was put aside by the system is not long.
    """
    found: list[tuple[float, str]] = []
    run = asyncio.Handle._run

    def timed(handle: Any) -> None:
        began = time.thread_time()
        run(handle)
        took = time.thread_time() - began
        if took > over_s:
            task = getattr(handle._callback, "__self__", None)
            name = task.get_name() if isinstance(task, asyncio.Task) else repr(handle)[:200]
            found.append((took, name))

    with patch.object(asyncio.Handle, "_run", timed):
        yield found


def at(lags_s: list[float], share: float) -> float:
    """A quantile."""
    return sorted(lags_s)[min(len(lags_s) - 1, int(len(lags_s) * share))]


async def walk(port: int, walkers: int, every_s: float, seconds: float) -> None:
    """The child: terminals that report; prints how many reports were answered."""
    began = time.monotonic()
    ledger = Ledger()
    radios = [Walker(f"{13_900_000_000 + n:012d}", port, ledger) for n in range(walkers)]

    def second() -> int:
        return 1_000_000 + round((time.monotonic() - began) / every_s)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.walk(every_s, second)) for each in radios]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
    for radio in radios:
        radio.hang_up()
    await asyncio.sleep(0.1)
    print(json.dumps({"answered": sum(len(each.answered) for each in radios)}))


async def idle_probe(seconds: float) -> None:
    """The child without load: prints the quantiles of its own lag."""
    lags: list[float] = []
    task = asyncio.ensure_future(probe(lags))
    await asyncio.sleep(seconds)
    task.cancel()
    print(json.dumps({"p99": at(lags, 0.99), "max": max(lags)}))


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:]
    if kind == "walk":
        asyncio.run(walk(int(numbers[0]), int(numbers[1]), float(numbers[2]), float(numbers[3])))
    else:
        asyncio.run(idle_probe(float(numbers[0])))
