"""What a program may ask the gateway: the structs are the JSON payloads of request and response."""

from typing import Any, Literal

import msgspec

from gateway.model.events import Verdict
from gateway.model.identity import EventId, RadioId, UnitId

Verb = Literal[
    "locate", "track", "text", "check",
    "emergency/stop", "emergency/take", "emergency/close",
    "rebirth",
]  # fmt: skip


class Request(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The payload of ``request/<verb>``; which fields a verb needs is told by its answer.

    ``by`` is the person who asks, as the asking program knows them. ``transaction`` comes back in
    the response, so that an answer finds its question. A command to a radio is answered as soon as
    it is on disk, or with ``wait_s`` when it has ended, after so long at most.
    """

    transaction: str | int | None = None
    unit_id: UnitId | None = None
    radio_id: RadioId | None = None
    body: str | None = None
    every_s: float | None = None
    for_s: float | None = None
    wait_s: float | None = None
    emergency_id: EventId | None = None
    by: str | None = None
    verdict: Verdict | None = None
    note: str | None = None


class Response(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of ``response/<verb>``: ``data`` with ``ok``, a sentence in ``error`` if not."""

    status: Literal["ok", "error"]
    error: str | None = None
    data: dict[str, Any] | None = None
    transaction: str | int | None = None
