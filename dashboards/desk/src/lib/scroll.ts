/** Which rows of a scrolled list can be read. */

const SLACK_PX = 4; // a border or a rounded pixel hides nothing

/** Whether a part of `row` is out of the list's view; of a row higher than the list, what could be in it. */
export function partlyHidden(list: HTMLElement, row: HTMLElement): boolean {
  const frame = list.getBoundingClientRect();
  const box = row.getBoundingClientRect();
  const seen = Math.min(box.bottom, frame.bottom) - Math.max(box.top, frame.top);
  return seen < Math.min(box.height, frame.height) - SLACK_PX;
}

/** The rows that are not wholly in view, by the side on which they go out of it. */
export function outOfView<Row extends HTMLElement>(
  list: HTMLElement,
  rows: readonly Row[],
): { above: Row[]; below: Row[] } {
  const { top } = list.getBoundingClientRect();
  const hidden = rows.filter((row) => partlyHidden(list, row));
  const isAbove = (row: Row) => row.getBoundingClientRect().top < top - SLACK_PX;
  return { above: hidden.filter(isAbove), below: hidden.filter((row) => !isAbove(row)) };
}
