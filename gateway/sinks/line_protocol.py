"""InfluxDB line protocol by hand, and which event makes which points.

Tags are ``site``, ``team``, ``unit``, ``radio``, ``link`` and ``driver`` and nothing else, so the
number of series is bounded by the roster. Everything else is a field; a field always has the same
type. The time of a point comes from the event alone, so the same report written twice is one point.
"""

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice

import msgspec

from gateway.model.events import (
    AnyEvent,
    EmergencyClosed,
    EmergencyEnded,
    EmergencyRaised,
    EmergencyTaken,
    Event,
    LinkChanged,
    PositionFix,
    RadioDeregistered,
    RadioRegistered,
    StatusReceived,
)
from gateway.model.geo import gcj02_from_wgs84
from gateway.model.quantities import NS_PER_S, Instant

FieldValue = float | int | bool | str | None

TAG_KEYS = ("driver", "link", "radio", "site", "team", "unit")  # sorted, as InfluxDB wants them
INT64_MAX = 2**63 - 1
FIRST_NS, LAST_NS = -(2**63) + 2, 2**63 - 2  # what InfluxDB can store
GCJ_DIGITS = 7  # about a centimetre
MAX_TEXT = 4096  # characters of a string field
MAX_FIGURES = 2000  # fields of the gateway's own point; a channel of air time has some twenty

# Two events of one radio in the same nanosecond (one frame can raise two emergencies) must not be
# one point: each kind has its own place within a few nanoseconds.
KIND_NS = {"alarm": 0, "call": 1, "man_down": 2, "lone_worker": 3, "vehicle": 4}
ENDED_NS, TAKEN_NS, CLOSED_NS = 10, 20, 30
DEREGISTERED_NS, STATUS_NS = 1, 2

_TAG_UNSAFE = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", "\\": "/"})
_STRING_UNSAFE = str.maketrans({"\\": "\\\\", '"': '\\"'})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def line_of(event: AnyEvent) -> str | None:
    """The line of one event; None where there is nothing to write.

    Raises ValueError for what the protocol cannot carry.
    """
    if isinstance(event, PositionFix):
        at = event.fix_at if event.fix_at is not None else event.received_at
        return _line("position", event, _position_fields(event), at)
    if isinstance(event, LinkChanged):
        fields: dict[str, FieldValue] = {
            "state": event.state,
            "is_up": event.state == "up",
            "why": event.why,
            "event_id": event.event_id,
        }
        return _line("link", event, fields, event.received_at)
    if isinstance(event, EmergencyRaised | EmergencyEnded | EmergencyTaken | EmergencyClosed):
        fields, shift_ns = _emergency_fields(event)
        return _line("emergency", event, fields, Instant(event.received_at + shift_ns))
    status = _status_fields(event)
    if status is None:
        return None
    fields, shift_ns = status
    return _line("radio_status", event, fields, Instant(event.received_at + shift_ns))


def gateway_line(site: str, health: object, at: Instant) -> str | None:
    """The gateway's own point: every number and truth value of ``health``, nested names joined.

    Zeros too: a graph must come down again. At most ``MAX_FIGURES`` of them, in the order that they
    are given; None where there are none.
    """
    figures = dict(islice(_figures("", health), MAX_FIGURES))
    return line("gateway", {"site": site}, figures, at)


def line(
    measurement: str, tags: Mapping[str, str | None], fields: Mapping[str, FieldValue], at: Instant
) -> str | None:
    """One line; absent tags and fields are left out, None when no field is left.

    Raises ValueError when a whole number or the time has no room in 64 bits.
    """
    return _join(_series(measurement, tuple(tags.items())), fields, at)


def _line(
    measurement: str, event: Event, fields: Mapping[str, FieldValue], at: Instant
) -> str | None:
    return _join(_event_series(measurement, _tags(event)), fields, at)


def _join(series: str, fields: Mapping[str, FieldValue], at: Instant) -> str | None:
    if not FIRST_NS <= at <= LAST_NS:
        raise ValueError(f"time {int(at)} ns is not within what InfluxDB stores")
    written = [
        f"{name}={text}" for name, value in fields.items() if (text := _value(value)) is not None
    ]
    if not written:
        return None
    return f"{series} {','.join(written)} {int(at)}"


def _value(value: FieldValue) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -INT64_MAX <= value <= INT64_MAX:
            raise ValueError(f"{value} has no room in 64 bits")
        return f"{value}i"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    text = _CONTROL.sub(" ", value[:MAX_TEXT])
    return f'"{text.translate(_STRING_UNSAFE)}"'


# Series: measurement and tags, the same for every point of one radio.


def _tags(event: Event) -> tuple[str, ...]:
    """The values for ``TAG_KEYS``; "" for those that an event does not have."""
    return (
        event.driver,
        event.link_id,
        event.radio_id,
        event.site,
        event.team or "",
        event.unit_id or "",
    )


@lru_cache(maxsize=8192)
def _event_series(measurement: str, tags: tuple[str, ...]) -> str:
    return _series(measurement, tuple(zip(TAG_KEYS, tags, strict=True)))


def _series(measurement: str, tags: tuple[tuple[str, str | None], ...]) -> str:
    parts = [measurement]
    for key, value in tags:
        text = _tag(value or "")
        if text:
            parts.append(f"{key}={text}")
    return ",".join(parts)


def _tag(value: str) -> str:
    """Escape a tag; a backslash means different things to different servers and becomes a slash."""
    return _CONTROL.sub(" ", value).translate(_TAG_UNSAFE)


# Fields.


def _position_fields(fix: PositionFix) -> dict[str, FieldValue]:
    fields: dict[str, FieldValue] = {"fix_valid": fix.fix_valid}
    if fix.fix_valid:  # otherwise it is the last known one, of another time
        fields |= place_fields(fix.lat_deg, fix.lon_deg)
        fields |= {
            "altitude_m": real(fix.altitude_m),
            "speed_mps": real(fix.speed_mps),
            "course_deg": real(fix.course_deg),
            "accuracy_m": real(fix.accuracy_m),
        }
    fields |= {
        "satellites": fix.satellites,
        "hdop": real(fix.hdop),
        "battery_pct": fix.battery_pct,
        "rssi_dbm": real(fix.rssi_dbm),
        "odometer_m": real(fix.odometer_m),
        "trigger": fix.trigger,
        "event_id": fix.event_id,
    }
    if fix.fix_at is not None:
        fields["delay_s"] = (fix.received_at - fix.fix_at) / NS_PER_S
    return fields


def place_fields(lat_deg: float | None, lon_deg: float | None) -> dict[str, FieldValue]:
    """A place in both datums; nothing where there is none."""
    if lat_deg is None or lon_deg is None:
        return {}
    shifted = gcj02_from_wgs84(lat_deg, lon_deg)
    return {
        "lat": float(lat_deg),
        "lon": float(lon_deg),
        "lat_gcj": float(round(shifted.lat_deg, GCJ_DIGITS)),
        "lon_gcj": float(round(shifted.lon_deg, GCJ_DIGITS)),
    }


def real(value: float | None) -> float | None:
    """A field that is a float once must never be written as a whole number."""
    return None if value is None else float(value)


def _emergency_fields(
    event: EmergencyRaised | EmergencyEnded | EmergencyTaken | EmergencyClosed,
) -> tuple[dict[str, FieldValue], int]:
    """Fields, and the nanoseconds that keep events of one moment apart."""
    fields: dict[str, FieldValue] = {"event_id": event.event_id, "place": event.place}
    if isinstance(event, EmergencyTaken | EmergencyClosed):
        return fields | _act_fields(event), _ACT_NS[type(event)]
    fields |= {"kind": event.kind, "raw_code": event.raw_code}
    if isinstance(event, EmergencyEnded):
        fields |= {"event": "ended", "emergency_id": event.emergency_id}
        return fields, ENDED_NS + KIND_NS[event.kind]
    fields |= {
        "event": "raised",
        "emergency_id": event.event_id,
        "talkgroup_id": event.talkgroup_id,
        "is_drill": event.is_drill,
        "verified": event.verified,
        "doubt": event.doubt,
    }
    if event.fix is not None:
        fields |= place_fields(event.fix.lat_deg, event.fix.lon_deg)
        fields |= {"accuracy_m": real(event.fix.accuracy_m), "age_s": real(event.fix.age_s)}
    return fields, KIND_NS[event.kind]


_ACT_NS = {EmergencyTaken: TAKEN_NS, EmergencyClosed: CLOSED_NS}


def _act_fields(event: EmergencyTaken | EmergencyClosed) -> dict[str, FieldValue]:
    """What a person did, and how long after the press: numbers, so that a mean can be asked for."""
    age_s = event.received_at.seconds_since(event.raised_at) if event.raised_at else None
    fields: dict[str, FieldValue] = {
        "emergency_id": event.emergency_id,
        "by": event.by,
        "kind": event.kind,
        "is_drill": event.is_drill,
        # At once, for alerts; overwritten within seconds where the radio has another one open.
        "waiting_s": 0.0,
    }
    if isinstance(event, EmergencyTaken):
        # who takes over did not make the press wait: only the first has a time to take
        is_first = event.taken_from is None
        return fields | {"event": "taken", "take_s": age_s if is_first else None}
    return fields | {
        "event": "closed",
        "verdict": event.verdict,
        "close_s": age_s,
        # no share of false alarms counts a drill
        "false_alarm": None if event.verdict == "drill" else int(event.verdict == "false"),
        "open_count": 0,
    }


def _status_fields(event: Event) -> tuple[dict[str, FieldValue], int] | None:
    fields: dict[str, FieldValue] = {"event_id": event.event_id}
    if isinstance(event, RadioRegistered):
        return fields | {"is_registered": True, "detail": event.detail}, 0
    if isinstance(event, RadioDeregistered):
        return fields | {"is_registered": False, "detail": event.detail}, DEREGISTERED_NS
    if isinstance(event, StatusReceived):
        fields |= {
            "code": event.code,
            "battery_pct": event.battery_pct,
            "rssi_dbm": real(event.rssi_dbm),
        }
        return fields, STATUS_NS
    return None  # what people write to each other is not a time series


def field_name(text: str) -> str:
    """A reason or an id as part of a field's name."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", text)


def _figures(prefix: str, value: object) -> Iterator[tuple[str, FieldValue]]:
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = field_name(str(key))
            yield from _figures(f"{prefix}_{name}" if prefix else name, inner)
    elif isinstance(value, list):  # of structs whose first text is their name: sinks, channels
        for inner in value:
            facts = inner if isinstance(inner, Mapping) else msgspec.structs.asdict(inner)
            own = next((each for each in facts.values() if isinstance(each, str)), None)
            if own is not None:
                yield from _figures(prefix, {own: facts})
    elif isinstance(value, bool | int | float) and not isinstance(value, Instant) and prefix:
        yield prefix, value
