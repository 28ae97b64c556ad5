/** An ablation as Python has computed it: the `ablation` of an update. The page computes nothing of it. */
import { arrayOf, countOf, isRecord, numberOrNull, parseNumber, textOf, textsOf } from './json';
import type { JsonRecord } from './json';
import { TRIAL_STATES } from './states';
import type { TrialState } from './states';

export const EVIDENCES = ['worse', 'better', 'lower', 'higher', 'none'] as const;
/** What a component's absence does; 'lower' and 'higher' of metrics that do not count. */
export type Evidence = (typeof EVIDENCES)[number];

/** What is the same for every metric. */
export interface IComponent {
  readonly name: string;
  readonly state: TrialState;
  /** Why it failed. */
  readonly reason: string;
  /** How it was left out. */
  readonly change: string;
  readonly parameters: number | null;
  readonly seconds: number | null;
}

/** A component's numbers of one metric; null where nothing can be said. */
export interface IDifference {
  /** Of which component. */
  readonly at: number;
  readonly n: number;
  readonly mean: number | null;
  readonly sd: number | null;
  readonly delta: number | null;
  readonly ci_low: number | null;
  readonly ci_high: number | null;
  readonly p_holm: number | null;
  readonly evidence: Evidence | null;
  readonly interaction: number | null;
  readonly interaction_low: number | null;
  readonly interaction_high: number | null;
  readonly interaction_p_holm: number | null;
}

export interface IMetricTable {
  readonly name: string;
  /** What all interval bars show. */
  readonly axis: readonly [low: number, high: number];
  /** Of differences; null: numbers of any size. */
  readonly decimals: number | null;
  readonly rows: readonly IDifference[];
}

export interface IAblation {
  /** What `seconds` are of. */
  readonly unit: 'step' | 'trial';
  readonly notices: readonly string[];
  readonly n_components: number;
  readonly n_left_out: number;
  readonly n_judged: number;
  readonly n_with_evidence: number;
  /** The baseline first, once it is there. */
  readonly components: readonly IComponent[];
  /** The one that counts first. */
  readonly metrics: readonly IMetricTable[];
}

/** What nothing is left out of. */
export const BASELINE = 'baseline';

export function parseAblation(data: JsonRecord): IAblation {
  const components = arrayOf(data.components).filter(isRecord).map(parseComponent);
  return {
    unit: data.unit === 'step' ? 'step' : 'trial',
    notices: textsOf(data.notices),
    n_components: countOf(data.n_components),
    n_left_out: countOf(data.n_left_out),
    n_judged: countOf(data.n_judged),
    n_with_evidence: countOf(data.n_with_evidence),
    components,
    metrics: arrayOf(data.metrics)
      .filter(isRecord)
      .map(metric => parseMetric(metric, components.length))
  };
}

function parseComponent(data: JsonRecord): IComponent {
  return {
    name: textOf(data.name),
    state: TRIAL_STATES.find(state => state === data.state) ?? 'COMPLETE',
    reason: textOf(data.reason),
    change: textOf(data.change),
    parameters: numberOrNull(data.parameters),
    seconds: numberOrNull(data.seconds)
  };
}

function parseMetric(data: JsonRecord, nComponents: number): IMetricTable {
  const [low, high] = arrayOf(data.axis).map(parseNumber);
  const isAxis = typeof low === 'number' && typeof high === 'number' && low < high;
  return {
    name: textOf(data.name),
    axis: isAxis ? [low, high] : [-1, 1],
    decimals: numberOrNull(data.decimals),
    rows: arrayOf(data.rows)
      .filter(isRecord)
      .map(parseDifference)
      .filter(row => row.at < nComponents)
  };
}

function parseDifference(data: JsonRecord): IDifference {
  return {
    at: countOf(data.at),
    n: countOf(data.n),
    mean: parseNumber(data.mean),
    sd: parseNumber(data.sd),
    delta: parseNumber(data.delta),
    ci_low: parseNumber(data.ci_low),
    ci_high: parseNumber(data.ci_high),
    p_holm: parseNumber(data.p_holm),
    evidence: EVIDENCES.find(evidence => evidence === data.evidence) ?? null,
    interaction: parseNumber(data.interaction),
    interaction_low: parseNumber(data.interaction_low),
    interaction_high: parseNumber(data.interaction_high),
    interaction_p_holm: parseNumber(data.interaction_p_holm)
  };
}
