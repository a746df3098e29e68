"""Links lead somewhere, settings are TOML, and nothing is said that has no place.

Read are all Markdown files under version control.
"""

import re
import tomllib
from pathlib import Path

from tests.support.documents import (
    FENCED,
    ROOT,
    anchors,
    blocks,
    each_page,
    pages,
    prose,
    text_of,
)


def test_the_documents_are_found() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in pages()}
    assert {"README.md", "docs/operations.md", "docs/zh/desk-manual.md", "SECURITY.md"} <= names


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in anchors(file)


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    assert not [each for each in targets if "://" not in each and not leads_somewhere(page, each)]


@each_page
def test_every_block_of_toml_can_be_read(page: Path) -> None:
    for language, body in blocks(page):
        if language == "toml":
            tomllib.loads(body)


OWN_PLACES = re.compile(r"(?:[\w-]+\.)*example(?:\.(?:com|org))?\Z")
HOST = re.compile(
    r"(?<![\w/.@-])((?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|cn|app|example))\b(?![.(]\w)",
    re.IGNORECASE,
)


@each_page
def test_no_host_of_the_outside_world_is_named(page: Path) -> None:
    """The command network has no way out, and a link into the world is dead there."""
    named = {host.lower() for host in HOST.findall(text_of(page))}
    assert not {host for host in named if not OWN_PLACES.match(host)}


# How work is organised is no reader's business. Written so that this list is not its own finding.
OUT_OF_PLACE = re.compile(
    r"(?<![\w/])/(?:[w]ork|[r]oot)(?![\w-])|\b[a]gents?\b|\b[t]ickets?\b|\b[s]print\b"
    r"|\b[p]rompts?\b|\b[l]anguage models?\b|\b[t]he brief\b|\b[i]ssue #?\d|#\d{2,}\b"
    r"|\b[T]ODO\b|\b[F]IXME\b|\b[l]orem\b"
)


@each_page
def test_a_document_speaks_of_the_product_alone(page: Path) -> None:
    assert not {match[0] for match in OUT_OF_PLACE.finditer(text_of(page))}


@each_page
def test_a_document_is_tidy(page: Path) -> None:
    text = text_of(page)
    assert re.match(r"# .+\n", text), "begins with its title"
    assert text.endswith("\n")
    assert text.count("```") % 2 == 0
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE), "half of a merge"
    assert "\t" not in FENCED.sub("", text)
    assert not re.findall(r" +$", text, re.MULTILINE), "blanks at the end of a line"


def test_every_module_that_the_architecture_names_is_there() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[a-z]*/**/*.*")}
    named = re.findall(r"`([\w/]+\.(?:py|ts|svelte))`", text_of(ROOT / "docs/architecture.md"))
    assert len(named) > 30
    assert not [
        name for name in named if not any(f"/{each}".endswith(f"/{name}") for each in files)
    ]
