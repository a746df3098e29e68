"""The tables of ``desk.db`` and how an older file becomes a newer one.

``PRAGMA user_version`` counts the steps of MIGRATIONS that a file has had. A released step is never
edited; a change is a further step.

Sizes follow from a measurement on ten million rows: positions keyed by (who, when) without a rowid,
plus one index on the time, answer an hour of one unit in under a millisecond and the last fix of
all in about one.
"""

import sqlite3

from gateway.errors import ConfigError

# A holder is who reported a position over which way: radio, unit at that time, link. There are few,
# and a small number in each position row instead of four texts keeps the table small.
# position.at is when the position was true as far as that can be believed (see
# PositionFix.true_at); event_key is 64 bits of the event id, which make one row of an event that
# comes twice.
_FIRST = """
CREATE TABLE holder (
    holder_key INTEGER PRIMARY KEY,
    radio_id TEXT NOT NULL,
    unit_id TEXT NOT NULL,       -- '' while the radio is not registered
    unit_name TEXT NOT NULL,
    team TEXT NOT NULL,
    link_id TEXT NOT NULL,
    driver TEXT NOT NULL,
    UNIQUE (radio_id, unit_id, unit_name, team, link_id, driver)
) STRICT;
CREATE INDEX holder_unit ON holder (unit_id);

CREATE TABLE position (
    holder_key INTEGER NOT NULL,
    at INTEGER NOT NULL,         -- ns since 1970, UTC
    event_key INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    fix_valid INTEGER NOT NULL,
    fix_at INTEGER,
    lat_deg REAL,
    lon_deg REAL,
    altitude_m REAL,
    speed_mps REAL,
    course_deg REAL,
    accuracy_m REAL,
    satellites INTEGER,
    battery_pct INTEGER,
    rssi_dbm REAL,
    PRIMARY KEY (holder_key, at, event_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX position_at ON position (at);

CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    team TEXT NOT NULL,
    emergency_id TEXT NOT NULL,  -- '' for what belongs to none
    payload BLOB NOT NULL        -- the contract's JSON
) STRICT;
CREATE INDEX event_received_at ON event (received_at);
CREATE INDEX event_emergency ON event (emergency_id) WHERE emergency_id != '';

CREATE TABLE emergency (
    emergency_id TEXT PRIMARY KEY,
    phase TEXT NOT NULL,
    raised_at INTEGER NOT NULL,
    closed_at INTEGER,
    team TEXT NOT NULL,
    state BLOB NOT NULL          -- gateway.model.emergency.Emergency as JSON
) STRICT;
CREATE INDEX emergency_closed_at ON emergency (phase, closed_at);

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,     -- without a gap, from 1
    at INTEGER NOT NULL,
    monotonic_s REAL NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    result TEXT NOT NULL,
    detail TEXT NOT NULL,
    address TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE account (
    account_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    roles TEXT NOT NULL,         -- space separated, sorted
    team TEXT NOT NULL,
    password_hash TEXT NOT NULL, -- '' where there is none; argon2id otherwise
    is_enabled INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_sign_in_at INTEGER
) STRICT;

CREATE TABLE web_session (
    token_hash TEXT PRIMARY KEY, -- the token itself is nowhere but in the cookie
    account_id INTEGER NOT NULL REFERENCES account (account_id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX web_session_account ON web_session (account_id);

CREATE TABLE sign_in_link (
    token_hash TEXT PRIMARY KEY,
    name TEXT NOT NULL,          -- '' where the person chooses it
    roles TEXT NOT NULL,
    team TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
"""

# What time the retention believes it is; see gateway/retention_clock.py.
_RETENTION_CLOCK = """
CREATE TABLE retention_clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    believed_at INTEGER NOT NULL,
    doubted_s REAL NOT NULL
) STRICT;
"""

MIGRATIONS = (_FIRST, _RETENTION_CLOCK)


def refuse_newer(connection: sqlite3.Connection, file: str) -> int:
    """The file's version; raises ConfigError, changing nothing, when a newer program wrote it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"{file}: was written by a newer version (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); use that version, or name another data_dir"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, file: str) -> None:
    """Bring the file to this version; raises ConfigError when a newer program wrote it."""
    version = refuse_newer(connection, file)
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        # the step and its number stay together in one transaction
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;"
        )
