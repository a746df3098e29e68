"""The TMS driver and an emulated radio, and what vectors alone cannot say."""

from drivers.api import Outcome, Verb
from drivers.moto_tms import DRIVER, NUMBERS, acknowledgement, read_message
from gateway.model.events import TextReceived
from gateway.model.identity import RadioId
from hil_tests.devices.moto_tms import MotoTmsDevice
from tests.support.bench import Bench

RADIO = RadioId("motorola:11")


def bench_of() -> Bench[MotoTmsDevice]:
    codec = DRIVER.new_codec({}, "link-1", "12.0.0.11:4007")
    return Bench(codec, MotoTmsDevice(11), step_s=1.0)


def test_a_text_is_acknowledged_when_it_is_on_disk_and_repeated_until_then() -> None:
    bench = bench_of()
    bench.is_disk_full = True
    number = bench.device.write("到场")
    bench.run(3)
    assert bench.device.is_known, "availability is acknowledged at once"
    assert bench.device.acknowledged == set()
    bench.is_disk_full = False
    bench.run(5)
    assert bench.device.acknowledged == {number}
    assert [text.body for text in bench.events(TextReceived)] == ["到场", "到场"]
    assert len({one.same_as for one in bench.reports}) == 1, "the copy is known as one"


def test_the_same_words_later_are_another_text() -> None:
    bench = bench_of()
    bench.device.write("OK")
    bench.run(2)
    bench.device.write("OK")
    bench.run(2)
    assert len({one.same_as for one in bench.reports}) == 2


def test_a_text_of_ours_arrives() -> None:
    bench = bench_of()
    bench.ask(Verb.TEXT, RADIO, body="请到东门")
    bench.run(2)
    assert bench.device.texts == ["请到东门"]
    assert bench.outcomes == [Outcome(1, "delivered")]


def test_a_text_too_long_and_one_too_many_are_refused() -> None:
    bench = bench_of()
    bench.ask(Verb.TEXT, RADIO, 99, body="A" * 501)
    for order in range(17):
        bench.ask(Verb.TEXT, RADIO, order, body="A")
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
