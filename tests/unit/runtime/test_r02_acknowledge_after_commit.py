"""R2: not one byte of an acknowledgement leaves before the commit; none if the commit fails.

For every driver that says it has receipts, found by the scan: each frame of its vectors against an
outbox that blocks, and then commits or fails what the frame brought, one write after the other.
And the word of an emulated device: it has its acknowledgement when, and only when, the disk has
taken its emergency, or its text or registration where the protocol answers those alone.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.api import Driver, Moment
from gateway.catalog import Catalog
from gateway.errors import StoreError
from tests.support import battery
from tests.support.devices import DEVICES, UNANSWERED, Played
from tests.support.talk import Spy, Talk

DRIVERS: dict[str, Driver[Any]] = {
    driver.name: driver for driver in Catalog.scan() if driver.has_receipts
}
CASES = [case for case in battery.find_cases() if case.driver.name in DRIVERS]
# Frames that answer nothing, by driver: a sign of life may go out at any time.
HEARTBEATS = {"hytera_hstrp": bytes.fromhex("324200020000")}


class TooEarlyError(AssertionError):
    """An answer left before the commit."""


class Held:
    """One frame, with the commits of what it brought held back."""

    def __init__(self, talk: Talk, frame: bytes) -> None:
        self.talk = talk
        self.frame = frame
        talk.disk.mood = "blocks"
        self.before = len(talk.ear.written)
        receipts, beats = len(talk.spy.given), talk.heard_beats
        talk.session.received(frame)
        self.asks_for_receipt = len(talk.spy.given) > receipts
        # A read that also held a heartbeat of the peer is answered for that at once.
        self._answered_at_once = len(self.answers) if talk.heard_beats > beats else 0

    @property
    def answers(self) -> list[bytes]:
        """What was written since, but for our own signs of life."""
        heartbeat = HEARTBEATS.get(self.talk.driver_name)
        return [each for each in self.talk.ear.written[self.before :] if each != heartbeat]

    @property
    def writes(self) -> int:
        """How many commits are held back."""
        return len(self.talk.disk.waiting)

    async def let_go(self, error: StoreError | None) -> list[bytes]:
        """Let the commits return one after the other, all but the last well.

        Gives what was written from then on; raises where something was written before the last.
        """
        for is_last in [*[False] * (self.writes - 1), True]:
            await asyncio.sleep(0)
            early = self.answers[self._answered_at_once :]
            if self.asks_for_receipt and early:
                raise TooEarlyError(f"{early[0].hex()} left before {self.frame.hex()} was on disk")
            if self.writes:
                self.talk.disk.settle_first(error if is_last else None)
        await asyncio.sleep(0)
        return self.answers[self._answered_at_once :]


def frames_of(case: battery.Case) -> Iterator[bytes | float]:
    """The frames of a vector in order, and seconds that pass between them."""
    yield from case.vector.frames
    for step in case.vector.steps:
        yield from step.received()
        if step.after_s is not None:
            yield step.after_s


async def hold_every_frame(talk: Talk, case: battery.Case, *, fails: bool) -> int:
    """Play a vector with every commit held back; returns how many frames asked for a receipt."""
    count = 0
    for frame in frames_of(case):
        if isinstance(frame, float):
            talk.pass_time(frame)
            continue
        held = Held(talk, frame)
        answers = await held.let_go(StoreError("no space") if fails else None)
        if not held.asks_for_receipt:
            continue
        count += 1
        if fails:
            assert answers == [], f"answered although {frame.hex()} was not stored"
        else:
            assert talk.spy.accepted == talk.spy.given, "every receipt is handed back"
            assert answers, f"{frame.hex()} is on disk, and nobody says so"
    return count


def talk_of(case: battery.Case) -> Talk:
    return Talk(case.driver, case.options, case.vector.moment.at)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_answer_leaves_before_the_commit(case: battery.Case) -> None:
    asyncio.run(hold_every_frame(talk_of(case), case, fails=False))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_answer_leaves_when_the_commit_fails(case: battery.Case) -> None:
    asyncio.run(hold_every_frame(talk_of(case), case, fails=True))


@pytest.mark.parametrize("name", DRIVERS)
def test_the_vectors_of_a_driver_ask_for_receipts(name: str) -> None:
    """Without this the tests above could be empty."""

    async def receipts_of(case: battery.Case) -> int:
        return await hold_every_frame(talk_of(case), case, fails=False)

    mine = [case for case in CASES if case.driver.name == name]
    assert sum(asyncio.run(receipts_of(case)) for case in mine) >= 5


class Hasty(Spy):
    """A codec that answers as soon as it has read."""

    def receive(self, data: bytes, now: Moment) -> Any:
        outputs: Any = super().receive(data, now)
        for receipt in self.given:
            self.codec.accept(receipt)
        return outputs


@pytest.mark.parametrize("name", DRIVERS)
def test_a_hasty_codec_would_be_caught(name: str) -> None:
    """The same check, on a codec that answers too early."""

    async def catch(case: battery.Case) -> bool:
        talk = talk_of(case)
        talk.spy = Hasty(case.driver.new_codec(case.options, talk.link_id))
        talk.session = talk._new_session()
        try:
            await hold_every_frame(talk, case, fails=False)
        except AssertionError:
            return True
        return False

    mine = [case for case in CASES if case.driver.name == name]
    assert sum(asyncio.run(catch(case)) for case in mine) >= 5


@pytest.mark.parametrize("name", sorted(DEVICES.keys() & DRIVERS.keys()))
def test_a_device_is_acknowledged_when_the_disk_has_its_emergency(name: str) -> None:
    async def story() -> None:
        played = Played(DRIVERS[name])
        await played.run(5)
        assert not played.presser.is_press_acknowledged
        played.talk.disk.mood = "blocks"
        played.presser.press()
        assert not await played.until_acknowledged(within_s=40)
        played.talk.disk.settle(StoreError("the disk is full"))
        played.talk.disk.mood = "fails"
        assert not await played.until_acknowledged(within_s=40)
        assert played.raised == 0
        played.talk.disk.mood = "commits"
        assert await played.until_acknowledged(within_s=40)
        assert played.raised == 1

    asyncio.run(story())


@pytest.mark.parametrize("name", sorted(UNANSWERED))
def test_a_device_is_answered_when_the_disk_has_what_it_said(name: str) -> None:
    said = UNANSWERED[name]

    async def is_answered(played: Played) -> bool:
        said.say(played.speaker)
        await played.run(8)
        return said.is_answered(played.speaker)

    async def story() -> None:
        played = Played(DRIVERS[name])
        disk = played.talk.disk
        disk.mood = "blocks"
        await played.run(5)  # a radio on a PEI hands texts over once it was asked to
        assert not await is_answered(played)
        assert disk.waiting, "it was heard"
        disk.settle(StoreError("the disk is full"))
        disk.mood = "fails"
        assert not await is_answered(played)
        assert disk.events == []
        disk.mood = "commits"
        assert await is_answered(played)
        assert disk.events

    asyncio.run(story())


def test_every_driver_above_bronze_has_a_device_to_ask() -> None:
    above = {name for name, each in DRIVERS.items() if each.grade != "bronze"}
    assert above <= DEVICES.keys() | UNANSWERED.keys()
