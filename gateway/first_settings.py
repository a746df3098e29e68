"""``pdt-gateway init``: a commented settings file and a units file to begin with.

What is written is accepted by ``check``. Nothing that is there is ever overwritten.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.catalog import Catalog
from gateway.check import check_link
from gateway.errors import ConfigError
from gateway.first_links import link_table, setting, toml
from gateway.handing_over import create
from gateway.ports import PortFacts
from gateway.settings import check_slug, check_url, parse_address, parse_settings

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
    """Write both files into ``folder``; raises ConfigError and writes nothing where one is wrong.

    They belong to whom the folder belongs, and its group may read them: the service's user.
    """
    _check_wishes(wanted)
    text = "\n".join(_settings(wanted, found, catalog)) + "\n"
    files = {folder / SETTINGS: text, folder / UNITS: UNITS_TEXT}
    for file in files:
        if file.exists():
            raise ConfigError(f"{file}: is there already and stays as it is; name another folder")
    _check_text(text, folder / SETTINGS, catalog)
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            with os.fdopen(create(file, 0o640), "w", encoding="utf-8") as stream:
                written.append(file)
                stream.write(content)
    except OSError as error:
        for file in written:
            file.unlink(missing_ok=True)
        raise ConfigError(
            f"{folder}: no settings can be written there ({error.strerror}); "
            "name a folder that you may write"
        ) from None
    return written


def _check_wishes(wanted: Wanted) -> None:
    """What is told best by the name of its option."""
    check_slug(wanted.site_id, "--site-id")
    parse_address(wanted.desk, "--desk")
    if wanted.mqtt:
        parse_address(wanted.mqtt, "--mqtt")
    if wanted.influx:
        check_url(wanted.influx, "--influx")


def _check_text(text: str, file: Path, catalog: Catalog) -> None:
    """Everything that ``check`` refuses is refused before there is a file."""
    try:
        loaded = parse_settings(text, file)
        for link in loaded.settings.link:
            check_link(loaded, catalog, link)
    except ConfigError as error:
        told = str(error).removeprefix(f"{file}: ")
        raise ConfigError(f"nothing was written: {told}") from None


def _settings(wanted: Wanted, found: Sequence[PortFacts], catalog: Catalog) -> Iterator[str]:
    yield "# Settings of the gateway 网关设置. What is not here has its default; every key is in"
    yield "# config/gateway.toml of the project. A line that begins with # and a key is off; take"
    yield "# the # away to change it. A password never stands here; a key that ends in _file"
    yield "# names the file that holds it."
    yield "#"
    yield "#     pdt-gateway check --config gateway.toml             what is wrong with it"
    yield "#     pdt-gateway check --config gateway.toml --probe     and what each port answers"
    yield ""
    yield "# 站点: which site this is."
    yield "[site]"
    yield setting("id", wanted.site_id, "part of every topic and series")
    yield setting("name", wanted.site_name, "for people; the id when empty")
    yield setting("zone", wanted.zone, "times are shown in it; everything is stored in UTC")
    yield setting("data_dir", wanted.data_dir, "databases; absolute, or relative to this file")
    yield setting("units_file", UNITS, "who carries which radio; beside this file")
    yield ""
    yield "# 链路: a [[link]] for each way in."
    ids: set[str] = set()
    for name, place in wanted.links:
        own_id = next(free for free in _ids(name) if free not in ids)
        ids.add(own_id)
        yield ""
        yield from link_table(catalog.get(name), place, own_id)
    named = {place for _, place in wanted.links}
    for port in found:
        if not {port.path, port.device} & named:
            yield from _found(port)
    yield from _broker(wanted)
    yield from _series(wanted)
    yield ""
    yield "# 席位页面: the desk page."
    yield "[desk]"
    yield setting("listen", wanted.desk, "other machines come through a TLS proxy")


def _ids(driver: str) -> Iterator[str]:
    """Names for links of a driver."""
    return (f"{driver.replace('_', '-')}-{n}" for n in itertools.count(1))


def _found(port: PortFacts) -> Iterator[str]:
    speaks = port.speaks[0].driver if port.speaks else "nmea0183"
    yield ""
    yield f"# plugged in here: {port.path} {port.what}".rstrip()
    yield "# pdt-gateway ports says what it speaks; take the # away when the driver is right"
    yield "#[[link]]"
    yield f"#{setting('id', Path(port.device).name, 'unique; part of topics and series')}"
    yield f"#{setting('driver', speaks, 'pdt-gateway drivers lists them')}"
    yield f"#{setting('transport', 'serial', 'a serial port')}"
    yield f"#port = {toml(port.path)}"


def _broker(wanted: Wanted) -> Iterator[str]:
    yield ""
    yield "# 消息代理: the MQTT broker."
    host, port = parse_address(wanted.mqtt, "--mqtt") if wanted.mqtt else ("127.0.0.1", 1883)
    mark = "" if wanted.mqtt else "#"
    yield f"{mark}[mqtt]"
    yield f"{mark}{setting('enabled', value=True, meaning='false: nothing is published')}"
    yield f"{mark}{setting('host', host, 'name or address')}"
    yield f"{mark}{setting('port', port, '8883 is usual with TLS')}"
    yield f"#{setting('user', 'gateway', 'its account at the broker')}"
    yield f"#{setting('password_file', 'mqtt_password', 'the file that holds its password')}"
    yield f"#{setting('ca_file', 'mqtt_ca.crt', 'turns TLS on')}"


def _series(wanted: Wanted) -> Iterator[str]:
    yield ""
    yield "# 时间序列: InfluxDB. pdt-gateway influx setup makes its places."
    mark = "" if wanted.influx else "#"
    api, url = wanted.influx_api, wanted.influx or "http://127.0.0.1:8086"
    yield f"{mark}[influx]"
    yield f"{mark}{setting('enabled', value=True, meaning='false: no series is written')}"
    yield f"{mark}{setting('url', url, 'http:// or https://, host and port')}"
    yield f"{mark}{setting('api', api, '1 for a 1.x server, 2 for 2.x and 3.x')}"
    if api == "1":
        yield f"#{setting('user', 'gateway', 'its account, where the server asks for one')}"
        yield f"#{setting('password_file', 'influx_password', 'the file that holds its password')}"
    else:
        yield f"#{setting('org', 'police', 'the organisation; 2.x needs it')}"
        yield f"#{setting('token_file', 'influx_token', 'the file that holds its token; so 2.x')}"
    place = "alarms" if api == "1" else "pdt/alarms"
    yield f"#{setting('alarms_to', place, 'alarms are kept longer there; after influx setup')}"
