"""``pdt-gateway backup`` and ``restore``: a round trip, under load, and what is refused."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from hil_tests.host import GatewayHere
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.ledger import Ledger, Radio, delivered_presses, wait_until_delivered
from tests.support.ports import free_port

UNITS = """
[[team]]
id = "plaza"
name = "广场"
[[unit]]
id = "plaza-1"
name = "广场01"
team = "plaza"
radios = ["jt808:013800138000"]
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


class Site:
    """A gateway's folder, and presses that are in its stores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        (folder / "units.toml").write_text(UNITS)
        self.gateway = GatewayProcess(folder, settings(self.port, has_units=True))
        self.config = self.gateway.config
        self.ledger = Ledger()

    async def press(self, times: int, first: int = 0) -> None:
        await Radio("013800138000", self.port, self.ledger).run(times, first=first)
        await asyncio.sleep(0.1)  # its connection is closed
        await wait_until_delivered(self.ledger, self.folder / "var" / "desk.db", 20)


@pytest.fixture(name="saved", scope="module")
def _saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Path]:
    """A site that was backed up while terminals pressed, and the backup."""
    site = Site(tmp_path_factory.mktemp("site"))
    file = site.folder / "backup.tar"
    site.gateway.start()
    try:
        site.gateway.wait_for_port(site.port)
        asyncio.run(site.press(20))

        async def under_load() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(site.press(200, first=20))
                done = await asyncio.to_thread(run, "backup", "-c", site.config, file)
                assert done.returncode == 0, done.stderr

        asyncio.run(under_load())
        site.gateway.stop()
    finally:
        site.gateway.kill()
    return site, file


def test_a_backup_is_for_its_owner_alone_and_says_what_is_in_it(saved: tuple[Site, Path]) -> None:
    _, file = saved
    assert file.stat().st_mode & 0o777 == 0o600
    looked = run("restore", "-c", "nowhere.toml", file, "--check", "--json")
    assert looked.returncode == 0, looked.stderr
    contents = json.loads(looked.stdout)
    assert contents["site"] == "town"
    names = [each["name"] for each in contents["files"]]
    assert names == ["gateway.toml", "units.toml", "outbox.db", "desk.db"]


def test_everything_comes_back_on_an_empty_machine_and_goes_on(
    saved: tuple[Site, Path], tmp_path: Path
) -> None:
    site, file = saved
    new = tmp_path / "new" / "settings.toml"
    done = run("restore", "-c", new, file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written") == 4
    assert (new.parent / "units.toml").read_text() == UNITS
    presses = delivered_presses(new.parent / "var" / "desk.db")
    assert len(presses) >= 20
    assert len(set(presses)) == len(presses)

    site.ledger.obligations = {press for press in site.ledger.obligations if press[1] < 20}
    again = GatewayProcess(new.parent, new.read_text())
    again.start()
    try:
        again.wait_for_port(site.port)
        asyncio.run(wait_until_delivered(site.ledger, new.parent / "var" / "desk.db", 20))

        async def fresh_press() -> None:
            await Radio("013800138001", site.port, site.ledger).run(1)
            await asyncio.sleep(0.1)

        asyncio.run(fresh_press())
        again.stop()
    finally:
        again.kill()
    assert site.ledger.judge(new.parent / "var" / "desk.db") == []


def test_the_desks_log_is_never_behind_what_the_outbox_believes(
    saved: tuple[Site, Path], tmp_path: Path
) -> None:
    """What is delivered by the outbox's cursor is in the log of the same backup."""
    _, file = saved
    with tarfile.open(file) as archive:
        for name in ("outbox.db", "desk.db"):
            archive.extract(name, tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as outbox:
        (cursor,) = outbox.execute(
            "SELECT seq FROM cursors WHERE sink = 'desk' AND lane = 0"
        ).fetchone()
        rows = outbox.execute("SELECT payload FROM emergency_rows WHERE seq <= ?", (cursor,))
        promised = {json.loads(payload)["event_id"] for (payload,) in rows}
    with closing(sqlite3.connect(tmp_path / "desk.db")) as desk:
        logged = {row[0] for row in desk.execute("SELECT event_id FROM event")}
    assert promised
    assert promised <= logged


def test_what_is_there_is_not_overwritten_unless_said_and_then_kept_aside(
    saved: tuple[Site, Path], tmp_path: Path
) -> None:
    _, file = saved
    config = tmp_path / "settings.toml"
    assert run("restore", "-c", config, file).returncode == 0
    config.write_text(config.read_text() + "# edited\n")
    before = (tmp_path / "var" / "desk.db").read_bytes()
    refused = run("restore", "-c", config, file)
    assert refused.returncode == 2
    assert "--replace" in refused.stderr
    assert (tmp_path / "var" / "desk.db").read_bytes() == before
    done = run("restore", "-c", config, file, "--replace", "--only", "desk.db")
    assert done.returncode == 0, done.stderr
    (aside,) = (tmp_path / "var").glob("desk.db.replaced-*")
    assert aside.read_bytes() == before
    assert not list((tmp_path / "var").glob("outbox.db.replaced-*"))
    assert config.read_text().endswith("# edited\n"), "settings that are there are kept"


def test_a_log_whose_database_is_gone_is_not_played_over_the_restored_one(
    saved: tuple[Site, Path], tmp_path: Path
) -> None:
    _, file = saved
    config, desk_log = tmp_path / "settings.toml", tmp_path / "var" / "desk.db"
    assert run("restore", "-c", config, file).returncode == 0
    saved_bytes = desk_log.read_bytes()
    wal = desk_log.with_name("desk.db-wal")
    with closing(sqlite3.connect(desk_log)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM event")
        connection.commit()
        left_over = wal.read_bytes()
    desk_log.unlink()
    wal.write_bytes(left_over)

    refused = run("restore", "-c", config, file, "--only", "desk.db")
    assert (refused.returncode, "desk.db-wal" in refused.stderr) == (2, True), refused.stderr
    done = run("restore", "-c", config, file, "--only", "desk.db", "--replace")
    assert done.returncode == 0, done.stderr
    assert desk_log.read_bytes() == saved_bytes
    assert not wal.exists()
    (aside,) = (tmp_path / "var").glob("desk.db.replaced-*-wal")
    assert aside.read_bytes() == left_over


def test_a_running_gateway_is_not_restored_over(saved: tuple[Site, Path], tmp_path: Path) -> None:
    _, file = saved
    config = tmp_path / "gateway.toml"
    config.write_text('[site]\nid = "bench"\n')

    async def story() -> None:
        async with GatewayHere(tmp_path, {}).running():
            done = await asyncio.to_thread(run, "restore", "-c", config, file, "--replace")
            assert done.returncode == 3
            assert f"another gateway (pid {os.getpid()})" in done.stderr

    asyncio.run(story())


@pytest.mark.parametrize("place", [0.3, 0.6, 0.999])
def test_a_damaged_backup_is_refused_before_anything_is_touched(
    saved: tuple[Site, Path], tmp_path: Path, place: float
) -> None:
    _, file = saved
    data = bytearray(file.read_bytes())
    with tarfile.open(file) as archive:
        desk = archive.getmember("desk.db")
    at = desk.offset_data + int(desk.size * place)
    data[at] ^= 0x40
    broken = tmp_path / "broken.tar"
    broken.write_bytes(data)
    done = run("restore", "-c", tmp_path / "new.toml", broken)
    assert done.returncode == 3
    assert "desk.db is not as it was saved" in done.stderr
    assert list(tmp_path.iterdir()) == [broken]


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(b"not a tar" * 1000)
    assert run("restore", "-c", tmp_path / "new.toml", other).returncode == 3
    with tarfile.open(other, "w") as archive:
        archive.add(__file__, "../../evil")
    done = run("restore", "-c", tmp_path / "new.toml", other)
    assert done.returncode == 3
    assert "does not begin with backup.json" in done.stderr


def test_a_backup_overwrites_nothing(saved: tuple[Site, Path]) -> None:
    site, file = saved
    done = run("backup", "-c", site.config, file)
    assert done.returncode == 2
    assert "is there already" in done.stderr


def test_a_folder_that_is_not_there_is_told_with_how_to_make_it(
    saved: tuple[Site, Path], tmp_path: Path
) -> None:
    site, _ = saved
    done = run("backup", "-c", site.config, tmp_path / "nowhere" / "a.tar")
    assert done.returncode == 2
    assert f"install -d -m 0700 {tmp_path}/nowhere" in done.stderr
