"""Writes docs/figures.md: an introduction, and one section for each part of the bench.

A section is replaced when its part is measured again; the others stay with their own date.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.figures import Figure, markdown
from tests.bench.machine import description

ROOT = Path(__file__).resolve().parents[2]
SHOWN = "docs/figures.md"
PAGE = ROOT / SHOWN
SECTION = re.compile(r"<!-- figures of (\w+) -->\n.*?<!-- end of \1 -->\n", re.DOTALL)

INTRODUCTION = """\
# Figures

How fast the gateway is, measured. A figure alone says little: on another machine it is another one.
So beside each stands a **ceiling**, the most that could be had on the same machine in the same
minute, and the **ratio** of the two, which travels better than the figure itself.

```
make bench                                      # everything
.venv/bin/python -m tests.bench --list          # the parts
.venv/bin/python -m tests.bench --only codecs   # one of them
.venv/bin/python -m tests.bench --write         # write this page anew
```

Each figure is the median of its runs, with the smallest and the largest behind it; each run has a
ceiling of its own. Load generator, broker and gateway share the machine, so a gateway that has it
for itself does more. Where a goal is set, the last column says whether the median meets it;
**missed** is said as plainly as met.

Durability is never switched off for a figure: a fix counts when it is committed with
`synchronous=FULL` and, where a broker or a database is named, acknowledged by it.

"""


def write(
    name: str,
    title: str,
    about: str,
    figures: Sequence[Figure],
    *,
    others: float,
    is_quick: bool,
    order: Sequence[str],
) -> None:
    """Put one section into the page, or in the place of its last one.

    ``others`` is how many cores everything else kept busy meanwhile; ``is_quick`` that less was
    measured than usual, which the section says.
    """
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections = {found[1]: found[0] for found in SECTION.finditer(before)}
    measured = f"{datetime.now(UTC):%Y-%m-%d}, {description()}"
    short = " of the short form (`--quick`)" if is_quick else ""
    facts = f"{_runs(figures)}{short}; other programs kept {others:.1f} cores busy meanwhile"
    body = f"## {title}\n\n{about}\n\nMeasured {measured}; {facts}.\n\n{markdown(figures)}"
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    if notes:
        body += "\n" + "\n".join(notes) + "\n"
    sections[name] = f"<!-- figures of {name} -->\n{body}<!-- end of {name} -->\n"
    kept = [sections[each] for each in order if each in sections]
    PAGE.write_text(INTRODUCTION + "\n".join(kept), encoding="utf-8")


def _runs(figures: Sequence[Figure]) -> str:
    counts = sorted({len(figure.runs) for figure in figures})
    return "one run" if counts == [1] else f"{' to '.join(map(str, counts))} runs"
