"""Reads a recording offline: what a driver makes of bytes, without any link, outbox or roster."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

import msgspec

from drivers.api import Driver, Moment, Output, Reject, Report
from drivers.wire import Field
from gateway.errors import ConfigError
from gateway.model.events import AnyEvent, to_json
from gateway.model.identity import derive_event_id
from gateway.model.quantities import Instant
from gateway.runtime.normalise import normalise

SITE = "offline"
LINK = "decode"
CHUNK = 65_536


def decode_hex_lines(
    driver: Driver[Any], options: dict[str, Any], lines: Iterable[bytes], at: Instant
) -> Iterator[bytes]:
    """One JSON array of events for each line of hex; each line has a fresh, flushed codec.

    A refused frame gives ``{"error": …}``; blank lines and lines that begin with ``#`` are passed
    over.
    """
    for data in _frames(lines):
        if isinstance(data, str):
            yield msgspec.json.encode([{"error": data}])
        else:
            yield b"[" + b",".join(_decode_one(driver, options, data, at)) + b"]"


def decode_stream(
    driver: Driver[Any], options: dict[str, Any], stream: BinaryIO, at: Instant
) -> Iterator[bytes]:
    """One JSON object for each event, or refused frame, of a raw byte stream."""
    codec = driver.new_codec(options, LINK)
    now = Moment(0.0, at)
    while chunk := stream.read(CHUNK):
        yield from facts(driver.name, _step(partial(codec.receive, chunk, now)), at)
        codec.outgoing()  # nobody listens
    yield from facts(driver.name, _step(partial(codec.flush, now)), at)


def explain_hex_lines(driver: Driver[Any], lines: Iterable[bytes]) -> Iterator[Sequence[Field]]:
    """The fields of the frame on each line of hex; raises ConfigError where a driver tells none."""
    if driver.explain is None:
        raise ConfigError(f"driver {driver.name!r} does not tell its frames field by field")
    for data in _frames(lines):
        if isinstance(data, str):
            yield [Field("-", "", "line", "", data)]
        else:
            yield driver.explain(data)


def _frames(lines: Iterable[bytes]) -> Iterator[bytes | str]:
    """The bytes of each line of hex, or what is wrong with it; comments are passed over."""
    for line in lines:
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        try:
            yield bytes.fromhex(text.decode("ascii", "replace"))
        except ValueError as error:
            yield f"not hex: {error}"


def _decode_one(
    driver: Driver[Any], options: dict[str, Any], data: bytes, at: Instant
) -> list[bytes]:
    codec = driver.new_codec(options, LINK)
    now = Moment(0.0, at)
    outputs = [*_step(partial(codec.receive, data, now)), *_step(partial(codec.flush, now))]
    return list(facts(driver.name, outputs, at))


def _step(step: Callable[[], Sequence[Output]]) -> Sequence[Output]:
    """A codec that raises has a bug; one frame of it must not end the reading."""
    try:
        return step()
    except Exception as error:  # noqa: BLE001 - see above
        return [Reject("driver_error", repr(error))]


def facts(driver_name: str, outputs: Sequence[Output], at: Instant) -> Iterator[bytes]:
    """What a codec gave, as JSON: events with their header, refusals as ``{"error": …}``."""
    for output in outputs:
        if isinstance(output, Report):
            yield to_json(_complete(output, driver_name, at))
        elif isinstance(output, Reject):
            yield msgspec.json.encode({"error": f"{output.reason}: {output.detail}"})


def _complete(report: Report, driver_name: str, at: Instant) -> AnyEvent:
    """The event with the header that the pipeline would give it, from what is known offline."""
    event, _doubt = normalise(
        msgspec.structs.replace(
            report.event, site=SITE, link_id=LINK, driver=driver_name, received_at=at
        ),
        at,
    )
    own_id = derive_event_id(type(event).__name__, event.radio_id, report.same_as, to_json(event))
    return msgspec.structs.replace(event, event_id=own_id)


def parse_option(pair: str) -> dict[str, Any]:
    """``key=value`` as TOML reads the value; bare words are text. Raises ConfigError."""
    key, equals, value = pair.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"option {pair!r} is not key=value, for example number_space=pdt")
    try:
        return tomllib.loads(pair)
    except tomllib.TOMLDecodeError:
        return {key.strip(): value.strip()}
