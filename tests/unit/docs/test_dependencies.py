"""docs/dependencies.md has a line for every package, and no line for one that is gone."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
COLUMNS = 6


def section(title: str) -> dict[str, list[str]]:
    """The rows of one table, by package."""
    text = PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in rows}


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~;\[ ]", each, maxsplit=1)[0].lower() for each in requirements}


def test_every_run_time_package_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(section("The gateway, at run time")) == named(project["project"]["dependencies"])


def test_every_optional_package_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert set(section("Optional")) == named([each for extra in extras.values() for each in extra])


def test_every_development_package_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(section("For development and tests")) == named(project["dependency-groups"]["dev"])


def test_every_package_of_the_page_has_its_line() -> None:
    package = json.loads((ROOT / "dashboards/desk/package.json").read_text(encoding="utf-8"))
    wanted = {*package["dependencies"], *package["devDependencies"]}
    assert set(section("The desk page")) == wanted


def test_every_line_says_why_what_instead_size_licence_and_state() -> None:
    for title in (
        "The gateway, at run time",
        "Optional",
        "For development and tests",
        "The desk page",
    ):
        for name, cells in section(title).items():
            assert len(cells) == COLUMNS - 1, name
            assert all(cells), name
            assert len(cells[0]) > 15, f"{name}: why?"
            assert re.search(r"\d (MB|kB)", cells[2]), f"{name}: size"
            assert re.match(r"20\d\d-\d\d", cells[4]), f"{name}: state"
