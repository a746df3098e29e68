"""Who walks the emulated town: 60 units of the plan's kinds of team, and their radios."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from gateway.demo.town import SITES, Site, Town, to_lat_lon

Carries = Literal["hytera-plaza", "hytera-village", "gnss", "terminal-tcp", "terminal-udp"]


class TeamOfTown(NamedTuple):
    """One team: how many units, what they carry, where they stay (metres round a corner)."""

    id: str
    name: str
    kind: str
    call_sign: str
    units: int
    carries: Carries
    home: tuple[int, int]
    range_m: float
    pace_mps: float
    roles: tuple[str, ...] = ()
    site: str = ""


KIT = ("钢叉手", "盾牌手", "警棍手", "队长")

TEAMS = (
    TeamOfTown(
        "plaza-stationed",
        "商业广场驻点队",
        "stationed",
        "广场",
        6,
        "hytera-plaza",
        (6, 4),
        260,
        1.2,
        KIT,
        "plaza",
    ),
    TeamOfTown(
        "park-stationed",
        "金源工业园驻点队",
        "stationed",
        "园区",
        6,
        "hytera-plaza",
        (2, 6),
        260,
        1.2,
        KIT,
        "industrial-park",
    ),
    TeamOfTown(
        "mobile-east",
        "城东机动队",
        "mobile",
        "机动东",
        3,
        "terminal-tcp",
        (8, 5),
        620,
        6.5,
        (),
        "primary-school",
    ),
    TeamOfTown(
        "mobile-west",
        "城西机动队",
        "mobile",
        "机动西",
        3,
        "terminal-tcp",
        (4, 3),
        620,
        6.5,
        (),
        "hospital",
    ),
    TeamOfTown("patrol-police", "巡逻警力", "police", "巡警", 4, "gnss", (6, 5), 1300, 8.5),
    TeamOfTown(
        "area-factories", "工业一路联防区", "area", "联防工", 7, "terminal-tcp", (3, 6), 420, 1.1
    ),
    TeamOfTown("area-market", "老街联防区", "area", "联防街", 7, "terminal-tcp", (5, 1), 420, 1.1),
    TeamOfTown(
        "village-shangyong",
        "上涌村专职队",
        "village",
        "上涌",
        8,
        "hytera-village",
        (10, 1),
        520,
        1.3,
    ),
    TeamOfTown(
        "village-dongan", "东岸村专职队", "village", "东岸", 6, "hytera-village", (11, 6), 480, 1.3
    ),
    TeamOfTown("watch-school", "学校守望队", "watch", "守望", 8, "terminal-udp", (9, 7), 330, 1.0),
    TeamOfTown("command", "镇指挥部", "police", "指挥", 2, "gnss", (6, 4), 900, 7.0),
)

FIRST_PDT_NUMBER = 80_020_201  # area 800, fleet 20: individual numbers as a town might get them
FIRST_PHONE = 13_800_138_001


class UnitOfTown(NamedTuple):
    """One unit and its radio."""

    id: str
    name: str
    team: TeamOfTown
    role: str
    number: str  # PDT number, terminal's phone, or link id of the receiver
    radio_id: str


def units_of_town() -> Iterator[UnitOfTown]:
    """Every unit, in the order of the teams."""
    pdt_number, phone = FIRST_PDT_NUMBER, FIRST_PHONE
    receivers = 0
    for team in TEAMS:
        for count in range(1, team.units + 1):
            if team.carries.startswith("hytera"):
                number, radio_id = str(pdt_number), f"pdt:{pdt_number}"
                pdt_number += 1
            elif team.carries == "gnss":
                receivers += 1
                number = f"gnss-{receivers}"
                radio_id = f"receiver:{number}"
            else:
                number = f"{phone:012d}"
                radio_id = f"jt808:{number}"
                phone += 1
            yield UnitOfTown(
                id=f"{team.id}-{count}",
                name=f"{team.call_sign}{count:02d}",
                team=team,
                role=team.roles[(count - 1) % len(team.roles)] if team.roles else "",
                number=number,
                radio_id=radio_id,
            )


def units_file() -> str:
    """The units file of the town, as a technician would write it."""
    lines = [
        "# Units, teams, radios and key sites of the emulated town (榕溪镇).",
        "# A radio is written with its number space: pdt, dmr, jt808, receiver, …",
        "",
    ]
    for team in TEAMS:
        lines += [
            "[[team]]",
            f'id = "{team.id}"',
            f'name = "{team.name}"',
            f'kind = "{team.kind}"',
            "",
        ]
    for unit in units_of_town():
        lines += [
            "[[unit]]",
            f'id = "{unit.id}"',
            f'name = "{unit.name}"',
            f'team = "{unit.team.id}"',
        ]
        if unit.role:
            lines.append(f'role = "{unit.role}"')
        lines += [f'radios = ["{unit.radio_id}"]', ""]
    town = Town()
    for site in SITES:
        lines += _site_lines(town, site)
    return "\n".join(lines)


def _site_lines(town: Town, site: Site) -> list[str]:
    lat_deg, lon_deg = to_lat_lon(town.place(site.corner))
    team = next((t.id for t in TEAMS if t.site == site.id), None)
    lines = [
        "[[site]]",
        f'id = "{site.id}"',
        f'name = "{site.name}"',
        f'kind = "{site.kind}"',
        f"lat_deg = {lat_deg:.6f}",
        f"lon_deg = {lon_deg:.6f}",
        f"ring_m = {site.ring_m:g}",
    ]
    if team is not None:
        lines.append(f'team = "{team}"')
    return [*lines, ""]
