"""What else the machine does while something is measured, and what it is."""

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
IDLE_COLUMNS = (3, 4)  # idle and iowait of /proc/stat


def busy_s() -> float:
    """Seconds that all cores together have worked since the start of the machine."""
    columns = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = sum(columns[column] for column in IDLE_COLUMNS)
    return (sum(columns) - idle) / TICKS_A_SECOND


def processor_s(pid: int) -> float:
    """Processor seconds of a process so far, 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    words = text.rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS_A_SECOND


class Others:
    """How many cores everybody else has kept busy since this was built."""

    def __init__(self, own: Iterable[int]) -> None:
        self._own = (os.getpid(), *own)
        self._begun = self._now()

    def cores(self) -> float:
        """Cores, on average."""
        mono, busy, own = self._now()
        begun_mono, begun_busy, begun_own = self._begun
        return max(0.0, (busy - begun_busy - own + begun_own) / max(1e-3, mono - begun_mono))

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), busy_s(), sum(processor_s(pid) for pid in self._own)


def description() -> str:
    """Cores, processor, system and interpreter, in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )
