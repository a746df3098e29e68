"""The settings: one TOML file, every key with its default and its unit in the name.

Unknown keys are errors with a suggestion. Secrets come from files (``…_file``), never inline. A
wrong setting raises ``ConfigError`` naming file, key, what was found and what would be right.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from gateway.errors import ConfigError
from gateway.model.events import CommandVerb
from gateway.model.identity import SLUG
from gateway.model.requests import Verb

MAX_PORT = 65_535
LOOPBACK = ("127.0.0.0/8", "::1/128")  # this machine alone

TeamKind = Literal["stationed", "mobile", "area", "village", "watch", "police", "other"]
Slug = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
PositiveS = Annotated[float, msgspec.Meta(gt=0)]
PositiveM = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the settings file; a key that is not listed here is refused."""


class SiteSettings(Table, frozen=True, kw_only=True):
    """Which site this is. ``zone`` is used for showing times; everything is stored in UTC."""

    id: Slug
    name: str = ""
    zone: str = "Asia/Shanghai"
    data_dir: str = "var"  # relative to the settings file
    units_file: str = ""  # units, teams, radios, sites; relative to the settings file
    map_file: str = ""  # GeoJSON (or PMTiles) base map; relative to the settings file


class LinkSettings(Table, frozen=True, kw_only=True, tag_field="transport"):
    """One way in; ``options`` are the driver's, ``silent_after_s`` without a byte is silence."""

    id: Slug
    driver: str
    silent_after_s: PositiveS = 30.0
    frame_timeout_s: PositiveS = 8.0  # an unfinished frame older than this is given up
    options: dict[str, Any] = {}


class SerialSettings(LinkSettings, frozen=True, kw_only=True, tag="serial"):
    """A serial port by its stable path (``/dev/serial/by-id/…``), opened exclusively, 8N1."""

    port: str
    baud: Count | None = None  # the driver's usual speed when absent


class TcpClientSettings(LinkSettings, frozen=True, kw_only=True, tag="tcp_client"):
    """We connect to ``host``:``port``."""

    host: str
    port: Port
    connect_timeout_s: PositiveS = 10.0


class TcpServerSettings(LinkSettings, frozen=True, kw_only=True, tag="tcp_server"):
    """Peers connect to us. Only addresses of the networks in ``allow`` are heard."""

    listen: str  # "address:port"
    allow: tuple[str, ...] = LOOPBACK
    max_peers: Count = 2000
    max_peers_per_address: Count = 2000


class UdpSettings(LinkSettings, frozen=True, kw_only=True, tag="udp"):
    """Datagrams. With ``remote`` we speak first to one peer; without it peers speak to us."""

    listen: str = "127.0.0.1:0"
    remote: str = ""
    allow: tuple[str, ...] = LOOPBACK
    max_peers: Count = 2000
    peer_idle_s: PositiveS = 600.0  # a source not heard for so long is forgotten


class ReplaySettings(LinkSettings, frozen=True, kw_only=True, tag="replay"):
    """A recording as a link; ``speed`` 1 is the original timing, 0 as fast as possible."""

    file: str
    speed: Annotated[float, msgspec.Meta(ge=0)] = 1.0


AnyLinkSettings = (
    SerialSettings | TcpClientSettings | TcpServerSettings | UdpSettings | ReplaySettings
)


class OutboxSettings(Table, frozen=True, kw_only=True):
    """The durable queue. Sizes in bytes, times in seconds."""

    commit_every_s: PositiveS = 0.02  # telemetry waits at most this long for its group commit
    queue_rows: Count = 20_000  # waiting for a commit; beyond that telemetry is dropped and counted
    max_bytes: Count = 512 * 1024 * 1024  # beyond that telemetry is thinned to the latest per radio
    reserve_bytes: Count = 16 * 1024 * 1024  # held back for emergencies, given up on a full disk
    keep_s: PositiveS = 7 * 86_400.0  # delivered rows are kept so long for the technician


class MqttSettings(Table, frozen=True, kw_only=True):
    """The broker. ``fix_qos`` 1 makes every fix certain, 0 makes it cheap.

    ``requests`` are the verbs that other programs may ask for; see docs/mqtt.md.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 1883
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    client_id: str = ""  # "pdt-<site>" when empty
    user: str = ""
    password_file: str = ""
    ca_file: str = ""  # turns TLS on
    cert_file: str = ""
    key_file: str = ""
    base_topic: str = ""  # "pdt/v1/<site>" when empty
    fix_qos: Literal[0, 1] = 1
    inflight: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 200  # unacknowledged publishes
    keepalive_s: Count = 6
    requests: tuple[Verb, ...] = ()
    owntracks: bool = False
    home_assistant: bool = False


class InfluxSettings(Table, frozen=True, kw_only=True):
    """The time series. ``api`` "1" writes to ``/write``, "2" to ``/api/v2/write`` (2.x and 3.x)."""

    enabled: bool = False
    url: str = "http://127.0.0.1:8086"
    api: Literal["1", "2"] = "2"
    database: str = "pdt"  # bucket in 2.x
    retention_policy: str = ""  # 1.x
    org: str = ""  # 2.x
    token_file: str = ""  # 2.x
    user: str = ""  # 1.x
    password_file: str = ""  # 1.x
    alarms_to: str = ""  # a policy (1.x) or bucket (2.x) that keeps alarms longer than the rest
    keep_fixes_s: PositiveS = 28 * 86_400.0  # what `influx setup` asks for: every position
    keep_minutes_s: PositiveS = 180 * 86_400.0  # one position a minute
    keep_alarms_s: PositiveS = 5 * 366 * 86_400.0
    batch_rows: Annotated[int, msgspec.Meta(ge=1, le=20_000)] = 2000  # most lines of one request
    batch_every_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0  # positions wait for others so long
    timeout_s: PositiveS = 10.0


class BoardSettings(Table, frozen=True, kw_only=True):
    """When a unit's position counts as old, the unit as silent, in seconds."""

    fresh_s: PositiveS = 60.0
    silent_s: PositiveS = 300.0
    same_press_s: PositiveS = 300.0  # frames of one emergency closer than this are one press


class DeskSettings(Table, frozen=True, kw_only=True):
    """The desk page and the API."""

    enabled: bool = True
    listen: str = "127.0.0.1:8080"
    history_keep_s: PositiveS = 30 * 86_400.0
    session_s: PositiveS = 12 * 3_600.0
    secure_cookie: bool = False  # true behind TLS
    trusted_proxies: tuple[str, ...] = LOOPBACK  # whose X-Forwarded-For is believed
    metrics_allow: tuple[str, ...] = LOOPBACK


class BrokerSettings(Table, frozen=True, kw_only=True):
    """The embedded broker, for a site without one of its own; the MQTT sink then uses it."""

    embedded: bool = False
    listen: str = "127.0.0.1:0"


class AirtimeSettings(Table, frozen=True, kw_only=True):
    """One channel's air time: radios heard on its links are asked for positions in turn."""

    id: Slug
    links: tuple[Slug, ...]  # ids of the links whose radios share this channel
    budget_a_min: Annotated[float, msgspec.Meta(ge=1)] = 1000.0  # requests a minute
    near_m: PositiveM = 500.0  # units so near an open emergency are asked more often


class NmeaOutSettings(Table, frozen=True, kw_only=True):
    """One unit's position as NMEA 0183 over TCP, for chart programs; nothing asks who reads it."""

    unit: str  # unit id, or radio id where there is no unit
    listen: str  # "address:port"; 10110 is the registered port
    allow: tuple[str, ...] = LOOPBACK


class CommandSettings(Table, frozen=True, kw_only=True):
    """What may be asked of radios. Off until ``enabled``; then only what ``allow`` lists."""

    enabled: bool = False
    allow: tuple[CommandVerb, ...] = ("locate", "check")
    expire_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 600.0  # waits so long for its radio
    answer_s: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 30.0  # from sending to its outcome
    max_open: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000
    max_open_per_radio: Count = 8


class PrivacySettings(Table, frozen=True, kw_only=True):
    """What is kept of the positions of one kind of team. Emergencies are always kept in full."""

    kind: TeamKind
    off_duty: Literal["full", "coarse", "none"] = "full"  # coarse: to about a kilometre
    keep_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # 0: as long as everything else


class LogSettings(Table, frozen=True, kw_only=True):
    """How the log is written."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Table, frozen=True, kw_only=True):
    """The whole file."""

    site: SiteSettings
    link: tuple[AnyLinkSettings, ...] = ()
    outbox: OutboxSettings = OutboxSettings()
    board: BoardSettings = BoardSettings()
    mqtt: MqttSettings = MqttSettings()
    influx: InfluxSettings = InfluxSettings()
    desk: DeskSettings = DeskSettings()
    broker: BrokerSettings = BrokerSettings()
    airtime: tuple[AirtimeSettings, ...] = ()
    commands: CommandSettings = CommandSettings()
    nmea_out: tuple[NmeaOutSettings, ...] = ()
    privacy: tuple[PrivacySettings, ...] = ()
    log: LogSettings = LogSettings()


class Loaded(msgspec.Struct, frozen=True):
    """Settings together with where they came from; paths inside are relative to ``folder``."""

    settings: Settings
    file: Path

    @property
    def folder(self) -> Path:
        """The settings file's folder."""
        return self.file.parent

    def path(self, text: str) -> Path:
        """A path of the settings, made absolute."""
        return (self.folder / text).resolve()

    def secret(self, key: str, text: str) -> str:
        """The content of a secret file, without the line end; "" where no file is named."""
        if not text:
            return ""
        try:
            return self.path(text).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise ConfigError(f"{self.file}: {key}: {text!r} is not UTF-8 text") from None
        except OSError as error:
            raise ConfigError(
                f"{self.file}: {key}: cannot read {text!r} ({error.strerror}); "
                "name a file that the service may read"
            ) from None


def load_settings(file: Path) -> Loaded:
    """Read and check a settings file; raises ConfigError."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: cannot be read: it is not there; `pdt-gateway init` writes one"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None
    return parse_settings(text, file)


def parse_settings(text: str, file: Path) -> Loaded:
    """Check the text of a settings file, which need not be there yet; raises ConfigError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    settings = convert_table(document, Settings, file)
    _check(settings, file)
    return Loaded(settings, file.resolve())


def convert_table(document: object, kind: type[Any], file: Path) -> Any:
    """Build ``kind`` from plain tables; raises ConfigError with the key and a suggestion."""
    for path in _with_nul(document):
        key, found = _follow(document, path)
        raise ConfigError(f"{file}: {key}: {found!r} is wrong; take the NUL character out")
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {_explain(str(error), document, kind)}") from None


def _with_nul(node: object, path: str = "") -> Iterator[str]:
    """Where a text has a NUL, which no file, name or address can have; as msgspec writes paths."""
    if isinstance(node, str) and "\0" in node:
        yield path
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _with_nul(value, f"{path}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _with_nul(value, f"{path}[{index}]")


def _explain(message: str, document: object, kind: type[Any]) -> str:
    """Turn msgspec's message into "key: what was found; what would be right"."""
    text, _, path = message.partition(" - at `")
    key, found = _follow(document, path.rstrip("`").removeprefix("$"))
    inside = f"{key}." if key else ""
    if unknown := re.search(r"unknown field `([^`]*)`", text):
        name = unknown.group(1)
        near = difflib.get_close_matches(name, sorted(_known_keys(kind)), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "remove it"
        return f"{inside}{name}: there is no such key; {hint}"
    if missing := re.search(r"missing required field `([^`]*)`", text):
        return f"{inside}{missing.group(1)}: is missing; add it"
    if "A-Za-z0-9_-" in text:
        return f"{key}: {found!r} is wrong; use 1 to 64 letters, digits, '-' and '_'"
    if text.startswith("Invalid value"):
        choices = ", ".join(sorted(_tags(kind)))
        return f"{key}: {found!r} is wrong; one of {choices}"
    if text.startswith("Invalid enum value"):
        choices = ", ".join(map(str, _choices(kind, key.rpartition(".")[2])))
        return f"{key}: {found!r} is wrong; one of {choices}"
    return f"{key or 'file'}: {found!r} is wrong; {text[:1].lower()}{text[1:]}"


def _follow(document: object, path: str) -> tuple[str, object]:
    """Msgspec's ``.link[0].port`` with the entry's id instead, and what stands there."""
    words: list[str] = []
    here: Any = document
    for name, index in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", path):
        if name:
            here = here.get(name) if isinstance(here, dict) else None
            words.append(name)
        elif index.isdigit() and isinstance(here, list):
            here = here[int(index)] if int(index) < len(here) else None
            own_id = here.get("id") if isinstance(here, dict) else None
            words[-1:] = [f"{words[-1]} {own_id!r}" if own_id else f"{words[-1]}[{index}]"]
    return ".".join(words), here


def _tags(kind: object, seen: set[object] | None = None) -> set[str]:
    """The names of the alternatives inside ``kind``, such as serial and udp."""
    seen = set() if seen is None else seen
    if kind in seen:
        return set()
    seen.add(kind)
    tags: set[str] = set()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        tag = kind.__struct_config__.tag
        tags |= {str(tag)} if tag is not None else set()
        for field in msgspec.structs.fields(kind):
            tags |= _tags(field.type, seen)
    for inner in get_args(kind):
        tags |= _tags(inner, seen)
    return tags


def _choices(kind: object, name: str) -> list[object]:
    """What the keys called ``name`` inside ``kind`` may be, where that is a list of words."""
    found: list[object] = []
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            if field.encode_name == name and get_origin(field.type) is Literal:
                found += get_args(field.type)
            found += _choices(field.type, name)
    for inner in get_args(kind):
        found += _choices(inner, name)
    return list(dict.fromkeys(found))


def _known_keys(kind: object, seen: set[object] | None = None) -> set[str]:
    seen = set() if seen is None else seen
    keys: set[str] = set()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
        seen.add(kind)
        for field in msgspec.structs.fields(kind):
            keys.add(field.encode_name)
            keys |= _known_keys(field.type, seen)
    for inner in get_args(kind):
        keys |= _known_keys(inner, seen)
    return keys


def _check(settings: Settings, file: Path) -> None:
    """What types alone cannot say."""
    _check_links(settings, file)
    _check_outputs(settings, file)
    kinds = [rule.kind for rule in settings.privacy]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ConfigError(f"{file}: privacy: two rules for {kind!r}; keep one")
    for key, text in (
        ("desk.listen", settings.desk.listen),
        ("broker.listen", settings.broker.listen),
    ):
        parse_address(text, f"{file}: {key}")
    _check_networks(settings.desk.trusted_proxies, f"{file}: desk.trusted_proxies")
    _check_networks(settings.desk.metrics_allow, f"{file}: desk.metrics_allow")
    longest_s = settings.commands.expire_s + settings.commands.answer_s
    if settings.commands.enabled and longest_s > settings.outbox.keep_s:
        raise ConfigError(
            f"{file}: outbox.keep_s: {settings.outbox.keep_s:g} is shorter than a command may be "
            f"open (commands.expire_s + commands.answer_s, {longest_s:g}); make it longer"
        )
    try:
        ZoneInfo(settings.site.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # "Asia" is a folder
        raise ConfigError(
            f"{file}: site.zone: {settings.site.zone!r} is not a time zone; "
            "write it like 'Asia/Shanghai'"
        ) from None
    if settings.mqtt.base_topic and re.search(r"[#+\s\0]", settings.mqtt.base_topic):
        raise ConfigError(
            f"{file}: mqtt.base_topic: {settings.mqtt.base_topic!r} has '#', '+' or white space; "
            "write it like 'pdt/v1/town'"
        )


def _check_links(settings: Settings, file: Path) -> None:
    seen: set[str] = set()
    for link in settings.link:
        if link.id in seen:
            raise ConfigError(f"{file}: link: two links have the id {link.id!r}; rename one")
        seen.add(link.id)
        where = f"link {link.id!r}"
        if isinstance(link, TcpServerSettings):
            parse_address(link.listen, f"{file}: {where}: listen")
            _check_networks(link.allow, f"{file}: {where}: allow")
        elif isinstance(link, UdpSettings):
            parse_address(link.listen, f"{file}: {where}: listen")
            if link.remote:
                parse_address(link.remote, f"{file}: {where}: remote")
            _check_networks(link.allow, f"{file}: {where}: allow")


def _check_outputs(settings: Settings, file: Path) -> None:
    check_url(settings.influx.url, f"{file}: influx.url")
    known = {link.id for link in settings.link}
    for channel in settings.airtime:
        for link_id in channel.links:
            if link_id not in known:
                where = f"{file}: airtime {channel.id!r}: links"
                raise ConfigError(f"{where}: there is no link {link_id!r}; name one of [[link]]")
    for out in settings.nmea_out:
        where = f"{file}: nmea_out {out.unit!r}"
        parse_address(out.listen, f"{where}: listen")
        _check_networks(out.allow, f"{where}: allow")


def parse_address(text: str, where: str) -> tuple[str, int]:
    """Split ``address:port``, ``[::1]:port`` for IPv6; raises ConfigError naming ``where``."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > MAX_PORT:
        raise ConfigError(f"{where}: {text!r} is not 'address:port', for example '127.0.0.1:8080'")
    return host.strip("[]"), int(port)


def check_url(text: str, where: str) -> str:
    """``text`` if it is the URL of a server; raises ConfigError beginning with ``where``."""
    if "@" in text:  # the text is not told: what stands before it is a password
        raise ConfigError(
            f"{where}: it holds a name or a password; write 'http://host:port' alone, and name the "
            "file that holds the secret"
        )
    try:
        url = urlsplit(text)
        is_server = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is none, a bracket that is not closed
        is_server = False
    if not is_server or not text.isascii() or re.search(r"[?#\s]", text):
        raise ConfigError(
            f"{where}: {text!r} is not 'http://host:port' or 'https://host:port', "
            "for example 'http://127.0.0.1:8086'"
        )
    return text


def _check_networks(networks: tuple[str, ...], where: str) -> None:
    for text in networks:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ConfigError(
                f"{where}: {text!r} is not a network, for example '192.168.10.0/24'"
            ) from None


def check_slug(text: str, where: str) -> str:
    """``text`` if it is a slug; raises ConfigError beginning with ``where``."""
    if not SLUG.match(text):
        raise ConfigError(f"{where}: {text!r} is not made of letters, digits, '-' and '_'")
    return text
