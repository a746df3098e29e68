"""Reads the outbox beside the writer: on a connection and a thread of its own.

A sink that lags reads thousands of rows; a write-ahead log lets it do so without making a commit
wait. The writing thread would make every emergency wait for the batch in front of it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from gateway.outbox.database import Connect, SqlError
from gateway.outbox.tables import Tables

T = TypeVar("T")


class Reader:
    """Runs queries one after the other on the thread ``outbox-read``.

    ``lock`` is held during a query, so that the writer can find a moment without one.
    ``generation`` grows when the file was replaced; ``damaged`` is told when it should be.
    """

    def __init__(
        self,
        path: Path,
        connect: Connect,
        *,
        lock: threading.Lock,
        generation: Callable[[], int],
        damaged: Callable[[str], None],
    ) -> None:
        self._path = path
        self._connect = connect
        self._lock = lock
        self._generation = generation
        self._damaged = damaged
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="outbox-read")
        self._tables: Tables | None = None
        self._own_generation = -1

    async def ask(self, query: Callable[[Tables], T]) -> T:
        """Run ``query`` on the reading thread; raises SqlError."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, query)

    @contextmanager
    def at_once(self) -> Iterator[Tables]:
        """A connection for the calling thread, which may block: for the start, not for the loop."""
        db = self._connect(self._path, read_only=True)
        try:
            yield Tables(db)
        finally:
            db.close()

    async def close(self) -> None:
        """End the thread and its connection."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._let_go)
        self._executor.shutdown(wait=False)

    def _run(self, query: Callable[[Tables], T]) -> T:
        with self._lock:
            try:
                return query(self._opened())
            except SqlError as error:
                self._let_go()
                if error.is_damage:
                    self._damaged(str(error))
                raise

    def _opened(self) -> Tables:
        generation = self._generation()
        if generation != self._own_generation:
            self._let_go()
            self._own_generation = generation
        if self._tables is None:
            self._tables = Tables(self._connect(self._path, read_only=True))
        return self._tables

    def _let_go(self) -> None:
        if self._tables is not None:
            self._tables.db.close()
            self._tables = None
