"""Epochs of a GNSS receiver: its sentences about one moment, gathered into one position."""

from collections.abc import Sequence
from typing import TypeVar

from drivers.api import Moment
from drivers.nmea.sentences import (
    AnySentence,
    Gga,
    Gll,
    Gns,
    Gsa,
    Gst,
    Placing,
    Rmc,
    Vtg,
    Zda,
    accuracy_m,
)
from gateway.model.events import PositionFix
from gateway.model.identity import RadioId
from gateway.model.quantities import NS_PER_S, Instant, kmh_to_mps, knots_to_mps

DAY_NS = 86_400 * NS_PER_S
ROLLOVER_NS = 1024 * 7 * DAY_NS  # the GPS week number has ten bits

T = TypeVar("T")


class Epoch:
    """What one receiver said about one moment."""

    def __init__(self, begun_mono: float) -> None:
        self.begun_mono = begun_mono
        self.time_ns: int | None = None  # of the UTC day
        self.date: int | None = None  # days since 1970-01-01
        self.rmc: Rmc | None = None
        self.gga: Gga | None = None
        self.gns: Gns | None = None
        self.gll: Gll | None = None
        self.vtg: Vtg | None = None
        self.gsa: Gsa | None = None
        self.gst: Gst | None = None
        self._combined: set[type[Placing]] = set()
        self._placed: set[bytes] = set()

    def has_room_for(self, address: bytes, sentence: AnySentence) -> bool:
        """False where ``sentence`` begins the next epoch.

        It does so when it has another time, or is the second claim of a fix under one address:
        receivers that fix five times a second and print whole seconds repeat their times.
        """
        time_ns = getattr(sentence, "time_ns", None)
        if time_ns is not None and self.time_ns is not None and time_ns != self.time_ns:
            return False
        return address not in self._placed

    def add(self, address: bytes, sentence: AnySentence) -> None:
        """Take a sentence in; what a combined talker (GN) said stands over what one system says."""
        if isinstance(sentence, Placing):
            self._placed.add(address)
            self.time_ns = sentence.time_ns if self.time_ns is None else self.time_ns
            self._claim(sentence, is_combined=address.startswith(b"GN"))
        elif isinstance(sentence, Zda | Gst):
            self.time_ns = sentence.time_ns if self.time_ns is None else self.time_ns
            if isinstance(sentence, Gst):
                self.gst = sentence
            elif sentence.date is not None:
                self.date = sentence.date
        elif isinstance(sentence, Vtg):
            self.vtg = sentence
        elif isinstance(sentence, Gsa):
            self.gsa = sentence

    def _claim(self, sentence: Placing, *, is_combined: bool) -> None:
        """Keep the better of two claims of a type: GN before single systems, valid before void."""
        kind = type(sentence)
        name = kind.__name__.lower()
        old: Placing | None = getattr(self, name)
        if old is not None and not is_combined:
            is_worse = kind in self._combined or (old.is_valid and not sentence.is_valid)
            if is_worse:
                return
        if is_combined:
            self._combined.add(kind)
        setattr(self, name, sentence)
        if isinstance(sentence, Rmc) and self.date is None:
            self.date = sentence.date

    def fix(self, radio: RadioId, fix_at: Instant | None) -> PositionFix | None:
        """The position that the sentences make together, or None where none spoke of a fix.

        Whether there is a fix is said by the first of RMC, GNS, GGA, GLL that came. RMC leads
        because its status is the receiver's own warning; the others only describe a solution.
        """
        claims = [one for one in (self.rmc, self.gns, self.gga, self.gll) if one is not None]
        if not claims:
            return None
        details = [one for one in (self.gns, self.gga) if one is not None]
        satellites = _first([one.satellites for one in details])
        place = _first([one.place for one in claims if one.is_valid])
        if not claims[0].is_valid or place is None:
            return PositionFix(
                radio_id=radio,
                fix_valid=False,
                fix_at=fix_at,
                satellites=satellites,
                trigger="time",
            )
        solved = [one for one in details if one.is_valid]
        speed_mps, course_deg = self._motion()
        gsa_hdop = self.gsa.hdop if self.gsa else None
        return PositionFix(
            radio_id=radio,
            fix_valid=True,
            lat_deg=place[0],
            lon_deg=place[1],
            fix_at=fix_at,
            altitude_m=_first([one.altitude_m for one in solved]),
            speed_mps=speed_mps,
            course_deg=course_deg,
            accuracy_m=accuracy_m(self.gst) if self.gst else None,
            satellites=satellites,
            hdop=_first([*[one.hdop for one in solved], gsa_hdop]),
            trigger="time",
        )

    def _motion(self) -> tuple[float | None, float | None]:
        """Speed in m/s and course in degrees: RMC's, and VTG's where RMC leaves them empty."""
        knots = kmh = course = None
        if self.vtg and self.vtg.mode != b"N":
            course, knots, kmh, _ = self.vtg
        if self.rmc and self.rmc.is_valid:
            course = self.rmc.course_deg if self.rmc.course_deg is not None else course
            knots = self.rmc.speed_knots if self.rmc.speed_knots is not None else knots
        if knots is not None:
            return knots_to_mps(knots), course
        return (kmh_to_mps(kmh) if kmh is not None else None), course


class Receiver:
    """One source on the link: its number, its epoch in progress and its last known instant."""

    def __init__(self, radio: RadioId) -> None:
        self.radio = radio
        self.epoch: Epoch | None = None
        self._known: Moment | None = None  # the last instant with a date of its own, and when

    def fix_at(self, epoch: Epoch, now: Moment, *, fix_week_rollover: bool) -> Instant | None:
        """When the epoch was: its own date, or the day that fits the time of day best."""
        if epoch.time_ns is None:
            return None
        if epoch.date is not None:
            instant = Instant(epoch.date * DAY_NS + epoch.time_ns)
            if fix_week_rollover:
                instant = unrolled(instant, now.at)
        elif self._known is not None:
            passed_ns = round((now.mono - self._known.mono) * NS_PER_S)
            instant = nearest(epoch.time_ns, Instant(self._known.at + passed_ns))
        else:
            return nearest(epoch.time_ns, now.at)
        self._known = Moment(now.mono, instant)
        return instant


def nearest(time_ns: int, to: Instant) -> Instant:
    """The instant with this time of day that is nearest to ``to``, half a day either way."""
    instant = to - to % DAY_NS + time_ns
    if instant - to > DAY_NS // 2:
        instant -= DAY_NS
    elif to - instant > DAY_NS // 2:
        instant += DAY_NS
    return Instant(instant)


def unrolled(instant: Instant, now: Instant) -> Instant:
    """``instant`` with its lost 1024 weeks put back, where that lands within a day of ``now``."""
    lost = round((now - instant) / ROLLOVER_NS)
    put_back = Instant(instant + lost * ROLLOVER_NS)
    return put_back if lost > 0 and abs(now - put_back) <= DAY_NS else instant


def _first(values: Sequence[T | None]) -> T | None:
    for value in values:
        if value is not None:
            return value
    return None
