"""Units, sites and tracks as GeoJSON (RFC 7946): WGS-84, longitude first, no ``crs`` member."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, cast

import msgspec
from litestar import Response

from gateway.eventlog.queries import Track, TrackPoint
from gateway.model.quantities import Instant
from gateway.model.views import SiteView, UnitView

GAP_S = 300.0  # a line is cut where this long or longer there is no fix

MEDIA_TYPE = "application/geo+json"

Json = dict[str, Any]


class GeoJson(msgspec.Struct, frozen=True):
    """A feature collection, for the API's description."""

    type: Literal["FeatureCollection"]
    features: list[Json]


async def answer(build: Callable[[], Json]) -> Response[GeoJson]:
    """Build and encode on a thread: ten thousand points take a tenth of a second."""
    body = await asyncio.to_thread(lambda: msgspec.json.encode(build()))
    # The framework sends bytes as they are; the type is what they hold.
    return cast("Response[GeoJson]", Response(body, media_type=MEDIA_TYPE))


def units(views: Sequence[UnitView]) -> Json:
    """A point for each unit; ``geometry`` is null where there was never a fix."""
    return _collection(
        _feature(
            _point(view.lon_deg, view.lat_deg), _properties(view), view.unit_id or view.radio_id
        )
        for view in views
    )


def sites(views: Sequence[SiteView]) -> Json:
    """A point for each key site, with its ring as ``ring_m``."""
    return _collection(
        _feature(_point(view.lon_deg, view.lat_deg), _properties(view), view.id) for view in views
    )


def track(who: str, start: Instant, end: Instant, found: Track) -> Json:
    """The line first, cut at gaps; then its points, oldest first."""
    lines = [line for line in _lines(found.points) if len(line) > 1]
    geometry = {"type": "MultiLineString", "coordinates": lines} if lines else None
    properties = {
        "who": who,
        "from": start.text(),
        "to": end.text(),
        "points": len(found.points),
        "is_thinned": found.is_thinned,
    }
    return _collection(
        [_feature(geometry, properties), *(_track_feature(point) for point in found.points)]
    )


def _track_feature(point: TrackPoint) -> Json:
    fix = point.fix
    properties = {
        "at": point.at,
        "radio_id": fix.radio_id,
        "unit_id": fix.unit_id,
        "fix_at": fix.fix_at,
        "received_at": fix.received_at,
        "altitude_m": fix.altitude_m,
        "speed_mps": fix.speed_mps,
        "course_deg": fix.course_deg,
        "accuracy_m": fix.accuracy_m,
        "satellites": fix.satellites,
        "battery_pct": fix.battery_pct,
        "rssi_dbm": fix.rssi_dbm,
    }
    return _feature(
        _point(fix.lon_deg, fix.lat_deg),
        {name: _plain(value) for name, value in properties.items() if value is not None},
    )


def _lines(points: Sequence[TrackPoint]) -> list[list[list[float | None]]]:
    lines: list[list[list[float | None]]] = []
    if points:
        lines.append([_place(points[0])])
    for before, point in pairwise(points):
        if point.at.seconds_since(before.at) >= GAP_S:
            lines.append([])
        lines[-1].append(_place(point))
    return lines


def _place(point: TrackPoint) -> list[float | None]:
    return [point.fix.lon_deg, point.fix.lat_deg]


def _point(lon_deg: float | None, lat_deg: float | None) -> Json | None:
    if lon_deg is None or lat_deg is None:
        return None
    return {"type": "Point", "coordinates": [lon_deg, lat_deg]}


def _properties(view: UnitView | SiteView) -> Json:
    return {
        name: _plain(value)
        for name, value in msgspec.structs.asdict(view).items()
        if value is not None and name not in {"lat_deg", "lon_deg"}
    }


def _plain(value: Any) -> Any:
    return value.text() if isinstance(value, Instant) else value


def _feature(geometry: Json | None, properties: Json, own_id: str | None = None) -> Json:
    feature: Json = {"type": "Feature", "geometry": geometry, "properties": properties}
    return feature if own_id is None else {"type": "Feature", "id": own_id} | feature


def _collection(features: Any) -> Json:
    return {"type": "FeatureCollection", "features": list(features)}
