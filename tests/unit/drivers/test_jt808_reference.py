"""The JT/T 808 driver against captured and published frames, decoded by others before us.

The table at the end of the output (``pytest -s``) counts what agrees, what differs with a reason,
and what is not handled.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from drivers.api import Moment, Output, Reject, Report
from drivers.jt808 import DRIVER
from drivers.jtt808.frames import Frame, decode, encode
from drivers.jtt808.messages import (
    ALARM_EMERGENCY,
    STATUS_ENCRYPTED,
    STATUS_FIXED,
    STATUS_SOUTH,
    STATUS_WEST,
    Ack,
    ConfirmAlarm,
    PositionBody,
    RegisterAnswer,
    Track,
    read_answered_position,
    read_auth,
    read_batch,
    read_items,
    read_parameters,
    read_register,
    text,
)
from drivers.jtt808.reports import instant_of
from gateway.model.events import EmergencyRaised, PositionFix
from gateway.model.quantities import Instant
from tests.support.reference import reference_vectors

NOW = Moment(1000.0, Instant.parse("2026-05-01T08:00:00Z"))
CHINA_S = 8 * 3600
ENCRYPTED = {"0x0801"}

Fields = dict[str, Any]
# Fields of the reference that no event of ours needs (test_jt808_explain.py looks at items and
# alarms), and its own name for a message.
NOT_HANDLED = {
    "alarms",
    "extras",
    "extras_truncated",
    "manual_alarm_event_id",
    "message",
    "recorder_speed_kmh",
    "rssi",
    "trailing_hex",
}


def header_fields(frame: Frame) -> Fields:
    found: Fields = {
        "checksum_ok": True,  # else there were no frame
        "length_ok": True,
        "msg_id": f"0x{frame.message:04X}",
        "body_length": len(frame.body),
        "encryption": 0,
        "subpackage": frame.part is not None,
        "version": "2013" if frame.version is None else "2019",
        "phone": frame.phone,
        "serial": frame.serial,
    }
    if frame.version is not None:
        found["protocol_version"] = frame.version
    if frame.part is not None:
        found |= {"package_total": frame.part.total, "package_seq": frame.part.number}
    return found


def position_fields(body: bytes) -> Fields:
    position, items = PositionBody.unpack(body), read_items(body)
    status = position.status
    time = instant_of(position.time, CHINA_S)
    found: Fields = {
        "alarm_mask": f"0x{position.alarm:08X}",
        "emergency": bool(position.alarm & ALARM_EMERGENCY),
        "status_mask": f"0x{status:08X}",
        "fix_valid": bool(status & STATUS_FIXED),
        "lat": position.latitude * (-1 if status & STATUS_SOUTH else 1) / 1e6,
        "lon": position.longitude * (-1 if status & STATUS_WEST else 1) / 1e6,
        "altitude_m": position.altitude,
        "speed_kmh": position.speed / 10,
        "course_deg": position.course,
        "time": time.text().replace(".000Z", "Z") if time is not None else None,
    }
    if status & STATUS_ENCRYPTED:
        found["coords_encrypted"] = True
    if items.mileage is not None:
        found["mileage_km"] = items.mileage / 10
    if items.satellites is not None:
        found["satellites"] = items.satellites
    return found


def answered_position_fields(frame: Frame) -> Fields:
    serial, body = read_answered_position(frame.body)
    return {"ack_serial": serial, **position_fields(body)}


def batch_fields(frame: Frame) -> Fields:
    head, bodies = read_batch(frame.body)
    used = 3 + sum(2 + len(body) for body in bodies)
    return {
        "count": head.count,
        "batch_type": {0: "normal", 1: "blind_area"}[head.kind],
        "batch_consumed": used == len(frame.body),
        "positions": [position_fields(body) for body in bodies],
    }


def register_fields(frame: Frame) -> Fields:
    read = read_register(frame.body, frame.version)
    assert read is not None
    form, plate = read
    return {
        "province": form.province,
        "city": form.city,
        "manufacturer": text(form.maker),
        "model": text(form.model),
        "terminal_id": text(form.terminal),
        "plate_color": form.plate_colour,
        "plate": plate,
    }


def auth_fields(frame: Frame) -> Fields:
    auth = read_auth(frame.body, frame.version)
    found: Fields = {"auth_code": auth.code}
    if frame.version is not None:
        found |= {"imei": auth.imei, "software": auth.software}
    return found


def ack_fields(frame: Frame) -> Fields:
    ack = Ack.unpack(frame.body)
    return {
        "ack_serial": ack.serial,
        "ack_msg_id": f"0x{ack.message:04X}",
        "result": ack.result,
    }


def register_answer_fields(frame: Frame) -> Fields:
    answer = RegisterAnswer.unpack(frame.body)
    found: Fields = {"ack_serial": answer.serial, "result": answer.result}
    if answer.result == 0:
        found["auth_code"] = text(frame.body[RegisterAnswer.size :])
    return found


def track_fields(frame: Frame) -> Fields:
    track = Track.unpack(frame.body)
    return {"interval_s": track.interval, "duration_s": track.duration}


def text_fields(frame: Frame) -> Fields:
    """8300 as the emulated terminal reads it and as the gateway writes it."""
    flag, start = frame.body[0], 1 if frame.version is None else 2
    is_urgent = flag & 1 if frame.version is None else flag & 3 == TEXT_URGENT_2019
    found = {
        "flag": flag,
        "emergency_text": bool(is_urgent),
        "text": text(frame.body[start:]),
    }
    return found if frame.version is None else found | {"text_type": frame.body[1]}


def nothing(frame: Frame) -> Fields:
    assert not frame.body
    return {}


def parameter_fields(frame: Frame) -> Fields:
    """The reference gives no fields; those that fit are read, and no more than were announced."""
    if frame.message == 0x0104:
        serial, found = read_parameters(frame.body)
        assert serial == int.from_bytes(frame.body[:2], "big")
        assert len(found) <= frame.body[2]
    return {}


BODIES: dict[int, Callable[[Frame], Fields]] = {
    0x0001: ack_fields,
    0x8001: ack_fields,
    0x0100: register_fields,
    0x8100: register_answer_fields,
    0x0102: auth_fields,
    0x0200: lambda frame: position_fields(frame.body),
    0x0201: answered_position_fields,
    0x0704: batch_fields,
    0x0002: nothing,
    0x0003: nothing,
    0x0104: parameter_fields,
    0x8104: nothing,
    0x8201: nothing,
    0x8202: track_fields,
    0x8203: lambda frame: {"kinds": ConfirmAlarm.unpack(frame.body).kinds},
    0x8300: text_fields,
}

# Where the reference and we read the same bytes differently: when, and why.
TEXT_URGENT_2019 = 0b10
DIFFERENT = {
    ("0x8300", "emergency_text"): "bits 0-1 are one field from 2019 on, of which 01 is a service",
}


def lines() -> list[dict[str, Any]]:
    return reference_vectors("jt808")


def is_broken(line: dict[str, Any]) -> bool:
    return "must reject" in line.get("note", "")


def content(line: dict[str, Any]) -> bytes:
    return bytes.fromhex(line["hex"])[1:-1]


def play(line: dict[str, Any]) -> list[Output]:
    codec = DRIVER.new_codec({}, "link-1")
    return [*codec.receive(bytes.fromhex(line["hex"]), NOW), *codec.flush(NOW)]


def show(rows: list[str]) -> None:
    print("\n" + "\n".join(rows))


def compare(expected: Fields, found: Fields, table: Counter[tuple[str, str]], where: str) -> None:
    for name, value in expected.items():
        if name == "positions":
            for one, ours in zip(value, found["positions"], strict=True):
                compare(one, ours, table, where)
        elif name in NOT_HANDLED or name not in found:
            assert name in NOT_HANDLED or where not in BODY_NAMES, f"{where}.{name} is not read"
            table[where, "not handled"] += 1
        elif found[name] != value:
            assert (where, name) in DIFFERENT, f"{where}.{name}: {found[name]!r}, not {value!r}"
            table[where, "differ"] += 1
        else:
            table[where, "agree"] += 1


BODY_NAMES = {f"0x{message:04X}" for message in BODIES}


def test_every_field_of_the_reference_agrees() -> None:
    table: Counter[tuple[str, str]] = Counter()
    for line in lines():
        expected = line.get("expect")
        if expected is None or is_broken(line):
            continue
        frame = decode(content(line))
        if expected["encryption"]:
            assert isinstance(frame, Reject)
            assert frame.reason == "encrypted"
            table[expected["msg_id"], "refused: encrypted"] += 1
            continue
        assert isinstance(frame, Frame), f"{line['id']}: {frame}"
        found = header_fields(frame)
        if frame.message in BODIES and frame.part is None:
            found |= BODIES[frame.message](frame)
        compare(expected, found, table, expected["msg_id"])
    verdicts = sorted({verdict for _, verdict in table})
    shown = [f"{'message':10}" + "".join(f"{verdict:>20}" for verdict in verdicts)]
    for message in sorted({message for message, _ in table}):
        row = "".join(f"{table[message, verdict]:>20}" for verdict in verdicts)
        shown.append(f"{message:10}{row}")
    show([*shown, *(f"differ: {where}.{name}: {why}" for (where, name), why in DIFFERENT.items())])
    assert table["0x0200", "agree"] > 1500
    assert sum(count for (_, verdict), count in table.items() if verdict == "differ") == 3


@pytest.mark.parametrize("wanted", ["checksum", "length"])
def test_every_broken_frame_of_the_reference_is_refused(wanted: str) -> None:
    broken = [line for line in lines() if is_broken(line)]
    reasons: Counter[str] = Counter()
    for line in broken:
        outputs = play(line)
        assert outputs, line["id"]
        assert all(isinstance(one, Reject) for one in outputs), f"{line['id']}: {outputs}"
        reasons.update(one.reason for one in outputs if isinstance(one, Reject))
    assert set(reasons) == {"checksum", "length"}
    assert reasons[wanted] > 10


def test_every_whole_frame_of_the_reference_passes_and_no_frame_raises() -> None:
    for line in lines():
        outputs = play(line)
        if not is_broken(line) and line.get("expect", {}).get("msg_id") not in ENCRYPTED:
            assert not any(isinstance(one, Reject) for one in outputs), f"{line['id']}: {outputs}"


def reason_for_no_place(position: Fields) -> str | None:
    """Why a report with status bit 1 is still not shown on the map."""
    if abs(position["lat"]) > 90 or abs(position["lon"]) > 180:
        return "not on the globe"
    if position.get("coords_encrypted") and 18 <= position["lat"] <= 54:
        return "offset coordinates within China"
    return None


def check_event(fix: PositionFix, position: Fields, table: Counter[str]) -> None:
    """The event against the reference's position, in the gateway's units."""
    reason = reason_for_no_place(position) if position["fix_valid"] else None
    assert fix.fix_valid == (position["fix_valid"] and reason is None)
    time = position.get("time")
    assert fix.fix_at == (Instant.parse(time) if time else None)
    assert fix.satellites == position.get("satellites")
    mileage_km = position.get("mileage_km")
    assert fix.odometer_m == (None if mileage_km is None else pytest.approx(mileage_km * 1000))
    if not fix.fix_valid:
        assert (fix.lat_deg, fix.lon_deg, fix.altitude_m, fix.speed_mps) == (None,) * 4
        table[f"no place: {reason or 'status bit 1 is not set'}"] += 1
        return
    assert (fix.lat_deg, fix.lon_deg) == (position["lat"], position["lon"])
    assert fix.altitude_m == position["altitude_m"]
    assert fix.speed_mps == pytest.approx(position["speed_kmh"] / 3.6)
    assert fix.course_deg == position["course_deg"] % 360
    table["place, speed and course agree"] += 1


def test_events_agree_with_the_reference() -> None:
    table: Counter[str] = Counter()
    for line in lines():
        expected = line.get("expect")
        if expected is None or is_broken(line):
            continue
        positions = expected.get("positions") or ([expected] if "lat" in expected else [])
        events = [one.event for one in play(line) if isinstance(one, Report)]
        fixes = [event for event in events if isinstance(event, PositionFix)]
        if not positions:
            assert not fixes, line["id"]
            continue
        radio = f"jt808:{expected['phone']}"
        assert {event.radio_id for event in events} == {radio}
        alarms = [
            event
            for event in events
            if isinstance(event, EmergencyRaised) and event.kind == "alarm"
        ]
        assert len(alarms) == sum(position["emergency"] for position in positions), line["id"]
        for fix, position in zip(fixes, positions, strict=True):
            check_event(fix, position, table)
        table["emergencies agree"] += len(alarms)
    show([f"{count:5}  {name}" for name, count in sorted(table.items())])
    assert table["emergencies agree"] == 28
    assert table["place, speed and course agree"] >= 90


def test_our_encoder_gives_the_published_bytes() -> None:
    """Whatever decodes, encodes to the same bytes, but for terminals that forget an escape."""
    same = sloppy = 0
    for line in lines():
        frame = decode(content(line))
        if isinstance(frame, Reject):
            continue
        if encode(frame).hex() == line["hex"].lower():
            same += 1
        else:
            plain = content(line)
            escapes = plain.count(b"\x7d\x01") + plain.count(b"\x7d\x02")
            assert plain.count(b"\x7d") > escapes, line["id"]
            sloppy += 1
    assert same > 550
    assert sloppy <= 5
