"""Split messages of JT/T 808: parts wait until the message is whole, bounded in size and time."""

from dataclasses import dataclass, field

from drivers.api import Reject
from drivers.jtt808.frames import Frame, reject

MAX_PARTS = 32  # 32 bodies of 1023 bytes; the messages that are used here need two or three
MAX_OPEN = 2  # messages of one peer in progress at a time
TIMEOUT_S = 60.0  # since the last part; terminals repeat a part after 10, 20 and 30 s


@dataclass(slots=True)
class _Begun:
    """A message of which some parts have come, by their number."""

    parts: dict[int, Frame] = field(default_factory=dict)
    deadline: float = 0.0


class Assembler:
    """Puts the parts of split messages together.

    Parts belong together by terminal, message id and count. Their serial numbers should be in a
    row, but captures have gaps, so that is not asked for. A part that comes again replaces itself.
    """

    def __init__(self) -> None:
        self._begun: dict[tuple[str, int, int], _Begun] = {}  # by phone, message, total

    def add(self, frame: Frame, mono: float) -> tuple[Frame | None, list[Reject]]:
        """The whole message when ``frame`` was its last missing part; and what was given up.

        The whole has the serial number of the first part, and those of all in ``part_serials``.
        """
        if frame.part is None:
            return frame, []
        total = frame.part.total
        if total > MAX_PARTS:
            return None, [reject("overrun", f"split into {total} parts, at most {MAX_PARTS}", b"")]
        key = (frame.phone, frame.message, total)
        rejects = []
        if key not in self._begun and len(self._begun) >= MAX_OPEN:
            rejects.append(self._give_up(next(iter(self._begun))))
        begun = self._begun.setdefault(key, _Begun())
        begun.parts[frame.part.number] = frame
        begun.deadline = mono + TIMEOUT_S
        if len(begun.parts) < total:
            return None, rejects
        del self._begun[key]
        return _joined([begun.parts[number] for number in range(1, total + 1)]), rejects

    def next_deadline(self) -> float | None:
        """When the first unfinished message is given up; None where there is none."""
        return min((begun.deadline for begun in self._begun.values()), default=None)

    def expire(self, mono: float) -> list[Reject]:
        """Give up what waited too long."""
        late = [key for key, begun in self._begun.items() if begun.deadline <= mono]
        return [self._give_up(key) for key in late]

    def _give_up(self, key: tuple[str, int, int]) -> Reject:
        phone, message, total = key
        came = len(self._begun.pop(key).parts)
        detail = f"{phone}: {came} of {total} parts of message {message:04X}"
        return reject("unfinished", detail, b"")


def _joined(parts: list[Frame]) -> Frame:
    return parts[0]._replace(
        body=b"".join(part.body for part in parts),
        part=None,
        part_serials=tuple(part.serial for part in parts),
    )
