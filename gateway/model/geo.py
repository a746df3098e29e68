"""Places on the ellipsoid: distance, and the two shifted datums of Chinese web maps.

Everything is stored in WGS-84 (CGCS2000 differs by centimetres and counts as equal). GCJ-02 is what
Chinese web maps draw, BD-09 is Baidu's own on top of it; both are for the edge of the screen only.
Angles are degrees, distances metres. The shift applies inside a rectangle that reaches beyond
China; outside it all three are the same here.
"""

from math import atan2, cos, hypot, pi, radians, sin, sqrt
from typing import NamedTuple

EARTH_RADIUS_M = 6_371_008.8  # mean radius of the WGS-84 ellipsoid (IUGG R1)

SHIFT_WEST_DEG, SHIFT_EAST_DEG = 72.004, 137.8347
SHIFT_SOUTH_DEG, SHIFT_NORTH_DEG = 0.8293, 55.8271
AXIS_M = 6_378_245.0  # Krasovsky 1940, semi-major axis
ECCENTRICITY_SQUARED = 0.00669342162296594323
CENTRE_LON_DEG, CENTRE_LAT_DEG = 105.0, 35.0
INVERSE_ROUNDS = 6  # fixed-point rounds; the error is below 1e-9 degrees

BD_TURN = pi * 3000.0 / 180.0
BD_EAST_DEG, BD_NORTH_DEG = 0.0065, 0.006


class Point(NamedTuple):
    """Latitude and longitude in degrees; which datum is in the name of what returned it."""

    lat_deg: float
    lon_deg: float


def distance_m(first: Point, second: Point) -> float:
    """Great-circle distance by the haversine formula; within 0.6 % of the ellipsoid's."""
    lat_1, lat_2 = radians(first.lat_deg), radians(second.lat_deg)
    half_lat = sin((lat_2 - lat_1) / 2)
    half_lon = sin(radians(second.lon_deg - first.lon_deg) / 2)
    chord = half_lat * half_lat + cos(lat_1) * cos(lat_2) * half_lon * half_lon
    return 2 * EARTH_RADIUS_M * atan2(sqrt(chord), sqrt(max(0.0, 1 - chord)))


def is_shifted_area(lat_deg: float, lon_deg: float) -> bool:
    """True where GCJ-02 differs from WGS-84."""
    return (
        SHIFT_WEST_DEG <= lon_deg <= SHIFT_EAST_DEG
        and SHIFT_SOUTH_DEG <= lat_deg <= SHIFT_NORTH_DEG
    )


def gcj02_from_wgs84(lat_deg: float, lon_deg: float) -> Point:
    """Where a Chinese web map draws a WGS-84 place."""
    if not is_shifted_area(lat_deg, lon_deg):
        return Point(lat_deg, lon_deg)
    north_m, east_m = _shift_m(lon_deg - CENTRE_LON_DEG, lat_deg - CENTRE_LAT_DEG)
    lat = radians(lat_deg)
    flattened = 1 - ECCENTRICITY_SQUARED * sin(lat) ** 2
    root = sqrt(flattened)
    metres_a_radian_north = AXIS_M * (1 - ECCENTRICITY_SQUARED) / (flattened * root)
    metres_a_radian_east = AXIS_M / root * cos(lat)
    return Point(
        lat_deg + north_m * 180 / (metres_a_radian_north * pi),
        lon_deg + east_m * 180 / (metres_a_radian_east * pi),
    )


def wgs84_from_gcj02(lat_deg: float, lon_deg: float) -> Point:
    """The inverse, by iteration: one subtraction alone would be metres off."""
    if not is_shifted_area(lat_deg, lon_deg):
        return Point(lat_deg, lon_deg)
    guess = Point(lat_deg, lon_deg)
    for _ in range(INVERSE_ROUNDS):
        there = gcj02_from_wgs84(*guess)
        guess = Point(
            guess.lat_deg + lat_deg - there.lat_deg, guess.lon_deg + lon_deg - there.lon_deg
        )
    return guess


def bd09_from_gcj02(lat_deg: float, lon_deg: float) -> Point:
    """Baidu's datum from GCJ-02."""
    radius = hypot(lon_deg, lat_deg) + 0.00002 * sin(lat_deg * BD_TURN)
    angle = atan2(lat_deg, lon_deg) + 0.000003 * cos(lon_deg * BD_TURN)
    return Point(radius * sin(angle) + BD_NORTH_DEG, radius * cos(angle) + BD_EAST_DEG)


def gcj02_from_bd09(lat_deg: float, lon_deg: float) -> Point:
    """GCJ-02 from Baidu's datum; exact to about a decimetre, as Baidu's own inverse is."""
    lat, lon = lat_deg - BD_NORTH_DEG, lon_deg - BD_EAST_DEG
    radius = hypot(lon, lat) - 0.00002 * sin(lat * BD_TURN)
    angle = atan2(lat, lon) - 0.000003 * cos(lon * BD_TURN)
    return Point(radius * sin(angle), radius * cos(angle))


def bd09_from_wgs84(lat_deg: float, lon_deg: float) -> Point:
    """Where a Baidu map draws a WGS-84 place."""
    return bd09_from_gcj02(*gcj02_from_wgs84(lat_deg, lon_deg))


def wgs84_from_bd09(lat_deg: float, lon_deg: float) -> Point:
    """A place read off a Baidu map."""
    return wgs84_from_gcj02(*gcj02_from_bd09(lat_deg, lon_deg))


def _shift_m(x: float, y: float) -> tuple[float, float]:
    """The shift north and east in metres; ``x`` and ``y`` are degrees from 105 E, 35 N."""
    common = 20 * sin(6 * pi * x) + 20 * sin(2 * pi * x)
    root = sqrt(abs(x))
    north = (
        -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
        + 2 / 3 * (
            common
            + 20 * sin(pi * y) + 40 * sin(pi * y / 3)
            + 160 * sin(pi * y / 12) + 320 * sin(pi * y / 30)
        )
    )  # fmt: skip
    east = (
        300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
        + 2 / 3 * (
            common
            + 20 * sin(pi * x) + 40 * sin(pi * x / 3)
            + 150 * sin(pi * x / 12) + 300 * sin(pi * x / 30)
        )
    )  # fmt: skip
    return north, east
