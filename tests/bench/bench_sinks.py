"""Broker and time series together, beside each alone."""

import tempfile
from pathlib import Path

from tests.bench.bench_throughput import Measured, measure
from tests.bench.figures import Figure, Say
from tests.support.influxdb import InfluxDb
from tests.support.mosquitto import Mosquitto

TITLE = "Both sinks"
ABOUT = """\
The same terminals as above, with Mosquitto at QoS 1 and a real InfluxDB 1.x, alone and together.
The desk history is on in all three. A fix counts when everybody switched on has acknowledged it.
"""

WAYS = {"MQTT alone": "influx", "InfluxDB alone": "mqtt", "both together": ""}


def run(say: Say, *, runs: int, quick: bool) -> list[Figure]:
    """Three figures; the ways take turns."""
    seconds = 6.0 if quick else 10.0
    figures = {way: Figure(name=way, unit="fixes/s") for way in WAYS}
    figures["both together"].ceiling_is = "the slower one alone"
    for turn in range(runs):
        found = {way: once(without, seconds) for way, without in WAYS.items()}
        alone = min(found[way].rate for way in ("MQTT alone", "InfluxDB alone"))
        for way, one in found.items():
            figures[way].add(one.rate, alone if way == "both together" else None)
            say(f"run {turn + 1}, {way}: {one.rate:,.0f} fixes/s, {one.cpu_us:.0f} µs each")
    return list(figures.values())


def once(without: str, seconds: float) -> Measured:
    """One window with fresh servers."""
    with (
        tempfile.TemporaryDirectory() as name,
        Mosquitto(Path(name)) as broker,
        InfluxDb(Path(name)) as influx,
    ):
        influx.query("CREATE DATABASE pdt")
        return measure(Path(name), broker=broker, influx=influx, without=without, seconds=seconds)
