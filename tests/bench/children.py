"""Processes of the benchmarks: each answers a word on its standard input with one line of JSON.

The words are few: ``report`` asks for the figures so far, closing the input ends the process. Every
process stamps its own answers (``mono``: CLOCK_MONOTONIC, one clock for the whole machine), so that
a rate never depends on when its reader woke up.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
ANSWER_LIMIT_S = 20.0
END_LIMIT_S = 20.0


class Child:
    """One ``python -m tests.bench.<module>``; it has said its first line when this is built."""

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"tests.bench.{module}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
            )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._answers = self._process.stdout
        self._words = self._process.stdin
        self._unread = b""
        self.first = self._read_line()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, word: str) -> dict[str, Any]:
        """Say a word, wait for the answer."""
        self._words.write(word.encode() + b"\n")
        self._words.flush()
        return self._read_line()

    def end(self) -> None:
        """Close its input and wait for its end."""
        if self._process.poll() is None:
            self._words.close()
            try:
                self._process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._answers.close()

    def _read_line(self) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_LIMIT_S
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not waiting.select(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"no answer: {self.log_text()}")
                chunk = os.read(self._answers.fileno(), 65_536)
                if not chunk:
                    raise AssertionError(f"ended by itself: {self.log_text()}")
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def log_text(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.read_text(errors="replace")[-3000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def say(**facts: Any) -> None:
    """What a child answers."""
    sys.stdout.write(json.dumps({"mono": time.monotonic(), **facts}) + "\n")
    sys.stdout.flush()
