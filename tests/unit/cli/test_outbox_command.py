"""``pdt-gateway outbox``: what was set aside, why, and offering it again."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.model.events import to_json
from gateway.model.quantities import Instant
from gateway.outbox.database import connect
from gateway.outbox.rows import Lane
from gateway.outbox.tables import SetAside, Tables
from gateway.settings import OutboxSettings
from gateway.sinks.desk import DeskSink
from gateway.sinks.influx import InfluxSink
from gateway.sinks.mqtt import MqttSink
from tests.support.influxdb import InfluxDb
from tests.support.outbox import open_engine, put_emergency, running
from tests.support.sink_rows import fix, raised

SETTINGS = """
[site]
id = "town"
data_dir = "."
[influx]
enabled = true
api = "1"
url = "{url}"
"""


def outbox(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "outbox", "--config", folder / "gateway.toml", *words],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


async def fill(folder: Path, url: str) -> None:
    """An outbox with three rows that influx refused, for two reasons, and one of mqtt."""
    (folder / "gateway.toml").write_text(SETTINGS.format(url=url))
    async with running(folder / "outbox.db", OutboxSettings(), clock=SystemClock()):
        pass
    database = connect(folder / "outbox.db")
    rows = [("influx", "no room"), ("influx", "no room"), ("influx", "bad"), ("mqtt", "too long")]
    Tables(database).put_set_aside(
        SetAside(sink, Lane.TELEMETRY, seq, reason, to_json(fix(seq)), Instant(10**18))
        for seq, (sink, reason) in enumerate(rows)
    )
    database.close()


def test_rows_are_counted_by_reason_and_listed(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path, "http://127.0.0.1:9"))
    everything = outbox(tmp_path)
    assert everything.returncode == 0, everything.stderr
    assert "4 rows set aside" in everything.stdout
    assert "     2  influx: no room" in everything.stdout
    found = json.loads(outbox(tmp_path, "--sink", "influx", "--limit", "1", "--json").stdout)
    assert found["reasons"] == [
        {"sink": "influx", "reason": "no room", "rows": 2},
        {"sink": "influx", "reason": "bad", "rows": 1},
    ]
    assert [row["reason"] for row in found["rows"]] == ["bad"]


def test_a_sink_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path, "http://127.0.0.1:9"))
    wrong = outbox(tmp_path, "--sink", "nosuch")
    assert wrong.returncode == 2
    for sink in (DeskSink, InfluxSink, MqttSink):
        assert f"'{sink.name}'" in wrong.stderr
        assert outbox(tmp_path, "--sink", sink.name).returncode == 0


def test_rows_are_offered_again_only_to_the_series(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path, "http://127.0.0.1:9"))
    asked = outbox(tmp_path, "--sink", "mqtt", "--offer-again")
    assert asked.returncode == 2
    away = outbox(tmp_path, "--sink", "influx", "--offer-again")
    assert away.returncode == 3
    assert "127.0.0.1:9" in away.stderr
    assert "4 rows set aside" in outbox(tmp_path).stdout, "nothing is lost by a try"


@pytest.mark.needs("influxd")
def test_after_mending_they_are_written_and_no_longer_aside(tmp_path: Path) -> None:
    with InfluxDb(tmp_path) as database:
        database.query("CREATE DATABASE pdt")
        asyncio.run(fill(tmp_path, database.url))
        done = outbox(tmp_path, "--sink", "influx", "--offer-again")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "3 rows taken, 0 refused again\n"
        assert len(database.query("SELECT lat FROM position")) == 3
        assert "1 rows set aside" in outbox(tmp_path).stdout


PRIVATE = """
[[privacy]]
kind = "watch"
off_duty = "none"
"""
UNITS = """
[[team]]
id = "watchers"
name = "守望"
kind = "watch"
duty = ["sun 04:00-04:01"]
[[unit]]
id = "u7"
name = "守望7"
team = "watchers"
radios = ["pdt:7"]
"""


@pytest.mark.needs("influxd")
def test_what_an_emergency_concerned_is_written_in_full_off_duty_too(tmp_path: Path) -> None:
    with InfluxDb(tmp_path) as database:
        database.query("CREATE DATABASE pdt")
        asyncio.run(fill(tmp_path, database.url))
        (tmp_path / "units.toml").write_text(UNITS)
        settings = SETTINGS.replace('data_dir = "."', 'data_dir = "."\nunits_file = "units.toml"')
        (tmp_path / "gateway.toml").write_text(settings.format(url=database.url) + PRIVATE)
        engine = open_engine(tmp_path / "outbox.db")
        put_emergency(engine, raised(7, team="watchers"))
        engine.tables.put_set_aside(
            SetAside("influx", Lane.TELEMETRY, number, "no", to_json(one), Instant(10**18))
            for number, one in enumerate((fix(7, team="watchers"), fix(8, team="away")))
        )
        engine.close()
        done = outbox(tmp_path, "--sink", "influx", "--offer-again")
        assert done.stdout == "5 rows taken, 0 refused again\n", done.stderr
        kept = database.query("SELECT lat, unit FROM position WHERE unit = 'u7'")
        assert [point["lat"] for point in kept] == [23.02]
