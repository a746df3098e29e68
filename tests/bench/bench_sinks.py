"""Broker and time series together, beside each alone."""

import tempfile
from pathlib import Path

from tests.bench.bench_throughput import Measured, measure
from tests.bench.figures import Figure, Say
from tests.bench.site import series_here
from tests.support.influxdb import InfluxDb, InfluxServer
from tests.support.mosquitto import Mosquitto

TITLE = "Both sinks"
ABOUT = """\
The same terminals as above, with Mosquitto at QoS 1 and a real InfluxDB, alone and together: 1.6.7
through `/write`, 2.7.12 through `/api/v2/write` (where `make servers` could build it). The desk
history is on in all of them. A fix counts when everybody switched on has acknowledged it.
"""

BROKER = "MQTT alone"


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """Figures of the broker, then for each version alone and together; the ways take turns."""
    seconds = 6.0 if quick else 10.0
    versions = series_here()
    figures = {BROKER: Figure(name=BROKER, unit="fixes/s")}
    for name in versions:
        for way, beside in ((f"{name} alone", ""), (f"MQTT and {name}", "the slower one alone")):
            figures[way] = Figure(name=way, unit="fixes/s", ceiling_is=beside)
    for turn in range(runs):
        by_way: dict[str, Measured] = {}
        by_way[BROKER] = once(InfluxDb, "influx", seconds)
        figures[BROKER].add(by_way[BROKER].rate)
        for name, kind in versions.items():
            alone = by_way[f"{name} alone"] = once(kind, "mqtt", seconds)
            both = by_way[f"MQTT and {name}"] = once(kind, "", seconds)
            figures[f"{name} alone"].add(alone.rate)
            slower = min(alone.rate, by_way[BROKER].rate)
            figures[f"MQTT and {name}"].add(both.rate, slower)
        for way, one in by_way.items():
            say(f"run {turn + 1}, {way}: {one.rate:,.0f} fixes/s, {one.cpu_us:.0f} µs each")
    return list(figures.values())


def once(version: type[InfluxServer], without: str, seconds: float) -> Measured:
    """One window with fresh servers."""
    with (
        tempfile.TemporaryDirectory() as name,
        Mosquitto(Path(name)) as broker,
        version(Path(name)) as influx,
    ):
        influx.create()
        return measure(Path(name), broker=broker, influx=influx, without=without, seconds=seconds)
