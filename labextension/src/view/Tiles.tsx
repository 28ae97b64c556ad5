/** The run in a thin bar and five numbers. */
import type { ComponentChildren } from 'preact';

import { useView } from './context';
import { formatCount, formatMetric } from './format';
import {
  bestWords,
  countedStates,
  directionArrow,
  isFinalTrial,
  metricName,
  nDone,
  savedWords,
  timeWords,
  trialStateWord,
  workerWords
} from './words';
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
          title={`${formatCount(run.counts[state])} ${trialStateWord(t, state)}`}
        />
      ))}
    </div>
  );
}

export interface ITilesProps {
  run: IRun;
  best: ITrial | null;
  trials: ReadonlyMap<number, ITrial>;
  workers: readonly IWorker[];
  /** Seconds since the epoch, by the run's clock. */
  now: number;
  onFilter: (text: string) => void;
  onOpen: (trial_id: number) => void;
}

export function Tiles({ run, best, trials, workers, now, onFilter, onOpen }: ITilesProps) {
  const { t } = useView();
  const [elapsed, left] = timeWords(t, run, trials.values(), now);
  const saved = savedWords(t, run);
  const [busy, busyOf] = workerWords(t, run, workers);
  return (
    <div class="lagom-Tiles">
      <Tile value={formatMetric(best?.value ?? null)} unit={`${metricName(t, run)} ${directionArrow(run)}`}>
        {best === null ? (
          bestWords(t, run, best)
        ) : (
          <button type="button" class="lagom-Link" onClick={() => onOpen(best.id)}>
            {bestWords(t, run, best)}
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
              {`${formatCount(run.counts[state])} ${trialStateWord(t, state)}`}
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

function Tile({ value, unit, children }: { value: string; unit: string; children: ComponentChildren }) {
  return (
    <div class="lagom-Tile">
      <div class="lagom-Tile-value">
        {value}
        {unit !== '' && <small> {unit}</small>}
      </div>
      <div class="lagom-Tile-more">{children}</div>
    </div>
  );
}
