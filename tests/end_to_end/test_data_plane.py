"""The whole way, with nothing stood in for: from a radio's button to whoever reads about it.

Emulated radios on TCP and UDP, the gateway as a process, Mosquitto with the shipped configuration
(TLS, passwords, ACL) and an independent client; InfluxDB 1.6.7; VictoriaMetrics by the 2.x write
path. A second gateway hears the same radios and writes to the latter, for one writes to one store.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.model.identity import RadioId, UnitId
from gateway.sinks.topics import Topics, default_base, owner_of
from hil_tests.devices.hytera_hrnp import HrnpStation
from hil_tests.devices.jt808 import Jt808Device
from hil_tests.rig.attach import TcpClientWire, UdpWire
from tests.support.gateway_process import GatewayProcess
from tests.support.influxdb import InfluxDb
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Listener
from tests.support.ports import free_port
from tests.support.published import Contract
from tests.support.shipped_broker import shipped
from tests.support.sink_rows import eventually
from tests.support.victoria_metrics import VictoriaMetrics

SITE = "rongxi"
TOPICS = Topics(default_base(SITE))
HERE = (22.94, 113.88)
LIMIT_S = 30.0

UNITS = """
[[team]]
id = "plaza"
name = "广场队"
[[unit]]
id = "plaza-1"
name = "广场01"
team = "plaza"
radios = ["jt808:013800138001"]
[[unit]]
id = "plaza-2"
name = "广场02"
team = "plaza"
radios = ["dmr:1002"]
"""

SETTINGS = """
[site]
id = "rongxi"
units_file = "units.toml"
[desk]
enabled = false
[[link]]
id = "terminals"
transport = "tcp_server"
driver = "jt808"
listen = "127.0.0.1:{tcp}"
[[link]]
id = "station"
transport = "udp"
driver = "hytera_hrnp"
listen = "127.0.0.1:0"
remote = "127.0.0.1:{udp}"
[link.options]
number_space = "dmr"
[influx]
enabled = true
url = "{influx}"
api = "{api}"
batch_every_s = 0.1
"""

BROKER = """
[mqtt]
enabled = true
port = {port}
user = "gateway"
password_file = "gateway.password"
ca_file = "config/certs/ca.crt"
requests = ["text", "emergency/take", "emergency/close"]
[commands]
enabled = true
allow = ["text"]
"""


class Town:
    """One gateway with its own radios: a terminal, and a station that hears a handheld."""

    def __init__(self, folder: Path, settings: str, **values: Any) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "units.toml").write_text(UNITS, encoding="utf-8")
        self._folder, self._settings, self._values = folder, settings, values
        self.terminal = Jt808Device("13800138001", every_s=0.5)
        self.station = HrnpStation(1001, every_s=0.5)
        self.handheld = self.station.add_unit(1002)
        for device in (self.terminal, self.handheld):
            device.move(*HERE, speed_mps=1.0, course_deg=90.0)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[GatewayProcess]:
        """The gateway and the radios, for as long as the block runs."""
        clock, port = SystemClock(), free_port()
        udp = UdpWire(self.station, clock)
        _, station_port = await udp.listen()
        settings = self._settings.format(tcp=port, udp=station_port, **self._values)
        gateway = GatewayProcess(self._folder, settings)
        gateway.start()
        tcp = TcpClientWire(self.terminal, ("127.0.0.1", port), clock)
        wires = [asyncio.ensure_future(wire.run()) for wire in (tcp, udp)]
        try:
            await asyncio.to_thread(gateway.wait_for_port, port)
            yield gateway
            await asyncio.to_thread(gateway.stop)
        finally:
            gateway.kill()
            for wire in wires:
                wire.cancel()
            await asyncio.gather(*wires, return_exceptions=True)


async def heard(listener: Listener, condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(listener.wait_for, lambda _: condition(), what)


async def ask(desk: Listener, verb: str, **request: Any) -> dict[str, Any]:
    """Ask as the desk, and wait for the answer to this very request."""
    request["transaction"] = f"t-{verb}"
    await asyncio.to_thread(desk.publish, TOPICS.request(verb), json.dumps(request).encode())
    topic = TOPICS.response(verb)
    await heard(desk, lambda: desk.on(topic) != [], topic)
    answer: dict[str, Any] = json.loads(desk.on(topic)[-1].payload)
    assert answer["transaction"] == request["transaction"]
    return answer


@pytest.mark.needs("mosquitto", "mosquitto_passwd", "openssl", "influxd", "victoria-metrics")
@pytest.mark.timeout(180)
def test_from_the_button_to_every_reader(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    port = free_port()
    config = shipped(folder, port, "gateway", "desk", "monitoring")
    (folder / "gateway.password").write_text("gateway\n")

    async def story(influx: InfluxDb, victoria: VictoriaMetrics) -> None:
        main = Town(folder, SETTINGS + BROKER, influx=influx.url, api="1", port=port)
        second = Town(tmp_path / "second", SETTINGS, influx=victoria.url, api="2")
        ca_file = folder / "config" / "certs" / "ca.crt"

        def reader(user: str) -> Listener:
            return Listener(port, "pdt/#", user=user, password=user, ca_file=ca_file)

        with reader("desk") as desk, reader("monitoring") as monitoring:
            async with main.open() as gateway, second.open():
                await read_and_answer(main, desk)
                second.terminal.press()
                await in_influx(influx)
                await in_victoria_metrics(victoria)
            assert "mqtt_refused" not in gateway.log_text()
            assert "difference=0" in gateway.log_text()
            contract = Contract()
            assert len({message.topic for message in desk.messages}) > 10
            for message in desk.messages:
                assert not contract.faults(message.topic, message.payload)
            assert json.loads(monitoring.on(TOPICS.gateway_state)[-1].payload) == {
                "state": "offline"
            }
            assert not [topic for topic in monitoring.topics() if "/unit/" in topic]

    with ExitStack() as servers:
        servers.enter_context(Mosquitto(folder, config=config, port=port))
        influx = servers.enter_context(InfluxDb(tmp_path))
        influx.query("CREATE DATABASE pdt")
        asyncio.run(story(influx, servers.enter_context(VictoriaMetrics(tmp_path))))


async def read_and_answer(town: Town, desk: Listener) -> None:
    """What an application does: see positions, hear two alarms, take and close one of them."""
    units = {name: owner_of(UnitId(name), RadioId("")) for name in ("plaza-1", "plaza-2")}
    for owner in units.values():
        await heard(desk, lambda: desk.on(TOPICS.fix(owner)) != [], f"{owner}/fix")  # noqa: B023
    town.terminal.press()
    town.handheld.press()
    alarms = TOPICS.event("emergency_raised")
    await heard(desk, lambda: len(desk.on(alarms)) == 2, "both alarms")
    await eventually(lambda: town.terminal.is_press_acknowledged, "the terminal's receipt")
    states = {name: TOPICS.emergency(owner) for name, owner in units.items()}
    for topic in states.values():
        await heard(desk, lambda: desk.on(topic) != [], topic)  # noqa: B023
    state = json.loads(desk.on(states["plaza-1"])[-1].payload)
    assert (state["phase"], state["unit_name"], state["verified"]) == ("open", "广场01", True)
    assert abs(state["fix"]["lat_deg"] - HERE[0]) < 1e-5
    sent = await ask(desk, "text", unit_id="plaza-1", body="支援已出发", by="李明", wait_s=10)
    assert sent["status"] == "ok", sent
    assert town.terminal.texts == ("支援已出发",)
    own = {"emergency_id": state["emergency_id"], "by": "李明"}
    early = await ask(desk, "emergency/close", **own, verdict="true")
    assert early["status"] == "error"
    assert "take the emergency first" in early["error"]
    assert (await ask(desk, "emergency/take", **own))["status"] == "ok"
    desk.messages[:] = [m for m in desk.messages if "/response/" not in m.topic]
    assert (await ask(desk, "emergency/close", **own, verdict="true"))["status"] == "ok"
    await heard(desk, lambda: not desk.on(states["plaza-1"])[-1].payload, "the cleared state")
    assert desk.on(states["plaza-2"])[-1].payload, "the other one is still open"
    (closed,) = desk.on(TOPICS.event("emergency_closed"))
    assert json.loads(closed.payload)["by"] == "李明 via mqtt"


async def in_influx(influx: InfluxDb) -> None:
    """The series of the first gateway."""

    def fixes() -> dict[str, int]:
        points = influx.query("SELECT COUNT(lat) FROM position GROUP BY unit")
        return {point["unit"]: point["count"] for point in points}

    await eventually(lambda: len(fixes()) == 2 and min(fixes().values()) >= 3, "positions", LIMIT_S)
    told = "SELECT event, \"by\" FROM emergency WHERE event <> 'open' GROUP BY unit"

    def events() -> list[tuple[str, str, str | None]]:
        return [(each["unit"], each["event"], each["by"]) for each in influx.query(told)]

    expected = {
        ("plaza-1", "raised", None),
        ("plaza-2", "raised", None),
        ("plaza-1", "taken", "李明 via mqtt"),
        ("plaza-1", "closed", "李明 via mqtt"),
    }
    await eventually(lambda: expected <= set(events()), "the emergency's story", LIMIT_S)
    (last,) = influx.query("SELECT LAST(lat_gcj), lat, team FROM position WHERE unit = 'plaza-1'")
    assert abs(last["lat"] - HERE[0]) < 1e-5
    assert abs(last["last"] - HERE[0]) > 1e-4, "shifted for Chinese maps"
    assert last["team"] == "plaza"


async def in_victoria_metrics(victoria: VictoriaMetrics) -> None:
    """The series of the second one."""

    def fixes() -> dict[str, list[float]]:
        found = victoria.series('{__name__="position_lat",site="rongxi"}')
        return {each["metric"]["unit"]: each["values"] for each in found}

    await eventually(
        lambda: len(fixes()) == 2 and min(map(len, fixes().values())) >= 3, "positions", LIMIT_S
    )
    assert all(abs(lat - HERE[0]) < 1e-5 for values in fixes().values() for lat in values)
    alarm = '{__name__="emergency_verified",unit="plaza-1"}'
    await eventually(lambda: victoria.series(alarm) != [], "the emergency", LIMIT_S)
    (series,) = victoria.series(alarm)
    assert series["values"][0] == 1
    assert series["metric"]["team"] == "plaza"
