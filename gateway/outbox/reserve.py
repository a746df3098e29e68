"""Disk space held back for emergencies: a file that is deleted when the disk is full."""

import os
from contextlib import suppress
from pathlib import Path


class Reserve:
    """A preallocated file of ``size`` bytes beside the outbox.

    It is made only while a quarter of its size stays free besides, so that making it does not fill
    the disk, which would at once take it away again.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def ensure(self) -> bool:
        """Make the file if it is not there in full; False where the disk has no room for it."""
        if self._held() >= self._size:
            return True
        if self.free_bytes() - (self._size - self._held()) < self._size // 4:
            return False
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._size)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Delete the file; True where that gave space back."""
        had = self._held()
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        except OSError:
            # A read-only or failing disk; there is nothing to win here.
            return False
        return had > 0

    def free_bytes(self) -> int:
        """What the disk has left for us."""
        with suppress(OSError):
            disk = os.statvfs(self._path.parent)
            return disk.f_bavail * disk.f_frsize
        return 0

    def _held(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
