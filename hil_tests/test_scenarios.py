"""Every scenario against the whole gateway: always emulated, and on real devices by bench.toml."""

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.clock import SystemClock
from hil_tests.bench import EXAMPLE, FILE, RealBench, load_bench, obstacle
from hil_tests.emulated import EmulatedBench
from hil_tests.runner import Play
from hil_tests.scenario import Scenario, load_scenario, scenario_files

LONGEST_S = 15.0  # a scenario is made to take 8 s at most; the machine may be busy
SCENARIOS = {file.stem: load_scenario(file) for file in scenario_files()}


class Outcome(NamedTuple):
    """How a performance ended."""

    transcript: str
    failure: Exception | None
    took_s: float


async def perform(scenario: Scenario, folder: Path) -> Outcome:
    """One scenario on emulated devices."""
    began = asyncio.get_running_loop().time()
    lines = [f"{scenario.name}: {scenario.title}"]

    def tell(line: str) -> None:
        lines.append(f"{asyncio.get_running_loop().time() - began:6.2f} s  {line}")

    failure: Exception | None = None
    try:
        bench = EmulatedBench(scenario, folder, SystemClock())
        await Play(scenario, bench, folder, tell).run()
    except Exception as error:  # noqa: BLE001 - the scenario's own test raises it
        failure = error
    took_s = asyncio.get_running_loop().time() - began
    return Outcome("\n".join(lines), failure, took_s)


def chosen(session: pytest.Session) -> list[str]:
    """The scenarios whose emulated test is in this run."""
    wanted = []
    for item in session.items:
        call = getattr(item, "callspec", None)
        if item.name.startswith("test_on_emulated_devices") and call is not None:
            wanted.append(call.params["name"])
    return wanted


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """All of them are played at the same time, each with a gateway of its own."""
    names = chosen(request.session)
    folders = [tmp_path_factory.mktemp(name) for name in names]

    async def perform_all() -> list[Outcome]:
        return await asyncio.gather(
            *(perform(SCENARIOS[name], folder) for name, folder in zip(names, folders, strict=True))
        )

    return dict(zip(names, asyncio.run(perform_all()), strict=True))


@pytest.mark.parametrize("name", SCENARIOS)
def test_on_emulated_devices(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    sys.stdout.write(outcome.transcript + "\n")
    if outcome.failure is not None:
        raise outcome.failure
    assert outcome.took_s <= LONGEST_S


@pytest.mark.hardware
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SCENARIOS)
def test_on_real_devices(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not FILE.exists():
        pytest.skip(f"no real devices: copy {EXAMPLE.name} to {FILE.name} and write yours in")
    scenario, bench = SCENARIOS[name], load_bench(FILE)
    if obstacle(scenario, bench):
        pytest.skip(obstacle(scenario, bench))

    def tell(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    tell(f"\n{scenario.title} ({scenario.title_zh})")
    asyncio.run(Play(scenario, RealBench(scenario, bench, tell), tmp_path, tell).run())
