"""Ends the process when its event loop is stuck, so that whoever keeps it running starts it again.

For containers and shells: a restart policy acts on an end, not on an unhealthy container. Under
systemd its own watchdog does this (``service_manager``).

A thread counts turns of its own that pass without a beat. Counted and not timed: a machine that
slept, a container that was paused, a stepped clock give it no turns, and the loop beats again as
soon as they are over. A call in C that keeps the interpreter to itself stops that thread, too; such
a call burns processor time, and the system's timer for that ends the process without asking Python.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger("gateway.watchdog")

TURNS = 15  # without a beat, in the time after which it loses patience
BURNT = 1.6  # times that time, of the processors: other threads may work while the loop beats
TELL_S = 1.0  # the log may be what the loop is stuck on
DEEPEST = 8  # calls that the log names, the innermost first
EXIT_CODE = 3  # cannot run


class Watchdog:
    """Expects a beat at least every ``patience_s``; watches inside the ``with`` block."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._beats = 0
        self._loop_thread = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._loop_thread = threading.get_ident()
        # Where all threads were goes to standard error, then the signal's own meaning ends us.
        faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)
        self._thread.join()

    def beat(self) -> None:
        """The loop turns."""
        self._beats += 1
        signal.setitimer(signal.ITIMER_PROF, self._patience_s * BURNT)

    def _watch(self) -> None:
        seen, silent = 0, 0
        while not self._is_over.wait(self._patience_s / TURNS):
            if seen != self._beats:
                seen, silent = self._beats, 0
                continue
            silent += 1
            if silent >= TURNS:
                self._end()

    def _end(self) -> None:
        teller = threading.Thread(target=self._tell, daemon=True)
        teller.start()
        teller.join(TELL_S)
        os._exit(EXIT_CODE)

    def _tell(self) -> None:
        """Not with faulthandler: it writes with the interpreter locked, and the log may be full."""
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the only way there is
        calls = traceback.extract_stack(frame)[-DEEPEST:]
        at = [f"{call.name} ({call.filename}:{call.lineno})" for call in reversed(calls)]
        log.critical("loop_stuck", silent_s=self._patience_s, hint="it ends, to start anew", at=at)
