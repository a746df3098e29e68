import math
import re
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import emergency
from gateway.model.events import (
    EmergencyEnded,
    EmergencyTaken,
    Fix,
    LinkChanged,
    RadioDeregistered,
    RadioRegistered,
    StatusReceived,
    TextReceived,
)
from gateway.model.identity import EventId
from gateway.model.quantities import Instant
from gateway.model.views import ChannelView, Promise
from gateway.sinks.line_protocol import FieldValue, gateway_line, line, line_of
from tests.support.sink_rows import AT, closed, fix, header, raised


class Parsed(NamedTuple):
    measurement: str
    tags: dict[str, str]
    fields: dict[str, FieldValue]
    at: int


def parse(text: str) -> Parsed:
    """Read one line, written from the protocol's description and sharing no code with the writer.

    Character by character: a backslash before a comma, an equals sign or a space takes its meaning
    away; a double quote means something in field values only, and there only the quote and the
    backslash itself are escaped.
    """
    series, rest = _split(text, " ", most=1)
    *_, at = _split(rest, " ", quotes=True)
    measurement, *tags = _split(series, ",")
    fields = _split(rest[: -len(at) - 1], ",", quotes=True)
    return Parsed(
        measurement,
        {key: re.sub(r"\\([,= ])", r"\1", value) for key, value in map(_pair, tags)},
        {key: _field(value) for key, value in map(_pair, fields)},
        int(at),
    )


def _split(text: str, at: str, *, quotes: bool = False, most: int = -1) -> list[str]:
    parts: list[str] = []
    current, is_quoted, position = "", False, 0
    while position < len(text) and len(parts) != most:
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            current += text[position : position + 2]
            position += 2
            continue
        if char == '"' and quotes:
            is_quoted = not is_quoted
        if char == at and not is_quoted:
            parts.append(current)
            current = ""
        else:
            current += char
        position += 1
    return [*parts, current + text[position:]]


def _pair(text: str) -> tuple[str, str]:
    key, value = _split(text, "=", most=1)
    return key, value


def _field(text: str) -> FieldValue:
    if text.startswith('"'):
        assert text.endswith('"')
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in {"true", "false"}:
        return text == "true"
    return int(text[:-1]) if text.endswith("i") else float(text)


clean = st.text(
    st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40
)
tags = clean.filter(lambda text: "\\" not in text)
keys = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
values = (
    clean
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
instants = st.integers(-(2**63) + 2, 2**63 - 2).map(Instant)


@given(
    names=st.dictionaries(keys, tags, max_size=4),
    fields=st.dictionaries(keys, values, min_size=1, max_size=6),
    at=instants,
)
def test_a_line_reads_back_as_what_was_written(
    names: dict[str, str], fields: dict[str, FieldValue], at: Instant
) -> None:
    text = line("m", names, fields, at)
    assert text is not None
    assert "\n" not in text
    read = parse(text)
    assert read == Parsed("m", names, fields, at)
    assert [type(value) for value in read.fields.values()] == [type(v) for v in fields.values()]


@given(text=st.text(max_size=60))
def test_whatever_a_peer_says_stays_in_its_field(text: str) -> None:
    written = line("m", {"unit": text}, {"why": text, "n": 1}, AT)
    assert written is not None
    assert written.encode()
    assert len(written.splitlines()) == 1
    read = parse(written)
    assert read.fields.keys() == {"why", "n"}
    assert read.tags.keys() <= {"unit"}
    assert read.at == AT


def test_values_that_the_protocol_cannot_carry_are_left_out_or_refused() -> None:
    assert line("m", {}, {"a": math.nan, "b": math.inf, "c": None}, AT) is None
    assert line("m", {}, {"a": math.nan, "b": 1.0}, AT) == f"m b=1.0 {int(AT)}"
    with pytest.raises(ValueError, match="64 bits"):
        line("m", {}, {"a": 2**63}, AT)
    with pytest.raises(ValueError, match="InfluxDB stores"):
        line("m", {}, {"a": 1}, Instant(2**63))


def test_a_fix_has_the_fields_of_the_contract() -> None:
    report = fix(
        1,
        received_at=Instant(AT + 2_500_000_000),
        altitude_m=12,
        course_deg=90,
        accuracy_m=5.0,
        battery_pct=71,
        rssi_dbm=-87,
        hdop=1,
        odometer_m=100,
        trigger="time",
    )
    read = parse(line_of(report) or "")
    assert read.measurement == "position"
    assert read.at == AT, "the time is the fix's"
    assert read.tags == {
        "site": "town",
        "team": "patrol",
        "unit": "u1",
        "radio": "pdt:1",
        "link": "lan",
        "driver": "jt808",
    }
    assert read.fields == {
        "fix_valid": True,
        "lat": 23.02,
        "lon": 113.75,
        "lat_gcj": pytest.approx(23.0172772),
        "lon_gcj": pytest.approx(113.7551941),
        "altitude_m": 12.0,
        "speed_mps": 1.5,
        "course_deg": 90.0,
        "accuracy_m": 5.0,
        "satellites": 9,
        "hdop": 1.0,
        "battery_pct": 71,
        "rssi_dbm": -87.0,
        "odometer_m": 100.0,
        "trigger": "time",
        "event_id": report.event_id,
        "delay_s": 2.5,
    }
    whole = {key for key, value in read.fields.items() if type(value) is int}
    assert whole == {"satellites", "battery_pct"}, "a field keeps its type for ever"


def test_a_report_without_a_position_has_no_coordinates_and_our_time() -> None:
    report = fix(1, fix_valid=False, lat_deg=None, lon_deg=None, fix_at=None, unit_id=None)
    read = parse(line_of(report) or "")
    assert read.at == AT
    assert read.fields["fix_valid"] is False
    assert not {"lat", "lon", "lat_gcj", "delay_s"} & read.fields.keys()
    assert "unit" not in read.tags


def test_the_last_known_place_is_not_told_as_one_of_now() -> None:
    report = fix(
        1, fix_valid=False, battery_pct=60, altitude_m=9.0, course_deg=90.0, accuracy_m=5.0
    )
    fields = parse(line_of(report) or "").fields
    assert fields.keys() == {"fix_valid", "satellites", "battery_pct", "event_id", "delay_s"}


def test_two_emergencies_of_one_frame_are_two_points_and_one_stays_one() -> None:
    alarm, man_down = raised(1), raised(1, "second", kind="man_down")
    points = {
        (read.measurement, tuple(sorted(read.tags.items())), read.at)
        for event in (alarm, man_down, alarm)
        for read in [parse(line_of(event) or "")]
    }
    assert len(points) == 2
    assert parse(line_of(alarm) or "").at == AT


def test_an_emergencys_life_is_written_as_it_happens() -> None:
    place = Fix(lat_deg=23.02, lon_deg=113.75, age_s=30)
    begun = raised(1, fix=place, place="榕溪 商业,广场", raw_code="0x01", is_drill=True)
    lines = [
        line_of(begun),
        line_of(EmergencyEnded(**header(1), kind="alarm", emergency_id=begun.event_id)),
        line_of(EmergencyTaken(**header(1), emergency_id=begun.event_id, by="zhang")),
    ]
    first, ended, taken = (parse(text or "") for text in lines)
    assert first.measurement == "emergency"
    assert first.fields["event"] == "raised"
    assert first.fields["kind"] == "alarm"
    assert first.fields["raw_code"] == "0x01"
    assert first.fields["is_drill"] is True
    assert first.fields["age_s"] == 30.0
    assert first.fields["place"] == "榕溪 商业,广场"
    assert "place" not in {*ended.fields, *taken.fields}, "absent, not empty"
    assert "place" not in first.tags
    assert first.fields["lat_gcj"] == pytest.approx(23.0172772)
    assert (ended.fields["event"], ended.fields["emergency_id"]) == ("ended", begun.event_id)
    assert (taken.fields["event"], taken.fields["by"]) == ("taken", "zhang")
    assert len({first.at, ended.at, taken.at}) == 3


def test_how_long_people_took_is_a_number_that_has_a_mean() -> None:
    begun = raised(1, is_drill=True)
    state = emergency.raised(begun)
    facts: dict[str, Any] = {"raised_at": AT, "kind": "alarm", "is_drill": True}
    taking = EmergencyTaken(
        **header(1, received_at=Instant(AT + 12_500_000_000)),
        emergency_id=begun.event_id,
        by="zhang",
        **facts,
    )
    taken = parse(line_of(taking) or "").fields
    assert (taken["take_s"], taken["kind"], taken["is_drill"]) == (12.5, "alarm", True)
    assert taken["waiting_s"] == 0.0, "nobody waits any more, and an alert knows it at once"
    taking_over = msgspec.structs.replace(taking, by="li", taken_from="zhang")
    assert "take_s" not in parse(line_of(taking_over) or "").fields, "it did not wait so long"
    late = Instant(AT + 300_000_000_000)
    for verdict, share in (("true", 0), ("false", 1), ("drill", None)):
        event = closed(state, verdict=verdict, received_at=late, **facts)
        fields = parse(line_of(event) or "").fields
        assert (fields["close_s"], fields["open_count"]) == (300.0, 0)
        assert fields["waiting_s"] == 0.0
        assert fields.get("false_alarm") == share, "a drill is neither"


def test_an_act_of_an_older_version_has_no_duration() -> None:
    taken = EmergencyTaken(**header(1), emergency_id=EventId("e" * 32), by="zhang")
    assert "take_s" not in parse(line_of(taken) or "").fields


def test_registrations_status_and_links_have_their_measurements() -> None:
    registered = parse(line_of(RadioRegistered(**header(1))) or "")
    left = parse(line_of(RadioDeregistered(**header(1))) or "")
    status = parse(line_of(StatusReceived(**header(1), code="7", battery_pct=9)) or "")
    assert {registered.measurement, left.measurement, status.measurement} == {"radio_status"}
    assert (registered.fields["is_registered"], left.fields["is_registered"]) == (True, False)
    assert (status.fields["code"], status.fields["battery_pct"]) == ("7", 9)
    gone = LinkChanged(
        event_id=EventId("e"),
        site="town",
        link_id="lan",
        driver="jt808",
        received_at=AT,
        state="down",
        since=AT,
        why='said "no",\nthen hung up\\',
    )
    link = parse(line_of(gone) or "")
    assert link.measurement == "link"
    assert link.tags == {"site": "town", "link": "lan", "driver": "jt808"}
    assert link.fields["is_up"] is False
    assert link.fields["why"] == 'said "no", then hung up\\'


def test_what_people_write_to_each_other_is_not_a_time_series() -> None:
    assert line_of(TextReceived(**header(1), body="收到")) is None


class _Inner(msgspec.Struct, kw_only=True):
    received: int = 10
    dropped: dict[str, int]


class _Health(msgspec.Struct):
    events: _Inner
    lag_s: float = 0.25
    is_accepting: bool = True
    version: str = "1"
    since: Instant = AT


def test_the_gateways_numbers_become_flat_fields() -> None:
    text = gateway_line("town", _Health(_Inner(dropped={"queue full": 2})), AT)
    assert parse(text or "") == Parsed(
        "gateway",
        {"site": "town"},
        {
            "events_received": 10,
            "events_dropped_queue_full": 2,
            "lag_s": 0.25,
            "is_accepting": True,
        },
        AT,
    )


def test_what_a_channel_promises_is_written_under_its_name() -> None:
    promise = Promise(units=2, requests_a_min=24.0, interval_s=5.0, worst_age_s=7.2)
    channel = ChannelView(
        channel="channel-1",
        budget_a_min=1000.0,
        asked_last_min=24,
        passed_over=1,
        promises={"emergency": promise},
    )

    class Whole(msgspec.Struct):
        airtime: list[ChannelView]

    fields = parse(gateway_line("town", Whole([channel]), AT) or "").fields
    assert fields["airtime_channel_1_asked_last_min"] == 24
    assert fields["airtime_channel_1_promises_emergency_worst_age_s"] == 7.2


def test_a_zero_is_written_so_that_a_graph_comes_down_again() -> None:
    class Sink(msgspec.Struct, omit_defaults=True):
        name: str
        behind_rows: int = 0

    class Whole(msgspec.Struct, omit_defaults=True):
        sinks: list[Sink]
        lag_s: float = 0.0

    text = gateway_line("town", Whole([Sink("mqtt"), Sink("influx", 7)]), AT)
    assert parse(text or "").fields == {
        "sinks_mqtt_behind_rows": 0,
        "sinks_influx_behind_rows": 7,
        "lag_s": 0.0,
    }


def test_the_gateways_point_is_bounded() -> None:
    text = gateway_line("town", {f"link_{number}": 1 for number in range(5000)}, AT)
    assert len(parse(text or "").fields) == 2000
