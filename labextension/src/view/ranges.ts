/** The axes of charts: ranges in which most values can be told apart, and which hyperparameters want a logarithm. Pure. */
import { extent, quantileSorted, ticks } from 'd3-array';

import { formatNumber } from './format';
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
  return [low, high];
}

export interface IValueAxis {
  /** From the value at the bottom to the one at the top; never empty. */
  readonly domain: readonly [low: number, high: number];
  /** The values to name, and their names: as short as they can be told apart. */
  readonly ticks: readonly { readonly value: number; readonly text: string }[];
}

/** The axis for values of this range; one of a single value has it in its middle, and one tick. */
export function valueAxis(low: number, high: number, nTicks: number): IValueAxis {
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low <= size * 1e-9) {
    const reach = size * 0.1 || 1;
    return { domain: [low - reach, high + reach], ticks: [{ value: low, text: formatNumber(low, 6) }] };
  }
  const values = ticks(low, high, nTicks);
  const textsOf = (digits: number) => values.map(value => formatNumber(value, digits));
  const enough = [4, 5, 6, 7, 8, 9, 10, 11, 12].find(
    digits => new Set(textsOf(digits)).size === values.length
  );
  const texts = textsOf(enough ?? 12);
  return { domain: [low, high], ticks: values.map((value, index) => ({ value, text: texts[index] })) };
}

/** Texts that hold numbers come in the order of the numbers: '8', '16x8', '32x16x8'. */
export function compareTexts(a: string, b: string): number {
  const [first, second] = [Number(a), Number(b)];
  if (a.trim() !== '' && b.trim() !== '' && first < second) return -1;
  if (a.trim() !== '' && b.trim() !== '' && first > second) return 1;
  return a.localeCompare(b, 'en', { numeric: true });
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
    return { kind: 'names', names: [...new Set(values.map(nameOf))].sort(compareTexts) };
  const [low, high] = extent(values) as [number, number];
  const [lowest = low, highest = high] = areNumbers(tried) ? extent(tried) : [];
  return { kind: low > 0 && lowest > 0 && highest / lowest >= 100 ? 'log' : 'linear', low, high };
}

function areNumbers(values: readonly unknown[]): values is readonly number[] {
  return values.every(value => typeof value === 'number' && Number.isFinite(value));
}
