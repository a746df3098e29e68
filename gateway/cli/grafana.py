"""``pdt-gateway grafana …``: the dashboards, for a site's own map and over HTTP."""

from pathlib import Path
from typing import Annotated
from zoneinfo import available_timezones

import typer

from gateway import grafana
from gateway.cli.common import AsJson, content_of, print_json
from gateway.cli.panels import PlainGroup
from gateway.errors import ConfigError
from gateway.settings import check_url

app = typer.Typer(
    name="grafana",
    cls=PlainGroup,
    rich_markup_mode="markdown",
    help="Grafana's dashboards and alerts (看板与告警): push them, or write them for mounting.",
    no_args_is_help=True,
)

Centre = Annotated[
    str, typer.Option(help="What the maps show first: latitude,longitude in WGS-84 degrees.")
]
Zoom = Annotated[float | None, typer.Option(help="How near: 12 a county, 14 a town, 16 a street.")]
Tiles = Annotated[
    str, typer.Option(help="A local map server: http://maps.local/{z}/{x}/{y}.png. None: no tiles.")
]
Town = Annotated[
    str,
    typer.Option("--map", help="Address of a GeoJSON map, as the browser sees it from Grafana."),
]

Zone = Annotated[
    str, typer.Option(help="The site's time zone, as in site.zone. Not given: Asia/Shanghai.")
]


@app.command()
def push(
    *,
    url: Annotated[str, typer.Option(help="Grafana's address, with its path if it has one.")],
    token_file: Annotated[
        Path, typer.Option(help="The file that holds a service account's token.", dir_okay=False)
    ],
    influx_url: Annotated[
        str, typer.Option(help="Where Grafana finds the time series; not given: left as it is.")
    ] = "",
    database: Annotated[str, typer.Option(help="Its database; with 2.x the bucket.")] = "pdt",
    influx_user: Annotated[str, typer.Option(help="A name that may only read.")] = "",
    influx_password_file: Annotated[
        Path | None, typer.Option(help="The file that holds its password.", dir_okay=False)
    ] = None,
    influx_token_file: Annotated[
        Path | None, typer.Option(help="2.x, 3.x: the file that holds a token.", dir_okay=False)
    ] = None,
    alert_url_file: Annotated[
        Path | None,
        typer.Option(help="The file that holds the webhook that alerts go to.", dir_okay=False),
    ] = None,
    centre: Centre = "",
    zoom: Zoom = None,
    tiles: Tiles = "",
    town: Town = "",
    zone: Zone = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask only; say what would be done.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Push folders, data source, dashboards, contact point and alert rules; safe to run twice.

    Example: pdt-gateway grafana push --url https://grafana.local --token-file token --dry-run
    """
    if influx_url:
        check_url(influx_url, "--influx-url")
    calls = grafana.connect(url, content_of(token_file))
    source = None
    if influx_url:
        source = grafana.Source(
            url=influx_url,
            database=database,
            user=influx_user,
            password=content_of(influx_password_file),
            token=content_of(influx_token_file),
        )
    wanted = grafana.Wanted(
        site=_site(centre, zoom, tiles, town, zone),
        source=source,
        alert_url=content_of(alert_url_file),
    )
    steps = []
    for step in grafana.push(calls, wanted, dry_run=dry_run):
        steps.append(step)
        if not json:
            print(f"{step.state:8} {step.what}{f': {step.detail}' if step.detail else ''}")
    if json:
        print_json(steps)
    elif dry_run:
        print("nothing was changed (--dry-run)")


@app.command()
def write(
    into: Annotated[Path, typer.Argument(help="A folder; Grafana's provider reads it.")],
    *,
    centre: Centre = "",
    zoom: Zoom = None,
    tiles: Tiles = "",
    town: Town = "",
    zone: Zone = "",
) -> None:
    """Write the dashboards with this site's map and time zone, for a Grafana that mounts files."""
    for path in grafana.write(_site(centre, zoom, tiles, town, zone), into):
        print(path)


def _site(centre: str, zoom: float | None, tiles: str, town: str, zone: str) -> grafana.Site:
    lat_deg = lon_deg = None
    if centre:
        try:
            lat_deg, lon_deg = (float(part) for part in centre.split(","))
        except ValueError:
            raise ConfigError(
                f"--centre {centre}: two numbers are wanted, like 22.941,113.882"
            ) from None
        if not (-90 <= lat_deg <= 90 and -180 <= lon_deg <= 180):  # noqa: PLR2004 - degrees
            raise ConfigError(f"--centre {centre}: no such place; latitude comes first")
    if zone and zone not in available_timezones():
        raise ConfigError(f"--zone {zone}: not a time zone; one looks like Asia/Shanghai")
    return grafana.Site(
        lat_deg=lat_deg, lon_deg=lon_deg, zoom=zoom, tiles=tiles, town=town, zone=zone
    )
