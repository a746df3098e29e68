"""All that a driver's author imports, beside ``drivers.wire`` and ``gateway.model``.

A codec never touches a socket, a file or a clock. Bytes and the moment go in; reports, bytes to
send and the next deadline come out. The session owns the wire.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec

from drivers.wire import Field
from gateway.model.events import EmergencyKind, RadioEvent
from gateway.model.identity import RadioId
from gateway.model.quantities import Instant


class Transport(StrEnum):
    """What can carry a protocol's bytes."""

    SERIAL = "serial"
    TCP_CLIENT = "tcp_client"
    TCP_SERVER = "tcp_server"
    UDP = "udp"
    REPLAY = "replay"


class Moment(NamedTuple):
    """A moment: ``mono`` for deadlines, ``at`` to complete dates and stamp events."""

    mono: float  # seconds, never goes back
    at: Instant  # wall clock, UTC


class Report(NamedTuple):
    """Something a radio said.

    ``receipt`` is what the session hands to ``Codec.accept`` once the event is on disk; None where
    the protocol knows no acknowledgement. ``same_as`` names the press or the report as the peer
    does (its serial number, its time): equal texts from one radio are the same thing sent again.
    None means that the protocol gives nothing to tell by, and a window of time decides.

    ``calm`` names the kinds of emergency that this very frame says are not going on, in protocols
    that repeat a state in every report (the alarm word of JT/T 808). The pipeline knows whether one
    was going on, also over a reconnection and a restart; the codec need not.

    ``cleared`` names the kinds that this frame does not show and that our own answer takes away
    (the SOS bit of JT/T 808). That nobody has called off: it is told as no end, and the next frame
    that shows the kind is another press.

    ``stored_at`` is when the radio put the report into its store, by a clock that satellites set;
    None for one that is told as it happens.
    """

    event: RadioEvent
    receipt: int | None = None
    same_as: str | None = None
    calm: tuple[EmergencyKind, ...] = ()
    cleared: tuple[EmergencyKind, ...] = ()
    stored_at: Instant | None = None


class Heard(NamedTuple):
    """A radio showed that it is alive, and said nothing worth an event (a heartbeat).

    The session answers it at once: nothing has to be on disk first.
    """

    radio_id: RadioId


class Reject(NamedTuple):
    """Bytes that were not taken.

    ``reason`` is a short stable word to count by (``checksum``, ``length``, ``overrun``,
    ``not_allowed``, ``unsupported`` …), ``detail`` is for the technician.
    """

    reason: str
    detail: str
    data: bytes = b""


class Verb(StrEnum):
    """What a radio may be asked to do. Nothing here disables a radio or listens in."""

    LOCATE = "locate"  # one position, now
    TRACK = "track"  # a position every ``every_s`` seconds, for ``for_s`` seconds
    TEXT = "text"
    CHECK = "check"  # is it there?
    EMERGENCY_STOP = "emergency_stop"  # end the alarm in the radio itself


class Command(NamedTuple):
    """One thing asked of one radio.

    ``order`` is unique in the gateway's life; the codec gives it back in its ``Outcome``. Nobody
    waits for that any longer after ``until_mono``: the codec stops repeating and forgets it.
    """

    order: int
    radio_id: RadioId
    verb: Verb
    until_mono: float  # seconds on the clock of ``Moment.mono``
    body: str = ""  # of a text
    every_s: int = 0  # of a track
    for_s: int = 0


Result = Literal["delivered", "refused"]


class Outcome(NamedTuple):
    """What became of a command, given once for each order.

    ``delivered`` only where the far end confirmed it, or gave what was asked for; ``refused`` with
    the reason in ``why`` where it cannot be done or the far end will not. ``why`` of a
    delivered one is what the far end told beside it, for people. A codec that hears nothing says
    nothing: the gateway calls that timed out.
    """

    order: int
    result: Result
    why: str = ""


Output = Report | Heard | Reject | Outcome


class Codec(Protocol):
    """One peer's side of one conversation."""

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Take bytes as they come: any split of a stream, or one whole datagram."""
        ...

    def flush(self, now: Moment) -> Sequence[Output]:
        """The line ended or fell silent: give what is complete, reject the rest."""
        ...

    def accept(self, receipt: int) -> None:
        """The event of ``receipt`` is on disk: queue the protocol's acknowledgement."""
        ...

    def outgoing(self) -> Sequence[bytes]:
        """Frames to write now, each whole (a datagram each on UDP); drained by the call."""
        ...

    def next_deadline(self) -> float | None:
        """When ``expire`` must run, monotonic seconds; None for never."""
        ...

    def expire(self, now: Moment) -> Sequence[Output]:
        """A deadline has come: heartbeats, retries, fixes whose epoch is over."""
        ...


@runtime_checkable
class TakesCommands(Protocol):
    """A codec that can ask a radio for something; its manifest names the verbs in ``commands``."""

    def send(self, command: Command, now: Moment) -> Sequence[Output]:
        """Queue the bytes of ``command``; it may be refused at once.

        Only verbs of the manifest come here. Commands in progress are bounded; one too many is
        refused.
        """
        ...


@runtime_checkable
class OneOfManyPorts(Protocol):
    """A codec for one of the ports of a peer that has a port for each service.

    A radio that was heard on one of them can be asked on the others: those of the same driver at
    the same address.
    """

    def takes(self, verb: Verb) -> bool:
        """Whether this port carries what ``verb`` needs."""
        ...


@runtime_checkable
class KnowsPeer(Protocol):
    """A codec whose frames do not say whose they are: the address they come from does."""

    def meet(self, peer: str) -> None:
        """Where the far end is, as people write it: ``12.0.0.11:4005``, or a path on a serial port.

        Called once, before anything else; never called where nobody knows (a bare dump of bytes).
        """
        ...


class CodecOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a driver's options: the ``options`` table of a link in the settings.

    Every field has a default and a docstring line with its unit; unknown keys are refused.
    """


OptionsT = TypeVar("OptionsT", bound=CodecOptions)


class Handles(NamedTuple):
    """One line of the driver's page: a message, what becomes of it, and how sure we are."""

    message: str
    meaning: str
    becomes: str = ""  # event types, or what is answered
    confidence: str = ""  # captured n, specification, one source, conflicting


class Driver(msgspec.Struct, Generic[OptionsT], frozen=True, kw_only=True):
    """The manifest: what a driver is, what carries it and what it can do.

    ``codec`` is called with the options and the link id, once for each peer; a codec that needs the
    peer's address as well has a method ``meet`` (``KnowsPeer``). ``max_frame`` bounds
    every buffer, in bytes. ``speaks_first`` is true where the codec has bytes to send on opening.
    ``has_receipts`` is true where a radio waits for our acknowledgement. ``commands`` are the verbs
    that its codec takes (``TakesCommands``). ``place_of`` tells at which address and port a
    radio is spoken to that is on the air and has not spoken on this link, in protocols where the
    number of a radio is its address. ``networks`` are those that its radios have, where they are
    programmed into them and not the site's. ``explain`` lists the fields of one frame, or of one
    line, in the order of the specification's tables, for ``decode --explain``; it never raises.
    """

    name: str
    title: str
    title_zh: str
    spec: str
    transports: frozenset[Transport]
    options: type[OptionsT]
    codec: Callable[[OptionsT, str], Codec]
    max_frame: int
    has_receipts: bool = False
    speaks_first: bool = False
    commands: frozenset[Verb] = frozenset()
    explain: Callable[[bytes], Sequence[Field]] | None = None
    place_of: Callable[[OptionsT, RadioId], tuple[str, int] | None] | None = None
    networks: tuple[str, ...] = ()
    grade: str = "bronze"  # bronze, silver, gold, platinum: docs/drivers/README.md
    handles: tuple[Handles, ...] = ()
    refuses: tuple[Handles, ...] = ()
    serial_baud: int = 9600
    wiring: str = ""
    example: str = ""  # a [[link]] table that `check` accepts

    def new_codec(self, options: dict[str, Any], link_id: str, peer: str = "") -> Codec:
        """A codec for one peer; ``peer`` is where it is, "" where nobody knows.

        Raises msgspec.ValidationError naming the key where ``options`` are wrong.
        """
        codec = self.codec(msgspec.convert(options, self.options), link_id)
        if peer and isinstance(codec, KnowsPeer):
            codec.meet(peer)
        return codec

    def places(self, options: dict[str, Any]) -> Callable[[RadioId], tuple[str, int] | None]:
        """``place_of`` for a link with these options; finds nobody where the driver has none."""
        place_of = self.place_of
        if place_of is None:
            return lambda _radio_id: None
        converted = msgspec.convert(options, self.options)
        return lambda radio_id: place_of(converted, radio_id)
