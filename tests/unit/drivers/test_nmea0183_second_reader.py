"""A second opinion: pynmea2, which shares no code with ours, writes sentences and reads them."""

from datetime import UTC, datetime
from typing import Any

import pynmea2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.api import Moment, Report
from drivers.nmea0183 import DRIVER
from gateway.model.events import PositionFix
from gateway.model.quantities import Instant

degrees = st.integers(0, 89)
minutes = st.integers(0, 599_999)  # ten-thousandths
# Up to 2068: beyond it pynmea2 takes two digits for years of the 1900s, and ours from 80 on.
moments = st.datetimes(datetime(2001, 1, 1), datetime(2068, 12, 31))  # noqa: DTZ001 - made aware


def angle(whole: int, fraction: int, width: int) -> str:
    """``ddmm.mmmm`` with ``width`` digits of degrees."""
    return f"{whole:0{width}d}{fraction // 10_000:02d}.{fraction % 10_000:04d}"


@given(
    north=degrees, north_min=minutes, east=degrees, east_min=minutes,
    south_side=st.booleans(), west_side=st.booleans(),
    knots=st.integers(0, 2_000), course=st.integers(0, 3_599), at=moments,
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_both_read_the_same_place_time_speed_and_course(
    north: int, north_min: int, east: int, east_min: int, *, south_side: bool, west_side: bool,
    knots: int, course: int, at: datetime,
) -> None:  # fmt: skip
    at = at.replace(microsecond=0, tzinfo=UTC)
    fields = (
        at.strftime("%H%M%S.00"), "A",
        angle(north, north_min, 2), "S" if south_side else "N",
        angle(east, east_min, 3), "W" if west_side else "E",
        f"{knots / 10:.1f}", f"{course / 10:.1f}", at.strftime("%d%m%y"), "", "", "A",
    )  # fmt: skip
    sentence = str(pynmea2.RMC("GN", "RMC", fields))
    other: Any = pynmea2.parse(sentence, check=True)
    ours = read(sentence, Instant.from_datetime(at))
    assert ours.fix_valid
    assert ours.lat_deg == pytest.approx(other.latitude, abs=1e-9)
    assert ours.lon_deg == pytest.approx(other.longitude, abs=1e-9)
    assert ours.speed_mps == pytest.approx(other.spd_over_grnd * 1852 / 3600)
    assert ours.course_deg == pytest.approx(other.true_course)
    assert ours.fix_at is not None
    assert ours.fix_at.datetime() == at
    assert datetime.combine(other.datestamp, other.timestamp) == at


def read(sentence: str, at: Instant) -> PositionFix:
    """What our codec makes of one sentence."""
    codec = DRIVER.new_codec({}, "gnss-1")
    now = Moment(1.0, at)
    outputs = [*codec.receive(f"{sentence}\r\n".encode(), now), *codec.flush(now)]
    (report,) = [each for each in outputs if isinstance(each, Report)]
    assert isinstance(report.event, PositionFix)
    return report.event
