"""Looking into a database that a gateway writes, from outside."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def read_only(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, closed at the end of the block.

    ``sqlite3.connect`` alone does not close: its block is a transaction, and what is left stays
    open until garbage is collected.
    """
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection
