"""The one way to SQLite: a small face over a connection, with one kind of error.

The outbox is written against ``Database`` and not against the standard library's module, so that
the same statements can be run on a file system that loses power in a test.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from gateway.errors import StoreError

Value = int | str | bytes | None

# SQLite's primary result codes, https://www.sqlite.org/rescode.html
CODE_ERROR = 1
CODE_BUSY = 5
CODE_INTERRUPTED = 9
CODE_IO = 10
CODE_CORRUPT = 11
CODE_FULL = 13
CODE_NOT_A_DATABASE = 26

BUSY_TIMEOUT_S = 1.0  # somebody looks into the file with another program


class SqlError(StoreError):
    """SQLite refused a statement; ``code`` is its primary result code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def is_damage(self) -> bool:
        """True where the file itself is not as it was written."""
        return self.code in (CODE_CORRUPT, CODE_NOT_A_DATABASE)


class Database(Protocol):
    """One connection, used by one thread."""

    def run(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run one statement; returns how many rows it changed. Raises SqlError."""
        ...

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Run one query and fetch everything. Raises SqlError."""
        ...

    @property
    def in_transaction(self) -> bool:
        """True between BEGIN and its end."""
        ...

    def interrupt(self) -> None:
        """Make the running statement fail with CODE_INTERRUPTED; callable from any thread."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Connect(Protocol):
    """Opens a database file; raises SqlError."""

    def __call__(self, path: Path, *, read_only: bool = False) -> Database:
        """Open ``path``; a missing file is made unless ``read_only``."""
        ...


class StdlibDatabase:
    """The standard library's SQLite, in autocommit: every transaction is written out."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        mode = "ro" if read_only else "rwc"
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode={mode}",
                uri=True,
                isolation_level=None,
                timeout=BUSY_TIMEOUT_S,
                check_same_thread=False,  # interrupt() comes from another thread
            )
        except sqlite3.Error as error:
            raise _translated(error) from None
        self._connection.text_factory = _readable

    def run(self, sql: str, values: Sequence[Value] = ()) -> int:
        """See Database."""
        try:
            return self._connection.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise _translated(error) from None

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """See Database."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from None

    @property
    def in_transaction(self) -> bool:
        """See Database."""
        return self._connection.in_transaction

    def interrupt(self) -> None:
        """See Database."""
        self._connection.interrupt()

    def close(self) -> None:
        """See Database."""
        self._connection.close()


def connect(path: Path, *, read_only: bool = False) -> Database:
    """Open ``path`` with the standard library; raises SqlError."""
    return StdlibDatabase(path, read_only=read_only)


@contextmanager
def transaction(db: Database) -> Iterator[None]:
    """Everything in the block is committed together, or nothing is. Raises SqlError."""
    db.run("BEGIN IMMEDIATE")
    try:
        yield
        db.run("COMMIT")
    except BaseException:
        roll_back(db)
        raise


def roll_back(db: Database) -> None:
    """End a transaction that cannot be committed."""
    if db.in_transaction:
        try:
            db.run("ROLLBACK")
        except SqlError:
            # SQLite has rolled back by itself, or will when it next opens the file.
            return


def _readable(raw: bytes) -> str:
    """Text of a damaged file may be no UTF-8; it must not raise where rows are read."""
    return raw.decode("utf-8", "replace")


def _translated(error: sqlite3.Error) -> SqlError:
    code = getattr(error, "sqlite_errorcode", CODE_ERROR)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return SqlError(code & 0xFF, f"{error} ({name})")
