"""The opt-in mirrors on a real Mosquitto: what an OwnTracks program or Home Assistant would read.

Neither of those two runs here. What they are told is held to their documented fields, and Home
Assistant's templates are rendered by Jinja, which it renders them with.
"""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest

from gateway.clock import SystemClock
from gateway.model import emergency as transitions
from gateway.model.events import PositionFix, to_json
from gateway.model.identity import UnitId
from gateway.model.quantities import Instant
from gateway.model.views import SiteView
from gateway.runtime.backoff import Backoff
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.mqtt_owntracks import OwnTracks
from gateway.sinks.mqtt_state import UnitStatus
from tests.conftest import find_tool
from tests.support.documents import ROOT, command_lines
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Listener, retained
from tests.support.published import Contract
from tests.support.sink_rows import (
    AT,
    BASE,
    States,
    fix,
    header,
    loaded,
    raised,
    row,
    running,
    unit_view,
)

SQUARE = SiteView(id="plaza", name="榕溪广场", lat_deg=23.02, lon_deg=113.75, ring_m=100)
METRE_NORTH_DEG = 1 / 111_195
LOCATION, EVENT = "owntracks/patrol/u1", "owntracks/patrol/u1/event"


def make_sink(folder: Path, port: int, states: States, **mqtt: Any) -> MqttSink:
    return MqttSink(
        loaded(folder, mqtt={"port": port, **mqtt}),
        states=states,
        clock=SystemClock(),
        backoff=Backoff(first_s=0.05, most_s=0.2),
    )


def away(metres: float, seq: int, **fields: Any) -> PositionFix:
    """A fix so many metres north of the square."""
    return fix(1, seq, lat_deg=23.02 + metres * METRE_NORTH_DEG, **fields)


@pytest.mark.needs("mosquitto")
def test_a_fix_is_mirrored_as_a_location_in_owntracks_units(tmp_path: Path) -> None:
    whole = fix(
        1,
        trigger="request",
        speed_mps=10.0,
        course_deg=84.6,
        altitude_m=12.3,
        accuracy_m=4.6,
        battery_pct=64,
    )
    bare = PositionFix(**header(2, team=None), fix_valid=True, lat_deg=23.0, lon_deg=113.0)
    left_out = [fix(3, unit_id=None), PositionFix(**header(4), fix_valid=False)]

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, "owntracks/#") as listener:
            async with running(make_sink(tmp_path, broker.port, States(), owntracks=True)) as sink:
                rows = [row(seq, event) for seq, event in enumerate([whole, bare, *left_out])]
                assert (await sink.deliver(rows)).accepted == [0, 1, 2, 3]
                listener.wait_for(lambda heard: len(heard) == 2)
            kept = await asyncio.to_thread(retained, broker.port, "owntracks/#")
        assert set(kept) == {LOCATION, "owntracks/town/u2"}
        seconds = AT // 10**9
        assert json.loads(kept[LOCATION]) == {
            "_type": "location", "lat": 23.02, "lon": 113.75, "tst": seconds, "created_at": seconds,
            "tid": "u1", "acc": 5, "alt": 12, "vel": 36, "cog": 85, "batt": 64, "t": "r",
        }  # fmt: skip
        assert json.loads(kept["owntracks/town/u2"]).keys() == {
            "_type", "lat", "lon", "tst", "created_at", "tid",
        }  # fmt: skip

    asyncio.run(scenario())


@pytest.mark.needs("mosquitto")
def test_a_unit_that_comes_to_a_key_site_and_leaves_it_makes_transitions(tmp_path: Path) -> None:
    # metres from the centre of a ring of 100 m: the first says where it is and crosses nothing
    way = [300, 90, 110, 119, 50, 121, 110, 130, 90]
    states = States()
    states.site_views = [SQUARE]

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, "owntracks/#") as listener:
            async with running(make_sink(tmp_path, broker.port, states, owntracks=True)) as sink:
                await sink.deliver([row(seq, away(m, seq)) for seq, m in enumerate(way)])
                listener.wait_for(lambda _: len(listener.on(LOCATION)) == len(way))
        told = [json.loads(message.payload) for message in listener.on(EVENT)]
        assert [(each["event"], each["tst"] - AT // 10**9) for each in told] == [
            ("enter", 1),
            ("leave", 5),
            ("enter", 8),
        ]
        assert told[0]["rid"] == "plaza"
        assert told[0]["desc"] == "榕溪广场"
        assert not any(message.retain for message in listener.on(EVENT))
        inside = ["inregions" in json.loads(m.payload) for m in listener.on(LOCATION)]
        assert inside == [False, True, True, True, True, False, False, False, True]
        contract = Contract()
        for message in listener.messages:
            assert not contract.faults(message.topic, message.payload)

    asyncio.run(scenario())


def test_where_a_unit_was_before_the_start_is_not_guessed() -> None:
    mirror = OwnTracks("town", lambda: [SQUARE], AT)
    assert len(mirror.of(away(10, 0))) == 1, "it may have stood there for hours"


def test_points_from_a_radios_memory_cross_nothing_and_replace_nothing() -> None:
    mirror = OwnTracks("town", lambda: [SQUARE], AT)
    mirror.of(away(300, 0))
    (location,) = mirror.of(away(10, 1, trigger="stored"))
    assert not location.retain
    assert [json.loads(m.payload).get("event") for m in mirror.of(away(10, 2))] == [None, "enter"]


@pytest.mark.needs("mosquitto")
def test_a_mirror_that_the_broker_forbids_holds_up_nothing(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite pdt/#\n")

    async def scenario() -> None:
        with Mosquitto(tmp_path, "allow_anonymous true", f"acl_file {acl}") as broker:
            sink = make_sink(tmp_path, broker.port, States(), owntracks=True, home_assistant=True)
            async with running(sink):
                delivery = await sink.deliver([row(1, fix(1))])
                assert delivery.accepted == [1]
                assert not delivery.rejected
                assert sink.refused == 1

    asyncio.run(scenario())


@pytest.mark.needs("mosquitto")
def test_without_the_settings_nothing_is_mirrored(tmp_path: Path) -> None:
    states = States()
    states.unit_views = {"u1": unit_view(1)}

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, "#") as listener:
            async with running(make_sink(tmp_path, broker.port, states)) as sink:
                await sink.deliver([row(1, fix(1))])
                listener.wait_for(lambda _: f"{BASE}/unit/u1/fix" in listener.topics())
        assert {topic.partition("/")[0] for topic in listener.topics()} == {"pdt"}

    asyncio.run(scenario())


TRACKER = "homeassistant/device_tracker/pdt_town/u1/config"
ALARM = "homeassistant/binary_sensor/pdt_town/u1/config"


def announced(folder: Path) -> dict[str, Any]:
    """What the broker holds for Home Assistant after a start, by topic."""
    states = States()
    states.unit_views = {
        "u1": unit_view(1, unit_name="巡逻1组", team_name="巡逻队"),
        "pdt:9": unit_view(9, unit_id=None),
    }

    async def scenario() -> dict[str, bytes]:
        with Mosquitto(folder) as broker:
            sink = make_sink(folder, broker.port, states, home_assistant=True)
            async with running(sink):
                return await asyncio.to_thread(retained, broker.port, "homeassistant/#")

    return {topic: json.loads(payload) for topic, payload in asyncio.run(scenario()).items()}


@pytest.mark.needs("mosquitto")
def test_each_unit_is_announced_to_home_assistant_as_tracker_and_alarm(tmp_path: Path) -> None:
    found = announced(tmp_path)
    assert set(found) == {TRACKER, ALARM}, "a radio without a unit is nobody's device"
    tracker, alarm = found[TRACKER], found[ALARM]
    assert tracker["json_attributes_topic"] == f"{BASE}/unit/u1/fix"
    assert tracker["source_type"] == "gps"
    assert [each["topic"] for each in tracker["availability"]] == [
        f"{BASE}/gateway/state",
        f"{BASE}/unit/u1/status",
    ]
    assert alarm["state_topic"] == f"{BASE}/unit/u1/emergency"
    assert alarm["device_class"] == "safety"
    for each, own_id in ((tracker, "pdt_town_u1_tracker"), (alarm, "pdt_town_u1_emergency")):
        assert each["unique_id"] == own_id
        assert each["origin"]["name"] == "pdt-gateway"
        assert each["device"]["identifiers"] == ["pdt_town_u1"]
        assert each["device"]["name"] == "巡逻1组"
        assert each["device"]["suggested_area"] == "巡逻队"


def render(template: str, payload: bytes) -> str:
    """As Home Assistant does: ``value`` is the payload, ``value_json`` there if it is JSON."""
    names: dict[str, Any] = {"value": payload.decode()}
    if payload:
        names["value_json"] = json.loads(payload)
    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - it is JSON, no page
    text: str = environment.from_string(template).render(**names)
    return text


@pytest.mark.needs("mosquitto")
def test_home_assistants_templates_read_what_the_gateway_publishes(tmp_path: Path) -> None:
    found = announced(tmp_path)
    tracker, alarm = found[TRACKER], found[ALARM]
    place = tracker["json_attributes_template"]
    full = json.loads(render(place, to_json(fix(1, accuracy_m=4.5, battery_pct=64))))
    assert (full["latitude"], full["longitude"]) == (23.02, 113.75)
    assert (full["gps_accuracy"], full["battery_level"]) == (4.5, 64)
    bare = json.loads(render(place, to_json(fix(1))))
    assert (bare["gps_accuracy"], bare["battery_level"]) == (0, None)
    nowhere = PositionFix(**header(1), fix_valid=False)
    assert json.loads(render(place, to_json(nowhere))) == {}
    here, heard = (each["value_template"] for each in tracker["availability"])
    assert render(here, b'{"state":"online"}') == "online"
    for state, expected in (("fresh_fix", "online"), ("silent", "offline"), ("off", "offline")):
        status = to_json(UnitStatus.of(unit_view(1, state=state)))
        assert render(heard, status) == expected
    assert render(alarm["value_template"], to_json(transitions.raised(raised(1)))) == "ON"
    assert render(alarm["value_template"], b"") == "OFF"


@pytest.mark.needs("mosquitto")
def test_a_unit_is_announced_once_and_again_under_a_new_name(tmp_path: Path) -> None:
    states = States()
    states.unit_views = {"u1": unit_view(1)}

    async def scenario() -> None:
        with Mosquitto(tmp_path) as broker, Listener(broker.port, "#") as listener:
            sink = make_sink(tmp_path, broker.port, states, home_assistant=True)
            async with running(sink):
                for battery, name in ((70, None), (60, None), (50, "新名")):
                    states.unit_views["u1"] = unit_view(1, battery_pct=battery, unit_name=name)
                    sink.changed("unit", "u1")
                    told = str(battery).encode()
                    await asyncio.to_thread(
                        listener.wait_for,
                        lambda heard: any(told in each.payload for each in heard),  # noqa: B023
                    )
        assert len(listener.on(TRACKER)) == 2

    asyncio.run(scenario())


@pytest.mark.needs("mosquitto", "mosquitto_sub")
def test_the_documented_command_clears_what_was_announced(tmp_path: Path) -> None:
    page = ROOT / "docs" / "mqtt.md"
    (line,) = [each for each in command_lines(page) if "--remove-retained" in each]
    program, *words = line.split()
    with Mosquitto(tmp_path) as broker:
        with Listener(broker.port) as other:
            for topic in (TRACKER, ALARM, "homeassistant/sensor/of_somebody_else/config"):
                other.publish(topic, b"{}", retain=True)
        places = {"broker.example": "127.0.0.1", "8883": str(broker.port), "rongxi": "town"}
        safe = [
            _put(word, places)
            for word, before in zip(words, ["", *words], strict=False)
            if not {word, before} & {"--cafile", "-u", "-P"}
        ]
        done = subprocess.run(
            [str(find_tool(program)), *safe], check=False, capture_output=True, timeout=20
        )
        assert done.returncode in {0, 27}, done.stderr  # 27: ended by -W, as the page says
        assert set(retained(broker.port, "homeassistant/#")) == {
            "homeassistant/sensor/of_somebody_else/config"
        }


def _put(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word.strip("'")


def test_unit_ids_make_their_two_letters() -> None:
    mirror = OwnTracks("town", list, Instant(AT))
    (message,) = mirror.of(fix(1, unit_id=UnitId("x")))
    assert json.loads(message.payload)["tid"] == "x"
