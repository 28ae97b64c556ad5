/** The console's last lines as a page keeps them, numbered since the run's start. Used by the run's model. */
import type { ILines } from './messages';

/** Lines that a page keeps. */
export const LINES_LIMIT = 100_000;
/** Characters that a page keeps of a line; the files have it whole. */
export const LINE_CHARACTERS = 8_192;

export interface ILine {
  /** Since the run's start, from 0. */
  readonly number: number;
  readonly text: string;
  /** From the line's '[w1 t7]' or '[w1]'; of '[r0]', rank 0 of a training, which worker 1 holds in trial 0; null without. */
  readonly worker_id: number | null;
  readonly trial_id: number | null;
}

const PREFIX = /^\[(?:r(\d+)|w(\d+)(?: t(\d+)(?:\.\d+)?)?)\]/;

export class LineRing {
  constructor(readonly limit: number = LINES_LIMIT) {}

  /** The kept lines in order. A new array after each change, so that views can compare. */
  get lines(): readonly ILine[] {
    return this._lines;
  }

  /** The number of the next line. */
  get end(): number {
    return this._end;
  }

  /** Lines that never came here: the sender left them out. */
  get nSkipped(): number {
    return this._nSkipped;
  }

  /** Take the lines that are new; those that are here already are left out. */
  add(lines: ILines): void {
    const first = lines.begin + lines.n_skipped;
    if (lines.end <= this._end) return;
    const fresh: ILine[] = [];
    for (let index = Math.max(0, this._end - first); index < lines.texts.length; index += 1) {
      fresh.push(lineOf(first + index, lines.texts[index]));
    }
    const start = fresh.length > 0 ? fresh[0].number : lines.end;
    this._nSkipped += Math.max(0, start - this._end);
    this._end = lines.end;
    const all = this._lines.concat(fresh);
    this._lines = all.length > this.limit ? all.slice(all.length - this.limit) : all;
  }

  private _lines: readonly ILine[] = [];
  private _end = 0;
  private _nSkipped = 0;
}

function lineOf(number: number, text: string): ILine {
  const kept = text.length <= LINE_CHARACTERS ? text : `${text.slice(0, LINE_CHARACTERS)}…`;
  const [, rank, worker, trial] = PREFIX.exec(text) ?? [];
  if (rank !== undefined) {
    return { number, text: kept, worker_id: Number(rank) + 1, trial_id: 0 };
  }
  return { number, text: kept, worker_id: numberIn(worker), trial_id: numberIn(trial) };
}

function numberIn(digits: string | undefined): number | null {
  return digits === undefined ? null : Number(digits);
}
