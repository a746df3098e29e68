"""How many emergencies that nobody vouches for one source may show.

An alarm of an unregistered radio, or of one that did not prove itself, is shown all the same. So
that nobody hides a real alarm among a thousand forged ones, a source begins at most MOST_ENTRIES of
them a minute. What comes beyond is counted, and not acknowledged: a radio that means it repeats
itself, and is shown when the minute has passed.
"""

from gateway.runtime.rate import Rate

MOST_ENTRIES = 10
WINDOW_S = 60.0
MAX_SOURCES = 4096  # remembered; the one that was quiet longest is forgotten first


class DoubtfulLane:
    """Counts the entries of each source over the last minute."""

    def __init__(self) -> None:
        self._rate = Rate(MOST_ENTRIES, WINDOW_S, MAX_SOURCES)

    def lets_in(self, link_id: str, peer: str, mono: float) -> bool:
        """Whether a source may begin one more entry now; where it may, that is counted."""
        return self._rate.lets_in((link_id, host_of(peer)), mono)


def host_of(peer: str) -> str:
    """A peer's address without its port, which whoever forges chooses freely."""
    host, _, port = peer.rpartition(":")
    return host if port.isdecimal() else peer
