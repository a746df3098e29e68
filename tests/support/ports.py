"""Ports on loopback that are free, and stay so until the server that gets one has started.

A port that the system picks is one of those that it also gives to outgoing connections, and can be
taken again before a server binds it. These are below that range, and each test process has its own.
"""

import itertools
import os
import random
import re
import socket
from pathlib import Path

FIRST, EACH = 20_000, 1_500  # below 32768, where outgoing connections begin on Linux

_WORKER = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
_BEGIN = FIRST + _WORKER % 8 * EACH
_numbers = itertools.count(random.SystemRandom().randrange(EACH))


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that is free now and that no other call of this process gave lately."""
    for _ in range(EACH):
        port = _BEGIN + next(_numbers) % EACH
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no port of {_BEGIN} to {_BEGIN + EACH} is free")


def listening(pid: int) -> set[str]:
    """Every address at which a process waits for TCP connections, as ``/proc`` writes them.

    ``0100007F:5046`` is 127.0.0.1, port 20550.
    """
    mine = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # closed since it was listed
        if target.startswith("socket:["):
            mine.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in mine:
                found.add(fields[1])
    return found
