"""Commands to radios as HDAP messages, and what the answers to them mean.

The same for HRNP and HSTRP. A command becomes one message, which is asked again a few times until
it is answered or nobody waits for it any longer; a text goes out once, since a radio may show it
twice. A track that was begun is ended: at its time the radio is told to stop, and told again until
it says that it did. There is no ``DRIVER`` here.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Literal

from drivers.api import Command, Heard, Moment, Outcome, Output, Report, Verb
from drivers.hytera.hdap import (
    ID_MASK,
    RESULT_OK,
    DdsState,
    LpRequest,
    LpTriggeredRequest,
    Message,
    RcpTarget,
    RrsAddress,
    Service,
    read_body,
)
from drivers.hytera.tmp import TEXT_PRIVATE, TEXT_PRIVATE_ACK, TextMessage, read_text
from drivers.wire import WireError
from gateway.model.numbering import Numbering

RADIO_NETWORK = 0x0A000000  # requests name a radio as 10.x.y.z, as published dispatchers do
UNKNOWN_OWN = 1  # number of the dispatcher while the connected radio has not told its own
ASK_AGAIN_S = 10.0  # without an answer; the air, the radio and its receiver take seconds
MOST_ASKS = 3
MOST_ORDERS = 256  # in progress at once
STOP_WITHIN_S = 60.0  # so long a radio is told to end a track
MOST_TEXT_UNITS = 700  # of UTF-16: what fits into one packet
TEXT_FLAGS = 0x00  # bit 7 clear, as in the published exchanges with a repeater, which were answered
AT_ONCE, WITHOUT_END = b"0" * 14, b"0" * 14  # start and stop of a periodic request
MOST_EVERY_S = 86_400
STATE_ONLINE = 0

IMMEDIATE_REQUEST, PERIODIC_REQUEST, PERIODIC_STOP = 0xA001, 0xC001, 0xC004
EMERGENCY_STOP, STATUS_CHECK, RADIO_CHECK = 0xB001, 0x0002, 0x0833
PERIODIC_ANSWER, PERIODIC_REPORT, PERIODIC_STOPPED = 0xC002, 0xC003, 0xC005
LP_ANSWERS: dict[int, Verb] = {
    0xA002: Verb.LOCATE,
    0xA003: Verb.LOCATE,
    0xB002: Verb.EMERGENCY_STOP,
    PERIODIC_ANSWER: Verb.TRACK,
    PERIODIC_REPORT: Verb.TRACK,
    PERIODIC_STOPPED: Verb.TRACK,
}
LP_RESULTS = {6: "position method failure", 0x69: "format error"}
TMP_RESULTS = {
    1: "failed",
    3: "bad parameter",
    4: "channel busy",
    5: "receive only",
    6: "low battery",
    7: "synthesiser not locked",
    8: "no acknowledgement",
    9: "repeater did not wake up",
    0xA: "no contact",
    0xB: "transmission denied",
    0xC: "transmission interrupted",
}
DDS_RESULTS = {
    1: "failed",
    4: "timeout",
    5: "no acknowledgement",
    7: "no wake-up",
    8: "interrupted",
    9: "denied",
    0xA: "invalid",
}

CheckBy = Literal["rrs", "rcp"]
COMMANDS = frozenset({Verb.LOCATE, Verb.TRACK, Verb.TEXT, Verb.CHECK, Verb.EMERGENCY_STOP})
SERVICE_VERBS: dict[str, frozenset[Verb]] = {  # what the port of one service takes
    "all": COMMANDS,
    "rrs": frozenset({Verb.CHECK}),
    "lp": frozenset({Verb.LOCATE, Verb.TRACK, Verb.EMERGENCY_STOP}),
    "tmp": frozenset({Verb.TEXT}),
    "rcp": frozenset({Verb.CHECK}),
}


class Phase(Enum):
    """How far a command is."""

    ASKING = "asking"
    TRACKING = "tracking"  # the radio reports periodically, until its time is over
    STOPPING = "stopping"  # and is told to stop


class Order:
    """One command in progress."""

    __slots__ = ("address", "asks", "command", "due", "make", "phase", "until")

    def __init__(self, command: Command, address: int, make: Callable[[], Message]) -> None:
        self.command = command
        self.address = address
        self.make = make  # the message, when it is sent
        self.asks = 1 if command.verb is Verb.TEXT else MOST_ASKS  # that are left
        self.due: float | None = 0.0  # when it is sent (again); None for not any more
        self.until = command.until_mono  # when this phase is over
        self.phase = Phase.ASKING

    @property
    def request_id(self) -> int:
        """The number that the answer repeats."""
        return self.command.order & 0xFFFFFFFF

    @property
    def was_sent(self) -> bool:
        """True when the radio may know of it."""
        return self.asks < MOST_ASKS

    def delivered(self) -> Outcome:
        """The far end confirmed it."""
        return Outcome(self.command.order, "delivered")

    def refused(self, why: str) -> Outcome:
        """It cannot be done."""
        return Outcome(self.command.order, "refused", why)


class Orders:
    """The commands of one conversation that are not answered yet.

    ``own_number`` gives the number under which radios see us. ``check_by``: how a radio's presence
    is asked for, RRS 0002 or RCP 0833. ``service``: what this conversation's port carries.
    """

    def __init__(
        self,
        numbering: Numbering,
        own_number: Callable[[], int | None],
        check_by: CheckBy,
        service: str = "all",
    ) -> None:
        self._numbering = numbering
        self._own_number = own_number
        self._check_by = "rcp" if service == "rcp" else check_by
        self._service = service
        self._orders: dict[int, Order] = {}  # by request id

    @property
    def pending(self) -> int:
        """Commands in progress, tracks that are running included."""
        return len(self._orders)

    def take(self, command: Command) -> Sequence[Outcome]:
        """Queue a command for ``due``, or refuse it."""
        why = self._objection(command)
        try:
            address = self._numbering.address(command.radio_id)
        except ValueError as error:
            why = why or str(error)
        if why:
            return (Outcome(command.order, "refused", why),)
        outcomes = self._end_other_tracks(address) if command.verb is Verb.TRACK else ()
        order = Order(command, address, self._maker(command, RADIO_NETWORK | address))
        self._orders[order.request_id] = order
        return outcomes

    def heard(self, message: Message, outputs: Sequence[Output], now: Moment) -> Iterator[Outcome]:
        """What ``message``, which was read as ``outputs``, says about a command of ours."""
        if not self._orders:
            return
        try:
            if message.service == Service.TMP:
                yield from self._text_answered(message)
            elif message.service == Service.LP and message.opcode in LP_ANSWERS:
                yield from self._lp_answered(message.opcode, read_body(message), now)
            elif (message.service, message.opcode) == (Service.RRS, 0x0082):
                yield from self._state_told(read_body(message))
            elif message.service == Service.DDS:
                yield from self._delivery_told(message.opcode, read_body(message))
        except WireError:
            return  # whoever reads the message says so
        if self._check_by == "rcp":
            yield from self._seen(outputs)

    def next_deadline(self, *, is_ready: bool) -> float | None:
        """When ``due`` must run; while we cannot send, only what nobody waits for is looked at."""
        deadlines = [
            order.until if order.due is None or not is_ready else min(order.due, order.until)
            for order in self._orders.values()
        ]
        return min(deadlines, default=None)

    def due(self, now: Moment, *, is_ready: bool) -> Sequence[Message]:
        """What is to be sent now. Commands that nobody waits for any longer are forgotten."""
        messages = []
        for order in list(self._orders.values()):
            if order.until <= now.mono:
                self._out_of_time(order, now)
            if is_ready and order.due is not None and order.due <= now.mono:
                order.asks -= 1
                order.due = now.mono + ASK_AGAIN_S if order.asks else None
                messages.append(order.make())
        return messages

    # --- asking -----------------------------------------------------------------------------------

    def _objection(self, command: Command) -> str:
        """Why a command cannot be done; empty where it can."""
        if command.verb not in SERVICE_VERBS[self._service]:
            return f"this link is the {self._service.upper()} port: no {command.verb} on it"
        if len(self._orders) >= MOST_ORDERS:
            return f"{MOST_ORDERS} commands are in progress on this link"
        if command.verb is Verb.TEXT:
            units = len(command.body.encode("utf-16-le", "replace")) // 2
            if not 0 < units <= MOST_TEXT_UNITS:
                return f"a text has 1 to {MOST_TEXT_UNITS} characters, this one {units}"
        if command.verb is Verb.TRACK and not 1 <= command.every_s <= MOST_EVERY_S:
            return f"a track reports every 1 to {MOST_EVERY_S} s, not every {command.every_s}"
        return ""

    def _maker(self, command: Command, ip: int) -> Callable[[], Message]:
        request_id = command.order & 0xFFFFFFFF
        if command.verb is Verb.TEXT:
            return lambda: self._text(request_id, ip, command.body)
        message = self._question(command, request_id, ip)
        return lambda: message

    def _question(self, command: Command, request_id: int, ip: int) -> Message:
        if command.verb is Verb.CHECK and self._check_by == "rcp":
            return Message(Service.RCP, RADIO_CHECK, RcpTarget(target=ip & ID_MASK).pack())
        if command.verb is Verb.CHECK:
            return Message(Service.RRS, STATUS_CHECK, RrsAddress(address=ip).pack())
        if command.verb is Verb.TRACK:
            interval = interval_text(command.every_s)
            body = LpTriggeredRequest(request_id, ip, AT_ONCE, WITHOUT_END, interval)
            return Message(Service.LP, PERIODIC_REQUEST, body.pack())
        opcode = EMERGENCY_STOP if command.verb is Verb.EMERGENCY_STOP else IMMEDIATE_REQUEST
        return Message(Service.LP, opcode, LpRequest(request_id, ip).pack())

    def _text(self, request_id: int, ip: int, body: str) -> Message:
        source = RADIO_NETWORK | (self._own_number() or UNKNOWN_OWN)
        text = body.encode("utf-16-le", "replace")
        return TextMessage(TEXT_PRIVATE, TEXT_FLAGS, request_id, ip, source, text).message()

    # --- answers ----------------------------------------------------------------------------------

    def _lp_answered(self, opcode: int, body: Any, now: Moment) -> Iterator[Outcome]:
        order = self._orders.get(body.request_id)
        if order is None or order.command.verb is not LP_ANSWERS[opcode]:
            return
        if order.address != body.address & ID_MASK:
            return
        if opcode == PERIODIC_STOPPED:
            if order.phase is Phase.STOPPING:
                del self._orders[order.request_id]
            return
        if order.phase is not Phase.ASKING:
            return
        result = getattr(body, "result", RESULT_OK)  # a periodic report has none
        if order.command.verb is not Verb.TRACK or result != RESULT_OK:
            yield self._over(order, result, LP_RESULTS)
            return
        order.phase, order.due = Phase.TRACKING, None
        order.until = now.mono + order.command.for_s
        yield order.delivered()

    def _text_answered(self, message: Message) -> Iterator[Outcome]:
        text = read_text(message)
        order = self._orders.get(text.request_id)
        if text.kind != TEXT_PRIVATE_ACK or order is None or order.command.verb is not Verb.TEXT:
            return
        if order.address == text.destination & ID_MASK and text.body:
            yield self._over(order, text.body[0], TMP_RESULTS)

    def _state_told(self, body: Any) -> Iterator[Outcome]:
        for order in self._of_radio(body.address, Verb.CHECK):
            del self._orders[order.request_id]
            is_online = body.state == STATE_ONLINE
            yield order.delivered() if is_online else order.refused(f"offline ({body.state:02X})")

    def _delivery_told(self, service: int, body: Any) -> Iterator[Outcome]:
        """A message did not reach its radio; that one did is told by the radio's own answer."""
        if not isinstance(body, DdsState) or body.result == RESULT_OK:
            return
        for order in self._of_radio(body.address, *COMMANDS):
            asked = order.make()
            if (asked.service, asked.opcode) == (service, body.opcode):
                yield self._over(order, body.result, DDS_RESULTS)
                return

    def _seen(self, outputs: Sequence[Output]) -> Iterator[Outcome]:
        """Whoever is heard is there."""
        for output in outputs:
            if not isinstance(output, Heard | Report):
                continue
            radio = output.radio_id if isinstance(output, Heard) else output.event.radio_id
            for order in list(self._orders.values()):
                is_check = order.command.verb is Verb.CHECK and order.was_sent
                if is_check and self._numbering.name(order.address) == radio:
                    del self._orders[order.request_id]
                    yield order.delivered()

    def _over(self, order: Order, result: int, names: dict[int, str]) -> Outcome:
        del self._orders[order.request_id]
        if result == RESULT_OK:
            return order.delivered()
        return order.refused(f"{names.get(result, 'unknown result')} ({result:02X})")

    # --- the end of a track -----------------------------------------------------------------------

    def _out_of_time(self, order: Order, now: Moment) -> None:
        """Nobody waits any longer, or a track is over: then the radio is told to stop."""
        is_track = order.command.verb is Verb.TRACK and order.phase is not Phase.STOPPING
        if is_track and order.was_sent:
            self._stop(order, now.mono)
        else:
            del self._orders[order.request_id]
            order.due = None

    def _stop(self, order: Order, mono: float) -> None:
        body = LpRequest(order.request_id, RADIO_NETWORK | order.address)
        stop = Message(Service.LP, PERIODIC_STOP, body.pack())
        order.make = lambda: stop
        order.phase, order.asks = Phase.STOPPING, MOST_ASKS
        order.due, order.until = mono, mono + STOP_WITHIN_S

    def _end_other_tracks(self, address: int) -> Sequence[Outcome]:
        """A radio reports for one track at a time: the last one asked for."""
        outcomes = []
        for order in self._of_radio(address, Verb.TRACK):
            if order.phase is Phase.STOPPING:
                continue
            order.until = 0.0  # ``due`` tells the radio to stop, before the new one begins
            if order.phase is Phase.ASKING:
                outcomes.append(order.refused("a newer track of this radio was asked for"))
        return tuple(outcomes)

    def _of_radio(self, address: int, *verbs: Verb) -> list[Order]:
        return [
            order
            for order in self._orders.values()
            if order.address == address & ID_MASK and order.command.verb in verbs
        ]


def interval_text(seconds: int) -> bytes:
    """An interval as LP writes it, most likely DDhhmmss."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days:02d}{hour:02d}{minute:02d}{second:02d}".encode()
