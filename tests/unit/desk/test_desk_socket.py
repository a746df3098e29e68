"""The desk on a real socket: port, event stream, slow and gone viewers, a clean stop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import SystemClock
from gateway.desk import hub as hub_module
from gateway.desk import server as server_module
from gateway.desk import stream as stream_module
from gateway.desk.server import Desk
from gateway.errors import GatewayError
from gateway.eventlog.accounts import new_token, token_hash
from gateway.eventlog.store import EventLog
from gateway.settings import DeskSettings
from tests.support.desk_world import FakeGateway


class Served:
    """A running desk, and a session for it."""

    def __init__(self, desk: Desk, gateway: FakeGateway, log: EventLog, token: str) -> None:
        self.desk = desk
        self.gateway = gateway
        self.log = log
        self.token = token

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.desk.url, cookies={"pdt_session": self.token}, timeout=20
        )


@asynccontextmanager
async def served(
    folder: Path, roles: tuple[str, ...] = ("dispatcher",), **settings: Any
) -> AsyncIterator[Served]:
    clock = SystemClock()
    log = EventLog(folder / "desk.db", clock, history_keep_s=1e6)
    await log.open()
    gateway = FakeGateway(clock)
    (folder / "static").mkdir()
    desk = Desk(
        settings=DeskSettings(**({"listen": "127.0.0.1:0"} | settings)),
        eventlog=log,
        live=gateway,
        actions=gateway,
        requests=gateway,
        feed=gateway.bus,
        clock=clock,
        metrics=lambda: b"",
        static=folder / "static",
    )
    account = await log.create_account("李明", roles, None)
    token = new_token()
    await log.begin_session(account, token, 3600)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(desk.serve(), name="desk")
        await desk.started()
        try:
            yield Served(desk, gateway, log, token)
        finally:
            serving.cancel()
    await log.close()


class Messages:
    """The event stream as (name, data)."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self, name: str = "") -> tuple[str, Any]:
        """The next message, or the next called ``name``."""
        async with asyncio.timeout(20):
            found = ""
            async for line in self._lines:
                if line.startswith("event: "):
                    found = line.removeprefix("event: ")
                elif line.startswith("data: ") and name in {"", found}:
                    return found, json.loads(line.removeprefix("data: "))
        raise AssertionError("the stream has ended")


def test_a_stream_begins_with_a_snapshot_and_goes_on_with_changes(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as here, here.client() as client:
            here.gateway.move("u1")
            async with client.stream("GET", "/api/stream") as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                assert response.headers["cache-control"] == "no-store"
                messages = Messages(response)
                name, snapshot = await messages.next()
                assert name == "snapshot"
                assert [unit["unit_id"] for unit in snapshot["units"]] == ["u1"]
                assert snapshot["units_total"] == 1
                here.gateway.move("u1", lat_deg=22.5)
                _, told = await messages.next("units")
                assert told["units"][0]["lat_deg"] == 22.5
                emergency_id = here.gateway.press()
                _, told = await messages.next("emergency")
                assert told["emergency"]["emergency_id"] == emergency_id
                here.gateway.why = "disk full"
                _, told = await messages.next("gateway")
                assert told["gateway"]["is_accepting"] is False
            assert here.desk.address[1] != 0

    asyncio.run(main())


def test_a_stream_that_is_left_is_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as here, here.client() as client:
            for _ in range(3):
                async with client.stream("GET", "/api/stream") as response:
                    await Messages(response).next("snapshot")
                    assert here.desk.hub.viewers == 1
                await _until(lambda: here.desk.hub.viewers == 0)

    asyncio.run(main())


def test_signing_out_ends_the_streams_of_that_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "HEARTBEAT_S", 1000.0)  # at once, not with a heartbeat

    async def main() -> None:
        async with (
            served(tmp_path) as here,
            here.client() as client,
            client.stream("GET", "/api/stream") as response,
        ):
            messages = Messages(response)
            await messages.next("snapshot")
            here.desk.hub.end_session(token_hash("another"))
            me = (await client.get("/api/me")).json()
            answer = await client.post(
                "/api/sign-out",
                headers={"x-csrf-token": me["csrf_token"], "origin": here.desk.url},
            )
            assert answer.status_code == 204
            assert (await messages.next("bye"))[1] == {"why": "signed_out"}

    asyncio.run(main())


def test_a_session_that_ends_elsewhere_ends_its_stream_with_the_next_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "HEARTBEAT_S", 0.1)

    async def main() -> None:
        async with (
            served(tmp_path) as here,
            here.client() as client,
            client.stream("GET", "/api/stream") as response,
        ):
            messages = Messages(response)
            await messages.next("heartbeat")
            await here.log.set_enabled(1, is_enabled=False)
            assert (await messages.next("bye"))[1] == {"why": "signed_out"}

    asyncio.run(main())


def test_a_viewer_that_does_not_read_is_cut_off_and_others_do_not_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "FLUSH_S", 0.01)
    monkeypatch.setattr(stream_module, "STUCK_S", 0.3)

    async def main() -> None:
        async with (
            served(tmp_path) as here,
            here.client() as client,
            silent_viewer(here) as silent,
            client.stream("GET", "/api/stream") as response,
        ):
            messages = Messages(response)
            await messages.next("snapshot")
            keys = [f"unit-{number}" for number in range(200)]
            for _ in range(1000):  # ends as soon as the silent one is cut off
                for key in keys:
                    here.gateway.move(key)
                await messages.next("units")
                if here.desk.hub.viewers == 1:
                    break
            assert here.desk.hub.viewers == 1
            here.gateway.press()
            await messages.next("emergency")
            await _until(lambda: here.desk.connections == 1)  # though it has still not read
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await silent.readexactly(64 * 1024 * 1024)

    asyncio.run(main())


@asynccontextmanager
async def silent_viewer(here: Served) -> AsyncIterator[asyncio.StreamReader]:
    """A page that opens the stream and reads nothing."""
    reader, writer = await asyncio.open_connection(*here.desk.address, limit=1)
    writer.write(
        f"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Cookie: pdt_session={here.token}\r\n\r\n".encode()
    )
    await _until(lambda: here.desk.hub.viewers == 1)
    try:
        yield reader
    finally:
        writer.close()


def test_streams_are_limited(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as here, here.client() as client, AsyncExitStack() as stack:
            for _ in range(hub_module.MAX_VIEWERS_A_SESSION):
                response = await stack.enter_async_context(client.stream("GET", "/api/stream"))
                assert response.status_code == 200
            await _until(lambda: here.desk.hub.viewers == hub_module.MAX_VIEWERS_A_SESSION)
            refused = await client.get("/api/stream")
            assert (refused.status_code, refused.json()["error"]) == (503, "busy")

    asyncio.run(main())


def test_the_desk_stops_within_two_seconds_with_streams_open(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        client = None
        async with served(tmp_path) as here:
            client = here.client()
            request = client.build_request("GET", "/api/stream")
            response = await client.send(request, stream=True)
            messages = Messages(response)
            await messages.next("snapshot")
            begin = loop.time()
        assert loop.time() - begin < 2
        assert (await messages.next("bye"))[1] == {"why": "stopping"}
        await response.aclose()
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
        await client.aclose()

    asyncio.run(main())


def test_a_request_head_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEADERS_S", 0.1)

    async def main() -> None:
        async with served(tmp_path) as here:
            reader, writer = await asyncio.open_connection(*here.desk.address)
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            async with asyncio.timeout(10):
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await reader.readexactly(1)
            writer.close()

    asyncio.run(main())


def test_raw_paths_never_leave_the_list_of_files(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as here:
            for path in (
                "/../desk.db",
                "/..%2fdesk.db",
                "/%2e%2e/desk.db",
                "/static/../../desk.db",
                "//etc/passwd",
                "/assets/..%5c..%5cdesk.db",
                "/%00",
                "/index.html/../../desk.db",
            ):
                reader, writer = await asyncio.open_connection(*here.desk.address)
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
                )
                async with asyncio.timeout(20):
                    answer = await reader.read()
                assert answer.split(b" ", 2)[1] in {b"404", b"400"}, path
                assert b"SQLite" not in answer
                writer.close()

    asyncio.run(main())


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as here:
            other = Desk(
                settings=DeskSettings(listen=f"127.0.0.1:{here.desk.address[1]}"),
                eventlog=here.log,
                live=here.gateway,
                actions=here.gateway,
                requests=here.gateway,
                feed=here.gateway.bus,
                clock=SystemClock(),
                metrics=lambda: b"",
                static=tmp_path / "static",
            )
            with pytest.raises(GatewayError, match=r"desk\.listen: cannot listen"):
                other.bind()

    asyncio.run(main())


async def _until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_prometheus_at_an_address_of_the_settings_reads_the_metrics(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path, metrics_allow=("127.0.0.2/32",)) as here:
            for address, status in (("127.0.0.2", 200), ("127.0.0.3", 401), ("127.0.0.1", 401)):
                way = httpx.AsyncHTTPTransport(local_address=address)
                async with httpx.AsyncClient(transport=way, base_url=here.desk.url) as client:
                    assert (await client.get("/metrics")).status_code == status, address

    asyncio.run(main())


@pytest.mark.parametrize(
    ("listen", "reached"), [("0.0.0.0:0", "http://127.0.0.1:"), ("[::]:0", "http://[::1]:")]
)
def test_a_desk_that_listens_everywhere_names_an_address_one_can_go_to(
    tmp_path: Path, listen: str, reached: str
) -> None:
    async def main() -> None:
        async with served(tmp_path, listen=listen) as here:
            link = here.desk.sign_in_url("t")
            assert link.startswith(reached)
            assert link.endswith("/#sign-in=t")
            async with here.client() as client:
                assert (await client.get("/healthz")).status_code == 200

    asyncio.run(main())
