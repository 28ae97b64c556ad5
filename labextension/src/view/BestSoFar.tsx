/** The best value over time, with a dot for each trial that ended. */
import { scaleLinear } from 'd3-scale';
import { curveStepAfter, line } from 'd3-shape';
import { useRef } from 'preact/hooks';

import { useView } from './context';
import { formatDuration } from './format';
import { useSize } from './hooks';
import { valueAxis } from './ranges';
import { ValueTicks } from './ValueTicks';
import { elapsedS, isFinalTrial } from './words';
import { markClass } from './marks';
import type { IRun, ITrial } from '../model/messages';

const HEIGHT = 96;
const LEFT = 46;
const RIGHT = 8;
const TOP = 6;
const BOTTOM = 18;
const DOT_LIMIT = 300;

export interface IBestSoFarProps {
  run: IRun;
  trials: readonly ITrial[];
  now: number;
  pickedId: number | null;
  hoveredId: number | null;
}

export function BestSoFar({ run, trials, now, pickedId, hoveredId }: IBestSoFarProps) {
  const { t } = useView();
  const ref = useRef<HTMLDivElement>(null);
  const { width } = useSize(ref, { width: 366, height: HEIGHT });
  const steps = run.improvements.filter(([, , value]) => Number.isFinite(value));
  if (steps.length === 0) return null;
  const end_s = Math.max(elapsedS(run, now), steps[steps.length - 1][0], 1e-3);
  const dots = endedTrials(trials, run);
  const values = steps.map(([, , value]) => value);
  const reach = Math.max(...values) - Math.min(...values) || Math.abs(values[0]) * 0.05 || 1;
  // Far worse trials lie on the rim: the steps of the best one are what is to be seen.
  const isMax = run.direction !== 'min';
  const dotValues = dots
    .map(dot => dot.value)
    .filter(value => Math.abs(value - (isMax ? Math.max(...values) : Math.min(...values))) <= 2 * reach);
  const low = Math.min(...values, ...dotValues);
  const high = Math.max(...values, ...dotValues);
  const x = scaleLinear([0, end_s], [LEFT, width - RIGHT]);
  const axis = valueAxis(low, high, 2);
  const y = scaleLinear(axis.domain, [HEIGHT - BOTTOM, TOP]).clamp(true);
  const last = steps[steps.length - 1];
  const points = [
    ...steps.map(([at, , value]): [number, number] => [at, value]),
    [end_s, last[2]] as [number, number]
  ];
  return (
    <figure class="lagom-Chart" ref={ref}>
      <figcaption>{t.__('best so far')}</figcaption>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        aria-label={t._n(
          'best value over time, %1 improvement',
          'best value over time, %1 improvements',
          steps.length
        )}
      >
        <g class="lagom-Axis">
          <ValueTicks axis={axis} y={y} left={LEFT} right={width - RIGHT} />
          <text x={LEFT} y={HEIGHT - 4}>
            0 s
          </text>
          <text x={width - RIGHT} y={HEIGHT - 4} text-anchor="end">
            {formatDuration(end_s)}
          </text>
        </g>
        {dots
          .filter(dot => dot.value >= low && dot.value <= high)
          .map(dot => (
            <circle
              key={dot.id}
              class={`lagom-Dot lagom-state-${dot.state}${markClass(dot.id, pickedId, hoveredId)}`}
              cx={x(dot.at_s)}
              cy={y(dot.value)}
              r={dot.id === pickedId || dot.id === hoveredId ? 3.5 : 2}
            />
          ))}
        <path
          class="lagom-Curve lagom-mod-best lagom-state-complete"
          d={
            line<[number, number]>()
              .x(point => x(point[0]))
              .y(point => y(point[1]))
              .curve(curveStepAfter)
              .digits(1)(points) ?? ''
          }
        />
      </svg>
    </figure>
  );
}

function endedTrials(
  trials: readonly ITrial[],
  run: IRun
): { id: number; at_s: number; value: number; state: string }[] {
  const started_at = run.started_at;
  if (started_at === null) return [];
  const ended = trials.filter(
    trial =>
      isFinalTrial(trial.state) &&
      trial.ended_at !== null &&
      trial.value !== null &&
      Number.isFinite(trial.value)
  );
  const stride = Math.max(1, Math.ceil(ended.length / DOT_LIMIT));
  return ended
    .filter((_, index) => index % stride === 0)
    .map(trial => ({
      id: trial.id,
      at_s: (trial.ended_at ?? 0) + trial.paused_s - started_at,
      value: trial.value ?? 0,
      state: trial.state.toLowerCase()
    }));
}
