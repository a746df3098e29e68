"""Bytes that a position takes in the outbox, the desk log and the series; memory of the series."""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from tests.bench.children import Child
from tests.bench.figures import Figure, Say
from tests.bench.site import UNITS, series_here, write_settings
from tests.bench.terminals import frame, phone_of
from tests.bench.watchers import connected
from tests.support.databases import read_only
from tests.support.influxdb import InfluxServer
from tests.support.ports import free_port

TITLE = "Disk, and memory of the series"
ABOUT = """\
500 terminals report at places that jump at random, so nothing can be packed that a real town's
could not. Each report goes into the outbox, where it stays for `outbox.keep_s` after its delivery,
into the desk's log, and into a real InfluxDB. Counted is what the databases use when the gateway
has ended, and the series' files when its write-ahead log has been written out; the server packs
them closer in the hours after. Its memory is what it took meanwhile, which is much faster than a
town reports; queries over long times take more. The report itself has 63 bytes on the wire."""

EVERY_S = 10  # device time between two reports of a terminal
LIMIT_S = 120.0
WRITE_OUT = {  # or the files would be written when they had been still for ten minutes
    "INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION": "1s",
    "INFLUXD_STORAGE_CACHE_SNAPSHOT_WRITE_COLD_DURATION": "1s",
}


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """Bytes a fix, by place."""
    each = 20 if quick else 200
    names = ("outbox", "desk log", *series_here())
    figures = {
        name: Figure(name=f"one position in {name}", unit="bytes", better="lower") for name in names
    }
    for name in series_here():
        figures[memory_of(name)] = Figure(name=memory_of(name), unit="MiB", better="lower")
    for turn in range(runs):
        found: dict[str, float] = {}
        for name, kind in series_here().items():
            with (
                tempfile.TemporaryDirectory() as folder,
                patch.dict("os.environ", WRITE_OUT),
                kind(Path(folder) / "series") as influx,
            ):
                influx.create()
                found |= measure(Path(folder), influx, name, each)
        for name, value in found.items():
            figures[name].add(value)
        say(f"run {turn + 1}: " + ", ".join(f"{name} {found[name]:.0f}" for name in found))
    return list(figures.values())


def memory_of(name: str) -> str:
    """What the figure is called."""
    return f"most memory of {name} meanwhile"


def measure(folder: Path, influx: InfluxServer, name: str, each: int) -> dict[str, float]:
    """``each`` reports of every terminal, and what they took."""
    port, count = free_port(), UNITS * each
    settings = write_settings(folder, listen=port, influx=influx, desk=free_port())
    before = size_of(folder / "series", "*.tsm")
    with Child("gateway_child", str(settings), log=folder / "log") as gateway:
        for number in range(UNITS):
            report(port, number, each)
        wait(lambda: not any(gateway.ask("report")["behind"].values()), "delivered")
        assert gateway.ask("report")["stored"] >= count
    wait(lambda: size_of(folder / "series", "*.wal") == 0, "written out")
    data = folder / "var"
    return {
        memory_of(name): influx.most_memory_mib,
        "outbox": used_bytes(data / "outbox.db") / count,
        "desk log": used_bytes(data / "desk.db") / count,
        name: (size_of(folder / "series", "*.tsm") - before) / count,
    }


def report(port: int, number: int, each: int) -> None:
    """All reports of one terminal, answered."""
    dice, phone = random.Random(number), bytes.fromhex(phone_of(number))
    begin_s = int(time.time()) - each * EVERY_S
    frames = [frame(phone, n, begin_s + n * EVERY_S, dice.randrange(1 << 31)) for n in range(each)]
    with connected(port) as wire:
        wire.sendall(b"".join(frames))
        flags = 0
        while flags < 2 * each:
            data = wire.recv(65_536)
            assert data, "hung up"
            flags += data.count(b"\x7e")


def used_bytes(database: Path) -> int:
    """Without the pages that are free again."""
    with read_only(database) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def size_of(folder: Path, pattern: str) -> int:
    """Bytes of the files below ``folder``."""
    return sum(file.stat().st_size for file in folder.rglob(pattern))


def wait(is_done: Callable[[], bool], what: str) -> None:
    """Poll; fails after a while."""
    deadline = time.monotonic() + LIMIT_S
    while not is_done():
        assert time.monotonic() < deadline, f"not {what} in {LIMIT_S:.0f} s"
        time.sleep(0.2)
