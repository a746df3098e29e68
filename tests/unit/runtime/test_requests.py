"""What becomes of a request once the sink has let it in."""

import asyncio
from typing import Any

import pytest

from gateway.errors import NotAllowedError
from gateway.model.events import Verdict
from gateway.model.identity import EventId
from gateway.model.requests import Request
from gateway.runtime.requests import COMMANDS, Requests
from tests.support.commands import Place

PRESS = EventId("f545335c0c42fcf32eea9747038a0c12")


class Actions:
    """Remembers who did what."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []

    async def take(self, emergency_id: str, by: str) -> None:
        self.done.append(("take", emergency_id, by))

    async def close(self, emergency_id: str, by: str, verdict: Verdict, note: str | None) -> None:
        self.done.append(("close", emergency_id, by, verdict, note))


def answer(actions: Actions, verb: Any, **fields: Any) -> dict[str, object]:
    request = Request(**fields)

    async def story() -> dict[str, object]:
        place = Place()
        requests = Requests(actions, place.downlink, place.board)
        return await requests.answer(verb, request, f"{request.by} via mqtt")

    return asyncio.run(story())


def test_taking_and_closing_name_the_person_and_the_way() -> None:
    actions = Actions()
    assert answer(actions, "emergency/take", emergency_id=PRESS, by="李明") == {
        "emergency_id": PRESS,
        "taken_by": "李明 via mqtt",
    }
    answer(actions, "emergency/close", emergency_id=PRESS, by="李明", verdict="false", note="误碰")
    assert actions.done == [
        ("take", PRESS, "李明 via mqtt"),
        ("close", PRESS, "李明 via mqtt", "false", "误碰"),
    ]


@pytest.mark.parametrize(
    ("verb", "fields", "sentence"),
    [
        ("emergency/take", {"by": "李明"}, "emergency_id: is missing"),
        ("emergency/take", {"emergency_id": PRESS}, "by: is missing"),
        ("emergency/close", {"emergency_id": PRESS, "by": "李明"}, "verdict: is missing"),
        (
            "emergency/close",
            {"emergency_id": PRESS, "by": "李明", "verdict": "true", "note": "x" * 1001},
            "note: at most",
        ),
        ("rebirth", {}, "cannot do 'rebirth'"),
    ],
)
def test_what_is_missing_or_unfit_is_refused_with_a_sentence(
    verb: str, fields: dict[str, Any], sentence: str
) -> None:
    actions = Actions()
    with pytest.raises(NotAllowedError, match=sentence):
        answer(actions, verb, **fields)
    assert not actions.done


def refused(verb: Any, **fields: Any) -> list[tuple[str, str]]:
    place = Place()
    requests = Requests(Actions(), place.downlink, place.board)
    requests.refuse(verb, Request(**fields), "李明 via mqtt", "not yours")
    return place.ends()


@pytest.mark.parametrize("verb", [*COMMANDS])
def test_a_command_that_somebody_may_not_ask_is_on_record(verb: Any) -> None:
    assert refused(verb, unit_id="patrol-1") == [("refused", "not yours")]


@pytest.mark.parametrize(
    ("verb", "fields"),
    [
        ("emergency/take", {"emergency_id": PRESS}),
        ("rebirth", {}),
        ("locate", {}),
        ("locate", {"unit_id": "nobody"}),
        ("locate", {"radio_id": "pdt:80029999"}),
    ],
)
def test_what_is_no_command_to_a_radio_is_not(verb: Any, fields: dict[str, Any]) -> None:
    assert refused(verb, **fields) == []
