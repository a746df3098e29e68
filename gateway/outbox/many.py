"""One statement for many rows.

Each return from SQLite takes the interpreter's lock again, and with a busy event loop that costs
far more than the statement, for the waiting thread as for the loop that has to let go.
"""

from collections.abc import Sequence
from typing import TypeVar

MOST_ROWS = 512  # of one statement

# A statement is compiled once for each size; unused places are filled with NULL and skipped.
_SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, MOST_ROWS)

V = TypeVar("V")


class ManyRows:
    """A statement around ``(VALUES …)``, whose columns SQLite names ``column1`` and so on.

    ``sql`` has ``{values}`` in that place and must skip rows whose ``column1`` is NULL: they only
    fill it up. Every real row has a first column that is not NULL.
    """

    def __init__(self, sql: str, columns: int) -> None:
        self._columns = columns
        row = f"({', '.join('?' * columns)})"
        self._by_size = {
            size: sql.replace("{values}", f"(VALUES {', '.join([row] * size)})") for size in _SIZES
        }

    def fit(self, values: Sequence[V]) -> tuple[str, list[V | None]]:
        """The statement for ``values``, the columns of all rows on end, and what fills it.

        Raises ValueError for more than MOST_ROWS rows.
        """
        count = len(values) // self._columns
        size = next((size for size in _SIZES if size >= count), 0)
        if not size:
            raise ValueError(f"{count} rows; one statement takes {MOST_ROWS}")
        return self._by_size[size], [*values, *[None] * ((size - count) * self._columns)]
