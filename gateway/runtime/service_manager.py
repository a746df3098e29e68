"""Tells the service manager how the gateway does: ready, alive, stopping (sd_notify).

The protocol is one datagram a message on the socket that NOTIFY_SOCKET names; without that variable
nothing is said. The beat comes from the event loop and only while the outbox's thread lives, so a
gateway that hangs, or can make nothing durable, is started again. Where no manager counts the
beats, a watchdog of our own does.
"""

import os
import socket
from collections.abc import Callable, Mapping

import structlog

from gateway.clock import Clock
from gateway.runtime.watchdog import Watchdog

log = structlog.get_logger("gateway.service_manager")

US_PER_S = 1_000_000
BEATS = 3  # so many in the time after which the manager loses patience


class ServiceManager:
    """Whoever started us and listens; silent where nobody does.

    ``watchdog_s`` is the patience of our own watchdog where the manager has none; 0: no watchdog.
    """

    def __init__(
        self, environment: Mapping[str, str], clock: Clock, watchdog_s: float = 0.0
    ) -> None:
        self._clock = clock
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._patience_s = _patience_s(environment) if self._address is not None else None
        self._watchdog_s = watchdog_s
        self._has_failed = False

    def ready(self, text: str) -> None:
        """The gateway takes events now."""
        self._send(f"READY=1\nSTATUS={text}")

    def stopping(self) -> None:
        """It was told to end and is doing so."""
        self._send("STOPPING=1")

    async def run(self, is_alive: Callable[[], bool]) -> None:
        """Beat until cancelled, as long as ``is_alive``; ends at once where no beat is wanted."""
        if self._patience_s is not None:
            await self._beat(lambda: self._send("WATCHDOG=1"), is_alive, self._patience_s)
        elif self._watchdog_s > 0:
            with Watchdog(self._watchdog_s) as watchdog:
                await self._beat(watchdog.beat, is_alive, self._watchdog_s)

    async def _beat(
        self, beat: Callable[[], None], is_alive: Callable[[], bool], patience_s: float
    ) -> None:
        while True:
            if is_alive():
                beat()
            await self._clock.sleep(patience_s / BEATS)

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(0)
                sock.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                log.warning("service_manager_unreachable", why=str(error))


def _address(text: str) -> str | None:
    """A path, or a name of the abstract space, which begins with @."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _patience_s(environment: Mapping[str, str]) -> float | None:
    """After how many seconds without a beat we are started again; None where nobody counts."""
    text = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(text) / US_PER_S if ours and text.isdigit() and int(text) > 0 else None
