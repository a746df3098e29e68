"""Which reports were here a moment ago, to know one that is sent again.

A radio of ours has its own few marks, which nobody else can push out. Those of all other numbers
share one list: whoever makes up numbers costs no memory, and at most makes us take a stranger's
repetition for a new report.
"""

from collections import OrderedDict

from gateway.model.identity import EventId, RadioId
from gateway.model.quantities import Instant

REPEAT_WINDOW_S = 600.0  # a report sent again later than this counts as a new one
MARKS_PER_RADIO = 64  # of ours
MARKS_OF_OTHERS = 50_000  # together; about 10 MiB


class Marks:
    """The last ``most`` marks, each for as long as it may be repeated."""

    __slots__ = ("_last_at", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._last_at: OrderedDict[EventId, Instant] = OrderedDict()  # the newest at the end

    def __len__(self) -> int:
        return len(self._last_at)

    def has(self, mark: EventId, at: Instant) -> bool:
        """True where ``mark`` was seen within REPEAT_WINDOW_S; remembers it either way.

        What lies ahead was seen before the clock was set back.
        """
        last_at = self._last_at.pop(mark, None)
        self._last_at[mark] = at
        while self._is_first_over(at):
            self._last_at.popitem(last=False)
        return last_at is not None and at.is_within(REPEAT_WINDOW_S, last_at)

    def forget(self, mark: EventId) -> None:
        """It could not be stored: its next copy is the first one."""
        self._last_at.pop(mark, None)

    def _is_first_over(self, now: Instant) -> bool:
        first_at = next(iter(self._last_at.values()))
        return len(self._last_at) > self._most or not now.is_within(REPEAT_WINDOW_S, first_at)


class Repeats:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._ours: dict[RadioId, Marks] = {}  # as many as the roster has
        self._others = Marks(MARKS_OF_OTHERS)

    def of(self, radio_id: RadioId, *, is_ours: bool) -> Marks:
        """The marks among which a report of this radio is looked for."""
        if not is_ours:
            return self._others
        marks = self._ours.get(radio_id)
        if marks is None:
            marks = self._ours[radio_id] = Marks(MARKS_PER_RADIO)
        return marks
