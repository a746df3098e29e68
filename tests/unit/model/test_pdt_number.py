"""The PDT numbering plan, both ways."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.pdt_number import (
    FIRST_NP,
    LAST_NP,
    MAX_ADDRESS,
    PROVINCE_NPS,
    SSI_BITS,
    NumberFacts,
    facts_of_address,
    facts_of_number,
    number_facts,
)
from tests.support.reference import reference_vectors

areas = st.integers(FIRST_NP, LAST_NP)
large_fleets = st.tuples(st.integers(20, 41), st.integers(200, 899))
small_fleets = st.tuples(st.integers(42, 89), st.integers(200, 549))
groups = st.tuples(st.integers(20, 89), st.integers(900, 999))


def test_every_reference_number_agrees() -> None:
    lines = [line for line in reference_vectors("pdt_numbers") if "expect" in line]
    assert lines
    for line in lines:
        expect: dict[str, Any] = line["expect"]
        facts = number_facts(line["text"])
        found = {
            "kind": facts.kind,
            "ai_address": facts.address,
            "ai_hex": facts.address_hex,
            "nai": facts.nai,
            "ssi": facts.ssi,
        }
        assert found == expect, line["text"]


def test_reference_numbers_without_an_expectation_are_read_and_come_back() -> None:
    for line in reference_vectors("pdt_numbers"):
        facts = number_facts(line["text"])
        is_group = "group" in facts.kind
        back = facts_of_address(facts.address, is_group=is_group)
        if not facts.kind.endswith("emergency"):
            assert back == facts, line["text"]


@pytest.mark.parametrize(
    ("number", "address_hex", "kind"),
    [
        ("80020200", "FC0001", "individual"),
        ("80020910", "FC000B", "group"),
        ("40125312", "348E1D", "individual"),
        ("40125934", "348217", "group"),
        ("804100", "FE7EE1", "dispatcher"),
        ("5719699", "89FFEF", "internal_line"),
        ("*1987", "FFFFFF", "all_call"),
        ("*1972", "FFFFFE", "all_call_emergency"),
        ("571*1917", "89FFFF", "area_dynamic"),
        ("581*1927", "8EFFFF", "area_dynamic"),
        ("581*1917", "8EFFFE", "area_dynamic"),
        ("804*1937", "FE7FFF", "area_dynamic"),
        ("571*1912", "89FFFF", "area_dynamic_emergency"),
    ],
)
def test_worked_number_has_its_address(number: str, address_hex: str, kind: str) -> None:
    facts = facts_of_number(number)
    assert (facts.address_hex, facts.kind) == (address_hex, kind)
    assert facts.address == int(address_hex, 16)


@pytest.mark.parametrize("number", ["571*1917", "581*1917", "581*1927", "804*1917", "804*1937"])
def test_dynamic_call_of_an_area_comes_back_from_its_address(number: str) -> None:
    facts = facts_of_number(number)
    assert facts_of_address(facts.address) == facts
    assert facts_of_address(facts.address, is_group=True) == facts


@given(areas, st.one_of(large_fleets, small_fleets))
def test_individual_number_comes_back_from_its_address(np: int, own: tuple[int, int]) -> None:
    facts = facts_of_number(f"{np}{own[0]}{own[1]}")
    assert facts.kind == "individual"
    assert 1 <= facts.ssi <= 32200
    assert facts_of_address(facts.address) == facts


@given(areas, groups)
def test_group_number_comes_back_from_its_address(np: int, own: tuple[int, int]) -> None:
    facts = facts_of_number(f"{np}{own[0]}{own[1]}")
    assert facts.kind == "group"
    assert 1 <= facts.ssi <= 7000
    assert facts_of_address(facts.address, is_group=True) == facts


@given(areas, st.sampled_from((0, 7, 8, 9)), st.integers(0, 999))
def test_hierarchical_group_comes_back_from_its_address(np: int, level: int, group: int) -> None:
    facts = facts_of_number(f"{np}9{level}{group:03d}")
    assert facts.kind == "hierarchical_group"
    assert facts_of_address(facts.address, is_group=True) == facts


@given(areas, st.integers(1, 32767))
def test_number_of_the_provinces_rule_comes_back(np: int, ssi: int) -> None:
    facts = facts_of_number(f"{np}{ssi:05d}", province_rule=True)
    assert (facts.kind, facts.ssi) == ("individual", ssi)
    assert facts_of_address(facts.address, province_rule=True) == facts


@given(areas, st.integers(7001, 17000))
def test_group_of_the_provinces_rule_comes_back(np: int, sgi: int) -> None:
    facts = facts_of_number(f"{np}{sgi:05d}", is_group=True, province_rule=True)
    assert facts.kind == "hierarchical_group"
    assert facts_of_address(facts.address, is_group=True, province_rule=True) == facts


@given(address=st.integers(0, MAX_ADDRESS), is_group=st.booleans(), province_rule=st.booleans())
def test_any_address_gives_a_number_that_leads_back_or_a_reason(
    *, address: int, is_group: bool, province_rule: bool
) -> None:
    try:
        facts = facts_of_address(address, is_group=is_group, province_rule=province_rule)
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
        asked = is_group if province_rule and "*" not in facts.number else None
        back = facts_of_number(facts.number, is_group=asked, province_rule=province_rule)
        assert back == facts
    assert reason == "" or "area" in reason or "address" in reason


@given(st.text(max_size=12) | st.from_regex(r"[0-9a-fA-FxXhH*]{1,9}", fullmatch=True))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        facts = number_facts(text)
    except ValueError:
        return
    assert facts.address == (facts.nai << SSI_BITS) + facts.ssi
    assert facts.address_hex == f"{facts.address:06X}"


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("32720200", "MPT 1327"),
        ("80720200", "area 807"),
        ("99920200", "area 999"),
        ("80019200", "fleet 19"),
        ("80020100", "100 is not 200 to 899"),
        ("80042550", "550 is not 200 to 549"),
        ("80091000", "level 1"),
        ("80096999", "level 6"),
        ("571130", "no number of the plan"),
        ("5719700", "no number of the plan"),
        ("571*1937", "cannot be dialled"),
        ("*1917", "depends on the area"),
        ("*1988", "no all-call"),
        ("807*1917", "area 807"),
        ("*19", "is not"),
        ("8002020", "no number of the plan"),
        ("hello", "neither"),
        ("", "neither"),
        ("８００２０２００", "neither"),
    ],
)
def test_number_outside_the_plan_is_refused_with_why(number: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        facts_of_number(number)


@pytest.mark.parametrize(
    ("address", "is_group", "why"),
    [
        (1 << 24, False, "24 bits"),
        (-1, False, "24 bits"),
        (0x000001, False, "MPT 1327"),
        (0xFF8001, False, "area 807"),
        (0xFC0000, False, "SSI 0"),
        (0xFC7DC9, False, "SSI 32201"),
        (0xFC0000, True, "SGI 0"),
        (0xFC0000 + 8001, True, "level 1"),
        (0xFC0000 + 17001, True, "SGI 17001"),
        (0x89FFFE, False, "stands for no province"),
    ],
)
def test_address_outside_the_plan_is_refused_with_why(
    *, address: int, is_group: bool, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        facts_of_address(address, is_group=is_group)


@pytest.mark.parametrize(
    ("address", "is_group", "why"), [(0xFC0000, False, "SSI 0"), (0xFC0001, True, "7001 to 17000")]
)
def test_address_outside_the_provinces_rule_is_refused(
    *, address: int, is_group: bool, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        facts_of_address(address, is_group=is_group, province_rule=True)
    with pytest.raises(ValueError, match="00001 to 32767"):
        facts_of_number("57100000", province_rule=True)


@pytest.mark.parametrize(
    "text",
    ["80020200", "FC0001", "fc0001", "0xFC0001", "0XfC0001", "FC0001h", "16515073", " FC0001 "],
)
def test_number_and_address_are_read_in_every_form_that_people_write(text: str) -> None:
    assert number_facts(text) == NumberFacts(
        number="80020200", address=16515073, address_hex="FC0001", kind="individual", nai=504, ssi=1
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3444253", "40125312"),  # seven digits that are no internal line: a decimal address
        ("3289600", "3289600"),  # seven digits that are one
        ("328129", "328129"),  # six digits that are a short number
        ("0x328129", "39720496"),  # the same digits, said to be an address
        ("348217", "40120734"),  # six digits that are no short number: a hexadecimal address
        ("10000001", "60128360"),  # no numbering begins with 100: a decimal address
    ],
)
def test_ambiguous_digits_are_read_by_the_rule(text: str, number: str) -> None:
    assert number_facts(text).number == number


def test_group_flag_chooses_how_an_address_is_read() -> None:
    assert number_facts("FC000B").number == "80020210"
    assert number_facts("FC000B", is_group=True).number == "80020910"


@pytest.mark.parametrize(("number", "is_group"), [("80020200", True), ("80020910", False)])
def test_flag_that_contradicts_the_number_is_refused(*, number: str, is_group: bool) -> None:
    with pytest.raises(ValueError, match="is the number of a"):
        number_facts(number, is_group=is_group)


@pytest.mark.parametrize("text", ["17000000", "0x1000000", "FFFFFFFh", "12345", "0"])
def test_address_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"24 bits|MPT 1327"):
        number_facts(text)


def test_ministry_stands_for_itself() -> None:
    assert 804 in PROVINCE_NPS
