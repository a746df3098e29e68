"""Signing in, sessions, CSRF, cookies, headers, lock-out: what keeps the desk's door."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.addresses import AllowList
from gateway.desk import armour, guard, lockout, passwords
from gateway.desk.routes import ROUTES
from gateway.errors import NotAllowedError
from gateway.settings import DeskSettings
from tests.support.desk_world import ORIGIN, PASSWORD, World, world

Body = Callable[[World], Awaitable[None]]


def run(folder: Path, body: Body, **more: Any) -> None:
    async def main() -> None:
        async with world(folder, **more) as here:
            await body(here)

    asyncio.run(main())


def changing_paths() -> list[str]:
    """Every POST route with something in its places."""
    posts = [route.path for route in ROUTES if route.method == "POST"]
    return [
        path.replace("{emergency_id:str}", "e1").replace("{account_id:int}", "9") for path in posts
    ]


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_do_not_get(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        answer = await here.visitor().sign_in("李明")
        assert answer.status_code == 200
        cookie = answer.headers["set-cookie"]
        name, _, rest = cookie.partition("=")
        value, *flags = [part.strip().lower() for part in rest.split(";")]
        assert name == "pdt_session"
        assert len(value) >= 43
        assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= set(flags)
        assert "secure" not in flags
        assert "strict-transport-security" not in answer.headers
        assert answer.json()["roles"] == ["dispatcher"]
        assert value not in answer.text.lower()

    run(tmp_path, body)


def test_behind_tls_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        person = here.visitor(base_url="https://desk.example")
        answer = await person.post(
            "/api/sign-in", {"name": "李明", "password": PASSWORD}, origin="https://desk.example"
        )
        assert answer.status_code == 200
        assert answer.headers["set-cookie"].startswith("__Host-pdt_session=")
        assert "secure" in answer.headers["set-cookie"].lower()
        assert "max-age" in answer.headers["strict-transport-security"]
        plain = await person.post(
            "/api/sign-in", {"name": "李明", "password": PASSWORD}, origin="http://desk.example"
        )
        assert plain.json()["error"] == "bad_origin"

    run(tmp_path, body, settings=DeskSettings(listen="127.0.0.1:0", secure_cookie=True))


def test_wrong_name_wrong_password_no_password_and_disabled_sound_the_same(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        await here.account("无密码", ["dispatcher"])
        off = await here.account("停用", ["dispatcher"], password=True)
        await here.log.set_enabled(off.account_id, is_enabled=False)
        answers = []
        for number, (name, password) in enumerate(
            (
                ("李明", "wrong"),
                ("谁", PASSWORD),
                ("无密码", PASSWORD),
                ("停用", PASSWORD),
                ("", ""),
            )
        ):
            visitor = here.visitor(address=f"192.0.2.{number}")
            answers.append(
                await visitor.post(
                    "/api/sign-in", {"name": name, "password": password} if name else {}
                )
            )
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.text for answer in answers}) == 1
        assert all("set-cookie" not in answer.headers for answer in answers)

    run(tmp_path, body)


def test_every_sign_in_costs_one_hash_whether_the_account_is_there_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        hashed: list[str] = []
        real = here.desk.services.passwords._verify

        def counted(password_hash: str, password: str) -> bool:
            hashed.append(password_hash)
            return real(password_hash, password)

        monkeypatch.setattr(here.desk.services.passwords, "_verify", counted)
        await here.visitor().sign_in("李明", "wrong password")
        await here.visitor().sign_in("谁", "wrong password")
        assert len(hashed) == 2
        assert all(each.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for each in hashed)

    run(tmp_path, body)


def test_five_wrong_tries_lock_the_account_and_the_address_for_a_quarter_of_an_hour(
    tmp_path: Path,
) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        await here.account("王芳", ["viewer"], password=True)
        for _ in range(lockout.TRIES):
            assert (await here.visitor("192.0.2.1").sign_in("李明", "wrong")).status_code == 401
        locked = await here.visitor("192.0.2.1").sign_in("李明")
        assert locked.status_code == 429
        assert locked.json()["error"] == "locked"
        assert 0 < locked.json()["retry_after_s"] <= 901
        assert locked.headers["retry-after"] == str(locked.json()["retry_after_s"])
        assert (await here.visitor("192.0.2.2").sign_in("李明")).status_code == 429  # the account
        assert (await here.visitor("192.0.2.1").sign_in("王芳")).status_code == 429  # the address
        assert (await here.visitor("192.0.2.2").sign_in("王芳")).status_code == 200
        await here.clock.advance(899)
        assert (await here.visitor("192.0.2.1").sign_in("李明")).status_code == 429
        await here.clock.advance(2)
        assert (await here.visitor("192.0.2.1").sign_in("李明")).status_code == 200

    run(tmp_path, body)


def test_tries_at_one_account_count_together_however_its_name_is_spelled(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("Ren\u00e9", ["dispatcher"], password=True)
        spellings = (
            "Ren\u00e9",
            " Ren\u00e9",
            "\u3000Ren\u00e9",
            "Rene\u0301",
            "Rene\u0301\u2003\t",
        )
        assert len(spellings) == lockout.TRIES
        for number, name in enumerate(spellings):
            visitor = here.visitor(f"192.0.2.{number}")
            assert (await visitor.sign_in(name, "wrong")).status_code == 401
        for name in (*spellings, "\u3000" * 20 + "Rene\u0301"):
            assert (await here.visitor("192.0.2.99").sign_in(name)).status_code == 429
        assert {who for who, *_ in await here.audited()} == {"Ren\u00e9"}
        await here.clock.advance(901)
        assert (await here.visitor("192.0.2.99").sign_in(" Rene\u0301")).status_code == 200

    run(tmp_path, body)


def test_behind_a_proxy_that_is_named_each_client_has_tries_of_its_own(tmp_path: Path) -> None:
    settings = DeskSettings(listen="127.0.0.1:0", trusted_proxies=("172.31.80.1/32",))

    async def guess(here: World, peer: str, *forwarded: str, password: str = PASSWORD) -> int:
        headers = [("origin", ORIGIN), *(("x-forwarded-for", each) for each in forwarded)]
        answer = await here.visitor(peer).client.post(
            "/api/sign-in", json={"name": "王芳", "password": password}, headers=headers
        )
        return answer.status_code

    async def body(here: World) -> None:
        await here.account("王芳", ["viewer"], password=True)
        wrong = {"name": "谁", "password": "wrong"}
        for turn in range(lockout.TRIES):  # what the guesser writes in front does not help
            headers = {"x-forwarded-for": f"10.9.9.{turn}, 10.9.9.66:{5000 + turn}"}
            answer = await here.visitor("172.31.80.1").client.post(
                "/api/sign-in", json=wrong, headers={"origin": ORIGIN, **headers}
            )
            assert answer.status_code == 401
        assert await guess(here, "172.31.80.1", "10.9.9.66") == 429
        assert await guess(here, "172.31.80.1", "10.9.9.1, 10.9.9.66") == 429
        assert await guess(here, "172.31.80.1", "10.9.9.1", "10.9.9.66") == 429  # a line each
        assert await guess(here, "172.31.80.1", "10.9.9.66, 10.9.9.1") == 200
        assert await guess(here, "172.31.80.1", "10.9.9.1") == 200
        assert await guess(here, "10.9.9.66", "10.9.9.1") == 429  # not a proxy: not believed
        assert await guess(here, "192.0.2.2", "10.9.9.66") == 200

    run(tmp_path, body, settings=settings)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.2", ["10.9.9.1"], "192.0.2.2"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["10.9.9.1"], "10.9.9.1"),
        ("127.0.0.1", ["10.9.9.1, 10.9.9.2"], "10.9.9.2"),
        ("127.0.0.1", ["10.9.9.1, 10.9.9.2, 127.0.0.1"], "10.9.9.2"),  # two proxies of ours
        ("127.0.0.1", ["10.9.9.1", "10.9.9.2"], "10.9.9.2"),
        ("::ffff:127.0.0.1", ["10.9.9.1"], "10.9.9.1"),
        ("::1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", ["10.9.9.1:4711"], "10.9.9.1"),
        ("127.0.0.1", ["127.0.0.2, ::1"], "127.0.0.2"),  # it begins on this machine
        ("127.0.0.1", ["10.9.9.1, unknown"], "unknown"),
        ("127.0.0.1", ["x" * 100], "x" * 64),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours_counts(
    peer: str, forwarded: list[str], address: str
) -> None:
    proxies = AllowList(DeskSettings().trusted_proxies)
    assert guard.client_address(peer, forwarded, proxies) == address


def test_the_lock_grows_with_each_round_and_counts_tries_side_by_side(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        async with asyncio.TaskGroup() as group:
            visitors = [here.visitor() for _ in range(8)]
            tasks = [group.create_task(each.sign_in("李明", "wrong")) for each in visitors]
        statuses = sorted(task.result().status_code for task in tasks)
        assert statuses == [401] * 5 + [429] * 3
        await here.clock.advance(901)
        for _ in range(lockout.TRIES):
            await here.visitor().sign_in("李明", "wrong")
        await here.clock.advance(901)
        assert (await here.visitor().sign_in("李明")).status_code == 429
        await here.clock.advance(900)
        assert (await here.visitor().sign_in("李明")).status_code == 200

    run(tmp_path, body)


def test_owning_one_account_does_not_help_to_guess_at_another(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        await here.account("坏人", ["viewer"], password=True)
        statuses = []
        for turn in range(8):
            statuses.append((await here.visitor().sign_in("李明", f"guess {turn}")).status_code)
            await here.visitor().sign_in("坏人")
        assert statuses == [401] * 5 + [429] * 3

    run(tmp_path, body)


def test_a_lock_does_not_end_sessions_in_force(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        dispatcher = await here.person("dispatcher", name="李明")
        for _ in range(lockout.TRIES + 1):
            await here.visitor().sign_in("李明", "wrong")
        emergency_id = await here.press()
        taken = await dispatcher.post(f"/api/emergencies/{emergency_id}/take")
        assert taken.status_code == 200

    run(tmp_path, body)


def test_a_one_time_link_signs_in_once(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        token = await here.log.create_sign_in_link(["dispatcher", "admin"], None)
        visitor = here.visitor()
        asked = await visitor.post("/api/sign-in/link", {"token": token})
        assert asked.json() == {"asks_name": True, "roles": ["dispatcher", "admin"]}
        short = await visitor.post(
            "/api/sign-in", {"token": token, "name": "李明", "password": "short"}
        )
        assert short.status_code == 409
        nameless = await visitor.post("/api/sign-in", {"token": token})
        assert nameless.status_code == 409
        entered = await visitor.post(
            "/api/sign-in", {"token": token, "name": "李明", "password": PASSWORD}
        )
        assert entered.status_code == 200
        assert entered.json()["name"] == "李明"
        again = await here.visitor().post("/api/sign-in", {"token": token, "name": "王芳"})
        assert (again.status_code, again.json()["error"]) == (401, "wrong_credentials")
        asked_again = await here.visitor().post("/api/sign-in/link", {"token": token})
        assert asked_again.status_code == 401
        assert (await here.visitor().sign_in("李明")).status_code == 200

    run(tmp_path, body)


def test_a_link_made_out_to_a_person_asks_for_nothing(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        token = await here.log.create_sign_in_link(["dispatcher"], "演示调度员 / demo dispatcher")
        visitor = here.visitor()
        asked = await visitor.post("/api/sign-in/link", {"token": token})
        assert asked.json()["asks_name"] is False
        assert asked.json()["name"] == "演示调度员 / demo dispatcher"
        entered = await visitor.post("/api/sign-in", {"token": token})
        assert entered.json()["roles"] == ["dispatcher"]
        assert (await visitor.get("/api/state")).status_code == 200

    run(tmp_path, body)


def test_guessing_at_links_locks_the_address(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        for turn in range(lockout.TRIES):
            answer = await here.visitor().post("/api/sign-in/link", {"token": f"guess-{turn}"})
            assert answer.status_code == 401
        assert (await here.visitor().post("/api/sign-in", {"token": "guess"})).status_code == 429

    run(tmp_path, body)


def test_no_changing_request_is_taken_from_another_origin(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        person = await here.person("dispatcher", "admin", name="李明")
        for path in changing_paths():
            for headers in (
                {"origin": "http://evil.example"},
                {"origin": "http://127.0.0.1:8081"},
                {"origin": "null"},
                {"origin": "http://127.0.0.1:8080.evil.example"},
                {"origin": "", "sec_fetch_site": "cross-site"},
                {"origin": "", "sec_fetch_site": "same-site"},
            ):
                answer = await person.post(path, {}, **headers)
                refused = (answer.status_code, answer.json()["error"])
                assert refused == (403, "bad_origin"), (path, headers)

    run(tmp_path, body)


def test_no_changing_request_is_taken_without_the_sessions_token(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        person = await here.person("dispatcher", "admin", name="李明")
        other = await here.person("dispatcher", "admin", name="王芳")
        assert person.csrf != other.csrf
        for path in changing_paths():
            if path.startswith("/api/sign-in"):
                continue
            for token in ("", "x", other.csrf, person.csrf[:-1]):
                answer = await person.post(path, {}, x_csrf_token=token)
                refused = (answer.status_code, answer.json()["error"])
                assert refused == (403, "bad_csrf"), (path, token)
            assert ("李明", "refused", f"POST {path}", "refused") in await here.audited()

    run(tmp_path, body)


def test_another_sites_name_for_this_machine_is_not_answered(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        for host in ("evil.example:8080", "192.0.2.1", "127.0.0.1.evil.example", "[::2]:80"):
            answer = await here.visitor().get("/api/me", headers={"host": host})
            assert answer.status_code == 421, host
        for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.0.0.2"):
            answer = await here.visitor().get("/api/me", headers={"host": host})
            assert answer.status_code == 200, host

    run(tmp_path, body)


def test_every_answer_has_the_security_headers(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        person = await here.person("dispatcher")
        answers = [
            await person.get("/"),
            await person.get("/api/state"),
            await person.get("/healthz"),
            await person.get("/nothing/there"),
            await person.get("/api/audit"),
            await person.post("/api/emergencies/none/take"),
            await person.client.put("/api/state"),
            await person.client.post("/api/sign-in", content=b"x" * (armour.MAX_BODY + 1)),
        ]
        assert [answer.status_code for answer in answers] == [
            200, 200, 200, 404, 403, 409, 405, 413,
        ]  # fmt: skip
        for answer in answers:
            headers = answer.headers
            assert headers["content-security-policy"] == armour.CONTENT_POLICY
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == ("no-cache" if answer is answers[0] else "no-store")
            assert "server" not in headers
        policy = armour.CONTENT_POLICY
        assert policy.startswith("default-src 'self'; ")
        for word in ("unsafe", "*", "http:", "https:"):
            assert word not in policy
        for answer in answers[3:]:
            assert set(answer.json()) == {"error", "detail"}

    run(tmp_path, body)


def test_paths_outside_of_the_list_do_not_exist(tmp_path: Path) -> None:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>page")
    (static / "assets" / "app-1.js").write_text("1")
    (static / ".hidden").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    (static / "link.txt").symlink_to(tmp_path / "secret.txt")

    async def body(here: World) -> None:
        visitor = here.visitor()
        assert (await visitor.get("/")).text == "<!doctype html>page"
        script = await visitor.get("/assets/app-1.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in script.headers["cache-control"]
        same = await visitor.get(
            "/", headers={"if-none-match": (await visitor.get("/")).headers["etag"]}
        )
        assert same.status_code == 304
        for path in (
            "/.hidden", "/link.txt", "/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt",
            "/assets/../../secret.txt", "/assets/..%2f..%2fsecret.txt", "/assets/%2e%2e/x",
            "/assets", "/static/index.html", "/assets/app-2.js", "/..%5csecret.txt", "/etc/passwd",
        ):  # fmt: skip
            # httpx tidies dots away; a raw path is sent as it stands
            url = httpx.URL(ORIGIN).copy_with(raw_path=path.encode())
            answer = await visitor.client.get(url)
            assert answer.status_code == 404, path
            assert "secret" not in answer.text

    run(tmp_path, body)


def test_a_session_ends_after_its_time_whatever_happens(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        person = await here.person("viewer")
        for _ in range(11):
            await here.clock.advance(3600)
            assert (await person.get("/api/state")).status_code == 200
        await here.clock.advance(3601)
        assert (await person.get("/api/state")).status_code == 401

    run(tmp_path, body)


def test_admin_rights_sleep_after_half_an_hour_but_the_dispatcher_keeps_the_alarms(
    tmp_path: Path,
) -> None:
    async def body(here: World) -> None:
        person = await here.person("dispatcher", "admin", name="李明")
        pure = await here.person("admin", name="王芳")
        await here.clock.advance(guard.ADMIN_IDLE_S - 1)
        assert (await person.get("/api/accounts")).status_code == 200  # wakes, too
        await here.clock.advance(guard.ADMIN_IDLE_S - 1)
        assert (await person.get("/api/accounts")).status_code == 200
        for _ in range(4):  # the page asks by itself; that is nobody's presence
            await here.clock.advance(600)
            assert (await person.get("/api/state")).status_code == 200
        assert (await person.get("/api/accounts")).status_code == 403
        assert (await person.get("/api/me")).json()["roles"] == ["dispatcher"]
        emergency_id = await here.press()
        assert (await person.post(f"/api/emergencies/{emergency_id}/take")).status_code == 200
        assert (await person.get("/api/accounts")).status_code == 403  # until the next sign-in
        assert (await pure.get("/api/accounts")).status_code == 401
        assert (await pure.get("/api/me")).json()["signed_in"] is False

    run(tmp_path, body)


def test_signing_out_ends_the_session_at_once(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        person = await here.person("viewer", name="李明")
        kept = dict(person.client.cookies)
        answer = await person.post("/api/sign-out")
        assert answer.status_code == 204
        assert "max-age=0" in answer.headers["set-cookie"].lower()
        stolen = here.visitor()
        stolen.client.cookies.update(kept)
        assert (await stolen.get("/api/state")).status_code == 401
        assert ("李明", "sign_out", "", "ok") in await here.audited()

    run(tmp_path, body)


def test_a_new_password_needs_the_old_one_and_ends_the_other_sessions(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["viewer"], password=True)
        one, two = here.visitor(), here.visitor()
        await one.sign_in("李明")
        await two.sign_in("李明")
        new = "another good one"
        missing = await one.post("/api/me/password", {"password": new})
        assert missing.status_code == 401
        short = await one.post("/api/me/password", {"current": PASSWORD, "password": "short"})
        assert short.status_code == 409
        done = await one.post("/api/me/password", {"current": PASSWORD, "password": new})
        assert done.status_code == 204
        assert (await one.get("/api/state")).status_code == 200
        assert (await two.get("/api/state")).status_code == 401
        assert (await here.visitor().sign_in("李明")).status_code == 401
        assert (await here.visitor().sign_in("李明", new)).status_code == 200

    run(tmp_path, body)


def test_no_password_and_no_token_reaches_the_audit_log_or_the_file(tmp_path: Path) -> None:
    async def body(here: World) -> None:
        await here.account("李明", ["dispatcher"], password=True)
        token = await here.log.create_sign_in_link(["viewer"], None)
        visitor = here.visitor()
        await visitor.sign_in("李明", "a wrong secret")
        await visitor.sign_in("李明")
        await visitor.post("/api/sign-in", {"token": token, "name": "王芳"})
        await visitor.post("/api/sign-in", {"token": token + "x"})
        session = visitor.client.cookies["pdt_session"]
        rows = await here.log.audit_rows(None, 100)
        written = repr(rows)
        for secret in ("a wrong secret", PASSWORD, token, session):
            assert secret not in written
        assert [row.result for row in reversed(rows)] == ["refused", "ok", "ok", "refused"]

    run(tmp_path, body)
    everything = b"".join(each.read_bytes() for each in tmp_path.glob("desk.db*"))
    assert b"a wrong secret" not in everything
    assert PASSWORD.encode() not in everything


def test_a_failing_audit_log_is_an_alarm_and_stops_no_dispatcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(here: World) -> None:
        person = await here.person("dispatcher")
        emergency_id = await here.press()

        async def full(_entry: object) -> None:
            raise NotAllowedError("disk full")

        monkeypatch.setattr(here.log, "audit", full)
        assert (await person.post(f"/api/emergencies/{emergency_id}/take")).status_code == 200
        assert (await person.get("/api/state")).json()["audit_ok"] is False
        monkeypatch.undo()
        body_ = {"verdict": "false"}
        await person.post(f"/api/emergencies/{emergency_id}/close", body_)
        assert (await person.get("/api/state")).json()["audit_ok"] is True

    run(tmp_path, body)


def test_passwords_are_argon2id_at_the_floor_or_above() -> None:
    assert passwords.MEMORY_KIB >= 19 * 1024
    assert passwords.PASSES >= 2
