"""Every doubt that the gateway or a driver can name has Chinese words on the page."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORDS = (ROOT / "dashboards/desk/src/doubts.ts").read_text(encoding="utf-8")


def constants(tree: ast.Module) -> dict[str, str]:
    """Names of the module that stand for a text."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def doubtful(tree: ast.Module) -> Iterator[ast.expr]:
    """What is given as a doubt: by keyword, by assignment, to ``doubted``, or from ``_doubt``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (word.value for word in node.keywords if word.arg == "doubt")
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name in {"doubted", "Caller"}:
                yield from node.args[-1:]
        elif isinstance(node, ast.Assign):
            names = [each.id for each in node.targets if isinstance(each, ast.Name)]
            if "doubt" in names:
                yield node.value
        elif isinstance(node, ast.FunctionDef) and node.name == "_doubt":
            yield from (
                each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value
            )


def doubts() -> set[str]:
    found: set[str] = set()
    for path in [*ROOT.glob("gateway/**/*.py"), *ROOT.glob("drivers/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        if "doubt" not in text:
            continue
        tree = ast.parse(text)
        known = constants(tree)
        for whole in doubtful(tree):
            for part in ast.walk(whole):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value:
                    found.add(part.value)
                elif isinstance(part, ast.Name) and part.id in known:
                    found.add(known[part.id])
    return found


def test_every_doubt_has_words() -> None:
    found = doubts()
    assert {"implausible_time", "unregistered radio", "the message names no radio"} <= found
    named = set(re.findall(r'^  "?([^":\n]+)"?: \{', WORDS, re.MULTILINE))
    assert not found - named
    assert all(re.search(r"[\u4e00-\u9fff]", line) for line in re.findall(r"zh: \"(.*?)\"", WORDS))
