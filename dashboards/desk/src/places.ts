/** A point in words: how far and in which direction from the nearest key site. */

import type { KeySite } from "./api";
import { say, sayDistance } from "./lang.svelte";
import { nearest, type Point } from "./lib/geo";
import type { Word } from "./words";

const AT_THE_SITE_M = 25; // closer than a direction makes sense

export function sayPlace(at: Point, sites: readonly KeySite[]): string {
  const near = nearest(at, sites);
  if (!near) return say("noSites");
  const { name } = near.place;
  if (near.distance_m < AT_THE_SITE_M) return say("atSite", { site: name });
  const dir = say(`dir${near.octant}` as Word);
  return say("nearSite", { site: name, dir, d: sayDistance(near.distance_m) });
}
