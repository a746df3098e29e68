/** The board as GeoJSON, the way the map's sources take it. */

import type { Emergency, KeySite } from "../api";
import type { Board, TrailPoint } from "../board.svelte";
import type { Desk } from "../desk.svelte";
import { sayAge } from "../lang.svelte";
import { circle, distanceM, type Point } from "../lib/geo";
import { emergencyPlace, fixMs, keyOf, kindOf, placeOf } from "../units";
import type { Box } from "./board-map";
import { KIND_COLOUR } from "./palette";

const MOVING_MPS = 0.5; // below it a course is noise
const ORDER = { off: 0, silent: 1, no_fix: 2, old_fix: 3, fresh_fix: 4 } as const;
const TRAIL_GAP_MS = 5 * 60_000;
const ALARM_COLOUR = "#ff5a52";

type Feature = GeoJSON.Feature;

function collection(features: Feature[]): GeoJSON.FeatureCollection {
  return { type: "FeatureCollection", features };
}

function position({ lat_deg, lon_deg }: Point): [number, number] {
  return [lon_deg, lat_deg];
}

function point(at: Point, properties: Record<string, unknown>): Feature {
  return { type: "Feature", properties, geometry: { type: "Point", coordinates: position(at) } };
}

function line(points: readonly Point[], properties: Record<string, unknown>): Feature {
  const coordinates = points.map(position);
  return { type: "Feature", properties, geometry: { type: "LineString", coordinates } };
}

/** Everything that moves, as one source: two would be drawn twice as often. */
export function liveOf(desk: Desk): GeoJSON.FeatureCollection {
  return collection([...trailsOf(desk), ...unitsOf(desk)]);
}

/** Every unit that has a place; one without is in the list only, never at 0, 0. */
function unitsOf(desk: Desk): Feature[] {
  const { board } = desk;
  const features: Feature[] = [];
  for (const [key, unit] of board.units) {
    const at = placeOf(unit);
    if (!at) continue;
    const kind = kindOf(unit);
    const ms = fixMs(unit);
    const isSelected = key === desk.selectedKey;
    const isAlarm = unit.has_emergency === true;
    const moves = unit.state === "fresh_fix" && (unit.speed_mps ?? 0) > MOVING_MPS;
    features.push(
      point(at, {
        key,
        name: board.nameOf(unit),
        age: ms === undefined ? "" : sayAge(Math.max(0, (board.nowMs - ms) / 1000)),
        state: unit.state,
        team_kind: kind,
        icon: `${kind}-${unit.state}`,
        selected: isSelected,
        alarm: isAlarm,
        order: ORDER[unit.state] + (isAlarm ? 20 : 0) + (isSelected ? 10 : 0),
        ...(moves && unit.course_deg !== undefined ? { course: unit.course_deg } : {}),
      }),
    );
  }
  return features;
}

/** The last minutes of the selected unit and of every unit in an emergency. */
function trailsOf(desk: Desk): Feature[] {
  const { board } = desk;
  const colours = new Map<string, string>();
  const selected = desk.selected;
  if (selected) colours.set(keyOf(selected), KIND_COLOUR[kindOf(selected)]);
  for (const each of board.emergencies) colours.set(keyOf(each), ALARM_COLOUR);
  const features: Feature[] = [];
  for (const [key, colour] of colours) {
    const trail = board.trail(key);
    for (const piece of pieces(trail)) features.push(line(piece, { colour }));
    for (const each of trail.slice(0, -1)) features.push(point(each, { colour }));
  }
  return features;
}

/** A trail cut where nothing was heard for long: nobody knows which way was taken. */
function pieces(trail: readonly TrailPoint[]): TrailPoint[][] {
  const found: TrailPoint[][] = [];
  let piece: TrailPoint[] = [];
  for (const each of trail) {
    const last = piece.at(-1);
    if (last && each.ms - last.ms > TRAIL_GAP_MS) {
      found.push(piece);
      piece = [];
    }
    piece.push(each);
  }
  return [...found, piece].filter((each) => each.length > 1);
}

export function sitesOf(sites: readonly KeySite[]): GeoJSON.FeatureCollection {
  return collection(sites.map((site) => point(site, { name: site.name })));
}

/** The rings in which a team acts; the one around an open emergency stands out. */
export function ringsOf(
  sites: readonly KeySite[],
  emergencies: readonly Emergency[],
): GeoJSON.FeatureCollection {
  return collection(
    sites.map((site) => {
      const isHot = emergencies.some(({ fix }) => fix && distanceM(fix, site) <= site.ring_m);
      return {
        type: "Feature",
        properties: { hot: isHot ? "yes" : "no" },
        geometry: { type: "Polygon", coordinates: [circle(site, site.ring_m)] },
      };
    }),
  );
}

export function alarmsOf(board: Board): { key: string; at: Point; loud: boolean }[] {
  return board.emergencies.flatMap((each) => {
    const place = emergencyPlace(each, board.unitOf(each));
    return place ? [{ key: each.emergency_id, at: place.at, loud: each.phase === "open" }] : [];
  });
}

/** What the first view should hold: the base map, else sites and units; undefined when all is empty. */
export function boxOf(board: Board, base: GeoJSON.FeatureCollection | undefined): Box | undefined {
  const box = new Bounds();
  for (const feature of base?.features ?? []) {
    // Rivers run on, and a boundary takes in what nobody walks.
    const kind: unknown = feature.properties?.["kind"];
    if (kind !== "water" && kind !== "boundary") box.addGeometry(feature.geometry);
  }
  for (const site of board.sites) box.add(site.lon_deg, site.lat_deg);
  if (!base) {
    for (const unit of board.units.values()) {
      const at = placeOf(unit);
      if (at) box.add(at.lon_deg, at.lat_deg);
    }
  }
  return box.get();
}

class Bounds {
  #box: Box = [Infinity, Infinity, -Infinity, -Infinity];

  add(lon: number, lat: number): void {
    const [west, south, east, north] = this.#box;
    this.#box = [Math.min(west, lon), Math.min(south, lat), Math.max(east, lon), Math.max(north, lat)];
  }

  addGeometry(geometry: GeoJSON.Geometry | null): void {
    if (geometry && "coordinates" in geometry) this.#addNested(geometry.coordinates);
  }

  get(): Box | undefined {
    return this.#box[0] <= this.#box[2] ? this.#box : undefined;
  }

  #addNested(value: unknown): void {
    if (!Array.isArray(value)) return;
    const [lon, lat]: unknown[] = value;
    if (typeof lon === "number" && typeof lat === "number") this.add(lon, lat);
    else for (const each of value) this.#addNested(each);
  }
}
