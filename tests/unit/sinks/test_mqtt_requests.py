"""Asking the gateway over a real Mosquitto: who gets which answer, what is never done."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from gateway import probe
from gateway.clock import SystemClock
from gateway.errors import NotAllowedError, StoreError
from gateway.model import emergency as transitions
from gateway.model.requests import Request
from gateway.runtime.backoff import Backoff
from gateway.sinks import mqtt_requests
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.mqtt_client import Incoming
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Listener
from tests.support.sink_rows import (
    BASE,
    States,
    eventually,
    fix,
    link_view,
    loaded,
    raised,
    row,
    running,
    unit_view,
)

pytestmark = pytest.mark.needs("mosquitto")

ALL = list(mqtt_requests.VERBS)


class Answers:
    """Does what a test says; ``hold`` keeps every answer back until it is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Request, str]] = []
        self.refused: list[tuple[str, str, str]] = []
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.most_at_once = 0
        self._at_once = 0

    def refuse(self, verb: str, request: Request, by: str, why: str) -> None:
        self.refused.append((verb, by, why))

    async def answer(self, verb: str, request: Request, by: str) -> dict[str, object]:
        self.asked.append((verb, request, by))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.hold is not None and verb == "locate":
                await self.hold.wait()
        finally:
            self._at_once -= 1
        if self.error is not None:
            raise self.error
        return {"done": verb}


class World:
    """A broker, the sink under test, and a client that asks."""

    def __init__(
        self, sink: MqttSink, listener: Listener, answers: Answers, outcomes: Counter[str]
    ) -> None:
        self.sink = sink
        self.listener = listener
        self.answers = answers
        self.outcomes = outcomes

    async def ask(self, verb: str, payload: Any, **options: Any) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await asyncio.to_thread(self.listener.publish, f"{BASE}/request/{verb}", body, **options)

    async def response(self, verb: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th response on a verb's topic."""
        topic = f"{BASE}/response/{verb}"
        await asyncio.to_thread(
            self.listener.wait_for, lambda _: len(self.listener.on(topic)) >= count, topic
        )
        message = self.listener.on(topic)[count - 1]
        assert message.qos == 1
        assert not message.retain
        content: dict[str, Any] = json.loads(message.payload)
        return content


@asynccontextmanager
async def world(
    folder: Path,
    requests: Sequence[str],
    *,
    states: States | None = None,
    settings: tuple[str, ...] = (),
    **mqtt: Any,
) -> AsyncIterator[World]:
    answers = Answers()
    outcomes: Counter[str] = Counter()

    def count(outcome: str) -> None:
        outcomes[outcome] += 1

    with (
        Mosquitto(folder, *settings) as broker,
        Listener(broker.port, f"{BASE}/#", protocol=MQTTProtocolVersion.MQTTv5) as listener,
    ):
        sink = MqttSink(
            loaded(folder, mqtt={"port": broker.port, "requests": requests, **mqtt}),
            states=states or States(),
            clock=SystemClock(),
            backoff=Backoff(first_s=0.05, most_s=0.2),
            answers=answers,
            count_request=count,
        )
        async with running(sink):
            yield World(sink, listener, answers, outcomes)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_request_is_answered_on_the_topic_of_its_verb(tmp_path: Path, protocol: str) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ALL, protocol=protocol) as here:
            request = {"transaction": "a-7", "unit_id": "u1", "by": "李明"}
            await here.ask("locate", request)
            assert await here.response("locate") == {
                "status": "ok",
                "data": {"done": "locate"},
                "transaction": "a-7",
            }
            ((verb, taken, by),) = here.answers.asked
            assert (verb, taken.unit_id, by) == ("locate", "u1", "李明 via mqtt")
            await here.ask("emergency/take", {"transaction": 8, "emergency_id": "e", "by": "王芳"})
            assert (await here.response("emergency/take"))["transaction"] == 8
            await here.ask("text", {"radio_id": "pdt:1", "body": "集合"})
            assert "transaction" not in await here.response("text")
            assert here.answers.asked[-1][2] == "mqtt", "nobody was named"
            assert here.outcomes == {"done": 3}

    asyncio.run(scenario())


def test_response_topic_and_correlation_data_are_honoured_below_response_only(
    tmp_path: Path,
) -> None:
    mine = f"{BASE}/response/locate/desk-2"

    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            await here.ask("locate", {}, response_topic=mine, correlation=b"\x00\xff7")
            await asyncio.to_thread(here.listener.wait_for, lambda _: here.listener.on(mine) != [])
            assert here.listener.on(mine)[0].correlation == b"\x00\xff7"
            assert not here.listener.on(f"{BASE}/response/locate")
            for number, foreign in enumerate(
                (
                    f"{BASE}/unit/u1/emergency",
                    f"{BASE}/request/locate",
                    "anything",
                    f"{BASE}/response/" + "x" * 300,
                    f"{BASE}/response/a//b",
                ),
                1,
            ):
                await here.ask("locate", {}, response_topic=foreign, correlation=b"9")
                answer = await here.response("locate", number)
                assert answer["status"] == "error"
                assert "is not below" in answer["error"]
                assert here.listener.on(f"{BASE}/response/locate")[-1].correlation == b"9"
            assert len(here.answers.asked) == 1
            assert here.outcomes == {"done": 1, "response_topic": 5}
            assert not here.listener.on(f"{BASE}/unit/u1/emergency")

    asyncio.run(scenario())


REFUSED: list[tuple[str, bytes | dict[str, Any], str, str, str]] = [
    # verb, payload, where the answer comes, how it is counted, what it says
    ("locate", b"", "locate", "malformed", "not a request"),
    ("locate", b"{", "locate", "malformed", "not a request"),
    ("locate", b"[1]", "locate", "malformed", "not a request"),
    ("locate", b"\xff\xfe", "locate", "malformed", "not a request"),
    ("locate", b"[" * 5000, "locate", "malformed", "not a request"),
    ("locate", {"unit": "u1"}, "locate", "malformed", "unknown field"),
    ("locate", {"unit_id": 7}, "locate", "malformed", "Expected `str"),
    ("locate", {"by": "a\nb"}, "locate", "malformed", "by: a person's name"),
    ("locate", {"by": " "}, "locate", "malformed", "by: a person's name"),
    ("locate", {"by": "x" * 65}, "locate", "malformed", "by: a person's name"),
    ("locate", {"transaction": "x" * 200}, "locate", "malformed", "transaction: at most"),
    ("locate", b'{"body":"' + b"x" * 9000 + b'"}', "locate", "too_large", "at most 8192 bytes"),
    ("stun", {}, "stun", "unknown", "no such verb"),
    ("emergency", {}, "emergency", "unknown", "no such verb"),
    ("a/b/c", {}, "error", "unknown", "no such verb"),
    ("LOCATE", {}, "error", "unknown", "no such verb"),
    ("text", {}, "text", "switched_off", "not in mqtt.requests"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]}-{case[4]}")
def test_what_is_not_carried_out_is_answered_with_the_reason_and_counted(
    tmp_path: Path, case: tuple[str, bytes | dict[str, Any], str, str, str]
) -> None:
    verb, payload, answered_on, outcome, sentence = case

    async def scenario() -> None:
        async with world(tmp_path, [each for each in ALL if each != "text"]) as here:
            await here.ask(verb, payload)
            answer = await here.response(answered_on)
            assert answer["status"] == "error"
            assert sentence in answer["error"]
            assert len(answer["error"]) <= 300
            assert "data" not in answer
            assert not here.answers.asked
            assert here.outcomes == {outcome: 1}
            refused = [(verb, "mqtt", answer["error"])] if outcome == "switched_off" else []
            assert here.answers.refused == refused, "put on record where it is a command"
            count = len(here.listener.on(f"{BASE}/response/locate")) + 1
            await here.ask("locate", {"transaction": "after"})
            assert (await here.response("locate", count))["status"] == "ok"

    asyncio.run(scenario())


def test_a_refused_request_has_its_transaction_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            await here.ask("locate", {"transaction": "t1", "unheard_of": 1})
            answer = await here.response("locate")
            assert (answer["status"], answer["transaction"]) == ("error", "t1")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "outcome", "sentence"),
    [
        (NotAllowedError("already closed by 李明"), "not_allowed", "already closed by 李明"),
        (StoreError("the disk is full"), "failed", "the disk is full"),
        (KeyError("a bug"), "failed", "see its log"),
    ],
)
def test_whatever_goes_wrong_is_answered_and_the_next_request_is_served(
    tmp_path: Path, error: Exception, outcome: str, sentence: str
) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            here.answers.error = error
            await here.ask("check", {})
            answer = await here.response("check")
            assert answer["status"] == "error"
            assert sentence in answer["error"]
            assert "a bug" not in answer["error"]
            here.answers.error = None
            await here.ask("check", {})
            assert (await here.response("check", 2))["status"] == "ok"
            assert here.outcomes == {outcome: 1, "done": 1}

    asyncio.run(scenario())


def test_an_answer_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_requests, "TIMEOUT_S", 0.1)

    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            here.answers.hold = asyncio.Event()
            await here.ask("locate", {})
            assert "not done within" in (await here.response("locate"))["error"]
            assert here.outcomes == {"timeout": 1}

    asyncio.run(scenario())


def test_requests_to_radios_are_bounded_and_emergencies_do_not_wait_for_them(
    tmp_path: Path,
) -> None:
    many = mqtt_requests.MOST_WORKING

    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            here.answers.hold = asyncio.Event()
            for number in range(many + 5):
                await here.ask("locate", {"transaction": number})
            for count in range(1, 6):
                assert "too many" in (await here.response("locate", count))["error"]
            await here.ask("emergency/take", {"emergency_id": "e", "by": "王芳"})
            assert (await here.response("emergency/take"))["status"] == "ok"
            delivery = await here.sink.deliver([row(1, fix(1))])
            assert delivery.accepted == [1], "events do not wait for requests"
            here.answers.hold.set()
            await here.response("locate", many + 5)
            assert here.answers.most_at_once == many + 1
            assert here.outcomes == {"done": many + 1, "busy": 5}

    asyncio.run(scenario())


def test_a_flood_is_answered_or_counted_to_the_last_one(tmp_path: Path) -> None:
    flood = 3_000

    async def scenario() -> None:
        async with world(tmp_path, ALL, settings=("allow_anonymous true",)) as here:
            client = here.listener._client
            for _ in range(flood):
                client.publish(f"{BASE}/request/check", b"{", 0)
            await eventually(lambda: here.outcomes.total() == flood, "the flood to be counted", 30)
            answered = flood - here.outcomes["not_taken"]
            await here.response("check", answered)
            delivery = await here.sink.deliver([row(1, fix(1))])
            assert delivery.accepted == [1]

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_retained_request_is_not_carried_out_on_connecting(tmp_path: Path, protocol: str) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, f"{BASE}/#") as listener:
            listener.publish(f"{BASE}/request/locate", b"{}", retain=True)
            answers = Answers()
            sink = MqttSink(
                loaded(
                    tmp_path,
                    mqtt={"port": broker.port, "requests": ALL, "protocol": protocol},
                ),
                states=States(),
                clock=SystemClock(),
                backoff=Backoff(first_s=0.05, most_s=0.2),
                answers=answers,
            )
            async with running(sink):
                listener.publish(f"{BASE}/request/check", b"{}")
                await eventually(lambda: bool(answers.asked), "the request that is not retained")
            assert [verb for verb, _, _ in answers.asked] == ["check"]

    asyncio.run(scenario())


def test_a_request_that_is_published_to_be_retained_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            await here.ask("locate", {}, retain=True)
            assert "must not be retained" in (await here.response("locate"))["error"]
            assert not here.answers.asked
            assert here.outcomes == {"retained": 1}

    asyncio.run(scenario())


def test_a_request_that_the_broker_sends_again_is_not_carried_out_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            here.sink._requests._take(Incoming(f"{BASE}/request/locate", b"{}", is_repeated=True))
            assert "came twice" in (await here.response("locate"))["error"]
            assert not here.answers.asked

    asyncio.run(scenario())


def test_nothing_is_heard_while_no_verb_is_switched_on(tmp_path: Path) -> None:
    """Not even after a run that had subscribed, whose session the broker has kept."""

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, f"{BASE}/#") as listener:
            heard = 0
            for verbs in (ALL, []):
                answers = Answers()
                sink = MqttSink(
                    loaded(tmp_path, mqtt={"port": broker.port, "requests": verbs}),
                    states=States(),
                    clock=SystemClock(),
                    backoff=Backoff(first_s=0.05, most_s=0.2),
                    answers=answers,
                )
                async with running(sink):
                    listener.publish(f"{BASE}/request/check", b"{}")
                    if verbs:
                        await eventually(lambda: len(answers.asked) == 1, "the request")  # noqa: B023
                    await sink.deliver([row(1, fix(1))])
                    heard += len(answers.asked)
            assert heard == 1

    asyncio.run(scenario())


def test_a_request_waits_in_the_kept_session_while_the_gateway_is_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, ALL) as here:
            here.sink._client.abort("cut by the test")
            await here.ask("check", {"transaction": "meanwhile"})
            assert (await here.response("check"))["transaction"] == "meanwhile"

    asyncio.run(scenario())


def test_a_probe_takes_no_request_from_the_session(tmp_path: Path) -> None:
    """The first was shown to it, and is answered as one that may be done already."""

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, f"{BASE}/#") as listener:
            town = loaded(tmp_path, mqtt={"port": broker.port, "requests": ALL})
            answers = Answers()

            def sink() -> MqttSink:
                clock, pauses = SystemClock(), Backoff(first_s=0.05, most_s=0.2)
                return MqttSink(town, states=States(), clock=clock, backoff=pauses, answers=answers)

            async with running(sink()):
                pass  # it has subscribed, and its session is kept
            for number in (1, 2):
                body = f'{{"transaction": "t-{number}"}}'.encode()
                await asyncio.to_thread(listener.publish, f"{BASE}/request/check", body)
            (found,) = await probe._broker(town)
            assert not found.is_wrong, found.text
            async with running(sink()):
                await eventually(lambda: len(listener.on(f"{BASE}/response/check")) == 2, "both")
            told = [json.loads(one.payload) for one in listener.on(f"{BASE}/response/check")]
            assert {one["transaction"] for one in told} == {"t-1", "t-2"}
            assert len(answers.asked) == 1

    asyncio.run(scenario())


def test_rebirth_sends_everything_that_is_retained_again(tmp_path: Path) -> None:
    states = States()
    states.put(transitions.raised(raised(1)))
    states.unit_views = {"u3": unit_view(3)}
    states.link_views = {"lan": link_view()}
    states.fixes = [fix(3, 5)]
    expected = [
        "gateway/state",
        "unit/u1/emergency",
        "gateway/info",
        "link/lan/state",
        "gateway/health",
        "unit/u3/status",
        "unit/u3/fix",
    ]

    async def scenario() -> None:
        async with world(tmp_path, ["rebirth"], states=states) as here:
            await asyncio.to_thread(  # what every connection begins with
                here.listener.wait_for, lambda _: f"{BASE}/unit/u3/status" in here.listener.topics()
            )
            here.listener.messages.clear()
            await here.ask("rebirth", {})
            assert (await here.response("rebirth"))["data"] == {"emergencies": 1, "units": 1}
            await asyncio.to_thread(
                here.listener.wait_for, lambda _: f"{BASE}/unit/u3/fix" in here.listener.topics()
            )
            kept = [each.removeprefix(f"{BASE}/") for each in here.listener.topics()]
            assert [each for each in kept if not each.startswith(("request", "resp"))] == expected
            assert here.answers.asked == [], "the sink knows best what it has retained"

    asyncio.run(scenario())


def test_an_answer_that_may_not_be_published_is_counted(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {BASE}/gateway/#\ntopic readwrite {BASE}/request/#\n")

    async def scenario() -> None:
        rights = ("allow_anonymous true", f"acl_file {acl}")
        async with world(tmp_path, ALL, settings=rights) as here:
            await here.ask("check", {})
            await eventually(lambda: here.outcomes["answer_lost"] == 1, "the loss to be counted")
            assert here.outcomes == {"done": 1, "answer_lost": 1}

    asyncio.run(scenario())
