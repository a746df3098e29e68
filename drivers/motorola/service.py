"""One service of one radio: what ARS, LRRP and TMS do alike.

A service reads datagrams and asks questions, and that is all that its driver says: ``_read`` makes
outputs of a datagram, ``_ask`` makes a question of a command. Here is what lies around that: whose
address it is, questions that go out again until they are answered, answers that wait for the disk.
There is no ``DRIVER`` here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from drivers.api import Command, Moment, Outcome, Output, Reject
from drivers.motorola.peer import (
    MOST_OPEN,
    Asks,
    MotoOptions,
    Receipts,
    Recent,
    address_of,
    radio_at,
)
from drivers.wire import WireError
from gateway.model.identity import RadioId, radio_id

OptionsT = TypeVar("OptionsT", bound=MotoOptions)


class RadioService(ABC, Generic[OptionsT]):
    """A codec but for ``_read`` and ``_ask``."""

    def __init__(self, options: OptionsT, link_id: str) -> None:
        self._options = options
        self._radio = radio_id("receiver", link_id)  # at an address that is no radio's
        self._is_placed = False  # True where the address says which radio it is
        self._asks = Asks()
        self._receipts = Receipts()
        self._recent = Recent()
        self._out: list[bytes] = []

    @abstractmethod
    def _read(self, data: bytes, now: Moment) -> Sequence[Output]:
        """What a datagram says; raises WireError where it does not fit."""

    @abstractmethod
    def _ask(self, command: Command, now: Moment) -> Sequence[Output]:
        """Put the question of a command, with ``_question``, or refuse it."""

    def meet(self, peer: str) -> None:
        """An address in the radio network names the radio."""
        radio = radio_at(peer, self._options.radio_network)
        if radio is not None:
            self._radio, self._is_placed = radio, True

    def receive(self, data: bytes, now: Moment) -> Sequence[Output]:
        """One datagram."""
        try:
            return self._read(data, now)
        except WireError as error:
            return [Reject("layout", str(error), data)]

    def flush(self, now: Moment) -> Sequence[Output]:
        """Datagrams come whole: nothing is ever in progress."""
        del now
        return ()

    def accept(self, receipt: int) -> None:
        """What the radio reported is on disk: its answer may go."""
        self._out += self._receipts.pay(receipt)

    def outgoing(self) -> Sequence[bytes]:
        """Datagrams to send now."""
        out, self._out = self._out, []
        return [*out, *self._asks.outgoing()]

    def next_deadline(self) -> float | None:
        """When a question goes out again, or is forgotten."""
        return self._asks.next_deadline()

    def expire(self, now: Moment) -> Sequence[Output]:
        """Ask again."""
        self._asks.expire(now)
        return ()

    def send(self, command: Command, now: Moment) -> Sequence[Output]:
        """Ask the radio at this address, and no other."""
        if command.radio_id != self._radio:
            return refused(
                command, f"{command.radio_id} is not the radio at this address, {self._radio} is"
            )
        return self._ask(command, now)

    def _question(self, key: int, frame: bytes, command: Command, now: Moment) -> Sequence[Output]:
        """Send ``frame`` until the answer comes that names ``key``."""
        if self._asks.ask(key, frame, now, command):
            return ()
        return refused(command, f"{MOST_OPEN} questions to this radio wait for their answers")


def refused(command: Command, why: str) -> Sequence[Output]:
    """The end of a command that is not sent."""
    return [Outcome(command.order, "refused", why)]


def heard_on(port: int) -> Callable[[MotoOptions, RadioId], tuple[str, int] | None]:
    """Where a radio hears the service on ``port``, for ``Driver.place_of``."""

    def place_of(options: MotoOptions, radio: RadioId) -> tuple[str, int] | None:
        address = address_of(radio, options.radio_network)
        return None if address is None else (address, port)

    return place_of
