"""``pdt-gateway influx setup`` for a real 1.x server; 2.x is in ``test_influxdb2_places``."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import SystemClock
from gateway.errors import ConfigError, SinkError
from gateway.model import emergency as transitions
from gateway.model.events import AnyEvent
from gateway.model.quantities import Instant
from gateway.sinks import influx_setup_v1
from gateway.sinks.influx import InfluxSink
from gateway.sinks.influx_setup import Admin, hints, set_up, version_of
from gateway.sinks.influx_steps import Step, time_text
from tests.support import thinning
from tests.support.influxdb import InfluxDb
from tests.support.sink_rows import closed, figures, fix, loaded, raised, row

DAY = 86_400
needs_influxd = pytest.mark.needs("influxd")


def states(steps: list[Step]) -> dict[str, str]:
    return {step.what: step.state for step in steps if not step.what.startswith("server")}


def settings(folder: Path, url: str, **more: Any) -> Any:
    return loaded(folder, influx={"enabled": True, "url": url, "api": "1", **more})


def durations(database: InfluxDb) -> dict[str, str]:
    found = database.query("SHOW RETENTION POLICIES ON pdt")
    return {one["name"]: one["duration"] for one in found}


@needs_influxd
def test_a_real_server_gets_its_places_once(tmp_path: Path) -> None:
    with InfluxDb(tmp_path) as database:
        town = settings(tmp_path, database.url, alarms_to="alarms")
        made = set_up(town, Admin())
        assert states(made) == {
            "database pdt": "made",
            "retention policy autogen": "there",
            "retention policy minutes": "made",
            "retention policy alarms": "made",
            "default retention policy": "there",
            "continuous query pdt_minutes": "made",
        }
        assert durations(database) == {
            "autogen": "672h0m0s",
            "minutes": "4320h0m0s",
            "alarms": "43920h0m0s",
        }
        assert set(states(set_up(town, Admin())).values()) == {"there"}, "a second run does nothing"
        assert hints(town.settings.influx, made) == []


@needs_influxd
def test_what_is_there_is_not_shortened_unless_asked(tmp_path: Path) -> None:
    with InfluxDb(tmp_path) as database:
        database.query("CREATE DATABASE pdt")
        town = settings(tmp_path, database.url)
        steps = set_up(town, Admin())
        assert states(steps)["retention policy autogen"] == "differs"
        assert durations(database)["autogen"] == "0s", "for ever, as it was"
        told = hints(town.settings.influx, steps)
        assert any("--change" in each for each in told)
        assert any('alarms_to = "alarms"' in each for each in told)
        again = set_up(town, Admin(), may_change=True)
        assert states(again)["retention policy autogen"] == "changed"
        assert durations(database)["autogen"] == "672h0m0s"


def default(database: InfluxDb) -> list[str]:
    return [
        one["name"] for one in database.query("SHOW RETENTION POLICIES ON pdt") if one["default"]
    ]


@needs_influxd
def test_a_policy_that_dashboards_do_not_ask_is_told(tmp_path: Path) -> None:
    with InfluxDb(tmp_path) as database:
        database.query("CREATE DATABASE pdt")
        town = settings(tmp_path, database.url, retention_policy="full")
        for state in ("made", "there"):
            steps = set_up(town, Admin())
            assert states(steps)["retention policy full"] == state
            (told,) = (step for step in steps if step.what == "default retention policy")
            assert told.state == "differs"
            assert told.detail.startswith("autogen, wanted full")
            assert default(database) == ["autogen"]
        changed = states(set_up(town, Admin(), may_change=True))
        assert changed["default retention policy"] == "changed"
        assert default(database) == ["full"]
        database.write("position lat=1.0", rp="full")
        assert database.query('SELECT "lat" FROM "position"')
        assert set(states(set_up(town, Admin())).values()) == {"there"}


@needs_influxd
def test_a_database_without_a_default_policy_gets_one(tmp_path: Path) -> None:
    with InfluxDb(tmp_path) as database:
        database.query("CREATE DATABASE pdt")
        database.query("DROP RETENTION POLICY autogen ON pdt")
        made = states(set_up(settings(tmp_path, database.url), Admin()))
        assert made["default retention policy"] == "made"
        assert default(database) == ["autogen"]


@needs_influxd
def test_positions_are_thinned_to_the_last_of_each_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influx_setup_v1, "THIN_EVERY", "1s")
    minute = int(time.time()) // 60 * 60 - 300
    with InfluxDb(tmp_path, thinning=True) as database:
        town = settings(tmp_path, database.url)
        set_up(town, Admin())
        sink = InfluxSink(town, clock=SystemClock(), figures=figures)

        async def write() -> None:
            events = thinning.story(minute)
            done = await sink.deliver([row(seq, each) for seq, each in enumerate(events)])
            assert len(done.accepted) == len(events)
            await sink.close()

        asyncio.run(write())
        thinning.wait_for_query(database)
        thinning.check(database.query('SELECT * FROM "minutes"."position"'), minute)


@needs_influxd
def test_alarms_are_in_the_long_lived_place_and_beside_the_rest(tmp_path: Path) -> None:
    now = Instant(time.time_ns())
    months_ago = Instant(now - 100 * DAY * 10**9)
    with InfluxDb(tmp_path) as database:
        town = settings(tmp_path, database.url, alarms_to="alarms")
        set_up(town, Admin())
        sink = InfluxSink(town, clock=SystemClock(), figures=figures)
        press = raised(2, received_at=now)
        old = raised(3, mark="old", received_at=months_ago)
        ended = closed(transitions.raised(press), received_at=now)

        async def write() -> None:
            events: list[AnyEvent] = [press, ended, old, fix(1, received_at=now, fix_at=now)]
            for _ in range(2):
                done = await sink.deliver([row(seq, each) for seq, each in enumerate(events)])
                assert sorted(done.accepted) == [0, 1, 2, 3]
                assert not done.rejected, "an alarm that is old for one place is safe in the other"
            await sink.close()

        asyncio.run(write())
        kept = database.query('SELECT event, unit FROM "alarms"."emergency"')
        assert sorted((one["event"], one["unit"]) for one in kept) == [
            ("closed", "u2"),
            ("raised", "u2"),
            ("raised", "u3"),
        ]
        beside = database.query("SELECT event, unit FROM emergency")
        assert {one["unit"] for one in beside} == {"u2"}
        assert not database.query('SELECT lat FROM "alarms"."position"')


@needs_influxd
def test_an_alarm_waits_while_its_long_lived_place_is_missing(tmp_path: Path) -> None:
    with InfluxDb(tmp_path) as database:
        database.query("CREATE DATABASE pdt")
        town = settings(tmp_path, database.url, alarms_to="alarms")
        sink = InfluxSink(town, clock=SystemClock(), figures=figures)

        async def write() -> None:
            with pytest.raises(SinkError, match="retention policy not found"):
                await sink.deliver([row(1, raised(1))])
            await sink.close()

        asyncio.run(write())


@needs_influxd
def test_a_server_with_accounts_wants_an_administrator(tmp_path: Path) -> None:
    with InfluxDb(tmp_path, auth=True) as database:
        database.query("CREATE USER root WITH PASSWORD 'a' WITH ALL PRIVILEGES", db="")
        town = settings(tmp_path, database.url)
        with pytest.raises(SinkError, match="give an administrator"):
            set_up(town, Admin())
        assert states(set_up(town, Admin("root", "a")))["database pdt"] == "made"


@needs_influxd
def test_the_command_says_what_it_did_and_ends_with_1_where_something_differs(
    tmp_path: Path,
) -> None:
    with InfluxDb(tmp_path) as database:
        file = tmp_path / "gateway.toml"
        file.write_text(
            '[site]\nid = "town"\n[influx]\nenabled = true\napi = "1"\nalarms_to = "alarms"\n'
            f'url = "{database.url}"\n'
        )

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "gateway", "influx", "setup", "--config", file, *words],
                capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip

        first = run()
        assert first.returncode == 0, first.stderr
        assert "made     retention policy alarms: 1830 d" in first.stdout
        assert "there    database pdt" in run().stdout
        database.query('ALTER RETENTION POLICY "autogen" ON "pdt" DURATION 10d')
        differing = run("--json")
        assert differing.returncode == 1
        found = {step["what"]: step for step in json.loads(differing.stdout)["steps"]}
        assert found["retention policy autogen"]["detail"] == "10 d, wanted 28 d"


def test_a_server_of_another_kind_is_told() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(204, headers={"X-Influxdb-Version": "3.2.1"})

    with (
        httpx.Client(
            base_url="http://127.0.0.1:9", transport=httpx.MockTransport(answer)
        ) as client,
        pytest.raises(ConfigError, match=r"version 3\.2\.1.*with the server's tool"),
    ):
        version_of(client, "do it with the server's tool")


def test_no_server_is_told(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"127\.0\.0\.1:9"):
        set_up(settings(tmp_path, "http://127.0.0.1:9"), Admin())


def test_times_are_said_as_people_say_them() -> None:
    assert [time_text(each) for each in (0, 90, 120, 7200, 28 * DAY)] == [
        "for ever", "90 s", "2 min", "2 h", "28 d",
    ]  # fmt: skip
