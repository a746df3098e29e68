r"""Vector files: what a peer puts on the wire, where that was seen, and what must come of it.

``tests/vectors/<driver>.toml``::

    driver = "nmea0183"
    options = {}                 # optional: the link's options table for every vector of the file

    [[vector]]
    name = "RMC with a valid fix"
    source = "where the bytes come from"
    rx = "$GPRMC,…*6A\r\n"       # text (cut at line ends), or a list of texts: one frame each
    rx_hex = "7e…7e"             # or hex, or a list: one frame (on UDP: one datagram) each
    options = {}                 # optional, laid over the file's
    at = 2026-05-01T08:00:00Z    # optional: when the bytes are received
    peer = "12.0.0.11:4005"      # optional: where the far end is
    events = [{ type = "position_fix", lat_deg = 48.1173, absent = ["altitude_m"] }]
    rejects = ["checksum"]       # optional: reasons of every Reject, in order; none when absent
    reject = "checksum"          # short for: events = [], rejects = ["checksum"]
    heard = ["jt808:…"]          # optional: radio ids of every Heard, in order
    tx_hex = ["7e…7e"]           # optional: all frames sent, in order, receipts being accepted
    tolerance = 1e-9             # optional: relative, for every number of ``events``
    no_bit_flips = "why"         # optional: switches one way off; no_split, no_noise, no_twice,
                                 # no_truncation, no_bit_flips

A dialogue has ``steps`` instead of ``rx``; each step is one of ``{ rx = … }``, ``{ rx_hex = … }``,
``{ tx_hex = … }`` (the next frames sent, one or a list), ``{ tx = … }`` (the same as text),
``{ after_s = 5.0 }`` (time passes, deadlines are kept), ``{ accept = true }`` (every event so far
is on disk) and ``{ send = { verb = "text", radio_id = "dmr:1", body = "…" } }`` (a command; orders
count from 1, and nobody waits longer than its ``within_s``, 30 s).

``outcomes = ["1 delivered", "2 refused: too long"]`` are all outcomes of commands, in order.

``events`` are compared field by field with the event's JSON: fields that are not named are not
looked at, fields under ``absent`` must not be there.
"""

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from drivers.api import Moment, Verb
from gateway.model.quantities import Instant

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
USUAL_AT = datetime.fromisoformat("2026-05-01T08:00:00+00:00")

Texts = str | list[str]


class Send(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command to a radio; see ``drivers.api.Command``."""

    verb: Verb
    radio_id: str
    body: str = ""
    every_s: int = 0
    for_s: int = 0
    within_s: float = 30.0


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a dialogue; exactly one field is given."""

    rx: Texts | None = None
    rx_hex: Texts | None = None
    tx: Texts | None = None
    tx_hex: Texts | None = None
    after_s: float | None = None
    accept: bool | None = None
    send: Send | None = None

    def __post_init__(self) -> None:
        """Refuse a step that says two things, or nothing."""
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a step says exactly one thing, this one {given}")

    def received(self) -> list[bytes]:
        """The frames that come in; empty where this step is about something else."""
        return _frames(self.rx, self.rx_hex)

    def sent(self) -> list[bytes]:
        """The frames that must have gone out."""
        return _frames(self.tx, self.tx_hex)


class Vector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of a vector file; see the module's docstring."""

    name: str
    source: str
    rx: Texts | None = None
    rx_hex: Texts | None = None
    steps: tuple[Step, ...] = ()
    options: dict[str, Any] = {}
    at: datetime = USUAL_AT
    peer: str = ""
    events: tuple[dict[str, Any], ...] = ()
    rejects: tuple[str, ...] = ()
    reject: str = ""
    heard: tuple[str, ...] | None = None
    tx_hex: tuple[str, ...] | None = None
    outcomes: tuple[str, ...] = ()
    tolerance: float = 1e-9
    no_split: str = ""
    no_noise: str = ""
    no_twice: str = ""
    no_truncation: str = ""
    no_bit_flips: str = ""

    def __post_init__(self) -> None:
        """Refuse a vector that could not be run, or that expects two things at once."""
        if sum(bool(given) for given in (self.rx, self.rx_hex, self.steps)) != 1:
            raise ValueError(f"vector {self.name!r}: give one of rx, rx_hex, steps")
        if self.reject and (self.events or self.rejects):
            raise ValueError(f"vector {self.name!r}: reject stands alone")
        if self.at.tzinfo is None:
            raise ValueError(f"vector {self.name!r}: at has no time zone; write it with Z")

    @property
    def frames(self) -> list[bytes]:
        """What is received, a frame (or datagram) each; empty for a dialogue."""
        return _frames(self.rx, self.rx_hex)

    @property
    def expected_rejects(self) -> list[str]:
        """The reasons of all Rejects, in order."""
        return [self.reject] if self.reject else list(self.rejects)

    @property
    def moment(self) -> Moment:
        """When the bytes are received."""
        return Moment(1000.0, Instant.from_datetime(self.at))


class VectorFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vector file as it stands."""

    driver: str
    vector: tuple[Vector, ...]
    options: dict[str, Any] = {}


def load_vectors(file: Path) -> VectorFile:
    """Read one file; raises where it is not as the module's docstring says."""
    return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), VectorFile)


def _frames(texts: Texts | None, hexes: Texts | None) -> list[bytes]:
    if texts is not None:
        if isinstance(texts, list):
            return [text.encode() for text in texts]
        return texts.encode().splitlines(keepends=True)
    if hexes is None:
        return []
    return [bytes.fromhex(text) for text in ([hexes] if isinstance(hexes, str) else hexes)]
