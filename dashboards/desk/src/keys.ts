/** Keys that work anywhere on the desk page. The buttons show them. */

import type { Desk } from "./desk.svelte";

export const SEARCH_ID = "unit-search";

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLInputElement ||
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement
  );
}

export function handleKey(desk: Desk, event: KeyboardEvent): void {
  // A key held down must not take one alarm after the other.
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || desk.closing) return;
  const acts: Record<string, () => void> = {
    F2: () => desk.takeNewest(),
    F4: () => desk.closeNewest(),
    F8: () => desk.goToNext(),
  };
  if (!isTyping(event.target)) {
    acts["/"] = () => document.getElementById(SEARCH_ID)?.focus();
    acts["Escape"] = () => desk.select(undefined);
  }
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}
