"""Reading has its share of a turn of the event loop, and no more."""

import asyncio
from collections import Counter

from gateway.runtime.turns import Turns


def test_a_turn_admits_its_share_and_the_rest_in_order() -> None:
    async def scenario() -> None:
        turns, now, admitted = Turns(3), 0, list[tuple[int, int]]()
        is_over = False

        def count() -> None:
            nonlocal now
            now += 1
            if not is_over:
                asyncio.get_running_loop().call_soon(count)

        async def reader(number: int) -> None:
            await turns.take()
            admitted.append((now, number))

        count()
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(reader(number))
        is_over = True
        assert [number for _, number in admitted] == list(range(20))
        assert max(Counter(turn for turn, _ in admitted).values()) == 3

    asyncio.run(scenario())


def test_one_who_asks_again_and_again_does_not_pass_those_who_wait() -> None:
    async def scenario() -> None:
        turns, order = Turns(2), list[str]()

        async def busy() -> None:
            for _ in range(6):
                await turns.take()
                order.append("busy")

        async def quiet() -> None:
            await turns.take()
            order.append("quiet")

        async with asyncio.TaskGroup() as group:
            group.create_task(busy())
            group.create_task(quiet())
        assert order.index("quiet") <= 3

    asyncio.run(scenario())


def test_a_turn_is_not_lost_on_somebody_who_has_gone() -> None:
    async def scenario() -> None:
        turns = Turns(1)
        await turns.take()
        gone = asyncio.create_task(turns.take())
        stays = asyncio.create_task(turns.take())
        await asyncio.sleep(0)
        gone.cancel()
        async with asyncio.timeout(1):
            await stays

    asyncio.run(scenario())
