"""What the rest of the gateway may rely on when it hands an event to the outbox."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
import structlog.testing

from gateway.clock import ManualClock
from gateway.errors import ConfigError, StoreError
from gateway.model import emergency as transitions
from gateway.model.events import EmergencyClosed, EmergencyEnded
from gateway.outbox.engine import Engine
from gateway.outbox.reserve import Reserve
from gateway.outbox.rows import Lane, Row
from gateway.outbox.store import Outbox
from gateway.outbox.tables import checksum
from gateway.settings import OutboxSettings
from tests.support.emergencies import at
from tests.support.outbox import SMALL, Answers, event_id, everything, fix, ids, press, running


def test_committed_events_are_on_disk_in_the_order_they_were_submitted(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            for number in range(50):
                assert outbox.submit(answers.event(fix(number)))
            await answers.wait(50)
        assert answers.stored == [event_id(number) for number in range(50)]

    asyncio.run(story())
    rows = everything(tmp_path / "outbox.db", Lane.TELEMETRY)
    assert ids(rows) == [event_id(number) for number in range(50)]
    assert [row.seq for row in rows] == sorted({row.seq for row in rows})


def test_listeners_see_the_rows_before_the_writes_are_settled(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        seen: list[tuple[int, int]] = []

        def listen(rows: list[Row]) -> None:
            seen.append((len(rows), len(answers.told)))

        async with running(tmp_path / "outbox.db") as outbox:
            outbox.on_committed(listen)
            outbox.submit(answers.event(fix(1)))
            await answers.wait(1)
        assert seen == [(1, 0)]

    asyncio.run(story())


def test_a_failing_listener_or_settle_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()

        def broken(_: object) -> None:
            raise RuntimeError("not the outbox's trouble")

        async with running(tmp_path / "outbox.db") as outbox:
            outbox.on_committed(broken)
            outbox.submit(answers.event(fix(1))._replace(settle=broken))
            outbox.submit(answers.event(fix(2)))
            await answers.wait(1)
        assert answers.stored == [event_id(2)]

    asyncio.run(story())


def test_an_emergency_overtakes_telemetry_that_was_queued_before_it(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        slow_group = OutboxSettings(reserve_bytes=65536, commit_every_s=0.2)
        async with running(tmp_path / "outbox.db", slow_group) as outbox:
            for number in range(5):
                outbox.submit(answers.event(fix(number)))
            outbox.submit(answers.raising(press(9), "press"))
            await answers.wait(6)
        assert answers.stored[0] == "press"

    asyncio.run(story())


def test_each_emergency_event_is_committed_by_itself(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        groups: list[int] = []
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.on_committed(lambda rows: groups.append(len(rows)))
            for number in range(7):
                outbox.submit(answers.raising(press(number)))
            await answers.wait(7)
            assert outbox.stats().commits == 7
        assert groups == [1] * 7

    asyncio.run(story())


def test_the_state_of_an_emergency_follows_its_events_over_a_restart(tmp_path: Path) -> None:
    event = press(1)
    state = transitions.raised(event)
    ended = EmergencyEnded(
        event_id=event_id(2), radio_id=event.radio_id, received_at=at(2), kind="alarm"
    )
    other = press(3, radio=2)
    closing = EmergencyClosed(
        event_id=event_id(4),
        radio_id=other.radio_id,
        received_at=at(4),
        emergency_id=other.event_id,
        by="li",
        verdict="false",
    )

    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.raising(event))
            outbox.submit(answers.update(transitions.refreshed(state, event), "again"))
            outbox.submit(answers.update(transitions.ended(state, ended), "ended", ended))
            outbox.submit(answers.raising(other))
            shut = transitions.closed(transitions.raised(other), closing)
            outbox.submit(answers.update(shut, "closed", closing))
            await answers.wait(5)
            assert answers.failed == []
        async with running(tmp_path / "outbox.db") as outbox:
            assert outbox.open_emergencies() == [transitions.ended(state, ended)]
            assert outbox.recent_emergencies(at(4)) == [transitions.ended(state, ended), shut]
            assert outbox.recent_emergencies(at(5)) == [transitions.ended(state, ended)]
            assert outbox.recent_event_ids(2) == [other.event_id, closing.event_id]

    asyncio.run(story())


def test_an_update_of_an_emergency_that_is_not_on_disk_fails_alone(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        known, unknown = press(1), press(2, radio=2)
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.raising(known))
            outbox.submit(answers.update(transitions.raised(unknown), "unknown"))
            outbox.submit(answers.update(transitions.raised(known), "known"))
            await answers.wait(3)
            assert answers.failed == ["unknown"]
            assert "is not in the outbox" in str(answers.error("unknown"))
            assert outbox.stats().failed == {"emergency": 1}

    asyncio.run(story())


def test_an_event_that_cannot_be_written_as_json_fails_alone(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.event(fix(1, unit_name="\ud800"), "lone surrogate"))
            outbox.submit(answers.event(fix(2), "fine"))
            await answers.wait(2)
        assert (answers.stored, answers.failed) == (["fine"], ["lone surrogate"])

    asyncio.run(story())


def test_a_full_telemetry_queue_refuses_and_leaves_emergencies_alone(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        few = OutboxSettings(reserve_bytes=65536, queue_rows=10)
        async with running(tmp_path / "outbox.db", few) as outbox:
            taken = [outbox.submit(answers.event(fix(number))) for number in range(15)]
            assert taken == [True] * 10 + [False] * 5
            assert outbox.submit(answers.raising(press(1)))
            await answers.wait(11)
            stats = outbox.stats()
            assert stats.stored == {"telemetry": 10, "emergency": 1}
            assert stats.refused == {"telemetry": 5, "emergency": 0}
            assert stats.waiting == {"telemetry": 0, "emergency": 0}
            assert outbox.submit(answers.event(fix(99)))

    asyncio.run(story())


def test_room_waits_from_half_a_queue_down_to_a_quarter(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        few = OutboxSettings(reserve_bytes=65536, queue_rows=40)
        async with running(tmp_path / "outbox.db", few) as outbox:
            for number in range(20):
                outbox.submit(answers.event(fix(number)))
            await outbox.room()
            assert answers.told == []
            outbox.submit(answers.event(fix(20)))
            async with asyncio.timeout(5):
                await outbox.room()
            assert outbox.stats().waiting["telemetry"] <= 10

    asyncio.run(story())


def test_settled_waits_for_everything_that_is_queued(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            await outbox.settled()
            for number in range(500):
                outbox.submit(answers.event(fix(number)))
            outbox.submit(answers.raising(press(1)))
            assert answers.told == []
            async with asyncio.timeout(5):
                await outbox.settled()
            assert len(answers.stored) == 501

    asyncio.run(story())


def test_what_is_queued_is_settled_before_close_returns(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            for number in range(2000):
                outbox.submit(answers.event(fix(number)))
            outbox.submit(answers.raising(press(1)))
        assert len(answers.stored) == 2001
        assert not outbox.submit(answers.event(fix(5000)))

    asyncio.run(story())
    assert not (tmp_path / "outbox.db-wal").exists()


def test_a_second_gateway_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path / "outbox.db") as outbox:
            with pytest.raises(StoreError, match=rf"another gateway \(pid {os.getpid()}\) uses"):
                async with running(tmp_path / "outbox.db"):
                    pass
            assert outbox.state == "accepting"
        async with running(tmp_path / "outbox.db"):
            pass

    asyncio.run(story())


def test_a_file_of_a_newer_gateway_is_refused_and_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.event(fix(1)))
        with sqlite3.connect(tmp_path / "outbox.db") as db:
            db.execute("PRAGMA user_version = 7")
        db.close()
        with pytest.raises(StoreError, match="written by a newer gateway"):
            async with running(tmp_path / "outbox.db"):
                pass

    asyncio.run(story())
    assert [file.name for file in tmp_path.glob("*damaged*")] == []
    assert len(everything(tmp_path / "outbox.db", Lane.TELEMETRY)) == 1


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    outbox = Outbox(tmp_path / "outbox.db", SMALL, ManualClock())
    with pytest.raises(StoreError, match="a database of something else"):
        outbox.open()
    assert [file.name for file in tmp_path.glob("*damaged*")] == []


def test_a_folder_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    outbox = Outbox(tmp_path / "file" / "outbox.db", SMALL, ManualClock())
    with pytest.raises(ConfigError, match=r"site\.data_dir"):
        outbox.open()


def test_only_the_service_can_read_the_files(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.event(fix(1)))
            await answers.wait(1)
            modes = {file.name: file.stat().st_mode & 0o077 for file in tmp_path.iterdir()}
            assert "outbox.db-wal" in modes
            assert set(modes.values()) == {0}

    asyncio.run(story())


def test_cursors_and_rows_set_aside_are_there_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db", sinks=["desk", "mqtt"]) as outbox:
            for number in range(3):
                outbox.submit(answers.event(fix(number)))
            await answers.wait(3)
            rows = (await outbox.read_after(Lane.TELEMETRY, 0, 10)).rows
            outbox.set_aside("mqtt", Lane.TELEMETRY, rows[0].seq, "x" * 900, rows[0].payload)
            outbox.advance("mqtt", Lane.TELEMETRY, rows[1].seq)
            outbox.advance("mqtt", Lane.TELEMETRY, rows[0].seq)
        async with running(tmp_path / "outbox.db", sinks=["desk", "mqtt", "new"]) as outbox:
            assert outbox.cursor("mqtt", Lane.TELEMETRY) == rows[1].seq
            assert outbox.cursor("desk", Lane.TELEMETRY) == 0
            assert outbox.cursor("new", Lane.TELEMETRY) == 0
            assert outbox.stats().set_aside == {"mqtt": 1}
            (aside,) = await outbox.set_aside_rows("mqtt", 10)
            assert (aside.seq, aside.payload) == (rows[0].seq, rows[0].payload)
            assert aside.reason == "x" * 200
            assert await outbox.set_aside_rows("desk", 10) == []

    asyncio.run(story())


def test_numbers_go_on_after_a_restart_even_if_every_row_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db", sinks=["desk"]) as outbox:
            outbox.submit(answers.event(fix(1)))
            await answers.wait(1)
            first = outbox.last_seq(Lane.TELEMETRY)
            outbox.advance("desk", Lane.TELEMETRY, first)
        with sqlite3.connect(tmp_path / "outbox.db") as db:
            db.execute("DELETE FROM telemetry_rows")
        db.close()
        async with running(tmp_path / "outbox.db", sinks=["desk"]) as outbox:
            outbox.submit(answers.event(fix(2)))
            await answers.wait(2)
            assert outbox.last_seq(Lane.TELEMETRY) > first

    asyncio.run(story())


def test_an_emergency_that_is_raised_again_is_written_anew(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        event = press(1)
        again = press(1, radio=1)
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.raising(event, "first"))
            outbox.submit(
                answers.update(
                    transitions.refreshed(transitions.raised(event), again), "second", again
                )
            )
            await answers.wait(2)
            assert answers.failed == []
            (state,) = outbox.open_emergencies()
            assert state.frames == 2

    asyncio.run(story())


def test_an_outbox_that_could_not_be_opened_can_be_closed(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path / "outbox.db"):
            second = Outbox(tmp_path / "outbox.db", SMALL, ManualClock())
            with pytest.raises(StoreError):
                second.open()
            await second.close()
        never_opened = Outbox(tmp_path / "outbox.db", SMALL, ManualClock())
        await never_opened.close()

    asyncio.run(story())


def test_a_state_that_is_not_normal_at_the_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reserve, "free_bytes", lambda _self: 1000)

    async def story() -> None:
        told: list[str] = []
        outbox = Outbox(tmp_path / "outbox.db", SMALL, ManualClock())
        outbox.on_state(lambda state, _why: told.append(state))
        outbox.open()
        outbox.start(asyncio.get_running_loop())
        assert told == ["reserve_used"]
        await outbox.close()

    asyncio.run(story())


def test_a_flood_of_emergencies_does_not_stop_telemetry(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.event(fix(1), "fix"))
            for number in range(400):
                outbox.submit(answers.raising(press(number, radio=number), f"press {number}"))
            await answers.wait(401)
        place = answers.stored.index("fix")
        assert 0 < place < 400

    asyncio.run(story())


def test_an_outbox_that_was_never_started_can_be_closed(tmp_path: Path) -> None:
    async def story() -> None:
        outbox = Outbox(tmp_path / "outbox.db", SMALL, ManualClock())
        outbox.open()
        assert not outbox.submit(Answers().event(fix(1)))
        await outbox.close()
        async with running(tmp_path / "outbox.db"):
            pass

    asyncio.run(story())


def test_a_loop_that_ends_without_closing_the_outbox_takes_no_commit_with_it(
    tmp_path: Path,
) -> None:
    outbox = Outbox(tmp_path / "outbox.db", SMALL, ManualClock())

    async def hand_over() -> None:
        outbox.open()
        outbox.start(asyncio.get_running_loop())
        for number in range(5):
            outbox.submit(Answers().event(fix(number)))

    async def end() -> None:
        outbox.start(asyncio.get_running_loop())
        await outbox.close()

    asyncio.run(hand_over())
    asyncio.run(end())
    assert len(everything(tmp_path / "outbox.db", Lane.TELEMETRY)) == 5


def test_a_listener_of_states_that_fails_keeps_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reserve, "free_bytes", lambda _self: 1000)
    told: list[str] = []

    def broken(*_: object) -> None:
        raise RuntimeError("not the outbox's trouble")

    async def story() -> None:
        outbox = Outbox(tmp_path / "outbox.db", SMALL, ManualClock())
        outbox.on_state(broken)
        outbox.on_state(lambda state, _why: told.append(state))
        outbox.open()
        outbox.start(asyncio.get_running_loop())
        await outbox.close()

    asyncio.run(story())
    assert told == ["reserve_used"]


def test_a_bug_in_housekeeping_does_not_end_the_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(Engine, "sweep", bug)

    async def story() -> None:
        answers = Answers()
        with structlog.testing.capture_logs() as logs:
            async with running(tmp_path / "outbox.db") as outbox:
                outbox.submit(answers.event(fix(1)))
                await answers.wait(1)
        assert answers.stored == [event_id(1)]
        assert [entry["event"] for entry in logs] == ["outbox_bug"]

    asyncio.run(story())


def test_housekeeping_that_fails_is_seen_in_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the disk does not answer")

    monkeypatch.setattr(Engine, "measure", fail)

    async def story() -> None:
        async with running(tmp_path / "outbox.db") as outbox:
            async with asyncio.timeout(5):
                while not outbox.stats().last_error:
                    await asyncio.sleep(0.005)
            assert outbox.stats().last_error == "the disk does not answer"

    asyncio.run(story())


def test_a_row_of_a_newer_gateway_is_told_apart_from_those_that_can_be_read(tmp_path: Path) -> None:
    newer = b'{"type":"not_invented_yet"}'

    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.event(fix(1)))
            await answers.wait(1)
        with sqlite3.connect(tmp_path / "outbox.db") as db:
            db.execute(
                "INSERT INTO telemetry_rows VALUES (9, 0, 'x', 'y', ?, ?)",
                (checksum(9, newer), newer),
            )
        db.close()
        async with running(tmp_path / "outbox.db") as outbox:
            page = await outbox.read_after(Lane.TELEMETRY, 0, 10)
            assert ids(page.rows) == [event_id(1)]
            assert page.unreadable == [(9, newer)]

    asyncio.run(story())


def test_a_state_that_is_no_emergency_does_not_stop_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        answers = Answers()
        async with running(tmp_path / "outbox.db") as outbox:
            outbox.submit(answers.raising(press(1)))
        text = b'{"emergency_id": 7}'
        with sqlite3.connect(tmp_path / "outbox.db") as db:
            db.execute(
                "INSERT INTO emergencies VALUES ('x', 'y', 'alarm', 'open', 9, NULL, ?, ?)",
                (checksum(9, text), text),
            )
        db.close()
        async with running(tmp_path / "outbox.db") as outbox:
            assert [state.emergency_id for state in outbox.open_emergencies()] == [
                press(1).event_id
            ]

    asyncio.run(story())
