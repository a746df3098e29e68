"""From settings to links."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from drivers.api import CodecOptions, Driver, Transport
from gateway.clock import ManualClock
from gateway.errors import ConfigError
from gateway.links.base import Link
from gateway.links.factory import longest_pause_s, make_link
from gateway.links.serial import SerialLink
from gateway.settings import AnyLinkSettings


class NoOptions(CodecOptions, frozen=True, kw_only=True):
    pass


def driver(*transports: Transport) -> Driver[NoOptions]:
    return Driver(
        name="nmea0183",
        title="t",
        title_zh="t",
        spec="s",
        transports=frozenset(transports or Transport),
        options=NoOptions,
        codec=lambda _options, _link: pytest.fail("a link needs no codec"),
        max_frame=1024,
        serial_baud=4800,
    )


def settings(**table: Any) -> AnyLinkSettings:
    base = {"id": "gps-1", "driver": "nmea0183"}
    link: AnyLinkSettings = msgspec.convert(base | table, AnyLinkSettings)
    return link


def made(**table: Any) -> Link:
    return make_link(settings(**table), driver(), Path("/etc/pdt"), ManualClock())


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"transport": "serial", "port": "/dev/gps"}, "serial /dev/gps"),
        ({"transport": "serial", "port": "socket://[::1]:4001"}, "tcp [::1]:4001"),
        ({"transport": "tcp_client", "host": "gps.lan", "port": 2947}, "tcp gps.lan:2947"),
        ({"transport": "tcp_server", "listen": "127.0.0.1:7000"}, "tcp server 127.0.0.1:7000"),
        ({"transport": "udp", "listen": "[::1]:30003"}, "udp [::1]:30003"),
        (
            {"transport": "udp", "remote": "10.0.0.9:30003"},
            "udp 127.0.0.1:0 to 10.0.0.9:30003",
        ),
        ({"transport": "replay", "file": "r/gps.jsonl"}, "replay /etc/pdt/r/gps.jsonl"),
    ],
)
def test_every_kind_of_link_is_made(table: dict[str, Any], place: str) -> None:
    assert made(**table).place == place


@pytest.mark.parametrize(("given", "baud"), [({}, 4800), ({"baud": 38400}, 38400)])
def test_the_baud_rate_is_the_drivers_unless_set(given: dict[str, int], baud: int) -> None:
    link = made(transport="serial", port="/dev/gps", **given)
    assert isinstance(link, SerialLink)
    assert link._baud == baud


@pytest.mark.parametrize("port", ["rfc2217://h:1", "socket://host", "socket://h:99999", "loop://"])
def test_another_kind_of_address_is_refused_with_a_way_out(port: str) -> None:
    with pytest.raises(ConfigError, match=r"link 'gps-1': port: .* raw TCP mode"):
        made(transport="serial", port=port)


def test_a_driver_on_a_wire_it_does_not_know_is_refused() -> None:
    only_udp = driver(Transport.UDP)
    with pytest.raises(ConfigError, match=r"does not run on 'serial'; it takes udp"):
        make_link(settings(transport="serial", port="/dev/gps"), only_udp, Path(), ManualClock())
    make_link(settings(transport="replay", file="r"), only_udp, Path(), ManualClock())


def test_a_port_is_looked_for_often_and_a_server_is_spared() -> None:
    assert longest_pause_s(settings(transport="serial", port="/dev/gps")) <= 1.0
    assert longest_pause_s(settings(transport="tcp_client", host="h", port=1)) == 30.0
