"""How the addresses of a radio network become the ids of radios, and back.

A site whose radios follow the PDT plan sees and writes ``pdt:80020200``; behind that number stands
one 24-bit address (and with another rule another one), so the id is as good a key as the address.
What has no place in the plan stays visible under the protocol's own space and is never bent into a
number. Drivers offer this as the options ``number_space`` (their own space, or ``pdt``) and
``province_rule``.
"""

from typing import NamedTuple

from gateway.model.identity import RadioId, parse_radio_id, radio_id
from gateway.model.pdt_number import MAX_ADDRESS, facts_of_address, facts_of_number


class Numbering(NamedTuple):
    """How a link names its radios.

    ``own_space`` is the space of addresses as they stand in the protocol, such as ``dmr``.
    ``is_pdt``: by the PDT plan; ``province_rule``: eight digits are area and SSI, as in Zhejiang.
    """

    own_space: str
    is_pdt: bool = False
    province_rule: bool = False

    def name(self, address: int, *, is_group: bool = False) -> RadioId:
        """The id of a radio, or of a talkgroup; one outside the plan is named as it stands."""
        if self.is_pdt:
            try:
                facts = facts_of_address(
                    address, is_group=is_group, province_rule=self.province_rule
                )
                return radio_id("pdt", facts.number)
            except ValueError:  # outside the plan, or an all-call number with a star
                pass
        return radio_id(self.own_space, address)

    def address(self, radio: RadioId) -> int:
        """The 24-bit address of a radio; raises ValueError with why it has none on this link."""
        space, _, number = parse_radio_id(radio).partition(":")
        if space == "pdt" and self.is_pdt:
            return facts_of_number(number, is_group=False, province_rule=self.province_rule).address
        if space != self.own_space:
            spaces = f"{self.own_space}:…" + (" or pdt:…" if self.is_pdt else "")
            raise ValueError(f"{radio} is not a radio of this link, whose radios are {spaces}")
        if not (number.isascii() and number.isdigit() and 0 < int(number) <= MAX_ADDRESS):
            raise ValueError(f"{radio}: the number is not 1 to {MAX_ADDRESS}")
        return int(number)
