"""Whatever happens to commands and to the process, each one on disk gets exactly one end."""

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from drivers.api import Verb
from gateway.errors import NotAllowedError
from gateway.model.events import CommandSent
from gateway.model.identity import RadioId
from tests.support.commands import OTHER, RADIO, Peer, Place
from tests.support.talk import Mood

RADIOS = st.sampled_from([RADIO, OTHER])
VERBS = st.sampled_from(list(Verb))


class Commands(RuleBasedStateMachine):
    """Radios come and go, disks fail, processes die; peers answer, late, twice or never."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Place()
        self.peers = [Peer("a"), Peer("b", frozenset({Verb.TEXT, Verb.LOCATE}))]
        self.sent: dict[str, int] = {}

    @rule(radio=RADIOS, verb=VERBS)
    def ask(self, radio: RadioId, verb: Verb) -> None:
        with contextlib.suppress(NotAllowedError):
            self.place.submit(verb, radio)

    @rule(radio=RADIOS, which=st.integers(0, 1))
    def hear(self, radio: RadioId, which: int) -> None:
        self.place.downlink.heard(radio, self.peers[which])

    @rule(radio=RADIOS)
    def leave(self, radio: RadioId) -> None:
        self.place.downlink.left(radio)

    @rule(which=st.integers(0, 1))
    def lose(self, which: int) -> None:
        peer = self.peers[which]
        peer.is_lost = True
        self.place.downlink.gone(peer)
        self.peers[which] = Peer(peer.link_id, peer.verbs)

    @rule(which=st.integers(0, 1), number=st.integers(0, 20), good=st.booleans())
    def answer(self, which: int, number: int, *, good: bool) -> None:
        sent = self.peers[which].sent
        if sent:
            self.place.answer(sent[number % len(sent)], "delivered" if good else "refused", "no")

    @rule(seconds=st.sampled_from([0.5, 10, 31, 601]))
    def wait(self, seconds: float) -> None:
        self.place.pass_time(seconds)

    @rule(mood=st.sampled_from(["commits", "fails", "blocks"]))
    def disk(self, mood: Mood) -> None:
        self.place.disk.mood = mood
        if mood == "commits":
            self.place.disk.settle()

    @rule()
    def die(self) -> None:
        self.place.kill()
        self.place.disk.mood = "commits"
        self.peers = [Peer(peer.link_id, peer.verbs) for peer in self.peers]
        self.place.start()

    @invariant()
    def never_two_ends(self) -> None:
        assert all(count <= 1 for count in self.place.ends_of_each().values())

    @invariant()
    def bounded(self) -> None:
        downlink = self.place.downlink
        assert len(downlink._orders) <= 2 * self.place.settings.max_open_per_radio
        open_ones = [order for order in downlink._orders.values() if order.is_under_way]
        under_way = [(order.ask.radio_id, order.ask.verb) for order in open_ones]
        assert len(under_way) == len(set(under_way))

    @invariant()
    def nothing_leaves_unnoted(self) -> None:
        noted = sum(isinstance(event, CommandSent) for event in self.place.disk.events)
        self.sent |= {f"{id(peer)}": len(peer.sent) for peer in self.peers}
        assert sum(self.sent.values()) <= noted

    def teardown(self) -> None:
        place = self.place
        place.disk.mood = "commits"
        place.disk.settle()
        for _ in range(20):
            place.pass_time(601)
        assert set(place.ends_of_each().values()) <= {1}
        assert place.downlink._orders == {}
        assert place.counters.account().difference == 0


TestCommands = Commands.TestCase
TestCommands.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
