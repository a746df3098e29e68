"""A frame told field by field, like the table in its specification, with the place where it broke.

A driver's ``explain`` puts such lists together: ``explain_layout`` for each struct, and a ``Field``
by hand for what is text or bits.
"""

from collections.abc import Sequence
from typing import NamedTuple

from drivers.wire.layout import Layout


class Field(NamedTuple):
    """One row of the table.

    ``place`` is where it stands: bytes from the start of the frame (``"4"``, ``"4-7"``), or bits
    (``"bit 12-36"``), or the number of a field of text. ``raw`` is what stands there, in hex or as
    text. ``problem`` is empty unless this is where the frame does not fit.
    """

    place: str
    raw: str
    name: str
    value: str = ""
    problem: str = ""


def place(offset: int, size: int) -> str:
    """Bytes ``offset`` to ``offset + size - 1`` as ``Field.place`` writes them."""
    return str(offset) if size <= 1 else f"{offset}-{offset + size - 1}"


def explain_layout(
    kind: type[Layout], data: bytes, offset: int = 0, base: int = 0
) -> Sequence[Field]:
    """The fields of ``kind`` at ``data[offset:]``, up to the first one that does not fit.

    ``base`` is added to the places shown, where ``data`` is itself a part of the frame.
    """
    rows: list[Field] = []
    for name, form, names in kind.table():
        title = f"{kind.__name__}.{name}"
        at = place(base + offset, form.size)
        data_here = data[offset : offset + form.size]
        if len(data_here) < form.size:
            problem = f"{len(data_here)} of {form.size} bytes are there"
            rows.append(Field(at, data_here.hex(), title, "", problem))
            break
        (value,) = form.unpack(data_here)
        if isinstance(value, bytes):
            rows.append(Field(at, data_here.hex(), title))
        elif names is None:
            rows.append(Field(at, data_here.hex(), title, str(value)))
        elif value in names._value2member_map_:
            rows.append(Field(at, data_here.hex(), title, f"{value} {names(value).name.lower()}"))
        else:
            rows.append(Field(at, data_here.hex(), title, str(value), "unknown value"))
            break
        offset += form.size
    return rows
