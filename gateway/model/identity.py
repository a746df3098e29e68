"""Who: radios, units, events. A radio is named by its number space and its number together.

Numbers of two spaces never compare equal, so ``dmr:1002`` and ``tetra:1002`` are two radios.
"""

import re
from hashlib import blake2b
from typing import NewType

RadioId = NewType("RadioId", str)  # "<space>:<number>", for example "pdt:80020200"
UnitId = NewType("UnitId", str)  # a slug
EventId = NewType("EventId", str)  # 32 hex digits

SPACES = frozenset({"pdt", "dmr", "jt808", "kenwood", "tetra", "motorola", "receiver"})
SLUG = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")  # site, unit, team and link ids; safe in a topic
_NUMBER = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def radio_id(space: str, number: object) -> RadioId:
    """Build ``<space>:<number>``; raises ValueError for an unknown space or an unsafe number."""
    if space not in SPACES:
        raise ValueError(f"number space {space!r} is unknown; one of {', '.join(sorted(SPACES))}")
    text = str(number)
    if not _NUMBER.match(text):
        raise ValueError(f"radio number {text!r} is not 1 to 64 letters, digits, '-' or '_'")
    return RadioId(f"{space}:{text}")


def parse_radio_id(text: str) -> RadioId:
    """Check a written radio id; raises ValueError that says what would be right."""
    space, colon, number = text.partition(":")
    if not colon:
        raise ValueError(f"radio id {text!r} has no number space; write it like 'pdt:80020200'")
    return radio_id(space, number)


def derive_event_id(*parts: object) -> EventId:
    """An id that is the same whenever ``parts`` are the same: 32 hex digits of BLAKE2b-128.

    Made from what the radio sent (never from our own counters), so that a retransmission and a
    second gateway that heard the same frame arrive at the same id.
    """
    text = "\x1f".join(map(str, parts))
    return EventId(blake2b(text.encode(), digest_size=16).hexdigest())
