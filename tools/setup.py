"""Sets the project up on a machine that has Python 3.11 and nothing else of ours.

    python3 tools/setup.py             the program: environment, desk page
    python3 tools/setup.py --servers   also the real servers that the tests start (Debian packages)
    python3 tools/setup.py --uv        only the installer of packages, which `make lock` needs

Only the standard library is used here. Every step is skipped when it is done already.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
UV_HOME = TOOLS / "uv"  # its own: what others keep in .tools stays when it is made anew
UV = UV_HOME / "bin" / "uv"
LOCK = ROOT / "requirements.lock"
GRAFANA_LOCK = ROOT / "tests" / "grafana" / "requirements.lock"
STAMP = VENV / ".installed"
SERVERS = {  # program: Debian package
    "mosquitto": "mosquitto",
    "mosquitto_sub": "mosquitto-clients",
    "influxd": "influxdb",
    "victoria-metrics": "victoria-metrics",
    "gpsd": "gpsd",
    "gpsfake": "gpsd-clients",
    "chromium": "chromium",
    "promtool": "prometheus",
}
FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def main() -> None:
    """Run the steps that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", action="store_true", help="install the tests' real servers")
    parser.add_argument("--uv", action="store_true", help="install uv alone")
    wanted = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - a fresh machine may have an older one
        sys.exit(f"setup: Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    if wanted.uv:
        installer()
        return
    environment()
    desk_page()
    if wanted.servers:
        servers()
        influxdb2()


def say(text: str) -> None:
    """One line of progress."""
    print(f"setup: {text}", flush=True)


def run(command: list[str | Path], what: str) -> None:
    """Run a step; end with what failed and how to see more."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-3000:] + done.stderr[-3000:])
        sys.exit(f"setup: {what} failed: {' '.join(map(str, command))}")
    say(f"{what} ({time.monotonic() - started:.0f} s)")


def environment() -> None:
    """The virtual environment with exactly the locked packages, and the project itself."""
    wanted = hashlib.sha256(
        LOCK.read_bytes()
        + GRAFANA_LOCK.read_bytes()
        + (ROOT / "pyproject.toml").read_bytes()
        + sys.version.encode()
    ).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    installer()
    if not (VENV / "bin" / "python").exists():
        make_venv(VENV)
    python = VENV / "bin" / "python"
    run(
        [UV, "pip", "sync", "--quiet", "--python", python, "--require-hashes", LOCK],
        "packages of requirements.lock are installed, hashes checked",
    )
    run(
        [UV, "pip", "install", "--quiet", "--python", python, "--no-deps",
         "--no-build-isolation", "--editable", "."],
        "pdt-gateway is installed",
    )  # fmt: skip
    # Beside it and not in it: what comes along with this one replaces urllib3 where it is put.
    run(
        [UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--no-deps",
         "--target", TOOLS / "grafana-client", "-r", GRAFANA_LOCK],
        "grafana-client is there for the tests",
    )  # fmt: skip
    STAMP.write_text(wanted)


def installer() -> None:
    """uv, in an environment of its own."""
    if not UV.exists():
        make_venv(UV_HOME)
        run([UV_HOME / "bin" / "python", "-m", "pip", "install", "--quiet", "uv"], "uv is there")


def make_venv(place: Path) -> None:
    """A virtual environment, with a clear word where Debian has split it off."""
    try:
        venv.EnvBuilder(with_pip=True, clear=True).create(place)
    except (subprocess.CalledProcessError, SystemExit, OSError):
        sys.exit(
            "setup: Python cannot make virtual environments here; "
            "on Debian or Ubuntu: apt-get install python3-venv"
        )


def desk_page() -> None:
    """Build the page; the builder knows when nothing has changed."""
    done = subprocess.run([sys.executable, ROOT / "tools" / "build_desk.py"], cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit("setup: the desk page could not be built (see above)")


def influxdb2() -> None:
    """InfluxDB 2.x for the tests, from source: it is in no package index."""
    builder = ROOT / "tools" / "build_influxdb2.py"
    done = subprocess.run([sys.executable, builder], cwd=ROOT, check=False)
    if done.returncode != 0:
        say("tests that need InfluxDB 2.x will be skipped (see above)")


def servers() -> None:
    """Real servers for the tests: installed where we may, named where we may not."""
    missing = sorted({p for tool, p in SERVERS.items() if shutil.which(tool, path=PLACES) is None})
    if not FONT.exists():
        missing.append("fonts-noto-cjk")
    if not missing:
        return
    admin = admin_prefix()
    if shutil.which("apt-get") is None or admin is None:
        say(f"tests that need {', '.join(missing)} will be skipped (no right to install them here)")
        return
    quiet = ["-o", "DPkg::Lock::Timeout=120", "-qq", "--yes", "--no-install-recommends"]
    run([*admin, "apt-get", "-qq", "update"], "package lists are fresh")
    run(
        [*admin, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *quiet, "install", *missing],
        f"{', '.join(missing)} installed for the tests",
    )


def admin_prefix() -> list[str] | None:
    """How to run as root: directly, by sudo without a password, or not at all (None)."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True)
    return ["sudo", "-n"] if asked.returncode == 0 else None


if __name__ == "__main__":
    main()
