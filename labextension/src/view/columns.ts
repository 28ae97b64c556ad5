/** Which columns the trial table has, how a trial is written there, and how trials are ordered. Pure. */
import { formatDuration, formatHparam, formatMetric, formatNumber, oneLine, NOTHING } from './format';
import { compareTexts } from './ranges';
import {
  directionArrow,
  errorKind,
  isAblation,
  metricName,
  ranksOf,
  trialElapsedS,
  trialLabel,
  trialStateWord,
  workersOf
} from './words';
import type { IRun, ITrial } from '../model/messages';
import { TRIAL_STATES } from '../model/messages';
import type { ITranslator } from '../i18n';

export interface IColumn {
  readonly key: string;
  readonly title: string;
  /** Text stands left, numbers right. */
  readonly isText: boolean;
  readonly text: (trial: ITrial, now: number) => string;
  /** More than there is room for, where the pointer rests. */
  readonly hint?: (trial: ITrial) => string;
  /** What is compared when sorting; null and nan come last either way. null: the column cannot be sorted. */
  readonly sortValue: ((trial: ITrial, now: number) => number | string | null) | null;
}

/** Trial, state and metric: the first columns, which stay when the table scrolls sideways. */
export const FIXED_COLUMNS = 3;

export interface IColumns {
  readonly shown: readonly IColumn[];
  /** Hyperparameters that differ between trials. */
  readonly varying: readonly string[];
  /** Hyperparameters that are the same in all trials: they need no column. */
  readonly constant: readonly (readonly [name: string, value: unknown])[];
}

export interface ISorting {
  readonly key: string;
  readonly isDescending: boolean;
}

/** The metric's best first; in their order where trials do not compete. */
export function defaultSorting(run: IRun | null): ISorting {
  if (run !== null && isAblation(run)) return { key: 'id', isDescending: false };
  return { key: 'value', isDescending: run?.direction !== 'min' };
}

export function columnsOf(t: ITranslator, run: IRun, trials: readonly ITrial[]): IColumns {
  const { varying, constant } = splitHparams(run, trials);
  const others = run.metric_names.filter(name => name !== run.metric_name && name !== 'metric');
  const shown: IColumn[] = [
    {
      key: 'id',
      title: t._n('trial', 'trials', 1),
      isText: true,
      text: trialLabel,
      sortValue: trial => trial.id
    },
    {
      key: 'state',
      title: t.__('state'),
      isText: true,
      text: trial => trialStateWord(t, trial.state),
      sortValue: trial => TRIAL_STATES.indexOf(trial.state)
    },
    {
      key: 'value',
      title: `${metricName(t, run)} ${directionArrow(run)}`,
      isText: false,
      text: trial => formatMetric(trial.value),
      sortValue: trial => trial.value
    },
    {
      key: 'curve',
      title: t.__('curve'),
      isText: true,
      text: trial => (trial.error === null ? '' : errorKind(t, trial.error)),
      sortValue: null
    },
    ...varying.map((name): IColumn => ({
      key: `hparam:${name}`,
      title: oneLine(name, 24),
      isText: false,
      text: trial => formatHparam(trial.hparams[name]),
      sortValue: trial => comparable(trial.hparams[name])
    })),
    ...others.map((name): IColumn => ({
      key: `metric:${name}`,
      title: oneLine(name, 24),
      isText: false,
      text: trial => formatMetric(trial.metrics[name] ?? null),
      sortValue: trial => trial.metrics[name] ?? null
    })),
    {
      key: 'step',
      title: t.__('step'),
      isText: false,
      text: trial => formatNumber(trial.step),
      sortValue: trial => trial.step
    },
    {
      key: 'worker',
      title: t._n('worker', 'workers', 1),
      isText: true,
      text: trial => workersOf(t, trial) || NOTHING,
      hint: trial => ranksOf(t, trial),
      sortValue: trial => trial.worker_id
    },
    {
      key: 'time',
      title: t.__('time'),
      isText: false,
      text: (trial, now) => formatDuration(trialElapsedS(trial, now)),
      sortValue: (trial, now) => trialElapsedS(trial, now)
    }
  ];
  return { shown, varying, constant };
}

/** Hyperparameters in their declared order, split by whether they differ between trials. */
function splitHparams(
  run: IRun,
  trials: readonly ITrial[]
): { varying: string[]; constant: [name: string, value: unknown][] } {
  const first = new Map<string, unknown>();
  const varying = new Set<string>();
  let nWith = 0;
  for (const trial of trials) {
    const names = Object.keys(trial.hparams);
    if (names.length === 0) continue;
    nWith += 1;
    for (const name of names) {
      if (!first.has(name)) {
        first.set(name, trial.hparams[name]);
        if (nWith > 1) varying.add(name);
      } else if (!varying.has(name) && !isSame(first.get(name), trial.hparams[name])) {
        varying.add(name);
      }
    }
    if (names.length < first.size) {
      for (const name of first.keys()) if (!(name in trial.hparams)) varying.add(name);
    }
  }
  const names = [...new Set([...run.hparam_names, ...first.keys()])].filter(name => first.has(name));
  const isConstant = (name: string) => nWith > 1 && !varying.has(name);
  return {
    varying: names.filter(name => !isConstant(name)),
    constant: names.filter(isConstant).map(name => [name, first.get(name)])
  };
}

function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  return typeof a === 'object' && typeof b === 'object' && JSON.stringify(a) === JSON.stringify(b);
}

/** The trials in the order of the sorting; equal ones by id. */
export function sorted(
  trials: readonly ITrial[],
  columns: IColumns,
  sorting: ISorting,
  now: number
): ITrial[] {
  const valueOf = columns.shown.find(column => column.key === sorting.key)?.sortValue ?? (trial => trial.id);
  const keyed = trials.map(trial => ({ trial, value: valueOf(trial, now) }));
  const sign = sorting.isDescending ? -1 : 1;
  keyed.sort((a, b) => {
    const order = compareValues(a.value, b.value, sign);
    return order !== 0 ? order : a.trial.id - b.trial.id;
  });
  return keyed.map(item => item.trial);
}

function compareValues(a: number | string | null, b: number | string | null, sign: number): number {
  const aIsLast = a === null || a !== a;
  const bIsLast = b === null || b !== b;
  if (aIsLast || bIsLast) return Number(aIsLast) - Number(bIsLast);
  if (typeof a === 'number' && typeof b === 'number') return a === b ? 0 : a < b ? -sign : sign;
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return sign * compareTexts(String(a), String(b));
}

function comparable(value: unknown): number | string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' || typeof value === 'string') return value;
  return typeof value === 'boolean' ? Number(value) : JSON.stringify(value);
}
