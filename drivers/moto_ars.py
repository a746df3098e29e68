"""MOTOTRBO automatic registration (ARS), UDP port 4005: which radios are on the air.

A radio registers when it is switched on and again before its time is over, and says when it leaves.
A registration is answered when it is on disk; the radio repeats it until then. A query finds out
whether a radio is there.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec

from drivers.api import (
    Command,
    Driver,
    Handles,
    Heard,
    Moment,
    Output,
    Report,
    Transport,
    Verb,
)
from drivers.motorola.peer import RADIO_NETWORKS, MotoOptions, radio_named
from drivers.motorola.service import RadioService, heard_on
from drivers.wire import Field, WireError
from gateway.model.events import RadioDeregistered, RadioRegistered

PORT = 4005  # of the radios
MAX_FRAME = 512  # bytes; three texts of up to 255 would not fit, no radio has such
LENGTH_BYTES = 2
MORE, ACKNOWLEDGE, PRIORITY, CONTROL, TYPE = 0x80, 0x40, 0x20, 0x10, 0x0F
FAILURE = ACKNOWLEDGE  # of a response
PLAIN_TEXT = 0  # encoding of names
ENCODING = 0x1F
REFRESH_MIN = 30  # unit of the time for which a registration holds
MAX_DETAIL = 200


class Kind(IntEnum):
    """What a message is; the low nibble of its header."""

    REGISTER = 0x0
    DEREGISTER = 0x1
    QUERY = 0x4
    REGISTER_USER = 0x5
    DEREGISTER_USER = 0x6
    USER_RESPONSE = 0x7
    RESPONSE = 0xF


EVENTS = {0: "", 1: "initial", 2: "refresh"}
FAILURES = {
    0: "device not authorised",
    1: "user id invalid",
    2: "time-out",
    3: "transmission failure",
}
QUERY = bytes((0, 1, ACKNOWLEDGE | PRIORITY | CONTROL | Kind.QUERY))


class ArsOptions(MotoOptions, frozen=True, kw_only=True):
    """Options of a link with this driver.

    ``refresh_min``: for how long a registration holds, in minutes, in steps of 30; the radio
    registers again before.
    """

    refresh_min: Annotated[int, msgspec.Meta(ge=30, le=255 * REFRESH_MIN, multiple_of=30)] = 30


class Message(NamedTuple):
    """One datagram. ``kind`` is the low nibble as it stands, ``rest`` what follows the header."""

    header: int
    rest: bytes
    is_length_right: bool

    @property
    def kind(self) -> int:
        """What it is."""
        return self.header & TYPE


class Registration(NamedTuple):
    """What a radio says of itself."""

    event: int
    encoding: int
    device: bytes
    user: bytes
    password: bytes


def read_message(data: bytes) -> Message:
    """Header and rest; raises WireError.

    One byte more than declared is borne and left out: a captured radio sends so.
    """
    if len(data) <= LENGTH_BYTES:
        raise WireError(f"ARS: {len(data)} bytes, needs 3")
    declared, there = int.from_bytes(data[:LENGTH_BYTES], "big"), len(data) - LENGTH_BYTES
    if declared not in {there, there - 1}:
        raise WireError(f"ARS: length {declared}, and {there} bytes are there")
    whole = data[LENGTH_BYTES : LENGTH_BYTES + declared]
    if not whole:
        raise WireError("ARS: nothing behind the length")
    return Message(whole[0], whole[1:], declared == there)


def read_registration(rest: bytes, *, has_second: bool) -> Registration:
    """Second header, then device, user and password behind their lengths; raises WireError."""
    second, at = (rest[0], 1) if has_second and rest else (0, 0)
    texts: list[bytes] = []
    for name in ("device", "user", "password"):
        if at >= len(rest):
            raise WireError(f"ARS: the {name} is missing")
        end = at + 1 + rest[at]
        if end > len(rest):
            raise WireError(f"ARS: the {name} is cut")
        texts.append(rest[at + 1 : end])
        at = end
    if at != len(rest):
        raise WireError(f"ARS: {len(rest) - at} bytes behind the password")
    return Registration(second >> 5, second & ENCODING, *texts)


def response(kind: Kind, refresh_min: int) -> bytes:
    """A registration is granted for so long."""
    return bytes((0, 2, MORE | PRIORITY | CONTROL | kind, refresh_min // REFRESH_MIN))


class ArsCodec(RadioService[ArsOptions]):
    """One radio; see the module's docstring."""

    def __init__(self, options: ArsOptions, link_id: str) -> None:
        super().__init__(options, link_id)
        self._is_registered = False

    def _ask(self, command: Command, now: Moment) -> Sequence[Output]:
        """Is the radio there?"""
        return self._question(command.order, QUERY, command, now)

    def _read(self, data: bytes, now: Moment) -> Sequence[Output]:
        message = read_message(data)
        kind = message.kind
        if kind in {Kind.REGISTER, Kind.REGISTER_USER}:
            return self._register(message, data, now)
        if kind == Kind.DEREGISTER:
            self._recent.forget()
            self._is_registered = False
            return [Report(RadioDeregistered(radio_id=self._radio))]
        if kind == Kind.DEREGISTER_USER:  # a person has signed off, the radio stays on the air
            self._recent.forget()
            return [Heard(self._radio)]
        if kind == Kind.RESPONSE:
            return self._answered(message)
        return [Heard(self._radio)]

    def _register(self, message: Message, data: bytes, now: Moment) -> Sequence[Output]:
        said = read_registration(message.rest, has_second=bool(message.header & MORE))
        named = radio_named(_text(said.device))
        if not self._is_placed and named is not None:
            self._radio = named
        self._is_registered = True
        is_user = message.kind == Kind.REGISTER_USER
        answer = response(
            Kind.USER_RESPONSE if is_user else Kind.RESPONSE, self._options.refresh_min
        )
        event = RadioRegistered(radio_id=self._radio, detail=_detail(said))
        receipt = self._receipts.owe(answer) if message.header & ACKNOWLEDGE else None
        return [
            Report(event, receipt, self._recent.mark(data, now)),
            *self._asks.all_answered(),
        ]

    def _answered(self, message: Message) -> Sequence[Output]:
        """A radio that answers is there; one that was not known to be registered now is."""
        if message.header & FAILURE:
            reason = message.rest[0] if message.header & MORE and message.rest else None
            why = FAILURES.get(reason, "refused") if reason is not None else "refused"
            return [Heard(self._radio), *self._asks.all_answered(why)]
        outcomes = self._asks.all_answered()
        if self._is_registered:
            return [Heard(self._radio), *outcomes]
        self._is_registered = True
        event = RadioRegistered(radio_id=self._radio, detail="answered a query")
        return [Report(event), *outcomes]


def _text(data: bytes) -> str:
    """Names as radios write them; what is not text has no meaning here."""
    return "".join(char for char in data.decode("ascii", "ignore") if char.isprintable())


def _detail(said: Registration) -> str | None:
    if said.encoding != PLAIN_TEXT:
        return None
    parts = [
        EVENTS.get(said.event, ""),
        f"device {_text(said.device)}" if said.device else "",
        f"user {_text(said.user)}" if said.user else "",
    ]
    return ", ".join(part for part in parts if part)[:MAX_DETAIL] or None


def explain(data: bytes) -> Sequence[Field]:
    """The fields of one datagram."""
    rows = [Field("0-1", data[:2].hex(), "length", str(int.from_bytes(data[:2], "big")))]
    try:
        message = read_message(data)
        names = {kind.value: kind.name.lower() for kind in Kind}
        kind = names.get(message.kind, "unknown")
        flags = [
            name
            for bit, name in (
                (MORE, "more"), (ACKNOWLEDGE, "acknowledge"), (PRIORITY, "priority"),
                (CONTROL, "control"),
            )
            if message.header & bit
        ]  # fmt: skip
        rows.append(Field("2", data[2:3].hex(), "header", " ".join([kind, *flags])))
        if message.kind in {Kind.REGISTER, Kind.REGISTER_USER}:
            said = read_registration(message.rest, has_second=bool(message.header & MORE))
            event = EVENTS.get(said.event, "unknown") or "none"
            rows += [
                Field("3", data[3:4].hex(), "second header", f"event {event}"),
                Field("4", said.device.hex(), "device", _text(said.device)),
                Field("", said.user.hex(), "user", _text(said.user)),
                Field("", "", "password", f"{len(said.password)} bytes, not shown"),
            ]
        elif message.rest:
            rows.append(Field("3", message.rest.hex(), "rest"))
    except WireError as error:
        rows.append(Field("-", data.hex(), "message", "", str(error)))
    return rows


EXAMPLE = """\
[[link]]
id = "mototrbo-ars"
transport = "udp"
driver = "moto_ars"
listen = "192.168.10.2:4005"     # this computer's address on the control station's USB network
allow = ["12.0.0.0/8"]           # the radios
peer_idle_s = 14400.0            # longer than a registration holds
silent_after_s = 7200.0          # radios that have nothing to say are silent for hours

[link.options]
radio_network = 12               # the first octet of the radios' addresses
refresh_min = 30                 # minutes until a radio must register again
"""

DRIVER = Driver(
    name="moto_ars",
    title="MOTOTRBO automatic registration (ARS)",
    title_zh="摩托罗拉 MOTOTRBO 自动注册（ARS）",
    spec="ARS, from published implementations and their samples",
    transports=frozenset({Transport.UDP, Transport.REPLAY}),
    options=ArsOptions,
    codec=ArsCodec,
    max_frame=MAX_FRAME,
    networks=RADIO_NETWORKS,
    has_receipts=True,
    commands=frozenset({Verb.CHECK}),
    explain=explain,
    place_of=heard_on(PORT),
    grade="silver",
    handles=(
        Handles("0 registration", "a radio is on the air", "radio_registered; BF", "published 2"),
        Handles("1 de-registration", "a radio leaves", "radio_deregistered", "published 1"),
        Handles("4 query", "is it there?", "sent; from a radio: alive", "published 1"),
        Handles("5 user registration", "who holds it", "radio_registered; B7", "published 1"),
        Handles("6 user de-registration", "who held it", "alive", "one source"),
        Handles("F response", "answer to a query", "radio_registered, outcome", "published 3"),
    ),
    refuses=(Handles("layout", "a length or a text that does not fit"),),
    wiring=(
        "A control-station radio on USB (its network 192.168.10.0/24) or a repeater's network. "
        "The radios' ARS address is this computer's radio-side address; route 12.0.0.0/8 to the "
        "control station."
    ),
    example=EXAMPLE,
)
