"""The MOTOTRBO drivers against published messages, field by field (``pytest -s``)."""

from collections.abc import Callable
from typing import Any

from drivers.api import Driver, Moment, Reject
from drivers.moto_ars import (
    ACKNOWLEDGE,
    CONTROL,
    EVENTS,
    FAILURE,
    MORE,
    PRIORITY,
    REFRESH_MIN,
    Kind,
    read_message,
    read_registration,
)
from drivers.moto_ars import (
    DRIVER as ARS,
)
from drivers.moto_lrrp import DRIVER as LRRP
from drivers.moto_tms import DRIVER as TMS
from drivers.moto_tms import UCS2
from drivers.moto_tms import read_message as read_tms
from drivers.motorola.mbxml import Bytes, read_answer, read_document
from drivers.motorola.mbxml import Kind as Document
from gateway.model.quantities import Instant
from tests.support.reference import reference_vectors

NOW = Moment(1000.0, Instant.parse("2026-05-01T08:00:00Z"))
Facts = dict[str, Any]

ARS_NAMES = {
    Kind.REGISTER: "device_registration",
    Kind.DEREGISTER: "device_deregistration",
    Kind.REGISTER_USER: "user_registration",
    Kind.QUERY: "query",
    Kind.RESPONSE: "device_or_query_response",
}


def ars_facts(data: bytes) -> Facts:
    message = read_message(data)
    header, kind = message.header, Kind(message.kind)
    facts: Facts = {
        "length_ok": message.is_length_right,
        "header": f"0x{header:02X}",
        "extended": bool(header & MORE),
        "ack": bool(header & ACKNOWLEDGE),
        "priority": bool(header & PRIORITY),
        "control": bool(header & CONTROL),
        "message": ARS_NAMES[kind],
    }
    if kind in {Kind.REGISTER, Kind.REGISTER_USER}:
        said = read_registration(message.rest, has_second=bool(header & MORE))
        return facts | {
            "event": EVENTS.get(said.event) or said.event,
            "encoding": said.encoding,
            "device_id": said.device.decode(),
            "user_id": said.user.decode(),
            "password": said.password.decode(),
        }
    if kind is Kind.RESPONSE:
        if message.rest == bytes.fromhex("1080"):
            return facts | {"csbk_ars": True}
        facts["success"] = not header & FAILURE
        if message.rest:
            facts["refresh_min"] = message.rest[0] * REFRESH_MIN
    return facts


LRRP_NAMES = {
    Document.IMMEDIATE_REQUEST: "immediate_request",
    Document.IMMEDIATE_REPORT: "immediate_report",
    Document.TRIGGERED_REQUEST: "triggered_request",
    Document.TRIGGERED_REPORT: "triggered_report",
    Document.STOP_REQUEST: "stop_request",
    Document.UNSOLICITED_REPORT: "unsolicited_report",
}


def lrrp_facts(data: bytes) -> Facts:
    document = read_document(data)
    kind = Document(document.kind)
    facts: Facts = {
        "doc_id": f"0x{document.own_id:02X}",
        "message": LRRP_NAMES[kind],
        "length_ok": True,  # anything else is refused
    }
    if kind.name.endswith("REQUEST"):
        return facts | request_facts(document.tokens)
    answer = read_answer(document)
    assert answer.is_whole
    return facts | {
        "request_id": answer.request_id.hex() if answer.request_id else None,
        "time": answer.at.text().replace(".000", "") if answer.at is not None else None,
        "lat": answer.lat_deg,
        "lon": answer.lon_deg,
        "radius_m": answer.accuracy_m,
        "altitude_m": answer.altitude_m,
        "speed_raw": answer.speed_mps,
        "vspeed_raw": answer.climb_mps,
        "course_deg": answer.course_deg,
        "uint8_0x6B": answer.level,
        "result_code": answer.result,
        "error_text_hex": answer.text.hex(),
    }


def request_facts(reader: Bytes) -> Facts:
    """Requests are sent and never read, so the tokens that we write are read here."""
    facts: Facts = {}
    while reader.at < len(reader.data):
        token = reader.u8()
        if token == 0x22:
            facts["request_id"] = reader.take(reader.u8()).hex()
        elif token == 0x31:
            facts["interval_s"] = reader.uintvar()
        elif token == 0x34:
            facts["periodic"] = True
        elif token == 0x51:
            facts["ret_info"] = "0x51"
        else:
            assert token == 0x62
            facts["want_speed"] = True
    return facts


def tms_facts(data: bytes) -> Facts:
    message = read_tms(data)
    facts: Facts = {
        "length_ok": True,  # anything else is refused
        "header": f"0x{message.header:02X}",
        "extended": bool(message.header & MORE),
        "ack_requested": bool(message.header & ACKNOWLEDGE),
        "control": bool(message.header & CONTROL),
        "message": "ack" if message.is_ack else "text",
        "address_hex": message.address.hex(),
        "sequence": message.number,
        "encoding": message.encoding,
    }
    if message.is_text:
        assert message.encoding == UCS2
        facts["text"] = message.content.decode("utf-16-le")
    elif not message.is_ack:
        facts |= {"message": "service_availability", "capability": message.content[0]}
    return facts


def agree(name: str, facts_of: Callable[[bytes], Facts], driver: Driver[Any]) -> int:
    """Every field of every line; prints the table, and returns how many lines agree."""
    count = 0
    wrong = []
    for line in reference_vectors(name):
        data = bytes.fromhex(line["hex"])
        outputs = driver.new_codec({}, "link-1", "12.0.0.11:4001").receive(data, NOW)
        assert not any(isinstance(one, Reject) for one in outputs), f"{line['id']}: {outputs}"
        if "expect" not in line:
            print(f"{line['id']}  decodes, {len(outputs)} outputs")
            continue
        found = facts_of(data)
        differ = {
            field: (found.get(field), value)
            for field, value in line["expect"].items()
            if not same(found.get(field), value)
        }
        print(f"{line['id']}  {line['expect']['message']:26} {'differ' if differ else 'agree'}")
        if differ:
            wrong.append((line["id"], differ))
        count += not differ
    assert wrong == []
    return count


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float):
        return ours is not None and abs(ours - theirs) <= 5e-7
    return bool(ours == theirs)


def test_every_field_of_every_ars_line_agrees() -> None:
    assert agree("motorola_ars", ars_facts, ARS) == 8


def test_every_field_of_every_lrrp_line_agrees() -> None:
    assert agree("motorola_lrrp", lrrp_facts, LRRP) == 17


def test_every_number_of_mbxml_agrees() -> None:
    lines = reference_vectors("motorola_mbxml_numbers")
    for line in lines:
        reader = Bytes(bytes.fromhex(line["hex"]))
        value = getattr(reader, line["protocol"].rpartition("-")[2])()
        assert value == line["expect"]["value"], line["id"]
        assert reader.at == len(reader.data)
    assert len(lines) == 12


def test_every_field_of_every_tms_line_agrees() -> None:
    assert agree("motorola_tms", tms_facts, TMS) == 5
