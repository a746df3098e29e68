"""An emulated GNSS receiver: RMC, GGA, GSA, GSV and VTG once a second, as a module prints them."""

from collections.abc import Sequence

from drivers.api import Moment
from drivers.wire.sentences import write_place, write_sentence
from gateway.model.quantities import KNOT_MPS
from hil_tests.devices.parts import HasNoButton, HasPlace

IN_VIEW = (  # satellite, elevation, azimuth, strength
    (2, 62, 145, 44),
    (5, 38, 291, 41),
    (12, 17, 52, 33),
    (21, 71, 213, 46),
    (25, 24, 118, 37),
    (29, 9, 330, 28),
)


class Nmea0183Device(HasNoButton, HasPlace):
    """A receiver that stands where it is told; without a place it prints void sentences.

    ``talker`` is put before RMC, GGA, GSA and VTG (``GN`` mixed, ``BD`` BeiDou, ``GP`` GPS).
    ``every_s`` is the time between two reports.
    """

    no_button = "a GNSS receiver has no button to press"

    def __init__(self, *, talker: str = "GN", every_s: float = 1.0) -> None:
        self._talker = talker
        self._every_s = every_s
        self._next_mono: float | None = None
        self._outgoing: list[bytes] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"NMEA 0183 receiver ({self._talker})"

    def receive(self, data: bytes, now: Moment) -> None:
        """A receiver does not listen."""

    def tick(self, now: Moment) -> None:
        """Print a report when one is due; those missed in a pause are not made up for."""
        if self._next_mono is not None and now.mono < self._next_mono:
            return
        self._report(now)
        next_mono = (now.mono if self._next_mono is None else self._next_mono) + self._every_s
        self._next_mono = next_mono if next_mono > now.mono else now.mono + self._every_s

    def outgoing(self) -> Sequence[bytes]:
        """The sentences printed since the last call."""
        sentences, self._outgoing = self._outgoing, []
        return sentences

    def _report(self, now: Moment) -> None:
        at = now.at.datetime()
        time = f"{at:%H%M%S}.{at.microsecond // 1000:03d}"
        bodies = self._void(time, f"{at:%d%m%y}")
        if self._place is not None:
            bodies = self._placed(time, f"{at:%d%m%y}", *self._place)
        self._outgoing += [write_sentence(body) for body in bodies]

    def _void(self, time: str, date: str) -> list[str]:
        talker = self._talker
        return [
            f"{talker}RMC,{time},V,,,,,,,{date},,,N,V",
            f"{talker}GGA,{time},,,,,0,00,99.99,,,,,,",
            f"{talker}GSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99",
            "GPGSV,1,1,00",
            f"{talker}VTG,,,,,,,,,N",
        ]

    def _placed(self, time: str, date: str, lat_deg: float, lon_deg: float) -> list[str]:
        talker, knots = self._talker, self._speed_mps / KNOT_MPS
        place = write_place(lat_deg, lon_deg)
        course = f"{self._course_deg % 360:.2f}" if knots > 0 else ""
        used = ",".join(f"{satellite:02d}" for satellite, *_ in IN_VIEW)
        empty = "," * (12 - len(IN_VIEW))
        return [
            f"{talker}RMC,{time},A,{place},{knots:.3f},{course},{date},,,A,V",
            f"{talker}GGA,{time},{place},1,{len(IN_VIEW):02d},0.90,12.3,M,8.1,M,,",
            f"{talker}GSA,A,3,{used}{empty},1.60,0.90,1.30",
            *self._in_view(),
            f"{talker}VTG,{course},T,,M,{knots:.3f},N,{self._speed_mps * 3.6:.3f},K,A",
        ]

    @staticmethod
    def _in_view() -> list[str]:
        """GSV sentences of four satellites each."""
        groups = [IN_VIEW[index : index + 4] for index in range(0, len(IN_VIEW), 4)]
        return [
            f"GPGSV,{len(groups)},{number},{len(IN_VIEW):02d},"
            + ",".join(f"{sat:02d},{up:02d},{round_:03d},{snr}" for sat, up, round_, snr in group)
            for number, group in enumerate(groups, start=1)
        ]
