"""The units file that technicians edit."""

from pathlib import Path

import pytest

from gateway.demo.teams import units_file, units_of_town
from gateway.errors import ConfigError
from gateway.model.geo import Point
from gateway.model.identity import RadioId
from gateway.roster.units import Roster

TEAM = '[[team]]\nid = "t1"\nname = "机动队"\nkind = "mobile"\n'
UNIT = '[[unit]]\nid = "u1"\nname = "一组"\nteam = "t1"\nradios = ["pdt:80020201"]\n'


def roster(folder: Path, text: str) -> Roster:
    file = folder / "units.toml"
    file.write_text(text, encoding="utf-8")
    return Roster.load(file)


def test_a_radio_leads_to_its_unit(tmp_path: Path) -> None:
    unit = roster(tmp_path, TEAM + UNIT).unit_of(RadioId("pdt:80020201"))
    assert unit is not None
    assert (unit.id, unit.name, unit.team) == ("u1", "一组", "t1")


def test_an_unknown_radio_has_no_unit(tmp_path: Path) -> None:
    assert roster(tmp_path, TEAM + UNIT).unit_of(RadioId("dmr:80020201")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (UNIT, "team 't1' is not in this file"),
        (TEAM + TEAM, "team 't1' is there twice"),
        (TEAM + UNIT + UNIT.replace('"u1"', '"u2"'), "bound to unit 'u1' already"),
        (TEAM + UNIT.replace("pdt:80020201", "80020201"), "no number space"),
        (TEAM + UNIT.replace("pdt:", "pdtt:"), "'pdtt' is unknown"),
        (TEAM + UNIT + "colour = 1\n", "colour"),
        ("[[site]]\nid='s'\nname='x'\nlat_deg=99\nlon_deg=0\n", "lat_deg"),
        ("[[", "not valid TOML"),
    ],
)
def test_a_wrong_entry_is_told_with_file_and_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        roster(tmp_path, text)
    assert words in str(refused.value)
    assert "units.toml" in str(refused.value)


def test_the_emulated_town_is_a_roster_of_sixty_units(tmp_path: Path) -> None:
    town = roster(tmp_path, units_file())
    assert len(town.units) == 60
    assert len({unit.radio_id for unit in units_of_town()}) == 60
    assert {team.kind for team in town.teams.values()} >= {"stationed", "mobile", "area", "village"}


SITES = """
[[site]]
id = "wide"
name = "镇人民医院"
lat_deg = 22.940
lon_deg = 113.880
ring_m = 500

[[site]]
id = "narrow"
name = "榕溪商业广场"
lat_deg = 22.943
lon_deg = 113.880
ring_m = 100
"""


@pytest.mark.parametrize(
    ("lat_deg", "site"),
    [(22.9400, "wide"), (22.9428, "narrow"), (22.9415, "wide"), (22.9446, None), (22.9300, None)],
)
def test_a_place_belongs_to_the_nearest_key_site_whose_ring_holds_it(
    tmp_path: Path, lat_deg: float, site: str | None
) -> None:
    """A hundredth of a degree of latitude is 1,112 m."""
    found = roster(tmp_path, SITES).site_at(Point(lat_deg, 113.880))
    assert (found.id if found is not None else None) == site
