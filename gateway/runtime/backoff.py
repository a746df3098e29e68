"""How long to wait before the next try: full jitter, growing, never giving up."""

import random


class Backoff:
    """Pauses drawn from 0 to a ceiling that doubles from ``first_s`` to ``most_s`` seconds.

    Full jitter keeps a thousand clients that lost the same server from coming back in step.
    """

    def __init__(
        self,
        first_s: float = 0.5,
        most_s: float = 30.0,
        source: random.Random | None = None,
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._source = source or random.Random()  # noqa: S311 - jitter is no secret
        self._ceiling_s = first_s

    def next(self) -> float:
        """Seconds to wait now; the ceiling grows with each call."""
        pause_s = self._source.uniform(0, self._ceiling_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._most_s)
        return pause_s

    def reset(self) -> None:
        """It worked: the next pause is short again."""
        self._ceiling_s = self._first_s
