/** Parallel coordinates: one line through all hyperparameters and the metric for each complete trial. */
import { scaleLinear, scaleLog, scalePoint } from 'd3-scale';
import { useMemo, useRef } from 'preact/hooks';

import { useView } from './context';
import { formatHparam, formatNumber, oneLine } from './format';
import { useSize } from './hooks';
import { markClass } from './marks';
import { axisOf } from './ranges';
import type { Axis } from './ranges';
import { NAME_LIMIT, metricName } from './words';
import type { IRun, ITrial } from '../model/messages';

const HEIGHT = 200;
const TOP = 44;
const BOTTOM = 12;
/** Left of the first axis, and right of the last one, whose labels stand there. */
const LEFT = 16;
const RIGHT = 56;
/** Where names stand: in two rows by turns where one has no room for them. */
const TITLE_ROWS = [27, 13] as const;
const TITLE_CHARACTER_PX = 6.9;
const LABEL_CHARACTER_PX = 6.2;
const GAP_PX = 8;
const EDGE_PX = 2;
const AXIS_LIMIT = 8;
const LINE_LIMIT = 300;

interface IScale {
  readonly title: string;
  readonly place: (trial: ITrial) => number | null;
  readonly labels: readonly { readonly y: number; readonly value: number | string }[];
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
    [LEFT, width - RIGHT]
  );
  const titles = placedTitles(
    scales.map(scale => scale.title),
    x.step(),
    width
  );
  const roomOf = (index: number) => (index === scales.length - 1 ? RIGHT : x.step()) - 5 - GAP_PX / 2;
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
            class={`lagom-Thread${trial.id === run.best_id ? ' lagom-mod-best' : ''}${markClass(trial.id, pickedId, hoveredId)}`}
            style={{
              '--lagom-share': `${Math.round(100 * share ** 1.5)}%`,
              opacity: 0.15 + 0.65 * share ** 2
            }}
            d={pathOf(scales.map((scale, index) => [x(index) ?? 0, scale.place(trial)]))}
          />
        ))}
        {scales.map((scale, index) => (
          <g key={index} class="lagom-Axis" transform={`translate(${x(index) ?? 0} 0)`}>
            <line class="lagom-Axis-stem" y1={TOP} y2={HEIGHT - BOTTOM} />
            <text
              class="lagom-Axis-title"
              y={titles[index].y}
              text-anchor={titles[index].anchor}
              x={titles[index].x - (x(index) ?? 0)}
            >
              <title>{scale.title}</title>
              {titles[index].text}
            </text>
            {scale.labels.map(label => (
              <text key={label.value} class="lagom-Axis-label" x={5} y={label.y + 4}>
                <title>{String(label.value)}</title>
                {fittingLabel(label.value, Math.floor(roomOf(index) / LABEL_CHARACTER_PX))}
              </text>
            ))}
          </g>
        ))}
      </svg>
    </figure>
  );
}

interface IPlacedTitle {
  readonly text: string;
  /** In the chart. */
  readonly x: number;
  readonly y: number;
  readonly anchor: 'start' | 'middle' | 'end';
}

/** The axes' names above them, cut where neighbours would touch; by turns in two rows where that shows more of them. */
export function placedTitles(titles: readonly string[], step: number, width: number): IPlacedTitle[] {
  const last = titles.length - 1;
  const isTight = titles.some(title => title.length * TITLE_CHARACTER_PX + GAP_PX > step);
  const rows = isTight ? 2 : 1;
  const at = (index: number) => LEFT + index * step;
  /** Half of what a name between others takes. */
  const half = (index: number) =>
    Math.min(titles[index].length * TITLE_CHARACTER_PX, rows * step - GAP_PX) / 2;
  return titles.map((title, index) => {
    // The outer ones begin and end with the chart, and have what their neighbours in the row leave.
    const [x, anchor, room] =
      index === 0
        ? ([EDGE_PX, 'start', rows < last ? at(rows) - half(rows) - EDGE_PX : width / 2] as const)
        : index === last
          ? ([
              width - EDGE_PX,
              'end',
              last - rows > 0 ? width - EDGE_PX - at(last - rows) - half(last - rows) : width / 2
            ] as const)
          : ([
              at(index),
              'middle',
              Math.min(rows * step, 2 * (at(index) - EDGE_PX), 2 * (width - EDGE_PX - at(index)))
            ] as const);
    const nFitting = Math.max(2, Math.floor((room - GAP_PX) / TITLE_CHARACTER_PX));
    return { text: oneLine(title, nFitting), x, y: TITLE_ROWS[index % rows], anchor };
  });
}

/** A number with as many digits as there is room for, and text cut. */
export function fittingLabel(value: number | string, nFitting: number): string {
  if (typeof value === 'string') return oneLine(value, Math.max(2, nFitting));
  const texts = [3, 2, 1].map(digits => formatNumber(value, digits));
  return texts.find(text => text.length <= nFitting) ?? texts[2];
}

function hparamScale(name: string, trials: readonly ITrial[], all: readonly ITrial[]): IScale {
  const nameOf = (value: unknown) => formatHparam(value, 14);
  const valuesOf = (some: readonly ITrial[]) =>
    some.filter(trial => name in trial.hparams).map(trial => trial.hparams[name]);
  const axis = axisOf(valuesOf(trials), nameOf, valuesOf(all));
  const y = placeOn(axis);
  return {
    title: oneLine(name, NAME_LIMIT),
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

function labelsOf(axis: Axis, y: (value: unknown) => number | null): { y: number; value: number | string }[] {
  const values =
    axis.kind === 'names'
      ? axis.names.slice(0, 8)
      : axis.low === axis.high
        ? [axis.low]
        : [axis.low, axis.high];
  return values.map(value => ({ y: y(value) ?? 0, value }));
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
