/**
 * The map itself: a thin hand around MapLibre. Data comes in, clicks and movements go out.
 *
 * The view belongs to the operator. Nothing here moves it except a call that a person caused, and the
 * very first view, as long as nobody has touched the map.
 */

import * as maplibregl from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import "maplibre-gl/dist/maplibre-gl.css";

import type { Point } from "../lib/geo";
import { graticule } from "./graticule";
import { KINDS, STATES, type Kind } from "./palette";
import { EMPTY, UNIT_LAYER, mapStyle } from "./style";
import { drawHeading, drawSite, drawSymbol, pixels } from "./symbols";

maplibregl.setWorkerUrl(workerUrl);

export type Box = [west: number, south: number, east: number, north: number];
export type Layer = "base" | "graticule" | "rings" | "sites" | "live";

const IMAGE_SCALE = 2;
const CLOSE_ZOOM = 16;
const TOUCH_PX = 10; // a click this close to a symbol means the symbol

export interface MapEvents {
  /** A unit's symbol was clicked; `key` is the feature's. */
  picked: (key: string) => void;
  /** The view has moved, for whatever reason. */
  moved: () => void;
}

export class BoardMap {
  readonly #map: maplibregl.Map;
  readonly #events: MapEvents;
  readonly #data = new Map<Layer, GeoJSON.FeatureCollection>();
  readonly #rings = new Map<string, maplibregl.Marker>();
  #setAtMs: number | undefined;
  #drawingMs = 0;
  #ready = false;
  #touched = false;
  #first: Box | undefined;
  #hasBase = false;

  constructor(container: HTMLElement, events: MapEvents, glyphOf: (kind: Kind) => string) {
    this.#events = events;
    this.#map = new maplibregl.Map({
      container,
      style: mapStyle(),
      center: [105, 35],
      zoom: 3.4,
      maxZoom: 19,
      attributionControl: false,
      localIdeographFontFamily: false, // the style names the fonts; none is ever fetched
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
      renderWorldCopies: false,
    });
    this.#map.touchZoomRotate.disableRotation();
    this.#map.addControl(new maplibregl.ScaleControl({ maxWidth: 140 }), "bottom-left");
    this.#map.on("load", () => {
      this.setGlyphs(glyphOf);
      this.#ready = true;
      for (const [layer, data] of this.#data) this.#write(layer, data);
      this.#drawGraticule();
    });
    this.#listen(container);
  }

  /** Replace the data of one source. */
  set(layer: Layer, data: GeoJSON.FeatureCollection): void {
    this.#data.set(layer, data);
    if (!this.#ready) return;
    this.#setAtMs ??= performance.now();
    this.#write(layer, data);
  }

  /** How long the last change took until it was on the screen; long without a graphics card. */
  get drawingMs(): number {
    return this.#drawingMs;
  }

  /** The base map, or none: then the graticule shows where we are. */
  setBase(data: GeoJSON.FeatureCollection | undefined): void {
    this.#hasBase = data !== undefined;
    this.set("base", data ?? EMPTY);
    this.#drawGraticule();
  }

  /** Draw every symbol with the page's own glyphs; again after a change of language. */
  setGlyphs(glyphOf: (kind: Kind) => string): void {
    this.#image("site", drawSite(IMAGE_SCALE));
    for (const kind of KINDS) {
      for (const state of STATES) {
        this.#image(`${kind}-${state}`, drawSymbol(kind, state, glyphOf(kind), IMAGE_SCALE));
      }
      this.#image(`heading-${kind}`, drawHeading(kind, IMAGE_SCALE));
    }
  }

  /** Pulsing rings where emergencies are; `loud` ones nobody has taken yet. */
  setAlarms(alarms: readonly { key: string; at: Point; loud: boolean }[]): void {
    const wanted = new Set(alarms.map((alarm) => alarm.key));
    for (const [key, marker] of this.#rings) {
      if (wanted.has(key)) continue;
      marker.remove();
      this.#rings.delete(key);
    }
    for (const { key, at, loud } of alarms) {
      let marker = this.#rings.get(key);
      if (!marker) {
        marker = new maplibregl.Marker({ element: ringElement() });
        marker.setLngLat([at.lon_deg, at.lat_deg]).addTo(this.#map);
        this.#rings.set(key, marker);
      }
      marker.setLngLat([at.lon_deg, at.lat_deg]);
      marker.getElement().classList.toggle("loud", loud);
    }
  }

  /** The first view of the town; does nothing once somebody has touched the map. */
  showFirst(box: Box): void {
    this.#first = box;
    if (!this.#touched) this.#map.fitBounds(box, { padding: 48, animate: false, maxZoom: CLOSE_ZOOM });
  }

  /** Somebody asked for the whole town. */
  fit(box: Box): void {
    this.#touched = true;
    this.#map.fitBounds(box, { padding: 48, duration: 500, maxZoom: CLOSE_ZOOM });
  }

  /** Somebody asked for this point; zooms in but never out. */
  centre(at: Point): void {
    this.#touched = true;
    const zoom = Math.max(this.#map.getZoom(), CLOSE_ZOOM);
    this.#map.easeTo({ center: [at.lon_deg, at.lat_deg], zoom, duration: 500 });
  }

  zoomBy(steps: number): void {
    this.#touched = true;
    this.#map.zoomTo(this.#map.getZoom() + steps, { duration: 200 });
  }

  /** True if the point is within the view, `margin` pixels away from its edge. */
  shows(at: Point, margin = 24): boolean {
    const { x, y } = this.#map.project([at.lon_deg, at.lat_deg]);
    const { clientWidth, clientHeight } = this.#map.getContainer();
    return x > margin && y > margin && x < clientWidth - margin && y < clientHeight - margin;
  }

  remove(): void {
    this.#map.remove();
  }

  #listen(container: HTMLElement): void {
    const touch = () => {
      this.#touched = true;
    };
    container.addEventListener("pointerdown", touch, { capture: true });
    container.addEventListener("wheel", touch, { capture: true, passive: true });
    container.addEventListener("keydown", touch, { capture: true });
    this.#map.on("move", () => this.#events.moved());
    this.#map.on("idle", () => {
      if (this.#setAtMs !== undefined) this.#drawingMs = performance.now() - this.#setAtMs;
      this.#setAtMs = undefined;
    });
    this.#map.on("moveend", () => this.#drawGraticule());
    // A banner makes the map smaller; an untouched view goes on showing the whole town.
    this.#map.on("resize", () => {
      if (this.#first) this.showFirst(this.#first);
    });
    this.#map.on("click", ({ point: { x, y } }) => {
      const key = this.#unitAt(x, y);
      if (key !== undefined) this.#events.picked(key);
    });
    this.#map.on("mousemove", ({ point: { x, y } }) => {
      this.#map.getCanvas().classList.toggle("over-unit", this.#unitAt(x, y) !== undefined);
    });
  }

  #unitAt(x: number, y: number): string | undefined {
    if (!this.#ready) return undefined;
    const found = this.#map.queryRenderedFeatures(
      [
        [x - TOUCH_PX, y - TOUCH_PX],
        [x + TOUCH_PX, y + TOUCH_PX],
      ],
      { layers: [UNIT_LAYER] },
    );
    // Of several the nearest; of those on top of each other the one that is drawn on top.
    let best: { key: string; distance: number } | undefined;
    for (const { geometry, properties } of found) {
      const key: unknown = properties["key"];
      if (typeof key !== "string" || geometry.type !== "Point") continue;
      const [lon = 0, lat = 0] = geometry.coordinates;
      const at = this.#map.project([lon, lat]);
      const distance = Math.hypot(at.x - x, at.y - y);
      if (!best || distance < best.distance - 1) best = { key, distance };
    }
    return best?.key;
  }

  #image(name: string, drawing: HTMLCanvasElement): void {
    const data = pixels(drawing);
    if (this.#map.hasImage(name)) this.#map.updateImage(name, data);
    else this.#map.addImage(name, data, { pixelRatio: IMAGE_SCALE });
  }

  #write(layer: Layer, data: GeoJSON.FeatureCollection): void {
    const source = this.#map.getSource<maplibregl.GeoJSONSource>(layer);
    void source?.setData(data);
  }

  #drawGraticule(): void {
    if (!this.#ready) return;
    if (this.#hasBase) {
      this.set("graticule", EMPTY);
      return;
    }
    const bounds = this.#map.getBounds();
    const box: Box = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
    this.set("graticule", graticule(box));
  }
}

function ringElement(): HTMLElement {
  const element = document.createElement("div");
  element.className = "alarm-ring";
  for (let i = 0; i < 2; i += 1) element.append(document.createElement("i"));
  return element;
}
