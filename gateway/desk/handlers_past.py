"""Emergencies and history: what happened, and what a dispatcher does about it."""

import re
from typing import Annotated

import msgspec
from litestar import Response
from litestar.params import FromPath, JSONBody, QueryParameter

from gateway.desk import geojson, refusal
from gateway.desk.geojson import GeoJson, answer
from gateway.desk.guard import Principal, history_scope
from gateway.desk.payloads import Close, Emergencies, Events, NumberedEvent
from gateway.desk.services import Address, Desk, Services, Who
from gateway.errors import NotAllowedError, StoreError
from gateway.eventlog.audit import Result
from gateway.model.emergency import Emergency
from gateway.model.identity import SLUG, EventId, parse_radio_id
from gateway.model.quantities import NS_PER_S, Instant

MAX_TRACK_S = 31 * 86_400
DEFAULT_TRACK_S = 3600
SUFFIX = ".geojson"
MAX_EVENT_TYPES = 10
LOG_LIMIT = 1000
LAST_INSTANT = 2**63 - 1  # ns since 1970 as the log keeps them, in the year 2262

_EVENT_TYPE = re.compile(r"[a-z_]{1,40}\Z")


async def emergencies(
    desk: Desk, who: Who, closed: Annotated[int, QueryParameter(ge=0, le=500)] = 50
) -> Emergencies:
    """Open ones, and those closed lately."""
    lists = await desk.eventlog.emergencies(0)
    live = {each.emergency_id: each for each in desk.live.emergencies()}
    # The runtime knows first; an open one that only the log knows is shown all the same.
    known = {each.emergency_id: each for each in lists.open} | live
    still_open = sorted(
        (each for each in known.values() if each.is_open), key=lambda each: each.raised_at
    )
    return Emergencies(open=still_open, closed=await _closed(desk, who, closed, live))


async def take(desk: Desk, who: Who, address: Address, emergency_id: FromPath[str]) -> Emergency:
    """Take an emergency (接警)."""
    await _act(
        desk, who, address, action="emergency_take", emergency_id=emergency_id, close_as=None
    )
    return _after(desk, emergency_id)


async def close(
    desk: Desk, who: Who, address: Address, emergency_id: FromPath[str], data: JSONBody[Close]
) -> Emergency:
    """Close an emergency with a verdict (结案)."""
    await _act(
        desk, who, address, action="emergency_close", emergency_id=emergency_id, close_as=data
    )
    return _after(desk, emergency_id)


async def track(
    *,
    desk: Desk,
    who: Who,
    address: Address,
    name: FromPath[str],
    start: Annotated[str | None, QueryParameter(name="from")] = None,
    end: Annotated[str | None, QueryParameter(name="to")] = None,
    limit: Annotated[int, QueryParameter(ge=2, le=5000)] = 2000,
) -> Response[GeoJson]:
    """Where a unit or radio has been, thinned to ``limit`` points."""
    if not name.endswith(SUFFIX):
        raise refusal.not_found()
    subject = _check_subject(name.removesuffix(SUFFIX))
    until = _instant(end, "to") or desk.clock.now()
    since = _instant(start, "from") or Instant(until - DEFAULT_TRACK_S * NS_PER_S)
    if not 0 <= until - since <= MAX_TRACK_S * NS_PER_S:
        raise refusal.invalid("from: must lie before to, and at most 31 days before it")
    scope = history_scope(who, since, desk.clock.now())
    found = await desk.eventlog.track(subject, scope.since, until, limit, scope.team)
    detail = f"{scope.since.text()} to {until.text()}, {len(found.points)} points"
    await desk.audit(who.name, "track_read", subject, address=address, detail=detail)
    return await answer(lambda: geojson.track(subject, scope.since, until, found))


async def events(
    desk: Desk,
    who: Who,
    after: Annotated[int | None, QueryParameter(ge=0)] = None,
    kinds: Annotated[list[str] | None, QueryParameter(name="type")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LOG_LIMIT)] = 200,
) -> Events:
    """The event log without fixes."""
    types = kinds or []
    if len(types) > MAX_EVENT_TYPES or not all(map(_EVENT_TYPE.match, types)):
        raise refusal.invalid("type: at most ten event types, as the contract names them")
    scope = history_scope(who, Instant(0), desk.clock.now())
    found = await desk.eventlog.events(
        after_seq=after, types=types, limit=limit, team=scope.team, since=scope.since
    )
    return Events(
        events=[
            NumberedEvent(seq=each.seq, event=msgspec.json.decode(each.event)) for each in found
        ],
        last_seq=max((each.seq for each in found), default=after or 0),
    )


async def _closed(
    desk: Services, who: Principal, limit: int, live: dict[EventId, Emergency]
) -> list[Emergency]:
    try:
        scope = history_scope(who, Instant(0), desk.clock.now())
    except refusal.RefusedError:
        return []
    logged = await desk.eventlog.emergencies(limit, team=scope.team, since=scope.since)
    # What was closed a moment ago may not be in the log yet.
    known = {each.emergency_id: each for each in logged.closed} | {
        each.emergency_id: each
        for each in live.values()
        if each.closed_at is not None
        and each.closed_at >= scope.since
        and scope.team in {None, each.team}
    }
    newest = sorted(known.values(), key=lambda each: each.closed_at or 0, reverse=True)
    return newest[:limit]


async def _act(
    desk: Services,
    who: Principal,
    address: str,
    *,
    action: str,
    emergency_id: str,
    close_as: Close | None,
) -> None:
    """Do it, and put what came of it into the audit log."""
    detail = "" if close_as is None else f"{close_as.verdict} {close_as.note or ''}".strip()
    try:
        if close_as is None:
            await desk.actions.take(emergency_id, who.name)
        else:
            await desk.actions.close(emergency_id, who.name, close_as.verdict, close_as.note)
    except (NotAllowedError, StoreError) as error:
        result: Result = "refused" if isinstance(error, NotAllowedError) else "failed"
        await desk.audit(
            who.name, action, emergency_id, address=address, result=result, detail=str(error)
        )
        raise
    await desk.audit(who.name, action, emergency_id, address=address, detail=detail)


def _after(desk: Services, emergency_id: FromPath[str]) -> Emergency:
    found = desk.live.emergency(EventId(emergency_id))
    if found is None:
        raise refusal.not_found()
    return found


def _check_subject(text: str) -> str:
    if ":" not in text:
        if not SLUG.match(text):
            raise refusal.not_found()
        return text
    try:
        return parse_radio_id(text)
    except ValueError:
        raise refusal.not_found() from None


def _instant(text: str | None, name: str) -> Instant | None:
    if text is None:
        return None
    try:
        instant = Instant.parse(text)
    except (ValueError, OverflowError):
        raise refusal.invalid(f"{name}: write it like 2026-11-24T03:07:12Z") from None
    if not 0 <= instant <= LAST_INSTANT:
        raise refusal.invalid(f"{name}: lies outside of 1970 to 2262")
    return instant
