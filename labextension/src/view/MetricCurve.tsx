/** One metric of one trial over its steps, in full. */
import { extent } from 'd3-array';
import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { useRef } from 'preact/hooks';

import { useView } from './context';
import { formatNumber, oneLine } from './format';
import { useSize } from './hooks';
import { valueAxis } from './ranges';
import { ValueTicks } from './ValueTicks';
import type { Point, TrialState } from '../model/messages';

const HEIGHT = 92;
const LEFT = 46;
const RIGHT = 8;
const TOP = 6;
const BOTTOM = 18;

export function MetricCurve({
  name,
  points,
  state
}: {
  name: string;
  points: readonly Point[];
  state: TrialState;
}) {
  const { t } = useView();
  const ref = useRef<HTMLDivElement>(null);
  const { width } = useSize(ref, { width: 366, height: HEIGHT });
  const finite = points.filter(point => Number.isFinite(point[1]));
  const [low = 0, high = 1] = extent(finite, point => point[1]);
  const [first = 0, last = 1] = extent(points, point => point[0]);
  const x = scaleLinear([first, Math.max(last, first + 1)], [LEFT, width - RIGHT]);
  const axis = valueAxis(low, high, 3);
  const y = scaleLinear(axis.domain, [HEIGHT - BOTTOM, TOP]);
  const path = line<Point>()
    .defined(point => Number.isFinite(point[1]))
    .x(point => x(point[0]))
    .y(point => y(point[1]))
    .digits(1)(points);
  return (
    <figure class="lagom-Chart" ref={ref}>
      <figcaption>{oneLine(name, 40)}</figcaption>
      {finite.length > 0 && (
        <svg width={width} height={HEIGHT} role="img" aria-label={t.__('%1 by step', oneLine(name, 40))}>
          <g class="lagom-Axis">
            <ValueTicks axis={axis} y={y} left={LEFT} right={width - RIGHT} />
            <text x={LEFT} y={HEIGHT - 4}>
              {formatNumber(first)}
            </text>
            <text x={width - RIGHT} y={HEIGHT - 4} text-anchor="end">
              {formatNumber(last)}
            </text>
          </g>
          <g class={`lagom-Curve lagom-mod-strong lagom-state-${state.toLowerCase()}`}>
            {finite.length > 1 ? (
              <path d={path ?? ''} />
            ) : (
              <circle cx={x(finite[0][0])} cy={y(finite[0][1])} r="2" />
            )}
          </g>
        </svg>
      )}
    </figure>
  );
}
