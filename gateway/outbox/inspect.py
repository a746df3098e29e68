"""A look into an outbox file from outside, also while the gateway writes it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.errors import ConfigError, StoreError
from gateway.model.emergency import Emergency
from gateway.model.events import event_from_json
from gateway.model.quantities import Instant
from gateway.outbox.database import SqlError, connect, transaction
from gateway.outbox.rows import Delivery, Lane, Row
from gateway.outbox.tables import SetAside, Tables

OFFER_ROWS = 500


class Reason(NamedTuple):
    """How many rows a sink refused for one reason."""

    sink: str
    reason: str
    rows: int


class Offered(NamedTuple):
    """What became of rows that were offered again."""

    taken: int
    refused: int


def refused_rows(path: Path, sink: str, limit: int) -> list[SetAside]:
    """The newest rows that ``sink`` refused; raises ConfigError where there is no outbox."""
    with _tables(path) as tables:
        return tables.set_aside_rows(sink, limit)


def refusal_reasons(path: Path) -> list[Reason]:
    """Why rows were refused, and how often; raises ConfigError where there is no outbox."""
    with _tables(path) as tables:
        return [Reason(*found) for found in tables.set_aside_reasons()]


def remembered_emergencies(path: Path) -> list[Emergency]:
    """Every emergency that is not forgotten yet; raises ConfigError where there is no outbox."""
    with _tables(path) as tables:
        return tables.recent_emergencies(Instant(0))


def offer_again(path: Path, sink: str, deliver: Callable[[Sequence[Row]], Delivery]) -> Offered:
    """Hand the rows set aside for ``sink`` to ``deliver``; what it takes is aside no more.

    Rows keep their numbers here: they are those of the shelf and not those of the queue.
    """
    with _tables(path, read_only=False) as tables:
        taken = refused = 0
        found = tables.numbered_set_aside(sink)
        for start in range(0, len(found), OFFER_ROWS):
            part = found[start : start + OFFER_ROWS]
            rows = [row for each in part if (row := _row(*each)) is not None]
            delivery = deliver(rows)
            with transaction(tables.db):
                tables.drop_set_aside(delivery.accepted)
            taken += len(delivery.accepted)
            refused += len(part) - len(delivery.accepted)
        return Offered(taken, refused)


def _row(number: int, lane: int, payload: bytes) -> Row | None:
    """A row as it was; None for one that could not be read in the first place."""
    try:
        return Row(number, Lane(lane), event_from_json(payload), payload)
    except (msgspec.DecodeError, ValueError):
        return None


@contextmanager
def _tables(path: Path, *, read_only: bool = True) -> Iterator[Tables]:
    if not path.is_file():
        raise ConfigError(
            f"{path}: there is no outbox yet; the gateway makes it at its first start"
        )
    database = connect(path, read_only=read_only)
    try:
        yield Tables(database)
    except SqlError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from None
    finally:
        database.close()
