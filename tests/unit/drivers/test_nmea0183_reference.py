"""The NMEA 0183 driver against recordings and published samples, decoded by others before us.

What is compared is the sentence as the driver reads it, field by field; the table at the end of the
output (``pytest -s``) counts what agrees, what differs with a reason, and what is not handled.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from drivers.api import Moment, Output, Reject, Report
from drivers.nmea.sentences import READERS, AnySentence, Rmc
from drivers.nmea0183 import DRIVER, MAX_LINE
from drivers.wire.sentences import Flaw, Sentence, SentenceReader
from gateway.model.events import to_json
from gateway.model.quantities import NS_PER_S, Instant
from tests.support.reference import reference_vectors

NOW = Moment(0.0, Instant.parse("2026-05-01T08:00:00Z"))
DAY_NS = 86_400 * NS_PER_S
PLACE_DEG = 5e-10  # the reference is rounded to nine decimals


def clock_text(time_ns: int | None) -> str | None:
    """The reference's hh:mm:ss.fff without trailing zeros."""
    if time_ns is None:
        return None
    seconds, ns = divmod(time_ns, NS_PER_S)
    fraction = f".{ns:09d}".rstrip("0").rstrip(".")
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


def instant_of(sentence: Any) -> Instant | None:
    if sentence.date is None or sentence.time_ns is None:
        return None
    return Instant(sentence.date * DAY_NS + sentence.time_ns)


# Reference field to the driver's.
FIELDS: dict[str, Callable[[Any], Any]] = {
    "fix_valid": lambda one: one.is_valid,
    "lat": lambda one: one.place[0] if one.place else None,
    "lon": lambda one: one.place[1] if one.place else None,
    "speed_knots": lambda one: one.speed_knots,
    "speed_kmh": lambda one: one.speed_kmh,
    "course_deg": lambda one: one.course_deg,
    "quality": lambda one: one.quality,
    "satellites_used": lambda one: one.satellites,
    "pdop": lambda one: one.pdop,
    "hdop": lambda one: one.hdop,
    "vdop": lambda one: one.vdop,
    "altitude_msl_m": lambda one: one.altitude_m,
    "rms_m": lambda one: one.rms_m,
    "lat_sigma_m": lambda one: one.lat_m,
    "lon_sigma_m": lambda one: one.lon_m,
    "alt_sigma_m": lambda one: one.altitude_m,
    "fix_mode": lambda one: one.fix_mode,
    "total_msgs": lambda one: one.total,
    "msg_num": lambda one: one.number,
    "in_view": lambda one: one.in_view,
    "mode": lambda one: one.mode.decode(),
    "nav_status": lambda one: one.nav_status.decode(),
    "text": lambda one: one.text.decode(),
    "time_of_day": lambda one: clock_text(one.time_ns),
    "time": instant_of,
}
NOT_KEPT = {  # field: why; the place of a void sentence is not read either
    "system": "the talker is data; nothing depends on it",
    "geoid_sep_m": "altitude above mean sea level is given already",
    "magvar_deg": "course is from true north",
    "course_mag_deg": "course is from true north",
    "selection": "manual or automatic choice of satellites says nothing about the place",
    "system_id": "GSA lists are counted, not told apart",
    "signal_id": "GSV is checked, not used",
    "zone_h": "the local zone is the settings' affair",
    "zone_min": "the local zone is the settings' affair",
    "total": "parts of a text are not joined",
    "num": "parts of a text are not joined",
    "txt_id": "the kind of a text is not used",
}


def sentences_of(data: bytes) -> Sequence[Sentence | Flaw]:
    reader = SentenceReader(max_line=MAX_LINE)
    return [*reader.feed(data), *reader.finish()]


def parsed(sentence: Sentence) -> AnySentence:
    fields = sentence.body.split(b",")
    return READERS[fields[0][2:]](fields)


def outputs_of(chunks: Sequence[bytes]) -> list[Output]:
    codec = DRIVER.new_codec({}, "link-1")
    outputs: list[Output] = []
    for chunk in chunks:
        outputs += codec.receive(chunk, NOW)
    return [*outputs, *codec.flush(NOW)]


def same(name: str, ours: Any, theirs: Any) -> bool:
    if name == "time":
        return bool(ours == (None if theirs is None else Instant.parse(theirs)))
    if name in {"lat", "lon"} and theirs is not None:
        return ours is not None and abs(ours - theirs) <= PLACE_DEG
    if name == "time_of_day" and theirs is not None:
        theirs = theirs.rstrip("0").rstrip(".") if "." in theirs else theirs
    return bool(ours == theirs)


def compare(expected: dict[str, Any], sentence: Sentence, table: Counter[str]) -> list[str]:
    """Compare one line; counts into ``table`` and gives what differs."""
    kind = expected["type"]
    address = sentence.body.partition(b",")[0].decode()
    if address.startswith("P") or kind.encode() not in READERS:
        table["sentence type not handled"] += 1
        return []
    assert address == expected["talker"] + kind
    ours: Any = parsed(sentence)
    if isinstance(ours, Rmc) and ours.date is None:
        table["no date"] += 1
    differing = []
    for name, theirs in expected.items():
        is_void_place = name in {"lat", "lon"} and not ours.is_valid
        if name in NOT_KEPT or is_void_place:
            table["field not kept"] += 1
        elif name == "sats":
            agrees = ours.satellites == len(theirs) if kind == "GSA" else True
            table["field agrees" if agrees else "field differs"] += 1
            differing += [] if agrees else [f"{kind}.{name}: {theirs}"]
        elif name in FIELDS:
            value = FIELDS[name](ours)
            if name in {"mode", "nav_status"} and not value:
                value = None
            agrees = same(name, value, theirs)
            table["field agrees" if agrees else "field differs"] += 1
            differing += [] if agrees else [f"{kind}.{name}: ours {value!r}, theirs {theirs!r}"]
    return differing


def test_every_reference_sentence_agrees_field_by_field() -> None:
    table: Counter[str] = Counter()
    differing: list[str] = []
    for line in reference_vectors("nmea0183"):
        expected, data = line.get("expect"), line["text"].encode()
        if expected is None:
            outputs_of([data])  # must not raise
            table["line without an expectation, borne"] += 1
        elif "error" in expected or not expected["checksum_ok"]:
            refused = [output for output in outputs_of([data]) if isinstance(output, Reject)]
            table["line refused, as expected"] += bool(refused)
            differing += [] if refused else [f"taken: {line['text']}"]
        elif not expected.get("tag_block_checksum_ok", True):
            (output,) = sentences_of(data)
            assert isinstance(output, Flaw)
            table["line with a damaged TAG block, refused"] += 1
        else:
            (found,) = sentences_of(data)
            assert isinstance(found, Sentence), line["text"]
            assert found.source == expected.get("tag_block", {}).get("s", "")
            table["line compared"] += 1
            differing += [f"{line['text']}: {one}" for one in compare(expected, found, table)]
    table["field differs"] += 0
    print()
    for what, count in sorted(table.items()):
        print(f"{count:6d}  {what}")
    assert table["field agrees"] > 1000
    assert not differing, "\n".join(differing)


def test_what_the_sentence_says_is_what_the_event_says() -> None:
    checked = 0
    for line in reference_vectors("nmea0183"):
        expected = line.get("expect") or {}
        if "fix_valid" not in expected or not expected["checksum_ok"]:
            continue
        (output,) = outputs_of([line["text"].encode()])
        assert isinstance(output, Report), line["text"]
        fix: Any = output.event
        assert fix.fix_valid == expected["fix_valid"], line["text"]
        if expected["fix_valid"]:
            assert fix.lat_deg == pytest.approx(expected["lat"], abs=PLACE_DEG)
            assert fix.lon_deg == pytest.approx(expected["lon"], abs=PLACE_DEG)
        else:
            assert fix.lat_deg is None
        if expected.get("time") is not None:
            assert fix.fix_at == Instant.parse(expected["time"])
        checked += 1
    assert checked > 150


def test_every_valid_sentence_is_taken_out_of_the_recorded_streams() -> None:
    compared = 0
    for line in reference_vectors("nmea0183_streams"):
        expected = (line.get("expect") or {}).get("valid_sentences")
        if expected is None:
            continue
        found = [
            "$" + item.body.decode("latin-1")
            for item in sentences_of(bytes.fromhex(line["hex"]))
            if isinstance(item, Sentence) and not item.is_encapsulated
        ]
        assert found == [text[:-3] for text in expected], line["source"]
        compared += len(found)
    assert compared > 200


def test_every_broken_sentence_of_the_recorded_streams_is_counted() -> None:
    for line in reference_vectors("nmea0183_streams"):
        broken = (line.get("expect") or {}).get("bad_checksum", [])
        flaws = [
            item.data.decode("latin-1")
            for item in sentences_of(bytes.fromhex(line["hex"]))
            if isinstance(item, Flaw) and item.reason == "checksum"
        ]
        missed = Counter(broken) - Counter(flaws)
        assert not missed, line["source"]


def test_any_split_of_the_recorded_streams_gives_the_same_events() -> None:
    rng = Random("splits")
    for line in reference_vectors("nmea0183_streams"):
        data = bytes.fromhex(line["hex"])
        whole = outputs_of([data])
        cuts = sorted(rng.randrange(len(data)) for _ in range(30))
        random_split = [data[a:b] for a, b in pairwise([0, *cuts, len(data)])]
        for split in ([bytes((value,)) for value in data], random_split):
            again = outputs_of(split)
            assert list(map(told, again)) == list(map(told, whole)), line["source"]


def told(output: Output) -> object:
    return to_json(output.event) if isinstance(output, Report) else output
