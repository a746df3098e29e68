"""Declarative structs, checks and text for wire formats; imports nothing of the gateway."""

from drivers.wire.checksums import hdap8, ones_complement16, xor8
from drivers.wire.explain import Field, explain_layout
from drivers.wire.layout import S8, S16, S32, U8, U16, U32, Layout, WireError, layout, raw

__all__ = [
    "S8",
    "S16",
    "S32",
    "U8",
    "U16",
    "U32",
    "Field",
    "Layout",
    "WireError",
    "explain_layout",
    "hdap8",
    "layout",
    "ones_complement16",
    "raw",
    "xor8",
]
