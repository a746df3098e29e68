/** Distances and bearings on the WGS-84 sphere; good to half a percent, which is enough for words. */

export interface Point {
  lat_deg: number;
  lon_deg: number;
}

const EARTH_RADIUS_M = 6_371_008.8;
const RAD = Math.PI / 180;

/** Great-circle distance in metres. */
export function distanceM(a: Point, b: Point): number {
  const dLat = (b.lat_deg - a.lat_deg) * RAD;
  const dLon = (b.lon_deg - a.lon_deg) * RAD;
  const h =
    Math.sin(dLat / 2) ** 2 +
    Math.cos(a.lat_deg * RAD) * Math.cos(b.lat_deg * RAD) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** Bearing from `a` to `b`, clockwise from true north, 0 to under 360 degrees. */
export function bearingDeg(a: Point, b: Point): number {
  const dLon = (b.lon_deg - a.lon_deg) * RAD;
  const y = Math.sin(dLon) * Math.cos(b.lat_deg * RAD);
  const x =
    Math.cos(a.lat_deg * RAD) * Math.sin(b.lat_deg * RAD) -
    Math.sin(a.lat_deg * RAD) * Math.cos(b.lat_deg * RAD) * Math.cos(dLon);
  return (Math.atan2(y, x) / RAD + 360) % 360;
}

/** The eight compass directions, 0 = north, clockwise. */
export function octant(bearing: number): number {
  return Math.round(bearing / 45) % 8;
}

/** A circle as a closed ring of GeoJSON positions ([lon, lat]); `radius` in metres. */
export function circle(centre: Point, radius: number, corners = 72): [number, number][] {
  const dLat = radius / EARTH_RADIUS_M / RAD;
  const dLon = dLat / Math.cos(centre.lat_deg * RAD);
  return Array.from({ length: corners + 1 }, (_, i) => {
    const angle = (i / corners) * 2 * Math.PI;
    return [centre.lon_deg + dLon * Math.cos(angle), centre.lat_deg + dLat * Math.sin(angle)];
  });
}

export interface Near<T> {
  place: T;
  distance_m: number;
  /** Direction from the place to the point, 0 = north, clockwise in steps of 45 degrees. */
  octant: number;
}

/** The place nearest to `point`; undefined where there are no places. */
export function nearest<T extends Point>(point: Point, places: readonly T[]): Near<T> | undefined {
  let best: Near<T> | undefined;
  for (const place of places) {
    const distance = distanceM(place, point);
    if (!best || distance < best.distance_m) {
      best = { place, distance_m: distance, octant: octant(bearingDeg(place, point)) };
    }
  }
  return best;
}

/** Six decimals: about 0.1 m, the way coordinates are read out and typed. */
export function coordinates(point: Point): string {
  return `${point.lat_deg.toFixed(6)}, ${point.lon_deg.toFixed(6)}`;
}
