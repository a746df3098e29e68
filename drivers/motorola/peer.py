"""What the services of MOTOTRBO radios have in common: who the far end is, and questions to it.

A radio on the network has the address ``12.x.y.z``: the first octet is the radio network's, the
other three are the radio's number. There is no ``DRIVER`` here.
"""

import ipaddress
from typing import Annotated, NamedTuple

import msgspec

from drivers.api import CodecOptions, Command, Moment, Outcome
from gateway.model.identity import RadioId, radio_id

SPACE = "motorola"
RADIO_NETWORK = 12  # as radios leave the factory
RADIO_NETWORKS = (f"{RADIO_NETWORK}.0.0.0/8",)
MOST_NUMBER = 0xFFFFFF
RESEND_S = 5.0  # a question that is not answered goes out again
MOST_SENDS = 3
MOST_OPEN = 16  # questions to one radio

Octet = Annotated[int, msgspec.Meta(ge=0, le=255)]


class MotoOptions(CodecOptions, frozen=True, kw_only=True):
    """Options of a link with one of these drivers.

    ``radio_network``: the first octet of the radios' addresses, as it is programmed in the radios
    ("CAI network").
    """

    radio_network: Octet = RADIO_NETWORK


def radio_at(peer: str, radio_network: int) -> RadioId | None:
    """The radio whose address ``peer`` is; None for an address outside of the radio network."""
    try:
        address = ipaddress.ip_address(peer.rpartition(":")[0].strip("[]"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return None
        address = address.ipv4_mapped
    number = int(address) & MOST_NUMBER
    if int(address) >> 24 != radio_network or not number:
        return None
    return radio_id(SPACE, number)


def address_of(radio: RadioId, radio_network: int) -> str | None:
    """The address of a radio; None for one of another number space."""
    space, _, number = radio.partition(":")
    if space != SPACE or radio_named(number) is None:
        return None
    return str(ipaddress.IPv4Address(radio_network << 24 | int(number)))


def radio_named(text: str) -> RadioId | None:
    """The radio with a number in decimal digits; None where it is no such number."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_NUMBER))):
        return None
    number = int(text)
    return radio_id(SPACE, number) if 0 < number <= MOST_NUMBER else None


class Ask(NamedTuple):
    """A question that waits for its answer. ``order`` is None where nobody asked for it."""

    frame: bytes
    order: int | None
    until_mono: float
    sends: int
    due_mono: float


class Asks:
    """Questions to one radio, by whatever its answers name them."""

    def __init__(self) -> None:
        self._open: dict[int, Ask] = {}
        self._out: list[bytes] = []

    def sends(self, key: int) -> int:
        """How often a question has gone out; 0 for one that is not open."""
        ask = self._open.get(key)
        return ask.sends if ask is not None else 0

    def ask(self, key: int, frame: bytes, now: Moment, command: Command | None = None) -> bool:
        """Send ``frame`` now, and again until it is answered; False where too many are open."""
        self._forget_late(now)
        if len(self._open) >= MOST_OPEN:
            return False
        order = command.order if command is not None else None
        until = command.until_mono if command is not None else now.mono + RESEND_S * MOST_SENDS
        self._open[key] = Ask(frame, order, until, 1, now.mono + RESEND_S)
        self._out.append(frame)
        return True

    def answered(self, key: int, refusal: str = "") -> list[Outcome]:
        """The answer has come; what becomes of the order that asked."""
        ask = self._open.pop(key, None)
        if ask is None or ask.order is None:
            return []
        return [Outcome(ask.order, "refused" if refusal else "delivered", refusal)]

    def all_answered(self, refusal: str = "") -> list[Outcome]:
        """One answer for everything that was asked."""
        return [outcome for key in list(self._open) for outcome in self.answered(key, refusal)]

    def outgoing(self) -> list[bytes]:
        """Datagrams to send now, drained."""
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        """When something goes out again, or is forgotten."""
        return min((min(ask.due_mono, ask.until_mono) for ask in self._open.values()), default=None)

    def expire(self, now: Moment) -> None:
        """Send again what is due; forget what nobody waits for."""
        self._forget_late(now)
        for key, ask in self._open.items():
            if ask.due_mono > now.mono:
                continue
            is_last = ask.sends >= MOST_SENDS
            due_mono = ask.until_mono if is_last else now.mono + RESEND_S
            if not is_last:
                self._out.append(ask.frame)
            sends = ask.sends + (0 if is_last else 1)
            self._open[key] = ask._replace(sends=sends, due_mono=due_mono)

    def _forget_late(self, now: Moment) -> None:
        for key in [key for key, ask in self._open.items() if ask.until_mono <= now.mono]:
            del self._open[key]


class Recent:
    """The last message of one kind: the same bytes soon after are the message again.

    The radios number nothing that would last longer, so the arrival of the first copy is the mark.
    """

    SAME_S = 30.0  # radios send again after some seconds

    def __init__(self) -> None:
        self._last: tuple[bytes, float, str] | None = None

    def mark(self, data: bytes, now: Moment) -> str:
        """The same text for copies, another one for the next such message."""
        last = self._last
        if last is None or last[0] != data or now.mono - last[1] > self.SAME_S:
            mark = f"{data.hex()} {int(now.at)}"
        else:
            mark = last[2]
        self._last = (data, now.mono, mark)
        return mark

    def forget(self) -> None:
        """What comes next is no copy."""
        self._last = None


class Receipts:
    """Answers that wait until what they answer is on disk."""

    MOST = 1024  # beyond that the oldest is not answered, and its radio sends it again

    def __init__(self) -> None:
        self._next = 1
        self._owed: dict[int, bytes] = {}

    def owe(self, answer: bytes) -> int:
        """The receipt by which ``answer`` may go."""
        receipt, self._next = self._next, self._next + 1
        self._owed[receipt] = answer
        if len(self._owed) > self.MOST:
            del self._owed[next(iter(self._owed))]
        return receipt

    def pay(self, receipt: int) -> list[bytes]:
        """It is on disk: the answer, once."""
        answer = self._owed.pop(receipt, None)
        return [] if answer is None else [answer]
