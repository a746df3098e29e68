"""Wire structs written the way a specification prints its tables; the declaration does the work.

::

    @layout(">")
    class HrnpHeader(Layout):
        '''HRNP packet header, 12 bytes, big-endian.'''
        start: Annotated[int, U8]
        ...
        length: Annotated[int, U16]  # bytes, header included

``HrnpHeader.unpack(data)`` and ``.pack()`` come from the declaration. Bytes that do not fit raise
``WireError`` naming the struct and the field.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)


class WireError(ValueError):
    """Bytes do not fit a layout; the message names struct and field."""


class Code(str):
    """One character of the struct module's format language, used as an annotation."""

    __slots__ = ()


U8, S8, U16, S16, U32, S32 = (Code(c) for c in "BbHhIi")


def raw(size: int) -> Code:
    """A run of ``size`` bytes, given as bytes."""
    return Code(f"{size}s")


class Layout:
    """Base of a wire struct; see the module's docstring."""

    size: ClassVar[int]
    _struct: ClassVar[struct.Struct]
    _names: ClassVar[tuple[str, ...]]
    _codes: ClassVar[tuple[str, ...]]
    _enums: ClassVar[tuple[tuple[int, str, type[IntEnum]], ...]]

    @classmethod
    def unpack(cls, data: bytes, offset: int = 0) -> Self:
        """Read one struct at ``offset``; bytes after it are left alone."""
        try:
            values = cls._struct.unpack_from(data, offset)
        except struct.error:
            have = max(0, len(data) - offset)
            raise WireError(f"{cls.__name__}: {have} bytes, needs {cls.size}") from None
        if not cls._enums:
            return cls(*values)
        checked: list[Any] = list(values)
        for index, name, kind in cls._enums:
            try:
                checked[index] = kind(checked[index])
            except ValueError:
                raise WireError(f"{cls.__name__}.{name}: {checked[index]:#x} is unknown") from None
        return cls(*checked)

    def pack(self) -> bytes:
        """The bytes of this struct; raises WireError where a value is out of its field's range."""
        return self.pack_values(*[getattr(self, name) for name in self._names])

    @classmethod
    def pack_values(cls, *values: int | bytes) -> bytes:
        """The bytes of a struct with these values, in the table's order; raises like ``pack``."""
        try:
            return cls._struct.pack(*values)
        except struct.error as error:
            raise WireError(f"{cls.__name__}: {error}") from None

    @classmethod
    def table(cls) -> Iterator[tuple[str, struct.Struct, type[IntEnum] | None]]:
        """Name, form and named values of each field, in the table's order."""
        order = cls._struct.format[0]
        kinds = {name: kind for _, name, kind in cls._enums}
        for name, code in zip(cls._names, cls._codes, strict=True):
            yield name, struct.Struct(order + code), kinds.get(name)


LayoutT = TypeVar("LayoutT", bound=Layout)


@dataclass_transform(frozen_default=True)
def layout(byte_order: Literal[">", "<"]) -> Callable[[type[LayoutT]], type[LayoutT]]:
    """Make a ``Layout`` subclass from its annotations; ``byte_order`` is that of the table."""

    def build(cls: type[LayoutT]) -> type[LayoutT]:
        made = dataclass(frozen=True, slots=True)(cls)
        names: list[str] = []
        codes: list[str] = []
        enums: list[tuple[int, str, type[IntEnum]]] = []
        hints = get_type_hints(made, include_extras=True)
        for index, field in enumerate(fields(made)):  # type: ignore[arg-type] # a dataclass by now
            hint = hints[field.name]
            if get_origin(hint) is not Annotated:
                raise TypeError(f"{cls.__name__}.{field.name} has no wire code")
            kind, code = get_args(hint)
            names.append(field.name)
            codes.append(code)
            if isinstance(kind, type) and issubclass(kind, IntEnum):
                enums.append((index, field.name, kind))
        made._struct = struct.Struct(byte_order + "".join(codes))  # noqa: SLF001 - own class
        made._names = tuple(names)  # noqa: SLF001 - own class
        made._codes = tuple(codes)  # noqa: SLF001 - own class
        made._enums = tuple(enums)  # noqa: SLF001 - own class
        made.size = made._struct.size  # noqa: SLF001 - own class
        return made

    return build
