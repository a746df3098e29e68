"""What leaves the outbox: delivered rows after their time, and telemetry that has no room left.

Each call does a bounded piece of work, so that no emergency waits for more than that.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.model.quantities import NS_PER_S, Instant
from gateway.outbox.rows import Lane
from gateway.outbox.tables import NO_FIX, Tables, by_lane
from gateway.settings import OutboxSettings

DELETE_ROWS = 4_000  # delivered rows of one piece of work
THIN_ROWS = 20_000  # rows looked at in one piece of thinning
ENOUGH = 0.9  # of max_bytes: where making room ends
CLOSED_KEEP_S = 90 * 86_400.0  # closed emergencies; a late repeat of one must be known as such
_EXPIRE = by_lane(
    "DELETE FROM {rows} WHERE seq <= ? AND stored_at < ? AND seq <= "
    "(SELECT max(seq) FROM (SELECT seq FROM {rows} ORDER BY seq LIMIT ?))"
)


class Swept(NamedTuple):
    """What one piece of work took out; ``is_more`` asks to be called again soon."""

    expired: int = 0  # delivered to every durable sink
    thinned: int = 0  # not delivered: fixes with a later one of the same radio, then the oldest
    is_more: bool = False


class Retention:
    """Keeps the file within its limits; an emergency row leaves only delivered and in its time."""

    def __init__(self, tables: Tables, settings: OutboxSettings) -> None:
        self._tables = tables
        self._settings = settings
        self._is_making_room = False
        self._window_start = 0  # thinning has looked at rows up to here in this round
        self._thinned_in_round = 0
        self._is_thin = False  # a whole round found no fix with a later one

    def step(self, delivered: Mapping[Lane, int], now: Instant, want_free_bytes: int = 0) -> Swept:
        """One piece of work. Raises SqlError.

        ``delivered`` is how far all durable sinks have come. ``want_free_bytes`` asks for room
        inside the file, on a disk that has none outside of it.
        """
        expired = sum(self._expire(lane, delivered[lane], now) for lane in Lane)
        if expired:
            return Swept(expired=expired, is_more=expired >= DELETE_ROWS)
        if not self._must_make_room(want_free_bytes):
            self._is_thin = False
            self._forget_closed(now)
            return Swept()
        expired = self._delete_oldest(delivered[Lane.TELEMETRY])
        if expired:
            return Swept(expired=expired, is_more=True)
        if not self._is_thin:
            thinned = self._thin(delivered[Lane.TELEMETRY])
            return Swept(thinned=thinned, is_more=True)
        if self._is_making_room:
            # Only max_bytes takes the latest fix of a radio, never a disk that others have filled.
            thinned = self._delete_oldest(None)
            return Swept(thinned=thinned, is_more=bool(thinned))
        return Swept()

    def _must_make_room(self, want_free_bytes: int) -> bool:
        used = self._tables.used_bytes()
        limit = self._settings.max_bytes
        self._is_making_room = used > (limit * ENOUGH if self._is_making_room else limit)
        return self._is_making_room or (
            want_free_bytes > 0 and self._tables.free_bytes() < want_free_bytes
        )

    def _expire(self, lane: Lane, delivered: int, now: Instant) -> int:
        """Delivered rows older than keep_s, from the oldest on."""
        before = now - round(self._settings.keep_s * NS_PER_S)
        oldest = self._tables.oldest_after(lane, 0)
        if oldest is None or oldest >= before:
            return 0
        return self._tables.db.run(_EXPIRE[lane], (delivered, before, DELETE_ROWS))

    def _delete_oldest(self, delivered: int | None) -> int:
        """The oldest telemetry: what was delivered, or with None whatever there is."""
        return self._tables.db.run(
            "DELETE FROM telemetry_rows WHERE seq <= coalesce(?, seq) AND seq <= "
            "(SELECT max(seq) FROM (SELECT seq FROM telemetry_rows ORDER BY seq LIMIT ?))",
            (delivered, DELETE_ROWS),
        )

    def _thin(self, delivered: int) -> int:
        """Within the next THIN_ROWS rows, only the latest fix of each radio stays."""
        start = max(self._window_start, delivered)
        end = self._tables.db.rows(
            "SELECT max(seq) FROM "
            "(SELECT seq FROM telemetry_rows WHERE seq > ? ORDER BY seq LIMIT ?)",
            (start, THIN_ROWS),
        )[0][0]
        if end is None:
            self._is_thin = not self._thinned_in_round
            self._window_start = 0
            self._thinned_in_round = 0
            return 0
        thinned = self._tables.db.run(
            "DELETE FROM telemetry_rows WHERE seq > ? AND seq <= ? "
            "AND kind IN ('position_fix', ?) AND seq NOT IN "
            "(SELECT max(seq) FROM telemetry_rows WHERE seq > ? AND seq <= ? "
            "GROUP BY radio_id, kind)",
            (start, end, NO_FIX, start, end),
        )
        self._window_start = end
        self._thinned_in_round += thinned
        return thinned

    def _forget_closed(self, now: Instant) -> None:
        before = now - round(CLOSED_KEEP_S * NS_PER_S)
        self._tables.db.run(
            "DELETE FROM emergencies WHERE rowid IN (SELECT rowid FROM emergencies "
            "WHERE phase = 'closed' AND closed_at < ? LIMIT ?)",
            (before, DELETE_ROWS),
        )
