"""Every published HSTRP packet agrees, field by field, with what the driver reads."""

import json
from collections import Counter
from typing import Any

import pytest

from drivers.api import Driver, Heard, Reject, Report
from drivers.hytera.hdap import read_messages
from drivers.hytera.hstrp_frames import CHANNEL, DEVICE, Kind, Packet, pack_options, read_options
from drivers.hytera_hrnp import DRIVER as HRNP
from drivers.hytera_hstrp import DRIVER
from gateway.model.events import to_json
from gateway.model.quantities import KNOT_MPS
from tests.support.reference import reference_vectors
from tests.unit.drivers.test_hytera_hrnp import moment
from tests.unit.drivers.test_hytera_reference import Line, differences, message_facts

WRONG_CHECK = {
    "322a4c90677a",  # its text was changed by its publisher, its check was not
    "37c0e83ec8f8",  # a capture of a dispatcher's program that computed it wrongly
}
NO_TABLE = {"channel_status_request"}  # its payload has no published table


def packet_facts(data: bytes) -> dict[str, Any]:
    packet = Packet.unpack(data)
    kinds = (Kind.OPTIONS, Kind.REJECT, Kind.CLOSE, Kind.CONNECT, Kind.HEARTBEAT, Kind.ACK)
    facts: dict[str, Any] = {
        "type": f"0x{packet.kind:02X}",
        "flags": [(kind.name or "").lower() for kind in kinds if packet.kind & kind],
        "sn": packet.number,
    }
    for command, value in read_options(packet.options):
        if command == DEVICE:
            facts["device_id"] = int.from_bytes(value, "big")
        elif command == CHANNEL:
            facts["channel_id"] = value[0]
        else:
            facts[f"opt_{command}"] = value.hex()
    if packet.payload:
        (message,) = read_messages(packet.payload)
        facts["payload"] = message_facts(message)
    return facts


def judge(line: dict[str, Any]) -> Line:
    found, expect = packet_facts(bytes.fromhex(line["hex"])), line["expect"]
    named = expect.get("payload", {}).get("message", "")
    if named in NO_TABLE:
        payload = expect["payload"]
        kept = {"service", "reliable", "length", "checksum", "checksum_ok", "opcode", "payload_hex"}
        expect = expect | {"payload": {key: payload[key] for key in kept}}
    wrong = "; ".join(differences(found, expect))
    verdict = "differ" if wrong else "not handled" if named in NO_TABLE else "agree"
    return Line(line["id"], named or "/".join(expect["flags"]), verdict, wrong)


def test_every_field_of_every_reference_packet_agrees() -> None:
    judged = [judge(line) for line in reference_vectors("hytera_hstrp") if "expect" in line]
    for each in judged:
        print(f"{each.own_id}  {each.message:24} {each.verdict:12} {each.reason}")
    counts = {v: sum(each.verdict == v for each in judged) for v in ("agree", "not handled")}
    print(counts)
    assert [each for each in judged if each.verdict == "differ"] == []
    assert counts == {"agree": 35, "not handled": 1}


def test_reference_packets_come_back_byte_by_byte() -> None:
    for line in reference_vectors("hytera_hstrp"):
        data = bytes.fromhex(line["hex"])
        packet = Packet.unpack(data)
        assert packet.pack() == data
        assert pack_options(*read_options(packet.options)) == packet.options
        if line["id"] in WRONG_CHECK:
            continue
        for message in read_messages(packet.payload):
            assert message.pack() == packet.payload


def test_every_reference_packet_with_a_right_check_is_taken() -> None:
    for line in reference_vectors("hytera_hstrp"):
        codec = DRIVER.new_codec({}, "repeater-1")
        outputs = codec.receive(bytes.fromhex(line["hex"]), moment(0))
        rejected = [output.reason for output in outputs if isinstance(output, Reject)]
        assert rejected == (["checksum"] if line["id"] in WRONG_CHECK else []), line["id"]


# --- events ---------------------------------------------------------------------------------------


def carried(line: dict[str, Any]) -> tuple[Driver[Any], bytes]:
    """A line as its driver hears it; a bare message is put into a packet."""
    data = bytes.fromhex(line["hex"])
    if line["protocol"] == "hytera-hrnp":
        return HRNP, data
    return DRIVER, data if data[:2] == b"2B" else Packet(0, 7, b"", data).pack()


def event_facts(driver: Driver[Any], data: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    codec = driver.new_codec({"connect": False}, "link-1")
    outputs = codec.receive(data, moment(0))
    events = [json.loads(to_json(each.event)) for each in outputs if isinstance(each, Report)]
    return events, [each.radio_id for each in outputs if isinstance(each, Heard)]


OF_THE_RADIO: dict[str, list[dict[str, Any]]] = {  # by message; its place is laid over a fix
    "immediate_answer": [{"type": "position_fix", "trigger": "request"}],
    "immediate_answer_rssi": [{"type": "position_fix", "trigger": "request"}],
    "triggered_report": [{"type": "position_fix", "trigger": "time"}],
    "condition_report": [{"type": "position_fix", "trigger": "unknown"}],
    "condition_report_rssi": [{"type": "position_fix", "trigger": "unknown"}],
    "emergency_report": [
        {"type": "emergency_raised", "kind": "alarm"},
        {"type": "position_fix", "trigger": "emergency"},
    ],
    "emergency_stop_request": [{"type": "emergency_ended", "kind": "alarm"}],
    "emergency_stop_answer": [{"type": "emergency_ended", "kind": "alarm"}],
    "registration_request": [{"type": "radio_registered"}],
    "going_offline": [{"type": "radio_deregistered"}],
}


def expected_events(expect: dict[str, Any]) -> list[dict[str, Any]]:
    """What the gateway must say, worked out from the reference's own words."""
    message, radio = expect["message"], f"dmr:{expect.get('radio_id')}"
    if message in OF_THE_RADIO:
        place = place_facts(expect)
        return [
            facts | {"radio_id": radio} | (place if facts["type"] == "position_fix" else {})
            for facts in OF_THE_RADIO[message]
        ]
    if message in {"private_message", "group_message"}:
        sender, to = f"dmr:{expect['source_id']}", f"dmr:{expect['dest_id']}"
        return [{"type": "text", "radio_id": sender, "to": to, "body": expect["text"]}]
    return call_events(expect)


def place_facts(expect: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"fix_valid": bool(expect.get("fix_valid"))}
    if not facts["fix_valid"]:
        return facts
    facts |= {"lat_deg": expect["lat"], "lon_deg": expect["lon"]}
    if expect["time"] is not None:
        facts["fix_at"] = expect["time"].replace("Z", ".000Z")
    if expect["speed_knots"] is not None:
        facts["speed_mps"] = expect["speed_knots"] * KNOT_MPS
    if expect["course_deg"] is not None:
        facts["course_deg"] = expect["course_deg"]
    return facts


def call_events(expect: dict[str, Any]) -> list[dict[str, Any]]:
    message, sender = expect.get("message"), f"dmr:{expect.get('sender_id')}"
    kind = {"emergency_group": "call"}.get(expect.get("call_type", ""), "alarm")
    if message == "broadcast_rx_status" and expect["process"] == 0x0A:
        return [{"type": "emergency_ended", "radio_id": sender, "kind": kind}]
    if message in {"broadcast_rx_status", "repeater_tx_status"} and expect["emergency"]:
        group = f"dmr:{expect['target_id']}"
        raised = {"type": "emergency_raised", "radio_id": sender, "kind": kind}
        return [raised | {"talkgroup_id": group}]
    if message == "radio_status_report" and expect["target"] in {9, 0x0E, 0x17}:
        kinds = {9: "alarm", 0x0E: "man_down", 0x17: "lone_worker"}
        verb = "emergency_raised" if expect["value"] else "emergency_ended"
        return [{"type": verb, "kind": kinds[expect["target"]]}]
    return []


def test_events_say_what_the_reference_says() -> None:
    counts: Counter[str] = Counter()
    names = ("hytera_hrnp", "hytera_hstrp", "hytera_hdap")
    for line in (line for name in names for line in reference_vectors(name)):
        if "expect" not in line:
            continue
        expect = line["expect"].get("payload") or line["expect"]
        if "message" not in expect:
            continue
        events, heard = event_facts(*carried(line))
        wanted = [] if expect.get("checksum_ok") is False else expected_events(expect)
        for event, facts in zip(events, wanted, strict=True):
            for key, value in facts.items():
                where = f"{line['id']} {expect['message']} {key}"
                if isinstance(value, float):
                    assert event[key] == pytest.approx(value, abs=6e-8), where
                else:
                    assert event[key] == value, where
        verdict = "event" if events else "alive" if heard else "nothing to report"
        print(f"{line['id']}  {expect['message']:34} {verdict}")
        counts[verdict] += 1
    print(dict(counts))
    assert counts == {"event": 34, "alive": 12, "nothing to report": 36}
