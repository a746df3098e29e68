"""The map panel: nothing from outside, and the view is the operator's.

Grafana's own base layer comes from the internet, and a tile layer without an address falls back to
another one there; so the base is one empty picture that stands in the dashboard itself, and the
town is drawn over it from a GeoJSON file that Grafana serves. ``pdt-gateway grafana`` puts the
address of a local map server, another file and another view in.

"Fit to data" would take the operator's zoom away at each refresh: the view is by coordinates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as builders,
)
from grafana_foundation_sdk.builders import (
    geomap,
)
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.geomap import TooltipMode

from tools.dashboards.panels import BLUE, GREY, ORANGE, RED, Box, placed
from tools.dashboards.queries import InfluxQuery

NO_TILES = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8A"
    "AAAASUVORK5CYII="
)
TOWN_FILE = "public/maps/pdt-town.geojson"
CENTRE_LAT_DEG, CENTRE_LON_DEG, ZOOM = 22.9410, 113.8820, 14.5  # of the demo town
PALETTE = ("#e02f44", "#fa6400", "#b877d9", "#1f60c4", "#c4162a", "#8f3bb8")


def town_map(
    title: str,
    about: str,
    box: Box,
    queries: Sequence[InfluxQuery],
    layers: Sequence[Mapping[str, Any]],
) -> Any:
    """A map with the town's base and ``layers`` over it, later ones on top."""
    view = geomap.MapViewConfig().id("coords").all_layers(False)
    view = view.lat(CENTRE_LAT_DEG).lon(CENTRE_LON_DEG).zoom(ZOOM)  # type: ignore[arg-type] # the SDK says int
    controls = (
        geomap.ControlsOptions()
        .show_zoom(True)
        .mouse_wheel_zoom(True)
        .show_attribution(False)
        .show_scale(True)
        .show_measure(False)
        .show_debug(False)
    )
    return (
        placed(geomap.Panel(), title, about, box, *queries)
        .view(view)
        .controls(controls)
        .tooltip(geomap.TooltipOptions().mode(TooltipMode.DETAILS))
        .basemap(_layer("xyz", "base", {"url": NO_TILES, "attribution": ""}))
        .layers([_town(), *(_layer(**each) for each in layers)])
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
    )


def points(
    ref_id: str, name: str, style: dict[str, Any], *, legend: bool = False
) -> dict[str, Any]:
    """A marker for each row of a query."""
    return {
        "kind": "markers",
        "name": name,
        "config": {"style": _style(style), "showLegend": legend},
        "ref_id": ref_id,
    }


def way(ref_id: str, name: str, color: str) -> dict[str, Any]:
    """One line through all rows of a query: a layer draws one line and no more."""
    style = _style({"color": {"fixed": color}, "lineWidth": 4, "opacity": 0.9})
    config = {"style": style, "arrow": 0}
    return {"kind": "route", "name": name, "config": config, "ref_id": ref_id, "tooltip": False}


def heat(ref_id: str, name: str) -> dict[str, Any]:
    """Where rows lie close together."""
    config = {"blur": 20, "radius": 14, "weight": {"fixed": 1, "min": 0, "max": 1}}
    return {"kind": "heatmap", "name": name, "config": config, "ref_id": ref_id}


def unit_style() -> dict[str, Any]:
    """A unit: the colour says its state, the text its call sign."""
    return {
        "color": {"field": "state_code", "fixed": GREY},
        "size": {"fixed": 9, "min": 4, "max": 12},
        "text": {"mode": "field", "field": "name", "fixed": ""},
        "textConfig": _text(13, offset_y=18),
    }


def alarm_style() -> dict[str, Any]:
    """A place where somebody has called for help."""
    return {
        "color": {"fixed": RED},
        "size": {"fixed": 22, "min": 10, "max": 40},
        "opacity": 0.45,
        "text": {"mode": "field", "field": "name", "fixed": ""},
        "textConfig": _text(18, offset_y=-26),
    }


def _layer(
    kind: str,
    name: str,
    config: Mapping[str, Any],
    ref_id: str = "",
    *,
    tooltip: bool = True,
) -> Any:
    layer = common_builders.MapLayerOptions().type(kind).name(name).config(dict(config))
    if ref_id:
        place = common_builders.FrameGeometrySource().mode(common.FrameGeometrySourceMode.COORDS)
        layer = layer.location(place.latitude("lat").longitude("lon"))
        layer = layer.filter_data({"id": "byRefId", "options": ref_id})
    return layer.tooltip(tooltip)


def _town() -> Any:
    """Streets, blocks and water of ``config/town.geojson``, by their ``kind``."""
    colors = {
        "boundary": ("#5a6068", 2, 0.0),
        "water": ("#5b8db8", 1, 0.5),
        "park": ("#6a9a5b", 1, 0.4),
        "block": ("#6b7178", 1, 0.15),
        "building": ("#7d838a", 1, 0.25),
        "road": ("#9aa0a6", 2, 0.6),
    }
    rules = [
        {
            "check": {"property": "kind", "operation": "eq", "value": kind},
            "style": _style({"color": {"fixed": color}, "lineWidth": width, "opacity": opacity}),
        }
        for kind, (color, width, opacity) in colors.items()
    ]
    plain = _style({"color": {"fixed": ORANGE}, "size": {"fixed": 4, "min": 2, "max": 6}})
    config = {"src": TOWN_FILE, "style": plain, "rules": rules}
    return _layer("geojson", "town", config, tooltip=False)


def _style(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "color": {"fixed": BLUE},
        "opacity": 0.9,
        "rotation": {"fixed": 0, "min": -360, "max": 360, "mode": "mod"},
        "size": {"fixed": 6, "min": 2, "max": 15},
        "symbol": {"fixed": "img/icons/marker/circle.svg", "mode": "fixed"},
        "symbolAlign": {"horizontal": "center", "vertical": "center"},
        "textConfig": _text(12, offset_y=0),
        **chosen,
    }


def _text(size: int, *, offset_y: int) -> dict[str, Any]:
    return {
        "fontSize": size,
        "offsetX": 0,
        "offsetY": offset_y,
        "textAlign": "center",
        "textBaseline": "middle",
    }
