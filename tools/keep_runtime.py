"""Uninstall from this environment whatever the installed gateway does not need to run.

``requirements.lock`` holds run-time and development packages together, so an image installs all of
it with hashes checked and then takes the rest away:

    python tools/keep_runtime.py        run by the Python whose environment it is
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement

PROGRAM = "pdt-gateway"
INSTALLERS = {"pip"}


def main() -> int:
    """Uninstall; returns pip's exit code."""
    surplus = sorted(installed() - needed_by(PROGRAM) - INSTALLERS)
    if not surplus:
        return 0
    print(f"not needed at run time: {', '.join(surplus)}")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "uninstall", "--yes"]
    return subprocess.run([*command, "--quiet", *surplus], check=False).returncode


def installed() -> set[str]:
    """Every distribution of this environment, by its normalised name."""
    return {normalised(each.name) for each in metadata.distributions()}


def needed_by(root: str) -> set[str]:
    """``root`` and all it requires on this machine, extras included where they are asked for."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(root)]
    while waiting:
        wanted = waiting.pop()
        name, extras = normalised(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        waiting += required(metadata.requires(name) or (), extras)
    return found


def required(lines: Iterable[str], extras: frozenset[str]) -> list[Requirement]:
    """The requirements among ``lines`` that hold here with these extras."""
    wanted = [Requirement(line) for line in lines]
    return [
        each
        for each in wanted
        if each.marker is None
        or any(each.marker.evaluate({"extra": extra}) for extra in extras or {""})
    ]


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
