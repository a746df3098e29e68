"""The newest rows of a lane in memory."""

from gateway.outbox.rows import Lane, Row
from gateway.outbox.tail import Tail
from tests.support.outbox import fix


def rows(*numbers: int) -> list[Row]:
    return [Row(number, Lane.TELEMETRY, fix(number), b"") for number in numbers]


def test_a_reader_gets_what_comes_after_its_cursor() -> None:
    tail = Tail(100, missing_through=4)
    tail.append(rows(5, 7, 9))
    assert tail.after(4, 10) == rows(5, 7, 9)
    assert tail.after(5, 1) == rows(7)
    assert tail.after(6, 10) == rows(7, 9)
    assert tail.after(9, 10) == []


def test_a_reader_from_before_the_window_is_sent_to_the_disk() -> None:
    tail = Tail(100, missing_through=4)
    tail.append(rows(5))
    assert tail.after(3, 10) is None
    assert tail.count_after(3) is None
    assert tail.count_after(4) == 1


def test_the_window_never_holds_more_than_its_bound() -> None:
    tail = Tail(3, missing_through=0)
    tail.append(rows(1, 2))
    tail.append(rows(3, 4, 5))
    assert len(tail) == 3
    assert tail.after(1, 10) is None
    assert tail.after(2, 10) == rows(3, 4, 5)


def test_rows_that_every_reader_has_are_let_go() -> None:
    tail = Tail(100, missing_through=0)
    tail.append(rows(1, 2, 3))
    tail.forget_through(2)
    assert len(tail) == 1
    assert tail.after(1, 10) is None
    assert tail.after(2, 10) == rows(3)
