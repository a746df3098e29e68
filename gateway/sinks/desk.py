"""The sink that fills the desk's log from the outbox: never through the broker."""

import asyncio
from collections.abc import Sequence

from gateway.errors import GatewayError, SinkError
from gateway.eventlog.store import EventLog, UnusableRowError
from gateway.outbox.rows import Delivery, Row
from gateway.sinks.privacy import Privacy


class DeskSink:
    """Hands committed rows to the event log, which keeps one row for each event id.

    The log commits with FULL before ``deliver`` returns, so this sink's cursor never passes what is
    on disk there; a batch that comes twice changes nothing.
    """

    name = "desk"

    def __init__(self, eventlog: EventLog, privacy: Privacy | None = None) -> None:
        self._eventlog = eventlog
        self._privacy = privacy

    async def run(self) -> None:
        """Nothing to keep open: the log belongs to whoever built it. Ends when cancelled."""
        await asyncio.Event().wait()

    async def deliver(self, rows: Sequence[Row]) -> Delivery:
        """Write one batch; raises SinkError when the log cannot take it now.

        A row that can never be written is set aside with its reason, so that it holds up no other.
        """
        kept = self._privacy.kept_rows(rows) if self._privacy is not None else rows
        try:
            if kept:
                await self._eventlog.apply(kept)
        except UnusableRowError:
            return await self._one_by_one(kept, {row.seq for row in rows})
        except GatewayError as error:
            raise SinkError(f"desk log: {error}") from error
        return Delivery(accepted=[row.seq for row in rows])

    async def _one_by_one(self, rows: Sequence[Row], seqs: set[int]) -> Delivery:
        accepted = list(seqs - {row.seq for row in rows})  # of which nothing may be kept
        rejected: dict[int, str] = {}
        for row in rows:
            try:
                await self._eventlog.apply([row])
            except UnusableRowError as error:
                rejected[row.seq] = str(error)
            except GatewayError as error:
                raise SinkError(f"desk log: {error}") from error
            else:
                accepted.append(row.seq)
        return Delivery(accepted=accepted, rejected=rejected)
