"""docs/asyncapi.json is what the code does, and what AsyncAPI's own schema allows."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from gateway.model.identity import RadioId, UnitId
from gateway.sinks.topics import Topics, owner_of
from tests.support.documents import ROOT
from tests.support.published import Contract
from tools import write_asyncapi

DOCUMENT: dict[str, Any] = json.loads(write_asyncapi.FILE.read_text(encoding="utf-8"))
STANDARD = json.loads((ROOT / "tests/support/asyncapi-3.0.0.json").read_text(encoding="utf-8"))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_document_is_up_to_date() -> None:
    how = "run: python -m tools.write_asyncapi"
    assert write_asyncapi.FILE.read_text(encoding="utf-8") == write_asyncapi.content(), how


def test_the_document_keeps_to_the_standard() -> None:
    found = [error.message[:200] for error in Draft7Validator(STANDARD).iter_errors(DOCUMENT)]
    assert not found


def test_the_standards_schema_finds_faults() -> None:
    broken = {**DOCUMENT, "operations": {"x": {"action": "shout", "channel": {"$ref": "#/a"}}}}
    assert list(Draft7Validator(STANDARD).iter_errors(broken))


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 40
    for reference in found:
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_schema_is_one() -> None:
    for body in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(body)


TOPICS = Topics("pdt/v1/town")
UNIT = owner_of(UnitId("u1"), RadioId(""))
RADIO = owner_of(None, RadioId("pdt:1"))


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (TOPICS.gateway_state, "gateway_state"),
        (TOPICS.link_state("lan"), "link_state"),
        (TOPICS.fix(UNIT), "position_fix"),
        (TOPICS.emergency(RADIO), "emergency"),
        (TOPICS.event("text"), "text"),
        (TOPICS.response("emergency/take"), "response"),
        ("owntracks/patrol/u1", "owntracks_location"),
        ("owntracks/patrol/u1/event", "owntracks_transition"),
        ("pdt/v1/town/unit/u1/else", None),
        ("owntracks/patrol/u1/more/event", None),
    ],
)
def test_a_topic_has_the_payload_that_the_document_says(topic: str, payload: str | None) -> None:
    assert Contract().payload_of(topic) == payload


def test_a_payload_that_breaks_the_contract_is_noticed() -> None:
    contract = Contract()
    assert not contract.faults(TOPICS.gateway_state, b'{"state":"online"}')
    assert contract.faults(TOPICS.gateway_state, b'{"state":"asleep"}')
    assert contract.faults(TOPICS.gateway_state, b"{")
    assert contract.faults("pdt/v1/town/news", b"{}")
    assert not contract.faults(TOPICS.emergency(UNIT), b"")
    assert contract.faults(TOPICS.gateway_state, b"")


def test_the_file_is_named_in_the_documents() -> None:
    assert "(asyncapi.json)" in (ROOT / "docs/messages.md").read_text(encoding="utf-8")
    assert Path(write_asyncapi.FILE).name == "asyncapi.json"
