"""The TETRA driver against captured and published messages, field by field (``pytest -s``)."""

from typing import Any, NamedTuple

import pytest

from drivers.api import Heard, Moment, Output, Reject, Report
from drivers.tetra.lines import Line, Lines, octets, read_header
from drivers.tetra.lip import ERROR_M, REASON_EMERGENCY, Bits, Location, read_location
from drivers.tetra.sds import REPORT, TEXTS, read_text, read_transport
from drivers.tetra_pei import DRIVER
from gateway.model.events import EmergencyRaised, PositionFix
from gateway.model.quantities import Instant
from tests.support.reference import reference_vectors

NOW = Moment(1000.0, Instant.parse("2026-05-01T08:00:00Z"))
COURSE = "direction 15 with an unknown speed means unknown"
Facts = dict[str, Any]


class Judged(NamedTuple):
    own_id: str
    message: str
    verdict: str
    reason: str


def text_of(line: Facts) -> bytes:
    """A LIP line gets the header that a radio would print before its digits."""
    if "text" in line:
        return str(line["text"]).encode()
    digits = line["hex"]
    return f"+CTSDSR: 12,4470001,0,4479999,0,{len(digits) * 4}\r\n{digits}".encode()


def play(line: Facts) -> list[Output]:
    codec = DRIVER.new_codec({"services": []}, "tetra-1")
    return [*codec.receive(text_of(line), NOW), *codec.flush(NOW)]


def lip_facts(digits: str, bits: int) -> Facts:
    reader = Bits(int(digits, 16) >> (len(digits) * 4 - bits), bits)
    reader.take(8, "protocol identifier")
    location = read_location(reader)
    assert isinstance(location, Location)
    raw = reader.raw
    is_short = raw["PDU type"] == 0
    facts: Facts = {
        "message": "short_location_report" if is_short else "long_location_report",
        "speed_kmh": location.speed_kmh,
        "reason_code": location.reason,
        "emergency": location.reason == REASON_EMERGENCY,
        "course_deg": location.course_deg,
    }
    renamed = {
        "extension": "ext",
        "shape": "shape",
        "velocity type": "velocity_type",
        "user data": "user_data",
        "time elapsed": "time_elapsed_code",
        "direction": "direction_code",
        "position error": "position_error_code",
    }
    facts |= {to: raw[name] for name, to in renamed.items() if name in raw}
    if "position error" in raw:
        code = raw["position error"]
        facts["position_error_max_m"] = ERROR_M[code] if code < len(ERROR_M) else None
    if "longitude" in raw:
        facts |= {"lon": location.lon_deg, "lat": location.lat_deg}
    if not is_short:
        facts |= {"ack_request": location.wants_ack, "altitude_m": location.altitude_m}
        facts["h_uncertainty_m"] = location.accuracy_m
    if location.clock is not None:
        clock = location.clock
        facts["day"] = clock.day
        facts["time_of_day"] = f"{clock.hour:02}:{clock.minute:02}:{clock.second:02}"
    return facts


def sds_facts(line: Line) -> Facts:
    header = read_header(line.body)
    facts: Facts = {
        "ai_service": header.service,
        "calling": str(header.sender).partition(":")[2],
        "called": str(header.to).partition(":")[2],
        "bits": header.bits,
    }
    if header.service == 13:
        code = int(line.digits, 16)
        return facts | {"message": "status", "status": code, "emergency": code == 0}
    data = octets(line.digits, header.bits)
    facts["pid"] = f"0x{data[0]:02X}"
    if data[0] == 0x0A:
        return facts | lip_facts(line.digits, header.bits)
    content = data[1:]
    facts["message"] = "simple_text"
    if data[0] in TEXTS:
        transport = read_transport(data)
        facts["message_reference"] = transport.reference
        if transport.kind:
            facts["message"] = "sds_report" if transport.kind == REPORT else "sds_ack"
            return facts | {"delivery_status": transport.status}
        facts |= {"message": "text", "delivery_report_request": transport.flags >> 2}
        if transport.flags & 1:
            facts["validity"] = data[3] >> 3
        content = transport.content
    facts["text_coding"] = content[0] & 0x7F
    if content[0] & 0x80:
        facts["timestamp_hex"] = content[1:4].hex().upper()
    return facts | {"text": read_text(content)}


CALL = (
    "cc_instance", "call_status", "ai_service", "calling_type", "calling", "hook", "simplex",
    "e2ee", "comms_type", "slots", "called_type", "called", "priority",
)  # fmt: skip
GRANT = ("cc_instance", "tx_grant", "tx_request_permission", "e2ee", "tpi_type", "tpi")


def word_facts(line: Line) -> Facts:
    names, message = (CALL, "incoming_call") if line.word == "+CTICN" else (GRANT, "tx_grant")
    texts = {"calling", "called", "tpi"}
    values = dict(zip(names, line.body.split(","), strict=True))
    facts = {name: value if name in texts else int(value) for name, value in values.items()}
    return {"message": message, **facts}


def facts_of(line: Facts) -> Facts:
    lines = Lines()
    (said,) = [*lines.feed(text_of(line)), *lines.finish()]
    assert isinstance(said, Line)
    return sds_facts(said) if said.word == "+CTSDSR" else word_facts(said)


def same(name: str, ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float) and isinstance(ours, float):
        within = {"lat": 5e-7, "lon": 5e-7}.get(name, 0.05)
        return abs(ours - theirs) <= within or ours == pytest.approx(theirs, rel=1e-6)
    return bool(ours == theirs)


def judge(line: Facts) -> Judged:
    expect = dict(line["expect"])
    expect.pop("reason", None)  # the code's name; the code is compared
    found = facts_of(line)
    differ = {
        name: value for name, value in expect.items() if not same(name, found.get(name), value)
    }
    reason = ""
    if differ == {"course_deg": 337.5} and found["course_deg"] is None:
        reason, differ = COURSE, {}
    wrong = "; ".join(f"{name} {found.get(name)!r}, not {differ[name]!r}" for name in differ)
    verdict = "wrong" if wrong else "differ" if reason else "agree"
    return Judged(line["id"], str(expect.get("message")), verdict, wrong or reason)


def lines() -> list[Facts]:
    return [*reference_vectors("tetra_pei"), *reference_vectors("tetra_lip")]


def test_every_field_of_every_reference_line_agrees_or_differs_for_a_named_reason() -> None:
    judged = [judge(line) for line in lines() if "expect" in line]
    for each in judged:
        print(f"{each.own_id}  {each.message:22} {each.verdict:8} {each.reason}")
    counts = {v: sum(each.verdict == v for each in judged) for v in ("agree", "differ")}
    print(counts)
    assert [each for each in judged if each.verdict == "wrong"] == []
    assert counts == {"agree": 25, "differ": 8}


def test_every_reference_line_decodes_and_the_events_say_what_it_says() -> None:
    for line in lines():
        outputs = play(line)
        assert outputs, line["id"]
        assert not any(isinstance(one, Reject) for one in outputs), f"{line['id']}: {outputs}"
        expect = line.get("expect", {})
        events = [one.event for one in outputs if isinstance(one, Report)]
        raised = any(isinstance(event, EmergencyRaised) for event in events)
        assert raised == expect.get("emergency", raised), line["id"]
        fixes = [event for event in events if isinstance(event, PositionFix)]
        if "lat" in expect:
            (fix,) = fixes
            assert (fix.lat_deg, fix.lon_deg) == pytest.approx((expect["lat"], expect["lon"]))
        elif expect.get("message") == "long_location_report":
            assert [fix.fix_valid for fix in fixes] == [False]
        elif expect.get("message") in {"text", "simple_text"}:
            assert [getattr(event, "body", None) for event in events] == [expect["text"]]
        elif not events:
            assert any(isinstance(one, Heard) for one in outputs)
