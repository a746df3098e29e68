"""``pdt-gateway run`` with a trap: on SIGUSR1 its event loop gets stuck, in one of several ways.

python -m tests.support.stuck_child WAY COMMAND ...
"""

import asyncio
import re
import signal
import sys
import time
from typing import Any
from unittest.mock import patch

import gateway.app as served
from gateway.cli.main import main


def wait() -> None:
    """As in a system call: everybody else may work."""
    time.sleep(600)


def spin() -> None:
    """In Python: others are let in now and then."""
    while True:
        pass


def hold() -> None:
    """In C, with the interpreter to itself: no other thread of Python works any more."""
    re.match(r"(a|aa)+$", "a" * 60 + "b")


WAYS = {"wait": wait, "spin": spin, "hold": hold}


def run() -> None:
    """Set the trap, then do as told."""
    way = WAYS[sys.argv.pop(1)]
    ordinary = served.run_until_signal

    async def with_a_trap(*given: Any) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, way)
        await ordinary(*given)

    with patch.object(served, "run_until_signal", with_a_trap):
        main()


if __name__ == "__main__":
    run()
