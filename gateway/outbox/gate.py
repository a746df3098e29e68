"""What the outbox accepts at the moment, and how it gets from one state to the other.

::

    accepting ──disk full──> reserve_used ──full again──> not_accepting
        ▲                        │  ▲                          │  ▲
        └──reserve made again────┘  └───a probe was written────┘  │
        └──────────────── disk errors in a row ───────────────────┘

``reserve_used`` takes emergencies and refuses telemetry. ``not_accepting`` refuses everything at
once, without touching the disk; a probe finds out when that is over.
"""

from collections.abc import Callable
from typing import Literal

from gateway.errors import ShedError, StoreError, StoreFullError
from gateway.outbox.database import CODE_FULL, CODE_IO, SqlError
from gateway.outbox.reserve import Reserve
from gateway.outbox.rows import Lane

GateState = Literal["accepting", "reserve_used", "not_accepting"]

ERRORS_IN_A_ROW = 5  # failed commits after which the disk is taken to be gone, not unlucky
NEARLY_FULL_BYTES = 64 * 1024  # an I/O error with less than this free is the full disk speaking


class Gate:
    """The state, why it is so, and what is refused in it."""

    def __init__(self, reserve: Reserve, tell: Callable[[GateState, str], None]) -> None:
        self._reserve = reserve
        self._tell = tell
        self._errors_in_a_row = 0
        self._is_full = False
        self.state: GateState = "accepting"
        self.why = ""

    def refusal(self, lane: Lane) -> StoreError | None:
        """Why a write of this lane is not even tried; None where it is."""
        if self.state == "accepting":
            return None
        if self.state == "reserve_used":
            return None if lane is Lane.EMERGENCY else ShedError(self.why)
        return StoreFullError(self.why) if self._is_full else StoreError(self.why)

    def open_reserve(self) -> None:
        """At start: hold the reserve, or begin in ``reserve_used`` where the disk has no room."""
        if not self._reserve.ensure():
            self._is_full = True
            self._go("reserve_used", "the disk has no room for the reserve; telemetry is refused")

    def failed(self, error: SqlError, lane: Lane | None) -> StoreError:
        """A write failed; ``lane`` is None for the outbox's own housekeeping.

        Returns what to tell the writer. After it, a full disk has got the reserve back if there was
        one: an emergency is worth a second try while ``refusal`` is None.
        """
        if not self.means_full(error):
            self._errors_in_a_row += 1
            if self._errors_in_a_row >= ERRORS_IN_A_ROW:
                self._is_full = False
                self._go("not_accepting", f"the disk fails: {error}")
            return StoreError(f"not stored: {error}")
        if self._reserve.give_up() or (self.state == "accepting" and lane is not Lane.EMERGENCY):
            self._is_full = True
            self._go(
                "reserve_used",
                "the disk is full; emergencies use the reserve, telemetry is refused",
            )
        elif lane is Lane.EMERGENCY:
            self._is_full = True
            self._go("not_accepting", "the disk is full, the reserve is used up; free some space")
        if self.state == "reserve_used" and lane is Lane.TELEMETRY:
            return ShedError(self.why)
        return StoreFullError(self.why)

    def succeeded(self) -> None:
        """A write was committed."""
        self._errors_in_a_row = 0

    def probed(self) -> None:
        """A probe was written: leave ``not_accepting``."""
        self._errors_in_a_row = 0
        if self.state == "not_accepting":
            self._go("reserve_used", "the disk takes a little again; telemetry is still refused")

    def try_to_recover(self) -> None:
        """Out of ``reserve_used`` as soon as the reserve could be made again."""
        if self.state == "reserve_used" and self._reserve.ensure():
            self._is_full = False
            self._go("accepting", "")

    def stop(self, why: str) -> None:
        """The outbox itself sees that it cannot go on for now."""
        self._is_full = False
        self._go("not_accepting", why)

    def means_full(self, error: SqlError) -> bool:
        """True where the error says that the disk is full, in one way or another."""
        if error.code == CODE_FULL:
            return True
        return error.code == CODE_IO and self._reserve.free_bytes() < NEARLY_FULL_BYTES

    def _go(self, state: GateState, why: str) -> None:
        is_change = state != self.state
        self.state = state
        self.why = why
        if is_change:
            self._tell(state, why)
