/** The run in a thin bar and five numbers. */
import type { ComponentChildren } from 'preact';

import { baselineDetail, baselineWords } from './ablationWords';
import { useView } from './context';
import { formatCount, formatMetric } from './format';
import {
  bestWords,
  countedStates,
  directionArrow,
  isAblation,
  isFinalTrial,
  metricName,
  nDone,
  savedWords,
  stateCountWords,
  timeWords,
  workerWords
} from './words';
import type { IAblation } from '../model/ablation';
import type { IRun, ITrial, IWorker } from '../model/messages';

export function ProgressBar({ run }: { run: IRun }) {
  const { t } = useView();
  const states = countedStates(run).filter(state => state !== 'WAITING');
  const nShown = states.reduce((sum, state) => sum + run.counts[state], 0);
  const nAll = Math.max(run.n_trials ?? 0, nShown, 1);
  const done = nDone(run);
  return (
    <div
      class="lagom-Bar"
      role="progressbar"
      aria-label={t.__('Trials done')}
      aria-valuemin={0}
      aria-valuemax={run.n_trials ?? undefined}
      aria-valuenow={run.n_trials === null ? undefined : done}
    >
      {states.map(state => (
        <span
          key={state}
          class={`lagom-state-${state.toLowerCase()}`}
          style={{ width: `${(100 * run.counts[state]) / nAll}%` }}
          title={stateCountWords(t, state, run.counts[state])}
        />
      ))}
    </div>
  );
}

export interface ITilesProps {
  run: IRun;
  best: ITrial | null;
  ablation: IAblation | null;
  trials: ReadonlyMap<number, ITrial>;
  workers: readonly IWorker[];
  /** Seconds since the epoch, by the run's clock. */
  now: number;
  onFilter: (text: string) => void;
  onOpen: (trial_id: number) => void;
}

export function Tiles({ run, best, ablation, trials, workers, now, onFilter, onOpen }: ITilesProps) {
  const { t } = useView();
  const [elapsed, left] = timeWords(t, run, trials.values(), now);
  const saved = savedWords(t, run);
  const result = isAblation(run) ? baselineDetail(t, ablation) : bestWords(t, run, best);
  const [busy, busyOf] = workerWords(t, run, workers);
  return (
    <div class="lagom-Tiles">
      <Tile
        value={isAblation(run) ? baselineWords(ablation) : formatMetric(best?.value ?? null)}
        unit={metricName(t, run)}
        mark={directionArrow(run)}
        title={result}
      >
        {best === null ? (
          <span class="lagom-Tile-lines">{result}</span>
        ) : (
          <button type="button" class="lagom-Link" onClick={() => onOpen(best.id)}>
            <span class="lagom-Tile-lines">{result}</span>
          </button>
        )}
      </Tile>
      <Tile
        value={formatCount(nDone(run))}
        unit={
          run.n_trials === null
            ? t._n('trial', 'trials', nDone(run))
            : t._n('of %2 trial', 'of %2 trials', run.n_trials, formatCount(run.n_trials))
        }
      >
        {countedStates(run).map((state, index) => (
          <span key={state}>
            {index > 0 && ' · '}
            <button
              type="button"
              class={`lagom-Link${isFinalTrial(state) ? ` lagom-state-${state.toLowerCase()}` : ''}`}
              title={t.__('Show only these trials')}
              onClick={() => onFilter(`state:${state.toLowerCase()}`)}
            >
              {stateCountWords(t, state, run.counts[state])}
            </button>
          </span>
        ))}
      </Tile>
      <Tile value={elapsed} unit="">
        {left}
      </Tile>
      {saved !== null && (
        <Tile value={saved[0]} unit={run.compute_saved === null ? '' : t.__('saved')}>
          {saved[1]}
        </Tile>
      )}
      <Tile value={busy} unit="">
        {busyOf}
      </Tile>
    </div>
  );
}

interface ITileProps {
  value: string;
  unit: string;
  /** Stands after the unit, also where the unit is too long. */
  mark?: string;
  /** All of what stands below the number, which has two lines. */
  title?: string;
  children: ComponentChildren;
}

function Tile({ value, unit, mark, title, children }: ITileProps) {
  return (
    <div class="lagom-Tile">
      <div class="lagom-Tile-value">
        <span>{value}</span>
        {unit !== '' && <small title={unit}>{unit}</small>}
        {mark !== undefined && <small class="lagom-Tile-mark">{mark}</small>}
      </div>
      <div class="lagom-Tile-more" title={title}>
        {children}
      </div>
    </div>
  );
}
