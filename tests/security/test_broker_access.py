"""Who may read and write what on the broker, with the shipped files and a real Mosquitto.

The table below is the bar R30's for broker topics: users across, topics down.
"""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.clock import SystemClock
from gateway.model import emergency as transitions
from gateway.model.identity import RadioId, UnitId
from gateway.runtime.backoff import Backoff
from gateway.sinks.mqtt import MqttSink
from gateway.sinks.mqtt_requests import VERBS
from gateway.sinks.topics import (
    Topics,
    default_base,
    home_assistant,
    owner_of,
    owntracks,
    owntracks_event,
)
from tests.support.certificates import Authority
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port, listening
from tests.support.shipped_broker import CONFIG, shipped, write_passwords
from tests.support.sink_rows import States, eventually, fix, loaded, raised, row, running

pytestmark = pytest.mark.needs("mosquitto", "mosquitto_passwd")

SITE = "rongxi"
TOPICS = Topics(default_base(SITE))
OWN = owner_of(UnitId("plaza-stationed-1"), RadioId(""))
OTHER = owner_of(UnitId("watch-school-1"), RadioId(""))
RADIO = owner_of(None, RadioId("pdt:80020299"))
USERS = ("gateway", "desk", "app-plaza", "monitoring", "stranger")

MIRRORS = (
    owntracks("plaza", UnitId("plaza-stationed-1")),
    owntracks_event("plaza", UnitId("plaza-stationed-1")),
    home_assistant("device_tracker", SITE, "plaza-stationed-1"),
    home_assistant("binary_sensor", SITE, "plaza-stationed-1"),
)

# topic: what gateway, desk, the app of a group, monitoring, and a user without any line may do
TABLE = {
    TOPICS.fix(OWN): ("w", "r", "r", "", ""),
    TOPICS.fix(OTHER): ("w", "r", "", "", ""),
    TOPICS.fix(RADIO): ("w", "r", "", "", ""),
    TOPICS.status(OWN): ("w", "r", "", "", ""),
    TOPICS.status(RADIO): ("w", "r", "", "", ""),
    TOPICS.emergency(OWN): ("w", "r", "", "", ""),
    TOPICS.emergency(RADIO): ("w", "r", "", "", ""),
    TOPICS.event("emergency_raised"): ("w", "r", "", "", ""),
    TOPICS.event("text"): ("w", "r", "", "", ""),
    **{TOPICS.request(verb): ("r", "w", "", "", "") for verb in VERBS},
    **{TOPICS.response(verb): ("w", "r", "", "", "") for verb in VERBS},
    f"{TOPICS.response('locate')}/desk-2": ("w", "r", "", "", ""),  # a requester's own
    TOPICS.link_state("lan"): ("w", "r", "", "r", ""),
    TOPICS.gateway_state: ("w", "r", "", "r", ""),
    TOPICS.gateway_info: ("w", "r", "", "r", ""),
    TOPICS.gateway_health: ("w", "r", "", "r", ""),
    f"{TOPICS.base}/unit": ("", "", "", "", ""),
    f"{TOPICS.base}/else": ("", "", "", "", ""),
    Topics(default_base("othertown")).fix(OWN): ("", "", "", "", ""),
    Topics(default_base("othertown")).event("emergency_raised"): ("", "", "", "", ""),
    Topics(default_base("othertown")).request("locate"): ("", "", "", "", ""),
    **dict.fromkeys(MIRRORS, ("", "", "", "", "")),
    home_assistant("device_tracker", "othertown", "plaza-stationed-1"): ("", "", "", "", ""),
    "anything": ("", "", "", "", ""),
}


ACL = (CONFIG / "mosquitto.acl").read_text()


class User:
    """One logged-in program: what it may publish, and what reaches it."""

    def __init__(self, port: int, name: str, password: str | None = None) -> None:
        self._port = port
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5
        )
        if name:
            self._client.username_pw_set(name, name if password is None else password)
        self._answered = threading.Event()
        self._changed = threading.Condition()
        self._results: dict[int, bool] = {}
        self.heard: set[str] = set()
        self.is_let_in = False
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._answered.set()
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message

    def _on_connect(self, client: Client, _: Any, _flags: Any, reason: Any, *_more: Any) -> None:
        self.is_let_in = not reason.is_failure
        if self.is_let_in:
            client.subscribe([("#", 1), ("$SYS/#", 1)])
        else:
            self._answered.set()

    def _on_publish(self, _client: Any, _: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._changed:
            self._results[mid] = not reason.is_failure
            self._changed.notify_all()

    def _on_message(self, _client: Any, _: Any, message: Any) -> None:
        with self._changed:
            self.heard.add(message.topic)
            self._changed.notify_all()

    def enter(self) -> bool:
        """Connect and subscribe to everything; False when the broker refuses."""
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._answered.wait(10)
        return self.is_let_in

    def leave(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client.reinitialise()  # closes the pair of sockets that woke its thread

    def may_publish(self, topic: str) -> bool:
        """Publish, and whether the broker took it."""
        with self._changed:
            mid = self._client.publish(topic, b"x", 1).mid
            assert self._changed.wait_for(lambda: mid in self._results, 10)
            return self._results[mid]

    def wait_to_hear(self, topic: str) -> None:
        """Until something came on ``topic``."""
        with self._changed:
            assert self._changed.wait_for(lambda: topic in self.heard, 10), f"{topic} did not come"


@contextmanager
def started(folder: Path, acl: str, *settings: str) -> Iterator[Mosquitto]:
    """A broker with ``acl``, and one more user who sees and writes everything, to observe with."""
    (folder / "acl").write_text(f"{acl}\nuser observer\ntopic readwrite #\ntopic read $SYS/#\n")
    write_passwords(folder / "passwords", *USERS, "observer")
    files = (f"password_file {folder / 'passwords'}", f"acl_file {folder / 'acl'}")
    with Mosquitto(folder, *files, *(settings or ("allow_anonymous false",))) as broker:
        yield broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """The shipped ACL."""
    with started(tmp_path, ACL) as broker:
        yield broker


def test_each_user_may_write_what_the_table_says_and_nothing_else(broker: Mosquitto) -> None:
    for column, name in enumerate(USERS):
        user = User(broker.port, name)
        assert user.enter()
        for topic, rights in TABLE.items():
            assert user.may_publish(topic) == ("w" in rights[column]), (name, topic)
        assert not user.may_publish("$SYS/broker/uptime"), name
        user.leave()


def test_each_user_reads_what_the_table_says_and_nothing_else(broker: Mosquitto) -> None:
    users = [User(broker.port, name) for name in USERS]
    observer = User(broker.port, "observer")
    assert all(user.enter() for user in [*users, observer])
    for topic in TABLE:
        assert observer.may_publish(topic)
    for column, user in enumerate(users):
        expected = {topic for topic, rights in TABLE.items() if "r" in rights[column]}
        for topic in expected:
            user.wait_to_hear(topic)
        user.may_publish("anything")  # its answer comes after all that was sent to the user before
        heard = {topic for topic in user.heard if not topic.startswith("$SYS/")}
        assert heard == expected, USERS[column]
        if USERS[column] == "monitoring":
            user.wait_to_hear("$SYS/broker/version")
        else:
            assert not {topic for topic in user.heard if topic.startswith("$SYS/")}
    for user in [*users, observer]:
        user.leave()


def test_with_the_mirrors_lines_the_gateway_alone_may_write_them(tmp_path: Path) -> None:
    acl, count = re.subn(r"^#topic", "topic", ACL, flags=re.MULTILINE)
    assert count == 3
    with started(tmp_path, acl) as broker:
        users = {name: User(broker.port, name) for name in (*USERS, "observer")}
        assert all(user.enter() for user in users.values())
        for topic in TABLE:
            for name in USERS:
                is_mine = topic in MIRRORS and name == "gateway"
                is_old = "w" in TABLE[topic][USERS.index(name)]
                assert users[name].may_publish(topic) == (is_mine or is_old), (name, topic)
            users["observer"].may_publish(topic)
        for name in USERS:
            users[name].may_publish("anything")
            assert not set(MIRRORS) & users[name].heard, name
        for user in users.values():
            user.leave()


def test_without_a_name_nothing_is_read_or_written_even_where_that_comes_in(
    tmp_path: Path,
) -> None:
    """The ACL holds by itself: its first line with a topic stands below a user."""
    with started(tmp_path, ACL, "allow_anonymous true") as broker:
        nobody, observer = User(broker.port, ""), User(broker.port, "observer")
        assert nobody.enter()
        assert observer.enter()
        for topic in TABLE:
            assert not nobody.may_publish(topic), topic
            assert observer.may_publish(topic)
        observer.wait_to_hear("$SYS/broker/version")
        nobody.may_publish("anything")
        assert not nobody.heard
        nobody.leave()
        observer.leave()


@pytest.mark.parametrize(("name", "password"), [("", ""), ("gateway", "wrong"), ("nobody", "x")])
def test_nobody_comes_in_without_a_right_password(
    broker: Mosquitto, name: str, password: str
) -> None:
    user = User(broker.port, name, password)
    assert not user.enter()
    user.leave()


@pytest.mark.needs("openssl")
def test_the_sink_works_through_the_shipped_broker_configuration(tmp_path: Path) -> None:
    port = free_port()
    press = raised(1, site=SITE)
    states = States()
    states.put(transitions.raised(press))
    (tmp_path / "password").write_text("gateway\n")
    settings = {
        "port": port,
        "user": "gateway",
        "password_file": "password",
        "ca_file": "config/certs/ca.crt",
        "base_topic": TOPICS.base,
    }

    def sink_with(**changes: Any) -> MqttSink:
        return MqttSink(
            loaded(tmp_path, mqtt={**settings, **changes}),
            states=states,
            clock=SystemClock(),
            backoff=Backoff(first_s=0.05, most_s=0.2),
        )

    async def refusal(sink: MqttSink) -> str:
        task = asyncio.ensure_future(sink.run())
        await eventually(lambda: sink.why_down not in {None, "not started yet"}, "a refusal")
        task.cancel()
        why = sink.why_down or ""
        await asyncio.gather(task, return_exceptions=True)
        return why

    async def scenario() -> None:
        config = shipped(tmp_path, port, *USERS)
        with Mosquitto(tmp_path, config=config, port=port):
            async with running(sink_with()) as sink:
                rows = [row(seq, fix(seq % 9, seq)) for seq in range(1000)]
                delivery = await sink.deliver(rows)
                assert delivery.accepted == list(range(1000))
                assert not delivery.rejected
                delivery = await sink.deliver([row(2000, press)])
                assert delivery.accepted == [2000]
                assert not sink.refused, "the ACL allows all that the sink publishes"
            assert "if it wants TLS" in await refusal(sink_with(ca_file=""))
            why = await refusal(sink_with(ca_file=str(Authority(tmp_path / "other").file)))
            assert "certificate verify failed" in why

    asyncio.run(scenario())


def test_the_shipped_configuration_opens_one_port_and_no_other(tmp_path: Path) -> None:
    port = free_port()
    with Mosquitto(tmp_path, config=shipped(tmp_path, port, *USERS), port=port) as broker:
        assert listening(broker.pid) == {f"0100007F:{port:04X}"}
