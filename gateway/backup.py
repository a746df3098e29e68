"""Saves what a site would miss, also while the gateway runs, and puts it back.

One tar file: settings, units and map, the outbox, the desk's log, and a list with the checksum of
each. Secrets are not in it. The outbox is copied before the desk's log: then the log is never
behind what the outbox believes to be delivered, and what comes twice is one row all the same.
"""

import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

import gateway
from gateway.clock import Clock
from gateway.errors import ConfigError, StoreError
from gateway.handing_over import create, hand_over, make_folder
from gateway.model.events import struct_from_json, to_json
from gateway.model.quantities import Instant
from gateway.outbox.instance_lock import InstanceLock
from gateway.settings import Loaded, load_settings

LIST = "backup.json"
DATABASES = ("outbox.db", "desk.db")  # in this order, see the module's docstring
SETTINGS = "gateway.toml"
MOST_LIST_BYTES = 1024 * 1024
PIECE = 1024 * 1024


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup."""

    name: str
    size: int
    sha256: str


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    version: str
    site: str
    at: Instant
    files: tuple[Saved, ...]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file: ``written``, ``kept`` (was there already) or ``replaced``."""

    file: str
    did: str
    detail: str = ""


def back_up(loaded: Loaded, target: Path, clock: Clock) -> Contents:
    """Write a backup to ``target``, which must not exist; raises ConfigError or StoreError."""
    if target.exists():
        raise ConfigError(f"{target}: is there already; name a new file")
    if not target.parent.is_dir():
        raise ConfigError(
            f"{target}: there is no folder {target.parent}; make it, for this user alone: "
            f"install -d -m 0700 {target.parent}"
        )
    data_dir = loaded.path(loaded.settings.site.data_dir)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as place:
            folder = Path(place)
            sources = {}
            for name, source in _settings_files(loaded):
                sources[name] = folder / name
                shutil.copyfile(source, sources[name])
            for database in DATABASES:
                if (data_dir / database).is_file():
                    _copy_database(data_dir / database, folder / database)
                    sources[database] = folder / database
            saved = tuple(_saved(name, source) for name, source in sources.items())
            contents = Contents(
                version=gateway.__version__,
                site=loaded.settings.site.id,
                at=clock.now(),
                files=saved,
            )
            _write(folder / "backup.tar", contents, sources)
            (folder / "backup.tar").rename(target)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror})") from None
    return contents


def look_into(file: Path) -> Contents:
    """What is in a backup, every checksum compared; raises StoreError where one is wrong."""
    with _opened(file) as archive:
        contents = _contents(file, archive)
        for saved in contents.files:
            digest = hashlib.sha256()
            for piece in _pieces(file, archive, saved):
                digest.update(piece)
            if digest.hexdigest() != saved.sha256:
                raise StoreError(f"{file}: {saved.name} is not as it was saved; use another backup")
    return contents


def restore(
    file: Path, config: Path, clock: Clock, *, may_replace: bool = False, only: str = ""
) -> list[Restored]:
    """Put a backup's files in their places; settings that are there are kept.

    Nothing is touched before every checksum has been compared. Refuses a data folder that a gateway
    uses, and one that has these files already unless ``may_replace``: then those are moved aside.
    ``only`` names one file of the backup.
    """
    contents = look_into(file)
    if only and only not in {saved.name for saved in contents.files}:
        names = ", ".join(saved.name for saved in contents.files)
        raise ConfigError(f"--only: {only!r} is not in {file}; it has {names}")
    done: list[Restored] = []
    with _opened(file) as archive:
        files = {saved.name: saved for saved in contents.files if only in {"", saved.name}}
        if not config.exists() and SETTINGS in files:
            done.append(_put(file, archive, files[SETTINGS], config))
        loaded = load_settings(config)
        places = dict(_settings_files(loaded, must_exist=False))
        data_dir = loaded.path(loaded.settings.site.data_dir)
        make_folder(data_dir, 0o700)
        lock = InstanceLock(data_dir / "outbox.db.lock", data_dir / "outbox.db")
        lock.acquire()
        try:
            hand_over(data_dir / "outbox.db.lock")
            _refuse_present(data_dir, files, may_replace=may_replace)
            for name, saved in files.items():
                if name in DATABASES:
                    moved = _move_aside(data_dir / name, clock.now())
                    put = _put(file, archive, saved, data_dir / name)
                    done.append(
                        msgspec.structs.replace(put, did="replaced", detail=f"before: {moved}")
                        if moved
                        else put
                    )
                elif name in places and not places[name].exists():
                    done.append(_put(file, archive, saved, places[name]))
                elif not any(each.file == str(places.get(name)) for each in done):
                    done.append(Restored(file=str(places.get(name, name)), did="kept"))
        finally:
            lock.release()
    return done


def _settings_files(loaded: Loaded, *, must_exist: bool = True) -> Iterator[tuple[str, Path]]:
    """The names in the backup and the places of settings, units and map."""
    site = loaded.settings.site
    yield SETTINGS, loaded.file
    for name, key in (("units.toml", site.units_file), ("map", site.map_file)):
        if key and (loaded.path(key).is_file() or not must_exist):
            yield name, loaded.path(key)


def _copy_database(source: Path, target: Path) -> None:
    """A copy as of one moment, whatever is being written meanwhile."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as one,
            closing(sqlite3.connect(target)) as other,
        ):
            one.backup(other)
            other.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
            (found,) = other.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{source}: cannot be copied: {error}") from None
    if found != "ok":
        raise StoreError(f"{source}: is damaged: {found}")


def _saved(name: str, source: Path) -> Saved:
    digest = hashlib.sha256()
    with source.open("rb") as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
    return Saved(name=name, size=source.stat().st_size, sha256=digest.hexdigest())


def _write(target: Path, contents: Contents, sources: dict[str, Path]) -> None:
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            text = msgspec.json.format(to_json(contents))
            entry = tarfile.TarInfo(LIST)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
            for saved in contents.files:
                entry = tarfile.TarInfo(saved.name)
                entry.size, entry.mode = saved.size, 0o600
                with sources[saved.name].open("rb") as source:
                    archive.addfile(entry, source)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, mode="r:") as archive:
            yield archive
    except tarfile.TarError as error:
        raise StoreError(f"{file}: is not a backup of this gateway ({error})") from None
    except FileNotFoundError:
        raise StoreError(
            f"{file}: not there; name a file that `pdt-gateway backup` wrote"
        ) from None


def _contents(file: Path, archive: tarfile.TarFile) -> Contents:
    first = archive.next()
    stream = archive.extractfile(first) if first is not None and first.name == LIST else None
    if stream is None:
        raise StoreError(f"{file}: is not a backup of this gateway: it does not begin with {LIST}")
    try:
        return struct_from_json(stream.read(MOST_LIST_BYTES), Contents)
    except msgspec.DecodeError as error:
        raise StoreError(f"{file}: {LIST} cannot be read: {error}") from None


def _pieces(file: Path, archive: tarfile.TarFile, saved: Saved) -> Iterator[bytes]:
    try:
        stream = archive.extractfile(saved.name)
    except KeyError:
        stream = None
    if stream is None:
        raise StoreError(f"{file}: {saved.name} is missing; use another backup")
    while piece := stream.read(PIECE):
        yield piece


def _put(file: Path, archive: tarfile.TarFile, saved: Saved, place: Path) -> Restored:
    """Write one file under its final name only when it is whole; it belongs to its folder's owner.

    The folder's group may read settings, as `init` has it; the databases are for their owner alone.
    """
    is_database = saved.name in DATABASES
    make_folder(place.parent, 0o700 if is_database else 0o750)
    half = place.with_name(f".{place.name}.restoring")
    half.unlink(missing_ok=True)
    with os.fdopen(create(half, 0o600 if is_database else 0o640), "wb") as target:
        for piece in _pieces(file, archive, saved):
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    half.rename(place)
    return Restored(file=str(place), did="written")


def _refuse_present(data_dir: Path, files: dict[str, Saved], *, may_replace: bool) -> None:
    present = [part.name for name in DATABASES if name in files for part in _parts(data_dir / name)]
    if present and not may_replace:
        raise ConfigError(
            f"{data_dir}: has {' and '.join(present)} already; give --replace to move them aside, "
            "or restore into an empty site.data_dir"
        )


def _parts(place: Path) -> list[Path]:
    """A database and the log files beside it, as far as they exist.

    A log whose database is gone counts too: SQLite would play it back over the restored one.
    """
    places = (place.with_name(place.name + end) for end in ("-wal", "-shm", ""))
    return [each for each in places if each.exists()]


def _move_aside(place: Path, at: Instant) -> str:
    """Keep what was there; gives the names that it has now, "" where nothing was."""
    mark = f"replaced-{at.text().replace(':', '')}"
    moved = [
        part.rename(part.with_name(part.name.replace(place.name, f"{place.name}.{mark}", 1)))
        for part in _parts(place)
    ]
    return ", ".join(part.name for part in moved)
