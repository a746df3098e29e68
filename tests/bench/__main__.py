"""Measures what the gateway can do, each figure beside a ceiling of the same run.

    make bench                                     everything
    python -m tests.bench --list                   what there is
    python -m tests.bench --only codecs            one part; may be given again
    python -m tests.bench --write                  put the figures into docs/figures.md
    python -m tests.bench --quick --runs 1         a look, not a measurement

Exit code 0 also where a goal is missed: a figure is a fact, not a test.
"""

import argparse
import logging
import sys
import time

import structlog

from tests.bench import (
    bench_backlog,
    bench_codecs,
    bench_footprint,
    bench_latency,
    bench_parsers,
    bench_sinks,
    bench_storage,
    bench_throughput,
    page,
)
from tests.bench.figures import missed, plain
from tests.bench.machine import Others

PARTS = {
    "codecs": bench_codecs,
    "parsers": bench_parsers,
    "throughput": bench_throughput,
    "latency": bench_latency,
    "footprint": bench_footprint,
    "sinks": bench_sinks,
    "storage": bench_storage,
    "backlog": bench_backlog,
}
RUNS = 3


def main() -> None:
    """Measure what is asked for; print it, and write it where that is wanted."""
    wanted = _arguments()
    if wanted.list:
        for name, part in PARTS.items():
            print(f"{name:12} {(part.__doc__ or '').splitlines()[0]}")
        return
    logging.disable(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    shortfalls = []
    for name in wanted.only or PARTS:
        part = PARTS[name]
        begun, others = time.monotonic(), Others()
        print(f"\n== {part.TITLE} ({name})", file=sys.stderr, flush=True)
        figures = part.run(_progress, runs=wanted.runs, quick=wanted.quick)
        cores = others.cores()
        _progress(f"took {time.monotonic() - begun:.0f} s; others kept {cores:.1f} cores busy")
        print(f"\n{part.TITLE}\n{plain(figures)}", flush=True)
        shortfalls += missed(figures)
        if wanted.write:
            page.write(
                name,
                part.TITLE,
                part.ABOUT,
                figures,
                others=cores,
                is_quick=wanted.quick,
                order=list(PARTS),
            )
    print(f"\nGoals missed: {len(shortfalls)}")
    for line in shortfalls:
        print(f"  {line}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=list(PARTS), metavar="NAME")
    parser.add_argument("--list", action="store_true", help="the parts and what they measure")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each figure (default 3)")
    parser.add_argument("--quick", action="store_true", help="short runs: less sure, much faster")
    parser.add_argument("--write", action="store_true", help=f"write {page.SHOWN}")
    return parser.parse_args()


def _progress(text: str) -> None:
    print(f"   {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
