"""Whom a full link parts with."""

import random

from gateway.links.crowd import Crowd


def test_the_greediest_host_gives_its_longest_idle_member() -> None:
    crowd: Crowd[str] = Crowd()
    for host, member in (("a", "a1"), ("b", "b1"), ("b", "b2"), ("b", "b3"), ("c", "c1")):
        crowd.came(host, member)
    crowd.heard("b", "b1")
    assert (len(crowd), crowd.most(), crowd.first_to_go()) == (5, 3, "b2")
    crowd.left("b", "b2")
    crowd.left("b", "b2")
    crowd.left("b", "b3")
    assert (len(crowd), crowd.most(), crowd.of("b"), crowd.of("nobody")) == (3, 1, 1, 0)
    crowd.heard("a", "a1")
    assert crowd.first_to_go() == "c1", "of hosts with as many, the one heard longest ago"


def test_it_agrees_with_a_plain_count() -> None:
    dice, crowd, there, now = random.Random(7), Crowd[int](), {}, 0
    for member in range(3_000):
        now += 1
        host = f"h{dice.randrange(12)}"
        crowd.came(host, member)
        there[member] = (host, now)
        for known in dice.sample(sorted(there), min(2, len(there))):
            now += 1
            if dice.random() < 0.5:
                crowd.heard(there[known][0], known)
                there[known] = (there[known][0], now)
            else:
                crowd.left(there.pop(known)[0], known)
        sizes: dict[str, int] = {}
        for at_host, _ in there.values():
            sizes[at_host] = sizes.get(at_host, 0) + 1
        assert crowd.most() == max(sizes.values(), default=0)
        if there:
            gone = crowd.first_to_go()
            gone_host, heard = there[gone]
            assert sizes[gone_host] == crowd.most()
            assert heard == min(at for at_host, at in there.values() if at_host == gone_host)
