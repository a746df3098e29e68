"""``pdt-gateway demo``: the whole thing in one process, with nothing installed beside it."""

import asyncio
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
    """Play until Ctrl-C, or for ``seconds`` where that is not 0; leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="pdt-demo-") as folder:
        places = prepare(Path(folder), port)
        logs.set_up("error", "text")
        asyncio.run(_play(places, tell, seconds))
    tell("the demo has ended; nothing is left running 演示结束")


async def _play(places: DemoPlaces, tell: Callable[[str], None], seconds: float) -> None:
    catalog = Catalog.scan()
    loaded, roster, _ = check(places.settings_file, catalog)
    gateway = Gateway(loaded, roster, catalog)
    clock = SystemClock()
    scene = Scene(places, clock, lambda what: tell(f"  {_age(clock, started)}  {what}"))
    started = clock.monotonic()
    stop = asyncio.Event()
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if seconds:
        loop.call_later(seconds, stop.set)
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run(stop, lambda _: ready.set()), name="gateway")
        await ready.wait()
        tell(await _welcome(gateway, places))
        started = clock.monotonic()
        town = group.create_task(scene.run(), name="town")
        await stop.wait()
        town.cancel()
    account = gateway.counters.account()
    tell(
        f"received {account.received} = stored {account.stored} + refreshed {account.refreshed}"
        f" + dropped {sum(account.dropped.values())} + waiting {account.waiting}"
    )


def _age(clock: SystemClock, started: float) -> str:
    return f"{clock.monotonic() - started:5.0f} s"


async def _welcome(gateway: Gateway, places: DemoPlaces) -> str:
    assert gateway.desk is not None  # noqa: S101 - the demo's settings have a desk
    await gateway.desk.started()
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
