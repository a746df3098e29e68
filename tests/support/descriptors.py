"""What this process holds open, and the rule that nobody leaves anything behind.

What is left for the garbage collector is closed at any later moment, within another test: one that
counts is then wrong, and a warning about it fails a test that has nothing to do with it.
"""

import contextlib
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

STANDARD_ERROR = 2
CLOSING_S = 2.0  # a thread that is at its end may need a moment to let go


def open_descriptors() -> set[str]:
    """The descriptors of this process, each with what it leads to.

    Left out are the standard streams, which pytest exchanges, and pipes: they lead to the servers
    of multiprocessing, which live as long as this process.
    """
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        if int(entry.name) <= STANDARD_ERROR:
            continue
        with contextlib.suppress(OSError):  # the one that lists them is gone already
            target = str(entry.readlink())
            if not target.startswith("pipe:"):
                found.add(f"{entry.name} {target}")
    return found


def left_open(before: AbstractSet[str]) -> list[str]:
    """What is open now, was not ``before``, and stays open."""
    deadline = time.monotonic() + CLOSING_S
    while (left := open_descriptors() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return sorted(left)


@contextlib.contextmanager
def nothing_left_open() -> Iterator[None]:
    """The block closes what it opens."""
    before = open_descriptors()
    yield
    left = open_descriptors() - before
    assert not left, f"left open: {sorted(left)}"
