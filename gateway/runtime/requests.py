"""Carries out what programs ask over the broker; each verb is one method.

The sink has checked the payload and whether the verb is switched on; ``by`` names who asked, as it
goes on record. A method returns the data of the response or raises NotAllowedError with the
sentence for the caller.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from gateway.errors import NotAllowedError
from gateway.model.events import Verdict
from gateway.model.requests import Request, Verb

MOST_NOTE = 1_000  # characters

T = TypeVar("T")


class Actions(Protocol):
    """What a named person does to an emergency; see ``Pipeline``."""

    async def take(self, emergency_id: str, by: str) -> None:
        """Returns when that is on disk, raises NotAllowedError."""
        ...

    async def close(self, emergency_id: str, by: str, verdict: Verdict, note: str | None) -> None:
        """Returns when that is on disk, raises NotAllowedError."""
        ...


Answer = Callable[[Request, str], Awaitable[dict[str, object]]]


class Requests:
    """Answers the verbs; see the module's docstring."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._answers: Mapping[Verb, Answer] = {
            "emergency/take": self._take,
            "emergency/close": self._close,
        }

    async def answer(self, verb: Verb, request: Request, by: str) -> dict[str, object]:
        """Carry out one request; raises NotAllowedError."""
        answer = self._answers.get(verb)
        if answer is None:
            raise NotAllowedError(f"this gateway cannot do {verb!r} (不支持)")
        return await answer(request, by)

    async def _take(self, request: Request, by: str) -> dict[str, object]:
        emergency_id = needed(request.emergency_id, "emergency_id")
        needed(request.by, "by")  # by a person, not by a program
        await self._actions.take(emergency_id, by)
        return {"emergency_id": emergency_id, "taken_by": by}

    async def _close(self, request: Request, by: str) -> dict[str, object]:
        emergency_id = needed(request.emergency_id, "emergency_id")
        verdict: Verdict = needed(request.verdict, "verdict")
        needed(request.by, "by")  # by a person, not by a program
        if request.note is not None and len(request.note) > MOST_NOTE:
            raise NotAllowedError(f"note: at most {MOST_NOTE} characters (备注过长)")
        await self._actions.close(emergency_id, by, verdict, request.note)
        return {"emergency_id": emergency_id, "closed_by": by, "verdict": verdict}


def needed(value: T | None, name: str) -> T:
    """The value of a field that this verb cannot do without."""
    if value is None or value == "":
        raise NotAllowedError(f"{name}: is missing (缺少 {name})")
    return value
