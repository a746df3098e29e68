"""The outbox's file and everything that happens to it. All of it runs on one thread."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from gateway.clock import Clock, SystemClock
from gateway.errors import StoreError, StoreFullError
from gateway.model.emergency import Emergency
from gateway.model.events import EmergencyRaised, to_json
from gateway.outbox import opening
from gateway.outbox.database import Connect, SqlError, transaction
from gateway.outbox.gate import NEARLY_FULL_BYTES, Gate, GateState
from gateway.outbox.instance_lock import InstanceLock
from gateway.outbox.reserve import Reserve
from gateway.outbox.retention import Retention
from gateway.outbox.rows import Lane, Row, Write
from gateway.outbox.stats import Counts, SinkLag
from gateway.outbox.tables import CursorKey, SetAside, Tables
from gateway.retention_clock import RetentionClock
from gateway.settings import OutboxSettings

log = structlog.get_logger("gateway.outbox")

CHECKPOINT_BYTES = 4 << 20  # of log, about; then it is copied into the file
LONG_LOG_PAGES = 8192  # readers kept the log from starting anew: wait for them once
READER_WAIT_S = 1.0
SET_ASIDE_KEPT = 10_000  # of each sink
SET_ASIDE_WAITING = 10_000  # not on disk yet; later ones are counted as lost
PROBE_BYTES = 64 * 1024
REPLACE_EVERY_S = 60.0  # a disk that damages file after file must not be filled with them
_UNENCODABLE = (TypeError, ValueError, NotImplementedError, msgspec.MsgspecError)


class Outcome(NamedTuple):
    """What became of a group of writes: one error or None for each, and the new rows."""

    lane: Lane
    writes: Sequence[Write]
    errors: list[StoreError | None]
    rows: list[Row]


class _State(NamedTuple):
    """A new state of an emergency on its way to disk."""

    place: int  # of its write in the group
    revision: int
    state: Emergency
    text: bytes
    is_new: bool


class Engine:
    """Opens the file, commits groups of writes, and keeps the file in order."""

    def __init__(
        self,
        path: Path,
        settings: OutboxSettings,
        clock: Clock,
        connect: Connect,
        *,
        reading: threading.Lock,
        tell: Callable[[GateState, str], None] = lambda _state, _why: None,
        pace: Clock | None = None,
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._pace = pace or SystemClock()
        self._reading = reading
        self._lock = InstanceLock(path.with_name(path.name + ".lock"), path)
        self._reserve = Reserve(path.with_name(path.name + ".reserve"), settings.reserve_bytes)
        self.gate = Gate(self._reserve, tell)
        self.counts = Counts()
        self.damage: list[str] = []
        self.set_aside_counts: dict[str, int] = {}  # kept, by sink
        self.set_aside_lost = 0
        self.tables: Tables
        self._retention: Retention
        self._retention_clock = RetentionClock(path.name, clock, clock.now())
        self._seq = 0
        self._saved: dict[CursorKey, int] = {}
        self._aside: deque[SetAside] = deque()
        self._log_bytes = 0
        self._commit_begun: float | None = None
        self._suspicion = ""
        self._is_open = False
        self._last_replaced: float | None = None
        self.generation = 0  # grows when another file takes the place of the one that was open

    # ---- opening and closing

    def open(self) -> None:
        """Take the lock and open the file; raises StoreError or ConfigError."""
        self._lock.acquire()
        try:
            try:
                opened = opening.open_file(self._path, self._connect, self._clock)
            except StoreError:
                is_full = self._reserve.free_bytes() < NEARLY_FULL_BYTES
                if not (is_full and self._reserve.give_up()):
                    raise
                opened = opening.open_file(self._path, self._connect, self._clock)
            self._use(opened)
            newest = self.tables.newest_stored_at()
            if newest is not None:
                self._retention_clock = RetentionClock(self._path.name, self._clock, newest)
        except BaseException:
            self._lock.release()
            raise
        self._shorten_log()  # or a gateway that dies young would leave each heir a longer one
        self.gate.open_reserve()

    def close(self) -> None:
        """Copy the log into the file and let go of it; never raises."""
        if self._is_open:
            self._is_open = False
            try:
                self.tables.db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            except SqlError as error:
                log.warning("outbox_close_failed", why=str(error))
            self.tables.db.close()
        self._lock.release()

    def _use(self, opened: opening.Opened) -> None:
        self.tables = opened.tables
        self._retention = Retention(self.tables, self._settings)
        if opened.damage:
            self.damage.append(opened.damage)
        self._seq = max(self._seq, self.tables.last_seq_given())
        self._saved = self.tables.cursors()
        self.set_aside_counts = self.tables.set_aside_counts()
        self.counts.used_bytes = self.tables.used_bytes()
        self._is_open = True

    # ---- commits

    def commit(self, lane: Lane, writes: Sequence[Write]) -> Outcome:
        """Make a group of writes of one lane durable, all together; never raises StoreError.

        A write whose emergency is not on disk, or that cannot be written as JSON, fails alone.
        Writes that only wait their turn have nothing to fail by.
        """
        if not any(write.event or write.emergency for write in writes):
            return Outcome(lane, writes, [None] * len(writes), [])
        refusal = self.gate.refusal(lane)
        tries = 0
        while refusal is None or (tries == 1 and self._is_worth_a_second_try(lane, refusal)):
            tries += 1
            self._commit_begun = self._pace.monotonic()
            try:
                return self._commit(lane, writes)
            except SqlError as error:
                refusal = self._failed(error, lane)
            finally:
                self._commit_begun = None
        self.counts.failed[lane.name.lower()] += len(writes)
        return Outcome(lane, writes, [refusal] * len(writes), [])

    def _is_worth_a_second_try(self, lane: Lane, refusal: StoreError) -> bool:
        """The disk was full, and an emergency may now use what the reserve gave back."""
        return (
            lane is Lane.EMERGENCY
            and isinstance(refusal, StoreFullError)
            and self.gate.refusal(lane) is None
        )

    def _commit(self, lane: Lane, writes: Sequence[Write]) -> Outcome:
        errors: list[StoreError | None] = [None] * len(writes)
        places: list[int] = []
        rows: list[Row] = []
        states: list[_State] = []
        seq = self._seq
        for place, (_, event, emergency, _) in enumerate(writes):
            if event is None and emergency is None:
                continue
            seq += 1
            try:
                if emergency is not None:
                    is_new = (
                        isinstance(event, EmergencyRaised)
                        and event.event_id == emergency.emergency_id
                    )
                    states.append(_State(place, seq, emergency, to_json(emergency), is_new))
                if event is not None:
                    rows.append(Row(seq, lane, event, to_json(event)))
                    places.append(place)
            except _UNENCODABLE as error:
                errors[place] = StoreError(f"not stored: it cannot be written as JSON ({error})")
        self._seq = seq  # a number is never used twice, also when nothing comes of it
        if states:
            with transaction(self.tables.db):
                self._put_states(states, errors)
                rows = [row for row, at in zip(rows, places, strict=True) if errors[at] is None]
                self.tables.append(lane, rows, self._clock.now())
        elif rows:
            self.tables.append(lane, rows, self._clock.now())
        if states or rows:
            self._committed(lane, rows, len(states))
        failures = sum(error is not None for error in errors)
        if failures:
            self.counts.failed[lane.name.lower()] += failures
        return Outcome(lane, writes, errors, rows)

    def _put_states(self, states: list[_State], errors: list[StoreError | None]) -> None:
        for place, revision, state, text, is_new in states:
            if errors[place] is not None:
                continue
            if is_new:
                self.tables.put_emergency(state, revision, text)
            elif not self.tables.update_emergency(state, revision, text):
                errors[place] = StoreError(
                    f"not stored: emergency {state.emergency_id!r:.100} is not in the outbox"
                )

    def _committed(self, lane: Lane, rows: list[Row], states: int) -> None:
        counts = self.counts
        counts.commits += 1
        counts.last_commit_s = self.commit_running_s()
        counts.stored[lane.name.lower()] += len(rows)
        self._log_bytes += (3 + 2 * states) * 4096 + sum(len(row.payload) for row in rows)
        self.gate.succeeded()

    def _failed(self, error: SqlError, lane: Lane | None) -> StoreError:
        self.counts.failed_commits += 1
        self.counts.last_error = str(error)
        if error.is_damage:
            self._suspicion = self._suspicion or str(error)
        before = self.gate.state
        refusal = self.gate.failed(error, lane)
        if before == "accepting" and self.gate.state == "reserve_used":
            self._shorten_log()
        return refusal

    # ---- housekeeping, called again and again

    def save(self, cursors: Mapping[CursorKey, int], set_aside: Sequence[SetAside]) -> None:
        """Write how far sinks have come and what they will never take, when that is possible."""
        for row in set_aside:
            self.counts.rejected[row.sink] += 1
            if len(self._aside) < SET_ASIDE_WAITING:
                self._aside.append(row)
            else:
                self.set_aside_lost += 1
        changed = {key: seq for key, seq in cursors.items() if self._saved.get(key) != seq}
        if not (changed or self._aside) or self.gate.state == "not_accepting":
            return
        try:
            with transaction(self.tables.db):
                self.tables.put_set_aside(self._aside)
                for sink in {row.sink for row in self._aside}:
                    self.tables.forget_set_aside(sink, SET_ASIDE_KEPT)
                self.tables.put_cursors(changed)
                kept = self.tables.set_aside_counts()
        except SqlError as error:
            self._failed(error, None)
            return
        self._log_bytes += 2 * 4096
        self._aside.clear()
        self._saved.update(changed)
        self.set_aside_counts = kept

    def saved_cursor(self, key: CursorKey) -> int:
        """How far a sink has come, as far as the disk knows."""
        return self._saved.get(key, 0)

    def sweep(self, durable: Sequence[str]) -> bool:
        """One piece of retention; True where more is to be done soon."""
        if self.gate.state == "not_accepting":
            return False
        delivered = {
            lane: min((self.saved_cursor((sink, lane)) for sink in durable), default=self._seq)
            for lane in Lane
        }
        want_free = self._settings.reserve_bytes if self.gate.state == "reserve_used" else 0
        try:
            swept = self._retention.step(delivered, self._retention_clock.now(), want_free)
            self.counts.used_bytes = self.tables.used_bytes()
            if self.set_aside_counts:  # they can be taken out from outside
                self.set_aside_counts = self.tables.set_aside_counts()
        except SqlError as error:
            self._failed(error, None)
            return False
        self.counts.expired += swept.expired
        self.counts.thinned += swept.thinned
        self._log_bytes += 4096 + (swept.expired + swept.thinned) * 16
        return swept.is_more

    def recover(self) -> None:
        """Once a second while not everything is accepted: see whether that is over."""
        if self._suspicion:
            return
        if self.gate.state == "not_accepting":
            try:
                self.tables.db.run(
                    "INSERT INTO probe (filler) VALUES (zeroblob(?))", (PROBE_BYTES,)
                )
                self.tables.db.run("DELETE FROM probe")
            except SqlError as error:
                if error.is_damage:
                    self._suspicion = str(error)
                return
            self._log_bytes += PROBE_BYTES
            self.gate.probed()
        self.gate.try_to_recover()

    def checkpoint(self) -> None:
        """Copy the log into the file when it has become long; nobody waits for this."""
        if self._log_bytes < min(CHECKPOINT_BYTES, self._settings.reserve_bytes):
            return
        self._log_bytes = 0
        try:
            _, pages, _ = self.tables.db.rows("PRAGMA wal_checkpoint(PASSIVE)")[0]
        except SqlError as error:
            self._failed(error, None)
            return
        if pages > LONG_LOG_PAGES and self._reading.acquire(timeout=READER_WAIT_S):
            try:
                self._shorten_log()
            finally:
                self._reading.release()

    def suspect(self, why: str) -> None:
        """A reader met damage; callable from any thread."""
        self._suspicion = self._suspicion or why

    @property
    def is_suspect(self) -> bool:
        """True where somebody met damage that has not been seen to."""
        return bool(self._suspicion)

    def replace_if_damaged(self) -> None:
        """See to damage that was met: a new file takes over what can be read of the old one."""
        why, self._suspicion = self._suspicion, ""
        now = self._pace.monotonic()
        if self._last_replaced is not None and now - self._last_replaced < REPLACE_EVERY_S:
            self._suspicion = why
            self.gate.stop(f"the outbox file was damaged again ({why}); check the disk")
            return
        self._last_replaced = now
        self._is_open = False
        try:
            opened = opening.replace_damaged(
                self.tables.db, self._path, self._connect, self._clock, why
            )
        except (StoreError, OSError) as error:
            self._suspicion = why
            self.gate.stop(str(error))
            return
        self._use(opened)
        self.generation += 1
        self.gate.probed()
        self.gate.try_to_recover()

    def measure(self, cursors: Mapping[CursorKey, int]) -> dict[str, SinkLag]:
        """How far each sink is behind; empty where the file does not answer."""
        last = self.tables.last_seq_of(Lane.TELEMETRY)
        now = self._clock.now()
        found: dict[str, SinkLag] = {}
        for sink in {sink for sink, _ in cursors}:
            ages = [0.0]
            for lane in Lane:
                stored_at = self.tables.oldest_after(lane, cursors[sink, lane])
                if stored_at is not None:
                    ages.append(now.seconds_since(stored_at))
            found[sink] = SinkLag(
                emergencies=self.tables.count_after(Lane.EMERGENCY, cursors[sink, Lane.EMERGENCY]),
                telemetry=max(0, last - cursors[sink, Lane.TELEMETRY]),
                oldest_age_s=max(ages),
            )
        return found

    def commit_running_s(self) -> float:
        """How long the commit that is being made has taken so far, 0 where there is none."""
        begun = self._commit_begun
        return 0.0 if begun is None else self._pace.monotonic() - begun

    @property
    def last_seq(self) -> int:
        """The last number drawn."""
        return self._seq

    def _shorten_log(self) -> None:
        try:
            self.tables.db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        except SqlError as error:
            self.counts.last_error = str(error)
