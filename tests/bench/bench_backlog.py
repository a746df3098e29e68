"""An hour's backlog of 360,000 fixes, drained into broker and time series; alarms meanwhile."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from gateway.model.events import PositionFix
from gateway.model.identity import RadioId, UnitId, derive_event_id
from gateway.model.quantities import NS_PER_S, Instant
from gateway.outbox.rows import Lane, Write
from gateway.outbox.store import Outbox
from gateway.settings import OutboxSettings
from tests.bench.bench_throughput import ceiling, stored_messages
from tests.bench.children import Child
from tests.bench.figures import Figure, Say
from tests.bench.site import TEAMS, UNITS, series_here, write_settings
from tests.bench.terminals import phone_of
from tests.bench.watchers import Buttons, Percentiles, Subscriber, percentiles
from tests.support.databases import read_only
from tests.support.influxdb import InfluxServer
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port

TITLE = "Backlog"
ABOUT = """\
Broker and database were away for an hour, in which 100 fixes a second were stored: 360,000 of them,
a tenth of that in the short form. Both come back. Measured is how fast each catches up, by its own
acknowledgements, and how long a new emergency takes to an MQTT subscriber meanwhile. The ceiling is
the client alone, publishing the same messages."""

ROWS, QUICK_ROWS = 360_000, 36_000
GOAL_A_SECOND, ALARM_GOAL_MS = 5_000.0, 1_000.0
LOOK_EVERY_S = 0.2
PRESS_EVERY_S = 0.25
MOST_PRESSES = 200
LIMIT_S = 600.0


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """How fast each sink catches up, and the alarms' p99 while they do."""
    rows = QUICK_ROWS if quick else ROWS
    figures: list[Figure] = []
    for name, version in series_here().items():
        rates = {
            sink: Figure(
                name=f"{rows:,} fixes into {place}, both at once",
                unit="fixes/s",
                goal=GOAL_A_SECOND,
                ceiling_is="MQTT client alone" if sink == "mqtt" else "",
            )
            for sink, place in (("mqtt", f"MQTT beside {name}"), ("influx", name))
        }
        alarms = Figure(
            name=f"a new emergency to the subscriber meanwhile, p99 ({name})",
            unit="ms",
            better="lower",
            goal=ALARM_GOAL_MS,
        )
        for turn in range(runs):
            took, found, top = drain(rows, version)
            for sink, seconds in took.items():
                rates[sink].add(rows / seconds, top if sink == "mqtt" else None)
            alarms.add(found.p99)
            say(
                f"{name}, run {turn + 1}: "
                + ", ".join(f"{sink} {seconds:.0f} s" for sink, seconds in took.items())
                + f"; alarms {found.p50:.0f}, {found.p99:.0f} ms"
            )
        figures += [*rates.values(), alarms]
    return figures


def drain(rows: int, version: type[InfluxServer]) -> tuple[dict[str, float], Percentiles, float]:
    """Seconds until each sink has caught up, the alarms' percentiles, the client alone."""
    with (
        tempfile.TemporaryDirectory() as name,
        Mosquitto(Path(name)) as broker,
        version(Path(name)) as influx,
    ):
        folder, port = Path(name), free_port()
        influx.create()
        asyncio.run(fill(folder / "var", rows))
        settings = write_settings(folder, listen=port, broker=broker.port, influx=influx)
        with (
            Subscriber(broker.port) as subscriber,
            Child("gateway_child", str(settings), log=folder / "log") as gateway,
            Buttons(port, MOST_PRESSES) as buttons,
        ):
            took = _until_drained(gateway, buttons, rows)
            subscriber.wait_for(len(buttons.at))
        found = percentiles(subscriber.since(buttons.at))
        with read_only(folder / "var" / "outbox.db") as kept:
            assert kept.execute("SELECT count(*) FROM telemetry_rows").fetchone()[0] >= rows
        return took, found, ceiling(broker.port, stored_messages(folder), 3.0).rate


def _until_drained(gateway: Child, buttons: Buttons, rows: int) -> dict[str, float]:
    """Seconds for each sink, by the gateway's own clock; somebody presses now and then."""
    took: dict[str, float] = {}
    begun = gateway.first["mono"]
    next_press = time.monotonic()
    deadline = time.monotonic() + LIMIT_S
    while len(took) < 2:
        assert time.monotonic() < deadline, gateway.log_text()
        now = gateway.ask("report")
        for sink in ("mqtt", "influx"):
            if now["delivered"][sink] >= rows and sink not in took:
                took[sink] = now["mono"] - begun
        if time.monotonic() >= next_press and len(buttons.at) < MOST_PRESSES:
            next_press += PRESS_EVERY_S
            buttons.press()
        time.sleep(LOOK_EVERY_S)
    return took


async def fill(folder: Path, rows: int) -> None:
    """An outbox in which an hour of fixes waits for broker and time series; the desk has them."""
    folder.mkdir(parents=True)
    outbox = Outbox(folder / "outbox.db", OutboxSettings(), SystemClock())
    await asyncio.to_thread(outbox.open)
    for sink in ("desk", "mqtt", "influx"):
        outbox.register_sink(sink)
    outbox.start(asyncio.get_running_loop())
    begin = SystemClock().now() - 3600 * NS_PER_S
    errors: list[Any] = []
    for number in range(rows):
        at = Instant(begin + number * 3600 * NS_PER_S // rows)
        write = Write(Lane.TELEMETRY, _fix(number, at), None, errors.append)
        while not outbox.submit(write):
            await asyncio.sleep(0.001)
        if number % 500 == 0:
            await asyncio.sleep(0)
            await outbox.room()
    while len(errors) < rows:
        await asyncio.sleep(0.01)
    assert not any(errors)
    outbox.advance("desk", Lane.TELEMETRY, outbox.last_seq(Lane.TELEMETRY))
    await outbox.close()


def _fix(number: int, at: Instant) -> PositionFix:
    unit = number % UNITS
    return PositionFix(
        site="town",
        link_id="terminals",
        driver="jt808",
        event_id=derive_event_id("bench", number),
        radio_id=RadioId(f"jt808:{phone_of(unit)}"),
        unit_id=UnitId(f"unit-{unit:04d}"),
        unit_name=f"巡逻{unit}号",
        team=f"team-{unit % TEAMS}",
        received_at=at,
        fix_valid=True,
        fix_at=Instant(at // NS_PER_S * NS_PER_S),
        lat_deg=22.9 + number * 7 % 100_000 / 1e6,
        lon_deg=113.8 + number * 11 % 100_000 / 1e6,
        altitude_m=12.0,
        speed_mps=number % 80 / 36,
        course_deg=float(number % 360),
        satellites=9,
        odometer_m=float(number * 100),
    )
