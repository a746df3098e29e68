"""Mosquitto as ``config/`` ships it, with a test's own folder, port, certificates and passwords."""

import getpass
import shutil
import subprocess
from pathlib import Path

from tests.conftest import find_tool
from tests.support.certificates import Authority
from tests.support.documents import ROOT

CONFIG = ROOT / "config"


def write_passwords(file: Path, *users: str) -> None:
    """Each user's password is its name."""
    program = find_tool("mosquitto_passwd")
    assert program is not None
    file.touch()
    for user in users:
        subprocess.run([program, "-b", str(file), user, user], check=True, capture_output=True)


def shipped(folder: Path, port: int, *users: str) -> Path:
    """The shipped configuration with this test's folder and port."""
    for name in ("config", "data"):
        (folder / name).mkdir()
    shutil.copy(CONFIG / "mosquitto.acl", folder / "config" / "mosquitto.acl")
    write_passwords(folder / "config" / "passwords", *users)
    Authority(folder / "config" / "certs").issue("server", "127.0.0.1")
    text = (CONFIG / "mosquitto.conf").read_text()
    assert "listener 8883\n" in text
    text = text.replace("listener 8883\n", f"listener {port} 127.0.0.1\n")
    text = text.replace("/mosquitto/", f"{folder}/")
    file = folder / "config" / "mosquitto.conf"
    file.write_text(f"user {getpass.getuser()}\n{text}")
    return file
