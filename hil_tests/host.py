"""The whole gateway in this process, on a folder of its own, with every event that it commits."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.app import Gateway
from gateway.catalog import Catalog
from gateway.model.views import LinkView
from gateway.outbox.rows import Row
from gateway.roster.units import Roster, RosterFile
from gateway.runtime.counters import Account
from gateway.settings import Loaded, Settings, convert_table, parse_address

POLL_S = 0.02
OPEN_LIMIT_S = 10.0
WITHOUT_PAGE = {"site": {"id": "bench"}, "desk": {"enabled": False}}

Event = dict[str, Any]  # as the contract writes it


class UnbalancedError(AssertionError):
    """Something was not counted, or was committed and did not arrive."""


class GatewayHere:
    """One gateway from start to stop.

    ``document`` is a settings file as tables; what it does not say is as in ``WITHOUT_PAGE``.
    ``events`` are those committed so far, in the contract's form.
    """

    def __init__(
        self, folder: Path, document: dict[str, Any], roster: RosterFile | None = None
    ) -> None:
        file = folder / "gateway.toml"
        settings: Settings = convert_table({**WITHOUT_PAGE, **document}, Settings, file)
        self.gateway = Gateway(Loaded(settings, file), Roster(roster), Catalog.scan())
        self.events: list[Event] = []
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()
        self.gateway.outbox.on_committed(self._committed)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["GatewayHere"]:
        """Serve inside the block; at its end the balance is drawn, and UnbalancedError raised."""
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._serve(), name="gateway")
            serving.add_done_callback(lambda _: self._ready.set())
            await self._ready.wait()
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised again when the gateway has stopped
                failure = error
            finally:
                self._stop.set()
        if failure is not None:
            raise failure
        assert_balanced(serving.result())
        self._assert_delivered()

    def bound(self, link_id: str) -> tuple[str, int]:
        """Where a link listens, once it is up."""
        words = self._view(link_id).place.split()
        return parse_address(next(word for word in words if ":" in word), link_id)

    async def links_are_up(self, link_ids: Sequence[str]) -> None:
        """Wait for links to open; raises TimeoutError."""

        def are_up() -> bool:
            return all(self._view(each).state == "up" for each in link_ids)

        if not await until(are_up, OPEN_LIMIT_S):
            raise TimeoutError(f"not open: {[self._view(each) for each in link_ids]}")

    async def next_event(self, wanted: Callable[[Event], bool], within_s: float) -> float:
        """Wait for an event that is not committed yet; the seconds it took. Raises TimeoutError."""
        first = len(self.events)
        began = asyncio.get_running_loop().time()
        if not await until(lambda: any(map(wanted, self.events[first:])), within_s):
            raise TimeoutError(f"not within {within_s:g} s; the last events: {self.events[-5:]}")
        return asyncio.get_running_loop().time() - began

    async def _serve(self) -> Account:
        return await self.gateway.run(self._stop, lambda _: self._ready.set())

    def _committed(self, rows: list[Row]) -> None:
        self.events += [msgspec.json.decode(row.payload) for row in rows]

    def _view(self, link_id: str) -> LinkView:
        return self.gateway.supervisor.runners[link_id].view()

    def _assert_delivered(self) -> None:
        """Everything that was committed is in the desk's log, once."""
        with contextlib.closing(sqlite3.connect(self.gateway.data_dir / "desk.db")) as log:
            logged = {row[0] for row in log.execute("SELECT event_id FROM event")}
        wanted = {each["event_id"] for each in self.events if each["type"] != "position_fix"}
        if not wanted <= logged:
            raise UnbalancedError(f"{len(wanted - logged)} events did not reach the desk's log")


def assert_balanced(account: Account) -> None:
    """Received = stored + refreshed + dropped by reason, and nothing waits (R20)."""
    if account.difference or account.waiting:
        raise UnbalancedError(f"the sums do not agree: {account}")


async def until(condition: Callable[[], object], within_s: float) -> bool:
    """Look until ``condition`` holds; False where the time is over first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
