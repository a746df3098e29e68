"""Coverage-guided fuzzing of one driver's codec, with atheris.

    make fuzz D=jt808 MINUTES=30

The property in one sentence: whatever bytes come, in whatever pieces, with time passing in between,
the codec gives outputs that can be written down, within bounds, and raises nothing. Inputs that
break it are kept in ``tests/corpus/<driver>/``, where ``make test`` runs them from then on.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["drivers"]):
    from gateway.catalog import Catalog

    DRIVERS = {driver.name: driver for driver in Catalog.scan()}

from drivers.api import Codec, Driver, Moment, Output, Report
from gateway.model.events import to_json
from gateway.model.quantities import Instant
from tests.fuzz.seals import SEALS
from tests.support.vectors import FOLDER as VECTORS
from tests.support.vectors import load_vectors

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
SLOW_S = 5  # an input that takes longer is a finding
MOST_BYTES = 4096
MEMORY_MIB = 1024
START = Moment(1000.0, Instant(1_777_622_400_000_000_000))  # 2026-05-01T08:00:00Z
STEP_S = 0.7  # passes between two pieces
WITHHOLDS, SEALED, PIECES = 0x80, 0x40, 0x07  # bits of an input's last byte


def play(driver: Driver[Any], data: bytes) -> None:
    """Feed one input: its last byte says into how many pieces, and whether receipts are given.

    It also says whether the bytes go as they are, or as the insides of frames whose lengths and
    checks fit: a mutated frame practically never fits its check, and what lies behind it would
    never be reached.
    """
    if not data:
        return
    body, head = data[:-1], data[-1]
    if head & SEALED and driver.name in SEALS:
        body = SEALS[driver.name](body)
    codec = driver.new_codec({}, "link-1")
    codec.outgoing()
    size = max(1, len(body) // ((head & PIECES) + 1))
    mono = START.mono
    for start in range(0, len(body), size):
        now = Moment(mono, START.at)
        outputs = list(codec.receive(body[start : start + size], now))
        mono += STEP_S
        deadline = codec.next_deadline()
        if deadline is not None and deadline <= mono:
            outputs += codec.expire(Moment(mono, START.at))
        take(codec, outputs, accepts=not head & WITHHOLDS)
    take(codec, codec.flush(Moment(mono, START.at)), accepts=True)


def take(codec: Codec, outputs: Sequence[Output], *, accepts: bool) -> None:
    """What a session would do with the outputs."""
    for output in outputs:
        if isinstance(output, Report):
            to_json(output.event)
            if accepts and output.receipt is not None:
                codec.accept(output.receipt)
    codec.outgoing()


def seeds(name: str, folder: Path) -> None:
    """The driver's vectors, and what was found before, as a first generation."""
    file = VECTORS / f"{name}.toml"
    vectors = load_vectors(file).vector if file.is_file() else ()
    for number, vector in enumerate(vectors):
        frames = vector.frames or [piece for step in vector.steps for piece in step.received()]
        (folder / f"vector-{number}").write_bytes(b"".join(frames) + b"\x00")
        inside = b"".join(frames[:1]).lstrip(b"$").partition(b"*")[0][:255]
        sealed = bytes((len(inside), *inside, SEALED))
        (folder / f"sealed-{number}").write_bytes(sealed)
    for found in (CORPUS / name).glob("*"):
        (folder / found.name).write_bytes(found.read_bytes() + b"\x00")


def main() -> None:
    """Fuzz for the time given; atheris ends the process at the first finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("driver", choices=sorted(DRIVERS))
    parser.add_argument("--minutes", type=float, default=1.0)
    wanted = parser.parse_args()
    driver = DRIVERS[wanted.driver]
    findings = CORPUS / wanted.driver
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        seeds(wanted.driver, Path(folder))
        atheris.Setup(
            [
                sys.argv[0],
                folder,
                f"-max_total_time={round(wanted.minutes * 60)}",
                f"-max_len={MOST_BYTES}",
                f"-timeout={SLOW_S}",
                f"-rss_limit_mb={MEMORY_MIB}",
                f"-artifact_prefix={findings}/",
                "-print_final_stats=1",
                "-verbosity=1",
            ],
            lambda data: play(driver, data),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
