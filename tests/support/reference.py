"""Reference vectors: lines of bytes and what they mean, kept beside the project and not in it."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference" / "vectors"


def reference_vectors(name: str) -> list[dict[str, Any]]:
    """The lines of ``<name>.jsonl``; skips the calling test where the file is not there.

    This is the one skip that ``PDT_NO_SKIPS=1`` lets pass: the files are not part of the project.
    """
    file = FOLDER / f"{name}.jsonl"
    if not file.is_file():
        pytest.skip(f"reference vectors are not beside the project: {FOLDER.name}/{file.name}")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
