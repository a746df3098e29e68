"""``pdt-gateway init``: a commented settings file and a units file to begin with.

What is written is accepted by ``check``. Nothing that is there is ever overwritten.
"""

import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from drivers.api import Driver, Transport
from gateway.catalog import Catalog
from gateway.errors import ConfigError
from gateway.ports import PortFacts
from gateway.settings import check_slug, parse_address

SETTINGS, UNITS = "gateway.toml", "units.toml"

UNITS_TEXT = """\
# Who carries which radio 单元与电台: a [[team]] each, a [[unit]] each; a radio has one unit.
# A radio is written with its number space, as it comes in: pdt:80020201, jt808:013800138001,
# kenwood:100-1001, receiver:<link id> for a GNSS receiver without a number. docs/operations.md

#[[team]]
#id = "plaza"                 # letters, digits, - and _
#name = "商业广场驻点队"
#kind = "stationed"           # stationed, mobile, area, village, watch, police, other
#duty = ["daily 08:00-20:00"] # local time; without it the team is always on duty

#[[unit]]
#id = "plaza-1"
#name = "广场01"
#team = "plaza"
#radios = ["pdt:80020201"]

#[[site]]                     # a key site 重点部位 and its ring
#id = "mall"
#name = "榕溪商业广场"
#lat_deg = 22.941016
#lon_deg = 113.881200
#ring_m = 100
#team = "plaza"
"""


class Wanted(NamedTuple):
    """What a person said. ``links`` are pairs of driver and place."""

    site_id: str
    site_name: str = ""
    zone: str = "Asia/Shanghai"
    data_dir: str = "var"
    links: Sequence[tuple[str, str]] = ()
    mqtt: str = ""  # host:port
    influx: str = ""  # URL
    influx_api: str = "2"
    desk: str = "127.0.0.1:8080"


def write_first_settings(
    folder: Path, wanted: Wanted, found: Sequence[PortFacts], catalog: Catalog
) -> list[Path]:
    """Write both files into ``folder``; raises ConfigError where one of them is there already."""
    check_slug(wanted.site_id, "--site-id")
    parse_address(wanted.desk, "--desk")
    text = "\n".join(_settings(wanted, found, catalog)) + "\n"
    files = {folder / SETTINGS: text, folder / UNITS: UNITS_TEXT}
    for file in files:
        if file.exists():
            raise ConfigError(f"{file}: is there already and stays as it is; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(content)
    except OSError as error:
        raise ConfigError(
            f"{folder}: no settings can be written there ({error.strerror}); "
            "name a folder that you may write"
        ) from None
    return list(files)


def _settings(wanted: Wanted, found: Sequence[PortFacts], catalog: Catalog) -> Iterator[str]:
    yield "# Settings of the gateway 网关设置. What is not here has its default; every key is in"
    yield "# config/gateway.toml of the project. Passwords stand in files that a key names."
    yield "#     pdt-gateway check --config gateway.toml --probe     what each port answers"
    yield ""
    yield "[site]"
    yield f"id = {_text(wanted.site_id)}"
    yield f"name = {_text(wanted.site_name)}"
    yield f"zone = {_text(wanted.zone)}  # times are shown in it; everything is stored in UTC"
    yield f"data_dir = {_text(wanted.data_dir)}"
    yield f'units_file = "{UNITS}"'
    ids: set[str] = set()
    for name, place in wanted.links:
        yield from _link(catalog.get(name), place, ids)
    named = {place for _, place in wanted.links}
    for port in found:
        if not {port.path, port.device} & named:
            yield from _found(port)
    yield from _broker(wanted)
    yield from _series(wanted)
    yield ""
    yield "[desk]"
    yield f"listen = {_text(wanted.desk)}  # other machines come through a TLS proxy"


def _link(driver: Driver[Any], place: str, ids: set[str]) -> Iterator[str]:
    """A link of a driver at a serial path or an address; the rest as in the driver's example."""
    own_id = driver.name.replace("_", "-")
    own_id = next(name for n in range(1, 1000) if (name := f"{own_id}-{n}") not in ids)
    ids.add(own_id)
    table = _example(driver)
    table |= {"id": own_id, "driver": driver.name}
    if "/" in place:
        table = {key: table[key] for key in ("id", "driver", "options") if key in table}
        table |= {"transport": str(Transport.SERIAL), "port": place}
    else:
        host, port = parse_address(place, f"--link {driver.name}")
        if table.get("transport") == Transport.TCP_CLIENT:
            table |= {"host": host, "port": port}
        elif table.get("transport") == Transport.UDP and "remote" in table:
            table["remote"] = place
        else:
            for away in ("port", "baud", "host"):
                table.pop(away, None)
            is_udp = table.get("transport") == Transport.UDP
            table["transport"] = str(Transport.UDP if is_udp else Transport.TCP_SERVER)
            table["listen"] = place
    yield ""
    yield f"# {driver.title} {driver.title_zh}: docs/drivers/{driver.name}.md"
    yield "[[link]]"
    for key in ("id", "driver", "transport", *sorted(table.keys() - {"id", "driver", "transport"})):
        yield f"{key} = {_value(table[key])}"


def _example(driver: Driver[Any]) -> dict[str, Any]:
    """The first link of the driver's example."""
    links = tomllib.loads(driver.example).get("link", [{}])
    return dict(links[0])


def _found(port: PortFacts) -> Iterator[str]:
    speaks = port.speaks[0].driver if port.speaks else "nmea0183"
    yield ""
    yield f"# plugged in here: {port.path} {port.what}".rstrip()
    yield "# pdt-gateway ports says what it speaks; take the # away when the driver is right"
    yield "#[[link]]"
    yield f"#id = {_text(Path(port.device).name)}"
    yield f"#driver = {_text(speaks)}"
    yield '#transport = "serial"'
    yield f"#port = {_text(port.path)}"


def _broker(wanted: Wanted) -> Iterator[str]:
    yield ""
    if not wanted.mqtt:
        yield "#[mqtt]"
        yield "#enabled = true"
        yield '#host = "127.0.0.1"'
        return
    host, port = parse_address(wanted.mqtt, "--mqtt")
    yield "[mqtt]"
    yield "enabled = true"
    yield f"host = {_text(host)}"
    yield f"port = {port}"
    yield '#user = "gateway"                     # and its password, in a file of its own'
    yield '#password_file = "mqtt_password"'
    yield '#ca_file = "mqtt_ca.crt"              # turns TLS on'


def _series(wanted: Wanted) -> Iterator[str]:
    yield ""
    if not wanted.influx:
        yield "#[influx]"
        yield "#enabled = true"
        yield '#url = "http://127.0.0.1:8086"'
        return
    yield "[influx]                              # pdt-gateway influx setup makes its places"
    yield "enabled = true"
    yield f"url = {_text(wanted.influx)}"
    yield f"api = {_text(wanted.influx_api)}"
    if wanted.influx_api == "1":
        yield '#user = "gateway"'
        yield '#password_file = "influx_password"'
        yield '#alarms_to = "alarms"                 # after influx setup has made it'
    else:
        yield '#org = "police"'
        yield '#token_file = "influx_token"'
        yield '#alarms_to = "pdt/alarms"             # after influx setup has made it'


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_value(each)}" for key, each in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """A TOML string."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
