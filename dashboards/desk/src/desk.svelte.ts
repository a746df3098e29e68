/** What the operator does: who is signed in, what is selected, taking, closing, keys. */

import {
  ApiError,
  api,
  type Asked,
  type CommandVerb,
  type Emergency,
  type Me,
  type SignedIn,
  type Unit,
  type Verdict,
} from "./api";
import { Board } from "./board.svelte";
import { say } from "./lang.svelte";
import { instantMs } from "./lib/time";
import type { Point } from "./lib/geo";
import { openStream } from "./stream";
import { emergencyPlace, keyOf, placeOf } from "./units";
import type { Watch } from "./watch.svelte";

/** What the map can be asked to do by the rest of the page. */
export interface MapHandle {
  centre(at: Point): void;
  shows(at: Point): boolean;
}

/** What the alarm list can be asked by the keys. */
export interface ListHandle {
  /** Whether the row can be read where the list stands now. */
  isInView(emergencyId: string): boolean;
  reveal(emergencyId: string): void;
}

const HISTORY_MS = 10 * 60_000;
const TOAST_MS = 6_000;
/** How long rows stand still before a click on them counts. */
export const SETTLES_MS = 400;

export class Desk {
  readonly board = new Board();
  readonly isWall = new URLSearchParams(location.search).get("wall") === "1";

  me = $state.raw<SignedIn>();
  selectedKey = $state<string>();
  /** The emergency whose closing dialog is open. */
  closing = $state.raw<Emergency>();
  /** Why the last act failed, by emergency. */
  errors = $state<Record<string, string>>({});
  busy = $state<Record<string, boolean>>({});
  /** Alarms that have been on the screen long enough to be taken on purpose. */
  settled = $state<Record<string, true>>({});
  toast = $state("");
  map = $state.raw<MapHandle>();
  list = $state.raw<ListHandle>();

  /** As they stand on the page: what needs a hand is never below what has one. See the board for the rest. */
  readonly rows = $derived(
    this.board.emergencies.toSorted((a, b) => Number(b.phase === "open") - Number(a.phase === "open")),
  );
  readonly untaken = $derived(this.rows.filter((each) => each.phase === "open"));
  readonly selected = $derived(
    this.selectedKey === undefined ? undefined : this.board.units.get(this.selectedKey),
  );
  /** Whether an act of ours waits for its answer. */
  readonly isActing = $derived(Object.keys(this.busy).length > 0);
  readonly mayAct = $derived(!this.isWall && (this.me?.roles.includes("dispatcher") ?? false));

  readonly #order = $derived(this.rows.map((each) => each.emergency_id).join("\n"));
  /** What F8 has shown last, and the rows among which it was. */
  #shown = $state.raw({ id: "", order: "" });
  /** What F8 shows: each row in turn, from the top again when the rows are others. */
  readonly next = $derived.by(() => {
    const isSame = this.#shown.order === this.#order;
    const at = isSame ? this.rows.findIndex((each) => each.emergency_id === this.#shown.id) : -1;
    return this.rows[(at + 1) % Math.max(1, this.rows.length)];
  });

  constructor(readonly watch: Watch) {}

  /** Open the stream; returns how to stop everything again. */
  start(onMe: (me: Me) => void): () => void {
    const stopClock = this.board.start();
    const closeStream = openStream({
      message: (name, data) => this.board.hear(name, data),
      connected: (is) => this.board.setConnected(is),
      me: onMe,
    });
    return () => {
      closeStream();
      stopClock();
    };
  }

  select(key: string | undefined, centre = false): void {
    this.selectedKey = key;
    if (key === undefined) return;
    void this.loadTrail(key);
    const at = placeOf(this.board.units.get(key));
    if (centre && at) this.map?.centre(at);
  }

  /** What the gateway remembers of the last minutes; without the right to see it, what we heard. */
  async loadTrail(key: string): Promise<void> {
    try {
      const from = new Date(this.board.nowMs - HISTORY_MS).toISOString();
      const track = await api.track(key, from);
      this.board.addHistory(
        key,
        track.features.flatMap(({ geometry, properties }) => {
          if (geometry?.type !== "Point") return [];
          const [lon_deg = 0, lat_deg = 0] = geometry.coordinates;
          const at: unknown = properties?.["received_at"] ?? properties?.["at"];
          const ms = instantMs(typeof at === "string" ? at : undefined);
          return ms === undefined ? [] : [{ lat_deg, lon_deg, ms }];
        }),
      );
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  async take(emergency: Emergency): Promise<void> {
    await this.#act(emergency, (me) => api.take(me, emergency.emergency_id));
  }

  async close(emergency: Emergency, verdict: Verdict, note: string): Promise<boolean> {
    const done = await this.#act(emergency, (me) =>
      api.close(me, emergency.emergency_id, verdict, note),
    );
    if (done) {
      this.closing = undefined;
      this.showToast(say("closed", { who: this.board.nameOf(emergency), verdict: say(`verdict_${verdict}`) }));
    }
    return done;
  }

  /** Dispatchers ask every radio, technicians those of the workshop. */
  mayCommand(unit: Unit): boolean {
    const roles = this.me?.roles ?? [];
    return !this.isWall && (roles.includes("dispatcher") || (roles.includes("technician") && unit.is_test === true));
  }

  /** Ask a radio for something; throws the gateway's refusal. */
  async command(unit: Unit, verb: CommandVerb, asked: Asked): Promise<void> {
    if (this.me) this.board.putAsked(await api.command(this.me, keyOf(unit), verb, asked));
  }

  goTo(emergency: Emergency): void {
    const unit = this.board.unitOf(emergency);
    const place = emergencyPlace(emergency, unit);
    if (place) this.map?.centre(place.at);
    else this.showToast(`${this.board.nameOf(emergency)} · ${say("noPlace")}`);
  }

  /** F2: the newest one, and never unseen: where its row is out of view, the press brings it there. */
  takeNewest(): void {
    const newest = this.untaken.find((each) => this.settled[each.emergency_id]);
    if (!newest || !this.mayAct) return;
    if (this.list?.isInView(newest.emergency_id)) void this.take(newest);
    else this.list?.reveal(newest.emergency_id);
  }

  /** F4: asks before it closes, with the name. */
  closeNewest(): void {
    const newest = this.board.emergencies.find((each) => each.phase === "taken");
    if (newest && this.mayAct) this.closing = newest;
  }

  goToNext(): void {
    const next = this.next;
    if (!next) return;
    this.#shown = { id: next.emergency_id, order: this.#order };
    this.goTo(next);
  }

  showToast(text: string): void {
    this.toast = text;
    setTimeout(() => {
      if (this.toast === text) this.toast = "";
    }, TOAST_MS);
  }

  async #act(emergency: Emergency, act: (me: SignedIn) => Promise<Emergency>): Promise<boolean> {
    const id = emergency.emergency_id;
    if (!this.me || this.busy[id]) return false;
    this.busy[id] = true;
    delete this.errors[id];
    try {
      this.board.putAnswer(await act(this.me));
      return true;
    } catch (error) {
      this.errors[id] = explain(error);
      return false;
    } finally {
      delete this.busy[id];
    }
  }
}

/** An error of the gateway in words that tell the operator what to do. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  switch (error.code) {
    case "offline":
      return say("errorOffline");
    case "not_signed_in":
      return say("errorSignedOut");
    case "wrong_credentials":
      return say("errorCredentials");
    case "forbidden":
      return say("errorForbidden");
    case "not_stored":
      return say("errorNotStored");
    case "busy":
      return say("errorBusy");
    case "locked":
      return say("errorLocked", { n: Math.max(1, Math.ceil((error.retryAfterS ?? 60) / 60)) });
    case "not_allowed":
    case "only_test_radios":
    case "invalid":
    case "not_found":
      return error.detail || say("errorServer", { status: error.status });
    default: {
      const said = say("errorServer", { status: error.status });
      return error.detail ? `${said}: ${error.detail}` : said;
    }
  }
}
