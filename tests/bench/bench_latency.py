"""From the button to an MQTT subscriber and to the desk page, while others report positions."""

import tempfile
import time
from pathlib import Path

from tests.bench.children import Child
from tests.bench.figures import Figure, Say
from tests.bench.site import write_settings
from tests.bench.watchers import Buttons, Page, Percentiles, Subscriber, floor, percentiles
from tests.support.mosquitto import Mosquitto
from tests.support.ports import free_port

TITLE = "Button to alarm"
ABOUT = """\
A JT/T 808 terminal sends a report with the alarm bit, while fifty others report positions at the
rate that is named. Measured from the moment its bytes are handed to the system until an MQTT
subscriber (QoS 1) has the `emergency_raised` event, and until a signed-in desk page has it on its
event stream. On the way it was decoded, matched with its unit, and committed with fsync. The
floor beside it is one write with fsync and one bare publish to the same subscriber, without a
gateway."""

RATES = {100: 50.0, 2000: 500.0}  # fixes a second: goal for the subscriber's p99, ms
FLOOR_IS = "fsync and bare publish"
FIRST_WALKER = 300  # terminals before it press


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """p50 and p99 of both ways at each rate."""
    presses = 40 if quick else 200
    figures = {
        (rate, way, name): Figure(
            name=f"{name} to {way}, at {rate:,} fixes/s",
            unit="ms",
            better="lower",
            ceiling_is=FLOOR_IS,
            goal=goal if way == "subscriber" and name == "p99" else None,
        )
        for rate, goal in RATES.items()
        for way in ("subscriber", "page")
        for name in ("p50", "p99")
    }
    for turn in range(runs):
        for rate in RATES:
            ways, least = measure(rate, presses)
            for way, found in ways.items():
                say(f"run {turn + 1}, {rate} fixes/s, {way}: {found.p50:.1f}, {found.p99:.1f} ms")
                figures[rate, way, "p50"].add(found.p50, least.p50)
                figures[rate, way, "p99"].add(found.p99, least.p99)
    return list(figures.values())


def measure(rate: int, presses: int) -> tuple[dict[str, Percentiles], Percentiles]:
    """Both ways at one rate, and the floor."""
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name)) as broker:
        folder = Path(name)
        port, log = free_port(), folder / "log"
        settings = write_settings(folder, listen=port, broker=broker.port, desk=free_port())
        crowd = ("--first", str(FIRST_WALKER), "--rate", str(rate), "--port", str(port))
        with (
            Child("gateway_child", str(settings), log=log) as gateway,
            Subscriber(broker.port) as subscriber,
            Page(gateway.first["url"], gateway.first["sign_in"]) as page,
            Child("terminals", *crowd, log=log),
            Buttons(port, presses) as buttons,
        ):
            time.sleep(3)
            buttons.press_all(every_s=0.1)
            subscriber.wait_for(presses)
            page.wait_for(presses)
            after = gateway.ask("report")
            assert not after["dropped"], after
        least = floor(broker.port, folder)
        ways = {"subscriber": subscriber, "page": page}
        return {way: percentiles(who.since(buttons.at)) for way, who in ways.items()}, least
