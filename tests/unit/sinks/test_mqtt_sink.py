import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.errors import ConfigError, SinkError
from gateway.model import emergency as transitions
from gateway.model.events import (
    UNLISTED,
    AnyEvent,
    EmergencyEnded,
    LinkChanged,
    RadioRegistered,
    StatusReceived,
    TextReceived,
    event_from_json,
)
from gateway.model.identity import EventId, RadioId
from gateway.model.quantities import Instant
from gateway.runtime.backoff import Backoff
from gateway.sinks import mqtt
from gateway.sinks.mqtt import MqttSink
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Heard, Listener, retained
from tests.support.sink_rows import (
    AT,
    BASE,
    States,
    closed,
    eventually,
    fix,
    header,
    link_view,
    loaded,
    raised,
    row,
    running,
    unit_view,
)

pytestmark = pytest.mark.needs("mosquitto")


def make_sink(folder: Path, port: int, states: States, **settings: Any) -> MqttSink:
    return MqttSink(
        loaded(folder, mqtt={"host": "127.0.0.1", "port": port, **settings}),
        states=states,
        clock=SystemClock(),
        backoff=Backoff(first_s=0.05, most_s=0.2),
    )


async def heard_all(listener: Listener, *topics: str) -> None:
    def are_there(messages: list[Heard]) -> bool:
        return set(topics) <= {message.topic for message in messages}

    await asyncio.to_thread(listener.wait_for, are_there, f"{topics}")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_each_event_goes_where_the_contract_says(tmp_path: Path, protocol: str) -> None:
    press = raised(1)
    events: list[tuple[AnyEvent, str, bool]] = [
        (fix(1), "unit/u1/fix", True),
        (fix(2, unit_id=None, radio_id=RadioId("kenwood:100-7")), "radio/kenwood-100-7/fix", True),
        (RadioRegistered(**header(1)), "event/radio_registered", False),
        (StatusReceived(**header(1), code="7"), "event/status", False),
        (TextReceived(**header(1), body="收到"), "event/text", False),
        (LinkChanged(**header(1), state="down", since=AT, why="gone"), "event/link_changed", False),
        (press, "event/emergency_raised", False),
        (EmergencyEnded(**header(1), kind="alarm"), "event/emergency_ended", False),
    ]
    states = States()
    states.put(transitions.raised(press))

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
            async with running(make_sink(tmp_path, broker.port, states, protocol=protocol)) as sink:
                for seq, (event, _, _) in enumerate(events):
                    delivery = await sink.deliver([row(seq, event)])
                    assert delivery.accepted == [seq]
                    assert not delivery.rejected
                await heard_all(listener, *(f"{BASE}/{topic}" for _, topic, _ in events))
            for event, topic, _ in events:
                (message,) = listener.on(f"{BASE}/{topic}")
                assert event_from_json(message.payload) == event
                assert message.qos == 1
            kept = await asyncio.to_thread(retained, broker.port, "pdt/#")
            for _, topic, is_retained in events:
                assert (f"{BASE}/{topic}" in kept) == is_retained, topic

    asyncio.run(scenario())


def test_a_point_from_a_radios_memory_does_not_replace_the_newest_one(tmp_path: Path) -> None:
    newest, late = fix(1, 7), fix(1, 3, trigger="stored")

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
            async with running(make_sink(tmp_path, broker.port, States())) as sink:
                await sink.deliver([row(1, newest), row(2, late)])
                topic = f"{BASE}/unit/u1/fix"
                await asyncio.to_thread(
                    listener.wait_for, lambda heard: sum(m.topic == topic for m in heard) == 2
                )
            kept = await asyncio.to_thread(retained, broker.port, topic)
            assert event_from_json(kept[topic]) == newest

    asyncio.run(scenario())


def test_fixes_go_out_with_the_qos_of_the_settings(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
            async with running(make_sink(tmp_path, broker.port, States(), fix_qos=0)) as sink:
                rows = [row(seq, fix(seq % 3, seq)) for seq in range(450)]
                delivery = await sink.deliver(rows)
                assert delivery.accepted == list(range(450))
                await asyncio.to_thread(
                    listener.wait_for, lambda heard: sum("fix" in m.topic for m in heard) == 450
                )
            assert {message.qos for message in listener.messages if "fix" in message.topic} == {0}

    asyncio.run(scenario())


def test_the_present_state_is_retained_after_connecting(tmp_path: Path) -> None:
    states = States()
    states.unit_views = {"u1": unit_view(1), "pdt:9": unit_view(9, unit_id=None, state="silent")}
    states.link_views = {"lan": link_view(why="opened")}

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(make_sink(tmp_path, broker.port, states)):
                kept = await asyncio.to_thread(retained, broker.port, "pdt/#")
        assert {topic.removeprefix(f"{BASE}/") for topic in kept} == {
            "gateway/state",
            "gateway/info",
            "link/lan/state",
            "unit/u1/status",
            "radio/pdt-9/status",
        }
        assert json.loads(kept[f"{BASE}/gateway/state"]) == {"state": "online"}
        status = json.loads(kept[f"{BASE}/unit/u1/status"])
        assert status["state"] == "fresh_fix"
        assert status["battery_pct"] == 80
        assert "lat_deg" not in status
        link = json.loads(kept[f"{BASE}/link/lan/state"])
        assert (link["state"], link["since"], link["why"]) == ("up", AT.text(), "opened")

    asyncio.run(scenario())


def test_a_cut_connection_makes_the_will_say_offline(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            sink = make_sink(tmp_path, broker.port, States())
            async with running(sink):
                with Listener(broker.port, f"{BASE}/gateway/state") as listener:
                    sink._client.abort("cut by the test")
                    await asyncio.to_thread(
                        listener.wait_for, lambda heard: len(heard) >= 3, "offline and online"
                    )
        states = [json.loads(message.payload)["state"] for message in listener.messages]
        assert states == ["online", "offline", "online"]

    asyncio.run(scenario())


def test_a_stopping_gateway_leaves_offline_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            with Listener(broker.port, f"{BASE}/gateway/state") as listener:
                async with running(make_sink(tmp_path, broker.port, States())):
                    pass
                kept = await asyncio.to_thread(retained, broker.port, f"{BASE}/gateway/state")
            assert json.loads(kept[f"{BASE}/gateway/state"]) == {"state": "offline"}
            assert len(listener.messages) == 2, "online and offline, and no will beside them"

    asyncio.run(scenario())


def test_the_newest_open_emergency_shows_and_closing_uncovers_the_older(tmp_path: Path) -> None:
    topic = f"{BASE}/unit/u1/emergency"
    first = transitions.raised(raised(1, "first"))
    second = transitions.raised(
        raised(1, "second", kind="man_down", received_at=Instant(AT + 60_000_000_000))
    )
    states = States()

    async def shown(broker: Mosquitto) -> dict[str, Any] | None:
        kept = await asyncio.to_thread(retained, broker.port, f"{BASE}/unit/#")
        return json.loads(kept[topic]) if topic in kept else None

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(make_sink(tmp_path, broker.port, states)) as sink:
                states.put(first)
                await sink.deliver([row(1, raised(1, "first"))])
                state = await shown(broker)
                assert state is not None
                assert state["emergency_id"] == first.emergency_id
                assert state["phase"] == "open"

                states.put(second)
                await sink.deliver([row(2, raised(1, "second"))])
                state = await shown(broker)
                assert state is not None
                assert state["emergency_id"] == second.emergency_id

                states.put(transitions.closed(second, closed(second)))
                await sink.deliver([row(3, closed(second))])
                state = await shown(broker)
                assert state is not None
                assert state["emergency_id"] == first.emergency_id

                states.put(transitions.closed(first, closed(first)))
                await sink.deliver([row(4, closed(first))])
                assert await shown(broker) is None

    asyncio.run(scenario())


def test_what_a_stranger_says_in_a_radios_name_takes_no_topic_from_it(tmp_path: Path) -> None:
    """The unit's topic is not touched, and a radio without a unit keeps its own as well."""
    nobody: dict[str, Any] = {"unit_id": None, "unit_name": None, "team": None}
    real, loose = raised(1), raised(2, **nobody)
    later = Instant(AT + 60_000_000_000)
    forged = [
        raised(number, "forged", **nobody, verified=False, doubt=UNLISTED, received_at=later)
        for number in (1, 2, 3)
    ]
    states = States()
    states.put(*(transitions.raised(each) for each in (real, loose, *forged)))

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(make_sink(tmp_path, broker.port, states)):
                kept = await asyncio.to_thread(retained, broker.port, f"{BASE}/#")
        shown = {
            topic.removeprefix(f"{BASE}/"): json.loads(payload)["emergency_id"]
            for topic, payload in kept.items()
            if topic.endswith("/emergency")
        }
        assert shown == {
            "unit/u1/emergency": real.event_id,
            "radio/pdt-1/emergency": forged[0].event_id,
            "radio/pdt-2/emergency": loose.event_id,
            "radio/pdt-3/emergency": forged[2].event_id,
        }

    asyncio.run(scenario())


def test_a_refreshed_emergency_is_published_when_the_runtime_says_so(tmp_path: Path) -> None:
    press = raised(1)
    states = States()
    states.put(transitions.raised(press))
    topic = f"{BASE}/unit/u1/emergency"

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, topic) as listener:
            async with running(make_sink(tmp_path, broker.port, states)) as sink:
                states.put(transitions.refreshed(transitions.raised(press), press))
                sink.changed("emergency", press.event_id)
                await asyncio.to_thread(listener.wait_for, lambda heard: len(heard) == 2)
                sink.changed("emergency", press.event_id)
                sink.changed("gateway", "")
                await eventually(lambda: not sink._health_changed, "the next turn")
        assert [json.loads(message.payload)["frames"] for message in listener.messages] == [1, 2]

    asyncio.run(scenario())


def test_what_an_earlier_run_left_on_an_emergency_topic_is_cleared(tmp_path: Path) -> None:
    state = transitions.raised(raised(1))
    topic = f"{BASE}/unit/u1/emergency"

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            with Listener(broker.port) as earlier:
                earlier.publish(topic, b'{"phase":"open"}', retain=True)
            async with running(make_sink(tmp_path, broker.port, States())) as sink:
                await sink.deliver([row(7, closed(state))])
                assert topic not in await asyncio.to_thread(retained, broker.port, "pdt/#")

    asyncio.run(scenario())


def test_after_a_killed_broker_the_state_is_back_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    open_one, done = transitions.raised(raised(1)), transitions.raised(raised(2))
    states = States()
    states.put(open_one, done)
    states.unit_views = {f"u{number}": unit_view(number) for number in range(1, 40)}
    states.link_views = {"lan": link_view()}
    rows = [row(seq, fix(seq % 40, seq)) for seq in range(1200)]
    texts = [row(2000 + seq, TextReceived(**header(1), body=str(seq))) for seq in range(300)]
    waiting = {one.seq: one for one in [*rows, *texts]}

    async def drain(sink: MqttSink) -> None:
        while waiting:
            batch = [waiting[seq] for seq in sorted(waiting)[:100]]
            try:
                delivery = await sink.deliver(batch)
            except SinkError:
                await asyncio.sleep(0.02)
            else:
                for seq in delivery.accepted:
                    del waiting[seq]

    async def scenario() -> None:
        broker = Mosquitto(tmp_path)
        with broker:
            async with running(make_sink(tmp_path, broker.port, states)) as sink:
                task = asyncio.ensure_future(drain(sink))
                await eventually(lambda: len(waiting) < 1300, "some deliveries")
                broker.kill()
                left = len(waiting)
                states.put(transitions.closed(done, closed(done)))
                with pytest.raises(SinkError):
                    await sink.deliver(texts[-1:])
                broker.start()
                with Listener(broker.port, "pdt/#") as listener:
                    await asyncio.wait_for(task, 10)
                    await heard_all(listener, f"{BASE}/unit/u1/fix", f"{BASE}/event/text")
                kept = await asyncio.to_thread(retained, broker.port, "pdt/#")
        assert left > 0
        assert f"{BASE}/unit/u1/emergency" in kept
        assert f"{BASE}/unit/u2/emergency" not in kept, "closed while the broker was away"
        assert {f"{BASE}/unit/u{number}/fix" for number in range(40)} <= kept.keys()
        assert {f"{BASE}/unit/u{number}/status" for number in range(1, 40)} <= kept.keys()

    asyncio.run(scenario())


def test_a_publish_that_the_acl_forbids_is_rejected_with_the_reason(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write pdt/v1/town/unit/+/fix\ntopic write pdt/v1/town/gateway/#\n")

    async def scenario() -> None:
        with Mosquitto(tmp_path, "allow_anonymous true", f"acl_file {acl}") as broker:
            async with running(make_sink(tmp_path, broker.port, States())) as sink:
                text = TextReceived(**header(1), body="hello")
                delivery = await sink.deliver([row(1, fix(1)), row(2, text), row(3, fix(2))])
        assert delivery.accepted == [1, 3]
        assert delivery.rejected.keys() == {2}
        assert "Not authorized" in delivery.rejected[2]
        assert f"{BASE}/event/text" in delivery.rejected[2]

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_payload_that_no_broker_takes_is_rejected_and_the_rest_goes_on(
    tmp_path: Path, protocol: str
) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(make_sink(tmp_path, broker.port, States(), protocol=protocol)) as s:
                endless = TextReceived(**header(1), body="x" * 70_000)
                delivery = await s.deliver([row(1, fix(1)), row(2, endless), row(3, fix(2))])
        assert delivery.accepted == [1, 3]
        assert "bytes are more than the broker takes" in delivery.rejected[2]

    asyncio.run(scenario())


def test_an_id_that_is_not_safe_in_a_topic_is_rejected_not_published(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(make_sink(tmp_path, broker.port, States())) as sink:
                evil = fix(1, unit_id=None, radio_id=RadioId("pdt:#"))
                delivery = await sink.deliver([row(1, evil), row(2, fix(2))])
        assert delivery.accepted == [2]
        assert "radio number" in delivery.rejected[1]

    asyncio.run(scenario())


def test_a_unit_that_is_only_heard_again_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "TURN_S", 0.05)
    states = States()
    states.unit_views = {"u1": unit_view(1)}
    topic = f"{BASE}/unit/u1/status"

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, topic) as listener:
            async with running(make_sink(tmp_path, broker.port, states)) as sink:
                later = Instant(AT + 1_000_000_000)
                states.unit_views["u1"] = unit_view(1, heard_at=later)
                sink.changed("unit", "u1")
                await eventually(lambda: not sink._units_changed, "the turn of the units")
                states.unit_views["u1"] = unit_view(1, heard_at=later, state="silent")
                sink.changed("unit", "u1")
                await asyncio.to_thread(listener.wait_for, lambda heard: len(heard) == 2)
        told = [json.loads(message.payload) for message in listener.messages]
        assert [one["state"] for one in told] == ["fresh_fix", "silent"]

    asyncio.run(scenario())


def test_a_link_that_changes_is_told_at_once(tmp_path: Path) -> None:
    states = States()
    states.link_views = {"lan": link_view()}
    topic = f"{BASE}/link/lan/state"

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, topic) as listener:
            async with running(make_sink(tmp_path, broker.port, states)) as sink:
                states.link_views["lan"] = link_view(state="down", why="unplugged")
                sink.changed("link", "lan")
                await asyncio.to_thread(listener.wait_for, lambda heard: len(heard) == 2)
        assert json.loads(listener.messages[-1].payload)["why"] == "unplugged"

    asyncio.run(scenario())


def test_a_wrong_password_is_told_with_what_to_check(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "secret").write_text("wrong\n")

    async def scenario() -> None:
        settings = ("allow_anonymous false", f"password_file {tmp_path / 'empty'}")
        login = {"user": "gateway", "password_file": "secret"}
        with Mosquitto(tmp_path, *settings) as broker:
            sink = make_sink(tmp_path, broker.port, States(), **login)
            task = asyncio.ensure_future(sink.run())
            await eventually(lambda: "mqtt.password_file" in (sink.why_down or ""), "the refusal")
            assert "wrong" not in (sink.why_down or "")
            with pytest.raises(SinkError, match="Not authorized"):
                await sink.deliver([row(1, fix(1))])
            task.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("key", "value"),
    [("password_file", "gone"), ("ca_file", "gone.pem"), ("base_topic", "pdt//town")],
)
def test_a_wrong_setting_stops_the_start_and_is_named(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"mqtt.{key}"):
        make_sink(tmp_path, 1, States(), **{key: value})


def test_an_emergency_without_a_safe_id_does_not_hide_the_others(tmp_path: Path) -> None:
    states = States()
    odd = msgspec.structs.replace(
        transitions.raised(raised(2)),
        unit_id=None,
        radio_id=RadioId("nowhere:+"),
        emergency_id=EventId("f" * 32),
    )
    states.put(odd, transitions.raised(raised(1)))

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker:
            async with running(make_sink(tmp_path, broker.port, states)) as sink:
                kept = await asyncio.to_thread(retained, broker.port, "pdt/#")
        assert f"{BASE}/unit/u1/emergency" in kept
        assert sink.states_dropped == 1

    asyncio.run(scenario())
