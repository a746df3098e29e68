"""What ``--help`` shows: commands in panels, whole sentences, examples on their own lines."""

import os
import subprocess
import sys

import pytest
import typer

from gateway.cli.main import app
from gateway.cli.panels import PANEL_OF, PANELS


def help_of(*words: str) -> list[str]:
    shown = subprocess.run(
        [sys.executable, "-m", "gateway", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "COLUMNS": "100", "TERM": "dumb"},
    )
    return [line.strip() for line in shown.stdout.splitlines()]


def test_every_command_is_in_a_panel() -> None:
    group = typer.main.get_command(app)
    assert set(getattr(group, "commands")) == set(PANEL_OF)  # noqa: B009 - click's, untyped here


def test_the_first_screen_shows_the_panels_in_order() -> None:
    shown = "\n".join(help_of())
    places = [shown.index(title) for title in PANELS]
    assert places == sorted(places)
    for name in PANEL_OF:
        assert f"│ {name} " in shown
    assert "…" not in shown  # no summary is cut


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("decode",), "Example: echo '7e0002…7e' | pdt-gateway decode jt808 --hex"),
        (
            ("emulate",),
            "Example: pdt-gateway emulate jt808 --connect 127.0.0.1:10808 --press-after 5",
        ),
        (
            ("check",),
            "Example: pdt-gateway check --config /etc/pdt-gateway/gateway.toml --probe",
        ),
        (
            ("number",),
            "Example: pdt-gateway number 80020200",
        ),
    ],
)
def test_paragraphs_are_whole_and_examples_stand_alone(words: tuple[str, ...], line: str) -> None:
    assert line in help_of(*words)


@pytest.mark.parametrize("words", [("check",), ("backup",), ("influx", "setup")])
def test_a_flag_does_not_look_as_if_it_wanted_a_value(words: tuple[str, ...]) -> None:
    shown = "\n".join(help_of(*words))
    assert "--json" in shown
    assert "bool" not in shown
