"""An emulated MOTOTRBO radio's location: at intervals by itself, when asked, and when tracked."""

from collections.abc import Sequence

from drivers.api import Moment
from drivers.motorola.mbxml import (
    INTERVAL,
    LATITUDE_SIGN,
    LATITUDE_STEP,
    LONGITUDE_STEP,
    NO_GPS,
    PERIODIC,
    Bytes,
    Kind,
    pack,
    read_document,
    uintvar,
)
from drivers.wire import WireError
from hil_tests.devices.parts import HasNoButton, HasPlace

OWN_REQUEST = 0xC0000000  # of reports that nobody asked for
CIRCLE, COURSE, SPEED, RESULT, SUCCESS = 0x51, 0x56, 0x6C, 0x37, 0x38
RADIUS_M = 5
STEPS = 128  # of a fraction of one byte


class MotoLrrpDevice(HasNoButton, HasPlace):
    """A radio with a number; ``every_s`` is the time between reports of its own."""

    no_button = "LRRP carries no emergency that is known"

    def __init__(self, number: int = 11, *, every_s: float = 10.0) -> None:
        self.number = number
        self.tracked_every_s = 0  # while it is tracked
        self._tracking: int | None = None
        self._track_due = 0.0
        self._every_s = every_s
        self._due = 0.0
        self._out: list[bytes] = []

    @property
    def name(self) -> str:
        """For people."""
        return f"MOTOTRBO radio {self.number}, location"

    def receive(self, data: bytes, now: Moment) -> None:
        """A request of the gateway."""
        try:
            document = read_document(data)
            reader = document.tokens
            reader.u8()
            request_id = int.from_bytes(reader.take(reader.u8()), "big")
        except WireError:
            return
        if document.kind == Kind.IMMEDIATE_REQUEST:
            self._report(Kind.IMMEDIATE_REPORT, request_id)
        elif document.kind == Kind.TRIGGERED_REQUEST:
            self._track(request_id, reader, now)
        elif document.kind == Kind.STOP_REQUEST:
            self._tracking, self.tracked_every_s = None, 0
            self._out.append(pack(Kind.STOP_ANSWER, request_id, bytes((SUCCESS,))))

    def tick(self, now: Moment) -> None:
        """Report what is due."""
        if now.mono >= self._due:
            self._due = now.mono + self._every_s
            self._report(Kind.UNSOLICITED_REPORT, OWN_REQUEST)
        if self._tracking is not None and now.mono >= self._track_due:
            self._track_due = now.mono + self.tracked_every_s
            self._report(Kind.TRIGGERED_REPORT, self._tracking)

    def outgoing(self) -> Sequence[bytes]:
        """Datagrams since the last call."""
        out, self._out = self._out, []
        return out

    def _track(self, request_id: int, reader: Bytes, now: Moment) -> None:
        _, _, interval = reader.take(len(reader.data) - reader.at).rpartition(
            bytes((PERIODIC, INTERVAL))
        )
        self._tracking, self.tracked_every_s = request_id, Bytes(interval).uintvar()
        self._track_due = now.mono + self.tracked_every_s
        self._out.append(pack(Kind.TRIGGERED_ANSWER, request_id, bytes((SUCCESS,))))

    def _report(self, kind: Kind, request_id: int) -> None:
        if self._place is None:
            self._out.append(pack(kind, request_id, bytes((RESULT,)) + uintvar(NO_GPS)))
            return
        lat_deg, lon_deg = self._place
        lat = round(abs(lat_deg) / LATITUDE_STEP) | (LATITUDE_SIGN if lat_deg < 0 else 0)
        lon = round(lon_deg / LONGITUDE_STEP) & 0xFFFFFFFF
        whole, steps = divmod(round(self._speed_mps * STEPS), STEPS)
        tokens = bytes((CIRCLE,)) + lat.to_bytes(4, "big") + lon.to_bytes(4, "big")
        tokens += bytes((RADIUS_M, 0, SPEED)) + uintvar(whole) + bytes((steps,))
        tokens += bytes((COURSE, round(self._course_deg / 2) % 180))
        self._out.append(pack(kind, request_id, tokens))
