"""``pdt-gateway init``: settings to begin with."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway import check as checking
from gateway.catalog import Catalog
from gateway.first_settings import SETTINGS, Wanted, write_first_settings
from gateway.ports import plugged_in


def init(
    folder: Annotated[Path, typer.Argument(help="Where gateway.toml and units.toml are written.")],
    *,
    site_id: Annotated[
        str, typer.Option(help="Part of topics and series; asked for if empty.")
    ] = "",
    site_name: Annotated[str, typer.Option(help="For people, such as 榕溪镇.")] = "",
    zone: Annotated[str, typer.Option(help="Times are shown in it.")] = "Asia/Shanghai",
    data_dir: Annotated[str, typer.Option(help="Relative to the settings, or absolute.")] = "var",
    link: Annotated[
        list[str] | None,
        typer.Option(
            help="driver=place, may be repeated: nmea0183=/dev/serial/by-id/usb-…, "
            "jt808=127.0.0.1:10808."
        ),
    ] = None,
    mqtt: Annotated[str, typer.Option(help="The broker, host:port.")] = "",
    influx: Annotated[str, typer.Option(help="The time series, http://host:8086.")] = "",
    influx_api: Annotated[Literal["1", "2"], typer.Option(help="1.x, or 2.x and 3.x.")] = "2",
    desk: Annotated[str, typer.Option(help="Where the page listens.")] = "127.0.0.1:8080",
) -> None:
    """Write commented settings that `check` accepts, with the serial ports that are plugged in.

    Asks for what is not given when it runs in a terminal. Overwrites nothing.

    Example: pdt-gateway init /etc/pdt-gateway --site-id rongxi --link jt808=127.0.0.1:10808
    """
    catalog = Catalog.scan()
    found = plugged_in()
    links = [_pair(text) for text in link or ()]
    if not site_id:
        if not sys.stdin.isatty():
            raise typer.BadParameter("is needed where nobody can be asked", param_hint="--site-id")
        site_id = typer.prompt("site id 站点编号 (letters, digits, - and _)")
        site_name = site_name or typer.prompt("site name 站点名称", default="")
        names = ", ".join(driver.name for driver in catalog)
        for port in found:
            print(f"{port.path} {port.what}")
            driver = typer.prompt(f"  its driver ({names}; empty: decide later)", default="")
            links += [(driver, port.path)] if driver else []
        mqtt = mqtt or typer.prompt("broker host:port (empty: none)", default="")
        influx = influx or typer.prompt("InfluxDB URL (empty: none)", default="")
    wanted = Wanted(
        site_id=site_id, site_name=site_name, zone=zone, data_dir=data_dir, links=links, mqtt=mqtt,
        influx=influx, influx_api=influx_api, desk=desk,
    )  # fmt: skip
    for file in write_first_settings(folder, wanted, found, catalog):
        print(f"written: {file}")
    _, _, findings = checking.check(folder / SETTINGS, catalog)
    for finding in findings:
        print(f"  note: {finding.where}: {finding.text}")
    print(f"next: pdt-gateway check --config {folder / SETTINGS} --probe")


def _pair(text: str) -> tuple[str, str]:
    driver, equals, place = text.partition("=")
    if not equals or not place:
        raise typer.BadParameter(f"{text!r} is not driver=place", param_hint="--link")
    return driver, place
