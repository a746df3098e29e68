"""Commands to radios: they wait, go out once, and have one end."""

import asyncio
import re
from typing import Any, get_args

import pytest

from drivers.api import Outcome, Verb
from gateway.errors import NotAllowedError, StoreError
from gateway.model.events import CommandEnded, CommandQueued, CommandSent, CommandVerb
from gateway.model.identity import EventId, RadioId
from gateway.runtime.downlink import Ask
from gateway.runtime.reach import MOST_RADIOS, MOST_ROUTES, Reach
from gateway.runtime.refusals import MOST_ON_RECORD, WINDOW_S
from gateway.settings import CommandSettings
from tests.support.commands import OTHER, RADIO, Peer, Place


def kinds(place: Place) -> list[str]:
    return [str(type(event).__struct_config__.tag) for event in place.disk.events]


def state_of(place: Place, command_id: EventId) -> str:
    view = place.downlink.view(command_id)
    assert view is not None
    return view.state


def test_no_verb_disables_a_radio_or_listens_in() -> None:
    assert {verb.value for verb in Verb} == set(get_args(CommandVerb))
    assert {verb.value for verb in Verb} == {"locate", "track", "text", "check", "emergency_stop"}


def test_a_radio_that_is_there_is_asked_at_once() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    command_id = place.downlink.submit(
        Ask(RADIO, Verb.TRACK, "李明", every_s=10, for_s=600), lambda _error: None
    )
    (command,) = peer.sent
    assert (command.radio_id, command.verb, command.every_s, command.for_s) == (
        RADIO,
        Verb.TRACK,
        10,
        600,
    )
    assert command.until_mono == place.clock.monotonic() + place.settings.answer_s
    place.answer(command)
    queued, sent, ended = place.disk.events
    assert isinstance(queued, CommandQueued)
    assert isinstance(sent, CommandSent)
    assert isinstance(ended, CommandEnded)
    assert (queued.event_id, sent.command_id, ended.command_id) == (command_id,) * 3
    assert (queued.by, queued.every_s, queued.for_s, queued.unit_id, queued.site) == (
        "李明",
        10,
        600,
        "patrol-1",
        "town",
    )
    assert (sent.link_id, sent.driver) == ("link-1", "scripted")
    assert (ended.result, ended.why, ended.by) == ("delivered", None, "李明")
    assert place.counters.commands_ended == {("track", "delivered"): 1}
    assert place.counters.account().difference == 0


def test_a_link_that_can_call_a_radio_is_asked_where_none_that_heard_it_can() -> None:
    place, registration, location = Place(), Peer("ars", frozenset({Verb.CHECK})), Peer("lrrp")
    calls: list[Any] = []

    def call(radio: Any, verb: Verb) -> Peer:
        calls.append((radio, verb))
        return location

    place.downlink.add_caller(lambda _radio, _verb: None)
    place.downlink.add_caller(call)
    place.submit()
    assert calls == [], "a radio that is away is not called"
    place.downlink.heard(RADIO, registration)
    (command,) = location.sent
    place.answer(command)
    place.submit(Verb.CHECK)
    assert [each.verb for each in registration.sent] == [Verb.CHECK]
    assert {verb for _, verb in calls} == {Verb.LOCATE}


def test_what_is_asked_of_a_radio_that_is_away_waits_for_it() -> None:
    place, peer = Place(), Peer()
    place.submit()
    place.pass_time(100)
    assert kinds(place) == ["command_queued"]
    place.downlink.heard(OTHER, peer)
    assert peer.sent == []
    place.downlink.heard(RADIO, peer)
    assert [command.verb for command in peer.sent] == [Verb.LOCATE]


def test_a_command_that_nobody_comes_for_expires_and_is_never_sent() -> None:
    place, peer = Place(), Peer()
    place.submit()
    place.pass_time(place.settings.expire_s - 1)
    assert place.ends() == []
    place.pass_time(1)
    assert place.ends() == [("expired", "the radio was not heard")]
    place.downlink.heard(RADIO, peer)
    assert peer.sent == []


def test_a_command_without_an_answer_times_out_and_a_late_answer_changes_nothing() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    place.submit()
    place.pass_time(place.settings.answer_s)
    place.answer(peer.sent[0])
    place.downlink.answered(Outcome(99, "delivered"))
    assert place.ends() == [("timed_out", "no answer within 30 s")]


def test_a_driver_says_why_it_refuses() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    place.submit()
    place.answer(peer.sent[0], "refused", "no ASCII" + "x" * 500)
    ((result, why),) = place.ends()
    assert result == "refused"
    assert why.startswith("no ASCII")
    assert len(why) == 200


def test_the_peer_that_heard_the_radio_last_and_can_do_it_carries_it() -> None:
    place = Place()
    texts, places = Peer("texts", frozenset({Verb.TEXT})), Peer("places", frozenset({Verb.LOCATE}))
    place.downlink.heard(RADIO, places)
    place.downlink.heard(RADIO, texts)
    place.submit(Verb.LOCATE)
    place.submit(Verb.TEXT)
    assert [command.verb for command in texts.sent] == [Verb.TEXT]
    assert [command.verb for command in places.sent] == [Verb.LOCATE]
    with pytest.raises(NotAllowedError, match="cannot do 'check'"):
        place.submit(Verb.CHECK)


def test_a_radio_that_moved_is_asked_where_it_is_now() -> None:
    place, before, now = Place(), Peer("before"), Peer("now")
    place.downlink.heard(RADIO, before)
    place.downlink.heard(RADIO, now)
    place.submit()
    assert (len(before.sent), len(now.sent)) == (0, 1)


def test_a_lost_connection_carries_nothing_and_ends_what_went_out_over_it() -> None:
    place, peer, again = Place(), Peer(), Peer()
    place.downlink.heard(RADIO, peer)
    place.submit()
    peer.is_lost = True
    place.downlink.gone(peer)
    assert place.ends() == [("timed_out", "the connection was lost before an answer came")]
    place.submit(Verb.TEXT)
    assert len(peer.sent) == 1
    place.downlink.heard(RADIO, again)
    assert [command.verb for command in again.sent] == [Verb.TEXT]


def test_a_radio_that_said_good_bye_is_away() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    place.downlink.left(RADIO)
    place.submit()
    assert peer.sent == []


def test_what_waited_is_refused_when_the_radio_comes_where_it_cannot_be_done() -> None:
    place = Place()
    place.submit(Verb.CHECK)
    place.downlink.heard(RADIO, Peer(verbs=frozenset({Verb.TEXT})))
    ((result, why),) = place.ends()
    assert result == "refused"
    assert "driver 'scripted' on link 'link-1'" in why


def test_an_end_that_ends_the_next_one_too_makes_no_second_end_of_that() -> None:
    """One times out, and the radio has moved to where the other of that verb cannot be done."""
    place = Place()
    place.downlink.heard(RADIO, Peer())
    place.submit(Verb.TRACK)
    place.submit(Verb.TRACK)
    place.downlink.left(RADIO)
    place.downlink.heard(RADIO, Peer("texts", frozenset({Verb.TEXT})))
    place.pass_time(place.settings.answer_s)
    assert [result for result, _ in place.ends()] == ["timed_out", "refused"]
    assert set(place.ends_of_each().values()) == {1}


def test_one_of_each_verb_is_under_way_at_a_time_in_order() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    for _ in range(3):
        place.submit(Verb.TEXT)
    place.submit(Verb.LOCATE)
    assert [command.verb for command in peer.sent] == [Verb.TEXT, Verb.LOCATE]
    place.answer(peer.sent[0])
    assert [command.order for command in peer.sent if command.verb is Verb.TEXT] == [1, 2]
    place.answer(peer.sent[2], "refused", "busy")
    assert [command.order for command in peer.sent if command.verb is Verb.TEXT] == [1, 2, 3]


def test_what_may_be_open_is_bounded_per_radio_and_in_all() -> None:
    bounds: dict[str, Any] = {"max_open": 3, "max_open_per_radio": 2}
    place = Place(CommandSettings(enabled=True, allow=("locate",), **bounds))
    place.submit()
    place.submit()
    with pytest.raises(NotAllowedError, match=r"commands\.max_open_per_radio is 2"):
        place.submit()
    place.submit(radio=OTHER)
    with pytest.raises(NotAllowedError, match=r"commands\.max_open is 3"):
        place.submit(radio=OTHER)
    assert place.counters.commands_not_taken == {"too_many": 2}
    assert [result for result, _ in place.ends()] == ["refused", "refused"]
    place.pass_time(600)
    place.submit()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (CommandSettings(), r"set commands\.enabled"),
        (CommandSettings(enabled=True), r"'text' is not in commands\.allow"),
    ],
)
def test_off_until_switched_on_and_then_verb_by_verb(
    settings: CommandSettings, sentence: str
) -> None:
    place = Place(settings)
    with pytest.raises(NotAllowedError, match=sentence):
        place.submit(Verb.TEXT)
    (end,) = place.disk.events
    assert isinstance(end, CommandEnded)
    assert (end.result, end.verb, end.by, end.unit_id) == ("refused", "text", "李明", "patrol-1")
    assert re.search(sentence, end.why or "")
    assert place.counters.commands_not_taken == {"switched_off": 1}
    assert place.counters.commands_ended == {("text", "refused"): 1}
    assert place.downlink.views() == [], "nothing waits"
    place.kill()
    place.start()
    assert place.downlink.views() == []
    assert len(place.ends()) == 1


def test_nobody_fills_the_log_with_refusals_nor_hides_those_of_others() -> None:
    place = Place(CommandSettings())

    def ask(by: str) -> None:
        with pytest.raises(NotAllowedError):
            place.submit(Verb.TEXT, by=by)

    for number in range(3 * MOST_ON_RECORD):
        ask(f"名字{number} via mqtt")
    assert len(place.ends()) == MOST_ON_RECORD
    assert place.counters.commands_not_taken == {"switched_off": 3 * MOST_ON_RECORD}
    assert place.counters.refusals_off_record == 2 * MOST_ON_RECORD
    ask("李明 via desk")
    assert len(place.ends()) == MOST_ON_RECORD + 1
    place.pass_time(WINDOW_S)
    ask("名字 via mqtt")
    assert len(place.ends()) == MOST_ON_RECORD + 2
    assert place.counters.account().difference == 0


def test_a_refusal_that_cannot_be_stored_is_still_an_answer() -> None:
    place = Place(CommandSettings())
    place.disk.mood = "fails"
    with pytest.raises(NotAllowedError):
        place.submit(Verb.TEXT)
    assert place.ends() == []
    assert place.counters.commands_ended == {}
    assert place.counters.account().difference == 0


def test_a_command_that_cannot_be_stored_does_not_exist() -> None:
    async def story() -> None:
        place, peer = Place(), Peer()
        place.downlink.heard(RADIO, peer)
        place.disk.mood = "fails"
        with pytest.raises(StoreError):
            await place.downlink.ask(Ask(RADIO, Verb.LOCATE, "李明"))
        assert peer.sent == []
        assert place.downlink.views() == []
        place.disk.mood = "commits"
        place.pass_time(1000)
        assert place.disk.events == []

    asyncio.run(story())


def test_nothing_leaves_before_it_is_noted_and_no_end_counts_before_it_is_on_disk() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    place.disk.mood = "blocks"
    command_id = place.submit()
    place.disk.settle_first()
    assert peer.sent == []
    place.disk.settle_first(StoreError("full"))
    assert peer.sent == []
    place.pass_time(1)
    place.disk.settle_first()
    assert len(peer.sent) == 1
    place.answer(peer.sent[0])
    place.disk.settle_first(StoreError("full"))
    assert state_of(place, command_id) == "sent"
    place.pass_time(1)
    place.disk.settle_first()
    assert state_of(place, command_id) == "delivered"
    assert place.ends() == [("delivered", "")]


def test_a_restart_ends_what_was_sent_and_goes_on_waiting_for_the_rest() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    place.submit(Verb.LOCATE)
    place.submit(Verb.CHECK, OTHER)
    place.pass_time(20)
    place.start()
    assert place.ends() == [("timed_out", "the gateway restarted before an answer came")]
    again = Peer()
    place.downlink.heard(OTHER, again)
    assert [command.verb for command in again.sent] == [Verb.CHECK]
    place.answer(again.sent[0])
    place.start()
    assert len(place.ends()) == 2
    assert place.downlink.views() == []


def test_a_restart_too_late_or_with_writing_off_ends_what_waited() -> None:
    place = Place()
    place.submit()
    place.clock._move_to(place.clock.monotonic() + 601)
    place.start()
    place.submit()
    place.settings = CommandSettings()
    place.start()
    assert [result for result, _ in place.ends()] == ["expired", "refused"]


def test_after_a_restart_it_waits_only_as_long_as_it_had_left() -> None:
    place = Place()
    place.submit()
    place.pass_time(500)
    place.start()
    place.pass_time(99)
    assert place.ends() == []
    place.pass_time(1)
    assert place.ends() == [("expired", "the radio was not heard")]


def test_whoever_asked_may_follow_it_to_its_end() -> None:
    async def story() -> None:
        place, peer = Place(), Peer()
        view = await place.downlink.ask(Ask(RADIO, Verb.LOCATE, "李明"))

        async def follow() -> list[str]:
            return [newer.state async for newer in place.downlink.follow(view.command_id)]

        following = asyncio.ensure_future(follow())
        await asyncio.sleep(0)
        place.downlink.heard(RADIO, peer)
        await asyncio.sleep(0)
        place.answer(peer.sent[0])
        assert await following == ["waiting", "sent", "delivered"]
        assert (await place.downlink.outcome(view, 1)).state == "delivered"

    asyncio.run(story())


def test_what_has_ended_is_shown_for_a_while_and_then_forgotten() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    for number in range(300):
        place.submit()
        place.answer(peer.sent[number])
    assert len(place.downlink.views()) == 200
    assert place.downlink._orders == {}
    assert place.downlink._by_radio == {}


def test_routes_are_bounded() -> None:
    reach = Reach()
    peers = [Peer(str(number)) for number in range(6)]
    for peer in peers:
        reach.heard(RADIO, peer)
    assert reach.routes(RADIO) == peers[:1:-1][:MOST_ROUTES]
    for number in range(MOST_RADIOS):
        reach.heard(RadioId(f"dmr:{number}"), peers[0])
    assert reach.routes(RADIO) == []
    assert len(reach._routes) == MOST_RADIOS


def test_a_radio_heard_on_one_port_of_a_peer_is_asked_on_the_port_that_takes_the_verb() -> None:
    place = Place()
    places = Peer("gps", frozenset({Verb.LOCATE}), port_of="repeater 10.0.0.9")
    texts = Peer("tms", frozenset({Verb.TEXT}), port_of="repeater 10.0.0.9")
    elsewhere = Peer("other", frozenset({Verb.TEXT}), port_of="repeater 10.0.0.10")
    for peer in (elsewhere, places, texts):
        place.downlink.met(peer)
    place.downlink.heard(RADIO, places)
    place.submit(verb=Verb.TEXT)
    assert [command.verb for command in texts.sent] == [Verb.TEXT]
    assert elsewhere.sent == places.sent == []


def test_ports_of_a_peer_that_is_gone_are_forgotten() -> None:
    reach = Reach()
    places, texts = (Peer(name, port_of="repeater") for name in ("gps", "tms"))
    for port in (places, texts):
        reach.met(port)
    reach.heard(RADIO, places)
    assert reach.routes(RADIO) == [places, texts]
    texts.is_lost = True
    reach.gone(texts)
    assert reach.routes(RADIO) == [places]
    reach.gone(places)
    assert reach._ports == {}
    reach.gone(Peer("alone"))


def test_a_second_answer_while_the_end_is_on_its_way_to_the_disk_makes_no_second_end() -> None:
    place, peer = Place(), Peer()
    place.downlink.heard(RADIO, peer)
    place.submit()
    place.disk.mood = "blocks"
    place.answer(peer.sent[0])
    place.answer(peer.sent[0], "refused", "changed its mind")
    place.pass_time(100)
    place.disk.settle()
    assert place.ends() == [("delivered", "")]
