"""The thread named "outbox": takes queued writes, commits them, and sees to the file in between."""

import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

import structlog

from gateway.clock import Clock, SystemClock
from gateway.errors import StoreError
from gateway.outbox.engine import Engine, Outcome
from gateway.outbox.many import MOST_ROWS
from gateway.outbox.rows import Lane, Write
from gateway.outbox.stats import SinkLag
from gateway.outbox.tables import CursorKey, SetAside

log = structlog.get_logger("gateway.outbox")

SAVE_EVERY_S = 0.5  # what sinks have taken is sent to them again after a crash, up to this long ago
TIDY_EVERY_S = 1.0
EMERGENCIES_IN_A_ROW = 64  # then telemetry gets one commit, so that a flood does not stop it

# A thread that returns from the disk waits so long before it may ask a busy event loop for the
# interpreter. With Python's usual 5 ms a loop that is never idle for that long starves the
# committing thread altogether: 250 rows a second where 0.5 ms gives 40,000.
SWITCH_INTERVAL_S = 0.0005


class Queued(NamedTuple):
    """A write, and how many failures in its lane its submitter knew of."""

    write: Write
    told: int


class Doorbell:
    """Wakes one waiting thread; ringing never blocks, and ringing twice is ringing once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Let the waiting thread, or the next one that waits, go on."""
        try:
            if self._lock.locked():
                self._lock.release()
        except RuntimeError:
            # Somebody else rang in between.
            return

    def wait(self, timeout_s: float) -> None:
        """Until it rings, at most ``timeout_s``."""
        self._lock.acquire(timeout=max(0.0, timeout_s))


class Worker:
    """Owns the engine. ``done`` is called on this thread for each group, in order of commit."""

    def __init__(
        self,
        engine: Engine,
        commit_every_s: float,
        *,
        done: Callable[[Outcome, int], None],
        ended: Callable[[], None],
        pace: Clock | None = None,
    ) -> None:
        self.engine = engine
        self.queues: tuple[deque[Queued], deque[Queued]] = (deque(), deque())  # by lane
        self.cursors: dict[CursorKey, int] = {}  # written by the event loop
        self.set_aside: deque[SetAside] = deque()  # filled by the event loop
        self.durable: list[str] = []
        self.lag = dict[str, SinkLag]()
        self._commit_every_s = commit_every_s
        self._done = done
        self._ended = ended
        self._pace = pace or SystemClock()
        self._bell = Doorbell()
        self._opened: Future[None] = Future()
        self._is_closing = False
        self._failures = [0, 0]
        self._group_due: float | None = None
        self._save_due = 0.0
        self._tidy_due = 0.0
        self._is_tidying = False
        self._bugs: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    # ---- called from outside

    def open(self) -> None:
        """Start the thread and open the file on it; raises what opening raised."""
        self._thread.start()
        self._opened.result()

    @property
    def is_running(self) -> bool:
        """False before ``open``, after a failed one, and after the end."""
        return self._thread.is_alive()

    def put(self, lane: Lane, queued: Queued) -> None:
        """Queue a write; never blocks."""
        queue = self.queues[lane]
        queue.append(queued)
        if lane is Lane.EMERGENCY or len(queue) in (1, MOST_ROWS):
            self._bell.ring()

    def close(self) -> None:
        """Ask for the end: what is queued is committed first, then ``ended`` is called."""
        self._is_closing = True
        self._bell.ring()

    def suspect(self, why: str) -> None:
        """A reader met damage."""
        self.engine.suspect(why)
        self._bell.ring()

    # ---- the thread

    def _run(self) -> None:
        try:
            self.engine.open()
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits for it
            self._opened.set_exception(error)
            return
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        self._opened.set_result(None)
        try:
            while not (self._is_closing and not any(self.queues)):
                self._turn()
            self._guard("save", self._save)
        finally:
            self.engine.close()
            self._ended()

    def _turn(self) -> None:
        emergencies, telemetry = self.queues
        for _ in range(EMERGENCIES_IN_A_ROW):
            if not emergencies:
                break
            self._commit(Lane.EMERGENCY, _next_emergencies(emergencies))
        now = self._pace.monotonic()
        if telemetry and self._is_group_due(now):
            self._group_due = None
            count = min(len(telemetry), MOST_ROWS)
            self._commit(Lane.TELEMETRY, [telemetry.popleft() for _ in range(count)])
        self._keep_house(now)
        if not emergencies:
            self._sleep()

    def _is_group_due(self, now: float) -> bool:
        """For a queue that is not empty; its oldest row began to wait when this was first asked."""
        if self._group_due is None:
            self._group_due = now + self._commit_every_s
        is_long = len(self.queues[Lane.TELEMETRY]) >= MOST_ROWS
        return is_long or self._is_closing or now >= self._group_due

    def _sleep(self) -> None:
        """Until something is queued or due."""
        now = self._pace.monotonic()
        due = min(self._save_due, self._tidy_due)
        if self.queues[Lane.TELEMETRY]:
            if self._is_group_due(now):
                return
            due = min(due, self._group_due or due)
        if not self._is_closing:
            self._bell.wait(due - now)

    def _commit(self, lane: Lane, group: list[Queued]) -> None:
        writes = [queued.write for queued in group]
        try:
            outcome = self.engine.commit(lane, writes)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end all acknowledgements
            self._bug("commit", error)
            failure = StoreError(f"not stored: {type(error).__name__}: {error}")
            outcome = Outcome(lane, writes, [failure] * len(writes), [])
        errors = outcome.errors
        self._failures[lane] += len(errors) - errors.count(None)
        failures = self._failures[lane]
        for place, (write, told) in enumerate(group):
            if told < failures and write.event is None and write.emergency is None:
                # What it repeats may be what failed: its sender must ask again.
                errors[place] = errors[place] or StoreError("what this repeats was not stored")
        self._done(outcome, failures)
        self._guard("checkpoint", self.engine.checkpoint)

    def _keep_house(self, now: float) -> None:
        if now >= self._save_due:
            self._save_due = now + SAVE_EVERY_S
            self._guard("save", self._save)
        if now >= self._tidy_due:
            self._tidy_due = now + TIDY_EVERY_S
            self._guard("tidy", self._tidy)

    def _save(self) -> None:
        # Cursors first: whatever was set aside before a cursor moved is then in the queue already.
        cursors: Mapping[CursorKey, int] = dict(self.cursors)
        rows = [self.set_aside.popleft() for _ in range(len(self.set_aside))]
        self.engine.save(cursors, rows)

    def _tidy(self) -> None:
        if self.engine.is_suspect:
            self.engine.replace_if_damaged()
        if self.engine.gate.state != "accepting":
            self.engine.recover()
        if self.engine.sweep(self.durable):
            self._tidy_due = self._pace.monotonic()
        else:
            self.lag = self.engine.measure(dict(self.cursors))
        self.engine.checkpoint()

    def _guard(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except StoreError as error:
            self.engine.counts.last_error = str(error)
        except Exception as error:  # noqa: BLE001 - housekeeping must not end the commits
            self._bug(what, error)

    def _bug(self, what: str, error: Exception) -> None:
        """Log a bug of ours with its traceback, once for each place."""
        self._bugs[what] += 1
        if self._bugs[what] == 1:
            log.error("outbox_bug", where=what, exc_info=error)


def _next_emergencies(queue: deque[Queued]) -> list[Queued]:
    """An event by itself, or a run of writes without one."""
    group = [queue.popleft()]
    if group[0].write.event is None:
        while queue and queue[0].write.event is None and len(group) < MOST_ROWS:
            group.append(queue.popleft())
    return group
