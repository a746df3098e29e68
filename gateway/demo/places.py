"""Where the demo lives: a folder with the settings, the units and the map of the emulated town."""

import json
import socket
from pathlib import Path

import msgspec

from gateway.demo.teams import units_file
from gateway.demo.town import Town

RECEIVERS = tuple(f"gnss-{count}" for count in range(1, 7))
STATIONS = ("hytera-plaza", "hytera-village")


class DemoPlaces(msgspec.Struct, frozen=True):
    """The addresses and files of one demo; ports are free ones unless asked for."""

    folder: Path
    desk_port: int
    mqtt_port: int
    terminals_tcp_port: int
    terminals_udp_port: int

    @property
    def settings_file(self) -> Path:
        """What the gateway is started with."""
        return self.folder / "gateway.toml"

    def serial_path(self, link_id: str) -> Path:
        """Where the serial port of a link appears."""
        return self.folder / "dev" / link_id


def prepare(folder: Path, desk_port: int) -> DemoPlaces:
    """Write the demo's files into ``folder``; port 0 means a free one."""
    places = DemoPlaces(
        folder=folder,
        desk_port=desk_port or free_port(socket.SOCK_STREAM),
        mqtt_port=free_port(socket.SOCK_STREAM),
        terminals_tcp_port=free_port(socket.SOCK_STREAM),
        terminals_udp_port=free_port(socket.SOCK_DGRAM),
    )
    (folder / "dev").mkdir(parents=True, exist_ok=True)
    (folder / "units.toml").write_text(units_file(), encoding="utf-8")
    town_map = json.dumps(Town().geojson(), ensure_ascii=False)
    (folder / "town.geojson").write_text(town_map, encoding="utf-8")
    places.settings_file.write_text(settings_text(places), encoding="utf-8")
    return places


HEAD = """# The emulated town: written by the demo, made anew at each start.
[site]
id = "rongxi"
name = "榕溪镇（演示）"
data_dir = "var"
units_file = "units.toml"
map_file = "town.geojson"

[board]  # shorter than in service, so that the states can be watched
fresh_s = 20.0
silent_s = 45.0

[desk]
listen = "127.0.0.1:{desk_port}"

[broker]
embedded = true
listen = "127.0.0.1:{mqtt_port}"

[mqtt]
enabled = true
protocol = "3.1.1"

[commands]  # off in service until the site says so; the emulated radios answer all of these
enabled = true
allow = ["locate", "track", "text", "check", "emergency_stop"]

[[airtime]]  # the control stations hear one channel of the radio system
id = "channel-1"
links = ["hytera-plaza", "hytera-village"]

[[link]]  # public-network handhelds
id = "terminals-tcp"
driver = "jt808"
transport = "tcp_server"
listen = "127.0.0.1:{terminals_tcp_port}"

[[link]]
id = "terminals-udp"
driver = "jt808"
transport = "udp"
listen = "127.0.0.1:{terminals_udp_port}"
"""
STATION = """
[[link]]  # a Hytera control-station radio that hears its units
id = "{link_id}"
driver = "hytera_hrnp"
transport = "serial"
port = "{port}"
options = {{ number_space = "pdt" }}
"""
RECEIVER = """
[[link]]  # a GNSS receiver in a car
id = "{link_id}"
driver = "nmea0183"
transport = "serial"
port = "{port}"
silent_after_s = 5.0
"""


def settings_text(places: DemoPlaces) -> str:
    """The demo's settings file, as a technician would write it."""
    parts = [
        HEAD.format(
            desk_port=places.desk_port,
            mqtt_port=places.mqtt_port,
            terminals_tcp_port=places.terminals_tcp_port,
            terminals_udp_port=places.terminals_udp_port,
        )
    ]
    for template, names in ((STATION, STATIONS), (RECEIVER, RECEIVERS)):
        parts += [template.format(link_id=name, port=places.serial_path(name)) for name in names]
    return "".join(parts)


def free_port(kind: int) -> int:
    """A port that is free on loopback now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def a_port_like(wanted: int) -> int:
    """``wanted`` where it is free on loopback, another one otherwise: a demo should just start."""
    if wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                return free_port(socket.SOCK_STREAM)
    return wanted
