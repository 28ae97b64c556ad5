/**
 * A version of a model as the server extension lists it, and what the side bar says of it.
 */
import {
  arrayOf,
  countOf,
  isRecord,
  numberOrNull,
  parseNumber,
  recordOf,
  textOf,
  textOrNull
} from '../model/json';
import { formatMetric } from '../view/format';

/** A file that the model's trial had read. */
export interface IModelInput {
  path: string;
  /** The same below the server's root; null when it lies elsewhere. */
  shown: string | null;
}

/** One entry of `GET lagom/models`; the fields keep their Python spelling. */
export interface IModelInfo {
  name: string;
  version: number;
  dir: string;
  /** ISO 8601. */
  created_at: string;
  user: string;
  description: string;
  framework: string;
  metrics: readonly (readonly [string, number])[];
  /** Null for a model that was exported outside of a run. */
  run_id: string | null;
  /** The run's folder below the server's root; null when it is not there. */
  run_dir: string | null;
  trial_id: number | null;
  /** From 1; null like `trial_id`, and of servers that do not say it. */
  attempt: number | null;
  /** The first of them; `n_inputs` is how many there are. */
  inputs: readonly IModelInput[];
  n_inputs: number;
}

/** Metrics in the line of a version; the others are in its title. */
const N_METRICS = 3;

/**
 * The entries of an answer to `GET lagom/models`.
 *
 * Throws a TypeError when the answer has another form.
 */
export function parseModels(answer: unknown): IModelInfo[] {
  const models = isRecord(answer) ? answer.models : undefined;
  if (!Array.isArray(models)) {
    throw new TypeError('The answer has no list of models.');
  }
  return models.map(parseModel);
}

function parseModel(entry: unknown): IModelInfo {
  if (!isRecord(entry) || typeof entry.name !== 'string' || typeof entry.version !== 'number') {
    throw new TypeError('A listed model has no name or no version.');
  }
  const created_at = textOf(entry.created_at);
  if (Number.isNaN(Date.parse(created_at))) {
    throw new TypeError(`The model ${entry.name} has no time of its export: ${created_at}.`);
  }
  return {
    name: entry.name,
    version: entry.version,
    dir: textOf(entry.dir),
    created_at,
    user: textOf(entry.user),
    description: textOf(entry.description),
    framework: textOf(entry.framework),
    metrics: Object.entries(recordOf(entry.metrics)).flatMap(([name, value]) => {
      const number = parseNumber(value);
      return number === null ? [] : [[name, number] as const];
    }),
    run_id: textOrNull(entry.run_id),
    run_dir: textOrNull(entry.run_dir),
    trial_id: numberOrNull(entry.trial_id),
    attempt: numberOrNull(entry.attempt),
    inputs: arrayOf(entry.inputs)
      .filter(isRecord)
      .map(input => ({ path: textOf(input.path), shown: textOrNull(input.shown) })),
    n_inputs: countOf(entry.n_inputs)
  };
}

/** Versions by the name of their model, in the order of the list. */
export function byName(models: readonly IModelInfo[]): [string, IModelInfo[]][] {
  const groups = new Map<string, IModelInfo[]>();
  for (const model of models) {
    groups.set(model.name, [...(groups.get(model.name) ?? []), model]);
  }
  return [...groups];
}

/** 'accuracy 0.9500 · loss 0.1000', and '' without metrics. */
export function metricsText(model: IModelInfo, limit = N_METRICS): string {
  const shown = model.metrics.slice(0, limit).map(([name, value]) => `${name} ${formatMetric(value)}`);
  return [...shown, ...(model.metrics.length > limit ? ['…'] : [])].join(' · ');
}
