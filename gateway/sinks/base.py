"""What a sink is."""

from collections.abc import Sequence
from typing import Protocol

from gateway.outbox.rows import Delivery, Row


class Sink(Protocol):
    """One far end: a broker, a time series, the desk's event log."""

    @property
    def name(self) -> str:
        """Names its cursor in the outbox; stable over restarts."""
        ...

    async def run(self) -> None:
        """Keep the connection for as long as the gateway lives; cancelled at the end."""
        ...

    async def deliver(self, rows: Sequence[Row]) -> Delivery:
        """Take one batch of one lane, in order; the two lanes may be offered at the same time.

        Returns when the far end has confirmed. Raises ``SinkError`` when it cannot now: the same
        rows come again, so whatever is written must be harmless to write twice.
        """
        ...
