"""``pdt-gateway init``: settings to begin with."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway import check as checking
from gateway.catalog import Catalog
from gateway.cli.common import note_for_root
from gateway.errors import ConfigError
from gateway.first_settings import SETTINGS, Wanted, write_first_settings
from gateway.ports import plugged_in
from gateway.settings import check_slug, check_url, parse_address


def init(
    folder: Annotated[Path, typer.Argument(help="Where gateway.toml and units.toml are written.")],
    *,
    site_id: Annotated[
        str,
        typer.Option(
            metavar="name",
            help="Part of topics and series: letters, digits, - and _; asked for if empty.",
        ),
    ] = "",
    site_name: Annotated[
        str, typer.Option(metavar="text", help="For people, such as 榕溪镇.")
    ] = "",
    zone: Annotated[
        str, typer.Option(metavar="zone", help="Times are shown in it.")
    ] = "Asia/Shanghai",
    data_dir: Annotated[
        str,
        typer.Option(metavar="path", help="For the databases; relative to the settings, or not."),
    ] = "var",
    link: Annotated[
        list[str] | None,
        typer.Option(
            metavar="driver=place",
            help="A way in; may be repeated. The place is a serial port "
            "(nmea0183=/dev/serial/by-id/usb-…), or address:port: where terminals and repeaters "
            "come to us (jt808=192.168.10.2:10808), or where the radio, gpsd or port server is "
            "(hytera_hrnp=192.168.10.1:3005). `pdt-gateway drivers` lists the drivers.",
        ),
    ] = None,
    mqtt: Annotated[str, typer.Option(metavar="host:port", help="The broker.")] = "",
    influx: Annotated[
        str, typer.Option(metavar="url", help="The time series, like http://127.0.0.1:8086.")
    ] = "",
    influx_api: Annotated[
        Literal["1", "2"], typer.Option(help="Its server: 1 for 1.x, 2 for 2.x and 3.x.")
    ] = "2",
    desk: Annotated[
        str, typer.Option(metavar="address:port", help="Where the page listens.")
    ] = "127.0.0.1:8080",
) -> None:
    """Write commented settings that `check` accepts, with the serial ports that are plugged in.

    Asks for what is not given when it runs in a terminal. Overwrites nothing, and writes nothing
    where a wish cannot be. The files belong to whom the folder belongs.

    Example: pdt-gateway init /etc/pdt-gateway --site-id rongxi --link jt808=127.0.0.1:10808
    """
    catalog = Catalog.scan()
    found = plugged_in()
    links = [_pair(text) for text in link or ()]
    if not site_id:
        if not sys.stdin.isatty():
            raise typer.BadParameter("is needed where nobody can be asked", param_hint="--site-id")
        site_id = _ask("site id 站点编号 (letters, digits, - and _)", check_slug)
        site_name = site_name or _ask("site name 站点名称 (empty: the id)")
        names = ", ".join(driver.name for driver in catalog)
        print(f"drivers 驱动: {names}")
        for port in found:
            print(f"{port.path} {port.what}")
            driver = _ask("  its driver (empty: decide later)", lambda name, _: catalog.get(name))
            links += [(driver, port.path)] if driver else []
        while text := _ask(
            "a link by network, driver=address:port (empty: no more)",
            lambda text, _: catalog.get(_pair(text)[0]),
        ):
            links.append(_pair(text))
        mqtt = mqtt or _ask("MQTT broker 消息代理, host:port (empty: none)", parse_address)
        influx = influx or _ask("InfluxDB 时间序列, http://host:port (empty: none)", check_url)
    wanted = Wanted(
        site_id=site_id, site_name=site_name, zone=zone, data_dir=data_dir, links=links, mqtt=mqtt,
        influx=influx, influx_api=influx_api, desk=desk,
    )  # fmt: skip
    for file in write_first_settings(folder, wanted, found, catalog):
        print(f"written: {file}")
    _, _, findings = checking.check(folder / SETTINGS, catalog)
    for finding in findings:
        print(f"  note: {finding.where}: {finding.text}")
    note_for_root(folder / SETTINGS)
    print(f"next: pdt-gateway check --config {folder / SETTINGS} --probe")


def _ask(question: str, check: Callable[[str, str], object] | None = None) -> str:
    """Ask until the answer is right; nothing is an answer too, but to the first question."""
    is_needed = check is check_slug

    def answer(text: str) -> str:
        if check is not None and (text or is_needed):
            try:
                check(text, "this")
            except ConfigError as error:
                raise typer.BadParameter(str(error)) from None
        return text

    return str(typer.prompt(question, default="", show_default=False, value_proc=answer))


def _pair(text: str) -> tuple[str, str]:
    driver, equals, place = text.partition("=")
    if not equals or not place:
        raise typer.BadParameter(f"{text!r} is not driver=place", param_hint="--link")
    return driver, place
