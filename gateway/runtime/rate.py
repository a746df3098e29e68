"""At most so many of each kind within a window of time."""

from collections import OrderedDict, deque
from collections.abc import Hashable


class Rate:
    """Counts by key over the last ``window_s``; at most ``most_keys`` keys are remembered.

    The key that was quiet longest is forgotten first.
    """

    def __init__(self, most: int, window_s: float, most_keys: int) -> None:
        self._most = most
        self._window_s = window_s
        self._most_keys = most_keys
        self._begun: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def lets_in(self, key: Hashable, mono: float) -> bool:
        """Whether one more of ``key`` may begin now; where it may, that is counted."""
        begun = self._begun.setdefault(key, deque(maxlen=self._most))
        self._begun.move_to_end(key)
        if len(self._begun) > self._most_keys:
            self._begun.popitem(last=False)
        if len(begun) == self._most and mono - begun[0] < self._window_s:
            return False
        begun.append(mono)
        return True
