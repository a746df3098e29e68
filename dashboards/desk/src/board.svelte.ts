/** The one store: everything the event stream says, ready to be shown. */

import type {
  BaseMap,
  Command,
  Emergency,
  Gateway,
  KeySite,
  Link,
  MessageName,
  Messages,
  Possible,
  Unit,
} from "./api";
import type { Point } from "./lib/geo";
import { instantMs } from "./lib/time";
import { keyOf, numberOf, placeOf } from "./units";
import { DEAF_AFTER_MS } from "./watch.svelte";

const GATHER_MS = 100; // the rest of a snapshot follows in pieces; show them as one
const TICK_MS = 500;
const QUIET_MS = 5_000; // older than this and a broken connection: the picture is old
const SILENCE_MS = 5_000; // the gateway speaks at least every 2 s; three more for the way
const TRAIL_MS = 10 * 60_000;
const TRAIL_POINTS = 300;
const TRAILS = 2_000; // more units than that have trails from the gateway's history alone
const COMMANDS_KEPT = 1_000;

export interface TrailPoint extends Point {
  ms: number;
}

export class Board {
  gateway = $state.raw<Gateway>();
  auditOk = $state(true);
  units = $state.raw<ReadonlyMap<string, Unit>>(new Map());
  links = $state.raw<readonly Link[]>();
  sites = $state.raw<readonly KeySite[]>([]);
  /** Open and taken ones, newest first. */
  emergencies = $state.raw<readonly Emergency[]>([]);
  map = $state.raw<BaseMap | null>(null);
  /** Commands to radios, newest first. */
  commands = $state.raw<readonly Command[]>([]);
  possible = $state.raw<Possible>({});

  /** The gateway's clock, milliseconds since 1970; moves twice a second. */
  nowMs = $state(Date.now());
  connected = $state(false);
  /** Seconds without a word from the gateway. */
  quietS = $state(0);
  isOld = $state(false);
  /** For a while no alarm would have come here: the gateway is away, or takes none in. */
  isDeaf = $state(false);
  hasData = $state(false);

  #clockOffsetMs = Date.now() - performance.now();
  #heardMs = performance.now();
  #acceptingMs = performance.now(); // the last word of a gateway that takes alarms in
  #pending: Map<string, Unit> | undefined;
  #trails = new Map<string, TrailPoint[]>();

  /** Whether the list of alarms is that of now; an empty one says nothing otherwise. */
  get knowsAlarms(): boolean {
    return this.hasData && !this.isOld && (this.gateway?.is_accepting ?? false);
  }

  get zone(): string {
    return this.gateway?.zone ?? "Asia/Shanghai";
  }

  /** Call once; returns how to stop the clock. */
  start(): () => void {
    const timer = setInterval(() => this.#tick(), TICK_MS);
    return () => clearInterval(timer);
  }

  setConnected(is: boolean): void {
    this.connected = is;
    this.#tick();
  }

  hear<N extends MessageName>(name: N, data: Messages[N]): void {
    this.#heardMs = performance.now();
    const hearers: { [M in MessageName]: (data: Messages[M]) => void } = {
      snapshot: (said) => this.#snapshot(said),
      units: (said) => this.#putUnits(said.units),
      emergency: (said) => this.#putEmergency(said.emergency),
      links: (said) => this.#putLinks(said.links),
      command: (said) => this.#putCommand(said.command),
      gateway: (said) => {
        this.#setClock(said.gateway.now);
        this.gateway = said.gateway;
        this.auditOk = said.audit_ok;
      },
      heartbeat: (said) => this.#setClock(said.now),
      bye: () => undefined,
    };
    hearers[name](data);
    if (this.gateway?.is_accepting) this.#acceptingMs = this.#heardMs;
    this.#tick();
  }

  /**
   * The answer to an act of our own. The stream may have said more since, so an answer changes a
   * row that is there and never brings one back, and an earlier taking hides no later one.
   */
  putAnswer(answer: Emergency): void {
    const known = this.emergencies.find((each) => each.emergency_id === answer.emergency_id);
    if (!known) return;
    const isTaking = answer.phase === "taken";
    if (isTaking && (instantMs(answer.taken_at) ?? 0) < (instantMs(known.taken_at) ?? 0)) return;
    this.#putEmergency(answer);
  }

  /** The answer to a request of our own, unless the stream was faster. */
  putAsked(command: Command): void {
    if (!this.commands.some((each) => each.command_id === command.command_id)) this.#putCommand(command);
  }

  /** What was asked of a unit, whichever of its radios it was, the newest first. */
  commandsOf(unit: Unit): readonly Command[] {
    return this.commands
      .filter((each) => each.radio_id === unit.radio_id || (each.unit_id !== undefined && each.unit_id === unit.unit_id))
      .sort((a, b) => (instantMs(b.queued_at) ?? 0) - (instantMs(a.queued_at) ?? 0));
  }

  unitOf(emergency: Emergency): Unit | undefined {
    return this.units.get(keyOf(emergency)) ?? this.units.get(emergency.radio_id);
  }

  /** What to call a unit; a radio without a unit is called by its number. */
  nameOf(who: { unit_name?: string; unit_id?: string; radio_id: string }): string {
    return who.unit_name ?? who.unit_id ?? numberOf(who.radio_id);
  }

  teamOf(emergency: Emergency): string | undefined {
    const unit = this.unitOf(emergency);
    return unit?.team_name ?? unit?.team ?? emergency.team;
  }

  trail(key: string): readonly TrailPoint[] {
    return this.#trails.get(key) ?? [];
  }

  /** Points from the gateway's own history go in front of those heard since. */
  addHistory(key: string, points: readonly TrailPoint[]): void {
    const heard = this.#trails.get(key) ?? [];
    const first = heard[0]?.ms ?? Infinity;
    this.#trails.set(key, [...points.filter((point) => point.ms < first), ...heard]);
  }

  #putCommand(command: Command): void {
    const others = this.commands.filter((each) => each.command_id !== command.command_id);
    this.commands = [command, ...others].slice(0, COMMANDS_KEPT);
  }

  #snapshot(said: Messages["snapshot"]): void {
    this.#setClock(said.gateway.now);
    this.gateway = said.gateway;
    this.auditOk = said.audit_ok;
    this.links = said.links;
    this.sites = said.sites;
    this.emergencies = inOrder(said.emergencies.filter((each) => each.phase !== "closed"));
    if (said.map?.url !== this.map?.url) this.map = said.map;
    this.commands = [...(said.commands ?? [])].reverse();
    this.possible = said.possible ?? {};
    this.#gather(new Map());
    this.#putUnits(said.units);
    this.hasData = true;
  }

  #putEmergency(emergency: Emergency): void {
    const id = emergency.emergency_id;
    const others = this.emergencies.filter((each) => each.emergency_id !== id);
    this.emergencies = inOrder(
      emergency.phase === "closed" ? others : [...others, emergency],
    );
  }

  #putUnits(units: readonly Unit[]): void {
    const pending = this.#pending ?? this.#gather(new Map(this.units));
    for (const unit of units) {
      const key = keyOf(unit);
      pending.set(key, unit);
      if (unit.unit_id !== undefined) pending.delete(unit.radio_id); // registered since
      this.#follow(key, unit);
    }
  }

  #gather(start: Map<string, Unit>): Map<string, Unit> {
    if (!this.#pending) setTimeout(() => this.#flush(), GATHER_MS);
    this.#pending = start;
    return start;
  }

  #flush(): void {
    if (this.#pending) this.units = this.#pending;
    this.#pending = undefined;
  }

  #follow(key: string, unit: Unit): void {
    const at = placeOf(unit);
    const ms = instantMs(unit.fix_received_at);
    if (!at || ms === undefined) return;
    const trail = this.#trails.get(key) ?? [];
    if (!trail.length && this.#trails.size >= TRAILS) return;
    if (trail.length && ms <= (trail.at(-1)?.ms ?? 0)) return;
    trail.push({ ...at, ms });
    while (trail.length > TRAIL_POINTS || (trail[0] && trail[0].ms < ms - TRAIL_MS)) trail.shift();
    this.#trails.set(key, trail);
  }

  #putLinks(links: readonly Link[]): void {
    const byId = new Map((this.links ?? []).map((link) => [link.link_id, link]));
    for (const link of links) byId.set(link.link_id, link);
    this.links = [...byId.values()];
  }

  #setClock(now: string): void {
    const ms = instantMs(now);
    if (ms !== undefined) this.#clockOffsetMs = ms - performance.now();
  }

  #tick(): void {
    const now = performance.now();
    this.nowMs = this.#clockOffsetMs + now;
    const quiet = now - this.#heardMs;
    this.quietS = Math.floor(quiet / 1000);
    this.isOld = quiet > (this.connected ? SILENCE_MS : QUIET_MS);
    this.isDeaf = now - this.#acceptingMs > DEAF_AFTER_MS;
  }
}

/** Verified ones before all others, so that a forged alarm never pushes a real one down. */
function inOrder(emergencies: readonly Emergency[]): Emergency[] {
  const raised = (each: Emergency) => instantMs(each.raised_at) ?? 0;
  return [...emergencies].sort(
    (a, b) => Number(b.verified) - Number(a.verified) || raised(b) - raised(a),
  );
}
