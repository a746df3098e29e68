"""Who carries which radio: units, teams, radios and key sites from one file that people edit."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

from gateway.errors import ConfigError
from gateway.model.geo import Point, distance_m
from gateway.model.identity import RadioId, UnitId, parse_radio_id
from gateway.model.quantities import Instant
from gateway.roster.duty import Duty
from gateway.settings import Settings, TeamKind

Slug = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Team(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A team of the plan (应急联防队、区域联防队、专职治安联防队、治安守望队)."""

    id: Slug
    name: str
    kind: TeamKind = "other"
    duty: tuple[str, ...] = ()  # weekly hours, see gateway/roster/duty.py; always where empty


class Unit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the dispatcher means; ``radios`` are the numbers it carries now.

    ``is_test`` marks a set of the workshop: technicians may send commands to it, and to no other.
    """

    id: Slug
    name: str
    team: Slug | None = None
    radios: tuple[str, ...] = ()
    duty: tuple[str, ...] = ()  # instead of the team's
    role: str = ""  # 钢叉手, 盾牌手, 警棍手 …
    is_test: bool = False


class KeySite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key site (重点部位) with the ring its team acts in, metres."""

    id: Slug
    name: str
    lat_deg: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    lon_deg: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    ring_m: Annotated[float, msgspec.Meta(gt=0)] = 100.0
    kind: str = ""
    team: Slug | None = None


class RosterFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole units file."""

    team: tuple[Team, ...] = ()
    unit: tuple[Unit, ...] = ()
    site: tuple[KeySite, ...] = ()


class Roster:
    """Answers who carries a radio."""

    def __init__(self, content: RosterFile | None = None) -> None:
        content = content or RosterFile()
        self.teams = {team.id: team for team in content.team}
        self.units = {UnitId(unit.id): unit for unit in content.unit}
        self.sites = content.site
        self._team_duty = {team.id: Duty(team.duty) for team in content.team}
        self._duty = {UnitId(unit.id): Duty(unit.duty) for unit in content.unit if unit.duty}
        self._unit_of = {RadioId(radio): unit for unit in content.unit for radio in unit.radios}

    @classmethod
    def load(cls, file: Path) -> "Roster":
        """Read the units file; raises ConfigError naming file, entry and what would be right."""
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
            content = msgspec.convert(document, RosterFile)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{file}: not valid TOML: {error}") from None
        except msgspec.ValidationError as error:
            raise ConfigError(f"{file}: {error}") from None
        _check(content, file)
        return cls(content)

    def unit_of(self, radio: RadioId) -> Unit | None:
        """The unit that carries ``radio`` now, or None while it is not registered."""
        return self._unit_of.get(radio)

    def is_on_duty(self, radio: RadioId, at: Instant, zone: ZoneInfo) -> bool:
        """Whether the unit of ``radio`` is on duty; true for a radio that nobody has registered."""
        unit = self._unit_of.get(radio)
        if unit is None:
            return True
        own = self._duty.get(UnitId(unit.id))
        return (own or self._team_duty.get(unit.team or "") or Duty(())).is_on(at, zone)

    def site_at(self, place: Point) -> KeySite | None:
        """The key site in whose ring ``place`` lies, the nearest where rings overlap."""
        away_m = {
            site.id: distance_m(place, Point(site.lat_deg, site.lon_deg)) for site in self.sites
        }
        holding = [site for site in self.sites if away_m[site.id] <= site.ring_m]
        return min(holding, key=lambda site: away_m[site.id], default=None)

    def radios(self) -> Iterable[tuple[RadioId, Unit]]:
        """Every registered radio with its unit."""
        return self._unit_of.items()


def team_keep_s(settings: Settings, roster: Roster) -> dict[str, float]:
    """Teams whose positions are kept for less time than the rest, by the rule for their kind."""
    kept = {rule.kind: rule.keep_s for rule in settings.privacy if rule.keep_s > 0}
    return {team.id: kept[team.kind] for team in roster.teams.values() if team.kind in kept}


def _check(content: RosterFile, file: Path) -> None:
    teams = {team.id for team in content.team}
    owners: dict[str, str] = {}
    for kind, entries in (("team", content.team), ("unit", content.unit), ("site", content.site)):
        seen: set[str] = set()
        for entry in entries:
            if entry.id in seen:
                raise ConfigError(f"{file}: {kind} {entry.id!r} is there twice; rename one")
            seen.add(entry.id)
            try:
                Duty(getattr(entry, "duty", ()))
            except ValueError as error:
                raise ConfigError(f"{file}: {kind} {entry.id!r}: duty: {error}") from None
    for unit in content.unit:
        where = f"{file}: unit {unit.id!r}"
        if unit.team is not None and unit.team not in teams:
            raise ConfigError(f"{where}: team {unit.team!r} is not in this file; add it")
        for radio in unit.radios:
            try:
                parse_radio_id(radio)
            except ValueError as error:
                raise ConfigError(f"{where}: {error}") from None
            if radio in owners:
                raise ConfigError(
                    f"{where}: radio {radio!r} is bound to unit {owners[radio]!r} already; "
                    "a radio has one unit at a time"
                )
            owners[radio] = unit.id
