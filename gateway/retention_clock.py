"""What time it is for the deletion of old rows: a clock that is wrong for a while deletes nothing.

The wall clock may be set anywhere: by a battery that died, by a false time signal, by hand. Rows
that were deleted by such a time never come back. So a step of more than a day counts only when the
clock has kept to it for a week of running; until then time goes on from what was believed before.
What is really old, after months switched off, is deleted a week late.
"""

import structlog

from gateway.clock import Clock
from gateway.model.quantities import NS_PER_S, Instant

log = structlog.get_logger("gateway.retention")

STEP_NS = 86_400 * NS_PER_S  # of less than this the shortest retention takes no harm
DOUBT_S = 7 * 86_400.0  # of running: time enough for somebody to see a wrong clock


class RetentionClock:
    """See the module's docstring.

    Args:
        name: of the file whose rows it is about, for the log.
        believed_at: the last moment that is sure to have been, as the file knows it.
        doubted_s: for how long the clock had been in doubt then.
        clock: the wall clock that is doubted, and the one that it is measured by.
    """

    def __init__(
        self, name: str, clock: Clock, believed_at: Instant, doubted_s: float = 0.0
    ) -> None:
        self._name = name
        self._clock = clock
        self._mono = clock.monotonic()
        self._has_told = False
        self.believed_at = believed_at
        self.doubted_s = doubted_s

    def now(self) -> Instant:
        """Never later than the wall clock, nor than what can be believed."""
        wall, mono = self._clock.now(), self._clock.monotonic()
        gone_s, self._mono = mono - self._mono, mono
        self.believed_at = Instant(self.believed_at + round(gone_s * NS_PER_S))
        self.doubted_s += gone_s
        if abs(wall - self.believed_at) <= STEP_NS or self.doubted_s >= DOUBT_S:
            self.believed_at, self.doubted_s, self._has_told = wall, 0.0, False
        elif not self._has_told:
            self._has_told = True
            log.warning(
                "clock_stepped",
                keeps=self._name,
                step_d=round((wall - self.believed_at) / STEP_NS, 1),
                believed_in_d=round((DOUBT_S - self.doubted_s) / 86_400, 1),
            )
        return min(wall, self.believed_at)
