"""Accounts, sessions and one-time links in the desk's log."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.errors import NotAllowedError
from gateway.eventlog.accounts import SESSIONS_PER_ACCOUNT, new_token, token_hash
from gateway.eventlog.store import EventLog

Body = Callable[[EventLog, ManualClock], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Body], None]:
    def with_log(body: Body) -> None:
        async def main() -> None:
            clock = ManualClock()
            log = EventLog(tmp_path / "desk.db", clock, history_keep_s=1)
            await log.open()
            try:
                await body(log, clock)
            finally:
                await log.close()

        asyncio.run(main())

    return with_log


def test_a_link_works_once(run: Callable[[Body], None]) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        token = await log.create_sign_in_link(["admin", "dispatcher"], None)
        link = await log.link(token)
        assert link is not None
        assert link.name is None
        account = await log.use_link(token, "李明")
        assert account is not None
        assert account.roles == ("dispatcher", "admin")
        assert await log.link(token) is None
        assert await log.use_link(token, "王芳") is None
        assert [each.name for each in await log.accounts()] == ["李明"]

    run(body)


def test_a_link_ends_with_its_time(run: Callable[[Body], None]) -> None:
    async def body(log: EventLog, clock: ManualClock) -> None:
        token = await log.create_sign_in_link(["viewer"], "大屏", ttl_s=60)
        await clock.advance(59)
        assert await log.link(token) is not None
        await clock.advance(1)
        assert await log.link(token) is None
        assert await log.use_link(token) is None
        assert not await log.accounts()

    run(body)


def test_a_refused_name_leaves_the_link_usable(run: Callable[[Body], None]) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        await log.create_account("李明", ["viewer"], None)
        token = await log.create_sign_in_link(["viewer"], None)
        for bad in ("李明", " 李明 ", "", "  ", "x" * 65, "a\x00b", "a\u202eb", "a\nb"):
            with pytest.raises(NotAllowedError):
                await log.use_link(token, bad)
        assert await log.use_link(token, "王芳") is not None

    run(body)


def test_a_link_for_a_person_signs_in_the_known_account(run: Callable[[Body], None]) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        known = await log.create_account("李明", ["dispatcher"], None)
        first = await log.create_sign_in_link(["viewer"], "李明")
        account = await log.use_link(first)
        assert account is not None
        assert (account.account_id, account.roles) == (known.account_id, ("dispatcher",))
        second = await log.create_sign_in_link(["viewer"], "李明")
        await log.set_enabled(known.account_id, is_enabled=False)
        assert await log.use_link(second) is None

    run(body)


def test_nothing_in_the_file_signs_anybody_in(run: Callable[[Body], None], tmp_path: Path) -> None:
    tokens: list[str] = []

    async def body(log: EventLog, _clock: ManualClock) -> None:
        tokens.append(await log.create_sign_in_link(["viewer"], None))
        account = await log.create_account("李明", ["viewer"], None)
        tokens.append(new_token())
        await log.begin_session(account, tokens[-1], 60)

    run(body)
    connection = sqlite3.connect(tmp_path / "desk.db")
    everything = "\n".join(connection.iterdump())
    connection.close()
    for token in tokens:
        assert len(token) >= 43
        assert token not in everything
        assert token_hash(token) in everything


def test_a_session_ends_by_time_sign_out_disabling_and_new_roles(
    run: Callable[[Body], None],
) -> None:
    async def body(log: EventLog, clock: ManualClock) -> None:
        account = await log.create_account("李明", ["viewer"], None)

        async def begin() -> str:
            token = new_token()
            await log.begin_session(account, token, 60)
            assert await log.session(token) is not None
            return token

        token = await begin()
        await clock.advance(60)
        assert await log.session(token) is None
        token = await begin()
        await log.end_session(token_hash(token))
        assert await log.session(token) is None
        token = await begin()
        await log.set_roles(account.account_id, ["technician"])
        assert await log.session(token) is None
        token = await begin()
        await log.set_enabled(account.account_id, is_enabled=False)
        assert await log.session(token) is None
        await log.set_enabled(account.account_id, is_enabled=True)
        assert await log.session(token) is None
        kept, other = await begin(), await begin()
        await log.set_password(account.account_id, "hash", token_hash(kept))
        assert await log.session(kept) is not None
        assert await log.session(other) is None
        assert await log.session("") is None

    run(body)


def test_sessions_of_one_account_are_bounded(run: Callable[[Body], None]) -> None:
    async def body(log: EventLog, clock: ManualClock) -> None:
        account = await log.create_account("大屏", ["viewer"], None)
        tokens = [new_token() for _ in range(SESSIONS_PER_ACCOUNT + 2)]
        for token in tokens:
            await log.begin_session(account, token, 3600)
            await clock.advance(1)
        alive = [await log.session(token) is not None for token in tokens]
        assert alive == [False, False] + [True] * SESSIONS_PER_ACCOUNT

    run(body)


def test_the_last_administrator_stays(run: Callable[[Body], None]) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        one = await log.create_account("甲", ["admin"], None)
        with pytest.raises(NotAllowedError, match="last administrator"):
            await log.set_enabled(one.account_id, is_enabled=False)
        with pytest.raises(NotAllowedError, match="last administrator"):
            await log.set_roles(one.account_id, ["viewer"])
        two = await log.create_account("乙", ["admin"], None)
        assert not (await log.set_enabled(one.account_id, is_enabled=False)).is_enabled
        with pytest.raises(NotAllowedError, match="last administrator"):
            await log.set_roles(two.account_id, ["dispatcher"])

    run(body)


def test_roles_and_names_are_checked(run: Callable[[Body], None]) -> None:
    async def body(log: EventLog, _clock: ManualClock) -> None:
        for roles in ([], ["root"], ["viewer", "root"]):
            with pytest.raises(NotAllowedError, match="roles"):
                await log.create_account("甲", roles, None)
        with pytest.raises(NotAllowedError, match="roles"):
            await log.create_sign_in_link(["root"], None)
        await log.create_account("e\u0301", ["viewer"], None)
        with pytest.raises(NotAllowedError, match="in use"):
            await log.create_account("\u00e9", ["viewer"], None)
        with pytest.raises(NotAllowedError, match="no such account"):
            await log.set_roles(99, ["viewer"])

    run(body)
