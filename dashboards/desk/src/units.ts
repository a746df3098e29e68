/** What the page makes of a unit's facts: its key, name, place and the age of that place. */

import type { Emergency, EmergencyFix, TeamKind, Unit } from "./api";
import type { Point } from "./lib/geo";
import { instantMs } from "./lib/time";
import type { Kind } from "./map/palette";

/** A unit is one entry however many radios it has; a radio without a unit is one by itself. */
export function keyOf(unit: { unit_id?: string; radio_id: string }): string {
  return unit.unit_id ?? unit.radio_id;
}

/** The number alone: people read out 80020200, not pdt:80020200. */
export function numberOf(radioId: string): string {
  return radioId.slice(radioId.indexOf(":") + 1);
}

const TEAM_KINDS: ReadonlySet<string> = new Set<TeamKind>([
  "stationed",
  "mobile",
  "area",
  "village",
  "watch",
  "police",
  "other",
]);

export function kindOf(unit: Unit): Kind {
  if (unit.unit_id === undefined) return "unregistered";
  const kind = unit.team_kind ?? "other";
  return TEAM_KINDS.has(kind) ? (kind as TeamKind) : "other";
}

/** Where the unit was last seen, however long ago; undefined where it never had a fix. */
export function placeOf(unit: Unit | undefined): Point | undefined {
  if (unit?.lat_deg === undefined || unit.lon_deg === undefined) return undefined;
  return { lat_deg: unit.lat_deg, lon_deg: unit.lon_deg };
}

const CLOCK_TRUST_MS = 30 * 86_400_000; // a receiver's clock further off than this is wrong
const CLOCK_SLACK_MS = 10_000; // so far two good clocks may differ

/**
 * When the unit was at its place, milliseconds since 1970.
 *
 * The gateway's receive time counts. A fix that is not fresh may have been stored in the radio and come
 * late: then the receiver's own, earlier time tells the truth, unless that clock is plainly wrong.
 */
export function fixMs(unit: Unit): number | undefined {
  const received = instantMs(unit.fix_received_at);
  const own = instantMs(unit.fix_at);
  if (received === undefined || own === undefined) return received ?? own;
  const late = received - own;
  const stored = unit.state !== "fresh_fix" && late > 0 && late < CLOCK_TRUST_MS;
  return stored ? own : received;
}

export interface EmergencyPlace {
  at: Point;
  /** When somebody was there, milliseconds since 1970. */
  ms: number | undefined;
  /** The last known place from before the alarm: the person may be elsewhere. */
  isLastKnown: boolean;
}

function sentPlace(emergency: Emergency, fix: EmergencyFix): EmergencyPlace {
  return { at: fix, ms: sentMs(emergency, fix), isLastKnown: fix.age_s !== undefined };
}

/**
 * When somebody was at the place that came with an alarm, by the gateway's clock.
 *
 * The radio's own time counts where it can be true: before the last frame, and not long before. A place
 * otherwise counts as old as the alarm, so that a clock that is ahead never holds up a later place.
 */
function sentMs(emergency: Emergency, fix: EmergencyFix): number | undefined {
  const raised = instantMs(emergency.raised_at);
  if (raised === undefined) return undefined;
  if (fix.age_s !== undefined) return raised - fix.age_s * 1000;
  const last = instantMs(emergency.refreshed_at) ?? raised;
  const own = instantMs(fix.fix_at);
  if (own === undefined || own > last + CLOCK_SLACK_MS || own < last - CLOCK_TRUST_MS) return raised;
  return Math.min(own, last);
}

/** The newest place known for an emergency: sent with it, or reported since by its unit. */
export function emergencyPlace(emergency: Emergency, unit: Unit | undefined): EmergencyPlace | undefined {
  const sent = emergency.fix && sentPlace(emergency, emergency.fix);
  const now = placeOf(unit);
  if (!unit || !now) return sent;
  const ms = fixMs(unit);
  if (sent && (ms === undefined || (sent.ms !== undefined && sent.ms >= ms))) return sent;
  const raised = instantMs(emergency.raised_at) ?? 0;
  return { at: now, ms, isLastKnown: ms === undefined || ms < raised - 5000 };
}
