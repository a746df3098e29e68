"""Hytera packets told field by field: every byte is in the table, and the broken place is named."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from drivers.api import Driver
from drivers.hytera.explain import explain_hrnp, explain_hstrp
from drivers.hytera.hdap import DDS_OPCODES, SERVICE_NAMES, Service
from drivers.hytera.names import MESSAGES, VALUES
from drivers.hytera_hrnp import DRIVER as HRNP
from drivers.hytera_hstrp import DRIVER as HSTRP
from drivers.wire import Field
from tests.support import battery
from tests.support.reference import reference_vectors

ALARM = "7e04000010200001001fa34f0244b80c00010005001d8e3400178234007803"
REPORT = (
    "3242002000018304000186a104010108b003002d0a348e1d00"
    "413032313533303234303632354e333031342e353637384531323030392e38373635312e323038373303"
)
Explain = Callable[[bytes], Sequence[Field]]


def rows(explain: Explain, text: str) -> dict[str, Field]:
    return {row.name: row for row in explain(bytes.fromhex(text))}


def problems(explain: Explain, text: str) -> dict[str, str]:
    return {name: row.problem for name, row in rows(explain, text).items() if row.problem}


def test_an_alarm_over_hrnp_is_told_like_the_table() -> None:
    told = rows(explain_hrnp, ALARM)
    assert told["HrnpHeader.opcode"] == Field("3", "00", "HrnpHeader.opcode", "00 data")
    assert told["HDAP.opcode"].value == "B844 receive status"
    assert told["RcpReceiveStatus.call_type"].value == "5 emergency alarm"
    assert told["RcpReceiveStatus.sender"] == Field(
        "21-24", "1d8e3400", "RcpReceiveStatus.sender", "3444253"
    )
    assert problems(explain_hrnp, ALARM) == {}


def test_a_report_over_hstrp_is_told_down_to_its_place() -> None:
    told = rows(explain_hstrp, REPORT)
    assert told["HstrpHeader.kind"].value == "20 data + options"
    assert told["HstrpOption.device"].value == "100001"
    assert told["LpEmergencyReport.address"].value == "10.52.142.29, radio 3444253"
    place = Field("39-47", "333031342e35363738", "Gps40.latitude", "3014.5678")
    assert told["Gps40.latitude"] == place
    assert problems(explain_hstrp, REPORT) == {}


@pytest.mark.parametrize(
    ("explain", "text", "where", "problem"),
    [
        (explain_hrnp, ALARM[:-4] + "7903", "HDAP.check", "should be 78"),
        (explain_hrnp, ALARM.replace("a34f", "a350"), "HrnpHeader.checksum", "should be A34F"),
        (explain_hrnp, ALARM[:-2], "HrnpHeader.length", "the frame has 30 bytes"),
        (explain_hrnp, ALARM[:-2], "HDAP.length", "13 bytes are there"),
        (explain_hrnp, "00" + ALARM[2:], "HrnpHeader.start", "not 7E"),
        (explain_hrnp, ALARM[:14], "HrnpHeader.number", "1 of 2 bytes are there"),
        (explain_hstrp, REPORT[:-2] + "04", "HDAP.end", "should be 03"),
        (explain_hstrp, REPORT[:90], "LpEmergencyReport.gps", "20 of 40 bytes are there"),
        (explain_hstrp, "3243" + REPORT[4:], "HstrpHeader.magic", "not 3242"),
        (explain_hstrp, "3242012000018304000186a1040101", "HstrpHeader.version", "not 00"),
        (explain_hstrp, "3242006000018304000186a1040101", "HstrpHeader.kind", "bits"),
        (explain_hstrp, "3242002400018304000186", "HstrpOption.device", "5 of 6 bytes are there"),
        (explain_hstrp, "324200240001840102", "HstrpOption.channel", "another option should"),
        (explain_hstrp, "32420000000108b0", "HDAP", "2 bytes are no message"),
        (explain_hstrp, "324200000001" + "09 40a1 0003 00ff00 5b03", "Tmp.request_id", "1 of 4"),
        (explain_hstrp, "324200000001" + "02 c910 0100 02 5603", "RcpSwitches", "do not hold"),
    ],
)
def test_the_place_where_a_packet_broke_is_named(
    explain: Explain, text: str, where: str, problem: str
) -> None:
    assert problem in problems(explain, text)[where]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("14 0008 0007 0003640e a001 04", "DdsState.result", "4 timeout"),
        ("12 a081 000c 0a000001 0a000002 00 01 03 00", "TpStatus.vio", "3"),
        ("08 d011 0009 00000001 0a000002 00", "LpQuickCancel.command", "0 cancel"),
        ("02 c710 0300 01 09 01", "RcpSwitches", "09 on"),
        ("02 3308 0400 1d8e3400", "RcpTarget.target", "3444253"),
        ("09 00a2 000d 00000001 0a000001 0a000002 08", "Tmp.result", "8 no acknowledgement"),
        ("09 00ae 000e 00000001 0a000001 0a000002 0708", "Tmp.data", ""),
        ("09 40a1 000e 0002 00000001 0a000001 0a000002 0708", "Tmp.option", ""),
        ("0d 0001 0001 07", "HDAP.payload", ""),
    ],
)
def test_messages_of_every_service_are_told(text: str, name: str, value: str) -> None:
    told = rows(explain_hstrp, "324200000001" + text + "0003")
    assert told[name].value == value


@pytest.mark.parametrize("driver", [HRNP, HSTRP], ids=lambda driver: driver.name)
def test_every_byte_of_every_vector_is_in_the_table_and_nothing_is_raised(
    driver: Driver[Any],
) -> None:
    rng = random.Random(7)
    told_bytes = 0
    explain = driver.explain
    assert explain is not None
    for case in battery.find_cases():
        if case.driver is not driver:
            continue
        for frame in case.vector.frames:
            table = explain(frame)
            if not any(row.problem for row in table):
                assert "".join(row.raw for row in table if row.raw).startswith(frame.hex()[:8])
                assert sum(len(row.raw) for row in table) == 2 * len(frame.rstrip(b"\0")) or (
                    sum(len(row.raw) for row in table) == 2 * len(frame)
                )
                told_bytes += len(frame)
            damaged = bytearray(frame)
            damaged[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
            explain(bytes(damaged))
            explain(frame[: rng.randrange(len(frame) + 1)])
    assert told_bytes > 500


def test_every_message_of_the_published_vectors_has_a_name() -> None:
    unknown = set()
    for name, explain in (("hytera_hrnp", explain_hrnp), ("hytera_hstrp", explain_hstrp)):
        for line in reference_vectors(name):
            told = rows(explain, line["hex"])
            if "HDAP.opcode" in told and told["HDAP.opcode"].value.endswith("unknown"):
                unknown.add(told["HDAP.opcode"].value)
    assert unknown == {"0004 unknown", "8004 unknown", "82D4 unknown"}, json.dumps([*unknown])


def test_tables_of_names_are_sound() -> None:
    assert set(DDS_OPCODES) == set(SERVICE_NAMES)
    assert {service for service, _ in MESSAGES} == set(Service) - {Service.TMP, Service.DDS}
    assert all(names for names in VALUES.values())
