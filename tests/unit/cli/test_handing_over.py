"""What root writes for the service is read by the service, which is another user.

Root installs with a strict umask into folders as docs/operations.md makes them; then the gateway
runs as a user who is neither.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.handing_over import create, make_folder
from tests.support.documents import ROOT
from tests.support.other_users import why_not
from tests.support.ports import free_port

USER, GROUP = 64_001, 64_002  # nobody's
START_LIMIT_S = 20.0

WHY_NOT = why_not(USER, GROUP)
needs_a_service = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


class Machine:
    """Folders that are made as docs/operations.md says, and commands of two users."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "etc" / "gateway.toml"
        self.data = folder / "data"
        for place, owner, mode in ((self.config.parent, 0, 0o750), (self.data, USER, 0o700)):
            place.mkdir()
            os.chown(place, owner, GROUP)
            place.chmod(mode)

    def by_root(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway", *words],
            capture_output=True, text=True, check=False, timeout=60, umask=0o077,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def service(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gateway", *words], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            user=USER, group=GROUP, extra_groups=[],
        )  # fmt: skip

    def by_service(self, *words: str | Path) -> tuple[int, str]:
        with self.service(*words) as running:
            told, _ = running.communicate(timeout=60)
        return running.returncode, told

    def install(self) -> None:
        done = self.by_root(
            "init", self.config.parent, "--site-id", "town", "--data-dir", self.data,
            "--link", f"jt808=127.0.0.1:{free_port()}", "--desk", f"127.0.0.1:{free_port()}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "root alone" not in done.stdout

    def serve(self) -> None:
        """The service starts, takes events, and ends when it is told to."""
        with self.service("run", "--config", self.config) as running:
            assert running.stdout is not None
            told = ""
            deadline = time.monotonic() + START_LIMIT_S
            for line in running.stdout:
                told += line
                if "gateway_started" in line:
                    break
                assert time.monotonic() < deadline
            running.terminate()
            rest, _ = running.communicate(timeout=30)
        assert "gateway_started" in told, told
        assert running.returncode == 0, told + rest


@pytest.fixture(name="machine")
def _machine() -> Iterator[Machine]:
    """Not in pytest's own folder, which nobody but root may pass through."""
    with tempfile.TemporaryDirectory(prefix="pdt-handing-over-") as name:
        Path(name).chmod(0o711)
        yield Machine(Path(name))


def owner_and_mode(place: Path) -> tuple[int, int, int]:
    found = place.stat()
    return found.st_uid, found.st_gid, found.st_mode & 0o777


@needs_a_service
def test_the_service_reads_what_root_has_written_with_init(machine: Machine) -> None:
    machine.install()
    for file in (machine.config, machine.config.with_name("units.toml")):
        assert owner_and_mode(file) == (0, GROUP, 0o640)
    code, told = machine.by_service("check", "--config", machine.config)
    assert (code, "fine" in told) == (0, True), told
    machine.serve()


@needs_a_service
def test_the_service_goes_on_with_what_root_has_restored(machine: Machine, tmp_path: Path) -> None:
    machine.install()
    machine.serve()
    saved = tmp_path / "saved.tar"
    assert machine.by_root("backup", "--config", machine.config, saved).returncode == 0
    for folder in (machine.config.parent, machine.data):
        for file in folder.iterdir():
            file.unlink()

    done = machine.by_root("restore", "--config", machine.config, saved)
    assert done.returncode == 0, done.stderr
    assert "root alone" not in done.stdout
    for file in machine.config.parent.iterdir():
        assert owner_and_mode(file) == (0, GROUP, 0o640)
    names = {file.name for file in machine.data.iterdir()}
    assert {"outbox.db", "desk.db"} <= names
    for file in machine.data.iterdir():
        assert owner_and_mode(file) == (USER, GROUP, 0o600), file
    machine.serve()

    again = machine.by_root("restore", "--config", machine.config, saved, "--replace")
    assert again.returncode == 0, again.stderr
    machine.serve()


@needs_a_service
def test_folders_that_a_restore_makes_belong_to_whom_the_one_around_them_belongs(
    machine: Machine,
) -> None:
    make_folder(machine.data / "a" / "b", 0o700)
    for folder in (machine.data / "a", machine.data / "a" / "b"):
        assert owner_and_mode(folder) == (USER, GROUP, 0o700)
    make_folder(machine.data, 0o755)
    assert owner_and_mode(machine.data) == (USER, GROUP, 0o700), "what is there stays as it is"


@needs_a_service
def test_settings_that_root_alone_can_read_are_noted(machine: Machine) -> None:
    os.chown(machine.config.parent, 0, 0)
    done = machine.by_root("init", machine.config.parent, "--site-id", "town")
    assert done.returncode == 0, done.stderr
    assert f"{machine.config}: root alone can read it" in done.stdout
    code, told = machine.by_service("check", "--config", machine.config)
    assert (code, "Permission denied" in told or "not readable" in told) == (2, True), told


def test_a_file_is_as_it_was_asked_for_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(create(tmp_path / "a", 0o640))
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileExistsError):
        create(tmp_path / "a", 0o640)
