/**
 * A run as this page knows it: the fold of the updates, with one signal for views. Pure but for the scheduling.
 *
 * Used by the session, which feeds it, and by every view of the run in the page.
 */
import type { IAblation } from './ablation';
import { LineRing } from './lineRing';
import type { IRun, ITrial, IUpdate, IWorker } from './messages';

/** Calls back soon, once for all changes until then. */
export type Schedule = (callback: () => void) => void;

/** What drawing may take of the page's time: under a flood of changes it is drawn more seldom. */
const DRAW_SHARE = 0.2;
/** But at least so often, in milliseconds. */
const LONGEST_PAUSE_MS = 1_000;

/** The next picture that the browser draws, after a pause that grows with what the last one took; unseen pages wait. */
export function pacedFrames(): Schedule {
  let nextAt = 0;
  return callback => {
    const draw = () =>
      requestAnimationFrame(() => {
        const beganAt = performance.now();
        callback();
        // A task of its own runs when views have rendered and the browser has laid them out.
        setTimeout(() => {
          const now = performance.now();
          nextAt = now + Math.min((now - beganAt) * (1 / DRAW_SHARE - 1), LONGEST_PAUSE_MS);
        });
      });
    const pause = nextAt - performance.now();
    if (pause > 17) setTimeout(draw, pause);
    else draw();
  };
}

export class RunModel {
  constructor(private readonly _schedule: Schedule = pacedFrames()) {}

  /** null before the first update. */
  get run(): IRun | null {
    return this._run;
  }

  get workers(): readonly IWorker[] {
    return this._workers;
  }

  get trials(): ReadonlyMap<number, ITrial> {
    return this._trials;
  }

  /** null in a run that is none, and before its first trial. */
  get ablation(): IAblation | null {
    return this._ablation;
  }

  get lines(): LineRing {
    return this._lines;
  }

  /** Journal lines that the page holds without a gap. */
  get seq(): number {
    return this._seq;
  }

  /** Grows with each notification of a change. */
  get revision(): number {
    return this._revision;
  }

  /** Whether more changed trials follow at once. */
  get hasMore(): boolean {
    return this._hasMore;
  }

  /** What to add to this page's clock, in seconds, to get the sender's; 0 while it is not known. */
  get clockOffsetS(): number {
    return this._clockOffsetS;
  }

  /**
   * Take an update: a new one, a repeated one or a late one.
   *
   * @param receivedAtS - this page's clock, in seconds since the epoch.
   * @returns whether something is missing before it, so that the page should ask for a sync.
   */
  apply(update: IUpdate, receivedAtS: number = Date.now() / 1000): boolean {
    const isLate = this._number !== null && update.number <= this._number && update.seq < this._seq;
    const isAfterGap =
      update.since > this._seq || (this._number !== null && update.number > this._number + 1);
    for (const trial of update.trials) {
      const held = this._trials.get(trial.id);
      if (held === undefined || trial.changed_at > held.changed_at) this._trials.set(trial.id, trial);
    }
    if (!isLate) {
      this._run = update.run;
      this._workers = update.workers;
      this._ablation = update.ablation ?? this._ablation;
      this._hasMore = update.has_more;
      this._number = update.number;
      if (update.time !== null) this._clockOffsetS = update.time - receivedAtS;
    }
    if (update.since <= this._seq) this._seq = Math.max(this._seq, update.seq);
    if (
      update.lines !== null &&
      !(isAfterGap && update.lines.begin > this._lines.end && this._lines.end > 0)
    ) {
      this._lines.add(update.lines);
    }
    this._announce();
    return isAfterGap;
  }

  /** Show a head that was saved earlier, until the first update brings a newer one. */
  preview(run: IRun): void {
    if (this._run !== null) return;
    this._run = run;
    this._announce();
  }

  /** The sender counts its updates from 1 again: another one, or the same one over a new connection. */
  restartNumbers(): void {
    this._number = null;
  }

  /** Be called after changes, once for many; returns what ends that. */
  subscribe(listener: () => void): () => void {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  private _announce(): void {
    if (this._isScheduled) return;
    this._isScheduled = true;
    this._schedule(() => {
      this._isScheduled = false;
      this._revision += 1;
      for (const listener of [...this._listeners]) listener();
    });
  }

  private _run: IRun | null = null;
  private _workers: readonly IWorker[] = [];
  private _ablation: IAblation | null = null;
  private readonly _trials = new Map<number, ITrial>();
  private readonly _lines = new LineRing();
  private _number: number | null = null;
  private _seq = 0;
  private _hasMore = false;
  private _clockOffsetS = 0;
  private _revision = 0;
  private _isScheduled = false;
  private readonly _listeners = new Set<() => void>();
}
