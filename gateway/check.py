"""Says what is wrong with a configuration, without connecting, or what each port answers."""

from pathlib import Path

import msgspec

from gateway.catalog import Catalog
from gateway.clock import SystemClock
from gateway.errors import ConfigError
from gateway.links.factory import make_link
from gateway.roster.units import Roster
from gateway.settings import AnyLinkSettings, Loaded, load_settings


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
    if not loaded.settings.desk.enabled:
        findings.append(Finding("desk.enabled", "the desk page is off: nobody can take an alarm"))
    return loaded, roster, findings


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
        if name and not loaded.path(name).is_file():
            raise ConfigError(f"{loaded.file}: {key}: there is no file {name!r}")
