"""Every command that a document shows exists, with those options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gateway.cli.main import app
from tests.support.documents import ROOT, command_lines, each_page, pages

PROGRAM: Any = typer.main.get_command(app)  # typer brings a click of its own, without types


def leaves(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its whole name, such as "influx setup"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS: dict[str, Any] = dict(leaves(PROGRAM))


def split(words: list[str]) -> tuple[str, list[str]]:
    """The command's whole name, and what follows."""
    pair = " ".join(words[:2])
    return (pair, words[2:]) if pair in COMMANDS else (words[0], words[1:])


USE = re.compile(r"(?:^|[ /])(?:pdt-gateway|-m gateway) +([a-z-].*)")
BY_OTHERS = re.compile(  # as the service's user; in a container that is made for it
    r"^runuser .*-- pdt-gateway |^docker compose run .*--entrypoint pdt-gateway \S+ "
)
NOT_THE_PROGRAM = re.compile(r"systemctl|journalctl|systemd-analyze|useradd|install ")


def uses(page: Path) -> Iterator[list[str]]:
    """The words after the program's name, up to a pipe or a comment."""
    for line in command_lines(page):
        for piece in re.split(r"\s\|\s|&&|;", line):
            found = USE.search(BY_OTHERS.sub("pdt-gateway ", piece))
            if found is None or NOT_THE_PROGRAM.search(piece):
                continue
            words = shlex.split(found[1], comments=True)
            if words and re.match(r"[a-z-]+\Z", words[0]):
                yield words


def problem(words: list[str]) -> str:
    """What is wrong with a command line; "" where nothing is."""
    name, following = split(words)
    command = COMMANDS.get(name)
    if command is None:
        return "" if words[0] in {"--help", "--version"} else f"there is no command {words[0]!r}"
    options = {name: p for p in command.params for name in p.opts if name.startswith("-")}
    room = [p for p in command.params if p.param_type_name == "argument"]
    rest = iter(following)
    given: list[str] = []
    for word in rest:
        name, equals, _ = word.partition("=")
        if not word.startswith("-") or word == "-":
            given.append(word)
        elif name not in {*options, "--help", "-h"}:
            return f"{words[0]} has no option {name}"
        elif name in options and not options[name].is_flag and not equals and not next(rest, None):
            return f"{name} needs a value"
    return f"{words[0]} does not take {given}" if len(given) > len(room) else ""


@each_page
def test_every_command_shown_exists_with_its_options(page: Path) -> None:
    wrong = [f"{' '.join(words)}: {why}" for words in uses(page) if (why := problem(words))]
    assert not wrong


def test_each_command_is_shown_somewhere() -> None:
    assert set(COMMANDS) <= {split(words)[0] for page in pages() for words in uses(page)}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("decode jt808 --hex frames.txt", ""),
        ("decode jt808 --hexx frames.txt", "no option --hexx"),
        ("derun --config x", "no command 'derun'"),
        ("run --config", "needs a value"),
        ("check --config=x y", "does not take ['y']"),
    ],
)
def test_a_wrong_command_would_be_noticed(line: str, why: str) -> None:
    found = problem(shlex.split(line))
    assert why in found
    assert bool(found) == bool(why)


@each_page
def test_every_make_target_shown_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown = {
        name
        for line in command_lines(page)
        for name in re.findall(r"(?:^|\s)make ([a-z-]+)", line.partition("#")[0])
    }
    assert shown <= targets


@each_page
def test_every_script_shown_exists(page: Path) -> None:
    for line in command_lines(page):
        for path in re.findall(r"python3? (tools/\w+\.py)", line):
            assert (ROOT / path).is_file(), path
        for module in re.findall(r"-m ((?:tools|tests)(?:\.\w+)+)", line):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
