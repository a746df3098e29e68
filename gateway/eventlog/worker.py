"""One named thread for work that blocks: the desk's database, and the hashing of passwords."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from gateway.errors import GatewayError

T = TypeVar("T")
Job = Callable[[], None]


class WorkerBusyError(GatewayError):
    """Too much work is waiting for this thread already; come again later."""


class Worker:
    """Runs functions one after the other on a thread of its own, at most ``backlog`` waiting.

    A full backlog refuses at once instead of making everybody wait longer. A job whose caller was
    cancelled before its turn is left out.
    """

    def __init__(self, name: str, backlog: int) -> None:
        self._name = name
        self._jobs: queue.Queue[Job | None] = queue.Queue(maxsize=backlog)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; harmless when running."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    async def run(self, function: Callable[[], T]) -> T:
        """The result of ``function`` from the thread; raises what it raised, or WorkerBusyError."""
        if self._thread is None:
            raise WorkerBusyError(f"{self._name}: not running")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        try:
            self._jobs.put_nowait(_job(loop, answer, function))
        except queue.Full:
            raise WorkerBusyError(f"{self._name}: too much is waiting; try again") from None
        return await answer

    async def stop(self) -> None:
        """Finish what is waiting, then end the thread; harmless when not running."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._jobs.put, None)  # waits for a place when full
        await loop.run_in_executor(None, thread.join)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _job(
    loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[T]", function: Callable[[], T]
) -> Job:
    def deliver(result: T | None, error: BaseException | None) -> None:
        if answer.done():  # the caller has gone
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type] # None only where T allows it

    def job() -> None:
        if answer.cancelled():
            return
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except Exception as caught:  # noqa: BLE001 - travels to the caller, who can act on it
            error = caught
        try:
            loop.call_soon_threadsafe(deliver, result, error)
        except RuntimeError:  # the loop has closed; nobody waits any more
            return

    return job
