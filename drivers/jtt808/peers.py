"""What one JT/T 808 conversation remembers: its terminals, and what it owes them."""

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Sequence

from drivers.api import Moment, Report
from drivers.jtt808.frames import Frame, encode
from drivers.jtt808.messages import (
    TEXT_ENCODING,
    Ack,
    AckResult,
    Message,
    RegisterAnswer,
    RegisterResult,
    VendorTime,
)
from gateway.model.identity import RadioId, radio_id
from gateway.model.quantities import Instant

SPACE = "jt808"  # of the radio ids
MAX_TERMINALS = 512  # of one peer; a relay may carry many, the longest known is forgotten first
MAX_DEBTS = 8192  # events that wait to be on disk; the oldest is forgotten, its terminal repeats it


class Terminal:
    """What one conversation knows of one terminal."""

    __slots__ = (
        "_alarm_at",
        "_last_said",
        "is_allowed",
        "is_authenticated",
        "is_registered",
        "phone",
        "radio",
        "version",
    )

    def __init__(self, phone: str, *, is_allowed: bool) -> None:
        self.phone = phone
        self.version: int | None = None  # of the header that it last used
        self.radio = radio_id(SPACE, phone)
        self.is_allowed = is_allowed
        self.is_registered = False
        self.is_authenticated = False
        self._alarm_at: Instant | None = None  # the terminal's own time of its latest alarm
        self._last_said: dict[int, tuple[int, int, str]] | None = None

    def mark(self, frame: Frame, now: Moment) -> str:
        """The same text for a frame that is sent again, another one for the next such frame.

        A terminal counts from 0 after each start, so that the serial number alone marks nothing.
        """
        if self._last_said is None:
            self._last_said = {}
        said = (frame.serial, hash(frame.body))
        *last, mark = self._last_said.get(frame.message, (-1, 0, ""))
        if tuple(last) != said:
            mark = f"{frame.message:04x} {frame.serial} {int(now.at)}"
            self._last_said[frame.message] = (*said, mark)
        return mark

    def alarmed(self, fix_at: Instant | None) -> None:
        """A report with an alarm came, made at ``fix_at`` by the terminal's clock."""
        if fix_at is not None and (self._alarm_at is None or fix_at > self._alarm_at):
            self._alarm_at = fix_at

    def is_past(self, fix_at: Instant | None) -> bool:
        """True for a report from before the latest alarm: a late copy that says nothing of now."""
        return self._alarm_at is not None and fix_at is not None and fix_at < self._alarm_at


class Terminals:
    """The terminals of one peer, at most MAX_TERMINALS."""

    def __init__(self, allow: Iterable[str]) -> None:
        self._allowed = [re.compile(fnmatch.translate(pattern.lower())) for pattern in allow]
        self._known: dict[str, Terminal] = {}

    def get(self, phone: str) -> Terminal:
        """The terminal with this number, known or new."""
        terminal = self._known.get(phone)
        if terminal is None:
            if len(self._known) >= MAX_TERMINALS:
                del self._known[next(iter(self._known))]
            is_allowed = any(pattern.match(phone) for pattern in self._allowed)
            terminal = self._known[phone] = Terminal(phone, is_allowed=is_allowed)
        return terminal

    def find(self, radio: RadioId) -> Terminal | None:
        """The terminal of a radio id, where it has spoken on this connection and may."""
        space, _, phone = radio.partition(":")
        terminal = self._known.get(phone) if space == SPACE else None
        return terminal if terminal is not None and terminal.is_allowed else None


class _Debt:
    """What is owed for a frame once all its events are on disk."""

    __slots__ = ("pay", "waiting")

    def __init__(self, pay: Callable[[], None], waiting: int) -> None:
        self.pay = pay
        self.waiting = waiting


class Ledger:
    """Receipts given out, and the answers that are due when they come back."""

    def __init__(self) -> None:
        self._debts: dict[int, _Debt] = {}
        self._numbers = itertools.count(1)

    def owe(self, pay: Callable[[], None], reports: Sequence[Report]) -> list[Report]:
        """The same with receipts of their own; ``pay`` runs when the last of them is accepted."""
        debt = _Debt(pay, len(reports))
        owed = []
        for report in reports:
            receipt = next(self._numbers)
            self._debts[receipt] = debt
            owed.append(report._replace(receipt=receipt))
        while len(self._debts) > MAX_DEBTS:
            del self._debts[next(iter(self._debts))]
        return owed

    def accept(self, receipt: int) -> None:
        """One event is on disk; a receipt that is unknown or came back before changes nothing."""
        debt = self._debts.pop(receipt, None)
        if debt is None:
            return
        debt.waiting -= 1
        if debt.waiting == 0:
            debt.pay()


class Answers:
    """What goes to the terminals, each in the form of the header that it uses itself.

    ``auth_code`` is given on registration; where it is empty, the number without leading zeros.
    The code is no secret, since it crosses the network in the clear.
    """

    def __init__(self, auth_code: str) -> None:
        self._auth_code = auth_code.encode(TEXT_ENCODING)
        self._serials = itertools.count()
        self._out: list[bytes] = []

    def acknowledge(self, frame: Frame, result: AckResult) -> None:
        """8001 for a frame, or for each part of a split message."""
        for serial in frame.part_serials or (frame.serial,):
            self._answer(
                frame, Message.PLATFORM_ACK, Ack.pack_values(serial, frame.message, result)
            )

    def register(self, frame: Frame, result: RegisterResult) -> None:
        """8100 for a registration, with the code where it is granted."""
        body = RegisterAnswer(frame.serial, result).pack()
        if result is RegisterResult.OK:
            body += self.code_of(frame.phone)
        self._answer(frame, Message.REGISTER_ANSWER, body)

    def time(self, frame: Frame, at: Instant) -> None:
        """8004, or 8109 in the vendor's form: what time it is, in UTC both."""
        now = at.datetime()
        if frame.message == Message.ASK_TIME:
            self._answer(frame, Message.TIME, bytes.fromhex(f"{now:%y%m%d%H%M%S}"))
            return
        parts = (now.year, now.month, now.day, now.hour, now.minute, now.second)
        self._answer(frame, Message.TIME_VENDOR, VendorTime(*parts, result=0).pack())

    def ask(self, phone: str, version: int | None, message: Message, body: bytes) -> Frame:
        """A message of our own, with a serial number of its own."""
        serial = next(self._serials) & 0xFFFF
        frame = Frame(message, phone, serial, body, version)
        self._out.append(encode(frame))
        return frame

    def again(self, frame: Frame) -> None:
        """The same message once more."""
        self._out.append(encode(frame))

    def code_of(self, phone: str) -> bytes:
        """The authentication code of a terminal."""
        return self._auth_code or (phone.lstrip("0") or "0").encode()

    def drain(self) -> list[bytes]:
        """The frames since the last call."""
        out, self._out = self._out, []
        return out

    def _answer(self, frame: Frame, message: Message, body: bytes) -> None:
        self.ask(frame.phone, frame.version, message, body)
