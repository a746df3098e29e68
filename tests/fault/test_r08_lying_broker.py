"""R8: a broker that acknowledges and dies at once, with all that it had.

Twenty times: a radio presses, and the broker, which keeps nothing on disk, is killed at the moment
it has acknowledged the alarm. The desk's log has to have every press all the same, and within five
seconds of the broker's return the state of every open emergency is retained on it again.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, settings
from tests.support.ledger import Ledger, Radio, wait_until_delivered
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Listener
from tests.support.ports import free_port

ROUNDS = 20
LIMIT_S = 5.0
PUBACK = 0x40
TOPIC = b"event/emergency_raised"


class Relay:
    """Carries bytes between gateway and broker, and calls ``acknowledged`` once when it is armed.

    That is when the broker has acknowledged something after an alarm was published to it.
    """

    def __init__(self, broker: int, acknowledged: Callable[[], None]) -> None:
        self._broker = broker
        self._acknowledged = acknowledged
        self._has_alarm = False
        self.is_armed = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._has_alarm = False
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._broker)
        except OSError:
            writer.transport.abort()
            return
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, self._to_broker)),
            asyncio.ensure_future(self._pump(far_reader, writer, self._from_broker)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in (writer, far_writer):
                each.transport.abort()

    @staticmethod
    async def _pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], None]
    ) -> None:
        while data := await reader.read(65536):
            look(data)
            writer.write(data)
            await writer.drain()

    def _to_broker(self, data: bytes) -> None:
        self._has_alarm = self._has_alarm or TOPIC in data

    def _from_broker(self, data: bytes) -> None:
        if self.is_armed and self._has_alarm and data[0] == PUBACK:
            self.is_armed = False
            self._acknowledged()


@pytest.mark.fault
@pytest.mark.needs("mosquitto")
@pytest.mark.timeout(180)
def test_what_a_dying_broker_had_acknowledged_is_back_within_five_seconds(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)  # persistence is off: a kill takes everything that it retained
    deaths: list[float] = []

    def die() -> None:
        broker.kill()
        deaths.append(time.monotonic())

    relay = Relay(broker.port, die)
    ledger = Ledger()
    desk_log = tmp_path / "var" / "desk.db"
    tcp = free_port()

    async def one_round(number: int) -> float:
        """Press, let the broker die of it, bring it back; gives how long the states took."""
        relay.is_armed = True
        await Radio(f"{13_800_000_000 + number:012d}", tcp, ledger).run(1, first=number)
        async with asyncio.timeout(10):
            while len(deaths) <= number:
                await asyncio.sleep(0.005)
        wanted = {f"pdt/v1/town/radio/jt808-{phone}/emergency" for phone, _ in ledger.obligations}
        await asyncio.to_thread(broker.start)
        back = time.monotonic()
        with Listener(broker.port, "pdt/v1/town/radio/+/emergency") as listener:
            await asyncio.to_thread(
                listener.wait_for,
                lambda heard: wanted <= {each.topic for each in heard if each.payload},
                f"the states after round {number}",
            )
            took = time.monotonic() - back
            states = [json.loads(each.payload) for each in listener.messages]
        assert {state["phase"] for state in states} == {"open"}
        return took

    async def story() -> list[float]:
        server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            gateway = GatewayProcess(tmp_path, settings(tcp, broker=port))
            gateway.start()
            try:
                await asyncio.to_thread(gateway.wait_for_port, tcp)
                took = [await one_round(number) for number in range(ROUNDS)]
                await wait_until_delivered(ledger, desk_log, limit_s=10)
                await asyncio.to_thread(gateway.stop)
            finally:
                gateway.kill()
        return took

    with broker:
        took = asyncio.run(story())
    print(
        f"{ROUNDS} rounds: states back after {max(took):.2f} s at worst, {sum(took):.1f} s in all"
    )
    assert len(deaths) == ROUNDS
    assert max(took) <= LIMIT_S
    assert len(ledger.obligations) == ROUNDS
    assert ledger.judge(desk_log) == []
