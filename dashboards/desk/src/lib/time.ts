/** Ages and clocks. The gateway's clock counts, never the operator's: that one may be wrong. */

/** Milliseconds since 1970 of an RFC 3339 instant; undefined where there is none. */
export function instantMs(text: string | null | undefined): number | undefined {
  if (!text) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Seconds between `instant` and `nowMs`, never negative; undefined where there is no instant. */
export function ageS(instant: string | null | undefined, nowMs: number): number | undefined {
  const ms = instantMs(instant);
  return ms === undefined ? undefined : Math.max(0, (nowMs - ms) / 1000);
}

/** Minutes and seconds as an alarm counts them: 0:07, 12:40, 1:02:03. */
export function stopwatch(seconds: number): string {
  const s = Math.floor(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, options: Intl.DateTimeFormatOptions, key: string) {
  const name = `${zone} ${key}`;
  let made = formats.get(name);
  if (!made) {
    made = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone, hourCycle: "h23" });
    formats.set(name, made);
  }
  return made;
}

/** 03:07:12 in the site's zone. */
export function clockTime(ms: number, zone: string): string {
  return format(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }, "time").format(ms);
}

/** 2026-11-24 in the site's zone. */
export function calendarDate(ms: number, zone: string): string {
  const parts = format(
    zone,
    { year: "numeric", month: "2-digit", day: "2-digit" },
    "date",
  ).formatToParts(ms);
  const of = (type: string) => parts.find((part) => part.type === type)?.value ?? "";
  return `${of("year")}-${of("month")}-${of("day")}`;
}

/** The time alone on the same day of the site, with the date in front of it otherwise. */
export function moment(text: string | null | undefined, nowMs: number, zone: string): string {
  const ms = instantMs(text);
  if (ms === undefined) return "";
  const day = calendarDate(ms, zone);
  const time = clockTime(ms, zone);
  return day === calendarDate(nowMs, zone) ? time : `${day.slice(5)} ${time}`;
}
