"""What every command of the command line shares."""

import os
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway.errors import ConfigError
from gateway.handing_over import is_for_root_alone
from gateway.model.events import to_json


class Exit(IntEnum):
    """What the process ends with."""

    FINE = 0
    FOUND = 1
    USAGE = 2
    CANNOT_RUN = 3


ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The settings file (TOML).", dir_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]


def print_json(value: Any) -> None:
    """Facts for programs."""
    sys.stdout.write(msgspec.json.format(to_json(value)).decode() + "\n")


def content_of(file: Path | None) -> str:
    """What stands in a file with a secret, "" where none is named; raises ConfigError."""
    if file is None:
        return ""
    try:
        return file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None


def note_for_root(settings: Path) -> None:
    """Say it where root has written settings that the service's user cannot read."""
    if is_for_root_alone(settings):
        print(
            f"  note: {settings}: root alone can read it; where the service runs as another user: "
            f"chgrp -R pdt-gateway {settings.parent}"
        )


def tell(text: str) -> None:
    """Print a line at once; raises BrokenPipeError where nobody reads any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # for what is still to be written at the end
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise
