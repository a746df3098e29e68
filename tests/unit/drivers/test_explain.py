"""A frame told field by field, up to the place where it broke."""

from enum import IntEnum
from typing import Annotated

from drivers.wire import U8, U16, Field, Layout, explain_layout, layout, raw


class Kind(IntEnum):
    FIX = 1


@layout(">")
class Head(Layout):
    kind: Annotated[Kind, U8]
    length: Annotated[int, U16]
    name: Annotated[bytes, raw(2)]


def test_a_whole_struct_is_told_to_its_end() -> None:
    assert explain_layout(Head, bytes.fromhex("ff01000c4142"), offset=1, base=6) == [
        Field("7", "01", "Head.kind", "1 fix"),
        Field("8-9", "000c", "Head.length", "12"),
        Field("10-11", "4142", "Head.name"),
    ]


def test_the_table_ends_where_bytes_are_missing() -> None:
    assert explain_layout(Head, bytes.fromhex("0100")) == [
        Field("0", "01", "Head.kind", "1 fix"),
        Field("1-2", "00", "Head.length", "", "1 of 2 bytes are there"),
    ]


def test_the_table_ends_at_a_value_that_the_specification_does_not_name() -> None:
    (only,) = explain_layout(Head, bytes.fromhex("07000c4142"))
    assert only.problem == "unknown value"
