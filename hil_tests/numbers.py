"""How a scenario's numbers become the radio ids by which the gateway names radios."""

from gateway.errors import ConfigError
from gateway.model.identity import RadioId, radio_id
from gateway.model.numbering import Numbering
from hil_tests.scenario import DeviceTable, Scenario

PHONE_DIGITS = 12


def address_of(scenario: Scenario, device: DeviceTable) -> int:
    """The 24-bit address of a Hytera station or unit; raises ConfigError."""
    numbering = _numbering(scenario, device)
    try:
        return numbering.address(radio_id("pdt" if numbering.is_pdt else "dmr", device.number))
    except ValueError as error:
        raise ConfigError(f"device {device.name!r}: number {device.number!r}: {error}") from None


def radio_of(scenario: Scenario, device: DeviceTable) -> RadioId:
    """The radio id of a device."""
    if device.kind == "receiver":
        return radio_id("receiver", device.link)
    if device.kind == "terminal":
        return radio_id("jt808", device.number.zfill(PHONE_DIGITS))
    if device.kind == "kenwood":
        return radio_id("kenwood", device.number)
    if device.kind == "tetra":
        return radio_id("tetra", device.number)
    return _numbering(scenario, device).name(address_of(scenario, device))


def _numbering(scenario: Scenario, device: DeviceTable) -> Numbering:
    options = scenario.link_of(device).options
    is_pdt, province_rule = options.get("number_space") == "pdt", options.get("province_rule")
    return Numbering("dmr", is_pdt, bool(province_rule))
