/** What a person should know: lost workers, retries, why the run ended. */
import { useView } from './context';
import { oneLine } from './format';
import { errorWords, isAblation } from './words';
import type { IRun, ITrial } from '../model/messages';

const NOTICE_LIMIT = 4;

export interface INoticesProps {
  run: IRun;
  /** What to say of the connection; '' when there is nothing. */
  connection: string;
  /** The trials that failed and are told of nowhere else, the first one first. */
  failed: readonly ITrial[];
  onOpen: (trial_id: number) => void;
}

export function Notices({ run, connection, failed, onOpen }: INoticesProps) {
  const { t } = useView();
  const first = failed.find(trial => trial.error !== null);
  // The end of a run may say what its trial said: one line does for both, and leads there.
  const isTold = first !== undefined && run.state === 'FAILED' && saysWhy(run.state_reason, first);
  const texts = run.notices.slice(-NOTICE_LIMIT);
  const nEarlier = run.notices.length - texts.length;
  if (texts.length === 0 && run.state_reason === '' && connection === '' && first === undefined) return null;
  return (
    <ul class="lagom-Notices">
      {connection !== '' && <li>{connection}</li>}
      {run.state_reason !== '' && (
        <li class={run.state === 'FAILED' ? 'lagom-state-failed' : ''}>
          {isTold ? (
            <button type="button" class="lagom-Link" onClick={() => onOpen(first.id)}>
              {oneLine(run.state_reason, 400)}
            </button>
          ) : (
            oneLine(run.state_reason, 400)
          )}
        </li>
      )}
      {first?.error && !isTold && (
        <li class="lagom-state-failed">
          <button type="button" class="lagom-Link" onClick={() => onOpen(first.id)}>
            {t._n(
              '%1 trial failed: %2',
              '%1 trials failed; the first: %2',
              failed.length,
              errorWords(t, first.error)
            )}
          </button>
        </li>
      )}
      {texts.map((text, index) => (
        <li key={`${run.notices.length - texts.length + index}`}>{oneLine(text, 400)}</li>
      ))}
      {nEarlier > 0 && (
        <li>
          {t._n('%1 earlier notice in the run folder', '%1 earlier notices in the run folder', nEarlier)}
        </li>
      )}
    </ul>
  );
}

/** Whether why the run ended is why this trial failed. */
function saysWhy(reason: string, trial: ITrial): boolean {
  const why = trial.error?.message.split('\n', 1)[0] || trial.error?.kind;
  return why !== undefined && reason.includes(why);
}

/**
 * The trials that failed, in the order in which they ended. In an ablation without those of components that always
 * fail: these have rows that say why.
 */
export function failedTrials(run: IRun, trials: readonly ITrial[]): ITrial[] {
  const failed = trials.filter(trial => trial.state === 'FAILED');
  const endedAt = (trial: ITrial) => trial.ended_at ?? Infinity;
  failed.sort((a, b) => (endedAt(a) === endedAt(b) ? a.id - b.id : endedAt(a) - endedAt(b)));
  if (failed.length === 0 || !isAblation(run)) return failed;
  const complete = new Set(
    trials.filter(trial => trial.state === 'COMPLETE').map(trial => trial.hparams.component)
  );
  return failed.filter(trial => complete.has(trial.hparams.component));
}
