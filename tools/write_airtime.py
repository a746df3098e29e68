"""Write the table of simulated channels into ``docs/airtime.md``, from the scheduler itself.

python -m tools.write_airtime            write it
python -m tools.write_airtime --check    exit code 1 where it is not what would be written
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway.airtime.shares import UnitClass
from gateway.airtime.simulation import simulate

PAGE = Path(__file__).resolve().parent.parent / "docs" / "airtime.md"
BEGIN, END = "<!-- simulation: written by tools.write_airtime -->", "<!-- end of simulation -->"
BUDGET_A_MIN = 1000
MINUTES = 90.0

# A quiet hour, and the same with one emergency and its neighbours.
QUIET_SHARE = 0.25  # of the units patrols, the others idle
RESPONDERS = 12
RADIOS = (300, 1473, 10_000)

HEADINGS = (
    "radios",
    "hour",
    "class",
    "units",
    "requests/min",
    "interval s",
    "promised worst age s",
    "simulated worst age s",
    "most in a minute",
)


def town(radios: int, *, has_emergency: bool) -> Mapping[UnitClass, int]:
    """How many units of each class a town of ``radios`` has."""
    patrol = round(radios * QUIET_SHARE)
    urgent = 1 + RESPONDERS if has_emergency else 0
    counts = {UnitClass.PATROL: patrol, UnitClass.IDLE: radios - patrol - urgent}
    if has_emergency:
        counts |= {UnitClass.EMERGENCY: 1, UnitClass.RESPONDING: RESPONDERS}
    return counts


def table() -> str:
    """The rows of every town, in Markdown."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for radios in RADIOS:
        for has_emergency in (False, True):
            counts = town(radios, has_emergency=has_emergency)
            hour = "one emergency" if has_emergency else "quiet"
            for row in simulate(counts, BUDGET_A_MIN, MINUTES):
                promise = row.promise
                lines.append(
                    f"| {radios:,} | {hour} | {row.kind.name.lower()} | {promise.units:,} "
                    f"| {promise.requests_a_min:g} | {promise.interval_s:g} "
                    f"| {promise.worst_age_s:g} | {row.worst_age_s:g} | {row.most_a_minute:,} |"
                )
    return "\n".join(lines)


def page() -> str:
    """The page with the table put in place."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> int:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    is_check = parser.parse_args().check
    wanted = page()
    if is_check:
        return 0 if PAGE.read_text(encoding="utf-8") == wanted else 1
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"{PAGE.name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
