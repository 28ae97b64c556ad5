/** The metric over the steps: the picked, best and running trials in colour, others grey. */
import { bisector } from 'd3-array';
import { scaleLinear } from 'd3-scale';
import { line } from 'd3-shape';
import { useMemo, useRef, useState } from 'preact/hooks';

import { useView } from './context';
import { formatMetric, formatNumber } from './format';
import { useSize } from './hooks';
import { markClass } from './marks';
import { lastStep, valueAxis, valueRange } from './ranges';
import { ValueTicks } from './ValueTicks';
import { isFinalRun, metricName, trialLabel, trialStateWord } from './words';
import type { IRun, ITrial, Point } from '../model/messages';

const HEIGHT = 178;
const LEFT = 46;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
/** A label so near to the end would be cut were it centred below its tick. */
const LAST_LABEL_PX = 12;
/** Curves that are drawn; more cannot be told apart. */
const CURVE_LIMIT = 60;
/** How near the pointer must be to a curve's point to mean it, in pixels. */
const REACH = 24;

export interface ICurvesProps {
  run: IRun;
  trials: readonly ITrial[];
  /** The trial that a person looks at. */
  pickedId: number | null;
  hoveredId: number | null;
  onHover: (trial_id: number | null) => void;
  onOpen: (trial_id: number) => void;
}

export function Curves({ run, trials, pickedId, hoveredId, onHover, onOpen }: ICurvesProps) {
  const { t } = useView();
  const ref = useRef<HTMLDivElement>(null);
  const { width } = useSize(ref, { width: 366, height: HEIGHT });
  const [near, setNear] = useState<{ trial: ITrial; point: Point } | null>(null);
  const best = run.best_id === null ? null : (trials.find(trial => trial.id === run.best_id) ?? null);
  const drawn = useMemo(
    () => chooseCurves(trials, [pickedId, hoveredId, run.best_id]),
    [trials, pickedId, hoveredId, run.best_id]
  );
  const range = valueRange(drawn, best?.value ?? null);
  const x = scaleLinear(
    [Math.min(0, ...drawn.map(trial => trial.curve[0][0])), lastStep(drawn)],
    [LEFT, width - RIGHT]
  );
  const axis = valueAxis(...(range ?? [0, 1]), 4);
  const y = scaleLinear(axis.domain, [HEIGHT - BOTTOM, TOP]).clamp(true);
  const path = line<Point>()
    .defined(point => Number.isFinite(point[1]))
    .x(point => x(point[0]))
    .y(point => y(point[1]))
    .digits(1);
  const find = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const found = nearest(drawn, x, y, event.clientX - box.left, event.clientY - box.top);
    setNear(found);
    onHover(found?.trial.id ?? null);
  };
  const leave = () => {
    setNear(null);
    onHover(null);
  };
  return (
    <figure class="lagom-Chart" ref={ref}>
      <figcaption>{t.__('%1 by step', metricName(t, run))}</figcaption>
      {drawn.length === 0 ? (
        <p class="lagom-Empty" style={{ height: `${HEIGHT}px` }}>
          {isFinalRun(run.state)
            ? t.__('No trial has reported this metric at a step.')
            : t.__('No trial has reported this metric at a step yet.')}
        </p>
      ) : (
        <svg
          width={width}
          height={HEIGHT}
          role="img"
          aria-label={t._n(
            '%2 over steps, %1 trial',
            '%2 over steps, %1 trials',
            drawn.length,
            metricName(t, run)
          )}
          onPointerMove={find}
          onPointerLeave={leave}
          onClick={() => near !== null && onOpen(near.trial.id)}
          style={near === null ? undefined : { cursor: 'pointer' }}
        >
          <g class="lagom-Axis">
            <ValueTicks axis={axis} y={y} left={LEFT} right={width - RIGHT} />
            {x
              .ticks(Math.max(2, Math.floor(width / 80)))
              .filter(Number.isInteger)
              .map(tick => (
                <text
                  key={tick}
                  x={Math.min(x(tick), width - 1)}
                  y={HEIGHT - 5}
                  text-anchor={x(tick) > width - RIGHT - LAST_LABEL_PX ? 'end' : 'middle'}
                >
                  {formatNumber(tick)}
                </text>
              ))}
          </g>
          {drawn.map(trial => (
            <g key={trial.id} class={`lagom-Curve ${curveClass(trial, run, pickedId, hoveredId)}`}>
              {trial.curve.length > 1 ? (
                <path d={path(trial.curve) ?? ''} />
              ) : (
                <circle cx={x(trial.curve[0][0])} cy={y(trial.curve[0][1])} r="2" />
              )}
            </g>
          ))}
          {near !== null && (
            <circle class="lagom-Chart-mark" cx={x(near.point[0])} cy={y(near.point[1])} r="3.5" />
          )}
        </svg>
      )}
      {near !== null && (
        <div
          class="lagom-Tip"
          style={{
            top: `${Math.max(0, y(near.point[1]) - 8)}px`,
            ...(x(near.point[0]) > width / 2
              ? { right: `${width - x(near.point[0]) + 10}px` }
              : { left: `${x(near.point[0]) + 10}px` })
          }}
        >
          {`${t.__('trial %1', trialLabel(near.trial))} · ${trialStateWord(t, near.trial.state)}`}
          <br />
          {`${t.__('step %1', formatNumber(near.point[0]))} · ${formatMetric(near.point[1])}`}
        </div>
      )}
    </figure>
  );
}

function curveClass(trial: ITrial, run: IRun, pickedId: number | null, hoveredId: number | null): string {
  const strong = markClass(trial.id, pickedId, hoveredId);
  if (trial.id === run.best_id) return `lagom-state-complete lagom-mod-best${strong}`;
  if (trial.state === 'COMPLETE' && strong === '') return 'lagom-mod-grey';
  return `lagom-state-${trial.state.toLowerCase()}${strong}`;
}

/** The ids' trials, running ones, then the latest others; drawn from the last to the first, so the ids' lie on top. */
function chooseCurves(trials: readonly ITrial[], ids: readonly (number | null)[]): ITrial[] {
  const rank = (trial: ITrial) => (ids.includes(trial.id) ? 2 : trial.state === 'RUNNING' ? 1 : 0);
  return trials
    .filter(trial => trial.curve.length > 0)
    .sort((a, b) => rank(b) - rank(a) || b.changed_at - a.changed_at)
    .slice(0, CURVE_LIMIT)
    .reverse();
}

function nearest(
  trials: readonly ITrial[],
  x: (step: number) => number,
  y: (value: number) => number,
  left: number,
  top: number
): { trial: ITrial; point: Point } | null {
  let found: { trial: ITrial; point: Point } | null = null;
  let closest = REACH;
  const byStep = bisector((point: Point) => x(point[0]));
  for (const trial of trials) {
    const index = byStep.center(trial.curve as Point[], left);
    for (const point of trial.curve.slice(Math.max(0, index - 1), index + 2)) {
      const distance = Math.hypot(x(point[0]) - left, y(point[1]) - top);
      if (distance < closest) {
        closest = distance;
        found = { trial, point };
      }
    }
  }
  return found;
}
