"""What else the machine does while something is measured, and what it is."""

import os
import platform
import time
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
IDLE_COLUMNS = (3, 4)  # idle and iowait of /proc/stat


def busy_s() -> float:
    """Seconds that all cores together have worked since the start of the machine."""
    columns = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = sum(columns[column] for column in IDLE_COLUMNS)
    return (sum(columns) - idle) / TICKS_A_SECOND


def own_s() -> float:
    """Processor seconds of this process and of every child that has ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Others:
    """How many cores everybody else has kept busy since this was built."""

    def __init__(self) -> None:
        self._begun = self._now()

    def cores(self) -> float:
        """Cores, on average; call it when every child has ended."""
        mono, busy, own = self._now()
        begun_mono, begun_busy, begun_own = self._begun
        return max(0.0, (busy - begun_busy - own + begun_own) / max(1e-3, mono - begun_mono))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.monotonic(), busy_s(), own_s()


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
