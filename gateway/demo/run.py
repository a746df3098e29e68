"""``pdt-gateway demo``: the whole thing in one process, with nothing installed beside it."""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from gateway import logs
from gateway.app import Gateway
from gateway.catalog import Catalog
from gateway.check import check
from gateway.clock import SystemClock
from gateway.demo.places import DemoPlaces, prepare
from gateway.demo.scene import Scene

DISPATCHER = "演示调度员 demo dispatcher"
ROLES = ("dispatcher", "technician")
LINK_S = 12 * 3_600.0


def run_demo(tell: Callable[[str], None], *, seconds: float, port: int) -> None:
    """Play until Ctrl-C, or for ``seconds`` where that is not 0; leaves nothing behind.

    It also ends when nobody reads any more what it tells.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the loop has its own
    listener = _Listener(tell)
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="pdt-demo-") as folder,
    ):
        places = prepare(Path(folder), port)
        logs.set_up("error", "text")
        asyncio.run(_play(places, listener, seconds))
    listener.tell("the demo has ended; nothing is left running 演示结束")


class _Listener:
    """Whoever reads what is told, as long as there is somebody."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.left: Callable[[], None] = lambda: None  # called when nobody reads any more
        self._tell = tell

    def tell(self, text: str) -> None:
        """Tell a line."""
        try:
            self._tell(text)
        except BrokenPipeError:
            self.left()


async def _play(places: DemoPlaces, listener: _Listener, seconds: float) -> None:
    stop = asyncio.Event()
    listener.left = stop.set
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if seconds:
        loop.call_later(seconds, stop.set)
    catalog = Catalog.scan()
    loaded, roster, _ = check(places.settings_file, catalog)
    gateway = Gateway(loaded, roster, catalog)
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run(stop, lambda _: ready.set()), name="gateway")
        town = group.create_task(_live(gateway, places, ready, listener.tell), name="town")
        await stop.wait()
        town.cancel()  # wherever it is: a gateway that stops while it starts has no page any more
    account = gateway.counters.account()
    listener.tell(
        f"received {account.received} = stored {account.stored} + refreshed {account.refreshed}"
        f" + dropped {sum(account.dropped.values())} + waiting {account.waiting}"
    )


async def _live(
    gateway: Gateway, places: DemoPlaces, ready: asyncio.Event, tell: Callable[[str], None]
) -> None:
    """Say where everything is, and play the town."""
    await ready.wait()
    tell(await _welcome(gateway, places))
    clock = SystemClock()
    started = clock.monotonic()
    await Scene(places, clock, lambda what: tell(f"  {_age(clock, started)}  {what}")).run()


def _age(clock: SystemClock, started: float) -> str:
    return f"{clock.monotonic() - started:5.0f} s"


async def _welcome(gateway: Gateway, places: DemoPlaces) -> str:
    assert gateway.desk is not None  # noqa: S101 - the demo's settings have a desk
    await gateway.desk.started()
    if gateway.broker is not None:
        await gateway.broker.wait_ready()  # the line below can be tried at once
    token = await gateway.eventlog.create_sign_in_link(ROLES, DISPATCHER, LINK_S)
    watch = f"mosquitto_sub -h 127.0.0.1 -p {places.mqtt_port} -v -t 'pdt/v1/rongxi/event/#'"
    return f"""
榕溪镇 · the emulated town is up: 60 units on pseudo-terminals, TCP and UDP

  live page 实时页面    {gateway.desk.sign_in_url(token)}
                        (signs in once, as the demo's dispatcher)
  broker 消息代理       {watch}
  metrics 指标          {gateway.desk.url}/metrics
  files 文件            {places.folder}

Somebody presses the button after about 20 s. Ctrl-C ends everything.
"""
