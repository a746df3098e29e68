"""MOTOTRBO location (LRRP), UDP port 4001: where radios are, when asked, at intervals, by itself.

The radio answers requests by their number. Nothing acknowledges a report, and a lost one is lost. A
tracking is stopped when its time is over; a radio goes on until then even where nobody hears it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from drivers.api import (
    Command,
    Driver,
    Handles,
    Heard,
    Moment,
    Outcome,
    Output,
    Reject,
    Report,
    Transport,
    Verb,
)
from drivers.motorola.mbxml import (
    DUPLICATE,
    GPS_STARTS,
    NO_GPS,
    REPORTS,
    RESULTS,
    Answer,
    Bytes,
    Document,
    Kind,
    locate,
    read_answer,
    read_document,
    stop,
    track,
)
from drivers.motorola.peer import RADIO_NETWORKS, MotoOptions
from drivers.motorola.service import RadioService, heard_on, refused
from drivers.wire import Field, WireError
from gateway.model.events import PositionFix, Trigger
from gateway.model.quantities import NS_PER_S

PORT = 4001  # of the radios
MAX_FRAME = 1024  # bytes; a report has 30
REQUEST_IDS = 1 << 32
REQUEST_ID_BYTES = 4
FULL_CIRCLE_DEG = 360
LONGEST_EVERY_S = 86_400
ANSWERS_TO = {
    Kind.IMMEDIATE_REPORT: Kind.IMMEDIATE_REQUEST,
    Kind.TRIGGERED_ANSWER: Kind.TRIGGERED_REQUEST,
    Kind.STOP_ANSWER: Kind.STOP_REQUEST,
}


class LrrpOptions(MotoOptions, frozen=True, kw_only=True):
    """Options of a link with this driver."""


class Tracking(NamedTuple):
    """What a radio was asked for at intervals, and when it shall stop."""

    request_id: int
    end_mono: float


class LrrpCodec(RadioService[LrrpOptions]):
    """One radio; see the module's docstring."""

    def __init__(self, options: LrrpOptions, link_id: str) -> None:
        super().__init__(options, link_id)
        self._request_id: int | None = None
        self._tracking: Tracking | None = None

    def next_deadline(self) -> float | None:
        """When a request goes out again, or a tracking ends."""
        deadlines = [super().next_deadline(), self._tracking and self._tracking.end_mono]
        return min((each for each in deadlines if each is not None), default=None)

    def expire(self, now: Moment) -> Sequence[Output]:
        """Ask again; end a tracking whose time is over."""
        if self._tracking is not None and self._tracking.end_mono <= now.mono:
            self._stop(now)
        return super().expire(now)

    def _read(self, data: bytes, now: Moment) -> Sequence[Output]:
        del now
        document = read_document(data)
        if document.kind in REPORTS or document.kind in ANSWERS_TO:
            return self._answered(document, data)
        return [Heard(self._radio)]

    def _ask(self, command: Command, now: Moment) -> Sequence[Output]:
        """Where is the radio, once or at intervals?"""
        request_id = self._next_request_id(now)
        if command.verb is Verb.LOCATE:
            frame, kind = locate(request_id), Kind.IMMEDIATE_REQUEST
        elif 1 <= command.every_s <= LONGEST_EVERY_S and command.for_s > 0:
            self._stop(now)  # one tracking at a time
            frame, kind = track(request_id, command.every_s), Kind.TRIGGERED_REQUEST
            self._tracking = Tracking(request_id, now.mono + command.for_s)
        else:
            return refused(
                command, f"every {command.every_s} s for {command.for_s} s cannot be asked for"
            )
        return self._question(_key(kind, request_id), frame, command, now)

    def _answered(self, document: Document, data: bytes) -> Sequence[Output]:
        answer = read_answer(document)
        outcomes = self._outcomes(document.kind, answer)
        if document.kind not in REPORTS:
            return [Heard(self._radio), *outcomes]
        if answer.lat_deg is None and not answer.is_whole:
            return [Reject("token", "a token that is not known before any place", data), *outcomes]
        if answer.result is not None and answer.result not in {NO_GPS, GPS_STARTS}:
            return [Heard(self._radio), *outcomes]
        return [Report(self._fix(document.kind, answer)), *outcomes]

    def _outcomes(self, kind: int, answer: Answer) -> list[Outcome]:
        """What becomes of the request that this answers."""
        request = ANSWERS_TO.get(Kind(kind))
        if request is None or answer.request_id is None:
            return []
        if len(answer.request_id) != REQUEST_ID_BYTES:
            return []
        request_id = int.from_bytes(answer.request_id, "big")
        key = _key(request, request_id)
        if answer.result is None:
            return self._asks.answered(key)
        if answer.result == DUPLICATE and self._asks.sends(key) > 1:
            return self._asks.answered(key)  # the radio had it from the first time
        if self._tracking is not None and self._tracking.request_id == request_id:
            self._tracking = None
        return self._asks.answered(key, _why(answer))

    def _fix(self, kind: int, answer: Answer) -> PositionFix:
        trigger = self._trigger(kind, answer)
        if answer.lat_deg is None:
            return PositionFix(
                radio_id=self._radio, fix_valid=False, fix_at=answer.at, trigger=trigger
            )
        course_deg = answer.course_deg
        return PositionFix(
            radio_id=self._radio,
            fix_valid=True,
            lat_deg=answer.lat_deg,
            lon_deg=answer.lon_deg,
            fix_at=answer.at,
            altitude_m=answer.altitude_m,
            speed_mps=answer.speed_mps,
            course_deg=course_deg % FULL_CIRCLE_DEG
            if course_deg is not None and course_deg <= FULL_CIRCLE_DEG
            else None,
            accuracy_m=answer.accuracy_m,
            trigger=trigger,
        )

    def _trigger(self, kind: int, answer: Answer) -> Trigger:
        if kind == Kind.IMMEDIATE_REPORT:
            return "request"
        if self._tracking is None or answer.request_id is None:
            return "unknown"
        is_ours = int.from_bytes(answer.request_id, "big") == self._tracking.request_id
        return "time" if is_ours else "unknown"

    def _stop(self, now: Moment) -> None:
        tracking, self._tracking = self._tracking, None
        if tracking is not None:
            key = _key(Kind.STOP_REQUEST, tracking.request_id)
            self._asks.ask(key, stop(tracking.request_id), now)

    def _next_request_id(self, now: Moment) -> int:
        """Begins with the time: a radio may still know the numbers from before a restart."""
        if self._request_id is None:
            self._request_id = (now.at // NS_PER_S) % REQUEST_IDS
        self._request_id = (self._request_id + 1) % REQUEST_IDS
        return self._request_id


def _key(kind: Kind, request_id: int) -> int:
    return kind << 32 | request_id


def _why(answer: Answer) -> str:
    code = answer.result or 0
    text = "".join(c for c in answer.text.decode("ascii", "ignore") if c.isprintable())
    return f"result {code:02X}h: {RESULTS.get(code) or text or 'not known'}"


def explain(data: bytes) -> Sequence[Field]:
    """The tokens of one document."""
    rows: list[Field] = []
    try:
        reader = Bytes(data)
        names = {kind.value: kind.name.lower().replace("_", " ") for kind in Kind}
        own_id = reader.u8()
        rows.append(Field("0", data[:1].hex(), "document", names.get(own_id | 1, "not known")))
        length = reader.uintvar()
        rows.append(Field("1", data[1 : reader.at].hex(), "length", str(length)))
        document = read_document(data)
        if document.kind in REPORTS or document.kind in ANSWERS_TO:
            read_answer(document, rows)
        else:
            rows.append(Field(str(document.tokens.at), data[document.tokens.at :].hex(), "tokens"))
    except WireError as error:
        if not rows or not rows[-1].problem:
            rows.append(Field("-", data.hex(), "document", "", str(error)))
    return rows


EXAMPLE = """\
[[link]]
id = "mototrbo-lrrp"
transport = "udp"
driver = "moto_lrrp"
listen = "192.168.10.2:4001"     # this computer's address on the control station's USB network
allow = ["12.0.0.0/8"]           # the radios
peer_idle_s = 14400.0            # longer than a registration holds
silent_after_s = 3600.0          # radios that are asked for nothing say nothing

[link.options]
radio_network = 12               # the first octet of the radios' addresses
"""

DRIVER = Driver(
    name="moto_lrrp",
    title="MOTOTRBO location (LRRP)",
    title_zh="摩托罗拉 MOTOTRBO 定位（LRRP）",
    spec="LRRP with MBXML, from published implementations and their samples",
    transports=frozenset({Transport.UDP, Transport.REPLAY}),
    options=LrrpOptions,
    codec=LrrpCodec,
    max_frame=MAX_FRAME,
    networks=RADIO_NETWORKS,
    commands=frozenset({Verb.LOCATE, Verb.TRACK}),
    explain=explain,
    place_of=heard_on(PORT),
    grade="silver",
    handles=(
        Handles("07 immediate report", "answer to a request", "position_fix", "published 2"),
        Handles("0D triggered report", "at intervals", "position_fix", "published 13"),
        Handles("13 unsolicited report", "by the radio itself", "position_fix", "published 2"),
        Handles("0B, 11 answers", "a request is granted, or not", "outcome", "published 1"),
        Handles("05 immediate request", "where are you now?", "sent", "published 2"),
        Handles("09 triggered request", "again and again", "sent", "published 1"),
        Handles("0F stop request", "no more", "sent", "published 1"),
        Handles("15 version", "not read", "alive", "one source"),
    ),
    refuses=(
        Handles("layout", "a length, a number or a token that does not fit"),
        Handles("token", "a token that is not known before any place"),
    ),
    wiring=(
        "A control-station radio on USB (its network 192.168.10.0/24) or a repeater's network; "
        "route 12.0.0.0/8 to the control station. GPS must be on in the radios' programming."
    ),
    example=EXAMPLE,
)
