"""The outbox in figures, for health, metrics and the desk's technician."""

from collections import Counter
from dataclasses import dataclass, field

from gateway.outbox.gate import GateState


@dataclass(frozen=True, slots=True)
class SinkLag:
    """How far a sink is behind, as of the last second.

    ``telemetry`` may be too high, by rows thinned and by emergencies in between, and is never too
    low. ``oldest_age_s`` is by the wall clock, 0 for a sink that has caught up.
    """

    emergencies: int
    telemetry: int
    oldest_age_s: float


@dataclass(slots=True)
class Counts:
    """What the writing thread counts; lanes are named in lower case."""

    stored: Counter[str] = field(default_factory=Counter)  # rows, by lane
    failed: Counter[str] = field(default_factory=Counter)  # writes settled with an error, by lane
    commits: int = 0
    failed_commits: int = 0
    last_commit_s: float = 0.0
    last_error: str = ""
    expired: int = 0  # delivered rows deleted
    thinned: int = 0  # rows deleted that some durable sink has not taken
    rejected: Counter[str] = field(default_factory=Counter)  # refused for good, by sink
    used_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """One look at the outbox.

    ``waiting`` are writes not settled yet, ``refused`` those that found their queue full, both by
    lane. ``rejected`` counts what each sink has refused for good since the start, ``set_aside``
    what is kept of it now; both and ``lag`` are by sink. ``damage`` says what became of damaged
    files.
    ``commit_running_s`` grows while the disk does not return from a commit, and is 0 otherwise.
    """

    state: GateState
    why: str
    stored: dict[str, int]
    failed: dict[str, int]
    waiting: dict[str, int]
    refused: dict[str, int]
    commits: int
    failed_commits: int
    last_commit_s: float
    commit_running_s: float
    last_error: str
    used_bytes: int
    expired: int
    thinned: int
    rejected: dict[str, int]
    set_aside: dict[str, int]
    set_aside_lost: int
    lag: dict[str, SinkLag]
    damage: tuple[str, ...]
