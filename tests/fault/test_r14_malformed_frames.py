"""R14: 200,000 malformed inputs a driver: no exception, no invented event, none over 5 ms."""

from typing import Any

import pytest

from drivers.api import Driver
from tests.support import battery, fuzz

DRIVERS = {
    name: found for name, found in battery.find_drivers().items() if isinstance(found, Driver)
}
CASES = battery.find_cases()


@pytest.mark.fault
@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)
def test_two_hundred_thousand_malformed_inputs_are_borne(driver: Driver[Any]) -> None:
    fuzz.assert_bears(driver, CASES, inputs=200_000, seed="r14")
