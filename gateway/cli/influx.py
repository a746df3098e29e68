"""``pdt-gateway influx …``: the time series' own commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import check as checking
from gateway.catalog import Catalog
from gateway.cli.common import AsJson, ConfigFile, Exit, content_of, print_json
from gateway.cli.panels import PlainGroup
from gateway.clock import SystemClock
from gateway.roster.units import team_keep_s
from gateway.settings import Loaded

if TYPE_CHECKING:
    from gateway.sinks.influx_setup import Admin

app = typer.Typer(
    name="influx",
    cls=PlainGroup,
    rich_markup_mode="markdown",
    help="The time series (时间序列): make its places, keep to what may be kept.",
    no_args_is_help=True,
)

User = Annotated[str, typer.Option(help="1.x: an administrator's name.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="1.x: the file that holds the password.", dir_okay=False)
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="2.x: the file that holds an administrator's token.", dir_okay=False),
]


@app.command()
def setup(
    config: ConfigFile,
    *,
    user: User = "",
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    change: Annotated[
        bool,
        typer.Option("--change", help="Change a retention that differs; a shorter one deletes."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Make database or buckets, retention and thinning; safe to run twice.

    Every position is kept for influx.keep_fixes_s, one a minute for keep_minutes_s, alarms for
    keep_alarms_s. Without an administrator's name or token the gateway's own is tried.
    """
    from gateway.sinks import influx_setup  # noqa: PLC0415 - the other commands start faster

    loaded, _, _ = checking.check(config, Catalog.scan())
    admin = _admin(loaded, user, password_file, token_file)
    steps = influx_setup.set_up(loaded, admin, may_change=change)
    told = influx_setup.hints(loaded.settings.influx, steps)
    if json:
        print_json({"steps": steps, "hints": told})
    else:
        for step in steps:
            print(f"{step.state:8} {step.what}{f': {step.detail}' if step.detail else ''}")
        for hint in told:
            print(f"note: {hint}")
    if any(step.state == "differs" for step in steps):
        raise typer.Exit(Exit.FOUND)


@app.command()
def forget(
    config: ConfigFile,
    *,
    user: User = "",
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    json: AsJson = False,
) -> None:
    """Delete positions of teams whose rule in [[privacy]] keeps them for less time; run it daily.

    Alarms stay, and so do the positions of the team from an alarm's press to its closing. It needs
    an administrator: the gateway itself may only write.
    """
    from gateway.sinks.influx_forget import forget as delete  # noqa: PLC0415 - as above

    loaded, roster, _ = checking.check(config, Catalog.scan())
    admin = _admin(loaded, user, password_file, token_file)
    steps = delete(loaded, admin, team_keep_s(loaded.settings, roster), SystemClock().now())
    if json:
        print_json({"steps": steps})
        return
    for step in steps:
        print(f"{step.what}: {step.detail}")
    print(f"{len(steps)} teams have a rule of their own")


def _admin(
    loaded: Loaded, user: str, password_file: Path | None, token_file: Path | None
) -> "Admin":
    from gateway.sinks.influx_setup import Admin  # noqa: PLC0415 - as above

    settings = loaded.settings.influx
    if user or token_file is not None:
        return Admin(user, content_of(password_file), content_of(token_file))
    return Admin(
        settings.user,
        loaded.secret("influx.password_file", settings.password_file),
        loaded.secret("influx.token_file", settings.token_file),
    )
