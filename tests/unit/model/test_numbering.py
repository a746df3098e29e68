"""Addresses of a network as radio ids, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.identity import RadioId
from gateway.model.numbering import Numbering
from gateway.model.pdt_number import MAX_ADDRESS

PLAIN = Numbering("dmr")
PDT = Numbering("dmr", is_pdt=True)
PROVINCE = Numbering("dmr", is_pdt=True, province_rule=True)


@pytest.mark.parametrize(
    ("numbering", "address", "is_group", "name"),
    [
        (PLAIN, 1002, False, "dmr:1002"),
        (PLAIN, 0x348E1D, False, "dmr:3444253"),
        (PDT, 0x348E1D, False, "pdt:40125312"),
        (PDT, 0xFC0001, False, "pdt:80020200"),
        (PDT, 0x348217, True, "pdt:40125934"),
        (PDT, 1002, False, "dmr:1002"),
        (PDT, 0xFFFFFF, True, "dmr:16777215"),
        (PROVINCE, 0xFC0001, False, "pdt:80000001"),
        (Numbering("motorola", is_pdt=True), 11, False, "motorola:11"),
    ],
)
def test_addresses_are_named(
    numbering: Numbering, address: int, *, is_group: bool, name: str
) -> None:
    assert numbering.name(address, is_group=is_group) == name
    if not is_group:
        assert numbering.address(RadioId(name)) == address


@pytest.mark.parametrize(
    ("numbering", "name", "why"),
    [
        (PLAIN, "pdt:80020200", "not a radio of this link"),
        (PDT, "tetra:4470001", "dmr:… or pdt:…"),
        (PDT, "pdt:80020910", "number of a group"),
        (PDT, "pdt:80019200", "fleet 19"),
        (PLAIN, "dmr:0", "not 1 to"),
        (PLAIN, f"dmr:{MAX_ADDRESS + 1}", "not 1 to"),
        (PLAIN, "dmr:one", "not 1 to"),
        (PLAIN, "1002", "no number space"),
    ],
)
def test_radios_that_have_no_address_are_refused(numbering: Numbering, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        numbering.address(RadioId(name))


@given(st.integers(1, MAX_ADDRESS), st.sampled_from([PLAIN, PDT, PROVINCE]))
def test_every_radio_name_leads_back_to_its_address(address: int, numbering: Numbering) -> None:
    assert numbering.address(numbering.name(address)) == address
