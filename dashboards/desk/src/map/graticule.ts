/** Lines of latitude and longitude for a site that has no base map. */

type Box = [west: number, south: number, east: number, north: number];

const STEPS_DEG = [10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const LINES = 6; // at least so many across the wider side

function lineOf(name: string, coordinates: [number, number][]): GeoJSON.Feature {
  return { type: "Feature", properties: { name }, geometry: { type: "LineString", coordinates } };
}

function* multiples(from: number, to: number, step: number): Generator<number> {
  for (let i = Math.floor(from / step); i <= Math.ceil(to / step); i += 1) yield i * step;
}

/** Lines that cover the box (degrees), labelled with their own degrees. */
export function graticule([west, south, east, north]: Box): GeoJSON.FeatureCollection {
  const span = Math.max(east - west, north - south);
  const step = STEPS_DEG.find((each) => span / each >= LINES) ?? 0.001;
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const features: GeoJSON.Feature[] = [];
  for (const lon of multiples(west, east, step)) {
    features.push(lineOf(`${lon.toFixed(digits)}°`, [[lon, south - step], [lon, north + step]]));
  }
  for (const lat of multiples(south, north, step)) {
    features.push(lineOf(`${lat.toFixed(digits)}°`, [[west - step, lat], [east + step, lat]]));
  }
  return { type: "FeatureCollection", features };
}
