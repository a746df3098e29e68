"""JT/T 808 frames told field by field, and the place where they broke."""

from collections.abc import Sequence
from typing import Any

import pytest

from drivers.jt808 import DRIVER
from drivers.jtt808.explain import ALARMS, MOST_ROWS, explain
from drivers.jtt808.frames import Frame, encode
from drivers.wire import Field
from tests.support.reference import reference_vectors

PHONE = "013800138000"
SOS = (
    "7e0200402201000000000138001380000008000000010000000201cd77ed07299100"
    "000c0024005725062410153030011f310109737e"
)
# Names of the reference that are not ours in other words.
ALARM_NAMES = {
    "emergency": "emergency (SOS key)",
    "main_power_undervoltage": "main power low",
    "main_power_off": "main power off",
    "overspeed_warning": "overspeed warning",
    "tts_fault": "TTS fault",
    "illegal_ignition": "illegal ignition",
}


def by_name(rows: Sequence[Field]) -> dict[str, Field]:
    return {row.name: row for row in rows}


def problems(rows: Sequence[Field]) -> dict[str, str]:
    return {row.name: row.problem for row in rows if row.problem}


def told(message: int, body: bytes, version: int | None = None) -> Sequence[Field]:
    phone = PHONE if version is None else PHONE.zfill(20)
    return explain(encode(Frame(message, phone, 7, body, version)))


def test_an_sos_is_told_from_delimiter_to_delimiter() -> None:
    rows = explain(bytes.fromhex(SOS))
    assert [(row.place, row.raw, row.value) for row in rows] == [
        ("0", "7e", ""),
        ("1-2", "0200", "0200 position"),
        ("3-4", "4022", ""),
        ("bit 0-9", "", "34"),
        ("bit 10-12", "", "none"),
        ("bit 13", "", "no"),
        ("bit 14", "", "2019"),
        ("5", "01", "1"),
        ("6-15", "00000000013800138000", "13800138000"),
        ("16-17", "0008", "8"),
        ("18-21", "00000001", "emergency (SOS key)"),
        ("22-25", "00000002", "position fixed"),
        ("26-29", "01cd77ed", "30.242797 deg"),
        ("30-33", "07299100", "120.164608 deg"),
        ("34-35", "000c", "12 m"),
        ("36-37", "0024", "3.6 km/h"),
        ("38-39", "0057", "87 deg"),
        ("40-45", "250624101530", "2025-06-24 10:15:30"),
        ("46-48", "30011f", "31"),
        ("49-51", "310109", "9"),
        ("52", "73", "fits"),
        ("53", "7e", ""),
    ]
    assert problems(rows) == {}
    assert DRIVER.explain is explain


def test_a_wrong_check_byte_says_what_it_should_be() -> None:
    wrong = bytearray.fromhex(SOS)
    wrong[-2] ^= 1
    assert problems(explain(bytes(wrong))) == {"check byte": "should be 73"}


def test_a_wrong_length_says_what_is_there() -> None:
    cut = bytes.fromhex(SOS[:-10] + "7e")
    found = problems(explain(cut))
    assert found["  body length"] == "the body has 30 bytes"
    assert "check byte" in found


@pytest.mark.parametrize("cut", range(1, len(SOS) // 2))
def test_a_frame_that_is_cut_off_is_told_up_to_there(cut: int) -> None:
    found = problems(explain(bytes.fromhex(SOS)[:cut]))
    assert found["delimiter"] == "the frame is not ended"


def test_escapes_are_counted_and_places_go_without_them() -> None:
    rows = told(0x8300, b"\x04~}x")
    assert by_name(rows)["escapes"].value == "2 undone; places are those without them"
    assert by_name(rows)["text"] == Field("14-16", "7e7d78", "text", "~}x")


def test_bytes_that_are_no_frame_have_one_row() -> None:
    (only,) = explain(b"GET / HTTP/1.1")
    assert only.problem == "no delimiter 7E"


def test_a_number_that_is_an_imei_is_told_with_its_check_digit() -> None:
    """49015420323751 is the specification's example; its check digit is 8."""
    rows = explain(encode(Frame(0x0002, f"{49015420323751:012x}", 1, b"")))
    assert by_name(rows)["Header2013.phone"].value == "IMEI 490154203237518"


def test_noise_before_a_frame_is_shown_and_passed_over() -> None:
    rows = explain(b"\r\n" + bytes.fromhex(SOS))
    assert rows[0] == Field("-", "0d0a", "before the frame", "passed over")
    assert problems(rows) == {}


def test_an_item_that_overruns_is_where_reading_stops() -> None:
    body = bytes.fromhex(SOS)[18:46] + bytes.fromhex("010188 31ff01")
    assert problems(told(0x0200, body)) == {
        "item 01 mileage, 0.1 km": "usually 4 bytes; passed over",
        "item 31 satellites": "1 of 255 bytes are there; reading stops here",
    }


def test_nested_items_are_told() -> None:
    body = bytes.fromhex(SOS)[18:46] + bytes.fromhex("eb05 0003 00e1 64")
    assert by_name(told(0x0200, body))["  item EB.00E1"].raw == "64"


@pytest.mark.parametrize(
    ("message", "body", "version", "name", "value"),
    [
        (0x8001, "0007 0200 00", None, "Ack.message", "0200 position"),
        (0x8001, "0007 0200 04", None, "Ack.result", "4 alarm handled"),
        (0x8100, "0007 04", None, "RegisterAnswer.result", "4 no terminal"),
        (0x8100, "0007 00 4b37", None, "code", "K7"),
        (0x0102, "024b37" + "39" * 15 + "7631", 1, "code", "K7"),
        (0x0102, "4b37", None, "code", "K7"),
        (0x8300, "05 c7ebbbd8b8b4", None, "flag", "display, emergency"),
        (0x8300, "0a 02 c7ebbbd8b8b4", 1, "flag", "aloud, emergency"),
        (0x8300, "07 01 c7ebbbd8b8b4", 1, "type", "notice"),
        (0x8202, "0005 00000258", None, "Track.duration", "600"),
        (0x8203, "0000 60000000", None, "ConfirmAlarm.kinds", "collision, rollover"),
        (0x0104, "0007 01 00000001 04 0000003c", None, "parameter 0001 heartbeat, s", "60"),
        (0x8103, "01 00000013 03 612e62", None, "parameter 0013 server", "a.b"),
        (0x8004, "191202101010", 1, "time, UTC", "2019-12-02 10:10:10"),
        (0x8109, "07e9 06 18 02 0f 1f 00", None, "VendorTime.year", "2025"),
        (0x8500, "01", None, "Header2013.message", "8500 of the platform, not handled here"),
        (0x0900, "01", None, "body", ""),
    ],
)
def test_bodies_are_told(
    message: int, body: str, version: int | None, name: str, value: str
) -> None:
    rows = told(message, bytes.fromhex(body), version)
    assert by_name(rows)[name].value == value
    assert problems(rows) == {}


@pytest.mark.parametrize("message", [0x0001, 0x0104, 0x0201, 0x0704, 0x8103, 0x8202, 0x8300])
def test_a_body_that_is_missing_is_a_problem(message: int) -> None:
    assert problems(told(message, b""))


def test_a_batch_that_holds_less_than_it_says_breaks_there() -> None:
    assert "length of a position" in problems(told(0x0704, bytes.fromhex("0001 00 001c 00")))


# --- the frames of others -------------------------------------------------------------------------


def is_broken(line: dict[str, Any]) -> bool:
    return "must reject" in line.get("note", "")


def test_every_broken_frame_of_the_reference_shows_where_it_broke() -> None:
    for line in reference_vectors("jt808"):
        rows = explain(bytes.fromhex(line["hex"]))
        assert 0 < len(rows) <= MOST_ROWS
        broke = problems(rows).keys() & {"check byte", "  body length", "frame"}
        assert bool(broke) == is_broken(line), line["id"]


def test_items_and_alarms_are_those_of_the_reference() -> None:
    seen = alarms = 0
    for line in reference_vectors("jt808"):
        expected = line.get("expect")
        if expected is None or is_broken(line) or "extras" not in expected:
            continue
        rows = explain(bytes.fromhex(line["hex"]))
        items = [row.raw for row in rows if row.name.startswith("item ") and len(row.raw) > 2]
        whole = [raw for raw in items if int(raw[2:4], 16) * 2 == len(raw) - 4]
        there = expected["extras"]
        if expected.get("extras_truncated"):
            there = there[:-1]  # the reference lists what overruns the body
        assert whole == [kind + f"{len(value) // 2:02x}" + value for kind, value in there], line[
            "id"
        ]
        seen += len(whole)
        word = by_name(rows)["PositionBody.alarm"].value
        names = [] if word == "none" else word.split(", ")
        assert len(names) == len(expected.get("alarms", names)), line["id"]
        known = [ALARM_NAMES[name] for name in expected.get("alarms", ()) if name in ALARM_NAMES]
        assert set(known) <= set(names), line["id"]
        alarms += len(known)
    print(f"\n{seen} items and {alarms} alarm bits agree")
    assert seen > 500
    assert alarms >= 45


def test_every_alarm_bit_has_a_name() -> None:
    assert set(ALARMS) == set(range(32))
