"""A disk that loses power: what was written and not yet synced may or may not be there afterwards.

A file system for SQLite (through apsw) that writes to real files, remembers what each 512-byte
sector held at the last sync, and at the cut puts a random part of them back. It knows files only,
not directories: a created or deleted file stays so.
"""

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw

from gateway.outbox.database import CODE_ERROR, SqlError, Value

SECTOR = 512


class Disk:
    """Counts writes and syncs, and fails everything from the moment of the cut on.

    ``fault`` is asked before each call ("write", "sync", …) whether that one fails, without a cut.
    """

    def __init__(self) -> None:
        self.syncs = 0
        self.writes = 0
        self.cut_at: int | None = None  # the sync at which the power goes
        self.cut_at_write: int | None = None
        self.is_cut_before = True  # that sync is lost, or done and its return is lost
        self.is_off = False
        self.fault: Callable[[str], bool] = lambda _call: False
        self._old: dict[str, dict[int, bytes]] = {}  # sectors as of the last sync
        self._old_size: dict[str, int] = {}

    def check(self, call: str) -> None:
        if self.is_off:
            raise _io_error("the power is off")
        if self.fault(call):
            raise _io_error(f"{call} failed")

    def before_change(self, path: str, start: int, end: int) -> None:
        """Bytes ``start`` to ``end`` will change: keep what the last sync left there."""
        self.writes += 1
        if self.writes == self.cut_at_write:
            self.is_off = True
            raise _io_error("the power went before a write")
        size = os.path.getsize(path)  # noqa: PTH202 - called for each write
        old = self._old.setdefault(path, {})
        self._old_size.setdefault(path, size)
        with Path(path).open("rb") as file:
            for sector in range(start // SECTOR, (end + SECTOR - 1) // SECTOR):
                if sector not in old:
                    file.seek(sector * SECTOR)
                    old[sector] = file.read(SECTOR)

    def synced(self, path: str) -> None:
        self.syncs += 1
        is_now = self.syncs == self.cut_at
        if is_now and self.is_cut_before:
            self.is_off = True
            raise _io_error("the power went before the sync")
        self._old.pop(path, None)
        self._old_size.pop(path, None)
        if is_now:
            self.is_off = True
            raise _io_error("the power went after the sync")

    def settle(self, chance: random.Random) -> None:
        """After the cut: each unsynced sector is old or new, and so is the size of a file."""
        for path, old in self._old.items():
            if not Path(path).exists():
                continue
            with Path(path).open("r+b") as file:
                for sector, content in old.items():
                    if content and chance.random() < 0.5:
                        file.seek(sector * SECTOR)
                        file.write(content)
                size = file.seek(0, os.SEEK_END)
                old_size = self._old_size[path]
                file.truncate(chance.choice([size, old_size, max(size, old_size)]))

    def forget(self, path: str) -> None:
        self._old.pop(path, None)
        self._old_size.pop(path, None)


class DiskFiles(apsw.VFS):
    """The file system; registered under ``name`` for as long as it lives."""

    def __init__(self, name: str, disk: Disk) -> None:
        self.name = name
        self._disk = disk
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "DiskFile":  # noqa: N802 - SQLite's name
        self._disk.check("open")
        return DiskFile(name, flags, self._disk)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802, FBT001 - SQLite's signature
        self._disk.check("delete")
        self._disk.forget(name)
        super().xDelete(name, syncdir)


class DiskFile(apsw.VFSFile):
    """One open file."""

    def __init__(self, name: Any, flags: list[int], disk: Disk) -> None:
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.check("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.check("write")
        self._disk.before_change(self._path, offset, offset + len(data))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.check("write")
        self._disk.before_change(self._path, size, max(size, self.xFileSize()))
        super().xTruncate(size)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        # The disk below is never asked to sync: what lasts is decided here.
        self._disk.check("sync")
        self._disk.synced(self._path)


class DiskDatabase:
    """The outbox's Database on such a disk, with its own copy of SQLite."""

    def __init__(self, path: Path, files: DiskFiles, synchronous: str) -> None:
        self._synchronous = synchronous
        try:
            self._connection = apsw.Connection(str(path), vfs=files.name)
            # Without shared memory, which a file system written in Python cannot offer.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        except apsw.Error as error:
            raise _translated(error) from None

    def run(self, sql: str, values: Sequence[Value] = ()) -> int:
        self.rows(sql, values)
        return self._connection.changes()

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        if sql.startswith("PRAGMA synchronous"):
            sql = f"PRAGMA synchronous = {self._synchronous}"
        try:
            return list(self._connection.execute(sql, tuple(values)))
        except apsw.Error as error:
            raise _translated(error) from None

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def interrupt(self) -> None:
        self._connection.interrupt()

    def close(self) -> None:
        try:
            self._connection.close(force=True)
        except apsw.Error:
            return  # the power is off


def _io_error(text: str) -> Exception:
    """What SQLite takes as SQLITE_IOERR, with a text for whoever reads the test's output."""
    error = apsw.exception_for(apsw.SQLITE_IOERR)
    error.add_note(text)
    return error


def _translated(error: apsw.Error) -> SqlError:
    return SqlError(getattr(error, "result", CODE_ERROR) & 0xFF, str(error))
