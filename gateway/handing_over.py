"""New files for the one who will read them: they belong to whom their folder belongs.

Settings are written and backups put back by root; the service that reads them is another user. The
folder says which: whoever made it chose its owner and its group.
"""

import contextlib
import os
from pathlib import Path


def create(file: Path, mode: int) -> int:
    """Open a new file for writing, handed over, whatever the umask is; raises OSError."""
    handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    with contextlib.suppress(PermissionError):
        os.fchown(handle, *_owner(file))
    os.fchmod(handle, mode)
    return handle


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder and what is missing above it, handed over; raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent, mode)
        folder.mkdir(mode=mode)
        hand_over(folder)


def is_for_root_alone(file: Path) -> bool:
    """True where root has written a file that no other user can read."""
    found = file.stat()
    return os.geteuid() == 0 and (found.st_uid, found.st_gid) == (0, 0)


def hand_over(place: Path) -> None:
    """Give a file or a folder the owner and the group of the folder around it.

    Who is not root can give away the group alone, to one that they are in.
    """
    with contextlib.suppress(PermissionError):
        os.chown(place, *_owner(place), follow_symlinks=False)


def _owner(place: Path) -> tuple[int, int]:
    """Owner and group of the folder around; -1 for what we cannot give."""
    around = place.parent.stat()
    return around.st_uid if os.geteuid() == 0 else -1, around.st_gid
