"""Becomes another program that ends when the gateway ends, however the gateway ends.

Run as a script: ``python -I tied_child.py PARENT_PID PROGRAM [ARGUMENT …]``. The kernel sends the
program SIGKILL when its parent dies (``prctl(PR_SET_PDEATHSIG)``, Linux; elsewhere a killed gateway
leaves the program behind). This is a process of its own before it becomes the program, because
Python code between ``fork`` and ``exec`` in a process with threads may wait for ever.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, then become the program."""
    parent_pid, program = int(arguments[0]), arguments[1]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent_pid:  # else it died before it could be tied to
        os.execv(program, arguments[1:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
