"""The audit log: appended to, never changed; each row carries the hash of the one before.

Changing or removing a row breaks every hash after it. What a chain alone cannot show is a cut tail:
therefore ``head`` is there to be published elsewhere from time to time.
"""

import sqlite3
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.model.quantities import Instant

FIRST_HASH = "0" * 64  # what the first row carries as the hash before it
MAX_TEXT = 500  # characters of each text in a row

Result = Literal["ok", "refused", "failed"]

_COLUMNS = (
    "seq, at, monotonic_s, who, action, subject, result, detail, address, previous_hash, hash"
)


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to whom, from where, and what came of it. Never a password or a token."""

    who: str
    action: str
    subject: str = ""
    result: Result = "ok"
    detail: str = ""
    address: str = ""


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in its place of the chain; times from both clocks."""

    seq: int
    at: Instant
    monotonic_s: float
    who: str
    action: str
    subject: str
    result: Result
    detail: str
    address: str
    previous_hash: str
    hash: str


class AuditHead(msgspec.Struct, frozen=True, kw_only=True):
    """The last row's number and hash; 0 and zeros for an empty log."""

    seq: int
    hash: str


class Checked(NamedTuple):
    """How far the chain was looked at, and the first row that does not follow, or None."""

    head: AuditHead
    broken: int | None
    is_end: bool


def append(
    connection: sqlite3.Connection, entry: AuditEntry, at: Instant, monotonic_s: float
) -> AuditHead:
    """Add one row inside the caller's transaction."""
    before = head(connection)
    row = AuditRow(
        seq=before.seq + 1,
        at=at,
        monotonic_s=monotonic_s,
        who=entry.who[:MAX_TEXT],
        action=entry.action[:MAX_TEXT],
        subject=entry.subject[:MAX_TEXT],
        result=entry.result,
        detail=entry.detail[:MAX_TEXT],
        address=entry.address[:MAX_TEXT],
        previous_hash=before.hash,
        hash="",
    )
    row = msgspec.structs.replace(row, hash=row_hash(row))
    places = ", ".join("?" * 11)
    connection.execute(
        f"INSERT INTO audit ({_COLUMNS}) VALUES ({places})",  # noqa: S608 - constants only
        msgspec.structs.astuple(row),
    )
    return AuditHead(seq=row.seq, hash=row.hash)


def head(connection: sqlite3.Connection) -> AuditHead:
    """The end of the chain, to be published where this file's owner cannot reach."""
    found = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return AuditHead(seq=found[0], hash=found[1]) if found else AuditHead(seq=0, hash=FIRST_HASH)


def newest(connection: sqlite3.Connection, before_seq: int | None, limit: int) -> list[AuditRow]:
    """Rows before ``before_seq`` (from the end when None), newest first."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?",  # noqa: S608 - constants only
        (2**62 if before_seq is None else before_seq, limit),
    )
    return list(_rows(found))


def check_step(connection: sqlite3.Connection, after: AuditHead, limit: int) -> Checked:
    """Look at up to ``limit`` rows behind ``after``, whose hash is taken as it stands."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - constants only
        (after.seq, limit),
    )
    seq, previous = after.seq, after.hash
    for row in _rows(found):
        seq += 1
        if row.seq != seq or row.previous_hash != previous or row.hash != row_hash(row):
            return Checked(AuditHead(seq=seq, hash=previous), seq, is_end=True)
        previous = row.hash
    return Checked(AuditHead(seq=seq, hash=previous), None, is_end=seq - after.seq < limit)


def row_hash(row: AuditRow) -> str:
    """SHA-256 over every column but the hash, as a JSON array: no two rows write the same."""
    return sha256(msgspec.json.encode(msgspec.structs.astuple(row)[:-1], enc_hook=int)).hexdigest()


def _rows(found: Iterable[tuple[Any, ...]]) -> Iterable[AuditRow]:
    names = AuditRow.__struct_fields__
    for row in found:
        columns = dict(zip(names, row, strict=True))
        yield AuditRow(**columns | {"at": Instant(columns["at"])})
