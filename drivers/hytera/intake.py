"""Numbered packets with HDAP messages: what is in them, and when they may be acknowledged.

The same for every transport that carries HDAP. A packet that carries something to store is answered
when all of it is on disk, any other at once; one that could not be read is not answered, so that
the peer sends it again. A packet that is sent again is known by its number and its bytes. There is
no ``DRIVER`` here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

from drivers.api import Moment, Output, Reject, Report
from drivers.hytera.hdap import HdapError, Message, read_messages
from drivers.hytera.reports import HdapReader, Mark
from gateway.model.quantities import Instant

RESENT_WITHIN_S = 30.0  # the same number with the same bytes so soon after is the packet again
RECENT_KEPT = 64  # packet numbers remembered for that
UNSTORED_KEPT = 1024  # reports that wait for the disk; beyond that the oldest is not acknowledged

Also = Callable[[Message, Sequence[Output]], Iterable[Output]]
Answer = Callable[[Sequence[Message]], None]  # acknowledges, and sends the answers that are due


class Recent(NamedTuple):
    """A packet of the last while, to know it when it comes again."""

    payload: bytes
    first_at: Instant
    heard_at: float


class Unstored:
    """A packet whose reports are not all on disk yet, and what answers it then."""

    __slots__ = ("answer", "answers", "left")

    def __init__(self, answer: Answer, answers: Sequence[Message], left: int) -> None:
        self.answer = answer
        self.answers = answers
        self.left = left


class Intake:
    """Reads the packets of one peer."""

    def __init__(self, reader: HdapReader) -> None:
        self._reader = reader
        self._recent: dict[int, Recent] = {}
        self._unstored: dict[int, Unstored] = {}
        self._next_receipt = 1

    @property
    def unstored(self) -> int:
        """Reports that wait for the disk."""
        return len(self._unstored)

    @property
    def remembered(self) -> int:
        """Packets that would be known again."""
        return len(self._recent)

    def forget(self) -> None:
        """The peer counts its packets anew."""
        self._recent.clear()

    def take(
        self,
        number: int,
        payload: bytes,
        now: Moment,
        answer: Answer,
        also: Also,
    ) -> list[Output]:
        """What a packet says; ``answer`` is called once it may be acknowledged, perhaps at once.

        ``also`` sees every message of it and what it was read as, for answers to questions of ours.
        """
        outputs: list[Output] = []
        answers: list[Message] = []
        first_at = self._first_heard(number, payload, now)
        is_read = True
        try:
            for index, message in enumerate(read_messages(payload)):
                sent = f"{number:04X}/{index} {message} {crc32(message.payload):08X}"
                reading = self._reader.read(message, now, Mark(sent, first_at))
                outputs += reading.outputs
                answers += reading.answers
                is_read = is_read and not any(isinstance(o, Reject) for o in reading.outputs)
                outputs += also(message, reading.outputs)
        except HdapError as error:
            outputs.append(Reject(error.reason, str(error), payload))
            is_read = False
        return self._with_receipts(outputs, answers, answer) if is_read else outputs

    def accept(self, receipt: int) -> None:
        """A report is on disk; its packet is answered when it was the last one."""
        unstored = self._unstored.pop(receipt, None)
        if unstored is None:
            return
        unstored.left -= 1
        if unstored.left == 0:
            unstored.answer(unstored.answers)

    def _with_receipts(
        self, outputs: list[Output], answers: list[Message], answer: Answer
    ) -> list[Output]:
        """Every report of the packet gets a receipt of its own; the last one brings the answer."""
        reports = sum(isinstance(output, Report) for output in outputs)
        if not reports:
            answer(answers)
            return outputs
        unstored = Unstored(answer, answers, reports)
        for index, output in enumerate(outputs):
            if isinstance(output, Report):
                receipt = self._next_receipt
                self._next_receipt += 1
                self._unstored[receipt] = unstored
                outputs[index] = Report(output.event, receipt, output.same_as)
        while len(self._unstored) > UNSTORED_KEPT:
            del self._unstored[next(iter(self._unstored))]
        return outputs

    def _first_heard(self, number: int, payload: bytes, now: Moment) -> Instant:
        """When this packet was heard first: now, unless it is one of the last ones again."""
        first_at = now.at
        known = self._recent.pop(number, None)
        if known is not None and known.payload == payload:
            if now.mono - known.heard_at <= RESENT_WITHIN_S:
                first_at = known.first_at
        elif len(self._recent) >= RECENT_KEPT:
            del self._recent[next(iter(self._recent))]
        self._recent[number] = Recent(payload, first_at, now.mono)
        return first_at
