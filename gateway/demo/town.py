"""A town that does not exist: streets, blocks, a river, key sites. The same every time.

Drawn in metres east and north of a centre and turned into WGS-84 at the edge, so that rings of 100
m and 500 m mean what they say.
"""

import math
import random
from typing import Any, NamedTuple

CENTRE_LAT_DEG = 22.9410
CENTRE_LON_DEG = 113.8820
COLUMNS, ROWS = 13, 9  # street corners
STEP_X_M, STEP_Y_M = 230.0, 205.0
JITTER_M = 34.0
RIVER_ROW = 2  # the river runs between this row of corners and the next
RIVER_WIDTH_M = 62.0
MAJOR_COLUMNS = (0, 3, 6, 9, 12)
MAJOR_ROWS = (0, 4, 8)
STREET_HALF_WIDTH_M = 15.0
EARTH_M = 6_371_008.8
SEED = 20200420

ROW_NAMES = {0: "南环路", 4: "榕溪大道", 8: "北环路"}
COLUMN_NAMES = {0: "西环路", 3: "工业一路", 6: "振兴路", 9: "学府路", 12: "东环路"}
PARK_CELLS = {(5, 3): "榕树公园", (10, 6): "东山公园"}
DISTRICTS = {
    "石桥社区": (-950, 520),
    "上涌村": (980, -640),
    "东岸村": (1020, 480),
    "老街": (-180, -330),
}


class Point(NamedTuple):
    """Metres east and north of the town's centre."""

    x: float
    y: float


class Site(NamedTuple):
    """A key site: id, name, what it is, the street corner it stands at, ring in metres."""

    id: str
    name: str
    kind: str
    corner: tuple[int, int]
    ring_m: float


SITES = (
    Site("plaza", "榕溪商业广场", "商业中心", (6, 4), 100),
    Site("industrial-park", "金源工业园", "工业园区", (2, 6), 100),
    Site("primary-school", "中心小学", "学校", (8, 5), 500),
    Site("hospital", "镇人民医院", "医院", (4, 3), 500),
    Site("bus-station", "客运总站", "车站", (10, 3), 500),
    Site("middle-school", "第一中学", "学校", (9, 7), 100),
    Site("market", "老街农贸市场", "市场", (5, 1), 100),
    Site("waterworks", "自来水厂", "供水", (1, 2), 500),
)


def to_lat_lon(point: Point) -> tuple[float, float]:
    """WGS-84 degrees of a point of the town."""
    lat_deg = CENTRE_LAT_DEG + math.degrees(point.y / EARTH_M)
    lon_deg = CENTRE_LON_DEG + math.degrees(
        point.x / (EARTH_M * math.cos(math.radians(CENTRE_LAT_DEG)))
    )
    return lat_deg, lon_deg


class Town:
    """Street corners, and which are joined by a street."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)  # noqa: S311 - scenery
        self.corners = {
            (column, row): self._corner(column, row)
            for column in range(COLUMNS)
            for row in range(ROWS)
        }
        self.streets: dict[tuple[int, int], list[tuple[int, int]]] = {
            corner: [] for corner in self.corners
        }
        for corner in self.corners:
            for other in ((corner[0] + 1, corner[1]), (corner[0], corner[1] + 1)):
                if other in self.corners and self._is_street(corner, other):
                    self.streets[corner].append(other)
                    self.streets[other].append(corner)

    def place(self, corner: tuple[int, int]) -> Point:
        """Where a street corner is."""
        return self.corners[corner]

    def geojson(self) -> dict[str, Any]:
        """The base map: features with ``kind``, and ``name`` or ``class`` where needed."""
        features = [
            self._boundary(),
            *self._blocks(),
            self._river(),
            *self._roads(),
            *self._labels(),
        ]
        return {"type": "FeatureCollection", "features": features}

    def _corner(self, column: int, row: int) -> Point:
        jitter = self._random.uniform
        return Point(
            (column - (COLUMNS - 1) / 2) * STEP_X_M + jitter(-JITTER_M, JITTER_M),
            (row - (ROWS - 1) / 2) * STEP_Y_M + jitter(-JITTER_M, JITTER_M),
        )

    def _is_street(self, corner: tuple[int, int], other: tuple[int, int]) -> bool:
        if _is_major(corner, other):
            return True
        if corner[1] == RIVER_ROW and other[1] == RIVER_ROW + 1:
            return False  # only the main roads have bridges
        return self._random.random() > 0.1  # noqa: PLR2004 - some lanes end blind

    def _boundary(self) -> dict[str, Any]:
        half_x = (COLUMNS - 1) / 2 * STEP_X_M + 260
        half_y = (ROWS - 1) / 2 * STEP_Y_M + 230
        ring = [
            Point(half_x * math.cos(turn) * 1.12, half_y * math.sin(turn) * 1.16)
            for turn in (i * math.tau / 48 for i in range(49))
        ]
        return _feature("Polygon", [_ring(ring)], kind="boundary", name="榕溪镇")

    def _blocks(self) -> list[dict[str, Any]]:
        features = []
        for column in range(COLUMNS - 1):
            for row in range(ROWS - 1):
                if row == RIVER_ROW:
                    continue
                cell = (column, row)
                outline = _shrunk(
                    [
                        self.corners[column, row],
                        self.corners[column + 1, row],
                        self.corners[column + 1, row + 1],
                        self.corners[column, row + 1],
                    ],
                    STREET_HALF_WIDTH_M,
                )
                if cell in PARK_CELLS:
                    ring = [_ring([*outline, outline[0]])]
                    features.append(_feature("Polygon", ring, kind="park", name=PARK_CELLS[cell]))
                    continue
                ring = [_ring([*outline, outline[0]])]
                features.append(_feature("Polygon", ring, kind="block"))
                features += self._buildings(outline)
        return features

    def _buildings(self, outline: list[Point]) -> list[dict[str, Any]]:
        """Houses in rows inside a block, by its two directions."""
        features = []
        across, deep = self._random.choice(((3, 2), (4, 2), (4, 3), (2, 2)))
        for i in range(across):
            for j in range(deep):
                if self._random.random() < 0.15:  # noqa: PLR2004 - a yard
                    continue
                inset = self._random.uniform(0.06, 0.2)
                u0, u1 = (i + inset) / across, (i + 1 - inset) / across
                v0, v1 = (j + inset) / deep, (j + 1 - inset) / deep
                corners = [
                    _inside(outline, u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
                ]
                features.append(
                    _feature("Polygon", [_ring([*corners, corners[0]])], kind="building")
                )
        return features

    def _river(self) -> dict[str, Any]:
        middle = []
        for column in range(COLUMNS):
            low, high = self.corners[column, RIVER_ROW], self.corners[column, RIVER_ROW + 1]
            middle.append(Point((low.x + high.x) / 2, (low.y + high.y) / 2))
        middle = [
            Point(middle[0].x - 700, middle[0].y - 60),
            *middle,
            Point(middle[-1].x + 700, middle[-1].y + 90),
        ]
        north = [Point(p.x, p.y + RIVER_WIDTH_M / 2) for p in middle]
        south = [Point(p.x, p.y - RIVER_WIDTH_M / 2) for p in reversed(middle)]
        return _feature("Polygon", [_ring([*north, *south, north[0]])], kind="water", name="榕溪")

    def _roads(self) -> list[dict[str, Any]]:
        features = []
        for corner, others in self.streets.items():
            for other in others:
                if other > corner:
                    line = [_position(self.corners[corner]), _position(self.corners[other])]
                    size = "major" if _is_major(corner, other) else "minor"
                    features.append(_feature("LineString", line, kind="road", **{"class": size}))
        return features

    def _labels(self) -> list[dict[str, Any]]:
        features = []
        for name, (x, y) in DISTRICTS.items():
            features.append(
                _feature(
                    "Point",
                    _position(Point(x, y)),
                    kind="label",
                    **{"class": "district"},
                    name=name,
                )
            )
        named = [
            *((name, (2, row), (3, row)) for row, name in ROW_NAMES.items()),
            *((name, (8, row), (9, row)) for row, name in ROW_NAMES.items()),
            *((name, (column, 5), (column, 6)) for column, name in COLUMN_NAMES.items()),
        ]
        for name, start, end in named:
            a, b = self.corners[start], self.corners[end]
            middle = Point((a.x + b.x) / 2, (a.y + b.y) / 2)
            features.append(
                _feature("Point", _position(middle), kind="label", **{"class": "road"}, name=name)
            )
        return features


def _is_major(corner: tuple[int, int], other: tuple[int, int]) -> bool:
    if corner[0] == other[0]:
        return corner[0] in MAJOR_COLUMNS
    return corner[1] in MAJOR_ROWS


def _shrunk(outline: list[Point], margin_m: float) -> list[Point]:
    """The outline drawn in towards its middle, leaving room for the streets."""
    x = sum(p.x for p in outline) / len(outline)
    y = sum(p.y for p in outline) / len(outline)
    return [
        Point(
            p.x + math.copysign(margin_m, x - p.x),
            p.y + math.copysign(margin_m, y - p.y),
        )
        for p in outline
    ]


def _inside(outline: list[Point], u: float, v: float) -> Point:
    """The point at ``u``, ``v`` (0 to 1) of a four-cornered outline."""
    a, b, c, d = outline
    return Point(
        (a.x * (1 - u) + b.x * u) * (1 - v) + (d.x * (1 - u) + c.x * u) * v,
        (a.y * (1 - u) + b.y * u) * (1 - v) + (d.y * (1 - u) + c.y * u) * v,
    )


def _position(point: Point) -> list[float]:
    lat_deg, lon_deg = to_lat_lon(point)
    return [round(lon_deg, 6), round(lat_deg, 6)]  # GeoJSON: longitude first


def _ring(points: list[Point]) -> list[list[float]]:
    return [_position(point) for point in points]


def _feature(kind_of_geometry: str, coordinates: Any, **properties: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": kind_of_geometry, "coordinates": coordinates},
    }
