"""A look into an outbox file from outside, also while the gateway writes it."""

from pathlib import Path

from gateway.errors import ConfigError, StoreError
from gateway.outbox.database import SqlError, connect
from gateway.outbox.tables import SetAside, Tables


def refused_rows(path: Path, sink: str, limit: int) -> list[SetAside]:
    """The newest rows that ``sink`` refused; raises ConfigError where there is no outbox."""
    if not path.is_file():
        raise ConfigError(
            f"{path}: there is no outbox yet; the gateway makes it at its first start"
        )
    database = connect(path, read_only=True)
    try:
        return Tables(database).set_aside_rows(sink, limit)
    except SqlError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from None
    finally:
        database.close()
