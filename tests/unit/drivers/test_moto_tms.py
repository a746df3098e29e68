"""The TMS driver and an emulated radio, and what vectors alone cannot say."""

from typing import Any

from drivers.api import Command, Moment, Outcome, Report, Verb
from drivers.moto_tms import DRIVER, NUMBERS, acknowledgement, read_message
from gateway.model.events import TextReceived
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant
from hil_tests.devices.moto_tms import MotoTmsDevice

START = Instant.parse("2026-05-01T08:00:00Z")
RADIO = RadioId("motorola:11")


class Bench:
    """A codec and a radio, in virtual time; the disk takes texts while ``is_storing``."""

    def __init__(self) -> None:
        self.codec: Any = DRIVER.new_codec({}, "link-1", "12.0.0.11:4007")
        self.radio = MotoTmsDevice(11)
        self.mono = 0.0
        self.is_storing = True
        self.reports: list[Report] = []
        self.outcomes: list[Outcome] = []

    @property
    def now(self) -> Moment:
        return Moment(self.mono, Instant(START + round(self.mono * NS_PER_S)))

    def write(self, body: str, order: int = 1) -> None:
        command = Command(order, RADIO, Verb.TEXT, self.mono + 30.0, body=body)
        self._take(self.codec.send(command, self.now))

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.mono += 1.0
            deadline = self.codec.next_deadline()
            if deadline is not None and deadline <= self.mono:
                self._take(self.codec.expire(self.now))
            self.radio.tick(self.now)
            for _turn in range(2):
                for frame in self.radio.outgoing():
                    self._take(self.codec.receive(frame, self.now))
                for frame in self.codec.outgoing():
                    self.radio.receive(frame, self.now)

    def _take(self, outputs: Any) -> None:
        for output in outputs:
            if isinstance(output, Outcome):
                self.outcomes.append(output)
            if isinstance(output, Report):
                self.reports.append(output)
                if output.receipt is not None and self.is_storing:
                    self.codec.accept(output.receipt)


def test_a_text_is_acknowledged_when_it_is_on_disk_and_repeated_until_then() -> None:
    bench = Bench()
    bench.is_storing = False
    number = bench.radio.write("到场")
    bench.run(3)
    assert bench.radio.is_known, "availability is acknowledged at once"
    assert bench.radio.acknowledged == set()
    bench.is_storing = True
    bench.run(5)
    assert bench.radio.acknowledged == {number}
    bodies = [one.event.body for one in bench.reports if isinstance(one.event, TextReceived)]
    assert bodies == ["到场", "到场"]
    assert len({one.same_as for one in bench.reports}) == 1, "the copy is known as one"


def test_the_same_words_later_are_another_text() -> None:
    bench = Bench()
    bench.radio.write("OK")
    bench.run(2)
    bench.radio.write("OK")
    bench.run(2)
    assert len({one.same_as for one in bench.reports}) == 2


def test_a_text_of_ours_arrives() -> None:
    bench = Bench()
    bench.write("请到东门")
    bench.run(2)
    assert bench.radio.texts == ["请到东门"]
    assert bench.outcomes == [Outcome(1, "delivered")]


def test_a_text_too_long_and_one_too_many_are_refused() -> None:
    bench = Bench()
    bench.write("A" * 501, 99)
    for order in range(17):
        bench.write("A", order)
    assert [(one.order, one.result) for one in bench.outcomes] == [(99, "refused"), (16, "refused")]


def test_every_number_comes_back() -> None:
    for number in range(NUMBERS):
        low, high = number & 0x1F, number & 0x60
        text = bytes((0, 4, 0xE0, 0, 0x80 | low, high | 4))
        answer = read_message(acknowledgement(read_message(text)))
        assert answer.is_ack
        assert answer.number == number


def test_a_message_is_told_field_by_field() -> None:
    assert DRIVER.explain is not None
    rows = DRIVER.explain(bytes.fromhex("000de001019544610068006f006a00"))
    assert {row.name: row.value for row in rows}["number"] == "85"
    assert rows[-1].value == "'ahoj'"
    assert DRIVER.explain(bytes.fromhex("0004e0099304"))[-1].problem == "TMS: the address is cut"
