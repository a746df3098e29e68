"""AT commands to a radio on a serial line, one at a time, and the services asked for with them.

Three states: asking for the services (AT+CTSP, one after the other), idle, and lost (a command was
not answered). A lost radio is asked with AT until it answers; since it has probably been restarted,
the services are asked for again. There is no ``DRIVER`` here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from drivers.api import Moment, Output, Reject

ANSWER_S = 5.0  # a command that is not answered so long is not answered at all
PROBE_S = 5.0  # between two AT to a lost radio
KEEPALIVE_S = 10.0  # after so long without an answer an idle radio is asked with AT
REGISTER_AGAIN_S = 300.0  # a radio that restarted unnoticed forgets what we want to hear
MOST_WAITING = 64  # commands
ALIVE = b"AT\r\n"
OK = "OK"

Done = Callable[[str], Sequence[Output]]  # called with "" where the radio says OK, or with why not


class Asked(NamedTuple):
    """Commands that follow each other while the radio says OK, and what is done at the end."""

    commands: tuple[bytes, ...]
    done: Done


class AtPort:
    """Our side of the line; what it wants to send is drained with ``outgoing``."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = tuple(services)
        self._waiting: deque[Asked] = deque()
        self._current: Asked | None = None
        self._is_lost = False
        self._is_timed = False  # until the first moment is known, a deadline is due at once
        self._mono = 0.0
        self._answer_due = 0.0
        self._keepalive_due = 0.0
        self._register_due = 0.0
        self._out: list[bytes] = []
        self._register()
        self._next()

    def moment(self, now: Moment) -> None:
        """Time has passed; the first moment sets the clocks going."""
        self._mono = now.mono
        if not self._is_timed:
            self._is_timed = True
            self._answer_due = now.mono + ANSWER_S
            self._keepalive_due = now.mono + KEEPALIVE_S
            self._register_due = now.mono + REGISTER_AGAIN_S

    def ask(self, commands: Sequence[bytes], done: Done) -> bool:
        """Send commands when their turn comes; False where too many wait already.

        ``done`` is never called where the radio does not answer at all.
        """
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append(Asked(tuple(commands), done))
        self._next()
        return True

    def answered(self, line: str) -> Sequence[Output]:
        """A line that ends an answer: OK, ERROR, or an error with its number."""
        self._keepalive_due = self._mono + KEEPALIVE_S
        asked, self._current = self._current, None
        if self._is_lost:
            self._is_lost = False
            self._register()
        outputs: Sequence[Output] = ()
        if asked is not None and line == OK and len(asked.commands) > 1:
            self._send(Asked(asked.commands[1:], asked.done))
        elif asked is not None:
            outputs = asked.done("" if line == OK else line)
        self._next()
        return outputs

    def outgoing(self) -> list[bytes]:
        """Commands to write now, drained."""
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        """When ``expire`` must run."""
        if not self._is_timed:
            return 0.0
        if self._current is not None:
            return self._answer_due
        return min(self._keepalive_due, self._register_due)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Give up an unanswered command, ask whether the radio is there, ask for services again."""
        was_timed = self._is_timed
        self.moment(now)
        if not was_timed:
            return ()
        outputs: list[Output] = []
        if self._current is not None:
            if self._answer_due <= now.mono:
                outputs += self._unanswered(self._current)
        elif self._register_due <= now.mono:
            self._register()
            self._next()
        elif self._keepalive_due <= now.mono:
            self._send(Asked((ALIVE,), _nothing))
        return outputs

    def _unanswered(self, asked: Asked) -> Sequence[Output]:
        was_lost, self._is_lost = self._is_lost, True
        self._send(Asked((ALIVE,), _nothing))
        if was_lost:
            return ()
        shown = asked.commands[0].partition(b"\r")[0].decode("ascii", "replace")
        return (Reject("unanswered", f"the radio did not answer {shown}"),)

    def _register(self) -> None:
        """Ask for the services, before anything else that waits."""
        wanted = []
        for service in self._services:
            commands = (f"AT+CTSP={service}\r\n".encode(),)
            if all(asked.commands != commands for asked in self._waiting):
                wanted.append(Asked(commands, partial(_registered, service)))
        self._waiting.extendleft(reversed(wanted))
        self._register_due = self._mono + REGISTER_AGAIN_S

    def _next(self) -> None:
        if self._current is None and self._waiting:
            self._send(self._waiting.popleft())

    def _send(self, asked: Asked) -> None:
        self._current = asked
        self._keepalive_due = self._mono + KEEPALIVE_S
        self._answer_due = self._mono + (PROBE_S if self._is_lost else ANSWER_S)
        self._out.append(asked.commands[0])


def _nothing(_why: str) -> Sequence[Output]:
    return ()


def _registered(service: str, why: str) -> Sequence[Output]:
    """A service that the radio does not grant is worth knowing; the others go on."""
    return (Reject("refused", f"AT+CTSP={service}: {why}"),) if why else ()
