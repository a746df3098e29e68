/**
 * Everything the page says to the gateway and hears from it; the shapes are those of docs/desk-api.md.
 *
 * A value that is not known is absent.
 */

export type Role = "viewer" | "dispatcher" | "technician" | "admin";
export type UnitState = "fresh_fix" | "old_fix" | "no_fix" | "silent" | "off";
export type TeamKind = "stationed" | "mobile" | "area" | "village" | "watch" | "police" | "other";
export type EmergencyKind = "alarm" | "call" | "man_down" | "lone_worker" | "vehicle";
export type Phase = "open" | "taken" | "closed";
export type Verdict = "true" | "false" | "drill";
export type CommandVerb = "locate" | "track" | "text" | "check" | "emergency_stop";
export type CommandState = "waiting" | "sent" | "delivered" | "refused" | "timed_out" | "expired";
export type LinkState = "connecting" | "up" | "silent" | "down";

/** RFC 3339, UTC. */
export type Instant = string;

export interface Place {
  site: string;
  site_name: string;
  zone: string;
}

export interface SignedIn extends Place {
  signed_in: true;
  name: string;
  roles: Role[];
  team?: string;
  csrf_token: string;
  expires_at: Instant;
}

export type Me = SignedIn | (Place & { signed_in: false });

export type UnitClass = "emergency" | "responding" | "patrol" | "idle";

export interface Channel {
  channel: string;
  budget_a_min: number;
  asked_last_min: number;
  promises: Partial<Record<UnitClass, { units: number; worst_age_s: number }>>;
}

export interface Gateway extends Place {
  version: string;
  now: Instant;
  is_accepting: boolean;
  why?: string;
  airtime?: Channel[];
}

export interface Unit {
  radio_id: string;
  unit_id?: string;
  unit_name?: string;
  team?: string;
  team_name?: string;
  team_kind?: string;
  state: UnitState;
  state_since: Instant;
  lat_deg?: number;
  lon_deg?: number;
  altitude_m?: number;
  speed_mps?: number;
  course_deg?: number;
  accuracy_m?: number;
  satellites?: number;
  fix_at?: Instant;
  fix_received_at?: Instant;
  heard_at?: Instant;
  battery_pct?: number;
  rssi_dbm?: number;
  link_id?: string;
  driver?: string;
  has_emergency?: boolean;
  is_test?: boolean;
  doubt?: string;
}

export interface Command {
  command_id: string;
  verb: CommandVerb;
  radio_id: string;
  unit_id?: string;
  by: string;
  state: CommandState;
  queued_at: Instant;
  changed_at: Instant;
  why?: string;
}

/** What a command says beside its verb. */
export type Asked = Record<string, never> | { body: string } | { every_s: number; for_s: number };

/** By driver: the commands that are switched on and known to it. */
export type Possible = Record<string, CommandVerb[]>;

export interface Link {
  link_id: string;
  driver: string;
  state: LinkState;
  since: Instant;
  why?: string;
  place?: string;
  peers?: number;
  last_heard_at?: Instant;
}

export interface KeySite {
  id: string;
  name: string;
  kind?: string;
  lat_deg: number;
  lon_deg: number;
  ring_m: number;
  team?: string;
}

export interface EmergencyFix {
  lat_deg: number;
  lon_deg: number;
  fix_at?: Instant;
  age_s?: number;
}

export interface Emergency {
  emergency_id: string;
  phase: Phase;
  link_id: string;
  radio_id: string;
  unit_id?: string;
  unit_name?: string;
  team?: string;
  kind: EmergencyKind;
  talkgroup_id?: string;
  fix?: EmergencyFix;
  is_drill: boolean;
  verified: boolean;
  doubt?: string;
  raised_at: Instant;
  refreshed_at: Instant;
  frames: number;
  ended_at?: Instant;
  taken_at?: Instant;
  taken_by?: string;
}

export interface BaseMap {
  kind: "geojson" | "pmtiles";
  url: string;
}

export interface Snapshot {
  gateway: Gateway;
  audit_ok: boolean;
  units: Unit[];
  links?: Link[];
  sites: KeySite[];
  emergencies: Emergency[];
  map: BaseMap | null;
  /** Absent for a viewer, as `possible`. */
  commands?: Command[];
  possible?: Possible;
}

/** The gateway's messages on the event stream, by name. */
export interface Messages {
  snapshot: Snapshot;
  units: { units: Unit[] };
  emergency: { emergency: Emergency };
  links: { links: Link[] };
  command: { command: Command };
  gateway: { gateway: Gateway; audit_ok: boolean };
  heartbeat: { now: Instant };
  bye: { why: string };
}

export type MessageName = keyof Messages;

export interface LinkAsks {
  asks_name: boolean;
  name?: string;
  roles: Role[];
}

export interface SignIn {
  token?: string;
  name?: string;
  password?: string;
}

/** The gateway said no, or could not be reached (`status` 0); `code` is its own word for why. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly retryAfterS?: number,
  ) {
    super(detail);
  }
}

const TIMEOUT_MS = 10_000;

async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...init,
    });
  } catch {
    throw new ApiError(0, "offline", "");
  }
  const body = await bodyOf(answer);
  if (answer.ok) return body as T;
  const said = (body ?? {}) as { error?: string; detail?: string; retry_after_s?: number };
  throw new ApiError(answer.status, said.error ?? "", said.detail ?? "", said.retry_after_s);
}

async function bodyOf(answer: Response): Promise<unknown> {
  if (answer.status === 204) return undefined;
  try {
    return await answer.json();
  } catch {
    if (!answer.ok) return undefined;
    throw new ApiError(answer.status, "not_json", "");
  }
}

function post<T>(path: string, body: object, csrfToken?: string): Promise<T> {
  const headers = new Headers({ "Content-Type": "application/json" });
  if (csrfToken) headers.set("X-CSRF-Token", csrfToken);
  return request<T>(path, { method: "POST", headers, body: JSON.stringify(body) });
}

export const api = {
  me: () => request<Me>("/api/me"),
  askLink: (token: string) => post<LinkAsks>("/api/sign-in/link", { token }),
  signIn: (how: SignIn) => post<SignedIn>("/api/sign-in", how),
  signOut: (me: SignedIn) => post<void>("/api/sign-out", {}, me.csrf_token),
  take: (me: SignedIn, id: string) =>
    post<Emergency>(`/api/emergencies/${encodeURIComponent(id)}/take`, {}, me.csrf_token),
  close: (me: SignedIn, id: string, verdict: Verdict, note: string) =>
    post<Emergency>(
      `/api/emergencies/${encodeURIComponent(id)}/close`,
      note ? { verdict, note } : { verdict },
      me.csrf_token,
    ),
  command: (me: SignedIn, key: string, verb: CommandVerb, asked: Asked) =>
    post<Command>(`/api/units/${encodeURIComponent(key)}/${verb}`, asked, me.csrf_token),
  /** Where a unit or a radio has been since `from`. */
  track: (who: string, from: Instant) => {
    const name = encodeURIComponent(who).replaceAll("%3A", ":");
    return request<GeoJSON.FeatureCollection>(
      `/api/track/${name}.geojson?from=${encodeURIComponent(from)}&limit=1000`,
    );
  },
  map: (url: string) => request<GeoJSON.FeatureCollection>(url),
};
