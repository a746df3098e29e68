"""The desk page's build: skipped when nothing has changed, repeated when anything has."""

import json
from pathlib import Path

import pytest

from tools import build_desk

SOURCE = build_desk.SOURCE


def _source(folder: Path) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "main.ts").write_text("one")
    (folder / "node_modules").mkdir()
    return folder


def test_fingerprint_follows_names_and_bytes_but_not_packages(tmp_path: Path) -> None:
    source = _source(tmp_path / "desk")
    first = build_desk.fingerprint(source)
    (source / "node_modules" / "x.js").write_text("anything")
    assert build_desk.fingerprint(source) == first
    (source / "src" / "main.ts").write_text("two")
    second = build_desk.fingerprint(source)
    assert second != first
    (source / "src" / "main.ts").rename(source / "src" / "other.ts")
    assert build_desk.fingerprint(source) not in {first, second}


def test_page_is_current_only_while_its_files_are_there(tmp_path: Path) -> None:
    stamp, output = tmp_path / "desk.json", tmp_path / "static"
    assert not build_desk.is_current("a", stamp, output)
    output.mkdir()
    (output / "index.html").write_text("page")
    stamp.write_text(json.dumps({"inputs": "a", "files": ["index.html"]}))
    assert build_desk.is_current("a", stamp, output)
    assert not build_desk.is_current("b", stamp, output)
    (output / "index.html").unlink()
    assert not build_desk.is_current("a", stamp, output)
    stamp.write_text("not json")
    assert not build_desk.is_current("a", stamp, output)


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("v20.19.0", True),
        ("v20.18.3", False),
        ("v21.7.0", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0", True),
        ("v18.20.1", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_node_is_taken_from_the_path_only_where_it_runs_the_build(version: str, fits: bool) -> None:  # noqa: FBT001 - pytest fills it in
    assert build_desk.new_enough(version) is fits


def test_lock_names_packages_and_hashes_but_no_host() -> None:
    text = (SOURCE / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in entry for name, entry in packages.items() if name)


def test_page_names_no_host_of_its_own() -> None:
    files = [*SOURCE.glob("src/**/*"), SOURCE / "index.html"]
    texts = {file: file.read_text(encoding="utf-8") for file in files if file.is_file()}
    assert len(texts) > 20
    assert [str(file) for file, text in texts.items() if "://" in text] == []


def test_page_has_no_inline_script_or_style() -> None:
    for file in [*SOURCE.glob("src/**/*.svelte"), SOURCE / "index.html"]:
        text = file.read_text(encoding="utf-8")
        assert "{@html" not in text, file
        assert " style=" not in text, file
        assert "<style" not in text, file
