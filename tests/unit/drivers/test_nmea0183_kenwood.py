"""Kenwood base radios: the dialect against published sentences, and what the battery cannot ask."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api import Heard, Moment, Output, Reject, Report
from drivers.nmea.kenwood import LONGEST_PACKET, READERS, SAME_BURST_S, Packet, PacketReader
from drivers.nmea0183 import DRIVER
from drivers.wire import xor8
from gateway.model.events import EmergencyRaised, PositionFix, StatusReceived
from gateway.model.identity import RadioId
from gateway.model.quantities import KNOT_MPS, NS_PER_S, Instant
from tests.support.reference import reference_vectors

AT = Instant.parse("2026-05-01T08:00:00Z")
ALTERED = "its content was altered by its publisher, and its check was not: rejected"
STAR = "its symbol is a star, where a sentence's body ends: rejected"


def moment(seconds: float) -> Moment:
    return Moment(100.0 + seconds, Instant(AT + round(seconds * NS_PER_S)))


def nmea(body: str) -> bytes:
    return b"$%s*%02X\r\n" % (body.encode(), xor8(body.encode()))


def long(unit: str, time: str = "080000", status: str = "80") -> bytes:
    return nmea(f"PKLDS,{time},A,3014.5678,N,12009.8765,E,1.2,87.0,010526,,00,{unit},{status},00,")


def read(data: bytes, **options: Any) -> list[Output]:
    codec = DRIVER.new_codec(options, "base-1")
    return [*codec.receive(data, moment(0)), *codec.flush(moment(0))]


def events(outputs: Sequence[Output]) -> list[Any]:
    return [output.event for output in outputs if isinstance(output, Report)]


# --- the reference --------------------------------------------------------------------------------


def unit_of(expect: dict[str, Any]) -> str:
    if expect["type"] == "PKWDWPL":
        return f"kenwood:{expect['name']}"
    if "fleet" in expect:
        return f"kenwood:{expect['fleet']}-{expect['unit_id']}"
    assert int(expect["unit_raw"].strip("U")) == expect["unit_id"]
    return f"kenwood:{expect['unit_raw']}"


def differences(expect: dict[str, Any], outputs: Sequence[Output]) -> list[str]:
    """What the events of a sentence do not say as the reference does."""
    found: dict[str, Any] = {}
    for event in events(outputs):
        found["radio"] = event.radio_id
        if isinstance(event, StatusReceived):
            found["status"] = event.code
        if isinstance(event, PositionFix):
            found |= fix_facts(event)
    wanted: dict[str, Any] = {"radio": unit_of(expect)}
    for key in ("fix_valid", "lat", "lon", "time_of_day", "time", "altitude_m", "status"):
        if expect.get(key) is not None:
            wanted[key] = expect[key]
    if expect.get("fix_valid"):
        wanted |= {key: expect.get(key) for key in ("speed_knots", "course_deg")}
    return [
        f"{key}: {found.get(key)!r} instead of {value!r}"
        for key, value in wanted.items()
        if found.get(key) != value
    ]


def fix_facts(event: PositionFix) -> dict[str, Any]:
    facts: dict[str, Any] = {"fix_valid": event.fix_valid, "altitude_m": event.altitude_m}
    if event.lat_deg is not None and event.lon_deg is not None:
        facts |= {"lat": round(event.lat_deg, 9), "lon": round(event.lon_deg, 9)}
    if event.fix_at is not None:
        facts["time"] = event.fix_at.text().replace(".000Z", "Z")
        facts["time_of_day"] = facts["time"][11:19]
    speed = event.speed_mps
    facts["speed_knots"] = None if speed is None else round(speed / KNOT_MPS, 6)
    facts["course_deg"] = event.course_deg
    return facts


def judge(line: dict[str, Any]) -> tuple[str, str]:
    """Verdict and reason for one line with an expectation."""
    expect, outputs = line["expect"], read(line["text"].encode() + b"\r\n")
    rejected = [output.reason for output in outputs if isinstance(output, Reject)]
    if expect["type"].startswith("PK"):
        if not expect["checksum_ok"]:
            known = {False: ("checksum", ALTERED), None: ("unfinished", STAR)}
            reason, why = known[expect["checksum_ok"]]
            return ("rejected", why) if rejected == [reason] else ("differ", str(rejected))
        wrong = "; ".join(differences(expect, outputs))
        return ("differ", wrong) if wrong else ("agree", "")
    if expect["type"] in {"fleetsync_id", "nexedge_cid"}:
        unit = f"U{expect['unit_id']:05d}"
        if "fleet" in expect:
            unit = f"{expect['fleet']}-{expect['unit_id']}"
        is_same = outputs == [Heard(RadioId(f"kenwood:{unit}"))]
        return ("agree", "") if is_same else ("differ", str(outputs))
    if expect["type"] == "status_message":
        assert rejected == ["noise"], "shown without STX and ETX"
        (status,) = events(read(b"\x02" + line["text"].encode() + b"\x03"))
        return "agree", f"between STX and ETX: {status.radio_id} {status.code}"
    return ("passed over", "sent to a radio, or its receipt") if not outputs else ("differ", "")


def test_every_reference_line_agrees_or_is_rejected_for_a_known_reason() -> None:
    table: Counter[str] = Counter()
    for line in reference_vectors("kenwood"):
        if "expect" not in line:
            continue
        verdict, why = judge(line)
        table[verdict] += 1
        print(f"{line['id']}  {line['expect']['type']:18} {verdict:12} {why}")
    print(dict(table))
    assert table["differ"] == 0
    assert table["agree"] >= 22
    assert table["rejected"] == 9


def test_reference_lines_without_an_expectation_are_read_or_rejected_by_their_check() -> None:
    for line in reference_vectors("kenwood"):
        if "expect" not in line:
            reasons = {o.reason for o in read(line["text"].encode()) if isinstance(o, Reject)}
            assert reasons <= {"checksum", "unfinished"}, line["id"]


# --- emergencies ----------------------------------------------------------------------------------


def test_a_status_is_an_emergency_when_the_settings_say_so_and_another_one_ends_it() -> None:
    codec = DRIVER.new_codec({"emergency_status": [80]}, "base-1")
    alarm, fix = codec.receive(long("100,1001"), moment(0))
    assert isinstance(alarm, Report)
    assert isinstance(alarm.event, EmergencyRaised)
    assert alarm.event.fix is not None
    assert isinstance(fix, Report)
    assert alarm.calm == fix.calm == ()
    _, status = codec.receive(long("100,1001", status="81"), moment(1))
    assert isinstance(status, Report)
    assert isinstance(status.event, StatusReceived)
    assert status.calm == ("alarm",)


def test_codes_are_numbers_however_they_are_written() -> None:
    for codes in ([28], ["28"], ["0028"]):
        told = events(read(long("100,1001", status="0028"), emergency_status=codes))
        assert isinstance(told[0], EmergencyRaised)


def test_without_settings_no_status_ends_an_emergency() -> None:
    _, status = read(long("100,1001"))
    assert isinstance(status, Report)
    assert status.calm == ()


def test_an_emergency_without_a_fix_has_no_place_even_where_the_last_one_is_printed() -> None:
    void = long("100,1001")[1:-5].replace(b",A,", b",V,").decode()
    alarm, fix = events(read(nmea(void), emergency_status=[80]))
    assert alarm.fix is None
    assert fix.lat_deg is not None
    assert not fix.fix_valid


def marks(data: bytes, seconds: float = 0.0) -> set[str | None]:
    """By what the emergency and the status of a sentence would be known again."""
    codec = DRIVER.new_codec({"emergency_status": [80]}, "base-1")
    return {
        output.same_as
        for output in codec.receive(data, moment(seconds))
        if isinstance(output, Report) and not isinstance(output.event, PositionFix)
    }


def test_only_a_fix_of_this_moment_names_a_press() -> None:
    """The time of one that is not valid is that of the last known fix, for every press the same."""
    for status in ("80", "81"):
        fresh = long("100,1001", status=status)
        void = nmea(fresh[1:-5].replace(b",A,", b",V,").decode())
        assert None not in marks(fresh)
        assert marks(fresh) == marks(fresh, 60), "said twice"
        assert marks(fresh, 3600) == marks(fresh, -3600) == {None}
        assert marks(void) == {None}


@pytest.mark.parametrize("codes", [[-1], ["8x"], [""], 80])
def test_codes_that_are_no_numbers_are_refused(codes: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        DRIVER.new_codec({"emergency_status": codes}, "base-1")


# --- one fix said several times -------------------------------------------------------------------


def test_the_long_and_the_short_sentence_of_one_fix_are_one_report() -> None:
    short = nmea("PKLSH,3014.5678,N,12009.8765,E,080000,A,100,1001,")
    reports = [o for o in read(long("100,1001", status="") + short) if isinstance(o, Report)]
    assert len(reports) == 2
    assert reports[0].same_as == reports[1].same_as


def test_the_short_sentence_has_the_date_of_the_long_one() -> None:
    old = long("100,1001", status="").replace(b"010526", b"130694")
    body = old[1:-5].decode()
    short = nmea("PKLSH,3014.5678,N,12009.8765,E,080000,A,100,1001,")
    first, second = events(read(nmea(body) + short))
    assert first.fix_at == second.fix_at == Instant.parse("1994-06-13T08:00:00Z")


@pytest.mark.parametrize(
    ("seconds", "plain", "owner"),
    [
        (1.0, "GPGLL,3014.5678,N,12009.8765,E,080000,A", "kenwood:100-1001"),
        (1.0, "GPGLL,3014.57,N,12009.88,E,080000,A", "kenwood:100-1001"),
        (1.0, "GPGLL,3014.5678,N,12009.8765,E,080001,A", "receiver:base-1"),
        (1.0, "GPGLL,3014.9678,N,12009.8765,E,080000,A", "receiver:base-1"),
        (1.0, "GPGLL,,,,,080000,V", "receiver:base-1"),
        (SAME_BURST_S + 1, "GPGLL,3014.5678,N,12009.8765,E,080000,A", "receiver:base-1"),
    ],
)
def test_plain_sentences_are_a_units_only_with_its_time_and_place(
    seconds: float, plain: str, owner: str
) -> None:
    codec = DRIVER.new_codec({}, "base-1")
    codec.receive(long("100,1001"), moment(0))
    codec.receive(nmea(plain), moment(seconds))
    (fix,) = events(codec.flush(moment(seconds)))
    assert fix.radio_id == owner


# --- units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "PKLSH,3014.5678,N,12009.8765,E,080000,A,100",
        "PKLSH,3014.5678,N,12009.8765,E,080000,A,10,1001,",
        "PKLSH,3014.5678,N,12009.8765,E,080000,A,100,1001/x,",
        "PKNSH,3014.5678,N,12009.8765,E,080000,A,X1,",
        "PKNSH,9914.5678,N,12009.8765,E,080000,A,U00001,",
        "PKNSH,3014.5678,N,12009.8765,E,250000,A,U00001,",
        "PKNID,00,U00001,0/1,00,",
        "PKNID,00",
        "PKWDWPL,080000,A,3014.5678,N,12009.8765,E",
    ],
)
def test_fields_that_are_not_those_of_the_sentence_are_refused(body: str) -> None:
    (refused,) = read(nmea(body))
    assert isinstance(refused, Reject)
    assert refused.reason == "fields"


def test_a_void_place_that_cannot_be_read_is_no_reason_to_refuse_the_sentence() -> None:
    (fix,) = events(read(nmea("PKNSH,9999.9999,N,99999.9999,E,080000,V,U00001,")))
    assert not fix.fix_valid
    assert fix.lat_deg is None


@pytest.mark.parametrize("address", [*READERS, b"PKLDX", b"PMTK001"])
def test_no_sentence_of_any_length_raises(address: bytes) -> None:
    for count in range(16):
        read(nmea(address.decode() + "," * count))


# --- packets --------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([b"\2", b"\3", b"ab", b"$", b"\n", b"\2D1001001\3", b"\xff"])),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_packets_do_not_depend_on_how_the_stream_was_cut(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(parts)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    split = PacketReader()
    found = [piece for a, b in itertools.pairwise(bounds) for piece in split.feed(data[a:b])]
    whole = PacketReader()
    expected = [*whole.feed(data), whole.finish()]
    assert merged([*found, split.finish()]) == merged(expected)


def merged(pieces: Sequence[bytes | Packet]) -> list[bytes | Packet]:
    """Runs of bytes joined: where they were cut does not matter to the lines."""
    out: list[bytes | Packet] = []
    for piece in pieces:
        last = out[-1] if out else None
        if isinstance(piece, bytes) and isinstance(last, bytes):
            out[-1] = last + piece
        elif piece:
            out.append(piece)
    return out


def test_an_stx_without_an_end_holds_nothing_back_for_long() -> None:
    reader = PacketReader()
    assert reader.feed(b"\2" + b"A" * LONGEST_PACKET) == (b"",)
    assert reader.feed(b"A") == (b"\2" + b"A" * (LONGEST_PACKET + 1),)
    assert reader.finish() == b""
