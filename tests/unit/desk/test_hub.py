"""What each open page is told, and what happens to one that falls behind."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.desk.hub import MAX_QUEUED, UNITS_A_FLUSH, Hub, Viewer, link_sight
from gateway.model.views import ChannelView
from tests.support.desk_world import World, world


def run(folder: Path, body: Callable[[World, Hub], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world(folder) as here:
            await body(here, here.desk.hub)

    asyncio.run(main())


async def told(viewer: Viewer) -> list[tuple[str, Any]]:
    """Everything that waits for a viewer, taken."""
    found = []
    while viewer._queue:
        message = await viewer.next()
        assert message is not None
        name, data = message.decode().removesuffix("\n\n").split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def joined(hub: Hub, sight: Any = "whole") -> Viewer:
    viewer = Viewer("session", sight)
    hub._viewers.add(viewer)
    return viewer


def test_a_change_of_every_unit_at_once_cuts_off_nobody_who_reads(tmp_path: Path) -> None:
    async def body(here: World, hub: Hub) -> None:
        viewer = joined(hub)
        with here.gateway.bus.subscribe() as changes:
            count = 5 * UNITS_A_FLUSH + 1
            for number in range(count):
                here.gateway.move(f"unit-{number}")
            hub._take(changes.drain())
            heard: list[str] = []
            for _ in range(6):
                hub._flush()
                assert viewer._queued < MAX_QUEUED
                for name, data in await told(viewer):
                    assert name == "units"
                    heard.extend(unit["unit_id"] for unit in data["units"])
            assert heard == [f"unit-{number}" for number in range(count)]
            assert viewer.end is None

    run(tmp_path, body)


def test_many_changes_of_one_unit_are_one_message_with_the_last_state(tmp_path: Path) -> None:
    async def body(here: World, hub: Hub) -> None:
        viewer = joined(hub)
        with here.gateway.bus.subscribe() as changes:
            for number in range(100):
                here.gateway.move("u1", lat_deg=22 + number / 100)
            await hub._step(changes)
            ((name, data),) = await told(viewer)
            assert name == "units"
            assert [unit["lat_deg"] for unit in data["units"]] == [22.99]
            here.gateway.move("u1", lat_deg=23.5)
            hub._due_mono = here.clock.monotonic() + 0.01
            await hub._step(changes)
            assert await told(viewer) == []  # at most twice a second
            await here.clock.advance(0.5)
            await hub._step(changes)
            assert len(await told(viewer)) == 1

    run(tmp_path, body)


def test_an_emergency_does_not_wait_for_the_units(tmp_path: Path) -> None:
    async def body(here: World, hub: Hub) -> None:
        viewer = joined(hub)
        with here.gateway.bus.subscribe() as changes:
            hub._due_mono = here.clock.monotonic() + 1000
            here.gateway.move("u1")
            emergency_id = here.gateway.press()
            await hub._step(changes)
            ((name, data),) = await told(viewer)
            assert (name, data["emergency"]["emergency_id"]) == ("emergency", emergency_id)

    run(tmp_path, body)


def test_links_are_told_as_far_as_each_viewer_sees_them(tmp_path: Path) -> None:
    async def body(here: World, hub: Hub) -> None:
        whole, state, none = joined(hub, "whole"), joined(hub, "state"), joined(hub, "none")
        with here.gateway.bus.subscribe() as changes:
            here.gateway.bus.publish("link", "link-1")
            await hub._step(changes)
        ((_, data),) = await told(whole)
        assert data["links"][0]["rejected"] == {"checksum": 1}
        ((_, data),) = await told(state)
        assert set(data["links"][0]) == {"link_id", "driver", "state", "since"}
        assert await told(none) == []
        assert link_sight({"viewer"}) == "none"
        assert link_sight({"viewer", "dispatcher"}) == "state"
        assert link_sight({"dispatcher", "technician"}) == "whole"

    run(tmp_path, body)


def test_not_accepting_is_told_without_anybody_publishing_it(tmp_path: Path) -> None:
    async def body(here: World, hub: Hub) -> None:
        viewer = joined(hub)
        hub._flush()
        assert await told(viewer) == []  # nothing has changed since the snapshot
        here.gateway.why = "disk full"
        hub._flush()
        hub._flush()
        ((name, data),) = await told(viewer)
        assert name == "gateway"
        assert data["gateway"]["is_accepting"] is False
        assert data["gateway"]["why"] == "disk full"
        here.desk.services.audit_state.is_ok = False
        hub._flush()
        assert (await told(viewer))[0][1]["audit_ok"] is False

    run(tmp_path, body)


def test_what_air_time_promises_is_told_when_it_moves(tmp_path: Path) -> None:
    async def body(here: World, hub: Hub) -> None:
        viewer = joined(hub)
        hub._tell_airtime()
        assert await told(viewer) == []
        here.gateway.airtime = [
            ChannelView(
                channel="c-1", budget_a_min=1000, asked_last_min=7, passed_over=0, promises={}
            )
        ]
        hub._tell_airtime()
        hub._tell_airtime()
        ((name, data),) = await told(viewer)
        assert name == "gateway"
        assert data["gateway"]["airtime"][0]["asked_last_min"] == 7
        assert data["audit_ok"] is True

    run(tmp_path, body)


def test_a_queue_never_holds_more_than_its_bound_and_the_cut_is_counted(tmp_path: Path) -> None:
    async def body(_here: World, hub: Hub) -> None:
        slow, quick = joined(hub), joined(hub)
        message = b"x" * 100_000
        for _ in range(20):
            hub._tell(message)
            assert slow._queued <= MAX_QUEUED
            await quick.next()
        assert slow.end == "slow"
        assert await slow.next() is None
        assert quick.end is None
        assert hub.viewers_cut_off == 1

    run(tmp_path, body)


def test_heartbeats_come_every_five_seconds(tmp_path: Path) -> None:
    async def body(here: World, hub: Hub) -> None:
        viewer = joined(hub)
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(hub.beat(), name="beat")
            await here.clock.advance(5)
            assert [name for name, _ in await told(viewer)] == ["heartbeat"]
            for _ in range(100):  # the session of nobody is looked up on the log's thread
                await asyncio.sleep(0.01)
                if viewer.end is not None:
                    break
            assert viewer.end == "signed_out"
            beating.cancel()

    run(tmp_path, body)


def test_a_mistake_in_what_is_shown_ends_neither_the_hub_nor_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(here: World, hub: Hub) -> None:
        viewer = joined(hub)

        def broken(_key: str) -> None:
            raise OverflowError("date value out of range")

        async with asyncio.TaskGroup() as group:
            running = group.create_task(hub.run(), name="hub")
            await here.clock.advance(1)
            monkeypatch.setattr(here.gateway, "unit", broken)
            here.gateway.move("u1")
            here.gateway.bus.publish("gateway", "")
            await here.clock.advance(1)
            monkeypatch.undo()
            emergency_id = here.gateway.press()
            await here.clock.advance(1)
            assert not running.done()
            names = [(name, data) for name, data in await told(viewer)]
            assert names[-1][1]["emergency"]["emergency_id"] == emergency_id
            running.cancel()

    run(tmp_path, body)
