"""Every published Hytera message agrees, field by field, with what the structs read."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from drivers.api import Reject
from drivers.hytera.gps import Gps40, _degrees
from drivers.hytera.hdap import (
    ID_MASK,
    HdapError,
    LpEmergencyReport,
    LpImmediateAnswer,
    LpTriggeredReport,
    Message,
    Service,
    body_kind,
    byte_order,
    read_body,
    read_messages,
    unpack_switches,
)
from drivers.hytera.hrnp_frames import Frame, FrameScanner, HrnpHeader, Opcode
from drivers.hytera.reports import EMERGENCY_CALL_TYPES
from drivers.hytera.tmp import (
    OPTION_BIT,
    read_text,
)
from drivers.wire import Layout, hdap8
from gateway.model.quantities import KNOT_MPS, Instant
from tests.support.reference import reference_vectors

NEAR = Instant.parse("2026-05-01T08:00:00Z")
WRONG_CHECK = "its check is wrong in the publication: rejected"

CALL_TYPES = {
    0: "private",
    1: "group",
    3: "emergency_group",
    5: "emergency_alarm",
    0x0C: "emergency_alarm_call",
}
REPEATER_STATUS = {
    2: "ip_repeating",
    4: "channel_hang",
    5: "sleep",
    7: "remote_ptt_hang",
    8: "remote_ptt_end",
}
REPEATER_SERVICE = {0: "none", 1: "voice", 2: "tmp", 4: "rrs", 6: "supplementary"}
NAMES: dict[tuple[int, int], str] = {
    (Service.RRS, 0x0001): "going_offline",
    (Service.RRS, 0x0002): "status_check_request",
    (Service.RRS, 0x0003): "registration_request",
    (Service.RRS, 0x0080): "registration_answer",
    (Service.LP, 0xA001): "immediate_request",
    (Service.LP, 0xA002): "immediate_answer",
    (Service.LP, 0xA003): "immediate_answer_rssi",
    (Service.LP, 0xB001): "emergency_stop_request",
    (Service.LP, 0xB002): "emergency_stop_answer",
    (Service.LP, 0xB003): "emergency_report",
    (Service.LP, 0xC001): "triggered_request",
    (Service.LP, 0xC003): "triggered_report",
    (Service.LP, 0xD001): "condition_request",
    (Service.LP, 0xD003): "condition_report",
    (Service.RCP, 0x0041): "button_request",
    (Service.RCP, 0x8041): "button_reply",
    (Service.RCP, 0x0841): "call_request",
    (Service.RCP, 0x1847): "broadcast_msg_config_request",
    (Service.RCP, 0x10C9): "broadcast_status_config_request",
    (Service.RCP, 0x8452): "radio_id_ip_reply",
    (Service.RCP, 0x8841): "call_reply",
    (Service.RCP, 0x8847): "broadcast_msg_config_reply",
    (Service.RCP, 0xB0C8): "radio_status_report",
    (Service.RCP, 0xB843): "broadcast_tx_status",
    (Service.RCP, 0xB844): "broadcast_rx_status",
    (Service.RCP, 0xB845): "repeater_tx_status",
}
TEXT_NAMES = {0xA1: "private_message", 0xA2: "private_ack", 0xB1: "group_message"}


class Line(NamedTuple):
    """One reference line and what became of it."""

    own_id: str
    message: str
    verdict: str  # agree, differ, not handled
    reason: str = ""


def lines(*names: str) -> list[dict[str, Any]]:
    return [line for name in names for line in reference_vectors(name)]


def frames_of(data: bytes) -> list[Frame | Reject]:
    scanner = FrameScanner()
    return [*scanner.feed(data), *scanner.give_up()]


# --- what the structs say, in the words of the reference ------------------------------------------


def header_facts(data: bytes) -> dict[str, Any]:
    (frame,) = frames_of(data)
    assert isinstance(frame, Frame)
    header = HrnpHeader.unpack(data)
    facts: dict[str, Any] = {
        "version": frame.version,
        "block": header.block,
        "opcode": Opcode(frame.opcode).name.lower(),
        "src": frame.source,
        "dst": frame.destination,
        "packet_number": frame.number,
        "length": header.length,
        "checksum": header.checksum,
        "checksum_ok": frame.pack() == data,
    }
    if frame.payload:
        (message,) = read_messages(frame.payload)
        facts["payload"] = message_facts(message)
    return facts


def message_facts(message: Message) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "service": Service(message.service).name,
        "reliable": message.is_reliable,
        "length": len(message.payload),
        "checksum": message.pack()[-2],
        "checksum_ok": True,
    }
    if message.service == Service.TMP:
        return facts | text_facts(message)
    if message.service == Service.RCP:
        facts |= {"opcode": f"0x{message.opcode:04X}", "payload_hex": message.payload.hex()}
    name = NAMES.get((message.service, message.opcode))
    facts["message"] = name or "other"
    if name is None:
        return facts
    if message.opcode == 0x10C9:
        facts["settings"] = [list(pair) for pair in unpack_switches(message.payload)]
        return facts
    body = read_body(message)
    assert body is not None
    return facts | body_facts(message, body)


def body_facts(message: Message, body: Layout) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, rename in FIELDS.items():
        if hasattr(body, name):
            facts |= rename(getattr(body, name))
    if message.opcode in {0xB844, 0xB845} and hasattr(body, "call_type"):
        facts["emergency"] = body.call_type in EMERGENCY_CALL_TYPES
    if message.opcode == 0xB003:
        facts["emergency"] = True
    if message.opcode == 0xA001 and len(message.payload) > body.size:
        facts["extra_hex"] = message.payload[body.size :].hex()
    if message.opcode == 0x8452:
        facts |= identity_facts(body)
    return facts


def identity_facts(body: Any) -> dict[str, Any]:
    if body.which == 0:
        return {"target": "radio_id", "radio_id": body.number}
    return {"target": "radio_ip", "radio_ip": ".".join(map(str, body.value))}


def address_facts(address: int) -> dict[str, Any]:
    return {"radio_ip": ip(address), "radio_id": address & ID_MASK}


def gps_facts(record: bytes) -> dict[str, Any]:
    gps = Gps40.unpack(record)
    fix = gps.fix(NEAR)
    lat = fix.lat_deg if fix.is_valid else _degrees("", gps.latitude, gps.north_south, b"NS", 90)
    lon = fix.lon_deg if fix.is_valid else _degrees("", gps.longitude, gps.east_west, b"EW", 180)
    return {
        "fix_valid": fix.is_valid,
        "lat": round(lat or 0.0, 7),
        "lon": round(lon or 0.0, 7),
        "speed_knots": None if fix.speed_mps is None else round(fix.speed_mps / KNOT_MPS, 3),
        "course_deg": fix.course_deg,
        "time": None if fix.fix_at is None else fix.fix_at.text().replace(".000Z", "Z"),
    }


def text_facts(message: Message) -> dict[str, Any]:
    text = read_text(message)
    assert text.message(is_reliable=message.is_reliable) == message
    facts: dict[str, Any] = {
        "message": TEXT_NAMES[text.kind],
        "flag_bit7": text.flags >> 7,
        "option": bool(text.flags & OPTION_BIT),
        "reserved": text.flags & 0x3F,
        "request_id": text.request_id,
        "dest_id": text.destination & ID_MASK,
        "dest_ip": ip(text.destination),
    }
    if text.source is not None:
        facts |= {"source_id": text.source & ID_MASK, "source_ip": ip(text.source)}
    if text.kind == 0xA2:
        return facts | {"result": text.body[0], "option_hex": text.option.hex()}
    return facts | {"text": text.text}


def ip(address: int) -> str:
    return ".".join(map(str, address.to_bytes(4, "big")))


FIELDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "address": address_facts,
    "gps": gps_facts,
    "request_id": lambda value: {"request_id": value},
    "result": lambda value: {"result": value},
    "validity_s": lambda value: {"renew_s": value},
    "emergency_type": lambda value: {"emergency_type": value},
    "rssi": lambda value: {"rssi_raw": value},
    "start": lambda value: {"start": value.decode()},
    "stop": lambda value: {"stop": value.decode()},
    "interval": lambda value: {"interval": value.decode()},
    "max_interval": lambda value: {"max_interval": value.decode()},
    "remaining": lambda value: {"time_remaining": value.decode()},
    "trigger": lambda value: {"trigger_type": value},
    "distance_m": lambda value: {"distance_m": value},
    "process": lambda value: {"process": value},
    "source": lambda value: {"source": value},
    "mode": lambda value: {"mode": value},
    "status": lambda value: {"status": REPEATER_STATUS[value]},
    "service": lambda value: {"repeater_service": REPEATER_SERVICE[value]},
    "call_type": lambda value: {"call_type": CALL_TYPES[value]},
    "sender": lambda value: {"sender_id": value},
    "target": lambda value: {"target": value, "target_id": value},
    "function": lambda value: {"function": value, "key": value},
    "action": lambda value: {"action": value},
    "value": lambda value: {"value": value},
    "mask": lambda value: {"broadcast_mask": value},
}


# --- comparing ------------------------------------------------------------------------------------


def differences(found: dict[str, Any], expect: dict[str, Any], where: str = "") -> Iterator[str]:
    """What of ``expect`` is not ``found``; facts that only the structs know are not looked at."""
    for key, value in expect.items():
        have = found.get(key, "nothing")
        if isinstance(value, dict):
            yield from differences(have, value, f"{where}{key}.")
        elif isinstance(value, float) and isinstance(have, float):
            if not math.isclose(have, value, abs_tol=6e-8):
                yield f"{where}{key}: {have} instead of {value}"
        elif have != value:
            yield f"{where}{key}: {have!r} instead of {value!r}"


def judge(line: dict[str, Any]) -> Line:
    data, expect = bytes.fromhex(line["hex"]), line["expect"]
    message = (expect.get("payload") or expect).get("message") or expect.get("opcode", "")
    if expect.get("checksum_ok") is False:
        with pytest.raises(HdapError, match="check") as caught:
            list(read_messages(data))
        assert caught.value.reason == "checksum"
        (own,) = read_messages(data[:-2] + bytes((hdap8(data[1:-2]),)) + data[-1:])
        wrong = [text for text in differences(message_facts(own), expect) if "check" not in text]
        return Line(line["id"], message, "differ", "; ".join(wrong) or WRONG_CHECK)
    if line["protocol"] == "hytera-hrnp":
        found = header_facts(data)
    else:
        (own,) = read_messages(data)
        found = message_facts(own)
    wrong = list(differences(found, expect))
    if wrong:
        return Line(line["id"], message, "differ", "; ".join(wrong))
    return Line(line["id"], message, "not handled" if message == "other" else "agree")


def test_every_field_of_every_reference_message_agrees_or_differs_for_a_known_reason() -> None:
    judged = [judge(line) for line in lines("hytera_hrnp", "hytera_hdap") if "expect" in line]
    for each in judged:
        print(f"{each.own_id}  {each.message:34} {each.verdict:12} {each.reason}")
    counts = {v: sum(each.verdict == v for each in judged) for v in ("agree", "not handled")}
    print(counts)
    differing = [each for each in judged if each.verdict == "differ"]
    assert [each for each in differing if each.reason != WRONG_CHECK] == []
    assert len(differing) == 1
    assert counts["agree"] >= 50
    assert counts["not handled"] == 4, "opcodes 0004, 8004 and 82D4, which no table describes"


def test_reference_messages_come_back_byte_by_byte_from_their_structs() -> None:
    packed = 0
    for line in lines("hytera_hrnp", "hytera_hdap"):
        data = bytes.fromhex(line["hex"])
        if line["protocol"] == "hytera-hrnp":
            (frame,) = frames_of(data)
            assert isinstance(frame, Frame)
            assert frame.pack() == data
            data = frame.payload
        if line.get("expect", {}).get("checksum_ok") is False:
            continue
        for message in read_messages(data):
            assert message.pack() == data[: len(message.pack())]
            body = read_body(message)
            if body is not None:
                assert body.pack() == message.payload[: body.size]
                packed += 1
    assert packed > 50


def test_reference_messages_without_an_expectation_are_read_without_an_exception() -> None:
    silent = [line for line in lines("hytera_hrnp", "hytera_hdap") if "expect" not in line]
    assert silent
    for line in silent:
        data = bytes.fromhex(line["hex"])
        if line["protocol"] == "hytera-hrnp":
            (frame,) = frames_of(data)
            assert isinstance(frame, Frame), line["id"]
            data = frame.payload
        for message in read_messages(data):
            if message.service == Service.TMP:
                read_text(message)
            body = read_body(message)
            assert (body is None) == (body_kind(message) is None)


def test_valid_positions_of_the_captures_lie_in_the_towns_where_they_were_taken() -> None:
    places = {
        "3f9903a5eb60": (47.6116250, 7.6544667),
        "3d95a9105dc9": (47.4002633, 7.5184550),
        "171a1fad4b32": (50.0646183, 14.4421700),
    }
    for line in lines("hytera_hdap"):
        if line["id"] not in places:
            continue
        (message,) = read_messages(bytes.fromhex(line["hex"]))
        body = read_body(message)
        assert isinstance(body, LpImmediateAnswer | LpTriggeredReport | LpEmergencyReport)
        fix = Gps40.unpack(body.gps).fix(NEAR)
        lat, lon = places.pop(line["id"])
        assert fix.lat_deg == pytest.approx(lat, abs=1e-6)
        assert fix.lon_deg == pytest.approx(lon, abs=1e-6)
    assert not places


@pytest.mark.parametrize("service", [Service.RCP, Service.LP])
def test_damaged_check_end_or_length_of_a_message_is_rejected(service: Service) -> None:
    good = Message(service, 0xB844, bytes(range(12))).pack()
    assert byte_order(service) == ("little" if service is Service.RCP else "big")
    cases = {
        "checksum": good[:-2] + bytes((good[-2] ^ 1, good[-1])),
        "trailer": good[:-1] + b"\x04",
        "length": good[:-1],
    }
    for reason, data in [*cases.items(), ("length", good[:5])]:
        with pytest.raises(HdapError) as caught:
            list(read_messages(data))
        assert caught.value.reason == reason
