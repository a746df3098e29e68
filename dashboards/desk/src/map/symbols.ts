/**
 * A unit's symbol: the team by glyph and colour, the state by shape.
 *
 * fresh_fix  solid disc                 the position is now
 * old_fix    hollow disc, dashed rim    the position was
 * no_fix     hollow diamond, dashed     on the air, but the receiver sees no sky
 * silent     grey square, struck out    not heard for a while
 * off        small grey disc, crossed   it said that it leaves
 *
 * Told apart without colour, and drawn here, so that the map and the list look the same.
 */

import type { UnitState } from "../api";
import { KIND_COLOUR, type Kind } from "./palette";

export const SYMBOL_PX = 34;
const GREY = "#8b97ab";
const DARK = "#0d1420";
const FONT = '"Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", system-ui, sans-serif';

function diamond(pen: CanvasRenderingContext2D, radius: number): void {
  pen.beginPath();
  pen.moveTo(0, -radius);
  pen.lineTo(radius, 0);
  pen.lineTo(0, radius);
  pen.lineTo(-radius, 0);
  pen.closePath();
}

function disc(pen: CanvasRenderingContext2D, radius: number): void {
  pen.beginPath();
  pen.arc(0, 0, radius, 0, 2 * Math.PI);
}

function square(pen: CanvasRenderingContext2D, half: number): void {
  pen.beginPath();
  pen.roundRect(-half, -half, 2 * half, 2 * half, 3);
}

function stroke(pen: CanvasRenderingContext2D, colour: string, width: number, dash: number[] = []): void {
  pen.setLineDash(dash);
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke();
  pen.setLineDash([]);
}

function fill(pen: CanvasRenderingContext2D, colour: string): void {
  pen.fillStyle = colour;
  pen.fill();
}

function line(pen: CanvasRenderingContext2D, from: [number, number], to: [number, number]): void {
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
}

function glyph(pen: CanvasRenderingContext2D, text: string, colour: string, size: number): void {
  pen.font = `700 ${size}px ${FONT}`;
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
  pen.fillStyle = colour;
  // Centred by its ink: Chinese and Latin glyphs sit differently on the line.
  const ink = pen.measureText(text);
  pen.fillText(text, 0, (ink.actualBoundingBoxAscent - ink.actualBoundingBoxDescent) / 2);
}

const SHAPES: Record<UnitState, (pen: CanvasRenderingContext2D, colour: string, text: string) => void> = {
  fresh_fix: (pen, colour, text) => {
    disc(pen, 13);
    fill(pen, colour);
    stroke(pen, "#ffffff", 1.6);
    glyph(pen, text, DARK, 15);
  },
  old_fix: (pen, colour, text) => {
    disc(pen, 12.5);
    fill(pen, DARK);
    stroke(pen, colour, 2, [4.2, 2.9]);
    glyph(pen, text, colour, 14);
  },
  no_fix: (pen, colour, text) => {
    diamond(pen, 15.5);
    fill(pen, DARK);
    stroke(pen, colour, 1.6, [3, 2.6]);
    glyph(pen, text, colour, 12.5);
  },
  silent: (pen, _colour, text) => {
    square(pen, 11);
    fill(pen, DARK);
    stroke(pen, GREY, 1.8);
    glyph(pen, text, GREY, 13);
    line(pen, [-13, 13], [13, -13]);
    stroke(pen, DARK, 4.5);
    line(pen, [-13, 13], [13, -13]);
    stroke(pen, GREY, 1.8);
  },
  off: (pen, _colour) => {
    disc(pen, 8);
    fill(pen, DARK);
    stroke(pen, "#6d788b", 1.6);
    line(pen, [-3.6, -3.6], [3.6, 3.6]);
    stroke(pen, "#6d788b", 1.6);
    line(pen, [3.6, -3.6], [-3.6, 3.6]);
    stroke(pen, "#6d788b", 1.6);
  },
};

function canvas(scale: number, size: number): CanvasRenderingContext2D {
  const sheet = document.createElement("canvas");
  sheet.width = sheet.height = size * scale;
  const pen = sheet.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("this browser has no 2D canvas");
  pen.scale(scale, scale);
  pen.translate(size / 2, size / 2);
  pen.lineJoin = "round";
  return pen;
}

/** Draw one symbol; `text` is the team's glyph in the page's language. */
export function drawSymbol(kind: Kind, state: UnitState, text: string, scale: number): HTMLCanvasElement {
  const pen = canvas(scale, SYMBOL_PX);
  SHAPES[state](pen, KIND_COLOUR[kind], text);
  return pen.canvas;
}

const HEADING_PX = 52;

/** The pointer that shows a moving unit's course; drawn pointing north. */
export function drawHeading(kind: Kind, scale: number): HTMLCanvasElement {
  const pen = canvas(scale, HEADING_PX);
  pen.beginPath();
  pen.moveTo(0, -24);
  pen.lineTo(6.5, -14.5);
  pen.quadraticCurveTo(0, -17.5, -6.5, -14.5);
  pen.closePath();
  fill(pen, KIND_COLOUR[kind]);
  stroke(pen, DARK, 1);
  return pen.canvas;
}

const SITE_PX = 18;

/** A key site's mark: a small pale shield. */
export function drawSite(scale: number): HTMLCanvasElement {
  const pen = canvas(scale, SITE_PX);
  pen.beginPath();
  pen.moveTo(0, -7);
  pen.lineTo(6, -4.5);
  pen.lineTo(6, 1);
  pen.quadraticCurveTo(5, 5.5, 0, 7.5);
  pen.quadraticCurveTo(-5, 5.5, -6, 1);
  pen.lineTo(-6, -4.5);
  pen.closePath();
  fill(pen, "#cfe0ff");
  stroke(pen, DARK, 1.6);
  return pen.canvas;
}

/** The pixels of a drawing, the way MapLibre takes them. */
export function pixels(drawing: HTMLCanvasElement): ImageData {
  const pen = drawing.getContext("2d");
  if (!pen) throw new Error("this browser has no 2D canvas");
  return pen.getImageData(0, 0, drawing.width, drawing.height);
}
