"""How a scenario's numbers become the radio ids by which the gateway names radios."""

from drivers.hytera_reports import NumberSpace, radio_name
from gateway.errors import ConfigError
from gateway.model import pdt_number
from gateway.model.identity import RadioId, radio_id
from hil_tests.scenario import DeviceTable, Scenario

PHONE_DIGITS = 12


def address_of(scenario: Scenario, device: DeviceTable) -> int:
    """The 24-bit address of a Hytera station or unit; raises ConfigError."""
    try:
        if _space_of(scenario, device) == "pdt":
            return pdt_number.number_facts(device.number, is_group=False).address
        return int(device.number)
    except ValueError as error:
        raise ConfigError(f"device {device.name!r}: number {device.number!r}: {error}") from None


def radio_of(scenario: Scenario, device: DeviceTable) -> RadioId:
    """The radio id of a device."""
    if device.kind == "receiver":
        return radio_id("receiver", device.link)
    if device.kind == "terminal":
        return radio_id("jt808", device.number.zfill(PHONE_DIGITS))
    return radio_name(_space_of(scenario, device), address_of(scenario, device))


def _space_of(scenario: Scenario, device: DeviceTable) -> NumberSpace:
    space: NumberSpace = scenario.link_of(device).options.get("number_space", "dmr")
    return space
