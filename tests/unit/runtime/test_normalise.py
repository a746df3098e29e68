"""What cannot be is taken out and named; what was sent stays otherwise as it is."""

import msgspec
import pytest

from gateway.model.events import Fix, PositionFix, TextReceived
from gateway.model.quantities import NS_PER_S, Instant
from gateway.runtime.normalise import MAX_TEXT, normalise
from tests.support.emergencies import RADIO, at, fix, press

NOW = at(100)


def test_a_plausible_fix_stays_as_it_is() -> None:
    sent = fix(99)
    assert normalise(sent, NOW) == (sent, None)


@pytest.mark.parametrize(("lat_deg", "lon_deg"), [(0.0, 0.0), (90.1, 113.0), (23.0, -180.5)])
def test_a_place_that_cannot_be_is_no_place(lat_deg: float, lon_deg: float) -> None:
    kept, doubt = normalise(fix(99, lat_deg=lat_deg, lon_deg=lon_deg), NOW)
    assert isinstance(kept, PositionFix)
    assert doubt == "implausible_place"
    assert (kept.fix_valid, kept.lat_deg, kept.lon_deg) == (False, None, None)


@pytest.mark.parametrize("speed_mps", [-1.0, 151.0])
def test_a_speed_that_cannot_be_is_no_speed(speed_mps: float) -> None:
    kept, doubt = normalise(fix(99, speed_mps=speed_mps), NOW)
    assert isinstance(kept, PositionFix)
    assert (kept.speed_mps, kept.fix_valid, doubt) == (None, True, "implausible_speed")


@pytest.mark.parametrize(
    "fix_at", [Instant.parse("1999-08-22T00:00:00Z"), Instant(NOW + 90_000 * NS_PER_S)]
)
def test_a_clock_that_is_wrong_is_named_and_its_time_kept(fix_at: Instant) -> None:
    sent = fix(99, fix_at=fix_at)
    assert normalise(sent, NOW) == (sent, "implausible_time")


def test_an_alarm_with_an_impossible_place_is_an_alarm_without_a_place() -> None:
    alarm = press(99, fix=Fix(lat_deg=0.0, lon_deg=0.0))
    kept, doubt = normalise(alarm, NOW)
    assert kept == msgspec.structs.replace(alarm, fix=None)
    assert doubt == "implausible_place"


def test_a_text_loses_what_would_play_tricks_on_a_screen() -> None:
    sent = TextReceived(radio_id=RADIO, body="safe\u202e\x1b[31m" + "x" * MAX_TEXT)
    kept, doubt = normalise(sent, NOW)
    assert isinstance(kept, TextReceived)
    assert kept.body.startswith("safe[31mx")
    assert (len(kept.body), doubt) == (MAX_TEXT, "text_cleaned")
