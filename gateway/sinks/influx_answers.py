"""What InfluxDB's answers mean to the outbox: taken, refused for good, or not now."""

import re
from collections.abc import Mapping
from typing import Protocol

import msgspec

from gateway.errors import GatewayError, SinkError
from gateway.reasons import reason

MAX_REASON = 300  # characters of a server's message that are kept
MAX_PAUSE_S = 300.0  # a server's Retry-After is believed up to this
REFUSING = frozenset({400, 413, 422})  # about the lines, not about us or the server
_DROPPED = re.compile(r"dropped=(\d+)")
_TOO_OLD = re.compile(r"dropped \d+ (points outside retention policy of duration \w+) - .*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class LinesRefusedError(GatewayError):
    """The server took some of the lines, or none; ``dropped`` says how many it left out."""

    def __init__(self, why: str, dropped: int | None) -> None:
        super().__init__(why)
        self.dropped = dropped


class AccessRefusedError(SinkError):
    """The server does not let us in; the secret is read again before the next try."""


class BusyError(SinkError):
    """The server asks for a pause of ``pause_s`` seconds."""

    def __init__(self, why: str, pause_s: float) -> None:
        super().__init__(why)
        self.pause_s = pause_s


def unreached(place: str, error: Exception) -> SinkError:
    """No answer at all: what happened on the way, and what a person can look at."""
    return SinkError(f"{place}: {reason(error)}; is InfluxDB running there, is influx.url right?")


class Writer(Protocol):
    """One way to write lines: the 1.x or the 2.x API."""

    @property
    def place(self) -> str:
        """For people."""
        ...

    async def write(self, body: bytes, place: str = "") -> None:
        """Write lines to the usual place, or to another retention policy or bucket.

        Raises LinesRefusedError or SinkError.
        """
        ...

    async def close(self) -> None:
        """Give the connections up."""
        ...


def check_answer(
    place: str, status: int, body: bytes, headers: Mapping[str, str], hints: Mapping[int, str]
) -> None:
    """Return when the lines were taken; raise what the answer means otherwise.

    ``hints`` say what a person has to do about 401, 403 and 404.
    """
    if status in {200, 204}:
        return
    said = _words(body, headers)
    why = _cause(said)[:MAX_REASON] or f"status {status}"
    if status in REFUSING:
        found = _DROPPED.search(said)
        raise LinesRefusedError(why, int(found[1]) if found else None)
    text = f"{place}: {status}: {why}"
    if status in {401, 403}:
        raise AccessRefusedError(f"{text}; {hints[status]}")
    if status in {429, 503}:
        raise BusyError(text, pause_of(headers))
    raise SinkError(f"{text}; {hints[status]}" if status in hints else text)


def reason_of(body: bytes, headers: Mapping[str, str]) -> str:
    """The server's own words, on one line and cut."""
    return _words(body, headers)[:MAX_REASON]


def _words(body: bytes, headers: Mapping[str, str]) -> str:
    """What the server says, on one line: 1.x as ``error``, 2.x as ``message``."""
    text = headers.get("X-Influxdb-Error", "")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = text or body[: 4 * MAX_REASON].decode("utf-8", "replace")
    else:
        if isinstance(document, dict):
            text = str(document.get("error") or document.get("message") or text)
    return _CONTROL.sub(" ", text).strip()


def _cause(said: str) -> str:
    """Without what is of one request alone, so that rows can be counted by cause.

    That is how many lines it concerned, and on 2.x which of them were the oldest and the newest.
    """
    return _TOO_OLD.sub(r"\1", _DROPPED.sub("", said)).strip()


def pause_of(headers: Mapping[str, str]) -> float:
    """Seconds of ``Retry-After``; 0 where there is none or it is a date."""
    text = headers.get("Retry-After", "")
    return min(float(text), MAX_PAUSE_S) if text.isascii() and text.isdigit() else 0.0
