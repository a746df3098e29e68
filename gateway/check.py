"""Says what is wrong with a configuration, without connecting, or what each port answers."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import msgspec

from gateway.addresses import AllowList, is_loopback
from gateway.catalog import Catalog
from gateway.certificates import certificates_of, end_text
from gateway.clock import SystemClock
from gateway.errors import ConfigError
from gateway.links.factory import make_link
from gateway.roster.units import Roster
from gateway.settings import (
    LOOPBACK,
    AnyLinkSettings,
    InfluxSettings,
    Loaded,
    Settings,
    TcpServerSettings,
    UdpSettings,
    load_settings,
    parse_address,
)


class Finding(msgspec.Struct, frozen=True):
    """One line of the report: ``where`` in the settings, what is so, and whether that is wrong."""

    where: str
    text: str
    is_wrong: bool = False


def check(file: Path, catalog: Catalog) -> tuple[Loaded, Roster, list[Finding]]:
    """Everything that can be checked without opening anything; the first fault is a ConfigError.

    The findings are hints: what works but is probably not meant.
    """
    loaded = load_settings(file)
    roster = load_roster(loaded)
    findings: list[Finding] = []
    for link in loaded.settings.link:
        check_link(loaded, catalog, link)
    check_secrets(loaded)
    findings += _unheard(loaded.settings)
    findings += _series(loaded.settings.influx)
    if not loaded.settings.link:
        findings.append(Finding("link", "there is no link: nothing will come in"))
    if not roster.units:
        findings.append(
            Finding("site.units_file", "no units: every radio will be shown as unregistered")
        )
    commands = loaded.settings.commands
    if loaded.settings.airtime and not (commands.enabled and "locate" in commands.allow):
        text = 'nobody will be asked: set commands.enabled, and "locate" in commands.allow'
        findings.append(Finding("airtime", text))
    for rule in loaded.settings.privacy:
        findings += [
            Finding("privacy", f"team {team.id!r} has no duty hours: always on duty")
            for team in roster.teams.values()
            if team.kind == rule.kind and rule.off_duty != "full" and not team.duty
        ]
    now = SystemClock().now()
    for key, end in certificates_of(loaded).items():
        if text := end_text(end, now):
            findings.append(Finding(key, text, is_wrong=end <= now))
    if not loaded.settings.desk.enabled:
        findings.append(Finding("desk.enabled", "the desk page is off: nobody can take an alarm"))
    return loaded, roster, findings


def _unheard(settings: Settings) -> Iterator[Finding]:
    """Links and outputs whose addresses do not go together."""
    for link in settings.link:
        where = f"link {link.id!r}"
        if isinstance(link, UdpSettings) and link.remote:
            yield from _one_peer(where, link)
        elif isinstance(link, TcpServerSettings | UdpSettings):
            yield from _nobody_outside(where, link.listen, link.allow)
    for out in settings.nmea_out:
        yield from _nobody_outside(f"nmea_out {out.unit!r}", out.listen, out.allow)


def _nobody_outside(where: str, listen: str, allow: tuple[str, ...]) -> Iterator[Finding]:
    host, _ = parse_address(listen, where)
    if not is_loopback(host) and all(ip_network(text).is_loopback for text in allow):
        text = (
            f"it listens at {listen} and hears this machine alone; write the networks that are to "
            'be heard into allow, like "192.168.10.0/24"'
        )
        yield Finding(where, text)


def _one_peer(where: str, link: UdpSettings) -> Iterator[Finding]:
    listen, _ = parse_address(link.listen, where)
    remote, _ = parse_address(link.remote, where)
    if is_loopback(listen) and not is_loopback(remote):
        text = (
            f"remote {link.remote} cannot be reached from listen {link.listen}; "
            "listen at an address of this machine in its network"
        )
        yield Finding(where, text)
    if link.allow != LOOPBACK and not AllowList(link.allow).allows(remote):
        text = (
            f"remote {link.remote} is not in allow; with remote it alone is heard and allow is "
            "not asked: take allow away, or is remote wrong?"
        )
        yield Finding(where, text)


def _series(influx: InfluxSettings) -> Iterator[Finding]:
    """What a 2.x server asks for; 3.x, and what only speaks its protocol, may do without."""
    if influx.enabled and influx.api == "2":
        if not influx.org:
            yield Finding("influx.org", "is empty; a 2.x server refuses what names no organisation")
        if not influx.token_file:
            yield Finding("influx.token_file", "is empty; a 2.x server lets nobody in without one")


def load_roster(loaded: Loaded) -> Roster:
    """The units file of the settings, or an empty roster where none is named."""
    name = loaded.settings.site.units_file
    return Roster.load(loaded.path(name)) if name else Roster()


def check_link(loaded: Loaded, catalog: Catalog, link: AnyLinkSettings) -> None:
    """The driver is there, the transport carries it, the options fit; raises ConfigError."""
    where = f"link {link.id!r}"
    try:
        driver = catalog.get(link.driver)
        catalog.codec(link.driver, link.options, link.id)
    except ConfigError as error:
        raise ConfigError(f"{loaded.file}: {where}: {error}") from None
    try:
        make_link(link, driver, loaded.folder, SystemClock())
    except ConfigError as error:
        raise ConfigError(f"{loaded.file}: {error}") from None


def check_secrets(loaded: Loaded) -> None:
    """Every secret file that is named can be read; raises ConfigError."""
    mqtt, influx = loaded.settings.mqtt, loaded.settings.influx
    loaded.secret("mqtt.password_file", mqtt.password_file)
    loaded.secret("influx.token_file", influx.token_file)
    loaded.secret("influx.password_file", influx.password_file)
    for key, name in (
        ("mqtt.ca_file", mqtt.ca_file),
        ("mqtt.cert_file", mqtt.cert_file),
        ("mqtt.key_file", mqtt.key_file),
        ("site.map_file", loaded.settings.site.map_file),
    ):
        if name and not _is_file(loaded.path(name)):
            raise ConfigError(f"{loaded.file}: {key}: there is no file {name!r}")


def _is_file(path: Path) -> bool:
    """False for a name that the system does not take, too."""
    try:
        return path.is_file()
    except OSError:
        return False
