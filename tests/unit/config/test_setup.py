"""tools/setup.py makes what is missing and leaves alone what others keep in .tools."""

import re
from pathlib import Path

import pytest

from tools import setup

MAKEFILE = (setup.ROOT / "Makefile").read_text(encoding="utf-8")


def test_making_the_installer_anew_leaves_the_built_servers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / setup.TOOLS.name
    for name in ("UV_HOME", "UV"):
        there: Path = getattr(setup, name)
        monkeypatch.setattr(setup, name, tools / there.relative_to(setup.TOOLS))
    steps: list[str] = []
    monkeypatch.setattr(setup, "run", lambda _command, what: steps.append(what))
    built = tools / "influxdb2" / "influxd"
    built.parent.mkdir(parents=True)
    built.write_text("minutes of building")
    setup.installer()
    assert steps == ["uv is there"]
    assert (setup.UV.parent / "python").exists(), "an environment to install it into"
    assert built.read_text() == "minutes of building"
    setup.UV.touch()
    setup.installer()
    assert steps == ["uv is there"]


def test_make_looks_for_the_installer_where_setup_puts_it() -> None:
    (place,) = re.findall(r"^UV := (\S+)$", MAKEFILE, re.MULTILINE)
    assert setup.ROOT / place == setup.UV
    for target in ("fuzz", "lock"):
        (needed,) = re.findall(rf"^{target}:(.*?)##", MAKEFILE, re.MULTILINE)
        assert "$(UV)" in needed
