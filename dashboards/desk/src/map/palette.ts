/** Colours and glyphs of the teams, shared by the map, the list and the legend. */

import type { TeamKind, UnitState } from "../api";
import type { Word } from "../words";

/** A team's kind, or what the page shows for a radio that belongs to nobody yet. */
export type Kind = TeamKind | "unregistered";

export const KINDS: readonly Kind[] = [
  "police",
  "stationed",
  "mobile",
  "area",
  "village",
  "watch",
  "other",
  "unregistered",
];

// Red is the alarm's and amber the warning's alone; no team wears them.
export const KIND_COLOUR: Record<Kind, string> = {
  police: "#7cc4ff",
  stationed: "#4f9dff",
  mobile: "#2fd6c3",
  area: "#b39bff",
  village: "#9bd63c",
  watch: "#f2a3e0",
  other: "#b6c2d6",
  unregistered: "#e8d9a8",
};

export const KIND_GLYPH: Record<Kind, Word> = {
  police: "glyph_police",
  stationed: "glyph_stationed",
  mobile: "glyph_mobile",
  area: "glyph_area",
  village: "glyph_village",
  watch: "glyph_watch",
  other: "glyph_other",
  unregistered: "glyph_unregistered",
};

export const STATES: readonly UnitState[] = ["fresh_fix", "old_fix", "no_fix", "silent", "off"];
