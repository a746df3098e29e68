"""The project's Markdown files and what is in them."""

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^( *)```([a-z]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


@functools.cache
def pages() -> tuple[Path, ...]:
    """Every Markdown file of the project, those not yet committed included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    names = listed or [
        str(file.relative_to(ROOT))
        for folder in (".", "docs", "docs/adr", "docs/drivers", "docs/zh")
        for file in (ROOT / folder).glob("*.md")
    ]
    return tuple(sorted(ROOT / name for name in names if (ROOT / name).is_file()))


each_page = pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))


def text_of(page: Path) -> str:
    """The page's text."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and content of every fenced block."""
    for _, language, body in FENCED.findall(text_of(page)):
        yield language, body


def prose(page: Path) -> str:
    """The page without its fenced blocks and without code in the line."""
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", text_of(page)))


def anchors(page: Path) -> set[str]:
    """The anchors that headings make: lower case, blanks to hyphens, other marks away."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text_of(page)), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading).strip() for heading in headings)
    return {heading.lower().replace(" ", "-") for heading in kept}


def command_lines(page: Path) -> Iterator[str]:
    """What might be typed: lines of blocks without a language or of a shell, and code in prose."""
    for language, body in blocks(page):
        if language in {"", "sh", "bash", "console"}:
            yield from (line.strip() for line in body.splitlines())
    yield from re.findall(r"`([^`\n]*)`", FENCED.sub("", text_of(page)))
