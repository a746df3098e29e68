"""Plays scenarios from the command line: ``python -m hil_tests --list``, ``… button_on_hytera``."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from gateway import logs
from gateway.clock import SystemClock
from gateway.errors import GatewayError
from hil_tests.bench import RealBench, load_bench, obstacle
from hil_tests.emulated import EmulatedBench
from hil_tests.runner import NotSeenError, Play
from hil_tests.scenario import Scenario, load_scenario, scenario_files


def say(line: str) -> None:
    """A line for the person at the bench, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Play what was asked for; returns 0 when all went well, 1 otherwise, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m hil_tests", description=__doc__)
    parser.add_argument("scenario", nargs="*", help="names; all of them when none is given")
    parser.add_argument("--bench", type=Path, help="play on the real devices of this file")
    parser.add_argument("--list", action="store_true", help="what there is")
    wanted = parser.parse_args()
    logs.set_up("error", "text")
    try:
        scenarios = {file.stem: load_scenario(file) for file in scenario_files()}
        if wanted.list:
            for name, scenario in scenarios.items():
                say(f"{name:48} {scenario.title} ({scenario.title_zh})")
            return 0
        chosen = [scenarios[name] for name in wanted.scenario or scenarios]
        return max([played(scenario, wanted.bench) for scenario in chosen], default=0)
    except KeyError as error:
        say(f"there is no scenario {error}; --list shows what there is")
    except GatewayError as error:
        say(str(error))
    return 2


def played(scenario: Scenario, bench_file: Path | None) -> int:
    """0 where everything was seen."""
    say(f"\n{scenario.name}: {scenario.title} ({scenario.title_zh})")
    with tempfile.TemporaryDirectory(prefix="pdt-bench-") as name:
        folder = Path(name)
        if bench_file is None:
            play = Play(scenario, EmulatedBench(scenario, folder, SystemClock()), folder, say)
        else:
            bench = load_bench(bench_file)
            if reason := obstacle(scenario, bench):
                say(f"  left out: {reason}")
                return 0
            play = Play(scenario, RealBench(scenario, bench, say), folder, say)
        try:
            asyncio.run(play.run())
        except NotSeenError as error:
            say(f"  FAILED: {error}")
            return 1
    say("  passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
