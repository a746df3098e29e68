"""How the log is written: one line for each change of state, to standard error."""

import logging
import sys
from typing import Literal

import structlog

MAX_FOREIGN = 200  # characters of a value that may come from outside


def set_up(level: str, form: Literal["text", "json"]) -> None:
    """Configure structlog for the process."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _cut,
    ]
    last: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(
            getattr(logging, level.upper(), logging.INFO)
        ),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _cut(
    _logger: object, _method: str, fields: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Keep foreign text short, and on one line."""
    for key, value in fields.items():
        if isinstance(value, str) and (len(value) > MAX_FOREIGN or not value.isprintable()):
            fields[key] = repr(value[:MAX_FOREIGN])
    return fields
