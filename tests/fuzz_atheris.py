"""Coverage-guided fuzzing of one driver, where atheris is installed (it is no dependency of ours).

::

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris -r requirements.lock
    /tmp/fuzz/bin/python -m tests.fuzz_atheris hytera_hstrp -max_total_time=1800

What it asserts: whatever bytes come, in whatever reads, nothing is raised, every output is one of
``drivers.api.Output``, and no deadline stays due. The first byte of an input says how the rest is
read: even, as it stands; odd, as HDAP messages that are sealed into good packets, so that the check
of a packet does not keep the fuzzer out. What it finds is written to ``tests/corpus/<driver>/``.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["drivers"]):
    from drivers.api import Heard, Moment, Outcome, Reject, Report
    from drivers.hytera_hdap import Message
    from drivers.hytera_hrnp_frames import Frame, Opcode
    from drivers.hytera_hstrp_frames import Packet
    from tests.support import battery

from gateway.model.quantities import NS_PER_S, Instant

CORPUS = Path(__file__).parent / "corpus"
AT = Instant.parse("2026-05-01T08:00:00Z")
STEP_S = 3.0  # between two reads: long enough for repeats and the end of an unfinished packet
OUTPUTS = (Report, Heard, Reject, Outcome)


def _sealed(messages: bytes) -> Iterator[bytes]:
    """Messages, each as service, opcode (2), length (1) and payload, with checks that fit."""
    while len(messages) >= 4:
        service, opcode, size = messages[0], int.from_bytes(messages[1:3], "big"), messages[3]
        payload, messages = messages[4 : 4 + size], messages[4 + size :]
        yield Message(service & 0x7F, opcode, payload, bool(service & 0x80)).pack()


SEALS: dict[str, Callable[[int, bytes], bytes]] = {
    "hytera_hrnp": lambda n, message: Frame(Opcode.DATA, 0x10, 0x20, n, message).pack(),
    "hytera_hstrp": lambda n, message: Packet(0, n, b"", message).pack(),
}


def _reads(name: str, data: bytes) -> Iterator[bytes]:
    if data[:1] and data[0] & 1 and name in SEALS:
        for number, message in enumerate(_sealed(data[1:])):
            yield SEALS[name](number, message)
    elif len(data) > 2:
        yield data[2 : 2 + data[1]]
        yield data[2 + data[1] :]


def main() -> None:
    """Fuzz the driver that the first argument names; the others are libFuzzer's."""
    name = sys.argv.pop(1)
    driver = battery.find_drivers()[name]
    if isinstance(driver, Exception):
        raise driver
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    vectors = [case for case in battery.find_cases() if case.driver.name == name]
    options = [dict(text) for text in {tuple(sorted(case.options.items())) for case in vectors}]

    def one(data: bytes) -> None:
        codec = driver.new_codec(options[len(data) % len(options)], "link-1")
        mono = 0.0
        for read in _reads(name, data):
            now = Moment(mono, Instant(AT + round(mono * NS_PER_S)))
            outputs = [*codec.receive(read, now), *codec.expire(now)]
            assert all(isinstance(output, OUTPUTS) for output in outputs)
            for output in outputs:
                if isinstance(output, Report) and output.receipt is not None:
                    codec.accept(output.receipt)
            assert all(isinstance(frame, bytes) for frame in codec.outgoing())
            deadline = codec.next_deadline()
            assert deadline is None or deadline > mono, "expire left a deadline that is due"
            mono += STEP_S
        codec.flush(Moment(mono, AT))
        if driver.explain is not None:
            driver.explain(data[1:])

    atheris.Setup([sys.argv[0], f"-artifact_prefix={folder}/", *sys.argv[1:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
