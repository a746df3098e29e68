"""R18, the broker's half: whatever happens on the way to it, radios and the desk notice nothing.

Each fault of the proxy lies between the gateway and a real Mosquitto while a radio presses. The
radio has its answer and the desk's log the alarm at once, the gateway says why it is not heard, and
when the way is clear again the alarm and its state are on the broker within five seconds.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from hil_tests.rig.proxy import Bandwidth, Latency, ResetPeer, TcpProxy, Timeout
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.ledger import Ledger, Radio, wait_until_delivered
from tests.support.mosquitto import Mosquitto
from tests.support.mqtt_listener import Listener
from tests.support.ports import free_port

AT_ONCE_S = 2.0  # for the radio's answer and the desk's log
NOTICED_S = 20.0  # no acknowledgement for 10 s, or a connection that cannot be made in 5 s
BACK_S = 20.0
RAISED, STATE = "pdt/v1/town/event/emergency_raised", "pdt/v1/town/radio/jt808-{}/emergency"


def down(proxy: TcpProxy) -> None:
    """The port is closed and every connection cut."""
    proxy.refuse()
    proxy.cut()


def slow(proxy: TcpProxy) -> None:
    """Packets come late and few at a time."""
    proxy.add(Latency(0.3))
    proxy.add(Bandwidth(4_000))


# What happens, and a word of why that the gateway has to say; slow is no reason to complain.
FAULTS: Mapping[str, tuple[Callable[[TcpProxy], None], str]] = {
    "down": (down, "mqtt_down"),
    "timeout": (lambda proxy: proxy.add(Timeout(after_s=2.0)), "mqtt_down"),
    "slow": (slow, ""),
    "reset": (lambda proxy: proxy.add(ResetPeer()), "mqtt_down"),
    "half-open": (lambda proxy: proxy.add(Timeout()), "mqtt_down"),
}


class Scene:
    """A gateway behind a proxy, a radio, and a client that listens on the broker itself."""

    def __init__(self, folder: Path, proxy: TcpProxy, listener: Listener) -> None:
        self.folder = folder
        self.proxy = proxy
        self.listener = listener
        self.ledger = Ledger()
        self.desk_log = folder / "var" / "desk.db"
        self.tcp = free_port()
        self._presses = 0

    async def press(self) -> float:
        """Press on a radio of its own; gives the seconds to its answer and to the desk's log."""
        phone = f"{13_800_000_000 + self._presses:012d}"
        started = time.monotonic()
        async with asyncio.timeout(AT_ONCE_S * 5):
            await Radio(phone, self.tcp, self.ledger).run(1, first=self._presses)
        await wait_until_delivered(self.ledger, self.desk_log, AT_ONCE_S * 5)
        self._presses += 1
        return time.monotonic() - started

    def heard(self) -> set[str]:
        """The radios whose alarm was published, and whose state is retained."""
        events = [msgspec.json.decode(each.payload) for each in self.listener.on(RAISED)]
        return {
            event["radio_id"]
            for event in events
            if self.listener.on(STATE.format(event["radio_id"].partition(":")[2]))
        }

    async def wait_to_hear(self, count: int, limit_s: float) -> float:
        """Until so many alarms and states are on the broker; gives the seconds it took."""
        started = time.monotonic()
        while len(self.heard()) < count:
            await asyncio.sleep(0.02)
            assert time.monotonic() - started < limit_s, f"{self.heard()} after {limit_s:g} s"
        return time.monotonic() - started


@pytest.mark.fault
@pytest.mark.needs("mosquitto")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_the_way_to_the_broker_troubles_nobody_else(tmp_path: Path, fault: str) -> None:
    strike, sign = FAULTS[fault]

    async def story(broker: Mosquitto, listener: Listener) -> None:
        proxy = TcpProxy(("127.0.0.1", broker.port))
        _, port = await proxy.listen()
        serving = asyncio.ensure_future(proxy.run())
        scene = Scene(tmp_path, proxy, listener)
        gateway = GatewayProcess(tmp_path, settings(scene.tcp, broker=port))
        gateway.start()
        try:
            await asyncio.to_thread(gateway.wait_for_port, scene.tcp)
            await scene.press()
            await scene.wait_to_hear(1, BACK_S)
            strike(proxy)
            took_s = [await scene.press()]
            deadline = time.monotonic() + NOTICED_S
            while sign not in gateway.log_text():
                await asyncio.sleep(0.1)
                assert time.monotonic() < deadline, "the gateway did not notice"
            took_s.append(await scene.press())
            assert max(took_s) <= AT_ONCE_S
            proxy.heal()
            await proxy.listen()
            back_s = await scene.wait_to_hear(3, BACK_S)
            print(f"{fault}: answered in {max(took_s):.2f} s, heard {back_s:.2f} s after its end")
            await asyncio.to_thread(gateway.stop)
        finally:
            gateway.kill()
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
        assert scene.ledger.judge(scene.desk_log) == []
        assert "difference=0" in gateway.log_text()
        ids = [msgspec.json.decode(each.payload)["event_id"] for each in listener.on(RAISED)]
        assert len(set(ids)) == 3, "an alarm that is told again has the same id"

    with Mosquitto(tmp_path) as broker, Listener(broker.port, "pdt/#") as listener:
        asyncio.run(story(broker, listener))
