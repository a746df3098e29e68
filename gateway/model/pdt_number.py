"""PDT numbering: the number that people dial and the 24-bit address that goes over the air.

An address is ``NAI * 2**15 + SSI`` (SGI for a group); the area number NP, a number's first three
digits, is ``NAI + 296``. Individuals and groups share one address space, so the same address is a
radio or a group depending on the call. Nothing is clamped: what lies outside the plan raises
ValueError with the reason.

Source: GA/T 1056-2013 clause 7 as implemented by a vendor; the reference vectors agree with it.
"""

import re
from typing import Literal, NamedTuple

import msgspec

Kind = Literal[
    "individual",
    "group",
    "hierarchical_group",
    "dispatcher",
    "special_service",
    "internal_line",
    "all_call",
    "all_call_emergency",
    "area_dynamic",
    "area_dynamic_emergency",
]

RADIO_KINDS = frozenset({"individual", "dispatcher", "special_service", "internal_line"})

NP_OF_NAI_0 = 296
FIRST_NP, LAST_NP = 328, 806  # areas of PDT; 804 is the ministry
FIRST_MPT_NP = 200  # 200 to 327 are prefixes of MPT 1327, another numbering
SSI_BITS = 15
MAX_SSI = (1 << SSI_BITS) - 1
MAX_ADDRESS = 0xFFFFFF
MINISTRY_NP = 804
NUMBER_DIGITS = 8

FIRST_FLEET, LAST_FLEET = 20, 89
FIRST_IN = 200
GROUP_FIRST, GROUP_LAST = 900, 999
GROUPS_A_FLEET = GROUP_LAST - GROUP_FIRST + 1
LAST_PLAIN_SGI = (LAST_FLEET - FIRST_FLEET + 1) * GROUPS_A_FLEET  # 7000
HIERARCHY_MARK = "9"  # the digit after the area
FIRST_LEVEL_SGI, LAST_LEVEL_SGI = 7001, 17000
LEVELS = frozenset({0, 7, 8, 9})  # 1 to 6 are reserved
GROUPS_A_LEVEL = 1000


class Block(NamedTuple):
    """Fleets of one size: ``first_ssi`` is the SSI of the first number of the first fleet."""

    first_fleet: int
    last_fleet: int
    size: int
    first_ssi: int

    @property
    def last_ssi(self) -> int:
        """SSI of the last number of the last fleet."""
        return self.first_ssi + (self.last_fleet - self.first_fleet + 1) * self.size - 1


LARGE_FLEETS = Block(20, 41, 700, 1)  # SSI 1 to 15400
SMALL_FLEETS = Block(42, 89, 350, 15401)  # SSI 15401 to 32200


class Short(NamedTuple):
    """A run of short numbers: the area followed by ``first`` to ``last``."""

    kind: Kind
    first: int
    last: int
    first_ssi: int


SHORTS = (
    Short("dispatcher", 100, 109, 32481),
    Short("special_service", 110, 129, 32491),
    Short("internal_line", 9600, 9699, 32652),
)

ALL_CALLS = {  # dialled number: address; five less is the same call as an emergency
    1987: 0xFFFFFF,  # the whole network
    1977: 0xFFFFFE,  # region
    1967: 0xFFFFFD,  # local
    1957: 0xFFFFFC,  # base station
    1947: 0xFFFFFB,  # defined by the user
}
EMERGENCY_STEP = 5

# A dynamic call of an area ends in 7FFFh or 7FFEh. What is dialled for it depends on the rank of
# the area: *1937 at the ministry, *1927 in an area that stands for its province, *1917 elsewhere; a
# province's own *1917 has the second address.
DYNAMIC_SSI, DYNAMIC_SSI_2 = 0x7FFF, 0x7FFE
DYNAMIC_MINISTRY, DYNAMIC_PROVINCE, DYNAMIC_LOCAL = 1937, 1927, 1917
# fmt: off
PROVINCE_NPS = frozenset((
    328, 334, 348, 360, 380, 390, 400, 422, 430, 440, 450, 480, 485, 495, 520, 540, 560, 581,
    585, 590, 620, 623, 640, 656, 658, 667, 670, 700, 702, 720, 740, 780, 789, 800, MINISTRY_NP,
))
# fmt: on

FORMS = (
    "write 8 digits (80020200), an area with a short number (804100, 5719600), *1987, "
    "571*1917, or an address as FC0001, 0xFC0001, FC0001h or 16515073"
)


class NumberFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One number and its address; ``nai`` and ``ssi`` are the address's two parts."""

    number: str
    address: int
    address_hex: str  # six digits
    kind: Kind
    nai: int
    ssi: int


def number_facts(
    value: str, *, is_group: bool | None = None, province_rule: bool = False
) -> NumberFacts:
    """Read a number or an address as people write it, and give both; raises ValueError with why.

    Eight digits are a number; only where they begin with 100 to 167, which no numbering uses, are
    they a decimal address. Six digits are a short number where they fit one (area, then 100 to
    129), and a hexadecimal address otherwise; seven digits are an internal line where they fit one
    (area, then 9600 to 9699), and a decimal address otherwise. ``0x`` in front or ``h`` behind
    always means a hexadecimal address. ``is_group`` says what an address or a number of the
    province's rule is; None takes it from the number, and an address for a radio.
    """
    text = value.strip()
    address = _written_address(text)
    if address is not None:
        return facts_of_address(address, is_group=bool(is_group), province_rule=province_rule)
    return facts_of_number(text, is_group=is_group, province_rule=province_rule)


def facts_of_number(
    number: str, *, is_group: bool | None = None, province_rule: bool = False
) -> NumberFacts:
    """The address of a dialled number; raises ValueError with why there is none.

    ``province_rule`` reads eight digits the way of Zhejiang: area and SSI in five digits.
    """
    if "*" in number:
        facts = _facts_of_star(number)
    elif not (number.isascii() and number.isdigit()):
        raise ValueError(f"{number!r} is neither a PDT number nor an address; {FORMS}")
    elif len(number) == NUMBER_DIGITS and province_rule:
        facts = _facts_of_province_number(number, is_group=bool(is_group))
    elif len(number) == NUMBER_DIGITS:
        facts = _facts_of_full_number(number)
    else:
        facts = _facts_of_short_number(number)
    is_radio = facts.kind in RADIO_KINDS
    if is_group is not None and is_group == is_radio:
        found, asked = ("radio", "group") if is_radio else ("group", "radio")
        raise ValueError(f"{number} is the number of a {found} ({facts.kind}), not of a {asked}")
    return facts


def facts_of_address(
    address: int, *, is_group: bool = False, province_rule: bool = False
) -> NumberFacts:
    """The number of a 24-bit address; raises ValueError with why there is none."""
    if not 0 <= address <= MAX_ADDRESS:
        raise ValueError(f"address {address} has more than 24 bits")
    for dialled, all_call in ALL_CALLS.items():
        if address == all_call:
            return _facts(f"*{dialled}", address, "all_call")
    np = _checked_np((address >> SSI_BITS) + NP_OF_NAI_0)
    ssi = address & MAX_SSI
    if province_rule and not is_group:
        if ssi == 0:
            raise ValueError(f"address {address:06X}h: SSI 0 is nobody's")
        return _facts(f"{np}{ssi:05d}", address, "individual")
    if ssi in {DYNAMIC_SSI, DYNAMIC_SSI_2}:
        return _facts(_dynamic_number(np, ssi), address, "area_dynamic")
    if is_group:
        return _group_of_address(np, ssi, address, province_rule=province_rule)
    return _individual_of_address(np, ssi, address)


def _written_address(text: str) -> int | None:
    """The address that ``text`` writes, or None where it is a number (or nothing at all)."""
    marked = re.fullmatch(r"(?:0[xX]([0-9a-fA-F]{1,8})|([0-9a-fA-F]{1,8})[hH])", text)
    if marked:
        return int(marked[1] or marked[2], 16)
    if re.fullmatch(r"[0-9a-fA-F]{6}", text):
        return None if text.isdigit() and _short_of(text) else int(text, 16)
    if not re.fullmatch(r"[1-9][0-9]{0,7}|0", text):
        return None
    if len(text) == NUMBER_DIGITS:
        return int(text) if int(text[:3]) < FIRST_MPT_NP else None
    return None if _short_of(text) else int(text)


def _facts(number: str, address: int, kind: Kind) -> NumberFacts:
    return NumberFacts(
        number=number,
        address=address,
        address_hex=f"{address:06X}",
        kind=kind,
        nai=address >> SSI_BITS,
        ssi=address & MAX_SSI,
    )


def _checked_np(np: int) -> int:
    if FIRST_NP <= np <= LAST_NP:
        return np
    if FIRST_MPT_NP <= np < FIRST_NP:
        raise ValueError(f"area {np} is a prefix of MPT 1327, not of PDT ({FIRST_NP} to {LAST_NP})")
    raise ValueError(f"area {np} is not one of PDT ({FIRST_NP} to {LAST_NP})")


def _address(np: int, ssi: int) -> int:
    return (np - NP_OF_NAI_0 << SSI_BITS) + ssi


# --- numbers to addresses -------------------------------------------------------------------------


def _facts_of_full_number(number: str) -> NumberFacts:
    np = _checked_np(int(number[:3]))
    if number[3] == HIERARCHY_MARK:
        level, group = int(number[4]), int(number[5:])
        if level not in LEVELS:
            raise ValueError(f"{number}: level {level} of hierarchical groups is reserved")
        sgi = FIRST_LEVEL_SGI + level * GROUPS_A_LEVEL + group
        return _facts(number, _address(np, sgi), "hierarchical_group")
    fleet, own = int(number[3:5]), int(number[5:])
    if not FIRST_FLEET <= fleet <= LAST_FLEET:
        raise ValueError(f"{number}: fleet {fleet:02d} is not {FIRST_FLEET} to {LAST_FLEET}")
    if GROUP_FIRST <= own <= GROUP_LAST:
        sgi = (fleet - FIRST_FLEET) * GROUPS_A_FLEET + (own - GROUP_FIRST) + 1
        return _facts(number, _address(np, sgi), "group")
    block = LARGE_FLEETS if fleet <= LARGE_FLEETS.last_fleet else SMALL_FLEETS
    last_own = FIRST_IN + block.size - 1
    if not FIRST_IN <= own <= last_own:
        raise ValueError(
            f"{number}: {own:03d} is not {FIRST_IN} to {last_own} (radios of fleet {fleet}) "
            f"nor {GROUP_FIRST} to {GROUP_LAST} (groups)"
        )
    ssi = block.first_ssi + (fleet - block.first_fleet) * block.size + (own - FIRST_IN)
    return _facts(number, _address(np, ssi), "individual")


def _facts_of_province_number(number: str, *, is_group: bool) -> NumberFacts:
    np, ssi = _checked_np(int(number[:3])), int(number[3:])
    if is_group:
        return _group_of_address(np, ssi, _address(np, ssi), province_rule=True)
    if not 1 <= ssi <= MAX_SSI:
        raise ValueError(f"{number}: {ssi:05d} is not 00001 to {MAX_SSI} (province's rule)")
    return _facts(number, _address(np, ssi), "individual")


def _short_of(number: str) -> Short | None:
    """The run that a short number belongs to, where its area is one of PDT too."""
    own = number[3:]
    for short in SHORTS:
        if len(own) == len(str(short.first)) and short.first <= int(own) <= short.last:
            return short if FIRST_NP <= int(number[:3]) <= LAST_NP else None
    return None


def _facts_of_short_number(number: str) -> NumberFacts:
    short = _short_of(number)
    if short is None:
        raise ValueError(
            f"{number}: no number of the plan has this form; behind the area stand 100 to 109 "
            f"(dispatchers), 110 to 129 (special services), 9600 to 9699 (internal lines); {FORMS}"
        )
    ssi = short.first_ssi + int(number[3:]) - short.first
    return _facts(number, _address(int(number[:3]), ssi), short.kind)


def _facts_of_star(number: str) -> NumberFacts:
    match = re.fullmatch(r"([0-9]{3})?\*([0-9]{4})", number)
    if match is None:
        raise ValueError(f"{number!r} is not *1987, nor 571*1917; {FORMS}")
    dialled = int(match[2])
    for normal in (dialled, dialled + EMERGENCY_STEP):
        is_emergency = normal != dialled
        if normal in ALL_CALLS and match[1] is None:
            kind: Kind = "all_call_emergency" if is_emergency else "all_call"
            return _facts(number, ALL_CALLS[normal], kind)
        if normal in {DYNAMIC_MINISTRY, DYNAMIC_PROVINCE, DYNAMIC_LOCAL}:
            address = _dynamic_address(match[1], normal)
            kind = "area_dynamic_emergency" if is_emergency else "area_dynamic"
            return _facts(number, address, kind)
    raise ValueError(f"{number}: no all-call has this number (*1917 to *1987, or five less)")


def _dynamic_address(area: str | None, dialled: int) -> int:
    if area is None:
        raise ValueError(
            f"*{dialled}: its address depends on the area of who dials; write the area in front, "
            f"for example 571*{dialled}"
        )
    np = _checked_np(int(area))
    for ssi in (DYNAMIC_SSI, DYNAMIC_SSI_2):
        if _dynamic_dialled(np, ssi) == dialled:
            return _address(np, ssi)
    raise ValueError(f"{area}*{dialled}: cannot be dialled in area {np}")


# --- addresses to numbers -------------------------------------------------------------------------


def _dynamic_dialled(np: int, ssi: int) -> int | None:
    if ssi == DYNAMIC_SSI_2:
        return DYNAMIC_LOCAL if np in PROVINCE_NPS else None
    if np == MINISTRY_NP:
        return DYNAMIC_MINISTRY
    return DYNAMIC_PROVINCE if np in PROVINCE_NPS else DYNAMIC_LOCAL


def _dynamic_number(np: int, ssi: int) -> str:
    dialled = _dynamic_dialled(np, ssi)
    if dialled is None:
        raise ValueError(f"address {_address(np, ssi):06X}h: area {np} stands for no province")
    return f"{np}*{dialled}"


def _individual_of_address(np: int, ssi: int, address: int) -> NumberFacts:
    for block in (LARGE_FLEETS, SMALL_FLEETS):
        if block.first_ssi <= ssi <= block.last_ssi:
            fleet, own = divmod(ssi - block.first_ssi, block.size)
            number = f"{np}{fleet + block.first_fleet}{own + FIRST_IN}"
            return _facts(number, address, "individual")
    for short in SHORTS:
        own = ssi - short.first_ssi + short.first
        if short.first <= own <= short.last:
            return _facts(f"{np}{own}", address, short.kind)
    raise ValueError(f"address {address:06X}h: SSI {ssi} is not in the plan of individuals")


def _group_of_address(np: int, sgi: int, address: int, *, province_rule: bool) -> NumberFacts:
    if FIRST_LEVEL_SGI <= sgi <= LAST_LEVEL_SGI:
        if province_rule:
            return _facts(f"{np}{sgi:05d}", address, "hierarchical_group")
        level, group = divmod(sgi - FIRST_LEVEL_SGI, GROUPS_A_LEVEL)
        if level not in LEVELS:
            raise ValueError(
                f"address {address:06X}h: level {level} of hierarchical groups is reserved"
            )
        return _facts(f"{np}{HIERARCHY_MARK}{level}{group:03d}", address, "hierarchical_group")
    if province_rule:
        raise ValueError(
            f"area {np}, group {sgi}: groups are {FIRST_LEVEL_SGI} to {LAST_LEVEL_SGI} "
            "(province's rule)"
        )
    if not 1 <= sgi <= LAST_PLAIN_SGI:
        raise ValueError(f"address {address:06X}h: SGI {sgi} is not in the plan of groups")
    fleet, own = divmod(sgi - 1, GROUPS_A_FLEET)
    return _facts(f"{np}{fleet + FIRST_FLEET}{own + GROUP_FIRST}", address, "group")
