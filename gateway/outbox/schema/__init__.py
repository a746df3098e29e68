"""The outbox's tables and how an older file becomes a newer one.

Each ``NNNN_name.sql`` is one step; the file's ``user_version`` says how many have been taken.
"""

from importlib.resources import files

from gateway.errors import StoreError
from gateway.outbox.database import CODE_CORRUPT, CODE_ERROR, Database, SqlError, transaction

TABLES = frozenset(
    {"telemetry_rows", "emergency_rows", "emergencies", "cursors", "set_aside", "probe"}
)
MOST_PLAUSIBLE_VERSION = 1000  # a file that says more was not written by a newer gateway
_EVERY_COLUMN = (
    "SELECT seq, stored_at, kind, radio_id, checksum, length(payload) FROM telemetry_rows",
    "SELECT seq, stored_at, kind, radio_id, checksum, length(payload) FROM emergency_rows",
    "SELECT emergency_id, phase, revision, closed_at, checksum, length(state) FROM emergencies",
    "SELECT sink, lane, seq, checksum FROM cursors",
    "SELECT number, sink, lane, seq, reason, length(payload), at FROM set_aside",
    "SELECT number, length(filler) FROM probe",
)


def steps() -> list[list[str]]:
    """The statements of every step, in order."""
    scripts = sorted(
        (entry.name, entry.read_text(encoding="utf-8"))
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".sql")
    )
    return [_statements(text) for _, text in scripts]


def migrate(db: Database, name: str) -> None:
    """Bring the file up to date. ``name`` is for messages.

    Raises StoreError for a file of a newer gateway or of something else, and SqlError with
    ``is_damage`` where the file was ours and is not whole.
    """
    todo = steps()
    version = db.rows("PRAGMA user_version")[0][0]
    tables = {row[0] for row in db.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if len(todo) < version <= MOST_PLAUSIBLE_VERSION:
        raise StoreError(
            f"{name} was written by a newer gateway (schema {version}, this one knows up to "
            f"{len(todo)}); start that one, or move the file away"
        )
    if version == 0 and tables and not tables & TABLES:
        raise StoreError(f"{name} is a database of something else; name another site.data_dir")
    if not 0 <= version <= len(todo) or (version == 0) != (not tables):
        raise SqlError(CODE_CORRUPT, f"schema version {version} does not fit the tables")
    for number, statements in enumerate(todo[version:], start=version + 1):
        with transaction(db):
            for statement in statements:
                db.run(statement)
            db.run(f"PRAGMA user_version = {number}")


def check_tables(db: Database) -> None:
    """Touch every column of every table; raises SqlError with ``is_damage``."""
    try:
        for query in _EVERY_COLUMN:
            for order in ("ASC", "DESC"):
                db.rows(f"{query} ORDER BY rowid {order} LIMIT 1")
    except SqlError as error:
        if error.code == CODE_ERROR:  # a name in the schema is no longer the one that was written
            raise SqlError(CODE_CORRUPT, str(error)) from None
        raise


def _statements(script: str) -> list[str]:
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [text.strip() for text in "\n".join(lines).split(";") if text.strip()]
