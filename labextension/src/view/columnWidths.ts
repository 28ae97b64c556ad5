/** How wide the trial table's columns are: what they need, and so that none is cut where the table goes on. */
import { useRef } from 'preact/hooks';

import { FIXED_COLUMNS } from './columns';
import type { IColumns } from './columns';
import type { ITrial } from '../model/messages';

/** Width of a character in the table's cells, and where they are words of ours. */
const CHARACTER_PX = 7.3;
const WORD_CHARACTER_PX = 7.2;
/** The same in its head, where letters are bold, and of the mark beside the sorted column's title. */
const TITLE_CHARACTER_PX = 7.3;
const SORT_MARK_PX = 12;
const PADDING_PX = 12;
const ICON_PX = 20;
const CURVE_PX = 60 + PADDING_PX;
/** Longer values are cut, and longer titles where the values below are short. */
const WIDTH_LIMIT_PX = 160;
const TITLE_LIMIT_PX = 110;
/** Trials whose values tell how wide a column becomes. */
const WIDTH_SAMPLE = 100;

/**
 * The widths with what is left beside the last column that has room, shared among those before it: so the next one
 * begins where the table is cut, and no value is cut in its middle.
 *
 * @param room - pixels that the table has.
 */
export function endingAtTheEdge(widths: readonly number[], room: number): readonly number[] {
  let [nWhole, end] = [0, 0];
  while (nWhole < widths.length && end + widths[nWhole] <= room) end += widths[nWhole++];
  if (nWhole === widths.length || nWhole <= FIXED_COLUMNS) return widths;
  const share = (room - end) / (nWhole - FIXED_COLUMNS);
  return widths.map((one, at) => (at < FIXED_COLUMNS || at >= nWhole ? one : one + share));
}

/** Pixels that each column needs; they only grow, so that the table does not shake. */
export function useNeededWidths(columns: IColumns, trials: readonly ITrial[], now: number): number[] {
  const widest = useRef(new Map<string, number>());
  const stride = Math.ceil(trials.length / WIDTH_SAMPLE) || 1;
  const sample = trials.filter((_, index) => index % stride === 0);
  const markPx = trials.some(trial => trial.n_warnings > 0) ? ICON_PX : 0;
  return columns.shown.map(column => {
    const longest = Math.max(0, ...sample.map(trial => column.text(trial, now).length));
    const content =
      column.key === 'state'
        ? ICON_PX + longest * WORD_CHARACTER_PX + markPx
        : column.key === 'curve'
          ? longest * WORD_CHARACTER_PX
          : (column.key === 'id' ? longest + 2 : longest) * CHARACTER_PX; // the star
    const title =
      (column.title.length + (column.key === 'value' ? 1 : 0)) * TITLE_CHARACTER_PX + SORT_MARK_PX; // a wide arrow
    const needed = Math.max(
      Math.min(content + PADDING_PX, WIDTH_LIMIT_PX),
      Math.min(title + PADDING_PX, TITLE_LIMIT_PX),
      column.key === 'curve' ? CURVE_PX : 0
    );
    const width = Math.max(widest.current.get(column.key) ?? 0, Math.ceil(needed));
    widest.current.set(column.key, width);
    return width;
  });
}
