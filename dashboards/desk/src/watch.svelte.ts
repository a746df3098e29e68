/** What the page is heard for. It outlives the desk, so that a session that ends silences no alarm. */

import type { EmergencyKind } from "./api";
import { Siren, type SoundState } from "./lib/sound";

/** So long nothing may be heard of the gateway before it is said aloud; a reconnect takes less. */
export const DEAF_AFTER_MS = 15_000;

export interface Untaken {
  count: number;
  /** Of the newest one. */
  kind: EmergencyKind;
  name: string;
}

export class Watch {
  sound = $state<SoundState>("blocked");
  /** The alarms that nobody has taken, as last known; undefined where there is none. */
  untaken = $state.raw<Untaken>();
  /** An alarm would not reach this page now. */
  isDeaf = $state(false);

  readonly #siren = new Siren(() => this.#look());

  constructor() {
    this.#look();
  }

  setUntaken(untaken: Untaken | undefined): void {
    this.untaken = untaken;
    this.#apply();
  }

  setDeaf(is: boolean): void {
    this.isDeaf = is;
    this.#apply();
  }

  /** Nobody is at this desk, and nobody expects it to sound. */
  rest(): void {
    this.untaken = undefined;
    this.isDeaf = false;
    this.#apply();
  }

  enableSound(): void {
    void this.#siren.enable();
  }

  testSound(): void {
    void this.#siren.test();
  }

  #apply(): void {
    this.#siren.want(this.untaken ? "alarm" : this.isDeaf ? "deaf" : undefined);
  }

  #look(): void {
    this.sound = this.#siren.state;
  }
}
