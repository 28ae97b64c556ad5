/** Which rows of a long list are in sight: all rows have one height, and only some of them are in the page. Pure. */

/** Rows that a list has in the page at most. */
export const ROWS_LIMIT = 200;
const OVERSCAN = 12;

export interface IWindow {
  /** The first row in the page, and the first one after. */
  readonly begin: number;
  readonly end: number;
}

export function rowsInSight(
  nRows: number,
  rowHeight: number,
  scrollTop: number,
  viewHeight: number
): IWindow {
  const nVisible = Math.min(ROWS_LIMIT - 2 * OVERSCAN, Math.ceil(viewHeight / rowHeight) + 1);
  const first = Math.min(Math.max(0, Math.floor(scrollTop / rowHeight)), Math.max(0, nRows - 1));
  return { begin: Math.max(0, first - OVERSCAN), end: Math.min(nRows, first + nVisible + OVERSCAN) };
}
