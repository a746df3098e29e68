"""What a real 2.x server is given: buckets, names, the task that thins, the users of compose."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import SystemClock
from gateway.errors import SinkError
from gateway.model.quantities import NS_PER_S, Instant
from gateway.settings import load_settings
from gateway.sinks.influx import InfluxSink
from gateway.sinks.influx_setup import Admin, hints, set_up
from gateway.sinks.influx_setup_v2 import flux_task
from gateway.sinks.influx_steps import Step
from tests.conftest import find_tool
from tests.support import thinning
from tests.support.influxdb import ORG, TOKEN, InfluxDb2
from tests.support.sink_rows import figures, fix, loaded, raised, row

ROOT = Path(__file__).resolve().parents[3]
DAY = 86_400
FOR_EVER = {"type": "expire", "everySeconds": 0}
ADMIN = Admin(token=TOKEN)
PLACES = {"pdt": 28, "pdt/minutes": 180, "pdt/alarms": 1830}  # days

pytestmark = pytest.mark.needs("influxd2")


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[InfluxDb2]:
    with InfluxDb2(tmp_path / "influxdb") as server:
        yield server


def town_of(folder: Path, server: InfluxDb2, **more: Any) -> Any:
    return loaded(folder, influx={**server.settings, **more})


def states(steps: list[Step]) -> dict[str, str]:
    return {step.what: step.state for step in steps if not step.what.startswith("server")}


def kept(server: InfluxDb2) -> dict[str, float]:
    """Days that each bucket keeps."""
    return {
        bucket["name"]: bucket["retentionRules"][0]["everySeconds"] / DAY
        for bucket in server.listed("buckets")
    }


def names(server: InfluxDb2) -> set[tuple[str, str]]:
    """Retention policies of database ``pdt``, as InfluxQL says it, and their buckets."""
    return {
        (each["retention_policy"], each["bucketID"])
        for each in server.listed("dbrps")
        if each["database"] == "pdt"
    }


def test_it_gets_its_places_and_the_task_once(tmp_path: Path, server: InfluxDb2) -> None:
    town = town_of(tmp_path, server, alarms_to="pdt/alarms")
    made = set_up(town, ADMIN)
    assert {what for what, state in states(made).items() if state == "made"} == {
        *(f"bucket {name}" for name in PLACES),
        "task pdt minutes",
    }
    assert hints(town.settings.influx, made) == []
    assert kept(server) == PLACES
    ids = {bucket["name"]: bucket["id"] for bucket in server.listed("buckets")}
    assert names(server) == {
        ("autogen", ids["pdt"]),
        ("minutes", ids["pdt/minutes"]),
        ("alarms", ids["pdt/alarms"]),
    }
    (task,) = server.listed("tasks")
    assert (task["name"], task["status"], task["every"]) == ("pdt minutes", "active", "30m")
    assert set(states(set_up(town, ADMIN)).values()) == {"there"}, "a second run does nothing"


def test_its_retention_and_task_stay_unless_asked(tmp_path: Path, server: InfluxDb2) -> None:
    town = town_of(tmp_path, server)
    set_up(town, ADMIN)
    (full,) = (each for each in server.listed("buckets") if each["name"] == "pdt")
    server.ask("PATCH", f"/api/v2/buckets/{full['id']}", json={"retentionRules": [FOR_EVER]})
    (task,) = server.listed("tasks")
    by_hand = {"flux": task["flux"] + "// by hand"}
    server.ask("PATCH", f"/api/v2/tasks/{task['id']}", json=by_hand)
    steps = set_up(town, ADMIN)
    assert {what for what, state in states(steps).items() if state == "differs"} == {
        "bucket pdt",
        "task pdt minutes",
    }
    assert any("--change" in each for each in hints(town.settings.influx, steps))
    changed = states(set_up(town, ADMIN, may_change=True))
    assert (changed["bucket pdt"], changed["task pdt minutes"]) == ("changed", "changed")
    assert kept(server) == PLACES
    assert "by hand" not in server.listed("tasks")[0]["flux"]


def test_the_1x_path_leads_to_the_same_places(tmp_path: Path, server: InfluxDb2) -> None:
    set_up(town_of(tmp_path, server, api="1", alarms_to="alarms"), ADMIN)
    assert kept(server) == PLACES
    assert {name for name, _ in names(server)} == {"autogen", "minutes", "alarms"}


def test_another_retention_policy_can_be_the_usual_one(tmp_path: Path, server: InfluxDb2) -> None:
    town = town_of(tmp_path, server, api="1", retention_policy="full")
    assert states(set_up(town, ADMIN))["InfluxQL name pdt.full"] == "made"
    server.write(f"position lat=1.0 {time.time_ns()}", rp="full")
    assert server.query('SELECT "lat" FROM "full"."position"')
    assert server.query('SELECT "lat" FROM "position"'), "it is the default"
    assert set(states(set_up(town, ADMIN)).values()) == {"there"}


def test_a_bucket_that_dashboards_do_not_ask_is_told(tmp_path: Path, server: InfluxDb2) -> None:
    org_id = server.ask("GET", "/api/v2/orgs").json()["orgs"][0]["id"]
    other = server.ask("POST", "/api/v2/buckets", json={"orgID": org_id, "name": "other"}).json()
    name = {"database": "pdt", "retention_policy": "autogen", "default": True}
    server.ask("POST", "/api/v2/dbrps", json={**name, "orgID": org_id, "bucketID": other["id"]})
    town = town_of(tmp_path, server, api="1", retention_policy="full")
    for _ in range(2):
        steps = set_up(town, ADMIN)
        (told,) = (each for each in steps if each.what == "default InfluxQL name of pdt")
        assert told.state == "differs"
        assert told.detail.startswith("autogen, wanted full")
    changed = states(set_up(town, ADMIN, may_change=True))
    assert changed["default InfluxQL name of pdt"] == "changed"
    server.write("position lat=1.0", rp="full")
    assert server.query('SELECT "lat" FROM "position"')
    assert set(states(set_up(town, ADMIN)).values()) == {"there"}


@pytest.mark.parametrize("name", ["town-2", "榕溪", "a b", "back\\slash", "${r}"])
def test_a_bucket_may_have_any_name(tmp_path: Path, server: InfluxDb2, name: str) -> None:
    town = town_of(tmp_path, server, database=name)
    assert states(set_up(town, ADMIN))[f"task {name} minutes"] == "made"
    assert set(states(set_up(town, ADMIN)).values()) == {"there"}
    server.flux(flux_task(name))


def test_a_name_that_the_server_does_not_take_is_told_in_its_words(
    tmp_path: Path, server: InfluxDb2
) -> None:
    with pytest.raises(SinkError, match=r"400: .*may not include quotation marks"):
        set_up(town_of(tmp_path, server, database='quo"ted'), ADMIN)


def test_a_wrong_token_or_organisation_is_named(tmp_path: Path, server: InfluxDb2) -> None:
    with pytest.raises(SinkError, match=r"401.*--token-file"):
        set_up(town_of(tmp_path, server), Admin(token="wrong"))  # noqa: S106 - it is
    with pytest.raises(SinkError, match=r"no organisation 'other'.*influx\.org"):
        set_up(town_of(tmp_path, server, org="other"), ADMIN)


def test_alarms_are_in_the_long_lived_place_and_beside_the_rest(
    tmp_path: Path, server: InfluxDb2
) -> None:
    town = town_of(tmp_path, server, alarms_to="pdt/alarms")
    set_up(town, ADMIN)
    now = SystemClock().now()
    months_ago = Instant(now - 100 * DAY * NS_PER_S)
    deliver(town, raised(2, received_at=now), raised(3, mark="old", received_at=months_ago))
    long_lived = server.query('SELECT unit, event FROM "alarms"."emergency"')
    assert {one["unit"] for one in long_lived} == {"u2", "u3"}
    assert {one["unit"] for one in server.query("SELECT unit, event FROM emergency")} == {"u2"}


def deliver(town: Any, *events: Any) -> None:
    """Write events as the gateway does; each of them must be taken, and again be the same point."""

    async def story() -> None:
        sink = InfluxSink(town, clock=SystemClock(), figures=figures)
        for _ in range(2):
            done = await sink.deliver([row(seq, each) for seq, each in enumerate(events)])
            assert sorted(done.accepted) == list(range(len(events))), done
        await sink.close()

    asyncio.run(story())


def test_positions_are_thinned_to_the_last_of_each_minute(
    tmp_path: Path, server: InfluxDb2
) -> None:
    minute = int(time.time()) // 60 * 60 - 300
    town = town_of(tmp_path, server)
    set_up(town, ADMIN)
    deliver(town, *thinning.story(minute))
    for _ in range(2):  # a second run writes the same points
        thinning.run_task(server)
        thinning.check(server.query('SELECT * FROM "minutes"."position"'), minute)


@pytest.mark.needs("influx2")
def test_the_script_of_compose_makes_places_and_users_with_one_right_each(
    tmp_path: Path, server: InfluxDb2
) -> None:
    """As the container runs it: with the makers' own command line, after the first bucket."""
    tool = find_tool("influx2")
    assert tool is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "influx").symlink_to(tool)
    for name in ("gateway", "grafana"):
        (tmp_path / f"influx_{name}_password").write_text(f"the-password-of-{name}\n")
    org = server.ask("GET", "/api/v2/orgs", params={"org": ORG}).json()["orgs"][0]["id"]
    asked = {"orgID": org, "name": "pdt", "retentionRules": [{"everySeconds": 28 * DAY}]}
    bucket = server.ask("POST", "/api/v2/buckets", json=asked).json()["id"]
    script = (ROOT / "config/compose/influxdb-users.sh").read_text(encoding="utf-8")
    script = script.replace("/run/secrets", str(tmp_path))
    done = subprocess.run(
        ["bash", "-c", script.replace("/etc/pdt", str(ROOT / "config/compose"))],
        check=False, capture_output=True, text=True, timeout=60,
        env={
            "PATH": f"{tmp_path}/bin:{os.defpath}", "HOME": str(tmp_path),
            "INFLUX_HOST": server.url, "INFLUX_TOKEN": TOKEN,
            "DOCKER_INFLUXDB_INIT_ORG": ORG, "DOCKER_INFLUXDB_INIT_BUCKET": "pdt",
            "DOCKER_INFLUXDB_INIT_BUCKET_ID": bucket,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the-password-of" not in done.stdout + done.stderr
    # what the command makes elsewhere is all there
    town = town_of(tmp_path, server, api="1", alarms_to="alarms")
    assert set(states(set_up(town, ADMIN)).values()) == {"there"}

    text = (ROOT / "config/compose/gateway.toml").read_text(encoding="utf-8")
    text = text.replace("/run/secrets", str(tmp_path)).replace("http://influxdb:8086", server.url)
    for beside in ("units.toml", "town.geojson"):
        (tmp_path / beside).write_bytes((ROOT / "config" / beside).read_bytes())
    (tmp_path / "gateway.toml").write_text(text)
    lately = Instant(SystemClock().now() - 60 * NS_PER_S)
    deliver(
        load_settings(tmp_path / "gateway.toml"),
        fix(1, fix_at=lately, received_at=lately),
        raised(2, received_at=lately),
    )
    thinning.run_task(server)

    def answer(method: str, path: str, user: str, **parts: Any) -> httpx.Response:
        return httpx.request(
            method, f"{server.url}{path}", auth=(user, f"the-password-of-{user}"),
            trust_env=False, **parts,
        )  # fmt: skip

    point = {"content": b"position lat=1.0", "params": {"db": "pdt"}}
    for place in ('"position"', '"minutes"."position"', '"alarms"."emergency"'):
        asked = {"params": {"db": "pdt", "q": f"SELECT * FROM {place}"}}  # noqa: S608 - above
        (shown,) = answer("GET", "/query", "grafana", **asked).json()["results"]
        assert "series" in shown, (place, shown)
        (hidden,) = answer("GET", "/query", "gateway", **asked).json()["results"]
        assert "series" not in hidden, "the gateway may only write"
    forbidden = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
    assert answer("POST", "/write", "grafana", **point).status_code in forbidden
    assert answer("POST", "/write", "nobody", **point).status_code in forbidden
