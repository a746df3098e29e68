"""The wire, the clock and the codec meet in a session; a receipt leaves only after the commit."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from drivers.api import Heard, Moment, Output, Reject, Report
from gateway.errors import LinkError, StoreError
from gateway.links.base import LinkHost, Peer
from gateway.model.events import LinkChanged
from gateway.model.identity import RadioId
from gateway.runtime.backoff import Backoff
from gateway.runtime.supervisor import LinkRunner, Supervisor
from tests.support.emergencies import RADIO, fix
from tests.support.runner import downlink_for
from tests.unit.runtime.test_pipeline import Desk


class Scripted:
    """A codec whose outputs the test decides: each byte is a word of a tiny language."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.deadline: float | None = None
        self.serial = 0

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        outputs: list[Output] = []
        for letter in data.decode():
            self.serial += 1
            if letter == "f":
                outputs.append(Report(fix(self.serial), self.serial))
            elif letter == "h":
                outputs.append(Heard(RADIO))
                self.out.append(b"hello")
            elif letter == "r":
                outputs.append(Reject("checksum", "wrong", b"r"))
            elif letter == "x":
                raise RuntimeError("a bug in the driver")
            elif letter == "d":
                self.deadline = now.mono + 3
        return outputs

    def flush(self, now: Moment) -> Sequence[Output]:
        del now
        return [Reject("incomplete", "flushed")]

    def accept(self, receipt: int) -> None:
        self.out.append(b"ack%d" % receipt)

    def outgoing(self) -> Sequence[bytes]:
        frames, self.out = self.out, []
        return frames

    def next_deadline(self) -> float | None:
        return self.deadline

    def expire(self, now: Moment) -> Sequence[Output]:
        self.deadline = None
        return [Heard(RadioId("pdt:80020202"))]


class Wire:
    """A peer that remembers what was written to it."""

    name = "wire"

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed: str | None = None

    def write(self, frames: Sequence[bytes]) -> None:
        self.written += frames

    def close(self, why: str) -> None:
        self.closed = why


class OneLink:
    """A link that opens when asked and breaks when told."""

    place = "memory"

    def __init__(self) -> None:
        self.broken: asyncio.Event = asyncio.Event()
        self.host: LinkHost | None = None
        self.opens = 0
        self.fault: Callable[[], Exception] = lambda: LinkError("memory: gone (EIO)")

    async def run(self, host: LinkHost) -> Any:
        self.opens += 1
        self.host = host
        host.opened()
        await self.broken.wait()
        self.broken.clear()
        raise self.fault()


class Bench:
    """One link runner over a scripted codec, with a manual clock."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.link = OneLink()
        self.codecs: list[Scripted] = []
        self.peers: list[str] = []
        self.runner = LinkRunner(
            link_id="radio-1",
            driver_name="scripted",
            link=self.link,
            new_codec=self.new_codec,
            commands=frozenset(),
            place_of=lambda _radio_id: None,
            silent_after_s=30,
            frame_timeout_s=8,
            backoff=Backoff(),
            pipeline=self.desk.pipeline,
            downlink=downlink_for(self.desk.pipeline, self.desk.counters, self.desk.clock),
            board=self.desk.board,
            counters=self.desk.counters,
            clock=self.desk.clock,
        )

    def new_codec(self, peer: str) -> Scripted:
        self.peers.append(peer)
        self.codecs.append(Scripted())
        return self.codecs[-1]

    def session(self) -> tuple[Any, Wire]:
        wire = Wire()
        peer: Peer = wire
        return self.runner.peer(peer), wire


def test_a_codec_is_made_for_the_peer_where_it_is() -> None:
    async def story() -> None:
        bench = Bench()
        _, wire = bench.session()
        assert bench.peers == [wire.name]

    asyncio.run(story())


def test_a_receipt_leaves_only_after_the_commit_and_all_of_a_commit_in_one_write() -> None:
    async def story() -> None:
        bench = Bench()
        session, wire = bench.session()
        session.received(b"ff")
        await asyncio.sleep(0)
        assert wire.written == []
        bench.desk.shelf.settle()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.written == [b"ack1", b"ack2"]

    asyncio.run(story())


def test_no_receipt_leaves_when_the_commit_failed() -> None:
    async def story() -> None:
        bench = Bench()
        session, wire = bench.session()
        session.received(b"f")
        bench.desk.shelf.settle(StoreError("disk"))
        await asyncio.sleep(0.01)
        assert wire.written == []

    asyncio.run(story())


def test_a_heartbeat_is_answered_at_once() -> None:
    bench = Bench()
    session, wire = bench.session()
    session.received(b"h")
    assert wire.written == [b"hello"]


def test_a_codec_that_raises_is_replaced_counted_and_hung_up_when_it_goes_on() -> None:
    bench = Bench()
    session, wire = bench.session()
    session.received(b"x")
    assert bench.desk.counters.codec_failures["scripted"] == 1
    closed_after_one = wire.closed
    session.received(b"h")
    assert wire.written == [b"hello"]
    session.received(b"x")
    session.received(b"x")
    assert (closed_after_one, wire.closed is None) == (None, False)
    assert len(bench.codecs) == 4
    view = bench.runner.view()
    assert view.is_degraded
    assert view.rejected == {"driver_error": 3}


def test_a_receipt_of_a_replaced_codec_is_not_given_to_the_new_one() -> None:
    async def story() -> None:
        bench = Bench()
        session, wire = bench.session()
        session.received(b"f")
        session.received(b"x")
        bench.desk.shelf.settle()
        await asyncio.sleep(0.01)
        assert wire.written == []

    asyncio.run(story())


def test_a_failing_session_does_not_touch_another() -> None:
    bench = Bench()
    ill, _ = bench.session()
    well, wire = bench.session()
    ill.received(b"x")
    well.received(b"h")
    assert wire.written == [b"hello"]


def test_rejects_are_counted_and_the_newest_are_kept_for_the_technician() -> None:
    bench = Bench()
    session, _ = bench.session()
    session.received(b"r" * 70)
    assert bench.runner.view().rejected == {"checksum": 70}
    assert len(bench.runner.rejects()) == 50
    assert bench.runner.rejects()[0].hex == "72"


def test_a_codecs_deadline_is_kept_and_a_quiet_line_flushes_it_once() -> None:
    async def story() -> None:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(bench.runner.run())
            await bench.desk.clock.advance(0.1)
            session, _ = bench.session()
            session.received(b"d")
            await bench.desk.clock.advance(3.1)
            assert bench.desk.counters.heard == 1
            await bench.desk.clock.advance(20)
            assert bench.runner.view().rejected == {"incomplete": 1}
            task.cancel()

    asyncio.run(story())


def test_a_link_that_breaks_is_opened_again_and_says_so() -> None:
    async def story() -> None:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(Supervisor([bench.runner]).run())
            await bench.desk.clock.advance(10)
            assert bench.runner.view().state == "up"
            bench.link.broken.set()
            await bench.desk.clock.advance(0)
            view = bench.runner.view()
            assert (view.state, view.why) == ("down", "memory: gone (EIO)")
            await bench.desk.clock.advance(3)
            assert bench.runner.view().state == "up"
            assert bench.link.opens == 2
            task.cancel()

    asyncio.run(story())


@pytest.mark.parametrize("fault", [RuntimeError("bug"), ValueError("bug")])
def test_a_bug_in_a_link_is_a_restart_not_an_end(fault: Exception) -> None:
    async def story() -> None:
        bench = Bench()
        bench.link.fault = lambda: fault
        async with asyncio.TaskGroup() as group:
            task = group.create_task(Supervisor([bench.runner]).run())
            await bench.desk.clock.advance(0.1)
            bench.link.broken.set()
            await bench.desk.clock.advance(5)
            assert bench.runner.view().state == "up"
            task.cancel()

    asyncio.run(story())


def test_a_link_that_says_nothing_is_silent_and_the_first_byte_wakes_it() -> None:
    async def story() -> None:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(bench.runner.run())
            await bench.desk.clock.advance(29)
            assert bench.runner.view().state == "up"
            await bench.desk.clock.advance(2)
            assert bench.runner.view().state == "silent"
            session, _ = bench.session()
            session.received(b"h")
            assert bench.runner.view().state == "up"
            task.cancel()

    asyncio.run(story())


def test_every_change_of_a_link_is_an_event() -> None:
    async def story() -> None:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(bench.runner.run())
            await bench.desk.clock.advance(31)
            task.cancel()
        events = [write.event for write in bench.desk.shelf.waiting]
        states = [event.state for event in events if isinstance(event, LinkChanged)]
        assert states == ["connecting", "up", "silent"]

    asyncio.run(story())
