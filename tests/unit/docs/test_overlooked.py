"""What the type checker has to overlook is told with its reason, on the same line."""

import re

from tests.support.documents import ROOT

FOLDERS = ("drivers", "gateway", "hil_tests", "tests", "tools")
WITHOUT_REASON = re.compile(r"# type: ignore\[[\w, -]+\](?! *# ?\w)")


def test_the_type_checker_overlooks_nothing_without_a_reason() -> None:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 400
    assert not [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if WITHOUT_REASON.search(line)
    ]
