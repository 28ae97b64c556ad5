/** A trial's curve in the size of a word, on axes that all rows share. */
import { line } from 'd3-shape';

import type { Point } from '../model/messages';

const WIDTH = 60;
const HEIGHT = 16;

export interface IAxes {
  readonly low: number;
  readonly high: number;
  readonly lastStep: number;
}

export function Sparkline({ points, axes }: { points: readonly Point[]; axes: IAxes }) {
  if (points.length === 0) return null;
  const firstStep = Math.min(0, points[0][0]);
  const x = (step: number) =>
    2 + ((WIDTH - 4) * (step - firstStep)) / Math.max(1e-12, axes.lastStep - firstStep);
  const share = (value: number) =>
    Math.min(1, Math.max(0, (value - axes.low) / Math.max(1e-300, axes.high - axes.low)));
  const path = line<Point>()
    .x(point => x(point[0]))
    .y(point => HEIGHT - 2 - share(point[1]) * (HEIGHT - 4))
    .digits(1)(points);
  const last = points[points.length - 1];
  return (
    <svg
      class="lagom-Spark"
      width={WIDTH}
      height={HEIGHT}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      aria-hidden="true"
    >
      {points.length > 1 && <path d={path ?? ''} />}
      <circle cx={x(last[0])} cy={HEIGHT - 2 - share(last[1]) * (HEIGHT - 4)} r="1.7" />
    </svg>
  );
}
