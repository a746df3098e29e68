"""A ``[[link]]`` table for ``init``: a driver at a place, each key with what it means.

From the driver's example come the times and speeds that suit the protocol, and what its options
mean. Addresses, and who is heard, come from the place alone: those of an example are nobody's.
"""

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

import msgspec

from drivers.api import Driver, Transport
from gateway.addresses import is_loopback
from gateway.settings import LOOPBACK, AnyLinkSettings, parse_address

COMMENT_COLUMN = 36
WIDTH = 100
KINDS = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyLinkSettings)}
WAYS = (Transport.TCP_CLIENT, Transport.TCP_SERVER, Transport.UDP)  # where the example has none
TRANSPORTS = {
    Transport.SERIAL: "a serial port, or a serial port server",
    Transport.TCP_CLIENT: "we connect to it",
    Transport.TCP_SERVER: "they connect to us",
    Transport.UDP: "datagrams",
}
OF_THE_PLACE = {"id", "driver", "transport", "port", "host", "listen", "remote", "allow", "options"}
KEY_LINE = re.compile(r"(?P<key>[A-Za-z0-9_-]+) = (?P<value>.*?)(?:\s+# (?P<meaning>.*))?")


class Said(NamedTuple):
    """A value, and what it means."""

    value: object
    meaning: str


def link_table(driver: Driver[Any], place: str, own_id: str) -> Iterator[str]:
    """The lines of the table; ``place`` is a path, or ``address:port``. Raises ConfigError."""
    example = tomllib.loads(driver.example)["link"][0]
    transport = _transport(driver, example, place)
    table = {
        "id": Said(own_id, "unique; part of topics and series"),
        "driver": Said(driver.name, "pdt-gateway drivers lists them"),
        "transport": Said(str(transport), TRANSPORTS[transport]),
        **_place(driver, transport, place, is_one="remote" in example),
    }
    meanings = dict(_meanings(driver.example))
    known = {field.name for field in msgspec.structs.fields(KINDS[transport])} - OF_THE_PLACE
    for key in filter(known.__contains__, example):
        table[key] = Said(example[key], meanings[key])
    yield from (f"# {driver.title}", f"# {driver.title_zh}", f"# docs/drivers/{driver.name}.md")
    yield "[[link]]"
    for key, said in table.items():
        yield setting(key, said.value, said.meaning)
    yield from _options(driver)


def setting(key: str, value: object, meaning: str) -> str:
    """A line of a settings file, with its comment beside it, or above where it is long."""
    line = f"{key} = {toml(value)}"
    beside = f"{line:{COMMENT_COLUMN - 2}}  # {meaning}"
    return beside if len(beside) <= WIDTH else f"# {meaning}\n{line}"


def toml(value: object) -> str:
    """A TOML value: text, number, truth value or a list of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    return repr(value)


def _transport(driver: Driver[Any], example: Mapping[str, Any], place: str) -> Transport:
    """The example's, where it goes with the place; else the first that the driver takes."""
    if "/" in place:
        return Transport.SERIAL
    usual = Transport(example["transport"])
    return usual if usual in WAYS else next(way for way in WAYS if way in driver.transports)


def _place(
    driver: Driver[Any], transport: Transport, place: str, *, is_one: bool
) -> dict[str, Said]:
    """The keys that say where; ``is_one``: datagrams go to one peer, and we speak first."""
    if transport is Transport.SERIAL:
        return {"port": Said(place, "a stable path: /dev/serial/by-id/… or /dev/pdt/…")}
    host, port = parse_address(place, f"--link {driver.name}")
    if transport is Transport.TCP_CLIENT:
        return {"host": Said(host, "name or address"), "port": Said(port, "its port")}
    if transport is Transport.UDP and is_one:
        return {
            "listen": Said(*_way_to(host, port)),
            "remote": Said(place, "the one that we speak to; nobody else is heard"),
        }
    return {
        "listen": Said(place, "an address of this machine, and the port; 0.0.0.0 is all of them"),
        "allow": Said(*_heard_at(host, driver.networks)),
    }


def _way_to(host: str, port: int) -> tuple[str, str]:
    """Where to listen for the answers of one peer."""
    address = _address(host)
    is_ipv6 = address is not None and address.version == 6  # noqa: PLR2004 - the version's number
    if is_loopback(host):
        return ("[::1]:0" if is_ipv6 else "127.0.0.1:0"), "port 0: a free one"
    everywhere = "[::]" if is_ipv6 else "0.0.0.0"  # noqa: S104 - one peer alone is heard
    return f"{everywhere}:{port}", "better: this machine's own address in the radio's network"


def _heard_at(host: str, networks: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Whom a listener at ``host`` hears, and what is to be thought of it."""
    if is_loopback(host):
        return LOOPBACK, "this machine alone is heard"
    if networks:
        return networks, "the radios' network, as it is programmed into them"
    address = _address(host)
    if address is None or address.is_unspecified or not address.is_private:
        return LOOPBACK, "NOBODY ELSE IS HEARD: write the networks that the radios come from"
    length = {4: 24, 6: 64}[address.version]
    around = ipaddress.ip_network(f"{address}/{length}", strict=False)
    return (str(around),), "a guess from listen: write the networks that the radios come from"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _meanings(example: str) -> Iterator[tuple[str, str]]:
    """The keys of an example with the comments on their lines."""
    for line in example.splitlines():
        if found := KEY_LINE.fullmatch(line):
            yield found["key"], found["meaning"] or ""


def _options(driver: Driver[Any]) -> Iterator[str]:
    """The driver's options as comments, with their defaults; tables of names as in the example.

    The head of the table is in force, so that taking one # away is enough.
    """
    _, head, rest = driver.example.partition("[link.options")
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(driver.options)
        if field.default is not msgspec.NODEFAULT
    }
    yield ""
    for line in f"{head}{rest}".splitlines():
        found = KEY_LINE.fullmatch(line)
        if found and found["key"] in defaults:
            said = setting(found["key"], defaults[found["key"]], found["meaning"] or "")
            yield from (part if part.startswith("# ") else f"#{part}" for part in said.split("\n"))
        else:
            yield line if line.startswith("[") or not line else f"#{line}"
