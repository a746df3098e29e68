"""The time-series sink: one line for each event, bad lines set aside, the rest written.

A line is harmless to write twice: the same event is the same point. When the server refuses a
batch, halves of it are tried until the bad lines are alone; those are rejected with the server's
reason and the others are in.

Alarms may be kept longer than the rest (``influx.alarms_to``). They are written there first, and
that answer decides; then once more beside everything else, where a query that names no retention
policy finds them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from gateway.clock import Clock
from gateway.errors import ConfigError, SinkError
from gateway.model.events import EMERGENCY_EVENTS
from gateway.model.quantities import Instant
from gateway.outbox.rows import Delivery, Row
from gateway.settings import Loaded
from gateway.sinks.influx_answers import AccessRefusedError, BusyError, LinesRefusedError, Writer
from gateway.sinks.line_protocol import line_of
from gateway.sinks.privacy import Privacy

log = structlog.get_logger("gateway.sinks.influx")

FIGURES_EVERY_S = 10.0
ROWS_A_TURN = 50  # made into lines before the loop may do something else
MAX_REQUESTS = 64  # for one batch with bad lines; what is left then is offered again


class InfluxSink:
    """Writes the outbox to InfluxDB; see the module's docstring.

    ``figures`` gives the lines of the present moment, asked for every 10 s (``sinks.figures``);
    what cannot be written of them is counted and not kept.
    """

    name = "influx"

    def __init__(
        self,
        loaded: Loaded,
        *,
        clock: Clock,
        figures: Callable[[Instant], Iterable[str]],
        privacy: Privacy | None = None,
    ) -> None:
        self._loaded = loaded
        self._privacy = privacy
        self._clock = clock
        self._figures = figures
        self._writer = open_writer(loaded)
        self._alarms_to = loaded.settings.influx.alarms_to
        self.batch_rows = loaded.settings.influx.batch_rows
        self.gather_s = loaded.settings.influx.batch_every_s
        self._under_way = 0
        self._is_stale = False
        self._not_before_mono = 0.0
        self.place = f"influxdb {loaded.settings.influx.url}"
        self.why_down: str | None = None
        self.written = 0
        self.refused = 0
        self.figures_dropped = 0

    async def run(self) -> None:
        """Write the present state every 10 s until cancelled."""
        try:
            while True:
                await self._clock.sleep(FIGURES_EVERY_S)
                await self._write_figures()
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the connections up."""
        await self._writer.close()

    async def deliver(self, rows: Sequence[Row]) -> Delivery:
        """Write one batch; see ``Sink.deliver``."""
        accepted: list[int] = []
        rejected: dict[int, str] = {}
        lines: dict[int, str] = {}
        for count, row in enumerate(rows, start=1):
            if count % ROWS_A_TURN == 0:
                await asyncio.sleep(0)  # a full batch must not hold the loop
            event = self._privacy.kept(row.event) if self._privacy is not None else row.event
            if event is None:
                accepted.append(row.seq)
                continue
            try:
                line = line_of(event)
            except ValueError as error:
                rejected[row.seq] = str(error)
                continue
            if line is None:
                accepted.append(row.seq)
            else:
                lines[row.seq] = line
        alarms = {}
        if self._alarms_to:
            own = {row.seq for row in rows if isinstance(row.event, EMERGENCY_EVENTS)}
            alarms = {seq: lines.pop(seq) for seq in own & lines.keys()}
        try:
            await self._write_alarms(alarms, accepted, rejected)
            await self._write_all(lines, accepted, rejected)
        except SinkError as error:
            self._tell_down(error)
            if not accepted and not rejected:
                raise
        else:
            self._tell_up()
        self.refused += len(rejected)
        return Delivery(accepted, rejected)

    async def _write_alarms(
        self, lines: Mapping[int, str], accepted: list[int], rejected: dict[int, str]
    ) -> None:
        """To the place that keeps them long, then beside the rest."""
        kept: list[int] = []
        await self._write_all(lines, kept, rejected, self._alarms_to)
        copies: dict[int, str] = {}
        await self._write_all({seq: lines[seq] for seq in kept}, [], copies)
        self.refused += len(copies)  # a copy too old for its place, and safe in the other
        accepted += kept

    async def _write_all(
        self,
        lines: Mapping[int, str],
        accepted: list[int],
        rejected: dict[int, str],
        place: str = "",
    ) -> None:
        """Write, halving where the server refuses; fills ``accepted`` and ``rejected``."""
        parts = [list(lines)] if lines else []
        for _ in range(MAX_REQUESTS):
            if not parts:
                return
            part = parts.pop()
            try:
                await self._write("\n".join(lines[seq] for seq in part), place)
            except LinesRefusedError as error:
                if len(part) == 1 or error.dropped == len(part):
                    rejected.update(dict.fromkeys(part, f"refused by the server: {error}"))
                    continue
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                accepted += part
                self.written += len(part)

    async def _write(self, text: str, place: str = "") -> None:
        if self._clock.monotonic() < self._not_before_mono:
            raise SinkError(f"{self.place}: waiting as long as the server asked for")
        writer = await self._current_writer()
        self._under_way += 1
        try:
            await writer.write(text.encode(), place)
        except BusyError as error:
            self._not_before_mono = self._clock.monotonic() + error.pause_s
            raise
        except AccessRefusedError:
            self._is_stale = True
            raise
        finally:
            self._under_way -= 1

    async def _current_writer(self) -> Writer:
        """The writer; a fresh one with the secret of now after the server refused the old one."""
        if self._is_stale and not self._under_way:
            self._is_stale = False
            try:
                old, self._writer = self._writer, open_writer(self._loaded)
            except ConfigError as error:  # a secret file that was there at the start is gone
                self._is_stale = True
                raise SinkError(str(error)) from None
            await old.close()
        return self._writer

    async def _write_figures(self) -> None:
        batch: list[str] = []
        for line in self._figures(self._clock.now()):
            batch.append(line)
            if len(batch) == ROWS_A_TURN:
                await self._write_present(batch)
                batch = []
        if batch:
            await self._write_present(batch)

    async def _write_present(self, lines: Sequence[str]) -> None:
        try:
            await self._write("\n".join(lines))
        except (SinkError, LinesRefusedError) as error:
            self.figures_dropped += len(lines)
            log.debug("influx_figures_dropped", why=str(error))

    def _tell_up(self) -> None:
        if self.why_down is not None:
            log.info("influx_up", server=self.place)
        self.why_down = None

    def _tell_down(self, error: SinkError) -> None:
        if self.why_down is None:
            log.warning("influx_down", why=str(error), hint="trying again for ever")
        self.why_down = str(error)


def open_writer(loaded: Loaded) -> Writer:
    """The writer for the API of the settings; raises ConfigError for a secret that is not there.

    Each library is loaded only where it is used: influxdb-client alone takes a second.
    """
    if loaded.settings.influx.api == "1":
        from gateway.sinks.influx_v1 import WriterV1  # noqa: PLC0415 - see the docstring

        return WriterV1(loaded)
    from gateway.sinks.influx_v2 import WriterV2  # noqa: PLC0415 - see the docstring

    return WriterV2(loaded)
