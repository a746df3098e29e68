"""Guessing is slow: five wrong tries close an account and an address for a quarter of an hour.

The pause doubles with each further round. Sessions that are in force go on: who guesses at a name
can keep its owner from signing in anew, not from answering an alarm.
"""

from collections import OrderedDict

from gateway.clock import Clock

TRIES = 5
FIRST_PAUSE_S = 900.0
LONGEST_PAUSE_S = 4 * 3600.0
FORGET_S = 86_400.0  # tries older than this do not count
MAX_KEYS = 10_000  # accounts and addresses remembered; the oldest go first


class _Tries:
    __slots__ = ("failed", "last_mono", "locked_until", "rounds")

    def __init__(self) -> None:
        self.failed = 0
        self.rounds = 0
        self.last_mono = 0.0
        self.locked_until = 0.0


class Lockout:
    """Counts tries by key; measured on the monotonic clock, kept in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def locked_s(self, *keys: str) -> float:
        """Seconds until a try is allowed again; 0 where it is allowed now."""
        now = self._clock.monotonic()
        known = (self._tries.get(key) for key in keys)
        return max((tries.locked_until - now for tries in known if tries is not None), default=0.0)

    def begin(self, *keys: str) -> bool:
        """Count a try before its outcome is known, so that tries side by side all count.

        Returns True where this was the one that locks.
        """
        now = self._clock.monotonic()
        has_locked = False
        for key in keys:
            tries = self._tries.pop(key, None)
            if tries is None or now - tries.last_mono > FORGET_S:
                tries = _Tries()
            self._tries[key] = tries
            tries.last_mono = now
            tries.failed += 1
            if tries.failed >= TRIES:
                pause_s = min(FIRST_PAUSE_S * 2**tries.rounds, LONGEST_PAUSE_S)
                tries.locked_until = now + pause_s
                tries.failed, tries.rounds = 0, tries.rounds + 1
                has_locked = True
        while len(self._tries) > MAX_KEYS:
            self._tries.popitem(last=False)
        return has_locked

    def succeeded(self, account: str, address: str) -> None:
        """The try was right: the account begins anew, the address keeps its earlier wrong ones.

        Otherwise whoever owns one account could guess at the others for ever.
        """
        self._tries.pop(account, None)
        tries = self._tries.get(address)
        if tries is None:
            return
        if tries.failed == 0:  # it was this try that locked
            tries.failed, tries.rounds, tries.locked_until = TRIES, max(0, tries.rounds - 1), 0.0
        tries.failed -= 1
