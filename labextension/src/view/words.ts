/** What the view says of states, the head and the tiles, in the reader's language. Pure. */
import {
  formatClock,
  formatCount,
  formatDuration,
  formatEstimate,
  formatHparam,
  formatPercent,
  formatNumber,
  oneLine
} from './format';
import { evidenceSummary } from './ablationWords';
import type { IAblation } from '../model/ablation';
import { TRIAL_STATES } from '../model/messages';
import type { IRun, ITrial, IWorker, RunState, TrialState } from '../model/messages';
import type { ITranslator } from '../i18n';

export const NAME_LIMIT = 40;

export const TRIAL_ICONS: Readonly<Record<TrialState, string>> = {
  COMPLETE: '✔',
  PRUNED: '✂',
  FAILED: '✖',
  STOPPED: '■',
  RUNNING: '●',
  WAITING: '○'
};

export const RUN_ICONS: Readonly<Record<RunState, string>> = {
  STARTING: '○',
  RUNNING: '●',
  COMPLETE: '✔',
  STOPPED: '■',
  FAILED: '✖'
};

/** Whether the run leaves components out, so that its best trial is no result. */
export function isAblation(run: IRun): boolean {
  return run.kind === 'ablate';
}

/** Who runs it or ran it: 'w1', and '4 workers' that train together; '' before. */
export function workersOf(t: ITranslator, trial: ITrial): string {
  if (trial.world_size > 1) return t._n('%1 worker', '%1 workers', trial.world_size);
  return trial.worker_id === null ? '' : `w${trial.worker_id}`;
}

/** Of workers that train together: 'ranks r0 to r3, r0 on w1'; '' of one alone. */
export function ranksOf(t: ITranslator, trial: ITrial): string {
  if (trial.world_size < 2) return '';
  const last = `r${trial.world_size - 1}`;
  return trial.worker_id === null
    ? t.__('ranks r0 to %1', last)
    : t.__('ranks r0 to %1, r0 on %2', last, `w${trial.worker_id}`);
}

export function isFinalTrial(state: TrialState): boolean {
  return state !== 'WAITING' && state !== 'RUNNING';
}

export function isFinalRun(state: RunState): boolean {
  return state !== 'STARTING' && state !== 'RUNNING';
}

export function trialStateWord(t: ITranslator, state: TrialState): string {
  switch (state) {
    case 'COMPLETE':
      return t.__('complete');
    case 'PRUNED':
      return t.__('pruned');
    case 'FAILED':
      return t.__('failed');
    case 'STOPPED':
      return t.__('stopped');
    case 'RUNNING':
      return t.__('running');
    case 'WAITING':
      return t.__('waiting');
  }
}

/** '3 complete', '2 running' */
export function stateCountWords(t: ITranslator, state: TrialState, n: number): string {
  const count = formatCount(n);
  switch (state) {
    case 'COMPLETE':
      return t._n('%2 complete', '%2 complete', n, count);
    case 'PRUNED':
      return t._n('%2 pruned', '%2 pruned', n, count);
    case 'FAILED':
      return t._n('%2 failed', '%2 failed', n, count);
    case 'STOPPED':
      return t._n('%2 stopped', '%2 stopped', n, count);
    case 'RUNNING':
      return t._n('%2 running', '%2 running', n, count);
    case 'WAITING':
      return t._n('%2 waiting', '%2 waiting', n, count);
  }
}

/** The kind of a trial's error: an exception's name as it is, our own kinds in words. */
export function errorKind(t: ITranslator, error: NonNullable<ITrial['error']>): string {
  switch (error.kind) {
    case 'NO_METRIC':
      return t.__('no metric');
    case 'NAN':
      return t.__('not a number');
    default:
      return oneLine(error.kind, 80);
  }
}

/** 'ValueError: bad shapes' */
export function errorWords(t: ITranslator, error: NonNullable<ITrial['error']>): string {
  return [errorKind(t, error), oneLine(error.message, 300)].filter(part => part !== '').join(': ');
}

/** Why a trial was given again. */
export function requeueWords(t: ITranslator, reason: string): string {
  return reason === 'retried by its user' ? t.__('retried by its user') : oneLine(reason, 300);
}

/** 'starting', 'running on 4 workers', 'complete' … */
export function runStateWords(t: ITranslator, run: IRun): string {
  switch (run.state) {
    case 'STARTING':
      return t.__('starting');
    case 'RUNNING':
      return run.n_workers_alive > 0
        ? t._n('running on %1 worker', 'running on %1 workers', run.n_workers_alive)
        : t.__('waiting for workers');
    case 'COMPLETE':
      return t.__('complete');
    case 'STOPPED':
      return t.__('stopped');
    case 'FAILED':
      return t.__('failed');
  }
}

/** '7', and '7.2' for its second attempt: as its folder is named. */
export function trialLabel(trial: ITrial): string {
  return trial.attempt === 1 ? String(trial.id) : `${trial.id}.${trial.attempt}`;
}

export function metricName(t: ITranslator, run: IRun): string {
  return run.metric_name === null ? t.__('metric') : oneLine(run.metric_name, NAME_LIMIT);
}

/** '↑' when more is better. */
export function directionArrow(run: IRun): string {
  return run.direction === 'min' ? '↓' : '↑';
}

export function nDone(run: IRun): number {
  return run.counts.COMPLETE + run.counts.PRUNED + run.counts.FAILED + run.counts.STOPPED;
}

/** The states that trials are in, in the order of `TRIAL_STATES`. */
export function countedStates(run: IRun): TrialState[] {
  return TRIAL_STATES.filter(state => run.counts[state] > 0);
}

/** 'trial 14 · lr 0.0031 · width 192' */
export function bestWords(t: ITranslator, run: IRun, best: ITrial | null): string {
  if (best === null) {
    if (!isFinalRun(run.state)) return t.__('none yet');
    return run.counts.COMPLETE > 0 ? t.__('no number') : t.__('no complete trial');
  }
  const names = namesOf(run, best);
  const chosen = names
    .slice(0, 4)
    .map(name => `${oneLine(name, 24)} ${formatHparam(best.hparams[name], 16)}`);
  const nMore = names.length - chosen.length;
  const more = nMore > 0 ? [t._n('%1 more', '%1 more', nMore)] : [];
  return [t.__('trial %1', trialLabel(best)), ...chosen, ...more].join(' · ');
}

export function elapsedS(run: IRun, now: number): number {
  return run.started_at === null ? 0 : Math.max(0, (run.ended_at ?? now) - run.started_at);
}

/** Seconds that the trial has run or ran; null before its start. */
export function trialElapsedS(trial: ITrial, now: number): number | null {
  if (isFinalTrial(trial.state)) return trial.duration_s;
  return trial.started_at === null || trial.state === 'WAITING' ? null : Math.max(0, now - trial.started_at);
}

/**
 * Estimate of the seconds left, as in Python; null when nothing can be said.
 *
 * Failed and stopped trials do not say how long one takes.
 */
export function remainingS(run: IRun, trials: Iterable<ITrial>, now: number): number | null {
  if (isFinalRun(run.state) || run.n_trials === null || run.n_workers_alive === 0) return null;
  let ended_s = 0;
  let n_ended = 0;
  const ages: number[] = [];
  for (const trial of trials) {
    if (trial.state === 'RUNNING') ages.push(trialElapsedS(trial, now) ?? 0);
    if (trial.state !== 'COMPLETE' && trial.state !== 'PRUNED') continue;
    ended_s += trial.duration_s;
    n_ended += 1;
  }
  if (n_ended === 0) return null;
  const mean_s = ended_s / n_ended;
  const waiting_s = mean_s * Math.max(0, run.n_trials - nDone(run) - ages.length);
  return (waiting_s + ages.reduce((sum, age) => sum + Math.max(0, mean_s - age), 0)) / run.n_workers_alive;
}

/** Elapsed, and what is left: ['1m 12s', 'about 38 s left']. */
export function timeWords(
  t: ITranslator,
  run: IRun,
  trials: Iterable<ITrial>,
  now: number
): [string, string] {
  if (run.started_at === null) return ['–', t.__('not started')];
  if (isFinalRun(run.state)) {
    let sum_s = 0;
    for (const trial of trials) if (isFinalTrial(trial.state)) sum_s += trial.duration_s;
    return [
      formatDuration(elapsedS(run, now)),
      nDone(run) > 0 ? t.__('%1 of trials', formatDuration(sum_s)) : ''
    ];
  }
  const left_s = remainingS(run, trials, now);
  return [
    formatClock(elapsedS(run, now)),
    left_s === null ? t.__('elapsed') : t.__('about %1 left', formatEstimate(left_s))
  ];
}

/** Compute that pruning saved: ['41 %', '269 of 456 steps run']; null for a run that does not prune. */
export function savedWords(t: ITranslator, run: IRun): [string, string] | null {
  if (run.compute_saved !== null) {
    const [n_run, n_expected] = run.compute_saved;
    const n_saved = n_expected - n_run;
    return [
      formatPercent(n_expected > 0 ? n_saved / n_expected : 0),
      t.__('≈ %1 of %2 steps not run', formatCount(n_saved), formatCount(n_expected))
    ];
  }
  if (run.pruner === null || run.pruner === '' || run.pruner === 'none') return null;
  return ['–', isFinalRun(run.state) ? t.__('nothing pruned') : t.__('nothing to compare yet')];
}

/** Workers busy, of how many: ['3 / 4', 'workers busy · 2 GPUs · 1 lost']. */
export function workerWords(t: ITranslator, run: IRun, workers: readonly IWorker[]): [string, string] {
  const n_gpus = new Set(workers.flatMap(worker => worker.gpus.map(gpu => `${worker.host}\n${gpu}`))).size;
  const n_lost = workers.filter(worker => !worker.is_alive && worker.lost_reason !== '').length;
  const details = [
    ...(n_gpus > 0 ? [t._n('%1 GPU', '%1 GPUs', n_gpus)] : []),
    ...(n_lost > 0 ? [t._n('%1 lost', '%1 lost', n_lost)] : [])
  ];
  if (isFinalRun(run.state)) {
    return [String(workers.length), [t._n('worker', 'workers', workers.length), ...details].join(' · ')];
  }
  const n_busy = workers.filter(worker => worker.is_alive && worker.trial_id !== null).length;
  const n_wanted = Math.max(run.n_workers ?? 0, workers.length);
  return [`${n_busy} / ${n_wanted}`, [t._n('worker busy', 'workers busy', n_wanted), ...details].join(' · ')];
}

/** 'tpe · asha · seed 7' */
export function settingsWords(t: ITranslator, run: IRun): string {
  const pruner = run.pruner !== null && run.pruner !== 'none' ? run.pruner : '';
  const seed = run.seed === null ? t.__('no seed') : t.__('seed %1', String(run.seed));
  const sampler = run.kind === 'run' ? '' : (run.sampler ?? ''); // a single call samples nothing
  return [sampler, pruner, seed]
    .filter(part => part !== '')
    .map(part => oneLine(part, NAME_LIMIT))
    .join(' · ');
}

/** One sentence for those who do not see the page. */
export function summaryWords(
  t: ITranslator,
  run: IRun,
  best: ITrial | null,
  ablation: IAblation | null
): string {
  const name = run.experiment === null ? t.__('run') : oneLine(run.experiment, NAME_LIMIT);
  const done = formatCount(nDone(run));
  const progress =
    run.n_trials === null
      ? t.__('%1 trials done', done)
      : t.__('%1 of %2 trials done', done, formatCount(run.n_trials));
  const words = [`${name}: ${runStateWords(t, run)}`, progress];
  if (isAblation(run)) {
    words.push(evidenceSummary(t, ablation));
  } else if (best !== null) {
    words.push(
      t.__('best %1 %2 in trial %3', metricName(t, run), formatNumber(best.value), trialLabel(best))
    );
  }
  return words.join(', ');
}

function namesOf(run: IRun, trial: ITrial): string[] {
  const own = Object.keys(trial.hparams);
  const declared = run.hparam_names.filter(name => own.includes(name));
  return declared.length > 0 ? declared : own;
}
