"""One gateway a file: a second one is refused with a message that names the first."""

import fcntl
import os
from pathlib import Path

from gateway.errors import ConfigError, StoreError


class InstanceLock:
    """A lock on a file beside the outbox. The kernel lets go of it when the process ends."""

    def __init__(self, path: Path, guarded: Path) -> None:
        self._path = path
        self._guarded = guarded
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise StoreError naming who has it (ConfigError: not writable)."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"{self._path}: cannot be written ({error.strerror}); "
                "site.data_dir must be a folder that the service may write"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise StoreError(
                f"another gateway (pid {holder}) uses {self._guarded}; "
                "stop it, or give this one another site.data_dir"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Let go; the file stays, since deleting it would open a gap for two."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
