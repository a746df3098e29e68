"""Fixes per minute, of radios that send one a second: sixty, and sixty at the right edge too."""

from typing import Any

from gateway.clock import SystemClock
from gateway.model.quantities import NS_PER_S
from tests.support.grafana import filled, queries
from tests.support.influxdb import EACH_VERSION, InfluxServer

BOARDS = [each for each in queries() if each.panel in {"每分钟定位数", "fixes per minute"}]


@EACH_VERSION
def test_the_minute_that_is_running_is_left_out(tmp_path: Any, version: type[InfluxServer]) -> None:
    at = SystemClock().now()
    with version(tmp_path / "influxdb") as database:
        database.create()
        seconds = range(900)
        database.write(
            "\n".join(f"position,radio=r1 fix_valid=true {at - s * NS_PER_S}" for s in seconds)
        )
        assert len(BOARDS) == 4
        for asked in BOARDS:
            for until_s in (0.0, -23.0, -300.5):
                text = filled(asked, at, {}, hours=0.1, until_s=until_s)
                counted = [row["count"] for row in database.query(text)]
                assert counted == [60] * 5, (asked.name, counted)
