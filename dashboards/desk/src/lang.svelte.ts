/** The page's language: Chinese until somebody chooses otherwise; the choice is remembered. */

import { en, zh, type Word } from "./words";

export type Lang = "zh" | "en";

const KEY = "pdt-desk-language";

/** A browser that keeps nothing (private mode, a locked kiosk) is no reason to fail. */
export function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Not kept; it holds until the page is closed.
  }
}

class Language {
  current = $state<Lang>(remembered(KEY) === "en" ? "en" : "zh");

  toggle(): void {
    this.current = this.current === "zh" ? "en" : "zh";
    remember(KEY, this.current);
  }
}

export const language = new Language();

/** The word in the page's language, with `{name}` filled in. */
export function say(word: Word, values: Record<string, string | number> = {}): string {
  const text: string = (language.current === "zh" ? zh : en)[word];
  return text.replace(/\{(\w+)\}/g, (hole, name: string) => String(values[name] ?? hole));
}

/** An age in the largest fitting unit: 12 s, 4 min, 2 h, 3 d. */
export function sayAge(seconds: number): string {
  if (seconds < 60) return say("second", { n: Math.floor(seconds) });
  if (seconds < 3600) return say("minute", { n: Math.floor(seconds / 60) });
  if (seconds < 2 * 86_400) return say("hour", { n: Math.floor(seconds / 3600) });
  return say("day", { n: Math.floor(seconds / 86_400) });
}

/** A distance as people say it: 40 m, 320 m, 1.4 km. */
export function sayDistance(metres: number): string {
  if (metres < 995) {
    const step = metres < 100 ? 5 : 10;
    return say("metre", { n: Math.round(metres / step) * step });
  }
  return say("kilometre", { n: (metres / 1000).toFixed(1) });
}
