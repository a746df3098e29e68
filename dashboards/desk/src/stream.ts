/** The event stream, kept open for ever: it comes back after every loss, with a fresh snapshot. */

import { api, type Me, type MessageName, type Messages } from "./api";

const NAMES: readonly MessageName[] = [
  "snapshot",
  "units",
  "emergency",
  "links",
  "command",
  "gateway",
  "heartbeat",
  "bye",
];

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;
const DEAD_AFTER_MS = 12_000; // the gateway sends a heartbeat every 5 s

export interface StreamEvents {
  message: <N extends MessageName>(name: N, data: Messages[N]) => void;
  /** The connection broke, or has come to be. */
  connected: (is: boolean) => void;
  /** Who is signed in, asked anew before each try to come back. */
  me: (me: Me) => void;
}

/** Open the stream; returns how to close it for good. */
export function openStream(events: StreamEvents): () => void {
  let source: EventSource | undefined;
  let pauseMs = FIRST_PAUSE_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;

  function watch(): void {
    clearTimeout(timer);
    timer = setTimeout(lost, DEAD_AFTER_MS);
  }

  function connect(): void {
    const opened = new EventSource("/api/stream");
    source = opened;
    watch();
    for (const name of NAMES) {
      opened.addEventListener(name, (event: MessageEvent<string>) => {
        if (opened !== source) return;
        watch();
        heard(name, event.data);
      });
    }
    // The browser's own retry gives up after an error status, so every retry is ours.
    opened.addEventListener("error", () => {
      if (opened === source) lost();
    });
  }

  function heard(name: MessageName, text: string): void {
    const data = JSON.parse(text) as Messages[typeof name];
    if (name === "snapshot") {
      pauseMs = FIRST_PAUSE_MS;
      events.connected(true);
    }
    events.message(name, data);
    if (name === "bye") lost();
  }

  function lost(): void {
    source?.close();
    source = undefined;
    clearTimeout(timer);
    if (ended) return;
    events.connected(false);
    timer = setTimeout(() => void again(), pauseMs * (0.5 + Math.random() / 2));
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
  }

  async function again(): Promise<void> {
    try {
      const me = await api.me();
      if (ended) return;
      events.me(me);
      if (!me.signed_in) return;
    } catch {
      if (!ended) lost();
      return;
    }
    connect();
  }

  connect();
  return () => {
    ended = true;
    lost();
  };
}
