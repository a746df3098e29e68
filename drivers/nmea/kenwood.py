r"""Kenwood FleetSync, NEXEDGE, DMR and dPMR base radios: what they print about the units they hear.

::

    $PKLDS,122434,A,4954.1474,N,11923.6044,W,001.1,194.9,130223,19.20,W00,100,1001,80,00,*60
    $PKNSH,4954.1450,N,11923.6043,W,114400,A,U00002,*44
    <STX>I110040021004002<ETX>

The sentences share the framing of NMEA 0183 and are a dialect of its driver; there is no ``DRIVER``
here. A status is a number whose meaning the fleet has chosen, an emergency too: the settings say
which. The layouts are from implementations and their test data; the maker's papers are not public.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from drivers.api import Heard, Moment, Output, Report
from drivers.nmea.epochs import DAY_NS, nearest
from drivers.nmea.kenwood_sender import Sender
from drivers.nmea.sentences import (
    Fields,
    Place,
    course,
    need,
    not_negative,
    number,
    place_at,
    short_date,
    time_of_day,
)
from gateway.model.events import EmergencyKind, EmergencyRaised, PositionFix, StatusReceived
from gateway.model.identity import RadioId, radio_id
from gateway.model.quantities import NS_PER_S, Instant, knots_to_mps

STX = b"\x02"
LONGEST_PACKET = 256  # characters between STX and ETX; texts go up to about 100
SAME_BURST_S = (
    5.0  # plain sentences so soon after a unit's, with its time and place, are the unit's
)
TIME_OF_STATUS_NS = 300 * NS_PER_S  # between a fix of this moment and the receipt of its sentence
NEAR_DEG = 0.0002  # one hundredth of a minute, the coarsest that is printed
FACTORY_PLACE = (38.85555, -94.79903)  # what a GPS microphone prints before its first fix, with V
VALID = b"A"

UNVERIFIED = "the layout of the status message is not published"

_PACKET = re.compile(rb"\x02([\x20-\x7e]{1,%d})\x03" % LONGEST_PACKET)
_PACKET_SO_FAR = re.compile(rb"\x02[\x20-\x7e]{0,%d}\Z" % LONGEST_PACKET)
_FLEET = re.compile(rb"\d{3}\Z")
_UNIT_OF_FLEET = re.compile(rb"\d{4}\Z")
_UNIT = re.compile(rb"U?\d{1,9}\Z")
_STATUS = re.compile(rb"[0-9A-Za-z]{0,8}\Z")
_NAME = re.compile(rb"[A-Za-z0-9_-]{1,64}\Z")
_CALLER = re.compile(rb"(?:I[01](\d{3})(\d{4})\d{7}|D(\d{3})(\d{4})|gI[01](U\d{5})U\d{5})\Z")
_STATUS_MESSAGE = re.compile(rb"xE([U\d]\d{8})[U\d]\d{8}(\d{1,8})\Z")
_RECEIPT = re.compile(rb"[01]\Z")
# An echo of what was sent to the radio: texts, polls.
_OF_NO_USE = re.compile(rb"(?:[FG]\d{7}.*|g[FG]U\d{5}.*|R3\d{7}|gR3U\d{5})\Z")


class Told(NamedTuple):
    """What one sentence says about one unit; ``has_fix`` where it is about its position at all."""

    unit: str
    status: str = ""
    has_fix: bool = False
    is_valid: bool = False
    time_ns: int | None = None
    date: int | None = None
    place: Place | None = None
    speed_knots: float | None = None
    course_deg: float | None = None
    altitude_m: float | None = None


class Burst(NamedTuple):
    """The last position that was told, to know the same fix in the sentences that follow it."""

    radio: RadioId
    time_ns: int
    date: int | None
    place: Place | None
    mono: float


class Packet(NamedTuple):
    """What stood between STX and ETX: a packet, or a sentence."""

    text: bytes


class PacketReader:
    """Takes what stands between STX and ETX out of a stream; any split gives the same.

    An STX that no text and no ETX follow is a byte like any other.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Sequence[bytes | Packet]:
        """Take bytes; give those of which it is clear what they are, in order."""
        if not self._held and STX not in data:
            return (data,)
        text, self._held = self._held + data, b""
        found: list[bytes | Packet] = []
        begin = at = 0
        while (start := text.find(STX, at)) >= 0:
            at = start + 1
            packet = _PACKET.match(text, start)
            if packet:
                found += (text[begin:start], Packet(packet[1]))
                begin = at = packet.end()
            elif _PACKET_SO_FAR.match(text, start):
                self._held = text[start:]
                return (*found, text[begin:start])
        return (*found, text[begin:])

    def finish(self) -> bytes:
        """No more will come: give what is held."""
        held, self._held = self._held, b""
        return held


class Kenwood:
    """Turns sentences and packets into events; ``emergency_status`` are codes, as numbers."""

    def __init__(self, emergency_status: Iterable[int]) -> None:
        self._emergencies = frozenset(emergency_status)
        self._burst: Burst | None = None
        self.sender = Sender()

    def sentence(self, fields: Fields, now: Moment) -> Sequence[Output]:
        """The events of a sentence, none for one that is not Kenwood's.

        Raises ValueError for fields that are not those of the sentence.
        """
        reader = READERS.get(fields[0])
        if reader is None:
            return ()
        told = reader(fields)
        radio = radio_id("kenwood", told.unit)
        fix = self._fix(told, radio, now) if told.has_fix else None
        code = f"{fields[0].decode()} status {told.status}"
        reports = self._reports(radio, told.status, fix, code, now=now)
        return [*reports, *self.sender.placed(radio, now)] if fix is not None else reports

    def packet(self, text: bytes, now: Moment) -> Sequence[Output] | None:
        """What a packet says, or None for text that is none."""
        caller = _CALLER.match(text)
        if caller:
            return (Heard(radio_id("kenwood", b"-".join(filter(None, caller.groups())).decode())),)
        message = _STATUS_MESSAGE.match(text)
        if message:
            radio = radio_id("kenwood", message[1].decode())
            status = message[2].decode()
            return self._reports(
                radio, status, None, f"xE status {status}", now=now, doubt=UNVERIFIED
            )
        if _RECEIPT.match(text):
            return self.sender.receipt(is_positive=text == b"0", now=now)
        return () if _OF_NO_USE.match(text) else None

    def owner(self, fix: PositionFix, now: Moment) -> RadioId | None:
        """Whose fix a plain sentence repeats: that of the unit told of just before, or nobody's."""
        burst = self._burst
        if burst is None or burst.place is None or now.mono - burst.mono > SAME_BURST_S:
            return None
        if fix.fix_at is None or fix.fix_at % DAY_NS != burst.time_ns:
            return None
        is_there = _is_near((fix.lat_deg, fix.lon_deg), burst.place)
        return burst.radio if is_there else None

    def _fix(self, told: Told, radio: RadioId, now: Moment) -> PositionFix:
        fix_at = self._fix_at(told, radio, now)
        is_valid = told.is_valid and told.place is not None
        place = None if not is_valid and _is_empty(told.place) else told.place
        is_moving = is_valid and told.speed_knots is not None
        return PositionFix(
            radio_id=radio,
            fix_valid=is_valid,
            lat_deg=place[0] if place else None,
            lon_deg=place[1] if place else None,
            fix_at=fix_at,
            altitude_m=told.altitude_m if is_valid else None,
            speed_mps=knots_to_mps(told.speed_knots or 0.0) if is_moving else None,
            course_deg=told.course_deg if is_valid else None,
            trigger="request" if self.sender.has_polled(radio) else "unknown",
        )

    def _fix_at(self, told: Told, radio: RadioId, now: Moment) -> Instant | None:
        """The instant; a short sentence has the date of the long one before it."""
        if told.time_ns is None:
            return None
        date, burst = told.date, self._burst
        if date is None and burst and (burst.radio, burst.time_ns) == (radio, told.time_ns):
            date = burst.date
        self._burst = Burst(radio, told.time_ns, date, told.place, now.mono)
        if date is None:
            return nearest(told.time_ns, now.at)
        return Instant(date * DAY_NS + told.time_ns)

    def _reports(
        self,
        radio: RadioId,
        status: str,
        fix: PositionFix | None,
        raw_code: str,
        *,
        now: Moment,
        doubt: str | None = None,
    ) -> list[Output]:
        """An emergency before the place, a status behind it."""
        outputs: list[Output] = []
        is_emergency = status.isdigit() and int(status) in self._emergencies
        same_as = mark_of_status(status, fix, now.at)
        if is_emergency:
            alarm = EmergencyRaised(
                radio_id=radio,
                kind="alarm",
                raw_code=raw_code,
                fix=fix.place() if fix and fix.fix_valid else None,
                is_drill=False,
                verified=doubt is None,
                doubt=doubt,
            )
            outputs.append(Report(alarm, same_as=same_as))
        if fix is not None:
            outputs.append(Report(fix, same_as=same_fix(fix)))
        if status and not is_emergency:
            # Another status ends the emergency, where the settings say which status is one.
            calm: tuple[EmergencyKind, ...] = (
                ("alarm",) if self._emergencies and doubt is None else ()
            )
            told = StatusReceived(radio_id=radio, code=status)
            outputs.append(Report(told, same_as=same_as, calm=calm))
        return outputs


def mark_of_status(status: str, fix: PositionFix | None, received_at: Instant) -> str | None:
    """The time of a fix of this moment names the sentence; None where there is none.

    A sentence that is not valid has the time of the last known fix: the same one for every press of
    a unit that stands indoors. So has one whose receiver stands still.
    """
    if fix is None or not fix.fix_valid or fix.fix_at is None:
        return None
    if abs(fix.fix_at - received_at) > TIME_OF_STATUS_NS:
        return None
    return f"{fix.fix_at} {status}"


def same_fix(fix: PositionFix) -> str | None:
    """What two reports of one fix have in common, None for one without a time."""
    return None if fix.fix_at is None else f"{fix.fix_at} {fix.lat_deg} {fix.lon_deg}"


def _is_near(place: tuple[float | None, float | None], other: Place) -> bool:
    lat_deg, lon_deg = place
    if lat_deg is None or lon_deg is None:
        return False
    return abs(lat_deg - other[0]) <= NEAR_DEG and abs(lon_deg - other[1]) <= NEAR_DEG


def _is_empty(place: Place | None) -> bool:
    """True for no place, and for what stands in its fields before there was any."""
    return place is None or _is_near(place, FACTORY_PLACE) or place == (0.0, 0.0)


# --- sentences ------------------------------------------------------------------------------------


def read_short(fields: Fields) -> Told:
    """PKLSH, PKNSH: 1-4 place, 5 time, 6 validity, 7 unit (PKLSH: fleet and unit)."""
    unit, _ = _unit(fields, 7)
    is_valid = fields[6] == VALID
    return Told(
        unit=unit,
        has_fix=True,
        is_valid=is_valid,
        time_ns=time_of_day(fields[5]),
        place=_place(fields, 1, is_valid=is_valid),
    )


def read_long(fields: Fields) -> Told:
    """PKLDS, PKNDS: 1-9 fix, 10 variation, 11 its side and a version, 12 unit, status, extension.

    PKLDS has fleet and unit, 12 and 13, and everything behind them one field later.
    """
    unit, behind = _unit(fields, 12)
    return _long_fix(fields, unit, _status(fields, behind))


def read_id(fields: Fields) -> Told:
    """PKLID, PKNID: 1 version, 2 unit (PKLID: fleet and unit), status, extension."""
    unit, behind = _unit(fields, 2)
    return Told(unit=unit, status=_status(fields, behind))


def read_waypoint(fields: Fields) -> Told:
    """PKWDWPL of APRS radios: as PKLDS up to 9, 10 altitude, 11 name, 12 symbol."""
    need(fields, 12)
    if not _NAME.match(fields[11]):
        raise ValueError(f"name {fields[11][:64]!r} is not letters, digits, '-' and '_'")
    return _long_fix(fields, fields[11].decode())._replace(altitude_m=number(fields[10]))


READERS: dict[bytes, Callable[[Fields], Told]] = {
    b"PKLSH": read_short,
    b"PKNSH": read_short,
    b"PKLDS": read_long,
    b"PKNDS": read_long,
    b"PKLID": read_id,
    b"PKNID": read_id,
    b"PKWDWPL": read_waypoint,
}


def _long_fix(fields: Fields, unit: str, status: str = "") -> Told:
    """1 time, 2 validity, 3-6 place, 7 knots, 8 course, 9 ddmmyy."""
    is_valid = fields[2] == VALID
    return Told(
        unit=unit,
        status=status,
        has_fix=True,
        is_valid=is_valid,
        time_ns=time_of_day(fields[1]),
        date=short_date(fields[9]),
        place=_place(fields, 3, is_valid=is_valid),
        speed_knots=not_negative(fields[7]),
        course_deg=course(fields[8]),
    )


def _unit(fields: Fields, index: int) -> tuple[str, int]:
    """The unit that stands at ``index``, and the index behind it."""
    if fields[0].startswith(b"PKL"):
        need(fields, index + 2)
        fleet, unit = fields[index : index + 2]
        if not _FLEET.match(fleet) or not _UNIT_OF_FLEET.match(unit):
            raise ValueError(f"{fleet[:8]!r}, {unit[:8]!r} are no fleet and unit")
        return f"{fleet.decode()}-{unit.decode()}", index + 2
    need(fields, index + 1)
    unit = fields[index]
    if not _UNIT.match(unit):
        raise ValueError(f"{unit[:16]!r} is no unit")
    return unit.decode(), index + 1


def _status(fields: Fields, index: int) -> str:
    status = fields[index] if len(fields) > index else b""
    if not _STATUS.match(status):
        raise ValueError(f"{status[:16]!r} is no status")
    return status.decode()


def _place(fields: Fields, index: int, *, is_valid: bool) -> Place | None:
    """The place; one that is not valid and cannot be read is no reason to refuse the sentence."""
    try:
        return place_at(fields, index)
    except ValueError:
        if is_valid:
            raise
        return None
