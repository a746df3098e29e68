"""Commands over the API: who may ask what of whom, and what the page is told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.desk.hub import LinkSight
from gateway.errors import StoreError
from gateway.model.events import struct_from_json
from tests.support.desk_world import world


def test_a_dispatcher_asks_and_it_is_on_record(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.gateway.move("mobile-1-a")
            person = await here.person("dispatcher", name="李明")
            for verb, body in (
                ("locate", None),
                ("check", None),
                ("text", {"body": "请到东门"}),
                ("track", {"every_s": 10, "for_s": 600}),
            ):
                answer = await person.post(f"/api/units/mobile-1-a/{verb}", body)
                assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
            asked = [
                (verb, request.unit_id, request.body, request.every_s, by)
                for verb, request, by in here.gateway.asked
            ]
            by = "李明 via desk"
            assert asked == [
                ("locate", "mobile-1-a", None, None, by),
                ("check", "mobile-1-a", None, None, by),
                ("text", "mobile-1-a", "请到东门", None, by),
                ("track", "mobile-1-a", None, 10, by),
            ]
            assert [row[1:] for row in await here.audited()] == [
                (f"command_{verb}", "mobile-1-a", "ok")
                for verb in ("locate", "check", "text", "track")
            ]
            listed = (await person.get("/api/commands")).json()
            assert [each["verb"] for each in listed["commands"]] == [
                "track",
                "text",
                "check",
                "locate",
            ]
            assert listed["possible"] == {"jt808": ["locate", "text"]}

    asyncio.run(story())


def test_a_technician_asks_test_radios_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.gateway.move("mobile-1-a")
            here.gateway.move("bench-1", is_test=True)
            person = await here.person("technician", name="王工")
            answer = await person.post("/api/units/mobile-1-a/locate")
            assert (answer.status_code, answer.json()["error"]) == (403, "only_test_radios")
            assert (await person.post("/api/units/bench-1/locate")).status_code == 202
            assert [row[2:] for row in await here.audited()] == [
                ("mobile-1-a", "refused"),
                ("bench-1", "ok"),
            ]
            assert len(here.gateway.asked) == 1
            assert here.gateway.refused == [("locate", "mobile-1-a", "王工 via desk")]

    asyncio.run(story())


def test_what_the_gateway_refuses_is_said_and_on_record(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.gateway.move("mobile-1-a")
            person = await here.person("dispatcher")
            here.gateway.refusal = "commands to radios are off: set commands.enabled"
            answer = await person.post("/api/units/mobile-1-a/locate")
            assert (answer.status_code, answer.json()["error"]) == (409, "not_allowed")
            assert "commands.enabled" in answer.json()["detail"]
            here.gateway.store_error = StoreError("disk")
            assert (await person.post("/api/units/mobile-1-a/locate")).status_code == 503
            assert (await person.post("/api/units/nobody/locate")).status_code == 404
            assert [row[3] for row in await here.audited()] == ["refused", "failed"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("text", {}),
        ("text", {"body": ""}),
        ("text", {"body": "x" * 501}),
        ("track", {"every_s": 0, "for_s": 600}),
        ("track", {"every_s": 10, "for_s": 100_000}),
        ("track", {"every_s": 10, "for_s": 600, "forever": True}),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, verb: str, body: Any) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.gateway.move("mobile-1-a")
            person = await here.person("dispatcher")
            answer = await person.post(f"/api/units/mobile-1-a/{verb}", body)
            assert (answer.status_code, here.gateway.asked) == (400, [])

    asyncio.run(story())


@pytest.mark.parametrize(("role", "sees"), [("dispatcher", True), ("viewer", False)])
def test_the_page_is_told_of_each_change_but_a_viewer_of_none(
    tmp_path: Path, role: Any, *, sees: bool
) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.gateway.move("mobile-1-a")
            asking, person = await here.person("dispatcher"), await here.person(role, name="看")
            state = (await person.get("/api/state")).json()
            assert ("possible" in state) == sees
            assert ("commands" in state) == sees
            sight: LinkSight = "state" if sees else "none"
            hub = asyncio.ensure_future(here.desk.hub.run())
            stream = here.desk.hub.stream("session", sight)
            assert (await anext(stream)).startswith(b"event: snapshot")
            await asyncio.sleep(0)
            await asking.post("/api/units/mobile-1-a/locate")
            await here.press()
            told = [await anext(stream)]
            while b"event: emergency" not in told[-1]:
                told.append(await anext(stream))
            commands = [each for each in told if each.startswith(b"event: command\n")]
            assert bool(commands) == sees
            for message in commands:
                data = struct_from_json(message.split(b"data: ")[1], dict)
                assert data["command"]["verb"] == "locate"
            hub.cancel()
            await stream.aclose()

    asyncio.run(story())
