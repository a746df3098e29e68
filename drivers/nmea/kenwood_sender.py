"""What is asked of Kenwood units through their base radio: a position, a text.

::

    <STX>R31001001<ETX>          poll FleetSync fleet 100, unit 1001
    <STX>gR3U03001<ETX>          poll NXDN unit 3001
    <STX>F1001001on your way<ETX>
    <STX>gFU03001on your way<ETX>

The base radio says ``0`` or ``1`` when the air has answered it, or has not, and does not say which
packet it means: so one is under way at a time. A poll has been answered when the unit's position is
printed. Texts to DMR and dPMR units are of no published form.
"""

import re
from collections import deque
from collections.abc import Sequence

from drivers.api import Command, Moment, Outcome, Result, Verb
from gateway.model.identity import RadioId

ANSWER_S = 10.0  # so long the base radio may take, then the next packet has its turn
MOST_WAITING = 32
SHORT_TEXT = 48  # characters of the packet F; longer ones go with G
LONGEST_TEXT = 100  # no longer one is known to pass

VERBS = frozenset({Verb.LOCATE, Verb.TEXT})

_FLEET_SYNC = re.compile(r"kenwood:(\d{3})-(\d{4})\Z")
_NXDN = re.compile(r"kenwood:(U\d{5})\Z")
_PRINTABLE = re.compile(r"[\x20-\x7e]+\Z")


class Sender:
    """Packets for the base radio, one after the other."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Command, bytes]] = deque()
        self._current: Command | None = None
        self._due_mono = 0.0
        self._out: list[bytes] = []

    def send(self, command: Command, now: Moment) -> Sequence[Outcome]:
        """Queue a command's packet, or refuse it."""
        address = _address(command.radio_id)
        if address is None:
            why = "only FleetSync and NXDN units of a Kenwood base radio can be asked"
            return (Outcome(command.order, "refused", why),)
        if len(self._waiting) >= MOST_WAITING:
            return (Outcome(command.order, "refused", "too many wait for this base radio"),)
        mark, number = address
        if command.verb is Verb.LOCATE:
            text = f"{mark}R3{number}"
        elif not _PRINTABLE.match(command.body) or len(command.body) > LONGEST_TEXT:
            why = f"a text is 1 to {LONGEST_TEXT} ASCII characters"
            return (Outcome(command.order, "refused", why),)
        else:
            kind = "F" if len(command.body) <= SHORT_TEXT else "G"
            text = f"{mark}{kind}{number}{command.body}"
        self._waiting.append((command, f"\x02{text}\x03".encode()))
        self._advance(now)
        return ()

    def has_polled(self, radio: RadioId) -> bool:
        """Whether ``radio`` is asked for its position now."""
        current = self._current
        return current is not None and current.verb is Verb.LOCATE and current.radio_id == radio

    def placed(self, radio: RadioId, now: Moment) -> Sequence[Outcome]:
        """The position of ``radio`` was printed."""
        return self._end("delivered", "", now) if self.has_polled(radio) else ()

    def receipt(self, *, is_positive: bool, now: Moment) -> Sequence[Outcome]:
        """The base radio said 0 or 1. A poll that was heard still waits for its position."""
        if self._current is None:
            return ()
        if not is_positive:
            return self._end("refused", "the base radio got no answer from the unit", now)
        return self._end("delivered", "", now) if self._current.verb is Verb.TEXT else ()

    def outgoing(self) -> list[bytes]:
        """Packets to write now, drained."""
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        """When the packet under way is given up."""
        return self._due_mono if self._current is not None else None

    def expire(self, now: Moment) -> None:
        """Nobody answered: what waits has its turn."""
        if self._current is not None and now.mono >= self._due_mono:
            self._current = None
            self._advance(now)

    def _end(self, result: Result, why: str, now: Moment) -> Sequence[Outcome]:
        current, self._current = self._current, None
        self._advance(now)
        if current is None:
            return ()
        return (Outcome(current.order, result, why),)

    def _advance(self, now: Moment) -> None:
        while self._current is None and self._waiting:
            command, packet = self._waiting.popleft()
            if command.until_mono > now.mono:
                self._current = command
                self._due_mono = min(now.mono + ANSWER_S, command.until_mono)
                self._out.append(packet)


def _address(radio: RadioId) -> tuple[str, str] | None:
    """What stands before the packet's letter and behind it; None where no form is known."""
    fleet_sync = _FLEET_SYNC.match(radio)
    if fleet_sync:
        return "", fleet_sync[1] + fleet_sync[2]
    nxdn = _NXDN.match(radio)
    return ("g", nxdn[1]) if nxdn else None
