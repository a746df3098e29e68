"""How urgent a unit's position is."""

from typing import Any

import pytest

from gateway.airtime.classes import class_of
from gateway.airtime.shares import UnitClass
from gateway.model.geo import Point
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant
from gateway.model.views import UnitView

PLACE = Point(30.25, 120.16)
NEAR = {"lat_deg": 30.2536, "lon_deg": 120.16}  # 400 m north
FAR = {"lat_deg": 30.2554, "lon_deg": 120.16}  # 600 m north


def unit(**changes: Any) -> UnitView:
    facts: dict[str, Any] = {"state": "fresh_fix", **FAR, **changes}
    return UnitView(radio_id=RadioId("pdt:80020200"), state_since=Instant(0), **facts)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, UnitClass.IDLE),
        ({"speed_mps": 1.2}, UnitClass.PATROL),
        ({"speed_mps": 0.3}, UnitClass.IDLE),
        ({"team_kind": "village"}, UnitClass.PATROL),
        (NEAR, UnitClass.RESPONDING),
        (NEAR | {"team_kind": "police"}, UnitClass.RESPONDING),
        ({"lat_deg": None, "lon_deg": None}, UnitClass.IDLE),
        (NEAR | {"state": "silent"}, UnitClass.IDLE),
        (NEAR | {"state": "off"}, None),
        ({"state": "off", "has_emergency": True}, UnitClass.EMERGENCY),
    ],
)
def test_the_class_of_a_unit(changes: dict[str, Any], expected: UnitClass | None) -> None:
    assert class_of(unit(**changes), [PLACE], near_m=500) is expected
