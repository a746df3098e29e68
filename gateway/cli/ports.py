"""``pdt-gateway ports``: what is plugged in, and what it speaks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.catalog import Catalog
from gateway.cli.common import AsJson, Exit, print_json
from gateway.ports import PortFacts, listen, plugged_in


def ports(
    path: Annotated[
        list[Path] | None, typer.Argument(help="Ports to look at; all that are plugged in if none.")
    ] = None,
    *,
    seconds: Annotated[
        float, typer.Option(help="Listen so long at each usual speed; 0 only lists.", min=0)
    ] = 2.0,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Also say the opening of drivers that speak first (HRNP, TETRA …)."
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """What is plugged in, its stable path, and what it seems to speak (串口、链路识别).

    Listening only: nothing is written to a port without --ask. A running gateway holds its ports;
    stop it, or look at its page of links instead.

    Example: pdt-gateway ports --seconds 3
    """
    found = [PortFacts(path=str(one), device=str(one.resolve())) for one in path or ()]
    found = found or plugged_in()
    console = Console(stderr=True)
    if seconds:
        drivers = list(Catalog.scan())
        found = [
            listen(one, drivers, seconds=seconds, asks=ask, tell=console.print) for one in found
        ]
    if json:
        print_json(found)
    elif not found:
        print("no serial port is plugged in; a USB adapter shows up in /dev/serial/by-id")
    else:
        Console().print(_table(found))
    if not found or (seconds and not any(one.speaks for one in found)):
        raise typer.Exit(Exit.FOUND)


def _table(found: list[PortFacts]) -> Table:
    table = Table()
    for heading in ("port", "what it is", "speaks", "baud", "first bytes"):
        table.add_column(heading, overflow="fold")
    for one in found:
        guess = one.speaks[0] if one.speaks else None
        speaks = f"{guess.driver} ({guess.understood} understood)" if guess else _silence(one)
        baud = str(guess.baud) if guess else ""
        table.add_row(one.path, Text(one.what or one.device), speaks, baud, Text(one.sample))
    return table


def _silence(one: PortFacts) -> str:
    if one.trouble:
        return f"cannot listen: {one.trouble}"
    if one.bytes_heard:
        return f"{one.bytes_heard} bytes that no driver understands"
    return "nothing heard"
