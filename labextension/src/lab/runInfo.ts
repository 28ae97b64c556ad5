/**
 * A run as the server extension lists it, and what the side bar and the status bar say of it.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import { countOf, isRecord, numberOrNull, textOf, textOrNull } from '../model/json';
import { parseNumber, RUN_STATES } from '../model/messages';
import type { RunState } from '../model/messages';
import { formatMetric } from '../view/format';

/** How a run is shown: its state, or that its driver is gone without having ended it. */
export type ShownState = 'starting' | 'running' | 'complete' | 'stopped' | 'failed' | 'interrupted';

/** One entry of `GET lagom/runs`; the fields keep their Python spelling. */
export interface IRunInfo {
  dir: string;
  run_id: string;
  experiment: string;
  kind: string;
  state: RunState;
  is_live: boolean;
  /** ISO 8601. */
  created_at: string;
  duration_s: number | null;
  n_done: number;
  /** Null when it is not known how many there will be. */
  n_trials: number | null;
  metric: string | null;
  best_id: number | null;
  best_val: number | null;
}

const ICONS: Record<ShownState, string> = {
  starting: '○',
  running: '●',
  complete: '✔',
  stopped: '■',
  failed: '✖',
  interrupted: '⚠'
};

/**
 * The entries of an answer to `GET lagom/runs`.
 *
 * Throws a TypeError when the answer has another form.
 */
export function parseRuns(answer: unknown): IRunInfo[] {
  const runs = isRecord(answer) ? answer.runs : undefined;
  if (!Array.isArray(runs)) {
    throw new TypeError('The answer has no list of runs.');
  }
  return runs.map(parseRun);
}

function parseRun(entry: unknown): IRunInfo {
  if (!isRecord(entry) || typeof entry.dir !== 'string' || typeof entry.run_id !== 'string') {
    throw new TypeError('A listed run has no folder or no id.');
  }
  const state = RUN_STATES.find(state => state === entry.state);
  if (state === undefined) {
    throw new TypeError(`The run ${entry.run_id} has an unknown state: ${String(entry.state)}.`);
  }
  const created_at = textOf(entry.created_at);
  if (Number.isNaN(Date.parse(created_at))) {
    throw new TypeError(`The run ${entry.run_id} has no time of its start: ${created_at}.`);
  }
  return {
    dir: entry.dir,
    run_id: entry.run_id,
    experiment: textOf(entry.experiment),
    kind: textOf(entry.kind),
    state,
    is_live: entry.is_live === true,
    created_at,
    duration_s: numberOrNull(entry.duration_s),
    n_done: countOf(entry.n_done),
    n_trials: numberOrNull(entry.n_trials),
    metric: textOrNull(entry.metric),
    best_id: numberOrNull(entry.best_id),
    best_val: parseNumber(entry.best_val)
  };
}

export function shownState(run: IRunInfo): ShownState {
  const isOver = run.state !== 'STARTING' && run.state !== 'RUNNING';
  return isOver || run.is_live ? (run.state.toLowerCase() as ShownState) : 'interrupted';
}

export function stateIcon(run: IRunInfo): string {
  return ICONS[shownState(run)];
}

export function stateWord(run: IRunInfo, trans: TranslationBundle): string {
  switch (shownState(run)) {
    case 'starting':
      return trans.__('starting');
    case 'running':
      return trans.__('running');
    case 'complete':
      return trans.__('complete');
    case 'stopped':
      return trans.__('stopped');
    case 'failed':
      return trans.__('failed');
    case 'interrupted':
      return trans.__('interrupted');
  }
}

/** '12/30', and '12' when it is not known how many there will be. */
export function progressText(run: IRunInfo): string {
  return run.n_trials === null ? String(run.n_done) : `${run.n_done}/${run.n_trials}`;
}

/** What the status bar says of a live run: 'lagom 12/30 · best 0.97'; the trials of an ablation do not compete. */
export function statusText(run: IRunInfo, trans: TranslationBundle): string {
  const progress = progressText(run);
  return run.best_val === null || run.kind === 'ablate'
    ? trans.__('lagom %1', progress)
    : trans.__('lagom %1 · best %2', progress, formatMetric(run.best_val));
}

/** The last name of a folder's path. */
export function baseName(path: string): string {
  return path.replace(/\/+$/, '').split('/').pop() ?? path;
}
