"""A town for the benchmarks: 500 units, one JT/T 808 port, the settings around it."""

from pathlib import Path

from tests.bench.terminals import phone_of
from tests.conftest import find_tool
from tests.support.influxdb import InfluxDb, InfluxDb2, InfluxServer

TEAMS = 20
UNITS = 500
SERIES: dict[str, type[InfluxServer]] = {"InfluxDB 1.6": InfluxDb, "InfluxDB 2.7": InfluxDb2}


def series_here() -> dict[str, type[InfluxServer]]:
    """The versions of InfluxDB that this machine has, by name."""
    return {name: kind for name, kind in SERIES.items() if find_tool(kind.program)}


def write_units(folder: Path, count: int) -> None:
    """``units.toml``: one unit for each terminal."""
    lines = [f'[[team]]\nid = "team-{n}"\nname = "第{n}联防队"\n' for n in range(TEAMS)]
    lines += [
        f'[[unit]]\nid = "unit-{n:04d}"\nname = "巡逻{n}号"\nteam = "team-{n % TEAMS}"\n'
        f'radios = ["jt808:{phone_of(n)}"]\n'
        for n in range(count)
    ]
    (folder / "units.toml").write_text("\n".join(lines), encoding="utf-8")


def write_settings(
    folder: Path,
    *,
    listen: int,
    broker: int | None = None,
    influx: InfluxServer | None = None,
    desk: int | None = None,
    units: int = UNITS,
) -> Path:
    """``settings.toml`` beside ``units.toml``; ``broker`` and ``desk`` are ports."""
    write_units(folder, units)
    file = folder / "settings.toml"
    file.write_text(
        f"""
[site]
id = "town"
data_dir = "var"
units_file = "units.toml"
[log]
level = "warning"
[desk]
enabled = {str(desk is not None).lower()}
listen = "127.0.0.1:{desk or 0}"
[mqtt]
enabled = {str(broker is not None).lower()}
port = {broker or 1883}
fix_qos = 1
[influx]
{influx.settings_text if influx else ""}
[[link]]
id = "terminals"
driver = "jt808"
transport = "tcp_server"
listen = "127.0.0.1:{listen}"
""",
        encoding="utf-8",
    )
    return file
