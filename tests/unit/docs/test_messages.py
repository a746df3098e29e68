"""docs/messages.md and docs/schema/ say what the code does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.model.events import PositionFix, event_from_json, struct_from_json, to_json
from gateway.model.identity import RadioId, UnitId
from gateway.model.quantities import Instant
from gateway.sinks.line_protocol import gateway_line, line_of
from gateway.sinks.topics import Topics, default_base, owner_of
from tests.support.json_schema import faults
from tests.support.sink_rows import fix, raised
from tools import write_schemas

PAGE = (Path(write_schemas.__file__).parents[1] / "docs" / "messages.md").read_text("utf-8")
HOW = "run: python -m tools.write_schemas"


def examples() -> dict[str, str]:
    """The JSON under each heading, by the heading."""
    found = re.findall(
        r"^### (\w+)\n(?:(?!^###).)*?```json\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE
    )
    return dict(found)


def schema_of(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((write_schemas.FOLDER / f"{name}.json").read_text("utf-8"))
    return read


@pytest.mark.parametrize("file", write_schemas.contents(), ids=lambda file: file.name)
def test_a_schema_is_up_to_date(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == write_schemas.contents()[file], HOW


def test_there_is_a_schema_for_every_payload_and_no_other_file() -> None:
    assert {file.stem for file in write_schemas.FOLDER.iterdir()} == set(write_schemas.payloads())


def test_every_payload_has_an_example() -> None:
    assert set(examples()) == set(write_schemas.payloads())


@pytest.mark.parametrize("name", write_schemas.payloads())
def test_an_example_is_what_the_gateway_reads_and_writes(name: str) -> None:
    text = examples()[name]
    kind = write_schemas.payloads()[name]
    value = struct_from_json(text.encode(), kind)
    assert json.loads(to_json(value)) == json.loads(text)


@pytest.mark.parametrize("name", write_schemas.payloads())
def test_an_example_fits_its_schema(name: str) -> None:
    schema = schema_of(name)
    assert not list(faults(json.loads(examples()[name]), schema, schema))


@pytest.mark.parametrize(
    ("name", "event"), [("position_fix", fix(1)), ("emergency_raised", raised(1))]
)
def test_an_event_of_the_pipeline_fits_its_schema(name: str, event: Any) -> None:
    schema = schema_of(name)
    assert not list(faults(json.loads(to_json(event)), schema, schema))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"radio_id": "80020200"}, "does not match"),
        ({"fix_valid": None}, "is no boolean"),
        ({"speed_mps": "7"}, "is no number"),
        ({"trigger": "because"}, "is not one of"),
        ({"received_at": "2026-11-24T05:03:27+08:00"}, "does not match"),
        ({"type": "text"}, "is not 'position_fix'"),
    ],
)
def test_a_schema_refuses_what_is_not_in_the_contract(change: dict[str, Any], fault: str) -> None:
    schema = schema_of("position_fix")
    payload = {**json.loads(examples()["position_fix"]), **change}
    assert any(fault in each for each in faults(payload, schema, schema))


def test_a_value_that_is_not_known_is_absent_and_not_null() -> None:
    bare = PositionFix(fix_valid=False, radio_id=RadioId("pdt:80020200"), received_at=Instant(1))
    assert b"null" not in to_json(bare)
    for name in write_schemas.payloads():
        assert "null" not in json.dumps(schema_of(name)["properties"]), name


def test_every_topic_is_in_the_table() -> None:
    topics = Topics(default_base("rongxi"))
    unit = owner_of(UnitId("plaza-2"), RadioId("pdt:80020202"))
    radio = owner_of(None, RadioId("pdt:80020299"))
    built = [
        topics.gateway_state, topics.gateway_info, topics.gateway_health,
        topics.link_state("station-1"), topics.fix(unit), topics.status(unit),
        topics.emergency(unit), topics.fix(radio), topics.event("emergency_raised"),
        topics.request("emergency/take"), topics.response("emergency/take"),
    ]  # fmt: skip
    table = set(re.findall(r"^\| `(pdt/[^`]+)` \|", PAGE, re.MULTILINE))
    assert table == set(built)


def influx_table() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", cells)) for name, cells in rows}


COMMANDS = ("command_queued", "command_sent", "command_ended")  # they have no place in a series


def test_every_field_of_the_time_series_is_in_the_table() -> None:
    table = influx_table()
    seen: dict[str, set[str]] = {}
    events = [event_from_json(text.encode()) for text in examples().values() if '"type"' in text]
    for event in events:
        line = line_of(event)
        if line is None:
            assert event.__struct_config__.tag in {"text", *COMMANDS}
            continue
        ((measurement, fields),) = re.findall(r"\A(\w+),\S+ (.*) \d+$", line)
        quoted = re.sub(r'"(\\.|[^"])*"', '""', fields)
        names = {part.partition("=")[0] for part in quoted.split(",")}
        assert names <= table[measurement], measurement
        seen.setdefault(measurement, set()).update(names)
    assert set(seen) == set(table) - {"gateway"}


def test_the_gateways_own_point_has_its_place_in_the_table() -> None:
    health = json.loads(examples()["gateway_health"])
    line = gateway_line("rongxi", health, Instant(1))
    assert line is not None
    assert line.startswith("gateway,site=rongxi ")
    assert "gateway" in influx_table()
