"""Carries out what programs and people ask: over the broker, the command line, the desk, in code.

Each verb is one method. Who calls has checked the payload and who may; ``by`` names who asked, as
it goes on record. A method returns the data of the response or raises NotAllowedError with the
sentence for the caller.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from drivers.api import Verb as RadioVerb
from gateway.errors import NotAllowedError
from gateway.model.events import Verdict, to_builtins
from gateway.model.identity import RadioId, parse_radio_id
from gateway.model.requests import Request, Verb
from gateway.model.views import CommandView, UnitView
from gateway.runtime.downlink import Ask, Downlink

MOST_NAME = 64  # characters of a person's name
MOST_NOTE = 1_000
MOST_TEXT = 500  # characters of a text; a driver may take less
MOST_EVERY_S = 3_600
MOST_FOR_S = 86_400
MOST_WAIT_S = 50.0  # for the end of a command

COMMANDS: Mapping[Verb, RadioVerb] = {
    "locate": RadioVerb.LOCATE,
    "check": RadioVerb.CHECK,
    "text": RadioVerb.TEXT,
    "track": RadioVerb.TRACK,
    "emergency/stop": RadioVerb.EMERGENCY_STOP,
}

T = TypeVar("T")


class Actions(Protocol):
    """What a named person does to an emergency; see ``Pipeline``."""

    async def take(self, emergency_id: str, by: str) -> None:
        """Returns when that is on disk, raises NotAllowedError."""
        ...

    async def close(self, emergency_id: str, by: str, verdict: Verdict, note: str | None) -> None:
        """Returns when that is on disk, raises NotAllowedError."""
        ...


class Units(Protocol):
    """Who carries which radio; see ``Board``."""

    def unit(self, key: str) -> UnitView | None:
        """One unit by unit id, or by radio id where there is no unit."""
        ...

    def knows(self, radio_id: RadioId) -> bool:
        """Whether a radio was heard, or belongs to a unit."""
        ...


Answer = Callable[[Request, str], Awaitable[dict[str, object]]]


class Requests:
    """Answers the verbs; see the module's docstring."""

    def __init__(self, actions: Actions, downlink: Downlink, units: Units) -> None:
        self._actions = actions
        self._downlink = downlink
        self._units = units
        self._answers: Mapping[Verb, Answer] = {
            "emergency/take": self._take,
            "emergency/close": self._close,
            "locate": self._locate,
            "check": self._check,
            "text": self._text,
            "track": self._track,
            "emergency/stop": self._stop,
        }

    async def answer(self, verb: Verb, request: Request, by: str) -> dict[str, object]:
        """Carry out one request; raises NotAllowedError."""
        answer = self._answers.get(verb)
        if answer is None:
            raise NotAllowedError(f"this gateway cannot do {verb!r} (不支持)")
        return await answer(request, by)

    def refuse(self, verb: Verb, request: Request, by: str, why: str) -> None:
        """Somebody has no right to ask that. It is on record where it is a command to a radio."""
        radio_verb = COMMANDS.get(verb)
        if radio_verb is None:
            return
        with contextlib.suppress(NotAllowedError):  # it names no radio: no command
            self._downlink.refuse(Ask(self._radio(request), radio_verb, by), "no_right", why)

    # Emergencies.

    async def _take(self, request: Request, by: str) -> dict[str, object]:
        emergency_id = needed(request.emergency_id, "emergency_id")
        _check_person(request)
        await self._actions.take(emergency_id, by)
        return {"emergency_id": emergency_id, "taken_by": by}

    async def _close(self, request: Request, by: str) -> dict[str, object]:
        emergency_id = needed(request.emergency_id, "emergency_id")
        verdict: Verdict = needed(request.verdict, "verdict")
        _check_person(request)
        if request.note is not None and len(request.note) > MOST_NOTE:
            raise NotAllowedError(f"note: at most {MOST_NOTE} characters (备注过长)")
        await self._actions.close(emergency_id, by, verdict, request.note)
        return {"emergency_id": emergency_id, "closed_by": by, "verdict": verdict}

    # Commands to radios.

    async def _locate(self, request: Request, by: str) -> dict[str, object]:
        return await self._command(request, Ask(self._radio(request), RadioVerb.LOCATE, by))

    async def _check(self, request: Request, by: str) -> dict[str, object]:
        return await self._command(request, Ask(self._radio(request), RadioVerb.CHECK, by))

    async def _stop(self, request: Request, by: str) -> dict[str, object]:
        return await self._command(request, Ask(self._radio(request), RadioVerb.EMERGENCY_STOP, by))

    async def _text(self, request: Request, by: str) -> dict[str, object]:
        body = needed(request.body, "body").strip()
        if not body or len(body) > MOST_TEXT or not body.replace("\n", "").isprintable():
            raise NotAllowedError(
                f"body: write 1 to {MOST_TEXT} printable characters (短信为 1 至 {MOST_TEXT} 字)"
            )
        return await self._command(request, Ask(self._radio(request), RadioVerb.TEXT, by, body))

    async def _track(self, request: Request, by: str) -> dict[str, object]:
        every_s = _seconds(needed(request.every_s, "every_s"), "every_s", MOST_EVERY_S)
        for_s = _seconds(needed(request.for_s, "for_s"), "for_s", MOST_FOR_S)
        if for_s < every_s:
            raise NotAllowedError("for_s: is shorter than every_s (总时长小于间隔)")
        ask = Ask(self._radio(request), RadioVerb.TRACK, by, every_s=every_s, for_s=for_s)
        return await self._command(request, ask)

    async def _command(self, request: Request, ask: Ask) -> dict[str, object]:
        wait_s = request.wait_s or 0.0
        if not 0 <= wait_s <= MOST_WAIT_S:
            raise NotAllowedError(f"wait_s: 0 to {MOST_WAIT_S:g} seconds (等待时间超出范围)")
        view = await self._downlink.ask(ask)
        if wait_s > 0:
            view = await self._downlink.outcome(view, wait_s)
        return answer_of(view)

    def _radio(self, request: Request) -> RadioId:
        """The radio that is meant: the one named, or the one its unit was heard with last."""
        if (request.unit_id is None) == (request.radio_id is None):
            raise NotAllowedError("name either unit_id or radio_id (请指定单元或电台)")
        if request.unit_id is not None:
            unit = self._units.unit(request.unit_id)
            if unit is None or not unit.radio_id:
                raise NotAllowedError(
                    f"unit_id: {str(request.unit_id)[:80]!r} is no unit with a radio (没有此单元)"
                )
            return unit.radio_id
        try:
            radio_id = parse_radio_id(request.radio_id or "")
        except ValueError as error:
            raise NotAllowedError(f"radio_id: {error}") from None
        if not self._units.knows(radio_id):
            raise NotAllowedError(
                f"radio_id: {radio_id!r} was never heard and belongs to no unit (未知电台)"
            )
        return radio_id


def answer_of(view: CommandView) -> dict[str, object]:
    """A command as the data of a response."""
    data: dict[str, object] = to_builtins(view)
    return data


def needed(value: T | None, name: str) -> T:
    """The value of a field that this verb cannot do without."""
    if value is None or value == "":
        raise NotAllowedError(f"{name}: is missing (缺少 {name})")
    return value


def _seconds(value: float, name: str, most: int) -> int:
    if not 1 <= value <= most or value != int(value):
        raise NotAllowedError(f"{name}: whole seconds from 1 to {most} (时间超出范围)")
    return int(value)


def _check_person(request: Request) -> None:
    """An emergency is taken and closed by a person, not by a program."""
    by = needed(request.by, "by").strip()
    if not by or len(by) > MOST_NAME or not by.isprintable():
        raise NotAllowedError(f"by: name the person, in 1 to {MOST_NAME} characters (请填写姓名)")
