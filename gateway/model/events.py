"""Everything that can happen, as the contract writes it: the struct is the JSON payload.

A driver fills the body and the ``radio_id``; the pipeline fills the header (site, link, unit,
event id). Angles are WGS-84 degrees, lengths metres, speeds m/s. A value that the peer did not
give is absent (``None`` here), never 0.
"""

from typing import Any, Literal, TypeVar

import msgspec

from gateway.model.identity import EventId, RadioId, UnitId
from gateway.model.quantities import NS_PER_S, Instant

Trigger = Literal["time", "distance", "request", "emergency", "power_on", "stored", "unknown"]
EmergencyKind = Literal["alarm", "call", "man_down", "lone_worker", "vehicle"]
Verdict = Literal["true", "false", "drill"]  # 真警 / 误报 / 演练
LinkState = Literal["connecting", "up", "silent", "down"]
CommandVerb = Literal["locate", "track", "text", "check", "emergency_stop"]
CommandResult = Literal["delivered", "refused", "timed_out", "expired"]

UNLISTED = "sender not on the allow list"  # the doubt that makes an emergency hearsay

NO_ID = EventId("")
NO_RADIO = RadioId("")
NEVER = Instant(0)

# How far a receiver's time may lie ahead of ours and be believed. One that does not know the leap
# seconds yet is 18 s ahead; what is further ahead is a wrong clock or a wrong time zone, and would
# stand before every later report until real time has reached it.
AHEAD_NS = 30 * NS_PER_S


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The header of every event.

    ``received_at`` is when the last byte reached the gateway. ``event_id`` is stable under
    retransmission. ``unit_id``, ``unit_name`` and ``team`` are absent while the radio is not
    registered to a unit.
    """

    event_id: EventId = NO_ID
    site: str = ""
    link_id: str = ""
    driver: str = ""
    radio_id: RadioId = NO_RADIO
    unit_id: UnitId | None = None
    unit_name: str | None = None
    team: str | None = None
    received_at: Instant = NEVER


class Fix(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The place that goes along with an emergency: sent with it, or the last known one.

    ``age_s`` is given when it is the last known one: seconds between that fix and the alarm.
    """

    lat_deg: float
    lon_deg: float
    fix_at: Instant | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    accuracy_m: float | None = None
    age_s: float | None = None


class PositionFix(Event, frozen=True, kw_only=True, tag="position_fix"):
    """One report about the position of one radio; ``fix_valid`` false says "no position now".

    Course is clockwise from true north, 0 to under 360. ``fix_at`` is the receiver's own time and
    may be wrong. Coordinates of a report without a valid fix are the last known ones, and are
    absent unless the peer marks them so.
    """

    fix_valid: bool
    lat_deg: float | None = None
    lon_deg: float | None = None
    fix_at: Instant | None = None
    altitude_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    accuracy_m: float | None = None
    satellites: int | None = None
    hdop: float | None = None
    trigger: Trigger | None = None
    battery_pct: int | None = None
    rssi_dbm: float | None = None
    odometer_m: float | None = None

    def true_at(self) -> Instant:
        """When the position was true: the receiver's time, unless it lies ahead of ours.

        A report that was stored in the radio is old and right; one from the future, or from before
        1970, has a wrong clock and counts from when it came.
        """
        if self.fix_at is None or not 0 <= self.fix_at <= self.received_at + AHEAD_NS:
            return self.received_at
        return self.fix_at

    def place(self, age_s: float | None = None) -> Fix | None:
        """The place alone, or None where there are no coordinates."""
        if self.lat_deg is None or self.lon_deg is None:
            return None
        return Fix(
            lat_deg=self.lat_deg,
            lon_deg=self.lon_deg,
            fix_at=self.fix_at,
            altitude_m=self.altitude_m,
            speed_mps=self.speed_mps,
            course_deg=self.course_deg,
            accuracy_m=self.accuracy_m,
            age_s=age_s,
        )


class EmergencyRaised(Event, frozen=True, kw_only=True, tag="emergency_raised"):
    """Somebody pressed the button, or lies on the ground.

    ``raw_code`` is the peer's own code, for the technician. ``verified`` is false, with ``doubt``,
    when the sender could not be trusted; a doubtful alarm is shown, never thrown away. ``place`` is
    the name of the key site in whose ring ``fix`` lies; absent elsewhere. What an address said that
    nobody allowed has the doubt ``UNLISTED``, the name of the unit that it claims to be, and no
    ``unit_id``.
    """

    kind: EmergencyKind
    raw_code: str | None = None
    talkgroup_id: str | None = None
    fix: Fix | None = None
    place: str | None = None
    is_drill: bool
    verified: bool
    doubt: str | None = None

    @property
    def is_hearsay(self) -> bool:
        """True where its sender is not on the allow list; see ``Emergency.is_hearsay``."""
        return self.doubt == UNLISTED


class EmergencyEnded(Event, frozen=True, kw_only=True, tag="emergency_ended"):
    """The radio itself says that it is over; the entry stays open until a person closes it."""

    kind: EmergencyKind
    raw_code: str | None = None
    emergency_id: EventId | None = None
    place: str | None = None


class EmergencyTaken(Event, frozen=True, kw_only=True, tag="emergency_taken"):
    """A named person has taken the emergency ``emergency_id`` (接警).

    ``taken_from`` is who had taken it before, absent the first time. ``raised_at``, ``kind``,
    ``place`` and ``is_drill`` are those of the emergency.
    """

    emergency_id: EventId
    by: str
    taken_from: str | None = None
    raised_at: Instant | None = None
    kind: EmergencyKind | None = None
    place: str | None = None
    is_drill: bool | None = None


class EmergencyClosed(Event, frozen=True, kw_only=True, tag="emergency_closed"):
    """A named person has closed the emergency ``emergency_id`` with a verdict (结案).

    ``raised_at``, ``kind``, ``place`` and ``is_drill`` are those of the emergency.
    """

    emergency_id: EventId
    by: str
    verdict: Verdict
    note: str | None = None
    raised_at: Instant | None = None
    kind: EmergencyKind | None = None
    place: str | None = None
    is_drill: bool | None = None


class RadioRegistered(Event, frozen=True, kw_only=True, tag="radio_registered"):
    """The radio became reachable."""

    detail: str | None = None


class RadioDeregistered(Event, frozen=True, kw_only=True, tag="radio_deregistered"):
    """The radio said that it leaves."""

    detail: str | None = None


class StatusReceived(Event, frozen=True, kw_only=True, tag="status"):
    """A pre-coded status; what ``code`` means is the site's choice."""

    code: str
    talkgroup_id: str | None = None
    battery_pct: int | None = None
    rssi_dbm: float | None = None


class TextReceived(Event, frozen=True, kw_only=True, tag="text"):
    """A readable message; ``to`` is a radio id or a talkgroup where the peer gave one."""

    body: str
    to: str | None = None


class LinkChanged(Event, frozen=True, kw_only=True, tag="link_changed"):
    """A link changed its state; ``why`` is for the technician."""

    state: LinkState
    since: Instant
    why: str | None = None


class CommandQueued(Event, frozen=True, kw_only=True, tag="command_queued"):
    """Somebody asked a radio for something; the event's id is the command's id.

    It waits for the radio until ``expires_at`` at most. ``link_id`` and ``driver`` are absent.
    ``body`` belongs to a text, ``every_s`` and ``for_s`` to a track.
    """

    verb: CommandVerb
    by: str
    expires_at: Instant
    body: str | None = None
    every_s: int | None = None
    for_s: int | None = None


class CommandSent(Event, frozen=True, kw_only=True, tag="command_sent"):
    """The command ``command_id`` goes out over ``link_id`` now; written before its first byte."""

    command_id: EventId
    verb: CommandVerb


class CommandEnded(Event, frozen=True, kw_only=True, tag="command_ended"):
    """The one end of the command ``command_id``.

    ``delivered``: the far end confirmed it, or gave what was asked for. ``refused``: it cannot be
    done, ``why`` says what is in the way; one that was never queued has this event alone.
    ``timed_out``: it went out and nothing came back. ``expired``: the radio was not there in time,
    nothing went out.
    """

    command_id: EventId
    verb: CommandVerb
    by: str
    result: CommandResult
    why: str | None = None


RadioEvent = (
    PositionFix
    | EmergencyRaised
    | EmergencyEnded
    | RadioRegistered
    | RadioDeregistered
    | StatusReceived
    | TextReceived
)
CommandEvent = CommandQueued | CommandSent | CommandEnded
AnyEvent = RadioEvent | EmergencyTaken | EmergencyClosed | LinkChanged | CommandEvent
COMMAND_EVENTS = (CommandQueued, CommandSent, CommandEnded)
EMERGENCY_EVENTS = (EmergencyRaised, EmergencyEnded, EmergencyTaken, EmergencyClosed)


def _encode_hook(value: Any) -> str:
    if isinstance(value, Instant):
        return value.text()
    raise NotImplementedError(f"{type(value)!r} has no JSON form in the contract")


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is Instant:
        return Instant.parse(value)
    raise NotImplementedError(f"{kind!r} has no JSON form in the contract")


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_hook)
_DECODER = msgspec.json.Decoder(AnyEvent, dec_hook=_decode_hook)


def to_json(value: Any) -> bytes:
    """Encode an event, or any struct made of the model's types, as the contract's UTF-8 JSON."""
    return _ENCODER.encode(value)


def to_builtins(value: Any) -> Any:
    """The same as plain dictionaries and lists, for a part of something larger."""
    return msgspec.to_builtins(value, enc_hook=_encode_hook)


def event_from_json(data: bytes) -> AnyEvent:
    """Decode one event; raises msgspec.ValidationError for what is not an event of the contract."""
    event: AnyEvent = _DECODER.decode(data)
    return event


T = TypeVar("T")


def struct_from_json(data: bytes, kind: type[T]) -> T:
    """Decode any struct made of the model's types."""
    return msgspec.json.decode(data, type=kind, dec_hook=_decode_hook)
