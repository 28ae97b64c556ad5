/** A difference on its confidence interval, on an axis that all rows share; its shape says the evidence too. */
import { ticks } from 'd3-array';

import { formatNumber } from './format';
import type { Evidence, IDifference } from '../model/ablation';

const WIDTH = 160;
const HEIGHT = 24;
const MIDDLE = HEIGHT / 2;
/** Room at the sides for shapes. */
const SIDE = 6;
/** The zero line reaches through the whole cell, which cuts it. */
const OVER = 80;
/** A label so near to an end would leave the picture, so it ends there. */
const LABEL_PX = 16;
/** What a label's character takes, and how far labels must be apart. */
const CHARACTER_PX = 6;
const LABEL_GAP_PX = 6;
const ANCHORS = { 0: 'start', 0.5: 'middle', 1: 'end' } as const;

export type Axis = readonly [low: number, high: number];

/** Shapes around a point, as `EVIDENCE_MARKS`. */
const CIRCLE = 'm-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z';
const SHAPES: Readonly<Record<Evidence, string>> = {
  worse: CIRCLE,
  better: 'm0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z',
  lower: 'm-4.5 -3.5h9l-4.5 8z',
  higher: 'm-4.5 3.5h9l-4.5 -8z',
  none: CIRCLE
};

export function IntervalBar({ row, axis, label }: { row: IDifference; axis: Axis; label: string }) {
  const { delta, ci_low, ci_high } = row;
  const hasDelta = delta !== null && Number.isFinite(delta);
  return (
    <svg
      class="lagom-Interval"
      width={WIDTH}
      height={HEIGHT}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      {...(hasDelta ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true })}
    >
      <path class="lagom-Interval-zero" d={`M${place(0, axis)} ${-OVER}V${HEIGHT + OVER}`} />
      {hasDelta && ci_low !== null && ci_high !== null && <path d={whisker(ci_low, ci_high, axis)} />}
      {hasDelta && (
        <path
          class="lagom-Interval-mark"
          d={`M${place(delta, axis)} ${MIDDLE}${SHAPES[row.evidence ?? 'none']}`}
        />
      )}
    </svg>
  );
}

/** What the bars' axis is: stands in the baseline's row, whose difference is zero. */
export function IntervalScale({ axis }: { axis: Axis }) {
  const values = ticks(axis[0], axis[1], 3);
  // Zero is always named; of the others every so many that none touches the next.
  const zero = values.indexOf(0);
  const every = (step: number) => values.filter((_, at) => (at - zero) % step === 0);
  let step = 1;
  while (step < values.length && !areApart(every(step), axis)) step += 1;
  const shown = every(step);
  return (
    <svg
      class="lagom-Interval"
      width={WIDTH}
      height={HEIGHT}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      aria-hidden="true"
    >
      <path class="lagom-Interval-zero" d={`M${place(0, axis)} ${HEIGHT - 4}V${HEIGHT + OVER}`} />
      {shown.map(value => {
        const x = place(value, axis);
        return (
          <text key={value} x={x} y={MIDDLE + 4} text-anchor={ANCHORS[anchorOf(x)]}>
            {tickLabel(value)}
          </text>
        );
      })}
    </svg>
  );
}

/** What of a label is left of its tick: none of it, half, or all. */
function anchorOf(x: number): 0 | 0.5 | 1 {
  return x > WIDTH - LABEL_PX ? 1 : x < LABEL_PX ? 0 : 0.5;
}

function areApart(values: readonly number[], axis: Axis): boolean {
  let end = -Infinity;
  return values.every(value => {
    const x = place(value, axis);
    const width = CHARACTER_PX * tickLabel(value).length;
    const start = x - anchorOf(x) * width;
    const isApart = start >= end + LABEL_GAP_PX;
    end = start + width;
    return isApart;
  });
}

function tickLabel(value: number): string {
  return `${value > 0 ? '+' : ''}${formatNumber(value, 3)}`;
}

/** With ends, or with arrows where it goes on beyond the axis. */
function whisker(low: number, high: number, axis: Axis): string {
  const [left, right] = [place(low, axis), place(high, axis)];
  const first = low < axis[0] ? 'm4 -4l-4 4l4 4' : 'm0 -4v8';
  const last = high > axis[1] ? 'm-4 -4l4 4l-4 4' : 'm0 -4v8';
  return `M${left} ${MIDDLE}H${right}M${left} ${MIDDLE}${first}M${right} ${MIDDLE}${last}`;
}

function place(value: number, [low, high]: Axis): number {
  const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
  return Math.round(10 * (SIDE + share * (WIDTH - 2 * SIDE))) / 10;
}
