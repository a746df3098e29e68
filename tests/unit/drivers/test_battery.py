"""The battery over all drivers: every vector six ways, any split, seeded fuzz, the manifest."""

import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.api import Driver
from gateway.settings import Settings, convert_table
from tests.support import battery, fuzz
from tests.support.battery import Case
from tests.support.vectors import FOLDER

ROOT = Path(__file__).resolve().parents[3]
FOUND = battery.find_drivers()
DRIVERS = {name: found for name, found in FOUND.items() if not isinstance(found, Exception)}
CASES = battery.find_cases()
RUNS = [
    pytest.param(way, case, id=f"{case.name}-{way}")
    for case in CASES
    for way in battery.WAYS
    if battery.applies(way, case)
]
each_driver = pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)


@pytest.mark.parametrize("name", FOUND)
def test_driver_module_loads_and_is_called_like_its_file(name: str) -> None:
    found = FOUND[name]
    if isinstance(found, Exception):
        raise found
    assert found.name == name


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.toml")), ids=lambda file: file.stem)
def test_vector_file_belongs_to_a_driver(file: Path) -> None:
    assert file.stem in FOUND


@each_driver
def test_driver_has_vectors_and_some_come_from_outside(driver: Driver[Any]) -> None:
    sources = [case.vector.source for case in CASES if case.driver is driver]
    assert sources, f"tests/vectors/{driver.name}.toml is missing or empty"
    assert all(sources), "every vector says where its bytes come from"
    names = [case.vector.name for case in CASES if case.driver is driver]
    assert len(set(names)) == len(names), "two vectors have one name"


@each_driver
def test_manifest_says_what_a_technician_needs(driver: Driver[Any]) -> None:
    assert driver.title
    assert driver.title_zh
    assert driver.spec
    assert driver.wiring
    assert driver.transports
    assert driver.max_frame > 0
    assert driver.handles, "names the messages it handles"
    assert driver.grade in {"bronze", "silver", "gold", "platinum"}


@each_driver
def test_manifest_example_is_accepted_and_shown_on_the_drivers_page(driver: Driver[Any]) -> None:
    document = tomllib.loads(driver.example)
    document["site"] = {"id": "town"}
    loaded: Settings = convert_table(document, Settings, Path(f"{driver.name}.toml"))
    links = [link for link in loaded.link if link.driver == driver.name]
    assert links, "the example has a link of this driver"
    for link in links:
        driver.new_codec(link.options, link.id)
    page = ROOT / "docs" / "drivers" / f"{driver.name}.md"
    assert driver.example.strip() in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("way", "case"), RUNS)
def test_vector(way: str, case: Case) -> None:
    check, _ = battery.WAYS[way]
    check(case)


@each_driver
def test_any_split_of_the_stream_gives_the_same_outputs(driver: Driver[Any]) -> None:
    cases = [
        case
        for case in CASES
        if case.driver is driver and case.vector.frames and battery.applies("byte-by-byte", case)
    ]

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def any_split(data: st.DataObject) -> None:
        case = data.draw(st.sampled_from(cases))
        stream = b"".join(case.vector.frames)
        cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)))
        bounds = [0, *cuts, len(stream)]
        reads = [stream[a:b] for a, b in itertools.pairwise(bounds)]
        whole, split = case.play([stream]), case.play(reads)
        assert (split.events, split.heard, split.sent) == (whole.events, whole.heard, whole.sent)
        assert split.reasons == whole.reasons

    if cases:
        any_split()
    else:
        assert not battery.is_stream(driver), "a stream driver has vectors that may be split"


@each_driver
def test_two_thousand_malformed_inputs_are_borne(driver: Driver[Any]) -> None:
    fuzz.assert_bears(driver, CASES, inputs=2_000, seed="quick")


@each_driver
def test_corpus_of_former_offenders_is_borne(driver: Driver[Any]) -> None:
    folder = ROOT / "tests" / "corpus" / driver.name
    for file in sorted(folder.glob("*.bin")):
        fuzz.feed(driver, {}, [file.read_bytes()])


@each_driver
def test_endless_rubbish_does_not_grow_the_codec(driver: Driver[Any]) -> None:
    halves = [
        frame[: max(1, len(frame) // 2)]
        for case in CASES
        if case.driver is driver
        for frame in case.vector.frames[:1]
    ]
    for rubbish in [b"A", *halves[:5]]:
        grown = fuzz.growth_bytes(driver, rubbish)
        assert grown < 16 * driver.max_frame + 200_000, f"{rubbish[:20]!r} leaves {grown} bytes"
