/**
 * The page's sounds, made here: no file to load, nothing to go missing. The alarm's is a two-tone siren; the
 * one for "no alarm would be heard here" is two calm falling notes, again every ten seconds.
 *
 * Browsers keep a page silent until somebody has clicked or typed, so the sound has states that the page
 * always shows: "blocked" (nobody would hear an alarm), "ready", "sounding" (the siren), "deaf" (the notes).
 */

export type Signal = "alarm" | "deaf";
export type SoundState = "blocked" | "ready" | "sounding" | "deaf";

const LOW_HZ = 740;
const HIGH_HZ = 990;
const SWITCHES_HZ = 1.6;
const LOUDNESS = 0.5;
const RAMP_S = 0.02; // without it every start and stop clicks
const TEST_S = 1.3;
const CALM_HZ = [523, 392];
const CALM_LOUDNESS = 0.3;
const CALM_NOTE_S = 0.45;
const CALM_EVERY_MS = 10_000;

interface Tone {
  stop: () => void;
}

/** Makes the sound that is wanted; `changed` is called whenever the state may have changed. */
export class Siren {
  #context: AudioContext | undefined;
  #tone: Tone | undefined;
  #playing: Signal | undefined;
  #wanted: Signal | undefined;
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
    return this.#wanted === "alarm" ? "sounding" : (this.#wanted ?? "ready");
  }

  /** Call from a click or a key press; harmless when the sound is enabled already. */
  async enable(): Promise<void> {
    if (this.#context && this.#context.state !== "running") await this.#context.resume();
    this.#apply();
  }

  /** A short sample, so that a shift can begin by hearing it. */
  async test(): Promise<void> {
    await this.enable();
    if (this.#context?.state !== "running" || this.#playing === "alarm") return;
    const tone = startSiren(this.#context);
    setTimeout(() => tone.stop(), TEST_S * 1000);
  }

  /** Sound until told otherwise. */
  want(signal: Signal | undefined): void {
    if (signal === this.#wanted) return;
    this.#wanted = signal;
    this.#apply();
  }

  #apply(): void {
    const context = this.#context;
    const signal = context?.state === "running" ? this.#wanted : undefined;
    if (signal !== this.#playing) {
      this.#tone?.stop();
      this.#tone = context && signal && START[signal](context);
      this.#playing = signal;
    }
    this.#changed();
  }
}

const START: Record<Signal, (context: AudioContext) => Tone> = { alarm: startSiren, deaf: startCalm };

function startCalm(context: AudioContext): Tone {
  playCalm(context);
  const timer = setInterval(() => playCalm(context), CALM_EVERY_MS);
  return { stop: () => clearInterval(timer) };
}

function playCalm(context: AudioContext): void {
  CALM_HZ.forEach((frequency, i) => {
    const from = context.currentTime + i * CALM_NOTE_S;
    const note = new OscillatorNode(context, { type: "sine", frequency });
    const loudness = new GainNode(context, { gain: 0 });
    note.connect(loudness).connect(context.destination);
    loudness.gain.setTargetAtTime(CALM_LOUDNESS, from, RAMP_S);
    loudness.gain.setTargetAtTime(0, from + CALM_NOTE_S - RAMP_S * 5, RAMP_S);
    note.start(from);
    note.stop(from + CALM_NOTE_S);
  });
}

function startSiren(context: AudioContext): Tone {
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
