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
