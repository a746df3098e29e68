"""From a link's settings to the link."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drivers.api import Driver, Transport
from gateway.addresses import AllowList
from gateway.clock import Clock
from gateway.errors import ConfigError
from gateway.links.base import Link
from gateway.links.replay import ReplayLink
from gateway.links.serial import SerialLink
from gateway.links.tcp import TcpClientLink, TcpServerLink
from gateway.links.udp import UdpLink
from gateway.settings import (
    AnyLinkSettings,
    SerialSettings,
    TcpClientSettings,
    TcpServerSettings,
    UdpSettings,
    parse_address,
)

CONNECT_TIMEOUT_S = 10.0  # to a serial port server
# Longest pause between two tries to open a link again. Looking whether a port is back costs
# nothing, and the first event after its return is wanted within 3 s; a far server is spared.
NEAR_PAUSE_S = 1.0
FAR_PAUSE_S = 30.0


def make_link(settings: AnyLinkSettings, driver: Driver[Any], folder: Path, clock: Clock) -> Link:
    """Build the link of one ``[[link]]`` table; opens nothing.

    ``folder`` is the settings file's: a replay's file is relative to it. Raises ConfigError naming
    the link and the key.
    """
    where = f"link {settings.id!r}"
    _check_transport(settings, driver, where)
    if isinstance(settings, SerialSettings):
        return _serial_link(settings, driver.serial_baud, clock, where)
    if isinstance(settings, TcpClientSettings):
        return TcpClientLink(settings.host, settings.port, settings.connect_timeout_s)
    if isinstance(settings, TcpServerSettings):
        host, port = parse_address(settings.listen, f"{where}: listen")
        return TcpServerLink(
            host,
            port,
            allow=AllowList(settings.allow),
            max_peers=settings.max_peers,
            max_peers_per_address=settings.max_peers_per_address,
            clock=clock,
        )
    if isinstance(settings, UdpSettings):
        return _udp_link(settings, driver.max_frame, clock, where)
    return ReplayLink(
        (folder / settings.file).resolve(),
        speed=settings.speed,
        baud=driver.serial_baud,
        clock=clock,
    )


def longest_pause_s(settings: AnyLinkSettings) -> float:
    """How far the pauses between two tries to open this link may grow, in seconds."""
    return FAR_PAUSE_S if isinstance(settings, TcpClientSettings) else NEAR_PAUSE_S


def _check_transport(settings: AnyLinkSettings, driver: Driver[Any], where: str) -> None:
    transport = Transport(str(type(settings).__struct_config__.tag))
    if transport is not Transport.REPLAY and transport not in driver.transports:
        takes = ", ".join(sorted(driver.transports))
        raise ConfigError(
            f"{where}: transport: driver {driver.name!r} does not run on {str(transport)!r}; "
            f"it takes {takes}"
        )


def _serial_link(settings: SerialSettings, usual_baud: int, clock: Clock, where: str) -> Link:
    if "://" not in settings.port:
        return SerialLink(settings.port, settings.baud or usual_baud, clock)
    url = urlsplit(settings.port)
    try:
        port = url.port
    except ValueError:
        port = None
    if url.scheme != "socket" or not url.hostname or port is None:
        raise ConfigError(
            f"{where}: port: {settings.port!r} is neither a device path nor 'socket://host:port'; "
            "a serial port server is read in its raw TCP mode"
        )
    return TcpClientLink(url.hostname, port, CONNECT_TIMEOUT_S)


def _udp_link(settings: UdpSettings, max_frame: int, clock: Clock, where: str) -> Link:
    host, port = parse_address(settings.listen, f"{where}: listen")
    remote = parse_address(settings.remote, f"{where}: remote") if settings.remote else None
    return UdpLink(
        host,
        port,
        remote=remote,
        allow=AllowList(settings.allow),
        max_peers=settings.max_peers,
        peer_idle_s=settings.peer_idle_s,
        max_frame=max_frame,
        clock=clock,
    )
