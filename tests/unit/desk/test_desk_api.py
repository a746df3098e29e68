"""What the desk's routes answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway.desk.routes import ROUTES
from gateway.errors import StoreError
from gateway.model.emergency import Emergency
from gateway.model.events import struct_from_json
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant
from gateway.model.views import UnitView
from tests.support.desk_rows import T0, at, closed, fix, raised, rows, taken, text
from tests.support.desk_world import World, world

Body = Callable[[World], Awaitable[None]]
DAY_S = 86_400


def run(folder: Path, body: Body, **more: Any) -> None:
    async def main() -> None:
        async with world(folder, **more) as here:
            await body(here)

    asyncio.run(main())


def test_the_state_has_everything_that_the_page_needs(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        here.gateway.move("u1")
        emergency_id = await here.press()
        state = (await (await here.person("technician")).get("/api/state")).json()
        assert state["gateway"]["site_name"] == "寮步镇"
        assert state["gateway"]["is_accepting"] is True
        assert state["audit_ok"] is True
        assert state["units"][0]["unit_id"] == "u1"
        assert state["units"][0]["fix_at"] == here.clock.now().text()
        assert "battery_pct" not in state["units"][0]  # not known is absent
        assert state["sites"][0]["ring_m"] == 100.0
        assert [each["emergency_id"] for each in state["emergencies"]] == [emergency_id]
        assert state["map"] is None
        assert "units_total" not in state

    run(tmp_path, body)


def test_links_are_shown_as_far_as_the_role_sees_them(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        viewer, dispatcher = await here.person("viewer"), await here.person("dispatcher")
        technician = await here.person("technician")
        assert "links" not in (await viewer.get("/api/state")).json()
        (seen,) = (await dispatcher.get("/api/state")).json()["links"]
        assert set(seen) == {"link_id", "driver", "state", "since"}
        (whole,) = (await technician.get("/api/links")).json()["links"]
        assert whole["rejected"] == {"checksum": 1}
        assert whole["place"] == "tcp 127.0.0.1:808"
        rejects = (await technician.get("/api/links/link-1/rejects")).json()["rejects"]
        assert [each["at"] for each in rejects] == [Instant(2).text(), Instant(1).text()]
        assert (await technician.get("/api/links/none/rejects")).status_code == 404
        assert (await technician.get("/api/counters")).json()["dropped"] == {"duplicate": 1}

    run(tmp_path, body)


def test_taking_and_closing_answers_with_the_new_state_and_is_audited(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        emergency_id = await here.press()
        person = await here.person("dispatcher", name="李明")
        early = await person.post(f"/api/emergencies/{emergency_id}/close", {"verdict": "true"})
        assert (early.status_code, early.json()["error"]) == (409, "not_allowed")
        taken_ = await person.post(f"/api/emergencies/{emergency_id}/take")
        assert (taken_.json()["phase"], taken_.json()["taken_by"]) == ("taken", "李明")
        shut = await person.post(
            f"/api/emergencies/{emergency_id}/close", {"verdict": "false", "note": "误按"}
        )
        state = struct_from_json(shut.content, Emergency)
        assert (state.phase, state.verdict, state.note) == ("closed", "false", "误按")
        assert here.gateway.acts == [
            ("take", emergency_id, "李明"),
            ("close", emergency_id, "李明"),
        ]
        rows_ = [row[1:] for row in await here.audited()]
        assert rows_ == [
            ("emergency_close", emergency_id, "refused"),
            ("emergency_take", emergency_id, "ok"),
            ("emergency_close", emergency_id, "ok"),
        ]
        assert (await here.log.audit_rows(None, 1))[0].detail == "false 误按"

    run(tmp_path, body)


def test_an_act_that_was_not_stored_is_said_to_be_so(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        emergency_id = await here.press()
        person = await here.person("dispatcher")
        here.gateway.store_error = StoreError("disk full")
        answer = await person.post(f"/api/emergencies/{emergency_id}/take")
        assert (answer.status_code, answer.json()["error"]) == (503, "not_stored")
        assert (await here.audited())[-1][3] == "failed"

    run(tmp_path, body)


def test_a_close_that_does_not_fit_is_refused_in_our_form(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        emergency_id = await here.press()
        person = await here.person("dispatcher")
        unfit: tuple[Any, ...] = (
            {},
            {"verdict": "maybe"},
            {"verdict": True},
            {"verdict": "true", "note": "x" * 1001},
            {"verdict": "true", "by": "somebody else"},
            [],
            "true",
        )
        for sent in unfit:
            answer = await person.post(f"/api/emergencies/{emergency_id}/close", sent)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid"), sent
        assert not here.gateway.acts

    run(tmp_path, body)


def test_open_emergencies_come_from_the_gateway_and_closed_ones_from_the_log_too(
    tmp_path: Path,
) -> None:
    async def body(here: World) -> None:
        await here.log.apply(rows(raised(0, press="old"), taken(1, press="old")))
        await here.log.apply(rows(closed(2, press="old"), first=9))
        await here.log.apply(rows(raised(3, press="only-logged"), first=20))
        newest = here.gateway.press("b")
        person = await here.person("dispatcher", name="李明")
        await person.post(f"/api/emergencies/{newest}/take")
        await person.post(f"/api/emergencies/{newest}/close", {"verdict": "drill"})
        lists = (await person.get("/api/emergencies")).json()
        assert [each["emergency_id"] for each in lists["open"]] == ["raised-only-logged"]
        ids = [each["emergency_id"] for each in lists["closed"]]
        assert set(ids) == {newest, "raised-old"}
        assert len((await person.get("/api/emergencies?closed=1")).json()["closed"]) == 1
        assert not (await person.get("/api/emergencies?closed=0")).json()["closed"]
        assert (await person.get("/api/emergencies?closed=501")).status_code == 400

    run(tmp_path, body)


def test_a_track_is_geojson_cut_at_gaps(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.clock.advance(3600)
        await here.log.apply(
            rows(*(fix(s, lat_deg=22 + s / 1e5) for s in (0, 10, 20, 900, 910, 2000)))
        )
        person = await here.person("dispatcher")
        answer = await person.get("/api/track/mobile-1-a.geojson")
        assert answer.headers["content-type"] == "application/geo+json"
        collection = answer.json()
        line, *points = collection["features"]
        assert collection["type"] == "FeatureCollection"
        assert line["geometry"]["type"] == "MultiLineString"
        assert [len(part) for part in line["geometry"]["coordinates"]] == [3, 2]
        assert line["geometry"]["coordinates"][0][0] == [113.88, 22.0]  # longitude first
        assert line["properties"]["points"] == 6
        assert [each["geometry"]["type"] for each in points] == ["Point"] * 6
        assert points[0]["properties"]["at"] == at(0).text()
        assert points[0]["properties"]["speed_mps"] == 1.5
        assert "battery_pct" not in points[0]["properties"]
        radio = await person.get("/api/track/pdt:80020200.geojson?limit=3")
        assert radio.json()["features"][0]["properties"]["is_thinned"] is True
        assert len(radio.json()["features"]) <= 4
        none = (await person.get("/api/track/nobody.geojson")).json()
        assert none["features"][0]["geometry"] is None
        assert [row[1:3] for row in await here.audited()] == [
            ("track_read", "mobile-1-a"),
            ("track_read", "pdt:80020200"),
            ("track_read", "nobody"),
        ]

    run(tmp_path, body)


def test_an_odd_question_for_a_track_is_refused(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        person = await here.person("dispatcher")
        for query, status in (
            ("x.geojson?from=yesterday", 400),
            ("x.geojson?from=2025-06-15T10:00:00", 400),
            ("x.geojson?from=2020-01-01T00:00:00Z", 400),
            ("x.geojson?from=2025-06-15T16:00:00Z&to=2025-06-15T15:00:00Z", 400),
            ("x.geojson?from=9999-12-31T23:59:59-14:00&to=9999-12-31T23:59:59-14:00", 400),
            ("x.geojson?limit=1", 400),
            ("x.geojson?limit=5001", 400),
            ("x", 404),
            ("pdt:%22.geojson", 404),
            ("space:12.geojson", 404),
            ("a'b.geojson", 404),
            ("x.geojson?from=2025-06-15T15:00:00%2B08:00&to=2025-06-15T16:00:00%2B08:00", 200),
        ):
            answer = await person.get(f"/api/track/{query}")
            assert answer.status_code == status, (query, answer.text)

    run(tmp_path, body)


def test_history_is_seen_within_the_roles_scope(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.clock.advance(2 * 3600)
        await here.log.apply(
            rows(
                fix(60), fix(7000), text(60, "旧"), text(7000, "新"),
                fix(7000, unit="other", team="village-3"), text(7001, "别队", team="village-3"),
                raised(60), taken(61), closed(62),
            )
        )  # fmt: skip
        query = f"?from={at(0).text()}"

        async def points(roles: tuple[Any, ...], who: str, team: str | None = None) -> int:
            person = await here.person(*roles, name=f"{roles}{who}{team}", team=team)
            answer = await person.get(f"/api/track/{who}.geojson{query}")
            if answer.status_code != 200:
                return -answer.status_code
            return len(answer.json()["features"]) - 1

        assert await points(("dispatcher",), "mobile-1-a") == 2
        assert await points(("admin",), "mobile-1-a") == 2
        assert await points(("technician",), "mobile-1-a") == 1  # the last hour
        assert await points(("viewer",), "mobile-1-a") == -403
        assert await points(("viewer",), "mobile-1-a", "mobile-1") == 2
        assert await points(("viewer",), "other", "mobile-1") == 0
        assert await points(("viewer", "technician"), "other", "mobile-1") == 0

        async def texts(name: str, *roles: Any, team: str | None = None) -> list[str]:
            person = await here.person(*roles, name=name, team=team)
            answer = await person.get("/api/events?type=text")
            return [each["event"]["body"] for each in answer.json()["events"]]

        assert await texts("d", "dispatcher") == ["别队", "新", "旧"]
        assert await texts("t", "technician") == ["别队", "新"]
        assert await texts("v", "viewer", team="mobile-1") == ["新", "旧"]

        async def closed_seen(name: str, *roles: Any, team: str | None = None) -> int:
            person = await here.person(*roles, name=name, team=team)
            return len((await person.get("/api/emergencies")).json()["closed"])

        assert await closed_seen("d2", "dispatcher") == 1
        assert await closed_seen("t2", "technician") == 0
        assert await closed_seen("v2", "viewer") == 0
        assert await closed_seen("v3", "viewer", team="mobile-1") == 1
        assert await closed_seen("v4", "viewer", team="village-3") == 0

    run(tmp_path, body)


def test_events_can_be_followed_from_a_place(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.log.apply(rows(text(1, "一"), raised(2), text(3, "三")))
        person = await here.person("dispatcher")
        first = (await person.get("/api/events?after=0&limit=2")).json()
        assert [each["seq"] for each in first["events"]] == [1, 2]
        assert first["events"][1]["event"]["type"] == "emergency_raised"
        rest = (await person.get(f"/api/events?after={first['last_seq']}")).json()
        assert [each["event"]["body"] for each in rest["events"]] == ["三"]
        assert (await person.get("/api/events?after=3")).json() == {"events": [], "last_seq": 3}
        assert (await person.get("/api/events?type=drop%20table")).status_code == 400

    run(tmp_path, body)


def test_units_are_geojson_with_null_geometry_where_there_was_no_fix(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        here.gateway.move("u1")
        here.gateway.unit_views["dmr:7"] = UnitView(
            radio_id=RadioId("dmr:7"), state="no_fix", state_since=T0
        )
        person = await here.person("viewer")
        placed, nowhere = (await person.get("/api/units.geojson")).json()["features"]
        assert placed["geometry"] == {"type": "Point", "coordinates": [113.88, 22.99]}
        assert placed["id"] == "u1"
        assert nowhere["geometry"] is None
        assert nowhere["id"] == "dmr:7"
        assert nowhere["properties"]["state"] == "no_fix"
        sites = (await person.get("/api/sites.geojson")).json()
        assert sites["features"][0]["properties"]["ring_m"] == 100.0

    run(tmp_path, body)


def test_health_follows_whether_events_are_accepted(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        stranger = here.visitor(address="192.0.2.7")
        assert (await stranger.get("/healthz")).json() == {"status": "ok"}
        here.gateway.why = "disk full"
        answer = await stranger.get("/healthz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "failing", "reason": "disk full"}

    run(tmp_path, body)


def test_the_base_map_is_served_whole_and_by_ranges(tmp_path: Path) -> None:
    file = tmp_path / "town.pmtiles"
    file.write_bytes(bytes(range(100)))

    async def body(here: World) -> None:
        person = await here.person("viewer")
        assert (await person.get("/api/state")).json()["map"] == {
            "kind": "pmtiles",
            "url": "/api/map",
        }
        whole = await person.get("/api/map")
        assert (whole.status_code, whole.content) == (200, bytes(range(100)))
        assert whole.headers["content-type"] == "application/vnd.pmtiles"

        async def part(wanted: str) -> tuple[int, bytes, str]:
            answer = await person.get("/api/map", headers={"range": wanted})
            return answer.status_code, answer.content, answer.headers.get("content-range", "")

        assert await part("bytes=10-12") == (206, b"\x0a\x0b\x0c", "bytes 10-12/100")
        assert await part("bytes=98-500") == (206, b"\x62\x63", "bytes 98-99/100")
        assert await part("bytes=-2") == (206, b"\x62\x63", "bytes 98-99/100")
        assert await part("bytes=100-") == (416, b"", "bytes */100")
        assert (await part("bytes=5-1,7-9"))[0] == 200
        assert (await part("lines=1-2"))[0] == 200
        file.unlink()
        assert (await person.get("/api/map")).status_code == 404

    run(tmp_path, body, map_file=file)


def test_the_api_describes_itself_without_the_network(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        answer = await here.visitor(address="192.0.2.7").get("/api/openapi.json")
        assert answer.status_code == 200
        document = answer.json()
        assert document["openapi"].startswith("3.1")
        described = {
            (method.upper(), path)
            for path, methods in document["paths"].items()
            for method in methods
            if method in {"get", "post"}
        }
        table = {
            (route.method, route.path.replace(":str}", "}").replace(":int}", "}"))
            for route in ROUTES
            if route.is_described
        }
        assert described == table
        emergency = document["components"]["schemas"]["Emergency"]
        assert emergency["properties"]["raised_at"] == {"type": "string", "format": "date-time"}
        assert "verdict" in json.dumps(
            document["paths"]["/api/emergencies/{emergency_id}/close"]
        ) or ("Close" in document["components"]["schemas"])

    run(tmp_path, body)


def test_an_administrator_lets_people_in_and_out(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        admin = await here.person("admin", name="管理员")
        made = await admin.post(
            "/api/accounts", {"name": "王芳", "roles": ["viewer"], "team": "village-3"}
        )
        assert made.status_code == 201
        account = made.json()["account"]
        assert account["team"] == "village-3"
        token = made.json()["sign_in_path"].removeprefix("/#sign-in=")
        person = here.visitor()
        entered = await person.post("/api/sign-in", {"token": token})
        assert entered.json()["name"] == "王芳"
        assert (await person.get("/api/state")).status_code == 200
        changed = await admin.post(
            f"/api/accounts/{account['account_id']}/roles", {"roles": ["technician"]}
        )
        assert changed.json()["roles"] == ["technician"]
        assert (await person.get("/api/state")).status_code == 401
        again = await admin.post(f"/api/accounts/{account['account_id']}/link")
        token = again.json()["sign_in_path"].removeprefix("/#sign-in=")
        assert (await person.post("/api/sign-in", {"token": token})).status_code == 200
        off = await admin.post(f"/api/accounts/{account['account_id']}/disable")
        assert off.json()["is_enabled"] is False
        assert (await person.get("/api/state")).status_code == 401
        on = await admin.post(f"/api/accounts/{account['account_id']}/enable")
        assert on.json()["is_enabled"] is True
        twice = await admin.post("/api/accounts", {"name": "王芳", "roles": ["viewer"]})
        assert twice.status_code == 409
        root = await admin.post("/api/accounts", {"name": "x", "roles": ["root"]})
        assert root.status_code == 400
        own = await here.log.credentials("管理员")
        assert own is not None
        last = await admin.post(f"/api/accounts/{own.account.account_id}/disable")
        assert (last.status_code, last.json()["error"]) == (409, "not_allowed")
        names = [each["name"] for each in (await admin.get("/api/accounts")).json()["accounts"]]
        assert sorted(names) == ["王芳", "管理员"]
        actions = [row[1] for row in await here.audited()]
        assert actions == [
            "account_create", "sign_in", "account_roles", "account_link", "sign_in",
            "account_disable", "account_enable",
        ]  # fmt: skip

    run(tmp_path, body)


def test_the_audit_log_is_read_in_pages_and_says_whether_it_is_whole(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        admin = await here.person("admin", name="管理员")
        for _ in range(3):
            await admin.get("/api/audit")
        page = (await admin.get("/api/audit?limit=2")).json()
        assert page["is_chain_intact"] is True
        assert [row["seq"] for row in page["rows"]] == [3, 2]
        assert page["rows"][0]["previous_hash"] == page["rows"][1]["hash"]
        before = (await admin.get("/api/audit?before=2")).json()
        assert [row["seq"] for row in before["rows"]] == [1]
        assert here.log._connection is not None
        here.log._connection.execute("DROP TRIGGER audit_no_update")
        here.log._connection.execute("UPDATE audit SET who = 'x' WHERE seq = 2")
        assert (await admin.get("/api/audit")).json()["is_chain_intact"] is False

    run(tmp_path, body)


def test_foreign_text_goes_out_as_json_text_alone(tmp_path: Path) -> None:
    nasty = '</script><img src=x onerror=alert(1)>"\\\u2028'

    async def body(here: World) -> None:
        here.gateway.move("u1")
        view = msgspec.structs.replace(here.gateway.unit_views["u1"], unit_name=nasty)
        here.gateway.unit_views["u1"] = view
        answer = await (await here.person("viewer")).get("/api/state")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["units"][0]["unit_name"] == nasty

    run(tmp_path, body)
