import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.identity import RadioId, UnitId
from gateway.sinks.topics import Topics, default_base, owner_of

TOPICS = Topics("pdt/v1/town")
UNSAFE = re.compile(r"[#+\0\s]")
texts = st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def test_topics_are_those_of_the_contract() -> None:
    unit = owner_of(UnitId("patrol-1"), RadioId("pdt:80020200"))
    radio = owner_of(None, RadioId("jt808:013800138000"))
    assert TOPICS.gateway_state == "pdt/v1/town/gateway/state"
    assert TOPICS.gateway_info == "pdt/v1/town/gateway/info"
    assert TOPICS.gateway_health == "pdt/v1/town/gateway/health"
    assert TOPICS.link_state("lan") == "pdt/v1/town/link/lan/state"
    assert TOPICS.fix(unit) == "pdt/v1/town/unit/patrol-1/fix"
    assert TOPICS.status(unit) == "pdt/v1/town/unit/patrol-1/status"
    assert TOPICS.emergency(unit) == "pdt/v1/town/unit/patrol-1/emergency"
    assert TOPICS.fix(radio) == "pdt/v1/town/radio/jt808-013800138000/fix"
    assert TOPICS.event("emergency_raised") == "pdt/v1/town/event/emergency_raised"
    assert TOPICS.request("emergency/take") == "pdt/v1/town/request/emergency/take"
    assert TOPICS.response("locate") == "pdt/v1/town/response/locate"
    assert default_base("town") == "pdt/v1/town"


def test_a_number_keeps_its_own_dashes_when_the_colon_becomes_one() -> None:
    assert owner_of(None, RadioId("kenwood:100-1001")) == "radio/kenwood-100-1001"


@given(unit=texts, radio=texts, link=texts, kind=texts, verb=texts)
def test_no_topic_holds_a_wildcard_a_nul_or_white_space(
    unit: str, radio: str, link: str, kind: str, verb: str
) -> None:
    makers: tuple[Callable[[], str], ...] = (
        lambda: TOPICS.fix(owner_of(UnitId(unit), RadioId(""))),
        lambda: TOPICS.status(owner_of(None, RadioId(radio))),
        lambda: TOPICS.emergency(owner_of(None, RadioId(f"pdt:{radio}"))),
        lambda: TOPICS.link_state(link),
        lambda: TOPICS.event(kind),
        lambda: TOPICS.request(verb),
        lambda: TOPICS.response(verb),
    )
    for make in makers:
        try:
            topic = make()
        except ValueError:
            continue
        assert topic.startswith("pdt/v1/town/")
        assert not UNSAFE.search(topic)
        assert "" not in topic.split("/")


@given(base=texts)
def test_a_base_topic_is_safe_or_refused(base: str) -> None:
    try:
        topics = Topics(base)
    except ValueError:
        return
    assert not UNSAFE.search(topics.gateway_state)
    assert not topics.gateway_state.startswith(("/", "$"))


@pytest.mark.parametrize("base", ["", "/pdt", "pdt/", "pdt//town", "$SYS/town", "pdt/#", "a b"])
def test_a_base_topic_that_would_go_astray_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="base topic"):
        Topics(base)


@given(site=texts)
def test_a_site_that_is_no_slug_gives_no_base(site: str) -> None:
    try:
        base = default_base(site)
    except ValueError:
        return
    assert not UNSAFE.search(base)
    assert base.count("/") == 2
