/**
 * The messages of docs/live-view.md. Unknown JSON is read here once; the rest of the page trusts these types.
 *
 * Fields keep their Python spelling. What Python leaves out because it is empty is filled in.
 */
import { parseAblation } from './ablation';
import type { IAblation } from './ablation';
import {
  arrayOf,
  countOf,
  isRecord,
  numberOrNull,
  parseNumber,
  recordOf,
  textOf,
  textOrNull,
  textsOf
} from './json';
import type { JsonRecord } from './json';
import { RUN_STATES, TRIAL_STATES } from './states';
import type { RunState, TrialState } from './states';

export { parseNumber } from './json';
export { RUN_STATES, TRIAL_STATES } from './states';
export type { RunState, TrialState } from './states';

/** JSON has no nan and no infinities: they travel as their names, and are numbers again here. */
export type Metrics = Readonly<Record<string, number>>;
export type HParams = Readonly<Record<string, unknown>>;
export type Point = readonly [step: number, value: number];

export interface IRun {
  readonly run_id: string | null;
  readonly experiment: string | null;
  readonly kind: string | null;
  readonly direction: 'max' | 'min' | null;
  readonly sampler: string | null;
  readonly pruner: string | null;
  readonly seed: number | null;
  readonly n_trials: number | null;
  readonly n_workers: number | null;
  readonly n_workers_alive: number;
  readonly state: RunState;
  readonly state_reason: string;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly metric_name: string | null;
  readonly metric_names: readonly string[];
  readonly hparam_names: readonly string[];
  readonly counts: Readonly<Record<TrialState, number>>;
  readonly best_id: number | null;
  /** [seconds after the run's start, trial, value] each time a trial became the best. */
  readonly improvements: readonly (readonly [elapsed_s: number, trial_id: number, value: number])[];
  /** [steps that ran, steps that would have run without pruning]; an estimate. */
  readonly compute_saved: readonly [n_steps_run: number, n_steps_expected: number] | null;
  readonly notices: readonly string[];
}

export interface IWorker {
  readonly id: number;
  readonly incarnation: number;
  readonly host: string;
  readonly gpus: readonly string[];
  readonly is_alive: boolean;
  readonly trial_id: number | null;
  readonly lost_reason: string;
}

export interface ITrial {
  readonly id: number;
  /** The journal's line of its last change. */
  readonly changed_at: number;
  readonly attempt: number;
  readonly state: TrialState;
  readonly worker_id: number | null;
  /** How many workers run it together; `worker_id` has rank 0. */
  readonly world_size: number;
  readonly hparams: HParams;
  readonly budget: number | null;
  /** Seconds since the epoch. */
  readonly started_at: number | null;
  readonly ended_at: number | null;
  /** For how long the run lay still since then, before it was resumed. */
  readonly paused_s: number;
  readonly duration_s: number;
  readonly step: number | null;
  readonly value: number | null;
  readonly metrics: Metrics;
  readonly curve: readonly Point[];
  readonly error: { readonly kind: string; readonly message: string } | null;
  readonly n_warnings: number;
  readonly n_files: number;
  /** Whether hyperparameters, metrics and curve were too large to travel. */
  readonly is_cut: boolean;
}

export interface ILines {
  readonly begin: number;
  readonly end: number;
  readonly n_skipped: number;
  readonly texts: readonly string[];
}

export interface IUpdate {
  readonly type: 'update';
  readonly number: number;
  /** The sender's clock in seconds since the epoch; null from one that does not say. */
  readonly time: number | null;
  readonly since: number;
  readonly seq: number;
  readonly has_more: boolean;
  readonly run: IRun;
  readonly workers: readonly IWorker[];
  readonly trials: readonly ITrial[];
  readonly lines: ILines | null;
  /** null: as before. */
  readonly ablation: IAblation | null;
}

export type Reply =
  | { readonly type: 'reply'; readonly id: string; readonly ok: true; readonly value: unknown }
  | { readonly type: 'reply'; readonly id: string; readonly ok: false; readonly error: string };

export interface IPart {
  readonly type: 'part';
  readonly id: string;
  readonly index: number;
  readonly n_parts: number;
  readonly data: string;
}

export type Incoming = IUpdate | Reply | IPart;

export type ControlAction = 'stop' | 'prune' | 'retry';

/** What a page asks for; the client adds the id. */
export type RequestBody =
  | { type: 'sync'; since: number; lines: number }
  | { type: 'trial'; trial_id: number }
  | { type: 'log'; trial_id: number; attempt: number; offset: number }
  | { type: 'file'; trial_id: number; attempt: number; path: string }
  | { type: 'importance' }
  | { type: 'board' }
  | { type: 'control'; action: ControlAction; trial_id: number | null };

export type Request = RequestBody & { id: string };

/** The message in unknown JSON; null when it is none of ours, or of a later version. */
export function parseIncoming(data: unknown): Incoming | null {
  if (!isRecord(data)) return null;
  switch (data.type) {
    case 'update':
      return parseUpdate(data);
    case 'reply':
      return typeof data.id === 'string' ? parseReply(data.id, data) : null;
    case 'part':
      return typeof data.id === 'string' ? parsePart(data.id, data) : null;
    default:
      return null;
  }
}

export function parsePoints(value: unknown): Point[] {
  const points: Point[] = [];
  for (const item of arrayOf(value)) {
    const [step, number] = arrayOf(item).map(parseNumber);
    if (typeof step === 'number' && typeof number === 'number') points.push([step, number]);
  }
  return points;
}

function parseReply(id: string, data: JsonRecord): Reply {
  if (data.ok === true) return { type: 'reply', id, ok: true, value: data.value };
  return { type: 'reply', id, ok: false, error: textOf(data.error) };
}

function parsePart(id: string, data: JsonRecord): IPart {
  return {
    type: 'part',
    id,
    index: countOf(data.index),
    n_parts: countOf(data.n_parts, 1),
    data: textOf(data.data)
  };
}

function parseUpdate(data: JsonRecord): IUpdate {
  return {
    type: 'update',
    number: countOf(data.number),
    time: numberOrNull(data.time),
    since: countOf(data.since),
    seq: countOf(data.seq),
    has_more: data.has_more === true,
    run: parseRun(recordOf(data.run)),
    workers: arrayOf(data.workers).filter(isRecord).map(parseWorker),
    trials: arrayOf(data.trials).filter(isRecord).map(parseTrial),
    lines: isRecord(data.lines) ? parseLines(data.lines) : null,
    ablation: isRecord(data.ablation) ? parseAblation(data.ablation) : null
  };
}

/** The head of a run, as updates and the widget's `run` trait have it. */
export function parseRun(data: JsonRecord): IRun {
  const counts = recordOf(data.counts);
  const [n_steps_run, n_steps_expected] = arrayOf(data.compute_saved).map(parseNumber);
  return {
    run_id: textOrNull(data.run_id),
    experiment: textOrNull(data.experiment),
    kind: textOrNull(data.kind),
    direction: data.direction === 'max' || data.direction === 'min' ? data.direction : null,
    sampler: textOrNull(data.sampler),
    pruner: textOrNull(data.pruner),
    seed: numberOrNull(data.seed),
    n_trials: numberOrNull(data.n_trials),
    n_workers: numberOrNull(data.n_workers),
    n_workers_alive: countOf(data.n_workers_alive),
    state: RUN_STATES.find(state => state === data.state) ?? 'STARTING',
    state_reason: textOf(data.state_reason),
    started_at: numberOrNull(data.started_at),
    ended_at: numberOrNull(data.ended_at),
    metric_name: textOrNull(data.metric_name),
    metric_names: textsOf(data.metric_names),
    hparam_names: textsOf(data.hparam_names),
    counts: {
      COMPLETE: countOf(counts.COMPLETE),
      PRUNED: countOf(counts.PRUNED),
      FAILED: countOf(counts.FAILED),
      STOPPED: countOf(counts.STOPPED),
      RUNNING: countOf(counts.RUNNING),
      WAITING: countOf(counts.WAITING)
    },
    best_id: numberOrNull(data.best_id),
    improvements: arrayOf(data.improvements).flatMap(item => {
      const [elapsed_s, trial_id, value] = arrayOf(item).map(parseNumber);
      return typeof elapsed_s === 'number' && typeof trial_id === 'number' && typeof value === 'number'
        ? [[elapsed_s, trial_id, value] as const]
        : [];
    }),
    compute_saved:
      typeof n_steps_run === 'number' && typeof n_steps_expected === 'number'
        ? [n_steps_run, n_steps_expected]
        : null,
    notices: textsOf(data.notices)
  };
}

function parseWorker(data: JsonRecord): IWorker {
  return {
    id: countOf(data.id),
    incarnation: countOf(data.incarnation, 1),
    host: textOf(data.host),
    gpus: textsOf(data.gpus),
    is_alive: data.is_alive === true,
    trial_id: numberOrNull(data.trial_id),
    lost_reason: textOf(data.lost_reason)
  };
}

function parseTrial(data: JsonRecord): ITrial {
  return {
    id: countOf(data.id),
    changed_at: countOf(data.changed_at),
    attempt: countOf(data.attempt, 1),
    state: TRIAL_STATES.find(state => state === data.state) ?? 'WAITING',
    worker_id: numberOrNull(data.worker_id),
    world_size: countOf(data.world_size, 1),
    hparams: recordOf(data.hparams),
    budget: numberOrNull(data.budget),
    started_at: numberOrNull(data.started_at),
    ended_at: numberOrNull(data.ended_at),
    paused_s: numberOrNull(data.paused_s) ?? 0,
    duration_s: countOf(data.duration_s),
    step: numberOrNull(data.step),
    value: parseNumber(data.value),
    metrics: parseMetrics(data.metrics),
    curve: parsePoints(data.curve),
    error: isRecord(data.error)
      ? { kind: textOf(data.error.kind), message: textOf(data.error.message) }
      : null,
    n_warnings: countOf(data.n_warnings),
    n_files: countOf(data.n_files),
    is_cut: data.is_cut === true
  };
}

export function parseMetrics(value: unknown): Metrics {
  const metrics: Record<string, number> = {};
  for (const [name, item] of Object.entries(recordOf(value))) {
    const number = parseNumber(item);
    if (number !== null) metrics[name] = number;
  }
  return metrics;
}

function parseLines(data: JsonRecord): ILines {
  const texts = textsOf(data.texts);
  const begin = countOf(data.begin);
  const n_skipped = countOf(data.n_skipped);
  return { begin, end: countOf(data.end, begin + n_skipped + texts.length), n_skipped, texts };
}
