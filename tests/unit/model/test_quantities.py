"""Instants as the contract writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.events import PositionFix, event_from_json, to_json
from gateway.model.identity import RadioId, derive_event_id, parse_radio_id, radio_id
from gateway.model.quantities import Instant, kmh_to_mps, knots_to_mps

US = st.integers(0, 4_102_444_800_000_000)


@given(US)
def test_an_instant_survives_its_text_to_the_microsecond(us: int) -> None:
    instant = Instant(us * 1_000)
    assert Instant.parse(instant.text()) == instant


def test_an_instant_always_has_milliseconds_and_z() -> None:
    assert Instant.parse("2026-03-01T10:00:00+08:00").text() == "2026-03-01T02:00:00.000Z"
    assert Instant(1_500_000).text() == "1970-01-01T00:00:00.001500Z"


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Instant.parse("2026-03-01T10:00:00")


def test_an_event_survives_its_json_and_says_nothing_that_is_not_known() -> None:
    event = PositionFix(radio_id=RadioId("dmr:7"), fix_valid=False, received_at=Instant(10**18))
    text = to_json(event)
    assert event_from_json(text) == event
    assert b"lat_deg" not in text
    assert b'"fix_valid":false' in text
    assert b'"type":"position_fix"' in text


def test_speeds_are_metres_a_second() -> None:
    assert knots_to_mps(1) == pytest.approx(0.514444, abs=1e-6)
    assert kmh_to_mps(3.6) == pytest.approx(1)


def test_radio_ids_of_two_spaces_are_two_radios() -> None:
    assert radio_id("dmr", 1002) != radio_id("tetra", 1002)
    assert parse_radio_id("jt808:013800138000") == "jt808:013800138000"
    for wrong in ("80020200", "xyz:1", "pdt:", "pdt:a/b", "pdt:#"):
        with pytest.raises(ValueError, match=r"radio|space"):
            parse_radio_id(wrong)


def test_an_event_id_is_the_same_for_the_same_parts_only() -> None:
    assert derive_event_id("a", 1) == derive_event_id("a", 1)
    assert derive_event_id("a", 11) != derive_event_id("a1", 1)
