"""``pdt-gateway command``: ask a radio for something, through the gateway that is running."""

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway import control
from gateway.cli.common import AsJson, ConfigFile, Exit, print_json
from gateway.cli.panels import PlainGroup
from gateway.control import Question, Reply
from gateway.errors import GatewayError
from gateway.model.events import CommandVerb
from gateway.model.identity import RadioId, UnitId
from gateway.model.requests import Request
from gateway.model.views import CommandView
from gateway.settings import CommandSettings, load_settings

SLACK_S = 30.0  # beyond the time that a command may be open
MOST_NAME = 64

app = typer.Typer(
    name="command",
    cls=PlainGroup,
    rich_markup_mode="markdown",
    help="Ask a radio for something (向电台下发指令), and wait for the outcome.\n\n"
    "It goes through the gateway that is running. Off until [commands] enabled = true, and then "
    "only what its allow lists.\n\n"
    "Exit code 0 delivered; 1 refused, timed out or expired; 3 no gateway runs.",
    no_args_is_help=True,
)

Target = Annotated[
    str, typer.Argument(help="A unit id, or a radio id such as pdt:80020200.", metavar="UNIT")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return when it is queued.")]


@app.command()
def locate(
    target: Target, config: ConfigFile, *, no_wait: NoWait = False, json: AsJson = False
) -> None:
    """One position, now (定位一次)."""
    _ask("locate", target, config, Request(), wait=not no_wait, json=json)


@app.command()
def track(
    target: Target,
    config: ConfigFile,
    *,
    every: Annotated[int, typer.Option(help="Seconds between two positions.", min=1)] = 10,
    duration: Annotated[int, typer.Option("--for", help="For so many seconds.", min=1)] = 600,
    no_wait: NoWait = False,
    json: AsJson = False,
) -> None:
    """A position every few seconds for some time (连续定位)."""
    request = Request(every_s=every, for_s=duration)
    _ask("track", target, config, request, wait=not no_wait, json=json)


@app.command()
def text(
    target: Target,
    body: Annotated[str, typer.Argument(help="What it says.")],
    config: ConfigFile,
    *,
    no_wait: NoWait = False,
    json: AsJson = False,
) -> None:
    """A text message (发短信)."""
    _ask("text", target, config, Request(body=body), wait=not no_wait, json=json)


@app.command()
def check(
    target: Target, config: ConfigFile, *, no_wait: NoWait = False, json: AsJson = False
) -> None:
    """Is the radio there? (呼叫检查)."""
    _ask("check", target, config, Request(), wait=not no_wait, json=json)


@app.command("emergency-stop")
def emergency_stop(
    target: Target, config: ConfigFile, *, no_wait: NoWait = False, json: AsJson = False
) -> None:
    """End the alarm in the radio itself (解除电台告警); the entry on the desk stays open."""
    _ask("emergency_stop", target, config, Request(), wait=not no_wait, json=json)


def commands(config: ConfigFile, *, json: AsJson = False) -> None:
    """Commands that are open, and the last that have ended (the gateway must be running)."""
    folder, _ = _place(config)
    (reply,) = control.ask(folder, Question(list=True), SLACK_S)
    views = reply.commands or []
    if json:
        print_json(views)
        return
    table = Table()
    for heading in ("queued", "command", "radio", "unit", "by", "state", "why"):
        table.add_column(heading, overflow="fold")
    for view in views:
        cells = (view.queued_at.text(), view.verb, view.radio_id, view.unit_id or "", view.by)
        table.add_row(*map(Text, cells), Text(view.state), Text(view.why or ""))
    Console().print(table)


def _ask(
    verb: CommandVerb, target: str, config: Path, request: Request, *, wait: bool, json: bool
) -> None:
    folder, settings = _place(config)
    asked = Request(
        unit_id=UnitId(target) if ":" not in target else None,
        radio_id=RadioId(target) if ":" in target else None,
        body=request.body,
        every_s=request.every_s,
        for_s=request.for_s,
        by=_user(),
    )
    patience_s = settings.expire_s + settings.answer_s + SLACK_S
    last: CommandView | None = None
    for reply in control.ask(folder, Question(verb=verb, request=asked), patience_s):
        last = _told(reply, last, json=json)
        if last is None or not wait:
            break
    if json and last is not None:
        print_json(last)
    if last is None:
        raise typer.Exit(Exit.FOUND)
    if wait and last.is_open:
        raise GatewayError(
            f"the gateway ended before the command did; `pdt-gateway commands` will show what "
            f"became of {last.command_id}"
        )
    if last.state not in {"waiting", "sent", "delivered"}:
        raise typer.Exit(Exit.FOUND)


def _told(reply: Reply, before: CommandView | None, *, json: bool) -> CommandView | None:
    """Print what is new; None where the request was refused."""
    view = reply.command
    if view is None:
        if json:
            print_json({"state": "refused", "why": reply.error})
        else:
            print(f"refused: {reply.error}")
        return None
    if not json:
        if before is None:
            print(f"{view.verb} {view.radio_id}: command {view.command_id}")
        print(f"{view.state}{': ' + view.why if view.why else ''}", flush=True)
    return view


def _place(config: Path) -> tuple[Path, CommandSettings]:
    loaded = load_settings(config)
    return loaded.path(loaded.settings.site.data_dir), loaded.settings.commands


def _user() -> str:
    """Who asks, as the system knows them."""
    try:
        return getpass.getuser()[:MOST_NAME]
    except (OSError, KeyError):
        return "somebody"
