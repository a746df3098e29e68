/**
 * The alarm's two-tone sound, made here: no file to load, nothing to go missing.
 *
 * Browsers keep a page silent until somebody has clicked or typed, so the sound has three states that
 * the page always shows: "blocked" (nobody would hear an alarm), "ready", "sounding".
 */

export type SoundState = "blocked" | "ready" | "sounding";

const LOW_HZ = 740;
const HIGH_HZ = 990;
const SWITCHES_HZ = 1.6;
const LOUDNESS = 0.5;
const RAMP_S = 0.02; // without it every start and stop clicks
const TEST_S = 1.3;

interface Tone {
  stop: () => void;
}

/** A two-tone generator; `changed` is called whenever the state may have changed. */
export class Siren {
  #context: AudioContext | undefined;
  #tone: Tone | undefined;
  #wanted = false;
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
    if (typeof AudioContext === "undefined") return;
    // Where the site's browser policy allows sound without a gesture this is running at once.
    this.#context = new AudioContext();
    this.#context.addEventListener("statechange", () => this.#apply());
  }

  get state(): SoundState {
    if (this.#context?.state !== "running") return "blocked";
    return this.#wanted ? "sounding" : "ready";
  }

  /** Call from a click or a key press; harmless when the sound is enabled already. */
  async enable(): Promise<void> {
    if (this.#context && this.#context.state !== "running") await this.#context.resume();
    this.#apply();
  }

  /** A short sample, so that a shift can begin by hearing it. */
  async test(): Promise<void> {
    await this.enable();
    if (this.#context?.state !== "running" || this.#tone) return;
    const tone = startTone(this.#context);
    setTimeout(() => tone.stop(), TEST_S * 1000);
  }

  /** Sound until told otherwise. */
  want(on: boolean): void {
    if (on === this.#wanted) return;
    this.#wanted = on;
    this.#apply();
  }

  #apply(): void {
    const context = this.#context;
    if (this.#wanted && context?.state === "running") {
      this.#tone ??= startTone(context);
    } else {
      this.#tone?.stop();
      this.#tone = undefined;
    }
    this.#changed();
  }
}

function startTone(context: AudioContext): Tone {
  const carrier = new OscillatorNode(context, {
    type: "triangle",
    frequency: (LOW_HZ + HIGH_HZ) / 2,
  });
  const swing = new OscillatorNode(context, { type: "square", frequency: SWITCHES_HZ });
  const depth = new GainNode(context, { gain: (HIGH_HZ - LOW_HZ) / 2 });
  const loudness = new GainNode(context, { gain: 0 });
  swing.connect(depth).connect(carrier.frequency);
  carrier.connect(loudness).connect(context.destination);
  loudness.gain.setTargetAtTime(LOUDNESS, context.currentTime, RAMP_S);
  carrier.start();
  swing.start();
  return {
    stop: () => {
      const end = context.currentTime + RAMP_S * 6;
      loudness.gain.setTargetAtTime(0, context.currentTime, RAMP_S);
      carrier.stop(end);
      swing.stop(end);
    },
  };
}
