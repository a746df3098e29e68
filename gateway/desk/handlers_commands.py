"""Commands to radios: asked by a dispatcher, or by a technician of a test radio."""

from litestar.params import FromPath, JSONBody

from gateway.desk import refusal
from gateway.desk.payloads import Commands, NewText, NewTrack
from gateway.desk.services import Address, Desk, Services, Who
from gateway.errors import NotAllowedError, StoreError
from gateway.eventlog.audit import Result
from gateway.model.identity import EventId
from gateway.model.requests import Request, Verb
from gateway.model.views import CommandView


async def commands(desk: Desk) -> Commands:
    """Open commands and the last that have ended, newest first; what each driver can do."""
    return Commands(
        commands=list(reversed(desk.live.commands())), possible=desk.live.possible_commands()
    )


async def locate(desk: Desk, who: Who, address: Address, key: FromPath[str]) -> CommandView:
    """One position, now (定位一次)."""
    return await _ask(desk, who, address, key, verb="locate", request=Request())


async def check(desk: Desk, who: Who, address: Address, key: FromPath[str]) -> CommandView:
    """Is the radio there? (呼叫检查)."""
    return await _ask(desk, who, address, key, verb="check", request=Request())


async def text(
    desk: Desk, who: Who, address: Address, key: FromPath[str], data: JSONBody[NewText]
) -> CommandView:
    """A text message (发短信)."""
    return await _ask(desk, who, address, key, verb="text", request=Request(body=data.body))


async def track(
    desk: Desk, who: Who, address: Address, key: FromPath[str], data: JSONBody[NewTrack]
) -> CommandView:
    """A position every few seconds for some time (连续定位)."""
    request = Request(every_s=data.every_s, for_s=data.for_s)
    return await _ask(desk, who, address, key, verb="track", request=request)


async def _ask(
    desk: Services, who: Who, address: str, key: str, *, verb: Verb, request: Request
) -> CommandView:
    """Queue a command; either way there is an audit row."""
    unit = desk.live.unit(key)
    if unit is None:
        raise refusal.not_found()
    action, by = f"command_{verb}", f"{who.name} via desk"
    asked = Request(
        unit_id=unit.unit_id,
        radio_id=unit.radio_id if unit.unit_id is None else None,
        body=request.body,
        every_s=request.every_s,
        for_s=request.for_s,
    )
    if "dispatcher" not in who.roles and not unit.is_test:
        desk.requests.refuse(
            verb, asked, by, "a technician may ask test radios alone (仅限测试电台)"
        )
        await desk.audit(
            who.name, action, key, address=address, result="refused", detail="not a test radio"
        )
        raise refusal.only_test_radios()
    try:
        data = await desk.requests.answer(verb, asked, by)
    except (NotAllowedError, StoreError) as error:
        result: Result = "refused" if isinstance(error, NotAllowedError) else "failed"
        await desk.audit(who.name, action, key, address=address, result=result, detail=str(error))
        raise
    command_id = EventId(str(data["command_id"]))
    await desk.audit(who.name, action, key, address=address, detail=command_id)
    view = desk.live.command(command_id)
    if view is None:  # hundreds have ended since
        raise refusal.not_found()
    return view
