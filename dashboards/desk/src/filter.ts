/** Which units the list shows, in which order. */

import type { Unit, UnitState } from "./api";
import { kindOf, keyOf, numberOf } from "./units";

export type StateFilter = UnitState | "all" | "unregistered" | "alarm";

export interface Filter {
  text: string;
  state: StateFilter;
  /** A team's id, "" for all. */
  team: string;
}

export interface Group {
  id: string;
  name: string | undefined;
  units: Unit[];
}

const order = new Intl.Collator("zh-CN", { numeric: true });

export function fitsState(unit: Unit, state: StateFilter): boolean {
  if (state === "all") return true;
  if (state === "alarm") return unit.has_emergency === true;
  if (state === "unregistered") return unit.unit_id === undefined;
  return unit.state === state;
}

function fitsText(unit: Unit, words: readonly string[]): boolean {
  const text = [unit.unit_name, unit.unit_id, numberOf(unit.radio_id), unit.team_name, unit.team]
    .join("\n")
    .toLowerCase();
  return words.every((word) => text.includes(word));
}

/** The units that fit, by team, unregistered radios last; an emergency first of all. */
export function grouped(units: Iterable<Unit>, filter: Filter): Group[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map<string, Group>();
  for (const unit of units) {
    if (!fitsState(unit, filter.state) || !fitsText(unit, words)) continue;
    if (filter.team && unit.team !== filter.team) continue;
    const id = unit.unit_id === undefined ? "?" : (unit.team ?? "");
    let group = groups.get(id);
    if (!group) groups.set(id, (group = { id, name: unit.team_name ?? unit.team, units: [] }));
    group.units.push(unit);
  }
  for (const group of groups.values()) group.units.sort(byName);
  return [...groups.values()].sort(
    (a, b) => rank(a) - rank(b) || order.compare(a.name ?? "", b.name ?? ""),
  );
}

function rank({ id, units }: Group): number {
  if (units[0]?.has_emergency) return 0;
  return id === "?" ? 3 : id === "" ? 2 : 1;
}

function byName(a: Unit, b: Unit): number {
  const alarm = Number(b.has_emergency ?? false) - Number(a.has_emergency ?? false);
  return alarm || order.compare(a.unit_name ?? keyOf(a), b.unit_name ?? keyOf(b));
}

/** How many units there are in each state of the filter. */
export function counts(units: Iterable<Unit>): Record<StateFilter, number> {
  const found: Record<StateFilter, number> = {
    all: 0,
    alarm: 0,
    unregistered: 0,
    fresh_fix: 0,
    old_fix: 0,
    no_fix: 0,
    silent: 0,
    off: 0,
  };
  for (const unit of units) {
    found.all += 1;
    found[unit.state] += 1;
    if (unit.has_emergency) found.alarm += 1;
    if (kindOf(unit) === "unregistered") found.unregistered += 1;
  }
  return found;
}

/** Teams with their names, for the chooser. */
export function teams(units: Iterable<Unit>): { id: string; name: string }[] {
  const found = new Map<string, string>();
  for (const unit of units) if (unit.team) found.set(unit.team, unit.team_name ?? unit.team);
  return [...found].map(([id, name]) => ({ id, name })).sort((a, b) => order.compare(a.name, b.name));
}
