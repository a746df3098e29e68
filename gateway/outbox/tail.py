"""The newest committed rows of one lane, in memory: what a sink reads that has caught up."""

from bisect import bisect_right
from collections.abc import Sequence

from gateway.outbox.rows import Row


class Tail:
    """A bounded window over a lane; older rows are read back from disk.

    ``missing_through`` is the last row that is not in the window (any more): a reader whose cursor
    has not come that far has to read from disk.
    """

    def __init__(self, bound: int, missing_through: int) -> None:
        self._bound = bound
        self._rows: list[Row] = []
        self.missing_through = missing_through

    def append(self, rows: Sequence[Row]) -> None:
        """Take newly committed rows; the oldest leave when there are too many."""
        self._rows += rows
        excess = len(self._rows) - self._bound
        if excess > 0:
            self._cut(excess)

    def after(self, seq: int, limit: int) -> list[Row] | None:
        """Up to ``limit`` rows after ``seq``, None where they have to be read from disk."""
        if seq < self.missing_through:
            return None
        start = bisect_right(self._rows, seq, key=_seq)
        return self._rows[start : start + limit]

    def count_after(self, seq: int) -> int | None:
        """How many rows come after ``seq``, None where the window does not reach back so far."""
        if seq < self.missing_through:
            return None
        return len(self._rows) - bisect_right(self._rows, seq, key=_seq)

    def forget_through(self, seq: int) -> None:
        """Every reader is done with rows up to ``seq``."""
        self._cut(bisect_right(self._rows, seq, key=_seq))

    def __len__(self) -> int:
        """How many rows are held."""
        return len(self._rows)

    def _cut(self, count: int) -> None:
        if count:
            self.missing_through = self._rows[count - 1].seq
            del self._rows[:count]


def _seq(row: Row) -> int:
    return row.seq
