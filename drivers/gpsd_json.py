"""gpsd: the positions of the receivers that a gpsd serves, as JSON lines over TCP.

The codec asks for reports (WATCH) when the connection opens. One TPV is one position; satellites
and dilution of precision come from the last SKY of the same receiver. gpsd gathers a receiver's
sentences into epochs itself, so nothing waits here.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from drivers.api import CodecOptions, Driver, Handles, Moment, Output, Reject, Report, Transport
from drivers.wire import Field
from gateway.model.events import PositionFix
from gateway.model.identity import SLUG, RadioId, radio_id
from gateway.model.quantities import Instant

WATCH = b'?WATCH={"enable":true,"json":true};\n'
MAX_LINE = 16_384  # bytes; gpsd bounds its own lines at about 10,000
LINE_BEGINS = b'{"class":'
MOST_BEGINNINGS = 8  # of lines glued together, tried on one line
MAX_DEVICES = 256  # receivers kept apart; beyond that the oldest is forgotten
SKY_FRESH_S = 10.0  # satellites of so long ago still describe a fix
FLAT_FIX = 2  # TPV mode: 0 and 1 no fix, 2 without height, 3 with it
TEXT_SHOWN = 200  # characters of the peer's text in a Reject
LONGEST_NUMBER = 64  # characters of a receiver's number
FULL_CIRCLE_DEG = 360

_NOT_IN_NUMBER = re.compile(r"[^A-Za-z0-9_]+")


class GpsdOptions(CodecOptions, frozen=True, kw_only=True):
    """Options of a link with this driver.

    ``devices``: what receivers are called, by the path that gpsd knows them by:
    ``{"/dev/ttyUSB0" = "roof"}`` makes ``receiver:roof``. A receiver that is not named is called
    after the link while it is gpsd's only one, and after its path when there are several.
    """

    devices: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a name that cannot be a receiver's number."""
        for name in self.devices.values():
            if not SLUG.match(name):
                raise ValueError(f"devices: {name!r} is not letters, digits, '-' and '_'")


class Head(msgspec.Struct):
    """What every line has."""

    kind: str = msgspec.field(name="class")


class Tpv(msgspec.Struct):
    """Time, position, velocity: degrees WGS-84, metres, m/s, degrees from true north."""

    device: str = ""
    mode: int = 0
    time: str | float | None = None  # RFC 3339; releases before 3.0 wrote seconds
    lat: float | None = None
    lon: float | None = None
    alt_msl: float | None = msgspec.field(default=None, name="altMSL")
    alt: float | None = None  # the same in releases before 3.20
    speed: float | None = None
    track: float | None = None
    eph: float | None = None  # expected horizontal error
    epx: float | None = None  # the same along the parallel
    epy: float | None = None  # and along the meridian


class Satellite(msgspec.Struct):
    """One satellite of a SKY."""

    used: bool = False


class Sky(msgspec.Struct):
    """Satellites and dilution of precision."""

    device: str = ""
    hdop: float | None = None
    used: int | None = msgspec.field(default=None, name="uSat")
    satellites: tuple[Satellite, ...] | None = None


class Device(msgspec.Struct):
    """A receiver that gpsd knows; ``activated`` is missing or 0 where it does not listen to it."""

    path: str = ""
    activated: str | float | None = None


class Devices(msgspec.Struct):
    """All receivers that gpsd knows."""

    devices: tuple[Device, ...] = ()


class Watch(msgspec.Struct):
    """What gpsd will report."""

    enable: bool = True


class Error(msgspec.Struct):
    """gpsd does not take a request of ours."""

    message: str = ""


KEYS = {  # what the driver reads, and in which unit
    "class": "what the line is about",
    "device": "the receiver's path",
    "mode": "0, 1 no fix, 2 flat, 3 with height",
    "time": "UTC",
    "lat": "degrees WGS-84",
    "lon": "degrees WGS-84",
    "altMSL": "metres above mean sea level",
    "alt": "metres above mean sea level",
    "speed": "m/s",
    "track": "degrees from true north",
    "eph": "expected horizontal error, m",
    "epx": "expected error along the parallel, m",
    "epy": "expected error along the meridian, m",
    "hdop": "dilution of precision",
    "uSat": "satellites used",
    "satellites": "satellites in view",
    "devices": "receivers",
    "path": "the receiver's path",
    "activated": "since when; 0 when it is gone",
    "message": "what gpsd does not take",
}


class Seen(NamedTuple):
    """What the last SKY of a receiver said."""

    mono: float
    satellites: int | None
    hdop: float | None


T = TypeVar("T")


class GpsdCodec:
    """One connection to a gpsd; see the module's docstring."""

    def __init__(self, options: GpsdOptions, link_id: str) -> None:
        self._names = options.devices
        self._link_id = link_id
        self._rest = b""
        self._is_overrun = False
        self._known: dict[str, Seen | None] = {}  # receivers by path
        self._out: list[bytes] = [WATCH]
        self._readers: dict[str, Callable[[bytes, Moment], Sequence[Output]]] = {
            "TPV": self._tpv,
            "SKY": self._sky,
            "DEVICES": self._devices,
            "DEVICE": self._device,
            "WATCH": self._watch,
            "ERROR": self._error,
        }

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """Take any part of the stream."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        outputs: list[Output] = []
        for line in lines:
            outputs += self._line(line, now)
        if len(self._rest) > MAX_LINE:
            self._rest = self._rest[-MAX_LINE:]
            self._is_overrun = True
        return outputs

    def flush(self, now: Moment) -> Sequence[Output]:
        """No line end will come: give what the last line holds."""
        line, self._rest = self._rest, b""
        return self._line(line, now)

    def accept(self, receipt: int) -> None:
        """There is no acknowledgement."""

    def outgoing(self) -> Sequence[bytes]:
        """The request for reports, once."""
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        """Nothing is due by time."""
        return None

    def expire(self, now: Moment) -> Sequence[Output]:
        """Nothing is due by time."""
        del now
        return ()

    def _line(self, line: bytes, now: Moment) -> Sequence[Output]:
        is_overrun, self._is_overrun = self._is_overrun or len(line) > MAX_LINE, False
        if is_overrun:
            return (_reject("overrun", "a line without an end", line),)
        line = line.strip()
        if not line:
            return ()
        begin = line.find(LINE_BEGINS)
        if begin < 0:
            return (_reject("noise", "no JSON object of gpsd", line),)
        for _ in range(MOST_BEGINNINGS):
            text = line[begin:]
            try:
                kind = msgspec.json.decode(text, type=Head).kind
            except ValueError:  # not JSON, or not UTF-8
                begin = line.find(LINE_BEGINS, begin + 1)
                if begin < 0:
                    break
                continue
            return self._object(kind, text, now)
        return (_reject("json", "not a JSON object", line),)

    def _object(self, kind: str, text: bytes, now: Moment) -> Sequence[Output]:
        reader = self._readers.get(kind)
        if reader is None:
            return ()  # unknown is not invalid
        try:
            return reader(text, now)
        except ValueError as error:  # msgspec's errors are such
            return (_reject("fields", f"{kind}: {error}", text),)

    # --- classes ----------------------------------------------------------------------------------

    def _tpv(self, text: bytes, now: Moment) -> Sequence[Output]:
        tpv = msgspec.json.decode(text, type=Tpv)
        lat_deg = _within("lat", tpv.lat, 90)
        lon_deg = _within("lon", tpv.lon, 180)
        fix_at = Instant.parse(tpv.time) if isinstance(tpv.time, str) else None
        self._know(tpv.device)
        seen = self._known[tpv.device]
        if seen is not None and now.mono - seen.mono > SKY_FRESH_S:
            seen = None
        radio = self._radio(tpv.device)
        satellites = seen.satellites if seen else None
        if tpv.mode < FLAT_FIX or lat_deg is None or lon_deg is None:
            fix = PositionFix(
                radio_id=radio,
                fix_valid=False,
                fix_at=fix_at,
                satellites=satellites,
                trigger="time",
            )
        else:
            fix = PositionFix(
                radio_id=radio,
                fix_valid=True,
                lat_deg=lat_deg,
                lon_deg=lon_deg,
                fix_at=fix_at,
                altitude_m=tpv.alt if tpv.alt_msl is None else tpv.alt_msl,
                speed_mps=_not_negative("speed", tpv.speed),
                course_deg=_course(tpv.track),
                accuracy_m=_accuracy_m(tpv),
                satellites=satellites,
                hdop=seen.hdop if seen else None,
                trigger="time",
            )
        same_as = None if fix_at is None else f"{fix_at} {fix.lat_deg} {fix.lon_deg}"
        return (Report(fix, same_as=same_as),)

    def _sky(self, text: bytes, now: Moment) -> Sequence[Output]:
        sky = msgspec.json.decode(text, type=Sky)
        used = sky.used
        if used is None and sky.satellites is not None:
            used = sum(satellite.used for satellite in sky.satellites)
        self._know(sky.device)
        old = self._known[sky.device]
        hdop = _not_negative("hdop", sky.hdop)
        if old is not None:  # some receivers' SKY are about one of the two only
            used = old.satellites if used is None else used
            hdop = old.hdop if hdop is None else hdop
        self._known[sky.device] = Seen(now.mono, used, hdop)
        return ()

    def _devices(self, text: bytes, _now: Moment) -> Sequence[Output]:
        paths = [one.path for one in msgspec.json.decode(text, type=Devices).devices]
        self._known = {path: self._known.get(path) for path in paths[:MAX_DEVICES]}
        if paths:
            return ()
        return (_reject("no_receiver", "gpsd serves no receiver", text),)

    def _device(self, text: bytes, _now: Moment) -> Sequence[Output]:
        device = msgspec.json.decode(text, type=Device)
        if device.activated:
            self._know(device.path)
            return ()
        self._known.pop(device.path, None)
        return (_reject("no_receiver", f"gpsd has lost {device.path[:TEXT_SHOWN]!r}", text),)

    def _watch(self, text: bytes, _now: Moment) -> Sequence[Output]:
        if msgspec.json.decode(text, type=Watch).enable:
            return ()
        return (_reject("refused", "gpsd will not report", text),)

    def _error(self, text: bytes, _now: Moment) -> Sequence[Output]:
        message = msgspec.json.decode(text, type=Error).message
        return (_reject("refused", f"gpsd: {message[:TEXT_SHOWN]!r}", text),)

    # --- receivers --------------------------------------------------------------------------------

    def _know(self, path: str) -> None:
        if path in self._known:
            return
        if len(self._known) >= MAX_DEVICES:
            del self._known[next(iter(self._known))]
        self._known[path] = None

    def _radio(self, path: str) -> RadioId:
        name = self._names.get(path)
        if name is None and path and len(self._known) > 1:
            name = number_of_path(path)
        return radio_id("receiver", name or self._link_id)


def number_of_path(path: str) -> str:
    """A receiver's number from its path: ``/dev/ttyUSB0`` is ``ttyUSB0``; "" where nothing is left.

    The end of a long path is kept: it is what tells two receivers apart.
    """
    text = _NOT_IN_NUMBER.sub("-", path.removeprefix("/dev/")).strip("-")
    return text[-LONGEST_NUMBER:]


def _reject(reason: str, detail: str, data: bytes) -> Reject:
    return Reject(reason, detail, data[:MAX_LINE])


def _within(name: str, value: float | None, limit: int) -> float | None:
    if value is not None and not -limit <= value <= limit:
        raise ValueError(f"{name} {value} is not within {limit} degrees")
    return value


def _not_negative(name: str, value: float | None) -> float | None:
    if value is not None and value < 0:
        raise ValueError(f"{name} {value} is negative")
    return value


def _course(value: float | None) -> float | None:
    if value is None:
        return None
    if not 0 <= value <= FULL_CIRCLE_DEG:
        raise ValueError(f"track {value} is not 0 to 360")
    return value % FULL_CIRCLE_DEG


def _accuracy_m(tpv: Tpv) -> float | None:
    if tpv.eph is not None:
        return _not_negative("eph", tpv.eph)
    if tpv.epx is None or tpv.epy is None:
        return None
    return math.hypot(tpv.epx, tpv.epy)


def explain(data: bytes) -> Sequence[Field]:
    """The keys of one line; places are their names."""
    begin = data.find(LINE_BEGINS)
    if begin < 0:
        shown = data[:TEXT_SHOWN].decode("utf-8", "backslashreplace")
        return [Field("-", shown, "line", "", "no JSON object of gpsd")]
    try:
        keys = msgspec.json.decode(data[begin:].strip(), type=dict[str, msgspec.Raw])
    except ValueError as error:
        shown = data[begin:][:TEXT_SHOWN].decode("utf-8", "backslashreplace")
        return [Field("-", shown, "object", "", str(error))]
    rows = [
        Field(
            key, bytes(raw)[:TEXT_SHOWN].decode("utf-8", "backslashreplace"), key, KEYS.get(key, "")
        )
        for key, raw in keys.items()
    ]
    codec = GpsdCodec(GpsdOptions(), "explain")
    flaws = codec.receive(data[begin:].strip() + b"\n", Moment(0.0, Instant(0)))
    problems = [one.detail for one in flaws if isinstance(one, Reject)]
    return rows + [Field("-", "", "object", "", problem) for problem in problems]


DRIVER = Driver(
    name="gpsd_json",
    title="gpsd",
    title_zh="gpsd 定位服务",
    spec="gpsd JSON protocol 3 (gpsd_json(5)), releases 3.x",
    transports=frozenset({Transport.TCP_CLIENT, Transport.REPLAY}),
    options=GpsdOptions,
    codec=GpsdCodec,
    max_frame=MAX_LINE,
    speaks_first=True,
    explain=explain,
    grade="silver",
    handles=(
        Handles("TPV", "time, position, velocity", "position_fix", "captured"),
        Handles("SKY", "satellites, dilution of precision", "joins the next TPV", "captured"),
        Handles("DEVICES, DEVICE", "receivers that come and go", "their numbers", "captured"),
        Handles("WATCH", "what gpsd reports", "sent on opening", "captured"),
        Handles("ERROR", "a request that is not taken", "counted", "captured"),
        Handles("VERSION and other classes", "nothing about a place", "passed over", "captured"),
    ),
    refuses=(
        Handles("noise", "a line that is no JSON object"),
        Handles("json", "an object that is damaged"),
        Handles("fields", "an object whose fields are not those of its class"),
        Handles("overrun", f"a line longer than {MAX_LINE} bytes"),
        Handles("no_receiver", "gpsd serves none, or has lost one"),
        Handles("refused", "gpsd answers with an error, or will not report"),
    ),
    wiring="TCP to gpsd, port 2947; gpsd itself is wired to the receivers and knows their formats.",
    example="""\
[[link]]
id = "gnss-1"
transport = "tcp_client"
driver = "gpsd_json"
host = "127.0.0.1"
port = 2947
silent_after_s = 10.0    # a receiver that speaks every second and has been still so long is lost

[link.options.devices]   # only where gpsd serves several receivers
"/dev/ttyUSB0" = "roof"
"/dev/ttyUSB1" = "van-2"
""",
)
