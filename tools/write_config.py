"""Write the example settings, the demo town's files and the compose file's task into ``config/``.

``config/gateway.toml`` shows every key of ``gateway/settings.py`` with its default: what a key
means is the comment on its line there, or stands below in TEXTS; the links are the drivers' own
examples. ``units.toml`` and ``town.geojson`` are the demo's.

    python -m tools.write_config            write them
    python -m tools.write_config --check    exit code 1 where a file is not what would be written
"""

import argparse
import ast
import inspect
import io
import json
import re
import sys
import textwrap
import tokenize
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway import settings
from gateway.catalog import Catalog
from gateway.demo.teams import units_file
from gateway.demo.town import Town
from gateway.sinks.influx_setup_v2 import flux_task

CONFIG = Path(__file__).resolve().parent.parent / "config"
WIDTH = 100
COMMENT_COLUMN = 38

HEAD = """\
# Settings of the gateway 网关设置. Made by tools/write_config.py.
#
# Every key is here. A line that begins with # and a key shows the default: take the # away to
# change it. Units are in the names: _s seconds, _m metres, _bytes bytes. Paths are relative to this
# file. A password never stands here: a key that ends in _file names the file that holds it.
#
#     pdt-gateway check --config gateway.toml     says what is wrong; connects to nothing
#     pdt-gateway run --config gateway.toml       the service
"""

# What the example says where it differs from the default.
EXAMPLE: Mapping[str, object] = {
    "site.id": "rongxi",
    "site.name": "榕溪镇",
    "site.data_dir": "../var",
    "site.units_file": "units.toml",
    "site.map_file": "town.geojson",
}

USED_LINKS = frozenset({"jt808"})  # listens on loopback: `pdt-gateway emulate jt808` finds it

TABLES: Mapping[str, str] = {
    "site": "站点",
    "link": "链路",
    "outbox": "发件箱",
    "board": "单元状态",
    "mqtt": "消息代理",
    "influx": "时间序列",
    "desk": "席位页面",
    "broker": "内嵌消息代理",
    "airtime": "空口时间",
    "commands": "下发指令",
    "nmea_out": "NMEA 输出",
    "privacy": "个人信息",
    "log": "日志",
}

# What a key means, for those without a comment on their line in gateway/settings.py.
TEXTS: Mapping[str, str] = {
    "site.id": "letters, digits, - and _; part of every topic and series",
    "site.name": "for people; the id when empty",
    "site.zone": "times are shown in it; everything is stored in UTC",
    "link.id": "unique; part of topics and series",
    "link.driver": "pdt-gateway drivers lists them",
    "link.silent_after_s": "without a byte for so long, the link is shown as silent",
    "link.options": "the driver's own, see docs/drivers/",
    "serial.port": "a stable path, or socket://host:port",
    "tcp_client.host": "name or address",
    "tcp_client.port": "",
    "tcp_client.connect_timeout_s": "",
    "tcp_server.allow": "networks that are heard; others are hung up on and counted",
    "tcp_server.max_peers": "connections at a time",
    "tcp_server.max_peers_per_address": "lower it where no gateway of the network hides many",
    "udp.listen": "port 0: a free one",
    "udp.remote": "the one peer that we speak to first; empty: peers speak to us",
    "udp.allow": "networks that are heard; others are dropped and counted",
    "udp.max_peers": "sources at a time; beyond, the address with most loses one",
    "replay.file": "docs/recording.md",
    "replay.speed": "1 as recorded, 60 faster, 0 at once",
    "mqtt.enabled": "",
    "mqtt.host": "",
    "mqtt.port": "8883 is usual with TLS",
    "mqtt.protocol": '"auto": 5, or 3.1.1 where the broker refuses that; or one of the two',
    "mqtt.user": "",
    "mqtt.password_file": "",
    "mqtt.cert_file": "our certificate, where the broker asks for one",
    "mqtt.key_file": "and its key",
    "mqtt.fix_qos": "1 makes every position certain, 0 makes it cheap",
    "mqtt.keepalive_s": "a broker that is gone is noticed after 1.5 times that",
    "mqtt.requests": 'verbs that others may ask for, like ["locate", "emergency/take"]',
    "mqtt.owntracks": "also publish owntracks/<team>/<unit>, for OwnTracks programs",
    "mqtt.home_assistant": "also announce every unit to Home Assistant",
    "influx.enabled": "",
    "influx.url": "",
    "influx.api": '"1" writes to /write, "2" to /api/v2/write (2.x and 3.x)',
    "influx.keep_alarms_s": "alarms, where alarms_to says",
    "influx.timeout_s": "",
    "board.fresh_s": "a fix older than this is an old fix",
    "board.silent_s": "a unit not heard for so long is silent",
    "desk.enabled": "",
    "desk.listen": "see docs/operations.md before you open it",
    "desk.history_keep_s": "tracks, events and closed emergencies go after it",
    "desk.session_s": "a person signs in again after it",
    "desk.metrics_allow": "networks that read /metrics without a login",
    "broker.embedded": "true: the gateway runs it, and [mqtt] uses it",
    "broker.listen": "port 0: a free one",
    "airtime.id": "",
    "commands.enabled": "nothing is ever sent to a radio while this is false",
    "commands.allow": "of locate, track, text, check, emergency_stop; see docs/commands.md",
    "commands.max_open": "waiting or under way, of all radios",
    "commands.max_open_per_radio": "the same, of one radio",
    "nmea_out.allow": "networks that may read; others are hung up on and counted",
    "privacy.kind": "a kind of team, as in the units file; one rule each",
    "log.level": "debug, info, warning or error",
    "log.format": '"text" for people, "json" for programs',
}


class MissingTextError(Exception):
    """A key that nobody has explained, or one that is explained twice."""


def main() -> int:
    """Write or check the three files; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    is_check = parser.parse_args().check
    stale = []
    for file, text in contents().items():
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(file.name)
        if not is_check:
            file.write_text(text, encoding="utf-8")
    if stale:
        print(f"{'not up to date' if is_check else 'written'}: {', '.join(stale)}")
    return 1 if is_check and stale else 0


def contents() -> dict[Path, str]:
    """The files and what belongs into them."""
    town = json.dumps(Town().geojson(), ensure_ascii=False)
    return {
        CONFIG / "gateway.toml": settings_text(),
        CONFIG / "units.toml": units_file(),
        CONFIG / "compose" / "minutes.flux": flux_task("pdt"),
        CONFIG / "town.geojson": town.replace('{"type": "Feature",', '\n{"type": "Feature",')
        + "\n",
    }


def settings_text() -> str:
    """The example settings file."""
    lines = [HEAD]
    for field in msgspec.structs.fields(settings.Settings):
        if field.name == "link":
            lines += _links()
        else:
            lines += _table(field.name, field.type)
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(name: str, given: Any) -> Iterator[str]:
    is_list = typing.get_origin(given) is tuple  # [[name]]: as many as one likes
    kind = typing.get_args(given)[0] if is_list else given
    yield from _comment(f"{TABLES[name]}. {_doc(kind)}")
    is_used = any(key.startswith(f"{name}.") for key in EXAMPLE)
    heading = f"[[{name}]]" if is_list else f"[{name}]"
    yield heading if is_used else f"#{heading}"
    yield from _keys(kind, name)
    yield ""


def _links() -> Iterator[str]:
    yield from _comment(f"{TABLES['link']}. {_doc(settings.LinkSettings)}")
    yield from _comment("A [[link]] table for each: the drivers' examples, then all keys.")
    yield ""
    ids: set[str] = set()
    for driver in Catalog.scan():
        mark = "" if driver.name in USED_LINKS else "#"
        example = _with_own_ids(driver.example.strip(), driver.name, ids)
        yield from _comment(f"{driver.title}\n{driver.title_zh}\ndocs/drivers/{driver.name}.md")
        yield from (f"{mark}{line}" if line else "" for line in example.splitlines())
        yield ""
    for kind in typing.get_args(settings.AnyLinkSettings):
        tag = str(kind.__struct_config__.tag)
        yield from _comment(f'All keys with transport = "{tag}". {_doc(kind)}')
        yield "#[[link]]"
        yield _line("transport", tag, "", is_used=False)
        yield from _keys(kind, tag, shared="link")
        yield ""


def _with_own_ids(example: str, driver: str, ids: set[str]) -> str:
    """The example; a link id that another driver's example has too gets the driver's name."""

    def own(found: re.Match[str]) -> str:
        name = found[1] if found[1] not in ids else f"{found[1]}-{driver}"
        ids.add(name)
        return f'id = "{name}"'

    return re.sub(r'^id = "([^"]+)"', own, example, flags=re.MULTILINE)


def _keys(kind: Any, table: str, shared: str = "") -> Iterator[str]:
    """One line a key, in the order of the struct; ``shared`` names the base's part of TEXTS."""
    own = _own_comments(kind)
    for field in msgspec.structs.fields(kind):
        key = f"{table}.{field.name}"
        text = _explained(own.get(field.name), TEXTS.get(key, TEXTS.get(f"{shared}.{field.name}")))
        if text is None:
            raise MissingTextError(f"{key}: explain it on its line in settings.py, or in TEXTS")
        is_used = key in EXAMPLE
        value = EXAMPLE[key] if is_used else _shown(field, table)
        yield _line(field.name, value, text, is_used=is_used)


def _explained(own: str | None, ours: str | None) -> str | None:
    if own is not None and ours is not None:
        raise MissingTextError(f"explained in settings.py and in TEXTS: {own!r}, {ours!r}")
    return own if own is not None else ours


def _line(name: str, value: object, text: str, *, is_used: bool) -> str:
    setting = f"{'' if is_used else '#'}{name} = {_toml(value)}"
    if not text:
        return setting
    beside = f"{setting:{COMMENT_COLUMN - 2}}  # {text}"
    return beside if len(beside) <= WIDTH else f"# {text}\n{setting}"


# What stands in for a default where there is none, and where it would show nothing.
STAND_INS: Mapping[str, object] = {
    "driver": "nmea0183",
    "host": "192.168.10.20",
    "listen": "127.0.0.1:10110",
    "file": "recordings/gnss-1.rec",
    "kind": "watch",
    "baud": 9600,
    "unit": "patrol-1",
    "links": ("station-1",),
}


def _shown(field: msgspec.structs.FieldInfo, table: str) -> object:
    if field.default is not msgspec.NODEFAULT and field.default is not None:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    if field.name == "id":
        return f"my_{table}"
    if field.name == "port":
        return "/dev/serial/by-id/usb-…" if field.type is str else 10110
    return STAND_INS[field.name]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | int):
        return _number(value)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """As a person writes it: 512 MiB and 30 days with separators, 0.02 plain."""
    if isinstance(value, int):
        return f"{value:_}" if value > settings.MAX_PORT else str(value)
    return f"{value:_}" if value >= settings.MAX_PORT else repr(value)


def _own_comments(kind: Any) -> dict[str, str]:
    """The comments that stand on the lines of the fields of ``kind`` and its bases."""
    found: dict[str, str] = {}
    for base in reversed(inspect.getmro(kind)):
        if getattr(base, "__module__", "") == settings.__name__:
            found |= _line_comments(base)
    return found


def _line_comments(kind: type) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(kind))
    said = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class is a class
    return {
        node.target.id: said[node.end_lineno]
        for node in body.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.end_lineno in said
    }


def _doc(kind: type | types.UnionType) -> str:
    """The docstring in one paragraph, without the marks of markup."""
    return re.sub(r"\s+", " ", inspect.getdoc(kind) or "").replace("``", "")


def _comment(text: str) -> Iterator[str]:
    """Text as comment lines; a line that begins with a space is kept as it is."""
    for line in text.strip("\n").splitlines():
        wrapped = [line] if line[:1] in {"", " "} else textwrap.wrap(line, WIDTH - 2)
        yield from (f"# {piece}".rstrip() for piece in wrapped)


if __name__ == "__main__":
    sys.exit(main())
