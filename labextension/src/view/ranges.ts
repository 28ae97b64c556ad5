/** The axes of charts: ranges in which most values can be told apart, and which hyperparameters want a logarithm. Pure. */
import { extent, quantileSorted } from 'd3-array';

import type { ITrial } from '../model/messages';

/** Curves that tell the range of many more. */
const CURVE_SAMPLE = 1_000;

/**
 * Range of the trials' curves. Outliers (a first loss of 1e6) do not flatten the rest: the range ends at the middle
 * 90 % of the values where the others lie further away than three times its width. The best value is always inside.
 */
export function valueRange(
  trials: readonly ITrial[],
  bestValue: number | null
): [low: number, high: number] | null {
  const values: number[] = [];
  const stride = Math.max(1, Math.floor(trials.length / CURVE_SAMPLE));
  for (let index = 0; index < trials.length; index += stride) {
    for (const point of trials[index].curve) if (Number.isFinite(point[1])) values.push(point[1]);
  }
  if (values.length === 0) return null;
  const all = values.sort((a, b) => a - b);
  let low = all[0];
  let high = all[all.length - 1];
  const innerLow = quantileSorted(all, 0.05) ?? low;
  const innerHigh = quantileSorted(all, 0.95) ?? high;
  const reach = 3 * (innerHigh - innerLow);
  if (reach > 0 && innerLow - low > reach) low = innerLow;
  if (reach > 0 && high - innerHigh > reach) high = innerHigh;
  if (bestValue !== null && Number.isFinite(bestValue)) {
    low = Math.min(low, bestValue);
    high = Math.max(high, bestValue);
  }
  return low === high ? [low - Math.abs(low || 1) * 0.05, high + Math.abs(high || 1) * 0.05] : [low, high];
}

export function lastStep(trials: Iterable<ITrial>): number {
  let last = 1;
  for (const trial of trials) {
    const point = trial.curve[trial.curve.length - 1];
    if (point !== undefined && point[0] > last) last = point[0];
  }
  return last;
}

export type Axis =
  | { readonly kind: 'linear' | 'log'; readonly low: number; readonly high: number }
  | { readonly kind: 'names'; readonly names: readonly string[] };

/**
 * The axis for these values. What was tried over at least two orders of magnitude gets a logarithm; what are no numbers
 * are names.
 *
 * @param tried - all values of the search, of which `values` may be a narrower part.
 */
export function axisOf(
  values: readonly unknown[],
  nameOf: (value: unknown) => string,
  tried: readonly unknown[] = values
): Axis {
  if (values.length === 0 || !areNumbers(values))
    return { kind: 'names', names: [...new Set(values.map(nameOf))].sort() };
  const [low, high] = extent(values) as [number, number];
  const [lowest = low, highest = high] = areNumbers(tried) ? extent(tried) : [];
  return { kind: low > 0 && lowest > 0 && highest / lowest >= 100 ? 'log' : 'linear', low, high };
}

function areNumbers(values: readonly unknown[]): values is readonly number[] {
  return values.every(value => typeof value === 'number' && Number.isFinite(value));
}
