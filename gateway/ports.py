"""What is plugged into this machine, and what each serial port seems to speak.

Listening is all that is done, a while at each of the usual speeds, unless ``asks`` is set: then the
drivers that begin a conversation say their opening too. A port that a gateway holds cannot be
listened to, and says so.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import serial
from serial.tools import list_ports

from drivers.api import Driver, Heard, Moment, Reject, Report, Transport
from gateway.clock import SystemClock
from gateway.reasons import reason

BY_ID = Path("/dev/serial/by-id")
USUAL_BAUDS = (9600, 4800, 115_200, 38_400, 19_200, 57_600)  # most usual first
READ_S = 0.1
MOST_BYTES = 65_536  # listened to at one speed
SHOWN_BYTES = 32
LINK = "ports"
CLOCK = SystemClock()


class Guess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a driver makes of what a port says at one speed."""

    driver: str
    baud: int
    understood: int  # reports, and signs of life
    refused: int = 0


class PortFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One port. ``path`` is the stable one where there is one; ``device`` is today's name."""

    path: str
    device: str
    what: str = ""  # maker and product, as USB tells it
    trouble: str = ""  # why it could not be listened to
    bytes_heard: int = 0
    sample: str = ""  # the first bytes, as text where they are text, else in hex
    speaks: tuple[Guess, ...] = ()


def plugged_in() -> list[PortFacts]:
    """Every serial port that the system knows, by its stable path where it has one."""
    stable = {path.resolve(): path for path in sorted(BY_ID.glob("*"))} if BY_ID.is_dir() else {}
    found = []
    for info in sorted(list_ports.comports(), key=lambda one: one.device):
        if not info.hwid or info.hwid == "n/a":
            continue  # a chip on the board without a connector
        words = (info.manufacturer, info.product, info.serial_number)
        found.append(
            PortFacts(
                path=str(stable.get(Path(info.device).resolve(), info.device)),
                device=info.device,
                what=" ".join(word for word in words if word),
            )
        )
    return found


def listen(
    port: PortFacts,
    drivers: Iterable[Driver[Any]],
    *,
    seconds: float,
    asks: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> PortFacts:
    """The same port with what it says: ``seconds`` at each speed until a driver understands it."""
    serial_drivers = [driver for driver in drivers if Transport.SERIAL in driver.transports]
    heard_bytes, sample = 0, b""
    for baud in USUAL_BAUDS:
        tell(f"{port.path}: listening at {baud} baud")
        try:
            data, guesses = _listen_at(port.path, baud, serial_drivers, seconds, asks=asks)
        except (OSError, serial.SerialException) as error:
            return msgspec.structs.replace(port, trouble=reason(error))
        heard_bytes += len(data)
        sample = data or sample
        if guesses:
            return msgspec.structs.replace(
                port, bytes_heard=heard_bytes, sample=_shown(data), speaks=tuple(guesses)
            )
    return msgspec.structs.replace(port, bytes_heard=heard_bytes, sample=_shown(sample))


def _listen_at(
    path: str, baud: int, drivers: Sequence[Driver[Any]], seconds: float, *, asks: bool
) -> tuple[bytes, list[Guess]]:
    """What came at one speed, and the drivers that understood some of it, best first."""
    if asks:  # a question from each driver, one conversation at a time
        best: tuple[bytes, list[Guess]] = (b"", [])
        for driver in drivers:
            with _opened(path, baud) as port:
                data, guess = _converse(port, driver, baud, seconds)
            best = (data or best[0], best[1] + ([guess] if guess.understood else []))
        return best[0], _best_first(best[1])
    with _opened(path, baud) as port:
        data = b"".join(_pieces(port, seconds))
    return data, _best_first([_read(driver, baud, data) for driver in drivers])


def _opened(path: str, baud: int) -> "contextlib.closing[serial.Serial]":
    return contextlib.closing(serial.Serial(path, baud, timeout=READ_S, exclusive=True))


def _pieces(port: serial.Serial, seconds: float) -> Iterable[bytes]:
    deadline = CLOCK.monotonic() + seconds
    count = 0
    while CLOCK.monotonic() < deadline and count < MOST_BYTES:
        piece = port.read(4096)
        count += len(piece)
        yield piece


def _converse(
    port: serial.Serial, driver: Driver[Any], baud: int, seconds: float
) -> tuple[bytes, Guess]:
    codec = driver.new_codec({}, LINK)
    counts: Counter[type] = Counter()
    heard = b""
    for piece in _pieces(port, seconds):
        for frame in codec.outgoing():
            port.write(frame)
        heard += piece
        now = Moment(CLOCK.monotonic(), CLOCK.now())
        counts.update(type(output) for output in codec.receive(piece, now))
    return heard, _guess(driver, baud, counts)


def _read(driver: Driver[Any], baud: int, data: bytes) -> Guess:
    codec = driver.new_codec({}, LINK)
    now = Moment(0.0, CLOCK.now())
    counts = Counter(type(output) for output in (*codec.receive(data, now), *codec.flush(now)))
    return _guess(driver, baud, counts)


def _guess(driver: Driver[Any], baud: int, counts: Counter[type]) -> Guess:
    return Guess(
        driver=driver.name,
        baud=baud,
        understood=counts[Report] + counts[Heard],
        refused=counts[Reject],
    )


def _best_first(guesses: Iterable[Guess]) -> list[Guess]:
    understood = [guess for guess in guesses if guess.understood]
    return sorted(understood, key=lambda guess: (-guess.understood, guess.refused))


def _shown(data: bytes) -> str:
    head = data[:SHOWN_BYTES]
    try:
        text = head.decode("ascii")
    except UnicodeDecodeError:
        return head.hex(" ")
    return text.strip() if text.strip().isprintable() else repr(text)[1:-1]
