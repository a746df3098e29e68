/**
 * How the map looks: a dark town that stays behind the units.
 *
 * The base map is one GeoJSON file whose features say what they are in `kind`: road (class major or
 * minor), block, water, park, site, boundary, label. There are no tiles and no glyph files: text is
 * drawn from the machine's own fonts.
 */

import type {
  ExpressionSpecification,
  FilterSpecification,
  LayerSpecification,
  SourceSpecification,
  StyleSpecification,
  SymbolLayerSpecification,
} from "maplibre-gl";

export const EMPTY: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };

/** Symbols of units are drawn from here on; trails run below them. */
export const UNIT_LAYER = "unit-symbol";

const FONT = ["Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "sans-serif"];
const HALO = "#0a0f18";
const ICON_SIZE: ExpressionSpecification = ["interpolate", ["linear"], ["zoom"], 11, 0.62, 14, 0.9, 16, 1.1];

function of(kind: string, more: ExpressionSpecification | true = true): FilterSpecification {
  return ["all", ["==", ["get", "kind"], kind], more];
}

const MAJOR: ExpressionSpecification = ["==", ["get", "class"], "major"];
const MINOR: ExpressionSpecification = ["!=", ["get", "class"], "major"];

function width(near: number, far: number): ExpressionSpecification {
  return ["interpolate", ["exponential", 1.6], ["zoom"], 12, far, 18, near];
}

const BASE_LAYERS: LayerSpecification[] = [
  { id: "park", source: "base", type: "fill", filter: of("park"), paint: { "fill-color": "#15301f", "fill-antialias": false } },
  { id: "block", source: "base", type: "fill", filter: of("block"), paint: { "fill-color": "#141d2b", "fill-antialias": false } },
  { id: "water", source: "base", type: "fill", filter: of("water", ["!=", ["geometry-type"], "LineString"]), paint: { "fill-color": "#12304a", "fill-antialias": false } },
  { id: "stream", source: "base", type: "line", filter: of("water", ["==", ["geometry-type"], "LineString"]), paint: { "line-color": "#12304a", "line-width": width(10, 2) } },
  { id: "building", source: "base", type: "fill", minzoom: 14.5, filter: of("building"), paint: { "fill-color": "#1c2739", "fill-outline-color": "#2a384f" } },
  { id: "ground", source: "base", type: "fill", filter: of("site"), paint: { "fill-color": "#1f2a3d", "fill-antialias": false, "fill-opacity": 0.8 } },
  { id: "road-minor", source: "base", type: "line", filter: of("road", MINOR), layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": "#2f3e57", "line-width": width(14, 0.8) } },
  { id: "road-edge", source: "base", type: "line", filter: of("road", MAJOR), layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": "#1a2334", "line-width": width(28, 3.4) } },
  { id: "road-major", source: "base", type: "line", filter: of("road", MAJOR), layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": "#475a7c", "line-width": width(22, 2) } },
  { id: "boundary", source: "base", type: "line", filter: of("boundary"), paint: { "line-color": "#66748f", "line-width": 1.5, "line-dasharray": [4, 3] } },
];

const GRATICULE_LAYERS: LayerSpecification[] = [
  { id: "graticule", source: "graticule", type: "line", paint: { "line-color": "#1d2839", "line-width": 1 } },
  {
    id: "graticule-label",
    source: "graticule",
    type: "symbol",
    layout: { "symbol-placement": "line", "symbol-spacing": 700, "text-field": ["get", "name"], "text-font": FONT, "text-size": 12 },
    paint: { "text-color": "#55637c", "text-halo-color": HALO, "text-halo-width": 1.5 },
  },
];

const LABEL_LAYERS: LayerSpecification[] = [
  {
    id: "road-name",
    source: "base",
    type: "symbol",
    minzoom: 13.5,
    filter: of("road", ["has", "name"]),
    layout: { "symbol-placement": "line", "symbol-spacing": 420, "text-field": ["get", "name"], "text-font": FONT, "text-size": 12.5, "text-letter-spacing": 0.08 },
    paint: { "text-color": "#76859f", "text-halo-color": HALO, "text-halo-width": 1.5 },
  },
  {
    id: "place-name",
    source: "base",
    type: "symbol",
    filter: ["all", ["has", "name"], ["in", ["get", "kind"], ["literal", ["label", "water", "park"]]], ["!=", ["geometry-type"], "LineString"]],
    layout: { "text-field": ["get", "name"], "text-font": FONT, "text-size": ["match", ["get", "kind"], "label", 15, 12.5], "text-max-width": 8, "text-letter-spacing": 0.06 },
    paint: { "text-color": ["match", ["get", "kind"], "water", "#4f86b3", "park", "#5d8d78", "#8493ad"], "text-halo-color": HALO, "text-halo-width": 1.6 },
  },
];

const SITE_LAYERS: LayerSpecification[] = [
  { id: "ring-fill", source: "rings", type: "fill", paint: { "fill-color": "#c9d6ea", "fill-antialias": false, "fill-opacity": ["match", ["get", "hot"], "yes", 0.07, 0.03] } },
  { id: "ring", source: "rings", type: "line", paint: { "line-color": ["match", ["get", "hot"], "yes", "#ff8a80", "#9fb2d0"], "line-width": ["match", ["get", "hot"], "yes", 2.4, 1.3], "line-dasharray": [3, 2.2], "line-opacity": 0.85 } },
  { id: "site-mark", source: "sites", type: "symbol", layout: { "icon-image": "site", "icon-allow-overlap": true, "icon-ignore-placement": true } },
  {
    id: "site-name",
    source: "sites",
    type: "symbol",
    minzoom: 12.6,
    layout: { "text-field": ["get", "name"], "text-font": FONT, "text-size": 13.5, "text-variable-anchor": ["top", "bottom", "left", "right"], "text-radial-offset": 0.75, "text-max-width": 9 },
    paint: { "text-color": "#cfe0ff", "text-halo-color": HALO, "text-halo-width": 1.8 },
  },
];

const UNIT_NAME: ExpressionSpecification = ["format", ["get", "name"], {}];
const UNIT_NAME_AGE: ExpressionSpecification = [
  "format",
  ["get", "name"],
  {},
  "\n",
  {},
  ["get", "age"],
  { "font-scale": 0.86, "text-color": ["match", ["get", "state"], "fresh_fix", "#c3d2ea", "#ffc46b"] },
];
const OLD: ExpressionSpecification = ["!=", ["get", "state"], "fresh_fix"];
const UNIT_TEXT: NonNullable<SymbolLayerSpecification["layout"]> = {
  "text-font": FONT,
  "text-variable-anchor": ["left", "right", "top", "bottom"],
  "text-radial-offset": 1.35,
  "text-justify": "auto",
  "text-line-height": 1.15,
  "text-max-width": 14,
};
const LOUD: ExpressionSpecification = ["any", ["==", ["get", "alarm"], true], ["==", ["get", "selected"], true]];

const IS_UNIT: ExpressionSpecification = ["has", "key"];
const IS_TRAIL: ExpressionSpecification = ["==", ["geometry-type"], "LineString"];

const UNIT_LAYERS: LayerSpecification[] = [
  { id: "trail-edge", source: "live", type: "line", filter: IS_TRAIL, layout: { "line-join": "round", "line-cap": "round" }, paint: { "line-color": HALO, "line-width": 6, "line-opacity": 0.7 } },
  { id: "trail", source: "live", type: "line", filter: IS_TRAIL, layout: { "line-join": "round", "line-cap": "round" }, paint: { "line-color": ["get", "colour"], "line-width": 3, "line-opacity": 0.9 } },
  { id: "trail-dot", source: "live", type: "circle", minzoom: 14, filter: ["all", ["==", ["geometry-type"], "Point"], ["!", IS_UNIT]], paint: { "circle-radius": 2.6, "circle-color": ["get", "colour"], "circle-stroke-color": HALO, "circle-stroke-width": 1 } },
  { id: "unit-selected", source: "live", type: "circle", filter: ["==", ["get", "selected"], true], paint: { "circle-radius": 21, "circle-color": "#ffffff", "circle-opacity": 0.13, "circle-stroke-color": "#ffffff", "circle-stroke-width": 2 } },
  {
    id: "unit-heading",
    source: "live",
    type: "symbol",
    filter: ["has", "course"],
    layout: { "icon-image": ["concat", "heading-", ["get", "team_kind"]], "icon-size": ICON_SIZE, "icon-rotate": ["get", "course"], "icon-rotation-alignment": "map", "icon-allow-overlap": true, "icon-ignore-placement": true },
  },
  {
    id: UNIT_LAYER,
    source: "live",
    type: "symbol",
    filter: IS_UNIT,
    layout: {
      "icon-image": ["get", "icon"],
      "icon-size": ICON_SIZE,
      "icon-allow-overlap": true,
      "icon-ignore-placement": true,
      "symbol-sort-key": ["get", "order"],
    },
    paint: { "icon-opacity": ["match", ["get", "state"], "fresh_fix", 1, "old_fix", 0.9, "no_fix", 0.85, "silent", 0.75, 0.6] },
  },
  {
    id: "unit-name",
    source: "live",
    type: "symbol",
    minzoom: 13.2,
    filter: ["all", IS_UNIT, ["!", LOUD]],
    layout: {
      ...UNIT_TEXT,
      "text-field": ["step", ["zoom"], UNIT_NAME, 14, ["case", OLD, UNIT_NAME_AGE, UNIT_NAME], 15.2, UNIT_NAME_AGE],
      "text-size": ["interpolate", ["linear"], ["zoom"], 13, 12.5, 16, 15],
      "text-optional": true,
      "symbol-sort-key": ["*", -1, ["get", "order"]],
    },
    paint: { "text-color": ["case", OLD, "#a7b2c6", "#e8eef8"], "text-halo-color": HALO, "text-halo-width": 2 },
  },
  {
    // Who is selected or in an emergency keeps the name, whatever else is written there.
    id: "unit-name-loud",
    source: "live",
    type: "symbol",
    filter: LOUD,
    layout: { ...UNIT_TEXT, "text-field": UNIT_NAME_AGE, "text-size": 16, "text-allow-overlap": true },
    paint: {
      "text-color": "#ffffff",
      "text-halo-color": ["case", ["==", ["get", "alarm"], true], "#b3000b", "#000000"],
      "text-halo-width": 3,
    },
  },
];

// Few large tiles instead of many small ones: a tenth of the drawing. A tile of this zoom is 4.9 km
// wide and counts in steps of 0.6 m, which is finer than any fix.
const TILE_ZOOM = 13;

function source(): SourceSpecification {
  return { type: "geojson", data: EMPTY, maxzoom: TILE_ZOOM };
}

/** The whole style; data arrives through the sources base, graticule, rings, sites, live. */
export function mapStyle(): StyleSpecification {
  return {
    version: 8,
    sources: { base: source(), graticule: source(), rings: source(), sites: source(), live: source() },
    layers: [
      { id: "ground-colour", type: "background", paint: { "background-color": "#0c121c" } },
      ...GRATICULE_LAYERS,
      ...BASE_LAYERS,
      ...LABEL_LAYERS,
      ...SITE_LAYERS,
      ...UNIT_LAYERS,
    ],
  };
}
