import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import geo
from gateway.model.geo import Point, distance_m
from tests.support.reference import reference_vectors

lats = st.floats(18, 53)
lons = st.floats(74, 134)


def test_shifted_places_agree_with_the_published_vectors() -> None:
    vectors = reference_vectors("china_coordinates")
    checked = 0
    for vector in vectors:
        expect = vector["expect"]
        wgs = Point(expect["wgs84_lat"], expect["wgs84_lon"])
        gcj = Point(expect["gcj02_lat"], expect["gcj02_lon"])
        bd = Point(expect["bd09_lat"], expect["bd09_lon"])
        assert geo.gcj02_from_wgs84(*wgs) == pytest.approx(gcj, abs=2e-9), vector["id"]
        assert geo.bd09_from_gcj02(*gcj) == pytest.approx(bd, abs=2e-9), vector["id"]
        assert geo.bd09_from_wgs84(*wgs) == pytest.approx(bd, abs=2e-9), vector["id"]
        assert geo.wgs84_from_gcj02(*gcj) == pytest.approx(wgs, abs=2e-9), vector["id"]
        checked += 1
    assert checked >= 10


def test_shanghai_is_drawn_half_a_kilometre_away() -> None:
    drawn = geo.gcj02_from_wgs84(31.1774276, 121.5272106)
    assert drawn == pytest.approx((31.17530398364597, 121.531541859215), abs=1e-9)
    assert distance_m(Point(31.1774276, 121.5272106), drawn) == pytest.approx(475, abs=2)


@given(lat=lats, lon=lons)
def test_what_a_map_draws_leads_back_to_the_place(lat: float, lon: float) -> None:
    drawn = geo.gcj02_from_wgs84(lat, lon)
    assert distance_m(Point(lat, lon), drawn) < 1500
    assert geo.wgs84_from_gcj02(*drawn) == pytest.approx((lat, lon), abs=1e-9)
    on_baidu = geo.bd09_from_wgs84(lat, lon)
    assert distance_m(geo.wgs84_from_bd09(*on_baidu), Point(lat, lon)) < 1.0


@pytest.mark.parametrize("place", [Point(35.6762, 139.6503), Point(48.1173, 11.5167)])
def test_outside_the_rectangle_nothing_is_shifted(place: Point) -> None:
    assert geo.gcj02_from_wgs84(*place) == place
    assert geo.wgs84_from_gcj02(*place) == place


def test_distances_are_those_of_the_globe() -> None:
    quarter = distance_m(Point(0, 0), Point(90, 0))
    assert quarter == pytest.approx(10_007_557, abs=1)
    assert distance_m(Point(23, 113), Point(23, 113)) == 0
    assert distance_m(Point(0, 0), Point(0, 180)) == pytest.approx(2 * quarter, rel=1e-9)
    assert distance_m(Point(23.0, 113.0), Point(23.0009, 113.0)) == pytest.approx(100.08, abs=0.1)


@given(lat=st.floats(-90, 90), lon=st.floats(-180, 180), lat_2=lats, lon_2=lons)
def test_a_distance_is_the_same_both_ways(
    lat: float, lon: float, lat_2: float, lon_2: float
) -> None:
    there = distance_m(Point(lat, lon), Point(lat_2, lon_2))
    assert there == pytest.approx(distance_m(Point(lat_2, lon_2), Point(lat, lon)), abs=1e-6)
    assert 0 <= there <= 20_015_120
