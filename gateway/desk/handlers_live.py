"""How things are now: state, stream, maps, links, counters, health."""

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.desk import geojson, refusal
from gateway.desk.base_map import MEDIA_TYPES, UnsatisfiableError, read_piece
from gateway.desk.geojson import GeoJson, answer
from gateway.desk.hub import link_sight, seen_links
from gateway.desk.payloads import Health, Links, Rejects, State
from gateway.desk.services import Desk, Who, base_map, current_state, map_kind
from gateway.desk.stream import StreamAnswer
from gateway.model.events import to_json

AnyRequest = Request[Any, Any, Any]


async def page(desk: Desk, request: AnyRequest) -> Response[bytes]:
    """A file of the built page."""
    found = desk.pages[request.url.path]
    headers = {"ETag": found.etag, "Cache-Control": found.cache_control}
    if request.headers.get("if-none-match") == found.etag:
        return Response(b"", status_code=304, headers=headers)
    return Response(found.body, media_type=found.media_type, headers=headers)


async def health(desk: Desk) -> Response[Health]:
    """200 while events are accepted; that there is an answer means that the event loop runs."""
    gateway = desk.live.gateway()
    if gateway.is_accepting:
        return Response(Health(status="ok"), status_code=200)
    return Response(Health(status="failing", reason=gateway.why or "unknown"), status_code=503)


async def metrics(desk: Desk) -> Response[bytes]:
    """Prometheus text; no positions."""
    return Response(desk.metrics(), media_type="text/plain; version=0.0.4")


async def state(desk: Desk, who: Who) -> State:
    """Everything the page needs at start."""
    return current_state(
        desk.live,
        link_sight(who.roles),
        audit_ok=desk.audit_state.is_ok,
        base_map=base_map(desk.map_file),
    )


async def stream(desk: Desk, who: Who) -> ASGIApp:
    """The event stream: a snapshot, then changes."""
    if not desk.hub.has_room(who.session.token_hash):
        raise refusal.RefusedError(503, "busy", "too many pages are open (打开的页面过多)")
    return StreamAnswer(desk.hub.stream(who.session.token_hash, link_sight(who.roles)))


async def units_geojson(desk: Desk) -> Response[GeoJson]:
    """Every unit as a GeoJSON feature."""
    views = desk.live.units()
    return await answer(lambda: geojson.units(views))


async def sites_geojson(desk: Desk) -> Response[GeoJson]:
    """Every key site as a GeoJSON feature."""
    views = desk.live.sites()
    return await answer(lambda: geojson.sites(views))


async def links(desk: Desk, who: Who) -> Links:
    """Every link, as far as the role sees it."""
    seen = seen_links(desk.live.links(), link_sight(who.roles))
    return Links(links=[] if isinstance(seen, msgspec.UnsetType) else seen)


async def rejects(desk: Desk, link_id: FromPath[str]) -> Rejects:
    """The last frames that a link refused, newest first."""
    found = desk.live.rejects(link_id)
    if found is None:
        raise refusal.not_found()
    return Rejects(rejects=list(reversed(found)))


async def counters(desk: Desk) -> Response[bytes]:
    """Everything counted."""
    return Response(to_json(desk.live.counters()), media_type="application/json")


async def map_file(desk: Desk, request: AnyRequest) -> Response[bytes]:
    """The base map, whole or by ``Range``."""
    if desk.map_file is None:
        raise refusal.not_found()
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    try:
        piece = await read_piece(desk.map_file, request.headers.get("range"))
    except UnsatisfiableError as error:
        return Response(
            b"", status_code=416, headers=headers | {"Content-Range": f"bytes */{error.size}"}
        )
    except OSError:
        raise refusal.not_found() from None
    media_type = MEDIA_TYPES[map_kind(desk.map_file)]
    if len(piece.body) == piece.size:
        return Response(piece.body, media_type=media_type, headers=headers)
    last = piece.start + len(piece.body) - 1
    headers["Content-Range"] = f"bytes {piece.start}-{last}/{piece.size}"
    return Response(piece.body, status_code=206, media_type=media_type, headers=headers)


async def openapi(request: AnyRequest) -> Response[bytes]:
    """This API's own description; made at the first question, which takes a second, on a thread."""
    document = await asyncio.to_thread(request.app.state["openapi"])
    return Response(document, media_type="application/json")
