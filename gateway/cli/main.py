"""The command line: one function a command, no logic.

Exit codes: 0 fine, 1 found something wrong, 2 usage or settings, 3 cannot run.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import gateway
from gateway import check as checking
from gateway import decode as decoding
from gateway.catalog import Catalog
from gateway.cli.backup import backup, restore
from gateway.cli.command import app as command_app
from gateway.cli.command import commands
from gateway.cli.common import AsJson, ConfigFile, Exit, print_json, tell
from gateway.cli.grafana import app as grafana_app
from gateway.cli.influx import app as influx_app
from gateway.cli.init import init
from gateway.cli.panels import PanelGroup
from gateway.cli.ports import ports
from gateway.clock import SystemClock
from gateway.errors import ConfigError, GatewayError
from gateway.eventlog.accounts import ROLES
from gateway.model import pdt_number
from gateway.model.events import to_json
from gateway.model.quantities import Instant
from gateway.reasons import reason
from gateway.roster.units import Roster
from gateway.settings import Loaded

MOST_PORT = 65_535

SinkName = Literal["mqtt", "influx", "desk"]

app = typer.Typer(
    name="pdt-gateway",
    cls=PanelGroup,
    rich_markup_mode="markdown",
    help="PDT radio gateway (PDT 电台网关): radios and GNSS receivers in; MQTT, a time series, "
    "an alarm and a live map out.\n\nTry it now, with nothing installed beside it: "
    "pdt-gateway demo\n\n"
    "Exit codes: 0 fine, 1 found something wrong, 2 usage or settings, 3 cannot run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(grafana_app)
app.add_typer(influx_app)
app.command()(backup)
app.command()(restore)
app.command()(init)
app.add_typer(command_app)


def main() -> None:
    """Run a command; a wrong setting or a missing right ends in one clear line."""
    try:
        app(prog_name="pdt-gateway")
    except (GatewayError, OSError, ExceptionGroup) as error:
        cause = _cause(error)
        if not isinstance(cause, GatewayError | OSError):
            raise
        _stop(cause, Exit.USAGE if isinstance(cause, ConfigError) else Exit.CANNOT_RUN)


def _cause(error: Exception) -> Exception:
    """The first that went wrong, where tasks have ended together."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _stop(error: Exception, code: Exit) -> NoReturn:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {reason(error)}"
    elif isinstance(error, OSError):
        text = reason(error)
    print(f"pdt-gateway: {text}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Options before a command."""
    if version:
        print(gateway.__version__)
        raise typer.Exit


@app.command()
def decode(
    driver: Annotated[
        str, typer.Argument(help="A driver's name; `pdt-gateway drivers` lists them.")
    ],
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="A file, or - for standard input.")
    ] = "-",  # type: ignore[assignment]  # the parser opens it
    *,
    hex_lines: Annotated[
        bool,
        typer.Option("--hex", help="One frame a line in hex; one JSON array of events a line."),
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="With --hex: each frame field by field, and where it broke."
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="JSON: events always are; with --explain the fields.")
    ] = False,
    at: Annotated[
        str, typer.Option(help="When the bytes came, RFC 3339; completes dates. Now if not given.")
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="A driver's option, key=value (TOML value)."),
    ] = None,
) -> None:
    """Read a recording offline: raw bytes to one JSON event a line, or hex to arrays of events.

    Example: echo '7e0002…7e' | pdt-gateway decode jt808 --hex

    The same, explained: echo '7e0002…7e' | pdt-gateway decode jt808 --hex --explain
    """
    if explain:
        _explain(driver, file, hex_lines=hex_lines, json=json)
        return
    moment = _instant(at) if at else SystemClock().now()
    catalog = Catalog.scan()
    options = _options(option or [])
    catalog.codec(driver, options, decoding.LINK)  # a wrong option is refused here
    chosen = catalog.get(driver)
    if hex_lines:
        lines = decoding.decode_hex_lines(chosen, options, file, moment)
    else:
        lines = decoding.decode_stream(chosen, options, file, moment)
    is_silent = True
    for line in lines:
        sys.stdout.buffer.write(line + b"\n")
        is_silent = False
    sys.stdout.flush()
    if is_silent:
        print(f"pdt-gateway: {file.name}: nothing in it that {driver} reports", file=sys.stderr)


def _explain(driver: str, file: BinaryIO, *, hex_lines: bool, json: bool) -> None:
    if not hex_lines:
        raise typer.BadParameter("it needs --hex, one frame a line", param_hint="--explain")
    is_broken = False
    for fields in decoding.explain_hex_lines(Catalog.scan().get(driver), file):
        is_broken |= any(field.problem for field in fields)
        if json:
            sys.stdout.buffer.write(to_json([field._asdict() for field in fields]) + b"\n")
            continue
        table = Table()
        for heading in ("place", "raw", "field", "value"):
            table.add_column(heading, overflow="fold")
        for field in fields:
            mark = Text(f"✗ {field.problem}", "bold red") if field.problem else Text(field.value)
            table.add_row(field.place, Text(field.raw), Text(field.name), mark)
        Console().print(table)
    if is_broken:
        raise typer.Exit(Exit.FOUND)


@app.command()
def number(
    value: Annotated[
        str, typer.Argument(help="8 digits (80020200), or a 24-bit address (FC0001, 16515073).")
    ],
    *,
    group: Annotated[bool, typer.Option("--group", help="It is a group, not a radio.")] = False,
    json: AsJson = False,
) -> None:
    """A PDT number or its 24-bit air-interface address, both ways (个呼号码、组号).

    Example: pdt-gateway number 80020200
    """
    try:
        facts = pdt_number.number_facts(value, is_group=group or None)
    except ValueError as error:
        _stop(error, Exit.FOUND)
    if json:
        print_json(facts)
        return
    for name, fact in msgspec.structs.asdict(facts).items():
        if fact is not None:
            print(f"{name:12} {fact}")


@app.command()
def drivers(*, json: AsJson = False) -> None:
    """The drivers: what carries them, what they handle, how well that is proved."""
    found = list(Catalog.scan())
    if json:
        print_json(
            [
                {
                    "name": driver.name,
                    "title": driver.title,
                    "spec": driver.spec,
                    "transports": sorted(driver.transports),
                    "grade": driver.grade,
                    "handles": [line._asdict() for line in driver.handles],
                    "refuses": [line._asdict() for line in driver.refuses],
                    "example": driver.example,
                }
                for driver in found
            ]
        )
        return
    console = Console()
    for driver in found:
        table = Table(
            title=f"{driver.name} — {driver.title} ({driver.grade})", title_justify="left"
        )
        for heading in ("message", "meaning", "becomes", "confidence"):
            table.add_column(heading)
        for line in driver.handles:
            table.add_row(*line)
        console.print(table)
        console.print(f"  {driver.spec}; carried by {', '.join(sorted(driver.transports))}\n")


@app.command()
def check(
    config: ConfigFile,
    *,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also what each port, broker, store and disk answers.")
    ] = False,
    seconds: Annotated[
        float, typer.Option(help="With --probe: look so long at a link.", min=0)
    ] = 3.0,
    json: AsJson = False,
) -> None:
    """Say what is wrong with a configuration; connects to nothing without --probe.

    With --probe nothing is stored and no report of a radio is acknowledged; a radio that is silent
    until it is spoken to is greeted. Where the gateway runs, its links and broker are left alone.

    Exit code 1 when something that was probed is wrong, 2 when the settings are.

    Example: pdt-gateway check --config /etc/pdt-gateway/gateway.toml --probe
    """
    catalog = Catalog.scan()
    loaded, roster, findings = checking.check(config, catalog)
    is_bad = False
    if probe:
        from gateway import probe as probing  # noqa: PLC0415 - the other commands start faster

        findings += asyncio.run(probing.probe(loaded, catalog, seconds))
        is_bad = probing.is_wrong(findings)
    if json:
        print_json({"file": str(loaded.file), "findings": findings})
        raise typer.Exit(Exit.FOUND if is_bad else Exit.FINE)
    wrong = sum(finding.is_wrong for finding in findings)
    counts = {
        "link": len(loaded.settings.link), "unit": len(roster.units), "site": len(roster.sites)
    }  # fmt: skip
    told = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
    print(f"{loaded.file}: {f'{wrong} WRONG' if wrong else 'fine'}: {told}")
    for finding in findings:
        mark = "WRONG" if finding.is_wrong else "note"
        print(f"  {mark}: {finding.where}: {finding.text}")
    if is_bad:
        raise typer.Exit(Exit.FOUND)


@app.command()
def run(
    config: ConfigFile,
    *,
    watchdog_s: Annotated[
        float,
        typer.Option(
            help="End after so many seconds with the event loop stuck, to be started again; "
            "0 for never. Under systemd its WatchdogSec counts instead.",
            min=0,
        ),
    ] = 12.0,
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Say `pdt-gateway check` first; docs/operations.md has it under systemd and in a compose file.

    Example: pdt-gateway run --config config/gateway.toml
    """
    from gateway.app import serve  # noqa: PLC0415 - the other commands start faster without it

    serve(config, watchdog_s)


@app.command()
def demo(
    *,
    seconds: Annotated[
        float, typer.Option(help="End after so many seconds; 0 for never.", min=0)
    ] = 0,
    port: Annotated[
        int, typer.Option(help="Port of the live page; 0 for a free one.", min=0, max=MOST_PORT)
    ] = 8080,
) -> None:
    """The whole thing with nothing installed beside it: broker, store, page, an emulated town.

    It prints a sign-in link for the page and a line that watches the broker. After some 20 s
    somebody presses the button. The emulated radios answer what the page asks them.
    """
    from gateway.demo.places import a_port_like  # noqa: PLC0415 - as above
    from gateway.demo.run import run_demo  # noqa: PLC0415 - as above

    run_demo(tell, seconds=seconds, port=a_port_like(port))


@app.command()
def record(
    config: ConfigFile,
    link: Annotated[str, typer.Argument(help="The id of a link in the settings.")],
    file: Annotated[Path, typer.Argument(help="The recording to write; must not exist yet.")],
    *,
    seconds: Annotated[
        float, typer.Option(help="End after so many seconds; 0 for never.", min=0)
    ] = 0,
) -> None:
    """Write what a link says, byte by byte with its timing, to a file (docs/recording.md).

    The gateway must not be running on the same link: a serial port is opened exclusively.

    Example: pdt-gateway record --config config/gateway.toml station-1 fault.rec --seconds 30
    """
    from gateway import recording  # noqa: PLC0415 - as above

    count = recording.record(config, link, file, seconds, tell)
    print(f"{file}: {count} bytes received")


@app.command()
def replay(
    driver: Annotated[str, typer.Argument(help="The driver that reads it.")],
    file: Annotated[Path, typer.Argument(help="A recording, or raw bytes.")],
    *,
    speed: Annotated[float, typer.Option(help="1 as recorded, 60 faster, 0 at once.", min=0)] = 1.0,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="A driver's option, key=value.")
    ] = None,
) -> None:
    """Play a recording as a link, through its driver: one JSON event a line, with its timing.

    Example: pdt-gateway replay hytera_hrnp fault.rec --speed 10
    """
    from gateway import recording  # noqa: PLC0415 - as above

    catalog = Catalog.scan()
    options = _options(option or [])
    catalog.codec(driver, options, decoding.LINK)

    def show(line: bytes) -> None:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()

    played = recording.replay(catalog.get(driver), options, file, speed, show)
    if not played.facts:
        print(
            f"pdt-gateway: {file}: {played.size} bytes, and nothing in them that {driver} reports; "
            "was it recorded from another driver's link?",
            file=sys.stderr,
        )


@app.command()
def emulate(
    device: Annotated[
        str, typer.Argument(help="nmea0183, kenwood, jt808, hytera_hrnp …; a wrong name lists all.")
    ],
    *,
    pty: Annotated[Path | None, typer.Option(help="Make a serial port at this path.")] = None,
    connect: Annotated[str, typer.Option(help="Connect to address:port by TCP.")] = "",
    listen: Annotated[str, typer.Option(help="Wait at address:port for a TCP connection.")] = "",
    udp: Annotated[str, typer.Option(help="Send datagrams to address:port.")] = "",
    number: Annotated[str, typer.Option(help="Phone number, or PDT number of the unit.")] = "",
    every: Annotated[float, typer.Option(help="Seconds between two positions.", min=0.05)] = 2.0,
    press_after: Annotated[
        float | None, typer.Option(help="Press the button after so many seconds.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="End after so many seconds; 0 for never.", min=0)
    ] = 0,
) -> None:
    """Play one emulated device on a pseudo-terminal, a TCP or a UDP port, walking a street.

    Example: pdt-gateway emulate jt808 --connect 127.0.0.1:10808 --press-after 5
    """
    from gateway.demo.emulate import Emulation, play  # noqa: PLC0415 - as above

    wanted = Emulation(device, number, pty, connect, listen, udp, every, press_after)
    play(wanted, tell, seconds)


@app.command()
def outbox(
    config: ConfigFile,
    *,
    sink: Annotated[SinkName | None, typer.Option(help="One of them; all when not given.")] = None,
    limit: Annotated[int, typer.Option(help="Most rows of a sink to show.", min=1)] = 20,
    offer_again: Annotated[
        bool,
        typer.Option("--offer-again", help="With --sink influx: write them now, after mending."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Rows that a sink refused for good, with the reason (the gateway may be running).

    Example: pdt-gateway outbox --config /etc/pdt-gateway/gateway.toml --sink influx
    """
    from gateway.outbox import inspect  # noqa: PLC0415 - as above

    loaded, roster, _ = checking.check(config, Catalog.scan())
    file = loaded.path(loaded.settings.site.data_dir) / "outbox.db"
    if offer_again:
        _offer_again(loaded, roster, sink)
        return
    reasons = [each for each in inspect.refusal_reasons(file) if sink in {None, each.sink}]
    names = [sink] if sink else sorted({each.sink for each in reasons})
    rows = [row for name in names for row in inspect.refused_rows(file, name, limit)]
    if json:
        shown = [row._asdict() | {"payload": row.payload.decode(errors="replace")} for row in rows]
        print_json({"reasons": [each._asdict() for each in reasons], "rows": shown})
        return
    print(f"{sum(each.rows for each in reasons)} rows set aside")
    for each in reasons:
        print(f"  {each.rows:6}  {each.sink}: {each.reason}")
    for row in rows:
        print(f"  {row.at.text()}  {row.sink}  {row.reason}  {row.payload[:120]!r}")


def _offer_again(loaded: Loaded, roster: Roster, sink: SinkName | None) -> None:
    if sink != "influx":
        raise typer.BadParameter(
            "only rows of --sink influx: a series takes what is late, while a message about an "
            "old position would look like news",
            param_hint="--offer-again",
        )
    from gateway.app import offer_again_to_influx  # noqa: PLC0415 - as above

    offered = offer_again_to_influx(loaded, roster)
    print(f"{offered.taken} rows taken, {offered.refused} refused again")
    if offered.refused:
        raise typer.Exit(Exit.FOUND)


app.command()(ports)
app.command()(commands)


@app.command()
def airtime(
    *,
    budget: Annotated[float, typer.Option(help="Position requests a minute.")] = 1000,
    emergency: Annotated[int, typer.Option(help="Units with an open emergency.")] = 0,
    responding: Annotated[int, typer.Option(help="Units near one.")] = 0,
    patrol: Annotated[int, typer.Option(help="Units on the move.")] = 75,
    idle: Annotated[int, typer.Option(help="Units at their posts.")] = 225,
    json: AsJson = False,
) -> None:
    """How old fixes get on a channel of a town, by class (docs/airtime.md); nothing is asked.

    Example: pdt-gateway airtime --budget 1000 --emergency 1 --responding 12 --patrol 120 --idle 400
    """
    from gateway.airtime.shares import UnitClass  # noqa: PLC0415 - as above
    from gateway.airtime.simulation import simulate  # noqa: PLC0415 - as above

    counts = dict(zip(UnitClass, (emergency, responding, patrol, idle), strict=True))
    if budget < 1 or min(counts.values()) < 0:
        raise typer.BadParameter("a budget of at least 1, and no negative number of units")
    rows = simulate(counts, budget, minutes=90)
    if json:
        print_json(
            [{"class": row.kind.name.lower()} | msgspec.structs.asdict(row.promise) for row in rows]
        )
        return
    table = Table(title=f"{budget:g} requests a minute")
    for heading in ("class", "units", "requests/min", "interval s", "worst age s", "simulated s"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = (*msgspec.structs.astuple(row.promise), row.worst_age_s)
        table.add_row(row.kind.name.lower(), *(f"{cell:g}" for cell in cells))
    Console().print(table)


@app.command("sign-in-link")
def sign_in_link(
    config: ConfigFile,
    *,
    name: Annotated[str, typer.Option(help="The person's name; asked for when empty.")] = "",
    role: Annotated[
        list[str] | None,
        typer.Option(help="viewer, dispatcher, technician or admin; may be repeated."),
    ] = None,
) -> None:
    """A one-time sign-in link for the live page, good for an hour (the gateway may be running)."""
    from gateway.app import make_sign_in_link  # noqa: PLC0415 - as above

    for each in role or ():
        if each not in ROLES:
            raise typer.BadParameter(f"{each!r}; one of {', '.join(ROLES)}", param_hint="--role")
    print(make_sign_in_link(config, name or None, role or ["dispatcher"]))


def _instant(text: str) -> Instant:
    try:
        return Instant.parse(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no instant; one is 2026-03-01T02:00:00Z", param_hint="--at"
        ) from None


def _options(pairs: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        options.update(decoding.parse_option(pair))
    return options
