"""One unit's position as NMEA 0183 over TCP, for chart programs and gpsd.

A live view, not a record: whoever connects gets the present position at once and each new one after
it. Nothing asks who reads, so it listens on loopback until told otherwise, to listed networks only.
"""

import asyncio
from typing import Protocol

import structlog

from drivers.wire.sentences import write_place, write_sentence
from gateway.addresses import AllowList, address_text
from gateway.clock import Clock
from gateway.model.quantities import KNOT_MPS, Instant
from gateway.model.views import UnitView
from gateway.settings import NmeaOutSettings, parse_address

log = structlog.get_logger("gateway.sinks.nmea")

MAX_WAITING_BYTES = 16_384  # for one reader; about two minutes of sentences at one fix a second
MAX_READERS = 32
PAUSE_S = 5.0  # between two tries to listen


class UnitSource(Protocol):
    """Where the units are."""

    def unit(self, key: str) -> UnitView | None:
        """One unit by its id, or by radio id where there is no unit."""
        ...


def sentences(unit: UnitView, now: Instant) -> bytes:
    """RMC and GGA for a fresh fix; a void RMC of this moment for anything else.

    A chart program has no way to show the age of a place, so an old one is not given at all.
    """
    if unit.state != "fresh_fix" or unit.lat_deg is None or unit.lon_deg is None:
        at = now.datetime()
        return write_sentence(f"GPRMC,{at:%H%M%S}.000,V,,,,,,,{at:%d%m%y},,,N")
    at = (unit.fix_at or unit.fix_received_at or now).datetime()
    time = f"{at:%H%M%S}.{at.microsecond // 1000:03d}"
    place = write_place(unit.lat_deg, unit.lon_deg)
    knots = "" if unit.speed_mps is None else f"{unit.speed_mps / KNOT_MPS:.3f}"
    course = "" if unit.course_deg is None else f"{unit.course_deg:.2f}"
    height = "," if unit.altitude_m is None else f"{unit.altitude_m:.1f},M"
    seen = "" if unit.satellites is None else f"{unit.satellites:02d}"
    return write_sentence(
        f"GPRMC,{time},A,{place},{knots},{course},{at:%d%m%y},,,A"
    ) + write_sentence(f"GPGGA,{time},{place},1,{seen},,{height},,,,")


class NmeaOut:
    """Serves one unit; see the module's docstring."""

    def __init__(self, settings: NmeaOutSettings, units: UnitSource, clock: Clock) -> None:
        self._unit = settings.unit
        self._host, self._port = parse_address(settings.listen, "nmea_out.listen")
        self._allow = AllowList(settings.allow)
        self._units = units
        self._clock = clock
        self._readers: set[asyncio.StreamWriter] = set()
        self._last: tuple[object, ...] = ()
        self.name = f"nmea {self._unit}"
        self.bound: tuple[str, int] | None = None
        self.readers_dropped = 0

    async def run(self) -> None:
        """Listen until cancelled; a port that is taken is tried again."""
        is_told = False
        while True:
            try:
                server = await asyncio.start_server(self._serve, self._host, self._port)
            except OSError as error:
                if not is_told:
                    log.warning("nmea_out_down", unit=self._unit, why=error.strerror or str(error))
                is_told = True
                await self._clock.sleep(PAUSE_S)
                continue
            host, port = server.sockets[0].getsockname()[:2]
            self.bound = (host, port)
            log.info("nmea_out_up", unit=self._unit, place=address_text((host, port)))
            try:
                async with server:
                    await server.serve_forever()
            finally:
                for reader in tuple(self._readers):
                    reader.close()

    def changed(self, kind: str, key: str) -> None:
        """Something has a new state; a new position of our unit goes to every reader."""
        if kind != "unit" or key != self._unit:
            return
        unit = self._units.unit(key)
        if unit is None:
            return
        told = (unit.state, unit.fix_at, unit.fix_received_at)
        if told == self._last:
            return  # heard again, and the place is the same
        self._last = told
        data = sentences(unit, self._clock.now())
        for reader in tuple(self._readers):
            self._write(reader, data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What a reader sends is read and passed over; its end is the end."""
        host = str(writer.get_extra_info("peername")[0])
        if not self._allow.allows(host) or len(self._readers) >= MAX_READERS:
            self.readers_dropped += 1
            writer.close()
            return
        self._readers.add(writer)
        try:
            unit = self._units.unit(self._unit)
            if unit is not None:
                self._write(writer, sentences(unit, self._clock.now()))
            while await reader.read(1024):
                pass
        except OSError:
            pass  # gone without a word
        finally:
            self._readers.discard(writer)
            writer.close()

    def _write(self, reader: asyncio.StreamWriter, data: bytes) -> None:
        """Send, or hang up on a reader that does not read."""
        if reader.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            self.readers_dropped += 1
            self._readers.discard(reader)
            reader.transport.abort()
            return
        reader.write(data)
