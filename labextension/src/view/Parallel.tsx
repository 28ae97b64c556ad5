/** Parallel coordinates: one line through all hyperparameters and the metric for each complete trial. */
import { scaleLinear, scaleLog, scalePoint } from 'd3-scale';
import { useMemo, useRef } from 'preact/hooks';

import { useView } from './context';
import { formatHparam, formatNumber, oneLine } from './format';
import { useSize } from './hooks';
import { axisOf } from './ranges';
import type { Axis } from './ranges';
import { metricName } from './words';
import type { IRun, ITrial } from '../model/messages';

const HEIGHT = 190;
const TOP = 34;
const BOTTOM = 12;
const SIDE = 44;
const AXIS_LIMIT = 8;
const LINE_LIMIT = 300;

interface IScale {
  readonly title: string;
  readonly place: (trial: ITrial) => number | null;
  readonly labels: readonly { readonly y: number; readonly text: string }[];
}

export interface IParallelProps {
  run: IRun;
  trials: readonly ITrial[];
  /** The hyperparameters that differ between trials. */
  names: readonly string[];
  pickedId: number | null;
  hoveredId: number | null;
}

export function Parallel({ run, trials, names, pickedId, hoveredId }: IParallelProps) {
  const { t } = useView();
  const ref = useRef<HTMLDivElement>(null);
  const { width } = useSize(ref, { width: 640, height: HEIGHT });
  const { drawn, scales } = useMemo(() => {
    const complete = rankedTrials(trials, run);
    const axes = names.slice(0, AXIS_LIMIT).map(name => hparamScale(name, complete, trials));
    return { drawn: thinned(complete), scales: [...axes, metricScale(metricName(t, run), complete)] };
  }, [trials, run, names, t]);
  const x = scalePoint(
    scales.map((_, index) => index),
    [SIDE, width - SIDE]
  );
  return (
    <figure class="lagom-Chart" ref={ref}>
      <figcaption>{t.__('hyperparameters of complete trials, the better the greener')}</figcaption>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        aria-label={t._n(
          'hyperparameters and metric of %1 trial',
          'hyperparameters and metric of %1 trials',
          drawn.length
        )}
      >
        {drawn.map(({ trial, share }) => (
          <path
            key={trial.id}
            class={`lagom-Thread${trial.id === run.best_id ? ' lagom-mod-best' : ''}${
              trial.id === pickedId || trial.id === hoveredId ? ' lagom-mod-strong' : ''
            }`}
            style={{
              '--lagom-share': `${Math.round(100 * share ** 1.5)}%`,
              opacity: 0.15 + 0.65 * share ** 2
            }}
            d={pathOf(scales.map((scale, index) => [x(index) ?? 0, scale.place(trial)]))}
          />
        ))}
        {scales.map((scale, index) => (
          <g key={scale.title} class="lagom-Axis" transform={`translate(${x(index) ?? 0} 0)`}>
            <line class="lagom-Axis-stem" y1={TOP} y2={HEIGHT - BOTTOM} />
            <text
              class="lagom-Axis-title"
              y={14}
              text-anchor={anchorOf(index, scales.length)}
              x={nudgeOf(index, scales.length)}
            >
              {scale.title}
            </text>
            {scale.labels.map(label => (
              <text
                key={label.text}
                class="lagom-Axis-label"
                x={index === scales.length - 1 ? -5 : 5}
                y={label.y + 4}
                text-anchor={index === scales.length - 1 ? 'end' : 'start'}
              >
                {label.text}
              </text>
            ))}
          </g>
        ))}
      </svg>
    </figure>
  );
}

function anchorOf(index: number, n: number): string {
  return index === 0 ? 'start' : index === n - 1 ? 'end' : 'middle';
}

function nudgeOf(index: number, n: number): number {
  return index === 0 ? 4 - SIDE : index === n - 1 ? SIDE - 4 : 0;
}

function hparamScale(name: string, trials: readonly ITrial[], all: readonly ITrial[]): IScale {
  const nameOf = (value: unknown) => formatHparam(value, 14);
  const valuesOf = (some: readonly ITrial[]) =>
    some.filter(trial => name in trial.hparams).map(trial => trial.hparams[name]);
  const axis = axisOf(valuesOf(trials), nameOf, valuesOf(all));
  const y = placeOn(axis);
  return {
    title: oneLine(name, 18),
    place: trial =>
      name in trial.hparams
        ? y(axis.kind === 'names' ? nameOf(trial.hparams[name]) : trial.hparams[name])
        : null,
    labels: labelsOf(axis, y)
  };
}

function metricScale(title: string, trials: readonly ITrial[]): IScale {
  const axis = axisOf(
    trials.map(trial => trial.value),
    String
  );
  const y = placeOn(axis);
  return { title, place: trial => y(trial.value), labels: labelsOf(axis, y) };
}

function placeOn(axis: Axis): (value: unknown) => number | null {
  const rangeOf = [HEIGHT - BOTTOM, TOP];
  if (axis.kind === 'names') {
    const points = scalePoint(axis.names, rangeOf).padding(0.2);
    return value => points(String(value)) ?? null;
  }
  const [low, high] =
    axis.low === axis.high ? [axis.low * 0.9 - 1e-9, axis.high * 1.1 + 1e-9] : [axis.low, axis.high];
  const numbers = axis.kind === 'log' ? scaleLog([low, high], rangeOf) : scaleLinear([low, high], rangeOf);
  return value => (typeof value === 'number' ? numbers(value) : null);
}

function labelsOf(axis: Axis, y: (value: unknown) => number | null): { y: number; text: string }[] {
  const values =
    axis.kind === 'names'
      ? axis.names.slice(0, 8)
      : axis.low === axis.high
        ? [axis.low]
        : [axis.low, axis.high];
  return values.map(value => ({
    y: y(value) ?? 0,
    text: typeof value === 'number' ? formatNumber(value, 3) : value
  }));
}

/** Complete trials with a finite value, the worst first, with their place among them. */
function rankedTrials(trials: readonly ITrial[], run: IRun): ITrial[] {
  const sign = run.direction === 'min' ? -1 : 1;
  return trials
    .filter(trial => trial.state === 'COMPLETE' && trial.value !== null && Number.isFinite(trial.value))
    .sort((a, b) => sign * ((a.value ?? 0) - (b.value ?? 0)));
}

function thinned(ranked: readonly ITrial[]): { trial: ITrial; share: number }[] {
  const stride = Math.max(1, Math.ceil(ranked.length / LINE_LIMIT));
  return ranked
    .map((trial, index) => ({
      trial,
      share: ranked.length < 2 ? 1 : index / (ranked.length - 1),
      fromBest: ranked.length - 1 - index
    }))
    .filter(item => item.fromBest % stride === 0);
}

/** Straight pieces; a missing value leaves a gap. */
function pathOf(points: readonly (readonly [number, number | null])[]): string {
  let isOpen = false;
  let path = '';
  for (const [left, top] of points) {
    if (top !== null) path += `${isOpen ? 'L' : 'M'}${left.toFixed(1)} ${top.toFixed(1)}`;
    isOpen = top !== null;
  }
  return path;
}
